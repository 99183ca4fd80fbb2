// SPDX-License-Identifier: Apache-2.0
//! Who may come in, and how often: the whole program on a directory of manifests.

mod access;
mod basic;
mod certificate;
mod external;
mod limit;
mod load;

use std::fmt::Write as _;
use std::fs;
use std::net::{SocketAddr, TcpStream};

use super::hand_over::Process;
use super::rig::{Answer, Client, Endpoint, eventually, own_address};

/// What annotations of ingress-nginx begin with.
const NGINX: &str = "nginx.ingress.kubernetes.io/";

/// Manifests, and the program that serves them.
pub(super) struct World {
    folder: tempfile::TempDir,
    others: tempfile::TempDir,
    pub(super) echo: Endpoint,
    pub(super) http: SocketAddr,
    pub(super) https: SocketAddr,
    process: Option<Process>,
}

impl World {
    /// A Service whose endpoint answers with what it has received; none if this host has no address
    /// for it.
    pub(super) fn new() -> Option<Self> {
        let echo = Endpoint::echo_at(own_address()?);
        let world = Self {
            folder: tempfile::tempdir().unwrap(),
            others: tempfile::tempdir().unwrap(),
            http: Endpoint::nobody(),
            https: Endpoint::nobody(),
            process: None,
            echo,
        };
        let (address, port) = (world.echo.address.ip(), world.echo.address.port());
        world.put(
            "base",
            &format!(
                "apiVersion: networking.k8s.io/v1\nkind: IngressClass\nmetadata: {{name: f}}\n\
                 spec: {{controller: ferrule.dev/ingress}}\n---\n\
                 apiVersion: v1\nkind: Service\nmetadata: {{name: web, namespace: default}}\n\
                 spec: {{clusterIP: 10.96.0.1, ports: [{{port: 80}}]}}\n---\n\
                 apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
                 metadata: {{name: web-1, namespace: default,\n  \
                   labels: {{kubernetes.io/service-name: web}}}}\n\
                 addressType: IPv4\nports: [{{port: {port}}}]\n\
                 endpoints: [{{addresses: [{address}]}}]\n"
            ),
        );
        Some(world)
    }

    /// Writes a manifest, or replaces it.
    pub(super) fn put(&self, name: &str, yaml: &str) {
        let new = self.folder.path().join("new");
        fs::write(&new, yaml).unwrap();
        fs::rename(&new, self.folder.path().join(name).with_extension("yaml")).unwrap();
    }

    /// A file beside the manifests, which is none of them.
    pub(super) fn file(&self, name: &str) -> std::path::PathBuf {
        self.others.path().join(name)
    }

    /// An Ingress `default/NAME` for the host `NAME.example`, path `/`, with annotations.
    pub(super) fn ingress(&self, name: &str, annotations: &[(&str, &str)]) {
        self.ingress_at(name, "/", annotations);
    }

    /// The same with another path.
    pub(super) fn ingress_at(&self, name: &str, path: &str, annotations: &[(&str, &str)]) {
        let host = name.split('-').next().unwrap();
        let mut lines = String::new();
        for (name, value) in annotations {
            let _ = writeln!(lines, "    {NGINX}{name}: {value:?}");
        }
        let annotations = if lines.is_empty() {
            String::new()
        } else {
            format!("  annotations:\n{lines}")
        };
        self.put(
            &format!("ingress-{name}"),
            &format!(
                "apiVersion: networking.k8s.io/v1\nkind: Ingress\n\
                 metadata:\n  name: {name}\n  namespace: default\n{annotations}\
                 spec:\n  ingressClassName: f\n  rules:\n  - host: {host}.example\n    http:\n      \
                 paths:\n      - path: {path}\n        pathType: Prefix\n        \
                 backend: {{service: {{name: web, port: {{number: 80}}}}}}\n"
            ),
        );
    }

    /// A Secret `default/NAME`, or ConfigMap.
    pub(super) fn object(&self, kind: &str, name: &str, entries: &[(&str, &str)]) {
        let field = if kind == "Secret" {
            "stringData"
        } else {
            "data"
        };
        let mut text = format!(
            "apiVersion: v1\nkind: {kind}\nmetadata: {{name: {name}, namespace: default}}\n{field}:\n"
        );
        for (name, value) in entries {
            let _ = writeln!(text, "  {name:?}: {value:?}");
        }
        self.put(&format!("{kind}-{name}"), &text);
    }

    /// The ConfigMap with settings.
    pub(super) fn settings(&self, entries: &[(&str, &str)]) {
        self.object("ConfigMap", "settings", entries);
    }

    /// Serves what has been written; what is written later is served soon.
    pub(super) fn start(&mut self) {
        let https = format!("--https-port={}", self.https.port());
        let flags = [
            https.as_str(),
            "--configmap=default/settings",
            "--threads=2",
        ];
        self.process = Some(Process::start(self.folder.path(), self.http, &flags));
        // Ports open once a complete table is in place.
        for address in [self.http, self.https] {
            eventually("it serves", || TcpStream::connect(address).is_ok());
        }
    }

    pub(super) fn connect(&self) -> Client {
        Client::connect(self.http)
    }

    /// Asks for `/PATH` of the host `NAME.example`, with more lines in the head.
    pub(super) fn get(&self, name: &str, path: &str, lines: &[&str]) -> Answer {
        self.connect().ask(request(name, path, lines))
    }

    pub(super) fn status(&self, name: &str) -> u16 {
        self.get(name, "/", &[]).status
    }
}

pub(super) fn request(name: &str, path: &str, lines: &[&str]) -> String {
    let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    format!("GET {path} HTTP/1.1\r\nHost: {name}.example\r\n{lines}\r\n")
}

/// `Authorization` of a name and a password.
pub(super) fn basic(text: &str) -> String {
    use base64::Engine as _;
    let encoded = base64::engine::general_purpose::STANDARD.encode(text);
    format!("Authorization: Basic {encoded}")
}

/// The lines of a head with this name.
pub(super) fn all<'a>(head: &'a str, name: &str) -> Vec<&'a str> {
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    let lines = lines.filter(|(n, _)| n.eq_ignore_ascii_case(name));
    lines.map(|(_, value)| value.trim()).collect()
}
