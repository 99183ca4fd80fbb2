// SPDX-License-Identifier: Apache-2.0
//! The whole program on a directory of manifests with annotations.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use super::hand_over::Process;
use super::rig::{Answer, Client, Endpoint, eventually, free, own_address};

/// Objects in the making, then a program that serves them until it is dropped.
pub(crate) struct World {
    folder: tempfile::TempDir,
    text: String,
    own: IpAddr,
    http: SocketAddr,
    ingresses: usize,
    process: Option<Process>,
}

impl World {
    /// None if this host cannot have endpoints.
    pub(crate) fn new() -> Option<Self> {
        let class = "apiVersion: networking.k8s.io/v1\nkind: IngressClass\nmetadata: {name: f}\n\
                     spec: {controller: ferrule.dev/ingress}\n";
        Some(Self {
            own: own_address()?,
            folder: tempfile::tempdir().unwrap(),
            text: class.to_owned(),
            http: Endpoint::nobody(),
            ingresses: 0,
            process: None,
        })
    }

    /// An endpoint that tells its name.
    pub(crate) fn named(&self, name: &'static str) -> Endpoint {
        Endpoint::serving_at(self.own, move |mut served, _| {
            while served.request().is_some() {
                served.answer(name);
            }
        })
    }

    /// An endpoint that answers each request with what it has received.
    pub(crate) fn echo(&self) -> Endpoint {
        Endpoint::echo_at(self.own)
    }

    /// An endpoint that answers so.
    pub(crate) fn saying(&self, answer: &'static str) -> Endpoint {
        Endpoint::serving_at(self.own, move |mut served, _| {
            while served.request().is_some() {
                served.client.send(answer);
            }
        })
    }

    /// An address of an endpoint where nobody listens.
    pub(crate) fn nobody(&self) -> SocketAddr {
        free(self.own)
    }

    pub(crate) fn own(&self) -> IpAddr {
        self.own
    }

    /// Ingresses are read as ingress-nginx reads them.
    pub(crate) fn behaves_as_ingress_nginx(&mut self) {
        let annotations = "annotations: {ferrule.dev/behaviour: ingress-nginx}";
        let named = "metadata: {name: f";
        self.text = self
            .text
            .replacen(named, &format!("{named}, {annotations}"), 1);
    }

    fn add(&mut self, text: &str) {
        write!(self.text, "---\n{text}").unwrap();
    }

    /// A Service with port 80, which these endpoints answer.
    pub(crate) fn service(&mut self, name: &str, endpoints: &[SocketAddr]) {
        self.service_at(name, "None", 80, endpoints);
    }

    pub(crate) fn service_at(
        &mut self,
        name: &str,
        cluster_ip: &str,
        port: u16,
        endpoints: &[SocketAddr],
    ) {
        self.add(&format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: default}}\n\
             spec: {{clusterIP: {cluster_ip:?}, ports: [{{port: {port}}}]}}\n"
        ));
        for (n, endpoint) in endpoints.iter().enumerate() {
            let (address, port) = (endpoint.ip(), endpoint.port());
            let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
            self.add(&format!(
                "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
                 metadata: {{name: {name}-{n}, namespace: default, \
                 labels: {{kubernetes.io/service-name: {name}}}}}\n\
                 addressType: {family}\nports: [{{port: {port}}}]\n\
                 endpoints: [{{addresses: [{address:?}]}}]\n"
            ));
        }
    }

    /// An Ingress for all paths of `a.example`; each is younger than the one before.
    pub(crate) fn ingress(&mut self, name: &str, service: &str, annotations: &[(&str, &str)]) {
        self.path(name, "/", service, annotations);
    }

    /// The same for a path.
    pub(crate) fn path(
        &mut self,
        name: &str,
        path: &str,
        service: &str,
        annotations: &[(&str, &str)],
    ) {
        self.path_to(name, path, (service, 80), annotations);
    }

    /// The same to another port.
    pub(crate) fn path_to(
        &mut self,
        name: &str,
        path: &str,
        (service, port): (&str, u16),
        annotations: &[(&str, &str)],
    ) {
        self.ingresses += 1;
        let age = self.ingresses;
        let all = annotations.iter();
        let all: Vec<String> = all
            .map(|(name, value)| format!("nginx.ingress.kubernetes.io/{name}: {value:?}"))
            .collect();
        let annotations = all.join(", ");
        self.add(&format!(
            "apiVersion: networking.k8s.io/v1\nkind: Ingress\n\
             metadata: {{name: {name}, namespace: default, annotations: {{{annotations}}}, \
             creationTimestamp: \"2026-01-01T00:00:{age:02}Z\"}}\n\
             spec: {{ingressClassName: f, rules: [{{host: a.example, http: {{paths: [{{\
             path: {path}, pathType: Prefix, \
             backend: {{service: {{name: {service}, port: {{number: {port}}}}}}}}}]}}}}]}}\n"
        ));
    }

    /// A Secret with these texts.
    pub(crate) fn secret(&mut self, name: &str, data: &[(&str, &str)]) {
        let data = data.iter();
        let data: Vec<String> = data.map(|(key, text)| format!("{key}: {text:?}")).collect();
        let data = data.join(", ");
        self.add(&format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}, namespace: default}}\n\
             stringData: {{{data}}}\n"
        ));
    }

    /// Starts the program, and waits until `path` is answered as it should be.
    pub(crate) fn start(&mut self, flags: &[&str]) {
        std::fs::write(self.folder.path().join("all.yaml"), &self.text).unwrap();
        self.process = Some(Process::start(self.folder.path(), self.http, flags));
        eventually("it listens", || {
            std::net::TcpStream::connect(self.http).is_ok()
        });
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.http)
    }

    /// Sends a request for a path with more lines of head.
    pub(crate) fn get(&self, path: &str, lines: &[&str]) -> Answer {
        self.send("GET", path, lines, "")
    }

    /// The same with a method and a body.
    pub(crate) fn send(&self, method: &str, path: &str, lines: &[&str], body: &str) -> Answer {
        let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        let request = format!("{method} {path} HTTP/1.1\r\nHost: a.example\r\n{lines}\r\n{body}");
        self.connect().ask(request)
    }

    /// What answers a GET of `/`.
    pub(crate) fn body(&self, lines: &[&str]) -> String {
        let answer = self.get("/", lines);
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body
    }

    /// The program's metrics.
    pub(crate) fn metrics(&self) -> String {
        let process = self.process.as_ref().expect("it runs");
        let mut client = Client::connect(process.health);
        client.ask("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").body
    }
}
