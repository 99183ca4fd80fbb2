// SPDX-License-Identifier: Apache-2.0
//! The whole program on a directory with all rows, its endpoints, and clients that ask it.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::hand_over::Process;
use crate::rig::{Answer, Client, Endpoint, eventually, header};

/// Names that the certificates are made for.
const NAMES: [&str; 7] = [
    "tls.example",
    "acme.example",
    "ssl-redirect.example",
    "no-ssl-redirect.example",
    "hsts.example",
    "tls-settings.example",
    "force.example",
];

/// What a request and its answer came to.
pub(super) struct Asked {
    pub(super) answer: Answer,
}

impl Asked {
    pub(super) fn status(&self) -> u16 {
        self.answer.status
    }

    /// A header of the answer.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.answer.header(name)
    }

    /// The first line that the endpoint was sent, after the endpoint's name.
    pub(super) fn line(&self) -> &str {
        let body = self.answer.body.lines().nth(1).unwrap_or_default();
        body.strip_suffix(" HTTP/1.1").unwrap_or(body)
    }

    /// A header that the endpoint was sent.
    pub(super) fn sent(&self, name: &str) -> Option<&str> {
        header(&self.answer.body, name)
    }

    /// The name of the endpoint that answered.
    pub(super) fn by(&self) -> &str {
        self.answer.body.lines().next().unwrap_or_default()
    }
}

pub(super) struct Site {
    pub(super) http: SocketAddr,
    pub(super) https: SocketAddr,
    folder: TempDir,
    _process: Process,
}

impl Site {
    pub(super) fn start(own: IpAddr, rows: impl Iterator<Item = &'static str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let auth = authority(own);
        for (n, yaml) in rows.enumerate() {
            let yaml = yaml.replace("//AUTH/", &format!("//{}/", auth.address));
            fs::write(folder.path().join(format!("row-{n}.yaml")), yaml).unwrap();
        }
        common(folder.path(), own);
        let (http, https) = (Endpoint::nobody(), Endpoint::nobody());
        let flags = [
            format!("--https-port={}", https.port()),
            "--controller-class=ferrule.dev/ingress,k8s.io/ingress-nginx".to_owned(),
            "--ingress-class=nginx".to_owned(),
            "--configmap=default/settings".to_owned(),
        ];
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let process = Process::start(folder.path(), http, &flags);
        let listens = |address| std::net::TcpStream::connect(address).is_ok();
        eventually("it serves", || listens(http) && listens(https));
        Self {
            http,
            https,
            folder,
            _process: process,
        }
    }

    /// Sends a request line's method and URI with headers to a host, and reads the answer.
    pub(super) fn ask(&self, method_and_uri: &str, host: &str, headers: &str) -> Asked {
        self.send(method_and_uri, host, headers, "")
    }

    pub(super) fn get(&self, host: &str, uri: &str) -> Asked {
        self.ask(&format!("GET {uri}"), host, "")
    }

    pub(super) fn send(&self, line: &str, host: &str, headers: &str, body: &str) -> Asked {
        let length = match body.len() {
            0 => String::new(),
            length => format!("Content-Length: {length}\r\n"),
        };
        let request = format!("{line} HTTP/1.1\r\nHost: {host}\r\n{headers}{length}\r\n{body}");
        let answer = Client::connect(self.http).ask(request);
        Asked { answer }
    }

    /// The head of the answer to curl over TLS, in lower case; with a name whose certificate must be
    /// shown, if there is one.
    pub(super) fn curl(&self, host: &str, verified: bool) -> String {
        let port = self.https.port();
        let trust = match verified {
            true => format!("--cacert={}/tls.pem", self.folder.path().display()),
            false => "--insecure".to_owned(),
        };
        let (flag, value) = trust.split_once('=').unwrap_or((&trust, ""));
        let output = Command::new("curl")
            .args(["-sSi", "--max-time", "10", flag])
            .args((!value.is_empty()).then_some(value))
            .args(["--resolve", &format!("{host}:{port}:{}", self.https.ip())])
            .arg(format!("https://{host}:{port}/"))
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).to_ascii_lowercase()
    }

    /// What `ferrule debug ingress --lint` tells of an object.
    pub(super) fn lint(&self, object: &str) -> String {
        let output = Command::new(env!("CARGO_BIN_EXE_ferrule"))
            .args(["debug", "ingress", "--lint", "--configmap=default/settings"])
            .arg("--manifests")
            .arg(self.folder.path())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let begin = format!("{object} ");
        let lines = text.lines().map(str::trim_start);
        let lines: Vec<&str> = lines.filter(|line| line.starts_with(&begin)).collect();
        lines.join("\n")
    }
}

/// Answers with its name and what it has received.
fn named(own: IpAddr, name: &'static str) -> Endpoint {
    Endpoint::serving_at(own, move |mut served, _| {
        while let Some(request) = served.request() {
            let body = format!("{name}\n{request}");
            let length = body.len();
            served.client.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n{body}"
            ));
        }
    })
}

/// Answers 200 to who has the password, and 401 to all others.
fn authority(own: IpAddr) -> Endpoint {
    Endpoint::serving_at(own, |mut served, _| {
        while let Some(request) = served.request() {
            let status = match header(&request, "x-password") == Some("secret") {
                true => "200 OK",
                false => "401 Unauthorized",
            };
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
            served.client.send(answer);
        }
    })
}

/// Never answers.
fn silent(own: IpAddr) -> Endpoint {
    Endpoint::serving_at(own, |mut served, _| {
        let _ = served.request();
        std::thread::sleep(Duration::from_secs(60));
    })
}

fn service(name: &str, endpoints: &[&Endpoint]) -> String {
    let mut text = format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: default}}\n\
         spec: {{clusterIP: 10.96.0.1, ports: [{{name: http, port: 80}}]}}\n"
    );
    for (n, endpoint) in endpoints.iter().enumerate() {
        let (address, port) = (endpoint.address.ip(), endpoint.address.port());
        text += &format!(
            "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
             metadata: {{name: {name}-{n}, namespace: default, \
             labels: {{kubernetes.io/service-name: {name}}}}}\naddressType: IPv4\n\
             ports: [{{name: http, port: {port}}}]\nendpoints: [{{addresses: [\"{address}\"]}}]\n"
        );
    }
    text
}

/// A Secret with a certificate for some names, and the certificate.
fn secret(name: &str, names: &[&str]) -> (String, String) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let indent = |text: &str| text.trim_end().replace('\n', "\n    ");
    let text = format!(
        "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: {name}, namespace: default}}\n\
         type: kubernetes.io/tls\nstringData:\n  tls.crt: |\n    {}\n  tls.key: |\n    {}\n",
        indent(&certificate),
        indent(&key)
    );
    (text, certificate)
}

/// What all rows share: the class of ingress-nginx, Services with endpoints, certificates.
fn common(folder: &Path, own: IpAddr) {
    let (web, other, more) = (named(own, "web"), named(own, "other"), named(own, "more"));
    let mut text =
        "apiVersion: networking.k8s.io/v1\nkind: IngressClass\nmetadata:\n  name: nginx\n\
         \x20 annotations: {ingressclass.kubernetes.io/is-default-class: 'true'}\n\
         spec: {controller: k8s.io/ingress-nginx}\n"
            .to_owned();
    text += &service("web", &[&web]);
    text += &service("other", &[&other]);
    text += &service("both", &[&web, &other, &more]);
    text += &service("slow", &[&silent(own)]);
    let (first, one) = secret("tls-example", &NAMES);
    let (second, two) = secret("other-tls-example", &["other-tls.example"]);
    fs::write(folder.join("common.yaml"), text + &first + &second).unwrap();
    fs::write(folder.join("tls.pem"), one + &two).unwrap();
}
