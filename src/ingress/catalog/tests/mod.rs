// SPDX-License-Identifier: Apache-2.0
mod canaries;
mod certificates;
mod classes;
mod configuration;
mod endpoints;
mod gates;
mod incremental;
mod locations;
mod routes;

use super::*;
use crate::ingress::table::{Backend, Behaviour, UpstreamProtocol};
use crate::model::fixture;
use crate::model::ingress::{
    IngressBackend, IngressPath, IngressPathType, IngressRule, IngressTls, PortRef, UpstreamPort,
};
use crate::model::{
    Event, IngressClass, IngressEvent, IpFamily, Observed, Protocol, SliceName, UpstreamService,
};

fn name(text: &str) -> ServiceName {
    let (namespace, name) = text.split_once('/').unwrap_or(("default", text));
    ServiceName::new(namespace, name)
}

fn backend(text: &str) -> IngressBackend {
    let (name, port) = text.split_once(':').unwrap_or((text, "80"));
    let port = port
        .parse()
        .map_or_else(|_| PortRef::Name(port.into()), PortRef::Number);
    IngressBackend::Service {
        name: name.into(),
        port,
    }
}

/// `HOST/PATH=SERVICE[:PORT]` each, of type Prefix, or Exact with a `!` in front. `HOST=` is a rule
/// without paths, and `=SERVICE` the default backend.
fn ingress(text: &str, created: i64, rules: &[&str]) -> Ingress {
    let mut ingress = Ingress {
        name: name(text),
        created,
        class: Some("ours".into()),
        class_annotation: None,
        default_backend: None,
        rules: Vec::new(),
        tls: Vec::new(),
        annotations: BTreeMap::new(),
        addresses: Vec::new(),
    };
    for rule in rules {
        let (place, service) = rule.split_once('=').expect("an equals sign");
        if place.is_empty() {
            ingress.default_backend = Some(backend(service));
            continue;
        }
        let (kind, place) = match place.strip_prefix('!') {
            Some(place) => (IngressPathType::Exact, place),
            None => (IngressPathType::Prefix, place),
        };
        let split = place.find('/').unwrap_or(place.len());
        let path = IngressPath {
            path: place[split..].into(),
            kind,
            backend: backend(service),
        };
        ingress.rules.push(IngressRule {
            host: place[..split].into(),
            paths: (!service.is_empty()).then_some(path).into_iter().collect(),
        });
    }
    ingress
}

fn with_tls(mut ingress: Ingress, hosts: &[&str], secret: &str) -> Ingress {
    ingress.tls.push(IngressTls {
        hosts: hosts.iter().map(|host| (*host).into()).collect(),
        secret: Some(secret.into()),
    });
    ingress
}

fn class(name: &str, controller: &str, is_default: bool) -> IngressEvent {
    let class = IngressClass {
        name: name.into(),
        created: 0,
        controller: controller.into(),
        is_default,
        behaviour: None,
    };
    IngressEvent::Class(name.into(), Observed::new(class))
}

/// A Service with the ports 80, called `http`, and 81.
fn service(text: &str) -> UpstreamService {
    let port = |name: &str, port| UpstreamPort {
        name: name.into(),
        protocol: Protocol::Tcp,
        port,
        target: None,
        app_protocol: None,
    };
    UpstreamService {
        name: name(text),
        external: None,
        family: IpFamily::V4,
        cluster: None,
        ports: vec![port("http", 80), port("", 81)],
    }
}

fn slice(of: &str, port_name: &str, endpoints: &[&str]) -> Event {
    let mut slice = fixture::slice(&format!("{of}-{port_name}"), of, 8080, endpoints);
    slice.ports[0].name = port_name.into();
    Event::Slice(slice.name.clone(), Observed::new(slice))
}

fn event(event: IngressEvent) -> Event {
    Event::Ingress(Box::new(event))
}

fn put(ingress: &Ingress) -> Event {
    let observed = Observed::new(ingress.clone());
    event(IngressEvent::Ingress(ingress.name.clone(), observed))
}

fn gone(text: &str) -> Event {
    event(IngressEvent::Ingress(name(text), Observed::gone()))
}

fn add(service: UpstreamService) -> Event {
    let name = service.name.clone();
    event(IngressEvent::Service(name, Observed::new(service)))
}

fn secret(text: &str) -> Event {
    let secret = Secret {
        name: name(text),
        certificate: Some((*b"c").into()),
        key: Some((*b"k").into()),
        authority: None,
        auth: None,
        others: [].into(),
    };
    event(IngressEvent::Secret(
        secret.name.clone(),
        Observed::new(secret),
    ))
}

/// A catalog with the class `ours`, the Services `a` and `b` with an endpoint each, and more.
fn catalog(options: Options, more: impl IntoIterator<Item = Event>) -> (Catalog, Update) {
    let mut catalog = Catalog::new("n1", options);
    catalog.apply(event(class("ours", CONTROLLER, false)));
    for service_name in ["a", "b"] {
        catalog.apply(add(service(service_name)));
    }
    catalog.apply(slice("a", "http", &["10.0.0.1"]));
    catalog.apply(slice("b", "http", &["10.0.0.2"]));
    more.into_iter().for_each(|event| catalog.apply(event));
    let update = catalog.commit();
    (catalog, update)
}

fn find(catalog: &Catalog, host: &str, path: &str) -> String {
    match catalog.table().router.find(host, path) {
        Some(route) => show(&route.backend),
        None => match &catalog.table().default_backend {
            Some(upstream) => format!("default {}", show(&Backend::Upstream(upstream.clone()))),
            None => "none".into(),
        },
    }
}

fn show(backend: &Backend) -> String {
    match backend {
        Backend::Status(status) => status.to_string(),
        Backend::Default => "default".into(),
        Backend::Upstream(upstream) => {
            let endpoints = upstream.endpoints.iter().map(ToString::to_string);
            let endpoints: Vec<_> = endpoints.collect();
            format!("{} {}", upstream.id, endpoints.join(","))
        }
    }
}
