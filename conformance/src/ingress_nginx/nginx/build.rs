// SPDX-License-Identifier: Apache-2.0
//! From Ingresses to servers, locations and backends, in the order in which ingress-nginx goes
//! about it: internal/ingress/controller/{controller,location}.go of v1.15.1.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::super::case::{Case, Ingress, PathSpec};
use super::super::objects::Places;
use super::annotations::Annotations;
use super::model::{Backend, CATCH_ALL, Certificate, DEFAULT, Kind, Location, Server, Source};

/// Everything that is rendered.
#[derive(Debug)]
pub(super) struct Model<'a> {
    pub(super) servers: BTreeMap<String, Server<'a>>,
    pub(super) backends: BTreeMap<String, Backend<'a>>,
}

struct Item<'a> {
    spec: &'a Ingress,
    source: Source<'a>,
}

impl Item<'_> {
    fn canary(&self) -> bool {
        self.source.annotations.on("canary")
    }
}

pub(super) fn build<'a>(
    cases: &[&'a Case],
    places: &Places,
    (allowed_headers, risk): (&str, &str),
) -> Model<'a> {
    let mut items: Vec<Item<'a>> = Vec::new();
    for case in cases {
        for spec in &case.ingress {
            let annotations = Annotations::read(&spec.annotations, case, allowed_headers);
            // annotations.go, Extract: too risky an annotation, and the Ingress is not taken.
            let risky = spec
                .annotations
                .keys()
                .any(|name| name.ends_with("-snippet"));
            let risky = risky && risk != "Critical";
            if annotations.skipped.is_none() && !risky {
                let (name, annotations) = (spec.name.clone(), Rc::new(annotations));
                let source = Source {
                    case,
                    name,
                    annotations,
                };
                items.push(Item { spec, source });
            }
        }
    }
    // store.go, sortIngressSlice: of those of the same second the last by name goes first.
    items.sort_by_key(|i| {
        let name = format!("{}/{}", i.source.case.name, i.spec.name);
        (i.spec.age, Reverse(name))
    });
    let mut model = Model {
        servers: BTreeMap::new(),
        backends: BTreeMap::new(),
    };
    for item in &items {
        model.backends_of(item, places);
    }
    model.servers(&items);
    for item in &items {
        model.locations_of(item, places);
    }
    for item in items.iter().filter(|item| item.canary()) {
        model.merge(item);
    }
    model.custom_defaults(places);
    model.finish();
    model
}

fn backend_name(case: &Case, service: &str, places: &Places) -> String {
    let port = places.of(&case.name, service).map_or(80, |p| p.port);
    format!("{}-{service}-{port}", case.name)
}

fn host_of(host: &str) -> String {
    match host {
        "" => CATCH_ALL.to_owned(),
        host => host.to_owned(),
    }
}

fn kind(path: &PathSpec) -> Kind {
    match &*path.kind {
        "Exact" => Kind::Exact,
        _ => Kind::Prefix,
    }
}

fn path_of(path: &PathSpec) -> String {
    match &*path.path {
        "" => "/".to_owned(),
        path => path.to_owned(),
    }
}

impl<'a> Model<'a> {
    fn backends_of(&mut self, item: &Item<'a>, places: &Places) {
        let rules = item.spec.rules().into_iter().flat_map(|rule| rule.paths);
        let names = item.spec.default.iter().cloned();
        for service in names.chain(rules.map(|path| path.to)) {
            let case = item.source.case;
            let name = backend_name(case, &service, places);
            let placed = places.of(&case.name, &service);
            let endpoints = placed.map_or(Vec::new(), |placed| {
                match (
                    placed.service.missing,
                    item.source.annotations.on("service-upstream"),
                ) {
                    (true, _) => Vec::new(),
                    (false, true) => vec![(placed.cluster_ip, placed.port).into()],
                    (false, false) => placed.endpoints.clone(),
                }
            });
            self.backends
                .entry(name.clone())
                .or_insert_with(|| Backend {
                    name,
                    endpoints,
                    source: item.source.clone(),
                    canary: item.canary(),
                    alternatives: Vec::new(),
                    affinity: None,
                    cookie_for: Vec::new(),
                });
        }
    }

    fn servers(&mut self, items: &[Item<'a>]) {
        let root = Location {
            path: "/".to_owned(),
            ingress_path: "/".to_owned(),
            kind: Kind::Prefix,
            backend: DEFAULT.to_owned(),
            default: true,
            source: None,
            service: String::new(),
            port: String::new(),
            errors: DEFAULT.to_owned(),
        };
        let catch_all = server(CATCH_ALL, root.clone());
        self.servers.insert(CATCH_ALL.to_owned(), catch_all);
        for item in items.iter().filter(|item| !item.canary()) {
            let default = item.spec.default.as_ref().map(|service| {
                let found = self.backends.values().find(|b| {
                    b.source.case.name == item.source.case.name
                        && b.name
                            .starts_with(&format!("{}-{service}-", item.source.case.name))
                });
                found.map_or_else(|| DEFAULT.to_owned(), |b| b.name.clone())
            });
            let location = Location {
                backend: default.clone().unwrap_or_else(|| DEFAULT.to_owned()),
                source: Some(item.source.clone()),
                service: item.spec.default.clone().unwrap_or_default(),
                ..root.clone()
            };
            if default.is_some() && item.spec.rules().is_empty() {
                let own = self.servers.get_mut(CATCH_ALL).map(|s| &mut s.locations[0]);
                if let Some(own) = own.filter(|own| own.default) {
                    *own = Location {
                        default: false,
                        ..location.clone()
                    };
                }
            }
            for rule in item.spec.rules() {
                let host = host_of(&rule.host);
                let new = || server(&host, location.clone());
                self.servers.entry(host.clone()).or_insert_with(new);
            }
        }
        for item in items.iter().filter(|item| !item.canary()) {
            self.server_level(item);
        }
        let hosts: BTreeSet<String> = self.servers.keys().cloned().collect();
        for server in self.servers.values_mut() {
            server.aliases.retain(|alias| !hosts.contains(alias));
            server.aliases.sort();
            server.aliases.dedup();
        }
    }

    fn server_level(&mut self, item: &Item<'a>) {
        let annotations = &item.source.annotations;
        for rule in item.spec.rules() {
            let Some(server) = self.servers.get_mut(&host_of(&rule.host)) else {
                continue;
            };
            if server.aliases.is_empty()
                && let Some(aliases) = annotations.text("server-alias")
            {
                let all = aliases.split(',').map(|alias| alias.trim().to_owned());
                server.aliases = all.filter(|alias| !alias.is_empty()).collect();
            }
            let text = |name| annotations.text(name).map(str::to_owned);
            let own = |slot: &mut Option<String>, name| {
                *slot = slot.take().or_else(|| text(name));
            };
            own(&mut server.snippet, "server-snippet");
            own(&mut server.ciphers, "ssl-ciphers");
            let prefer = annotations.switch("ssl-prefer-server-ciphers");
            server.prefer_ciphers = server.prefer_ciphers.or(prefer);
            if server.certificate.is_some() || item.spec.tls.is_empty() {
                continue;
            }
            let listed = |host: &str| item.spec.tls.iter().any(|h| h.eq_ignore_ascii_case(host));
            let known = item.spec.tls_secret.as_ref();
            let known = known.is_some_and(|name| item.source.case.secrets.contains_key(name));
            server.certificate = Some(match known && listed(&rule.host) {
                true => Certificate::Own,
                false => Certificate::Default,
            });
        }
    }

    fn locations_of(&mut self, item: &Item<'a>, places: &Places) {
        let annotations = &item.source.annotations;
        for rule in item.spec.rules() {
            let host = host_of(&rule.host);
            let Some(server) = self.servers.get_mut(&host) else {
                continue;
            };
            if rule.paths.is_empty() && host != CATCH_ALL {
                continue;
            }
            server.clients_wrong |= annotations.denied.as_deref() == Some("auth-tls-secret");
            let named = |name| annotations.text(name).map(|_| item.source.clone());
            if server.clients.is_none() {
                server.clients = named("auth-tls-secret");
            }
            if server.endpoints.is_none() {
                server.endpoints = named("proxy-ssl-secret");
            }
            for path in &rule.paths {
                let backend = backend_name(item.source.case, &path.to, places);
                let Some(backend) = self.backends.get_mut(&backend) else {
                    continue;
                };
                if backend.canary {
                    continue;
                }
                add(server, path, item, backend);
                server.www |= annotations.on("from-to-www-redirect");
                if annotations.text("affinity").is_some() {
                    backend.affinity = Some(item.source.annotations.clone());
                    backend.cookie_for.push((host.clone(), path_of(path)));
                }
            }
        }
    }

    fn merge(&mut self, item: &Item<'a>) {
        for rule in item.spec.rules() {
            let Some(server) = self.servers.get(&host_of(&rule.host)) else {
                continue;
            };
            for path in &rule.paths {
                let find = |b: &&Backend<'_>| {
                    b.canary
                        && b.name
                            .starts_with(&format!("{}-{}-", item.source.case.name, path.to))
                };
                let Some(canary) = self.backends.values().find(find).map(|b| b.name.clone()) else {
                    continue;
                };
                let same = |l: &&Location<'_>| l.path == path_of(path) && l.kind == kind(path);
                for location in server.locations.iter().filter(same) {
                    let sticky = annotations_sticky(item);
                    let Some(main) = self.backends.get_mut(&location.backend) else {
                        continue;
                    };
                    if main.canary || main.alternatives.contains(&canary) {
                        continue;
                    }
                    main.alternatives.push(canary.clone());
                    let kept = (main.affinity.clone(), main.cookie_for.clone());
                    if let Some(canary) = self.backends.get_mut(&canary).filter(|_| sticky) {
                        (canary.affinity, canary.cookie_for) = kept;
                    }
                }
            }
        }
    }

    /// Backends for error pages, by the annotation default-backend.
    fn custom_defaults(&mut self, places: &Places) {
        let mut made = Vec::new();
        for location in self.servers.values_mut().flat_map(|s| &mut s.locations) {
            let Some(source) = location.source.clone() else {
                continue;
            };
            let Some(backend) = self.backends.get(&location.backend) else {
                continue;
            };
            let Some(service) = source.annotations.text("default-backend") else {
                continue;
            };
            let errors = source.annotations.text("custom-http-errors").is_some();
            let placed = places.of(&source.case.name, service);
            let Some(placed) = placed.filter(|placed| !placed.endpoints.is_empty()) else {
                continue;
            };
            if !backend.endpoints.is_empty() && !errors {
                continue;
            }
            let name = format!("custom-default-backend-{}-{service}", source.case.name);
            location.errors.clone_from(&name);
            if backend.endpoints.is_empty() {
                location.backend.clone_from(&name);
            }
            made.push(Backend {
                name,
                endpoints: placed.endpoints.clone(),
                ..backend.clone()
            });
        }
        let made = made
            .into_iter()
            .map(|backend| (backend.name.clone(), backend));
        self.backends.extend(made);
    }

    /// Sorts locations, and adds those that ingress-nginx adds.
    fn finish(&mut self) {
        for server in self.servers.values_mut() {
            let order = |l: &Location<'_>| (l.path.len(), l.path.clone());
            server
                .locations
                .sort_by_key(|l| std::cmp::Reverse(order(l)));
            let exact = server.locations.iter().filter(|l| l.kind == Kind::Exact);
            let exact: BTreeSet<String> = exact.map(|l| l.path.clone()).collect();
            for mut location in std::mem::take(&mut server.locations) {
                if location.path == "/" || location.kind != Kind::Prefix || location.regex() {
                    server.locations.push(location);
                    continue;
                }
                let plain = location.path.clone();
                if !location.path.ends_with('/') {
                    location.path.push('/');
                }
                let twin = (!exact.contains(&plain)).then(|| Location {
                    path: plain,
                    kind: Kind::Exact,
                    ..location.clone()
                });
                server.locations.push(location);
                server.locations.extend(twin);
            }
        }
    }
}

fn annotations_sticky(item: &Item<'_>) -> bool {
    item.source.annotations.text("affinity-canary-behavior") != Some("legacy")
}

fn server<'a>(host: &str, root: Location<'a>) -> Server<'a> {
    Server {
        host: host.to_owned(),
        aliases: Vec::new(),
        locations: vec![root],
        certificate: (host == CATCH_ALL).then_some(Certificate::Default),
        ciphers: None,
        prefer_ciphers: None,
        clients: None,
        clients_wrong: false,
        endpoints: None,
        snippet: None,
        www: false,
    }
}

fn add<'a>(server: &mut Server<'a>, path: &PathSpec, item: &Item<'a>, backend: &Backend<'_>) {
    let new = Location {
        path: path_of(path),
        ingress_path: path_of(path),
        kind: kind(path),
        backend: backend.name.clone(),
        default: false,
        source: Some(item.source.clone()),
        service: path.to.clone(),
        port: backend.name.rsplit('-').next().unwrap_or("80").to_owned(),
        errors: DEFAULT.to_owned(),
    };
    let mut same = server.locations.iter_mut().filter(|l| l.path == new.path);
    // Only the first of this path is looked at.
    match same.next() {
        Some(old) if old.kind == new.kind => {
            if old.default {
                *old = new;
            }
        }
        _ => server.locations.push(new),
    }
}
