// SPDX-License-Identifier: Apache-2.0
//! A case as Kubernetes objects, and where its endpoints are.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::case::{Case, Endpoint, Ingress, PathSpec, Secret, Service};
use super::certificates::Certificates;
use super::echo::{Behaviour, Known, PLAIN, TLS};

/// What begins the names of all annotations.
pub const PREFIX: &str = "nginx.ingress.kubernetes.io/";
/// The class of all Ingresses.
pub const CLASS: &str = "nginx";
/// Nobody listens there.
const NOBODY: u16 = 9;

/// A Service's place.
#[derive(Debug, Clone)]
pub struct Placed {
    /// The Service.
    pub service: Service,
    /// Its port.
    pub port: u16,
    /// Its cluster IP.
    pub cluster_ip: IpAddr,
    /// Its endpoints.
    pub endpoints: Vec<SocketAddr>,
}

/// Where everything is: addresses of one network namespace.
#[derive(Debug, Default)]
pub struct Places {
    services: HashMap<(String, String), Placed>,
    /// Who answers there.
    pub known: HashMap<IpAddr, Known>,
    /// Packets to these get lost.
    pub silent: Vec<IpAddr>,
}

fn address(second: u8, number: usize) -> IpAddr {
    let octet = |number: usize| u8::try_from(number % 250 + 1).unwrap_or(1);
    Ipv4Addr::new(10, second, octet(number / 250), octet(number)).into()
}

impl Places {
    /// Gives each endpoint of all cases an address.
    #[must_use]
    pub fn new(cases: &[Case]) -> Self {
        let mut places = Self::default();
        for case in cases {
            for (name, service) in case.services() {
                places.place(case, name, service);
            }
        }
        places
    }

    fn place(&mut self, case: &Case, name: String, service: Service) {
        let number = self.known.len() + self.silent.len();
        let cluster_ip = address(94, number);
        let mut endpoints = Vec::new();
        for (index, endpoint) in service.endpoints.iter().enumerate() {
            let usual = if service.tls { TLS } else { PLAIN };
            let address = address(92, number + index);
            let (behaviour, port) = match endpoint {
                Endpoint::Doing(behaviour) => (behaviour.clone(), usual),
                Endpoint::Named(name) if name == "silent" => {
                    self.silent.push(address);
                    endpoints.push(SocketAddr::new(address, usual));
                    continue;
                }
                Endpoint::Named(_) => (Box::default(), NOBODY),
            };
            endpoints.push(SocketAddr::new(address, port));
            self.know(address, &name, index, *behaviour);
        }
        if service.cluster_ip || service.endpoints.is_empty() {
            self.know(cluster_ip, "ip", 0, Behaviour::default());
        }
        // A cluster IP that answers does so at the endpoints' port.
        let port = if service.cluster_ip { PLAIN } else { 80 };
        let placed = Placed {
            service,
            port,
            cluster_ip,
            endpoints,
        };
        self.services.insert((case.name.clone(), name), placed);
    }

    fn know(&mut self, address: IpAddr, service: &str, endpoint: usize, behaviour: Behaviour) {
        let known = Known {
            service: service.to_owned(),
            endpoint,
            behaviour,
        };
        self.known.insert(address, known);
    }

    /// Adds a world's default backend.
    pub fn add_default(&mut self, address: IpAddr, behaviour: Behaviour) {
        self.know(address, "default", 0, behaviour);
    }

    /// The place of a case's Service.
    #[must_use]
    pub fn of(&self, case: &str, service: &str) -> Option<&Placed> {
        self.services.get(&(case.to_owned(), service.to_owned()))
    }
}

/// The objects of a case.
///
/// # Errors
/// If it names a Secret that nobody knows.
pub fn objects(case: &Case, places: &Places, certificates: &Certificates) -> Result<Vec<Value>> {
    let mut objects = Vec::new();
    for name in case.services().keys() {
        if let Some(placed) = places.of(&case.name, name)
            && !placed.service.missing
        {
            service(case, name, placed, &mut objects);
        }
    }
    for (name, secret) in &case.secrets {
        let data = secret_data(secret, certificates)?;
        let kind = match data.contains_key("tls.key") {
            true => "kubernetes.io/tls",
            false => "Opaque",
        };
        objects.push(json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": meta(case, name),
            "type": kind, "stringData": data,
        }));
    }
    for (name, data) in &case.config_maps {
        objects.push(json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": meta(case, name), "data": data,
        }));
    }
    for spec in &case.ingress {
        objects.push(ingress(case, spec, places));
    }
    Ok(objects)
}

/// What a Secret holds.
///
/// # Errors
/// If nobody knows one of this name.
pub fn secret_data(
    secret: &Secret,
    certificates: &Certificates,
) -> Result<BTreeMap<String, String>> {
    match secret {
        Secret::Data(data) => Ok(data.clone()),
        Secret::Known(name) => certificates
            .secret(name)
            .with_context(|| format!("no Secret is known as {name}")),
    }
}

fn meta(case: &Case, name: &str) -> Value {
    json!({ "name": name, "namespace": case.name })
}

fn service(case: &Case, name: &str, placed: &Placed, objects: &mut Vec<Value>) {
    let port = placed.port;
    let target = if placed.service.tls { TLS } else { PLAIN };
    objects.push(json!({
        "apiVersion": "v1", "kind": "Service", "metadata": meta(case, name),
        "spec": {
            "clusterIP": placed.cluster_ip,
            "ports": [{ "name": "http", "port": port, "targetPort": target, "protocol": "TCP" }],
        },
    }));
    let mut by_port: BTreeMap<u16, Vec<Value>> = BTreeMap::new();
    for endpoint in &placed.endpoints {
        let entry = json!({ "addresses": [endpoint.ip()], "conditions": { "ready": true } });
        by_port.entry(endpoint.port()).or_default().push(entry);
    }
    for (port, endpoints) in by_port {
        let labels = json!({ "kubernetes.io/service-name": name });
        objects.push(json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {
                "name": format!("{name}-{port}"), "namespace": case.name, "labels": labels,
            },
            "addressType": "IPv4",
            "ports": [{ "name": "http", "port": port, "protocol": "TCP" }],
            "endpoints": endpoints,
        }));
    }
}

fn ingress(case: &Case, spec: &Ingress, places: &Places) -> Value {
    let backend = |to: &str| {
        let port = places.of(&case.name, to).map_or(80, |placed| placed.port);
        json!({ "service": { "name": to, "port": { "number": port } } })
    };
    let path = |path: &PathSpec| {
        let mut entry = json!({ "pathType": path.kind, "backend": backend(&path.to) });
        if !path.path.is_empty() {
            entry["path"] = json!(path.path);
        }
        entry
    };
    let rules = spec.rules().into_iter().map(|rule| {
        let mut entry = json!({});
        if !rule.host.is_empty() {
            entry["host"] = json!(rule.host);
        }
        if !rule.paths.is_empty() {
            let paths: Vec<Value> = rule.paths.iter().map(path).collect();
            entry["http"] = json!({ "paths": paths });
        }
        entry
    });
    let annotations = spec.annotations.iter();
    let annotations: BTreeMap<String, &String> = annotations
        .map(|(name, value)| (format!("{PREFIX}{name}"), value))
        .collect();
    let mut object = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": {
            "name": spec.name, "namespace": case.name, "annotations": annotations,
            "uid": format!("{}-{}", case.name, spec.name),
            "creationTimestamp": format!("2026-01-01T00:{:02}:00Z", spec.age),
        },
        "spec": { "ingressClassName": CLASS, "rules": rules.collect::<Vec<_>>() },
    });
    if let Some(default) = &spec.default {
        object["spec"]["defaultBackend"] = backend(default);
    }
    if !spec.tls.is_empty() {
        let mut tls = json!({ "hosts": spec.tls });
        if let Some(secret) = &spec.tls_secret {
            tls["secretName"] = json!(secret);
        }
        object["spec"]["tls"] = json!([tls]);
    }
    object
}
