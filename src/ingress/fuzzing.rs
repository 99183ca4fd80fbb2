// SPDX-License-Identifier: Apache-2.0
//! Whatever Ingresses and ConfigMaps say, and whatever a connection begins with; for `fuzz/`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use hyper::header::{COOKIE, HeaderMap, HeaderValue};

use super::action::basic::{Credentials, Users};
use super::action::cookies;
use super::catalog::{CONTROLLER, Catalog, Options};
use super::explain;
use super::lint;
use super::serve::proxy_protocol::{self, Header};
use super::table::Behaviour;
use super::tls::{self, Certificates};
use crate::model::ingress::{
    ConfigMap, Ingress, IngressBackend, IngressPath, IngressPathType, IngressRule, PortRef, Secret,
    UpstreamPort, UpstreamService,
};
use crate::model::{Event, IngressClass, IngressEvent, IpFamily, Observed, Protocol, ServiceName};

/// What the lines of a text say, by their first letter:
///
/// | letter | what follows |
/// |---|---|
/// | `a`, `b` | `NAME: VALUE`, an annotation of the one or the other Ingress |
/// | `c` | `NAME: VALUE` of the ConfigMap of settings |
/// | `t`, `u` | `PORT: VALUE` of the ConfigMap of TCP or UDP ports |
/// | `m` | `NAME: VALUE` of a ConfigMap of headers, `default/m` |
/// | `p`, `q` | a path of the one or the other Ingress |
/// | `s` | a line of the Secret of passwords, `default/s` |
/// | `r` | the path of a request |
#[derive(Default)]
struct Said {
    annotations: [BTreeMap<Arc<str>, Arc<str>>; 2],
    maps: [BTreeMap<Arc<str>, Arc<str>>; 4],
    paths: [Vec<Arc<str>>; 2],
    passwords: String,
    requests: Vec<String>,
}

/// The ConfigMaps in the order of [`Said::maps`].
const MAPS: [&str; 4] = ["c", "t", "u", "m"];
/// Hosts of the two Ingresses.
const HOSTS: [&str; 2] = ["a.example", "*.example"];

/// Reads a text as annotations, settings and requests (see the source), in both behaviours. It must
/// become a table, which a second look does not change, and a route or none for each request.
///
/// # Errors
/// What does not hold.
pub fn check_objects(text: &str) -> Result<(), String> {
    let said = said(text);
    for behaviour in Behaviour::ALL {
        let mut catalog = Catalog::new("n1", options(behaviour));
        events(&said)
            .into_iter()
            .for_each(|event| catalog.apply(Event::Ingress(Box::new(event))));
        let update = catalog.commit();
        let again = catalog.commit();
        if again.table.is_some() || again.wishes.is_some() {
            return Err("a second look finds something new".to_owned());
        }
        if update.table.is_none() {
            return Err("no table".to_owned());
        }
        let certificates = Certificates::default();
        explain::everything(&catalog, &certificates);
        lint::lint(&catalog);
        for request in &said.requests {
            for host in ["a.example", "b.example", "b.c.example"] {
                explain::explain(&catalog, &certificates, host, request);
            }
        }
    }
    Ok(())
}

fn said(text: &str) -> Said {
    let mut said = Said::default();
    for line in text.lines() {
        let Some(letter) = line.chars().next() else {
            continue;
        };
        let rest = &line[letter.len_utf8()..];
        let rest = rest.strip_prefix(' ').unwrap_or(rest);
        let (name, value) = rest.split_once(": ").unwrap_or((rest, ""));
        // A tab stands for a line end, as values may have more than one line.
        let (name, value) = (name.into(), value.replace('\t', "\n").into());
        match letter {
            'a' => drop(said.annotations[0].insert(name, value)),
            'b' => drop(said.annotations[1].insert(name, value)),
            'c' => drop(said.maps[0].insert(name, value)),
            't' => drop(said.maps[1].insert(name, value)),
            'u' => drop(said.maps[2].insert(name, value)),
            'm' => drop(said.maps[3].insert(name, value)),
            'p' => said.paths[0].push(rest.into()),
            'q' => said.paths[1].push(rest.into()),
            's' => said.passwords += &format!("{rest}\n"),
            'r' => said.requests.push(rest.to_owned()),
            _ => {}
        }
    }
    said
}

fn name(text: &str) -> ServiceName {
    ServiceName::new("default", text)
}

fn options(behaviour: Behaviour) -> Options {
    Options {
        behaviour,
        without_class: true,
        config_map: Some(name(MAPS[0])),
        tcp_services: Some(name(MAPS[1])),
        udp_services: Some(name(MAPS[2])),
        ..Options::default()
    }
}

fn events(said: &Said) -> Vec<IngressEvent> {
    let mut events = vec![class(), service("a"), service("b"), passwords(said)];
    for (map, data) in MAPS.into_iter().zip(&said.maps) {
        let (name, data) = (name(map), data.clone());
        let map = ConfigMap {
            name: name.clone(),
            data,
        };
        events.push(IngressEvent::ConfigMap(name, Observed::new(map)));
    }
    events.extend([0, 1].map(|index| ingress(said, index)));
    events
}

fn class() -> IngressEvent {
    let class = IngressClass {
        name: "ours".into(),
        created: 0,
        controller: CONTROLLER.into(),
        is_default: false,
        behaviour: None,
    };
    IngressEvent::Class("ours".into(), Observed::new(class))
}

fn service(text: &str) -> IngressEvent {
    let port = UpstreamPort {
        name: "http".into(),
        protocol: Protocol::Tcp,
        port: 80,
        target: None,
        app_protocol: None,
    };
    let service = UpstreamService {
        name: name(text),
        external: None,
        family: IpFamily::V4,
        cluster: None,
        ports: vec![port],
    };
    IngressEvent::Service(name(text), Observed::new(service))
}

fn passwords(said: &Said) -> IngressEvent {
    let file: Arc<[u8]> = said.passwords.as_bytes().into();
    let secret = Secret {
        name: name("s"),
        certificate: None,
        key: None,
        authority: Some(Arc::clone(&file)),
        auth: Some(Arc::clone(&file)),
        others: [("user".into(), file)].into(),
    };
    IngressEvent::Secret(name("s"), Observed::new(secret))
}

fn ingress(said: &Said, index: usize) -> IngressEvent {
    let service = ["a", "b"][index];
    let path = |path: &Arc<str>| IngressPath {
        path: Arc::clone(path),
        kind: IngressPathType::ImplementationSpecific,
        backend: IngressBackend::Service {
            name: service.into(),
            port: PortRef::Number(80),
        },
    };
    let mut paths: Vec<IngressPath> = said.paths[index].iter().map(path).collect();
    paths.push(path(&"/".into()));
    let ingress = Ingress {
        name: name(service),
        created: 0,
        class: None,
        class_annotation: None,
        default_backend: None,
        rules: vec![IngressRule {
            host: HOSTS[index].into(),
            paths,
        }],
        tls: Vec::new(),
        annotations: said.annotations[index].clone(),
        addresses: Vec::new(),
    };
    IngressEvent::Ingress(name(service), Observed::new(ingress))
}

/// Reads bytes as what a client or a load balancer sends before or in the head of a request, and
/// as files of a Secret.
///
/// # Errors
/// What does not hold.
pub fn check_bytes(bytes: &[u8]) -> Result<(), String> {
    header(bytes)?;
    if let Ok(value) = HeaderValue::from_bytes(bytes) {
        Credentials::read(&value);
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, value);
        cookies::all(&headers).for_each(drop);
        cookies::last(&headers, "a");
    }
    Users::parse(bytes);
    let half = bytes.len() / 2;
    let _ = tls::parse(&bytes[..half], &bytes[half..]);
    let _ = tls::parse(bytes, bytes);
    Ok(())
}

/// A header of the PROXY protocol: decided by its own bytes, whatever follows.
fn header(bytes: &[u8]) -> Result<(), String> {
    let Header::Whole(length, from) = proxy_protocol::parse(bytes) else {
        return Ok(());
    };
    let own = bytes.get(..length).ok_or("longer than what there is")?;
    if proxy_protocol::parse(own) != Header::Whole(length, from) {
        return Err(format!("what follows changes {own:?}"));
    }
    if proxy_protocol::parse(&own[..length - 1]) != Header::Partial {
        return Err(format!("{own:?} is whole without its last byte"));
    }
    let Some(from) = from else {
        return Ok(());
    };
    let written = proxy_protocol::write(from, SocketAddr::new(from.ip(), 1));
    // An IPv4 address in an IPv6 one is written as what it is.
    let canonical = SocketAddr::new(from.ip().to_canonical(), from.port());
    let expected = Header::Whole(written.len(), Some(canonical));
    match proxy_protocol::parse(written.as_bytes()) {
        read if read == expected => Ok(()),
        read => Err(format!("{written:?} is read as {read:?}")),
    }
}
