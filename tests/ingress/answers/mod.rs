// SPDX-License-Identifier: Apache-2.0
//! What annotations do to answers, from manifests to the bytes that a client gets: the whole program,
//! real sockets.

mod compress;
mod cors;
mod errors;
mod headers;
mod mirror;
mod rate;
mod snippets;

use std::fs;
use std::net::{IpAddr, SocketAddr, TcpStream};

use serde_json::{Value, json};

use super::hand_over::Process;
use super::rig::{Answer, Client, Endpoint, Served, eventually, own_address};

/// What runs.
pub(super) struct Cluster {
    objects: Vec<Value>,
    flags: Vec<String>,
    own: IpAddr,
}

/// The program, on the objects of a cluster.
pub(super) struct Running {
    _process: Process,
    folder: tempfile::TempDir,
    pub(super) http: SocketAddr,
}

impl Cluster {
    /// Without Ingresses; none if this host has no address that endpoints may have.
    pub(super) fn new() -> Option<Self> {
        let class = json!({"apiVersion": "networking.k8s.io/v1", "kind": "IngressClass",
            "metadata": {"name": "f"}, "spec": {"controller": "ferrule.dev/ingress"}});
        Some(Self {
            objects: vec![class],
            flags: Vec::new(),
            own: own_address()?,
        })
    }

    /// An address for endpoints.
    pub(super) fn own(&self) -> IpAddr {
        self.own
    }

    /// A Service of one endpoint, or of none.
    pub(super) fn service(mut self, name: &str, endpoint: Option<SocketAddr>) -> Self {
        let meta = json!({"name": name, "namespace": "default"});
        self.objects.push(
            json!({"apiVersion": "v1", "kind": "Service", "metadata": meta,
            "spec": {"clusterIP": "10.96.0.1", "ports": [{"port": 80}]}}),
        );
        let Some(endpoint) = endpoint else {
            return self;
        };
        let labels = json!({"kubernetes.io/service-name": name});
        self.objects.push(
            json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": name, "namespace": "default", "labels": labels},
            "addressType": "IPv4", "ports": [{"port": endpoint.port()}],
            "endpoints": [{"addresses": [endpoint.ip().to_string()]}]}),
        );
        self
    }

    /// The Ingress of a host, whose first label is its name, to the Service `web`.
    pub(super) fn ingress(self, host: &str, annotations: &[(&str, &str)]) -> Self {
        let name = host.split('.').next().unwrap_or_default().to_owned();
        self.ingress_to(&name, host, "web", annotations)
    }

    pub(super) fn ingress_to(
        mut self,
        name: &str,
        host: &str,
        service: &str,
        annotations: &[(&str, &str)],
    ) -> Self {
        let annotations: serde_json::Map<String, Value> = annotations
            .iter()
            .map(|(name, value)| (format!("nginx.ingress.kubernetes.io/{name}"), json!(value)))
            .collect();
        let path = json!({"path": "/", "pathType": "Prefix",
            "backend": {"service": {"name": service, "port": {"number": 80}}}});
        let age = self.objects.len();
        self.objects.push(json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
            "metadata": {"name": name, "namespace": "default", "annotations": annotations,
                "creationTimestamp": format!("2026-01-01T00:{:02}:{:02}Z", age / 60, age % 60)},
            "spec": {"ingressClassName": "f", "rules": [{"host": host, "http": {"paths": [path]}}]}}));
        self
    }

    /// A ConfigMap of namespace `sys`.
    pub(super) fn config_map(mut self, name: &str, data: &[(&str, &str)]) -> Self {
        self.objects.push(config_map(name, data));
        self
    }

    /// A Secret with one key, whose value is in base64.
    pub(super) fn secret(mut self, name: &str, key: &str, value: &str) -> Self {
        self.objects.push(
            json!({"apiVersion": "v1", "kind": "Secret", "type": "Opaque",
            "metadata": {"name": name, "namespace": "default"}, "data": {key: value}}),
        );
        self
    }

    pub(super) fn flag(mut self, flag: &str) -> Self {
        self.flags.push(flag.to_owned());
        self
    }

    pub(super) fn start(self) -> Running {
        let folder = tempfile::tempdir().unwrap();
        for (number, object) in self.objects.iter().enumerate() {
            // The class and what Ingresses name come in any order.
            let path = folder.path().join(format!("{:03}.json", 999 - number));
            fs::write(path, object.to_string()).unwrap();
        }
        let http = Endpoint::nobody();
        let flags: Vec<&str> = self.flags.iter().map(String::as_str).collect();
        let flags = [&flags[..], &["--configmap=sys/settings"]].concat();
        let process = Process::start(folder.path(), http, &flags);
        eventually("it serves", || TcpStream::connect(http).is_ok());
        Running {
            _process: process,
            folder,
            http,
        }
    }
}

fn config_map(name: &str, data: &[(&str, &str)]) -> Value {
    let data: serde_json::Map<String, Value> = data
        .iter()
        .map(|(key, value)| ((*key).to_owned(), json!(value)))
        .collect();
    json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "sys"}, "data": data})
}

impl Running {
    /// Replaces a ConfigMap that is in a file of its own.
    pub(super) fn put(&self, name: &str, data: &[(&str, &str)]) {
        let new = self.folder.path().join("new");
        fs::write(&new, config_map(name, data).to_string()).unwrap();
        fs::rename(&new, self.folder.path().join(format!("{name}.json"))).unwrap();
    }

    pub(super) fn client(&self) -> Client {
        Client::connect(self.http)
    }

    /// A request of a method without a body.
    pub(super) fn ask(&self, method: &str, host: &str, path: &str, headers: &[&str]) -> Answer {
        let mut client = self.client();
        client.send(head(method, host, path, headers));
        client.answer(method == "HEAD")
    }

    pub(super) fn get(&self, host: &str, path: &str) -> Answer {
        self.ask("GET", host, path, &[])
    }
}

/// The head of a request.
pub(super) fn head(method: &str, host: &str, path: &str, headers: &[&str]) -> String {
    let lines: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n")
}

/// All values of a header of an answer.
pub(super) fn all<'a>(answer: &'a Answer, name: &str) -> Vec<&'a str> {
    let lines = answer.head.lines().filter_map(|line| line.split_once(':'));
    let named = lines.filter(|(n, _)| n.eq_ignore_ascii_case(name));
    named.map(|(_, value)| value.trim()).collect()
}

/// Answers `/status/N` with that status, `/headers` with headers that others may change, and all
/// else with what it has received.
pub(super) fn endpoint(own: IpAddr) -> Endpoint {
    Endpoint::serving_at(own, |mut served, _| {
        while let Some(request) = served.request() {
            let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
            let path = path.split('?').next().unwrap_or_default();
            match path.strip_prefix("/status/") {
                Some(status) => {
                    let text = format!("the endpoint says {status}");
                    say(&mut served, status, "X-Endpoint: 1\r\n", &text);
                }
                None if path == "/headers" => say(
                    &mut served,
                    "200",
                    "X-One: endpoint\r\nX-Two: endpoint\r\nX-Hidden: 1\r\nServer: endpoint\r\n\
                     Access-Control-Allow-Origin: endpoint\r\nAccess-Control-Expose-Headers: e\r\n\
                     Content-Type: text/html\r\n",
                    "headers",
                ),
                None => served.answer(&request),
            }
        }
    })
}

fn say(served: &mut Served, status: &str, headers: &str, body: &str) {
    let length = body.len();
    served.client.send(format!(
        "HTTP/1.1 {status} So\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
    ));
}
