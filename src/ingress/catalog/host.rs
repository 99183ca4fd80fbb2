// SPDX-License-Identifier: Apache-2.0
//! The routes of one host, and of all others.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::arrange::Arranger;
use super::patterns::PatternCache;
use super::variant::{Variants, Wish};
use super::{Catalog, Dirty, Part, Update};
use crate::ingress::action::client_certificate::{ClientCertificate, Demand};
use crate::ingress::action::handshake::Handshake;
use crate::ingress::annotation::gate;
use crate::ingress::route::{HostRoutes, PathRoute, PathType};
use crate::ingress::table::{Backend, Behaviour, Route, RouteSettings, Upstream};
use crate::model::ingress::{IngressBackend, IngressPathType};
use crate::model::{Ingress, ServiceName};

/// Reasons by Ingress.
pub(super) type Reasons = BTreeMap<ServiceName, Vec<String>>;

/// What holds for all Ingresses of a host.
#[derive(Debug, Clone, Copy)]
struct Common<'a> {
    host: &'a Arc<str>,
    behaviour: Behaviour,
    /// Whether all of it is redirected to HTTPS, where an Ingress does not say otherwise.
    secured: bool,
    /// What clients have to show when TLS begins.
    certificate: &'a Asked,
}

/// The paths of a host, and who has each.
struct Taken<'a> {
    owners: HashMap<(PathType, String), ServiceName>,
    routes: Vec<PathRoute>,
    variants: &'a mut Variants,
}

impl Catalog {
    pub(super) fn build_hosts(&mut self, dirty: &mut Dirty, update: &mut Update) {
        let mut open = std::mem::take(&mut dirty.hosts);
        let mut cache = std::mem::take(&mut self.patterns);
        let mut variants = Variants::default();
        let mut aliases = false;
        while let Some(host) = open.pop_first() {
            let renamed = self.rename(&host);
            aliases |= renamed.aliases;
            dirty.tls |= renamed.aliases || !renamed.hosts.is_empty();
            open.extend(renamed.hosts);
            let mut reasons = Reasons::new();
            let mut routes = self.build_host(&host, (&mut cache, &mut variants), &mut reasons);
            if routes.is_empty() {
                routes = self.redirected_host(&host).unwrap_or(routes);
            }
            update.work.hosts += 1;
            update.work.routes += routes.len();
            let routes = (!routes.is_empty()).then(|| Arc::new(routes));
            let asked = routes.as_ref().and_then(|_| self.client_certificate(&host));
            match asked.filter(|asked| asked.asks()) {
                Some(asked) => self.table.clients.insert(host.clone(), asked),
                None => self.table.clients.remove(&host),
            };
            let handshake = routes.as_ref().and_then(|_| self.handshake(&host));
            match handshake {
                Some(own) => self.table.handshakes.insert(host.clone(), own),
                None => self.table.handshakes.remove(&host),
            };
            self.table.router.replace(&host, routes);
            for (name, reasons) in reasons {
                self.note(&name, Part::Host(host.clone()), reasons, dirty);
            }
        }
        self.patterns = cache;
        if aliases {
            self.table.router.set_aliases(self.names.aliases());
        }
    }

    /// The Ingresses of a host, in the order in which they get what they ask for.
    fn of_host(&self, host: &Arc<str>) -> (Vec<Arc<Ingress>>, Behaviour) {
        let names = self.index.of_host(host);
        let all = names.filter_map(|name| self.served.get(name));
        let mut all: Vec<Arc<Ingress>> = all.cloned().collect();
        let behaviour = all.first().map(|first| self.behaviour(first));
        let behaviour = behaviour.unwrap_or_default();
        if behaviour == Behaviour::IngressNginx {
            // Of those of the same second the last by name goes first (`sortIngressSlice`).
            all.sort_by_key(|i| (i.created, std::cmp::Reverse(i.name.to_string())));
        }
        (all, behaviour)
    }

    fn build_host(
        &self,
        host: &Arc<str>,
        (cache, variants): (&mut PatternCache, &mut Variants),
        reasons: &mut Reasons,
    ) -> HostRoutes {
        let (mut ingresses, behaviour) = self.of_host(host);
        ingresses.retain(|ingress| !self.is_canary(ingress));
        let nginx = behaviour == Behaviour::IngressNginx;
        let common = Common {
            host,
            behaviour,
            secured: nginx && ingresses.iter().any(|ingress| !ingress.tls.is_empty()),
            certificate: &self.client_certificate(host),
        };
        let mut default = None;
        let mut taken = Taken {
            owners: HashMap::new(),
            routes: Vec::new(),
            variants,
        };
        for ingress in &ingresses {
            let reasons = reasons.entry(ingress.name.clone()).or_default();
            reasons.extend(self.incomplete(ingress, host));
            if self.behaviour(ingress) != behaviour {
                let first = &ingresses[0].name;
                reasons.push(format!(
                    "host {host:?} is read as {behaviour} has it, as Ingress {first} is"
                ));
            }
            reasons.extend(self.incomplete(ingress, host));
            self.take(ingress, common, &mut taken, reasons);
            let own = ingress.default_backend.as_ref();
            if let Some(backend) = own.filter(|_| default.is_none() && !nginx) {
                let backend = (backend, &**host);
                let backend = self.default_of(ingress, backend, taken.variants, reasons);
                default = Some(self.route(ingress, common, &"".into(), backend));
            }
        }
        let first = ingresses.first();
        let root = first.filter(|_| nginx && !host.is_empty());
        let root = root.map(|first| self.root(first, common, taken.variants, reasons));
        let Taken {
            mut routes,
            variants,
            ..
        } = taken;
        self.add_canaries(host, &mut routes, variants, reasons);
        let mut arranger = Arranger {
            catalog: self,
            cache,
            reasons,
        };
        match behaviour {
            Behaviour::Spec => arranger.spec(routes, default),
            Behaviour::IngressNginx => arranger.nginx(routes, root),
        }
    }

    /// Takes the paths of an Ingress. Older ones keep what others ask for, too.
    fn take(
        &self,
        ingress: &Ingress,
        common: Common<'_>,
        taken: &mut Taken<'_>,
        reasons: &mut Vec<String>,
    ) {
        let rules = ingress.rules.iter().enumerate();
        for (i, rule) in rules.filter(|(_, rule)| rule.host == *common.host) {
            for (j, path) in rule.paths.iter().enumerate() {
                let place = format!("spec.rules[{i}].http.paths[{j}]");
                let backend = (&path.backend, &**common.host);
                let (backend, reason) = self.backend(ingress, backend, taken.variants);
                reasons.extend(reason.map(|reason| format!("{place}.backend: {reason}")));
                let entry = PathRoute {
                    kind: kind(path.kind, common.behaviour),
                    path: path.path.clone(),
                    route: self.route(ingress, common, &path.path, backend),
                    behaviour: common.behaviour,
                };
                let (kind, key) = entry.key();
                let key = (kind, key.to_owned());
                if let Some(owner) = taken.owners.get(&key) {
                    reasons.push(lost(&place, &entry, common.host, owner));
                    continue;
                }
                taken.owners.insert(key, ingress.name.clone());
                taken.routes.push(entry);
            }
        }
    }

    fn default_of(
        &self,
        ingress: &Ingress,
        backend: (&IngressBackend, &str),
        variants: &mut Variants,
        reasons: &mut Vec<String>,
    ) -> Backend {
        let (backend, reason) = self.backend(ingress, backend, variants);
        reasons.extend(reason.map(|reason| format!("spec.defaultBackend: {reason}")));
        backend
    }

    /// The location that ingress-nginx gives each host: with the settings of its first Ingress, to
    /// its default backend or else to everybody's.
    fn root(
        &self,
        first: &Ingress,
        common: Common<'_>,
        variants: &mut Variants,
        reasons: &mut Reasons,
    ) -> PathRoute {
        let own = first.default_backend.as_ref();
        let backend = own.map_or(Backend::Default, |backend| {
            let reasons = reasons.entry(first.name.clone()).or_default();
            self.default_of(first, (backend, common.host), variants, reasons)
        });
        PathRoute {
            kind: PathType::Prefix,
            path: "/".into(),
            route: self.route(first, common, &"".into(), backend),
            behaviour: common.behaviour,
        }
    }

    fn route(
        &self,
        ingress: &Ingress,
        common: Common<'_>,
        path: &Arc<str>,
        backend: Backend,
    ) -> Arc<Route> {
        let settings = self.route_settings(ingress, (common.host, common.secured));
        let settings = certify(settings, common.certificate);
        Arc::new(Route {
            ingress: ingress.name.clone(),
            host: common.host.clone(),
            path: path.clone(),
            backend: match settings.denied {
                Some(_) if settings.left_out => Backend::Default,
                Some(_) => Backend::Status(503),
                None => backend,
            },
            settings,
            canary: None,
        })
    }

    /// What the clients of a host have to show when TLS begins: a closed host is closed for all,
    /// else the oldest Ingress that asks for something decides.
    fn client_certificate(&self, host: &str) -> Asked {
        let ingresses = self.index.of_host(host);
        let gates = ingresses.filter_map(|name| self.annotations.of(name).plain.gate.as_ref());
        let all: Vec<_> = gates.filter_map(|gate| gate.certificate.as_ref()).collect();
        let closed = all.iter().find(|asked| asked.demand == Demand::Closed);
        closed.or(all.first()).map(|asked| Arc::clone(asked))
    }

    /// How TLS begins with the clients of a host: of each setting the first Ingress decides.
    fn handshake(&self, host: &Arc<str>) -> Option<Arc<Handshake>> {
        let ingresses = self.of_host(host).0.into_iter();
        let all = ingresses.map(|i| &self.annotations.of(&i.name).routing.handshake);
        let own = all.fold(Handshake::default(), Handshake::or);
        (!own.is_usual()).then(|| Arc::new(own))
    }

    /// What answers for a backend, and what is wrong with it.
    fn backend(
        &self,
        ingress: &Ingress,
        (backend, host): (&IngressBackend, &str),
        variants: &mut Variants,
    ) -> (Backend, Option<String>) {
        let IngressBackend::Service { name, port } = backend else {
            // Conversion has said why.
            return (Backend::Status(503), None);
        };
        let service = ServiceName::new(ingress.name.namespace.clone(), name.clone());
        match self.upstreams.answer(&service, &Some(port.clone())) {
            Some(answer) => {
                // Whether it redirects to HTTPS is nothing to an upstream.
                let settings = self.route_settings(ingress, (host, false));
                let (upstream, wrong) = variants.make(answer, Wish::of(&settings));
                (Backend::Upstream(upstream), answer.reason.clone().or(wrong))
            }
            None => (Backend::Status(503), None),
        }
    }

    /// What answers where nothing else does.
    pub(super) fn build_default(&mut self, dirty: &mut Dirty) {
        let mut owner: Option<ServiceName> = None;
        let mut found: Option<Arc<Upstream>> = None;
        let bare = self.annotations.bare(self.options.behaviour);
        // As in ingress-nginx, what keeps somebody out holds for Ingresses.
        let mut settings = Arc::new(RouteSettings {
            gate: None,
            ..RouteSettings::clone(&bare.plain)
        });
        let mut reasons = Vec::new();
        for name in self.index.catch_all() {
            let Some(ingress) = self.served.get(name) else {
                continue;
            };
            if let Some(owner) = &owner {
                let lost = format!("spec.defaultBackend: the older Ingress {owner} has one");
                reasons.push((name.clone(), vec![lost]));
                continue;
            }
            if self.is_canary(ingress) {
                let lost = "spec.defaultBackend: a canary takes requests of paths only".to_owned();
                reasons.push((name.clone(), vec![lost]));
                continue;
            }
            let backend = ingress.default_backend.as_ref();
            let (backend, reason) = backend.map_or((Backend::Status(503), None), |backend| {
                self.backend(ingress, (backend, ""), &mut Variants::default())
            });
            let reason = reason.map(|reason| format!("spec.defaultBackend: {reason}"));
            reasons.push((name.clone(), reason.into_iter().collect()));
            owner = Some(name.clone());
            // Where it redirects is not taken over, as in ingress-nginx.
            settings = Arc::new(RouteSettings {
                redirect: None,
                https_redirect: None,
                ..RouteSettings::clone(&self.annotations.of(name).plain)
            });
            if let Backend::Upstream(upstream) = backend {
                found = Some(upstream);
            }
        }
        if settings.left_out {
            found = None;
        }
        self.table.defaults = settings;
        let own = self.options.default_backend.as_ref();
        let own = own.and_then(|service| self.upstreams.answer(service, &None));
        self.table.default_backend = match (&owner, found) {
            // Nobody else answers in place of an Ingress that is closed.
            (Some(owner), _) if is_closed(&self.annotations.of(owner).plain) => None,
            (_, found) => found.or_else(|| {
                let wish = Wish::of(&self.table.defaults);
                own.map(|answer| Variants::default().make(answer, wish).0)
            }),
        };
        for (name, reasons) in reasons {
            self.note(&name, Part::Default, reasons, dirty);
        }
    }
}

fn is_closed(settings: &RouteSettings) -> bool {
    settings.denied.is_some() && !settings.left_out
}

type Asked = Option<Arc<ClientCertificate>>;

/// Settings with what a host asks of clients' certificates, which another of its Ingresses may have
/// said.
fn certify(settings: Arc<RouteSettings>, asked: &Asked) -> Arc<RouteSettings> {
    let own = settings
        .gate
        .as_ref()
        .and_then(|gate| gate.certificate.as_ref());
    if own == asked.as_ref() {
        return settings;
    }
    let mut settings = (*settings).clone();
    gate(&mut settings).certificate = asked.clone();
    Arc::new(settings)
}

fn lost(place: &str, entry: &PathRoute, host: &str, owner: &ServiceName) -> String {
    let (kind, path) = (entry.kind, &entry.path);
    format!("{place}: {kind} {path:?} of host {host:?} belongs to the older Ingress {owner}")
}

/// ingress-nginx takes ImplementationSpecific for Prefix (`SetDefaultNGINXPathType`).
pub(super) fn kind(kind: IngressPathType, behaviour: Behaviour) -> PathType {
    match (kind, behaviour) {
        (IngressPathType::Exact, _) => PathType::Exact,
        (IngressPathType::Prefix, _) => PathType::Prefix,
        (IngressPathType::ImplementationSpecific, Behaviour::IngressNginx) => PathType::Prefix,
        (IngressPathType::ImplementationSpecific, Behaviour::Spec) => {
            PathType::ImplementationSpecific
        }
    }
}
