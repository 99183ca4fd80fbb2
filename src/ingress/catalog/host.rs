// SPDX-License-Identifier: Apache-2.0
//! The routes of one host, and of all others.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::{Catalog, Dirty, Part, Update};
use crate::ingress::route::{HostRoutes, PathRoute, PathType};
use crate::ingress::table::{Backend, Route, Upstream};
use crate::model::ingress::{IngressBackend, IngressPathType};
use crate::model::{Ingress, ServiceName};

/// Reasons by Ingress.
type Reasons = BTreeMap<ServiceName, Vec<String>>;

impl Catalog {
    pub(super) fn build_hosts(&mut self, dirty: &mut Dirty, update: &mut Update) {
        for host in std::mem::take(&mut dirty.hosts) {
            let mut reasons = Reasons::new();
            let routes = self.build_host(&host, &mut reasons);
            update.work.hosts += 1;
            update.work.routes += routes.len();
            let routes = (!routes.is_empty()).then(|| Arc::new(routes));
            self.table.router.replace(&host, routes);
            for (name, reasons) in reasons {
                self.note(&name, Part::Host(host.clone()), reasons, dirty);
            }
        }
    }

    /// Older Ingresses keep what others ask for, too.
    fn build_host(&self, host: &Arc<str>, reasons: &mut Reasons) -> HostRoutes {
        let mut taken: HashMap<(PathType, String), ServiceName> = HashMap::new();
        let mut routes = Vec::new();
        let mut default = None;
        for name in self.index.of_host(host) {
            let Some(ingress) = self.served.get(name) else {
                continue;
            };
            let reasons = reasons.entry(name.clone()).or_default();
            reasons.extend(self.incomplete(ingress, host));
            let rules = ingress.rules.iter().enumerate();
            for (i, rule) in rules.filter(|(_, rule)| rule.host == *host) {
                for (j, path) in rule.paths.iter().enumerate() {
                    let place = format!("spec.rules[{i}].http.paths[{j}]");
                    let (backend, reason) = self.backend(ingress, &path.backend);
                    reasons.extend(reason.map(|reason| format!("{place}.backend: {reason}")));
                    let entry = PathRoute {
                        kind: kind(path.kind),
                        path: path.path.clone(),
                        route: self.route(ingress, host, &path.path, backend),
                        behaviour: self.behaviour(ingress),
                    };
                    let (kind, key) = entry.key();
                    let key = (kind, key.to_owned());
                    if let Some(owner) = taken.get(&key) {
                        reasons.push(lost(&place, &entry, host, owner));
                        continue;
                    }
                    taken.insert(key, name.clone());
                    routes.push(entry);
                }
            }
            if let Some(backend) = ingress
                .default_backend
                .as_ref()
                .filter(|_| default.is_none())
            {
                let (backend, reason) = self.backend(ingress, backend);
                reasons.extend(reason.map(|reason| format!("spec.defaultBackend: {reason}")));
                default = Some(self.route(ingress, host, &"".into(), backend));
            }
        }
        HostRoutes::new(routes, default)
    }

    fn route(
        &self,
        ingress: &Ingress,
        host: &Arc<str>,
        path: &Arc<str>,
        backend: Backend,
    ) -> Arc<Route> {
        let settings = self.route_settings(ingress, host);
        Arc::new(Route {
            ingress: ingress.name.clone(),
            host: host.clone(),
            path: path.clone(),
            backend: match settings.denied {
                Some(_) => Backend::Status(503),
                None => backend,
            },
            settings,
        })
    }

    /// What answers for a backend, and what is wrong with it.
    fn backend(&self, ingress: &Ingress, backend: &IngressBackend) -> (Backend, Option<String>) {
        let IngressBackend::Service { name, port } = backend else {
            // Conversion has said why.
            return (Backend::Status(503), None);
        };
        let service = ServiceName::new(ingress.name.namespace.clone(), name.clone());
        match self.upstreams.answer(&service, &Some(port.clone())) {
            Some(answer) => {
                let upstream = answer.upstream.clone();
                (Backend::Upstream(upstream), answer.reason.clone())
            }
            None => (Backend::Status(503), None),
        }
    }

    /// What answers where nothing else does.
    pub(super) fn build_default(&mut self, dirty: &mut Dirty) {
        let mut owner: Option<ServiceName> = None;
        let mut found: Option<Arc<Upstream>> = None;
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
            let backend = ingress.default_backend.as_ref();
            let (backend, reason) = backend.map_or((Backend::Status(503), None), |backend| {
                self.backend(ingress, backend)
            });
            let reason = reason.map(|reason| format!("spec.defaultBackend: {reason}"));
            reasons.push((name.clone(), reason.into_iter().collect()));
            owner = Some(name.clone());
            if let Backend::Upstream(upstream) = backend {
                found = Some(upstream);
            }
        }
        let own = self.options.default_backend.as_ref();
        let own = own.and_then(|service| self.upstreams.answer(service, &None));
        self.table.default_backend = found.or_else(|| own.map(|answer| answer.upstream.clone()));
        for (name, reasons) in reasons {
            self.note(&name, Part::Default, reasons, dirty);
        }
    }
}

fn lost(place: &str, entry: &PathRoute, host: &str, owner: &ServiceName) -> String {
    let (kind, path) = (entry.kind, &entry.path);
    format!("{place}: {kind} {path:?} of host {host:?} belongs to the older Ingress {owner}")
}

fn kind(kind: IngressPathType) -> PathType {
    match kind {
        IngressPathType::Exact => PathType::Exact,
        IngressPathType::Prefix => PathType::Prefix,
        IngressPathType::ImplementationSpecific => PathType::ImplementationSpecific,
    }
}
