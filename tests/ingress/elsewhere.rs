// SPDX-License-Identifier: Apache-2.0
//! Paths, hosts, rewrites and redirects by ingress-nginx's annotations, with the whole program.

use std::fs;
use std::net::SocketAddr;

use tempfile::TempDir;

use super::hand_over::Process;
use super::rig::{Answer, Client, Endpoint, eventually, header, own_address};

/// A program that serves Ingresses of both behaviours, and an endpoint that tells what it was asked.
struct Site {
    http: SocketAddr,
    _endpoint: Endpoint,
    _process: Process,
    _folder: TempDir,
}

const CLASSES: &str = "\
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: nginx}
spec: {controller: k8s.io/ingress-nginx}
---
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: spec}
spec: {controller: ferrule.dev/ingress}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec: {clusterIP: 10.96.0.1, ports: [{port: 80}]}
";

/// An Ingress of the Service `web`: its name is that of its class and a number. Paths are Prefix,
/// or Exact with `=` in front.
fn ingress(name: &str, annotations: &[(&str, &str)], host: &str, paths: &[&str]) -> String {
    let class = name.split('-').next().unwrap();
    let mut text = format!(
        "---\napiVersion: networking.k8s.io/v1\nkind: Ingress\n\
         metadata:\n  name: {name}\n  namespace: default\n  annotations:\n    x: y\n"
    );
    for (name, value) in annotations {
        text += &format!("    nginx.ingress.kubernetes.io/{name}: {value:?}\n");
    }
    text += &format!("spec:\n  ingressClassName: {class}\n  rules:\n");
    text += &format!("  - host: {host:?}\n    http:\n      paths:\n");
    for path in paths {
        let (kind, path) = match path.strip_prefix('=') {
            Some(path) => ("Exact", path),
            None => ("Prefix", *path),
        };
        text += &format!(
            "      - path: {path:?}\n        pathType: {kind}\n        \
             backend: {{service: {{name: web, port: {{number: 80}}}}}}\n"
        );
    }
    text
}

impl Site {
    fn start(ingresses: &[String], settings: &str) -> Option<Self> {
        let endpoint = Endpoint::echo_at(own_address()?);
        let folder = tempfile::tempdir().unwrap();
        let (address, port) = (endpoint.address.ip(), endpoint.address.port());
        let slice = format!(
            "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: web-1, \
             namespace: default, labels: {{kubernetes.io/service-name: web}}}}\n\
             addressType: IPv4\nports: [{{port: {port}}}]\n\
             endpoints: [{{addresses: [\"{address}\"]}}]\n---\napiVersion: v1\nkind: ConfigMap\n\
             metadata: {{name: settings, namespace: default}}\ndata:\n  a: b\n{settings}"
        );
        let all = [CLASSES, &slice, &ingresses.concat()].concat();
        fs::write(folder.path().join("all.yaml"), all).unwrap();
        let http = Endpoint::nobody();
        let process = Process::start(
            folder.path(),
            http,
            &[
                "--controller-class=ferrule.dev/ingress,k8s.io/ingress-nginx",
                "--configmap=default/settings",
            ],
        );
        eventually("it serves", || std::net::TcpStream::connect(http).is_ok());
        Some(Self {
            http,
            _endpoint: endpoint,
            _process: process,
            _folder: folder,
        })
    }

    fn ask(&self, host: &str, uri: &str, headers: &str) -> Answer {
        let request = format!("GET {uri} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n");
        Client::connect(self.http).ask(request)
    }

    /// The path that the endpoint was asked for, or the status with where it leads.
    fn get(&self, host: &str, uri: &str) -> String {
        let answer = self.ask(host, uri, "");
        match (answer.status, answer.header("location")) {
            (200, _) => {
                let line = answer.body.lines().next().unwrap_or_default();
                let line = line.strip_prefix("GET ").unwrap_or(line);
                line.strip_suffix(" HTTP/1.1").unwrap_or(line).to_owned()
            }
            (status, Some(location)) => format!("{status} {location}"),
            (status, None) => status.to_string(),
        }
    }

    #[track_caller]
    fn expect(&self, host: &str, rows: &[(&str, &str)]) {
        for (uri, expected) in rows {
            assert_eq!(self.get(host, uri), *expected, "{host} {uri}");
        }
    }
}

#[test]
fn paths_are_rewritten() {
    let target = ("rewrite-target", "/$2");
    let prefix = ("x-forwarded-prefix", "/app/$2");
    let site = Site::start(
        &[
            ingress(
                "nginx-1",
                &[target, prefix],
                "a.example",
                &["/something(/|$)(.*)"],
            ),
            ingress("nginx-2", &[], "a.example", &["/plain", "=/exact"]),
            ingress(
                "nginx-3",
                &[("rewrite-target", "/")],
                "same.example",
                &["/"],
            ),
            ingress(
                "nginx-4",
                &[("rewrite-target", "https://new.example/$1")],
                "gone.example",
                &["/(.*)"],
            ),
            ingress(
                "nginx-5",
                &[("rewrite-target", "$1")],
                "bare.example",
                &["/x/(.*)"],
            ),
            ingress(
                "nginx-6",
                &[("use-regex", "true")],
                "closed.example",
                &["/a/(?!b)", "/c"],
            ),
            ingress("spec-1", &[target], "b.example", &["/something(/|$)(.*)"]),
            ingress("spec-2", &[], "b.example", &["/plain", "=/exact"]),
        ],
        "",
    );
    let Some(site) = site else { return };
    let both = [
        ("/something", "/"),
        ("/something/new?x=1", "/new?x=1"),
        ("/Something/New", "/New"),
        ("/something/a%20b", "/a%20b"),
        ("/something/a/../b", "/b"),
        ("/plain/x%2fy?z", "/plain/x%2fy?z"),
    ];
    site.expect("a.example", &both);
    site.expect("b.example", &both);
    site.expect(
        "a.example",
        &[
            ("/PLAINX", "/PLAINX"),
            ("/Exact/1", "/Exact/1"),
            ("/x", "404"),
        ],
    );
    site.expect(
        "b.example",
        &[("/PLAIN", "404"), ("/exact/1", "404"), ("/exact", "/exact")],
    );
    site.expect("same.example", &[("/a?b", "/a?b"), ("/A", "/A")]);
    site.expect(
        "gone.example",
        &[("/x?c=d", "302 https://new.example/x?c=d")],
    );
    site.expect("bare.example", &[("/x/y", "/y"), ("/x/", "500")]);
    site.expect("closed.example", &[("/a/c", "503"), ("/c", "/c")]);
    let told = site.ask("a.example", "/something/new", "");
    assert_eq!(header(&told.body, "x-forwarded-prefix"), Some("/app/new"));
    let told = site.ask("a.example", "/plain", "");
    assert_eq!(header(&told.body, "x-forwarded-prefix"), None);
}

#[test]
fn slashes_are_as_each_behaviour_has_them() {
    let paths = ["/my-path/", "=/exact/", "/both", "/both/deeper/"];
    let site = Site::start(
        &[
            ingress("nginx-1", &[], "a.example", &paths),
            ingress(
                "nginx-2",
                &[("relative-redirects", "true")],
                "r.example",
                &paths,
            ),
            ingress("spec-1", &[], "b.example", &paths),
        ],
        "",
    );
    let Some(site) = site else { return };
    site.expect(
        "a.example",
        &[
            ("/my-path", "301 http://a.example/my-path/"),
            ("/my-path?x=1", "301 http://a.example/my-path/?x=1"),
            ("/my-path/x", "/my-path/x"),
            ("/exact", "301 http://a.example/exact/"),
            ("/exact/", "/exact/"),
            ("/both", "/both"),
            ("/both/deeper", "301 http://a.example/both/deeper/"),
            ("/x/../my-path", "301 http://a.example/my-path/"),
        ],
    );
    site.expect("r.example", &[("/my-path?x=1", "301 /my-path/?x=1")]);
    site.expect("b.example", &[("/my-path", "/my-path"), ("/exact", "404")]);
}

#[test]
fn clients_are_sent_elsewhere() {
    let permanent = ("permanent-redirect", "https://new.example$request_uri");
    let temporal = ("temporal-redirect", "https://other.example/$host");
    let site = Site::start(
        &[
            ingress("nginx-1", &[permanent], "p.example", &["/"]),
            ingress(
                "nginx-2",
                &[permanent, ("permanent-redirect-code", "308")],
                "q.example",
                &["/"],
            ),
            ingress(
                "nginx-3",
                &[permanent, temporal, ("force-ssl-redirect", "true")],
                "t.example",
                &["/"],
            ),
            ingress(
                "nginx-4",
                &[temporal, ("temporal-redirect-code", "307")],
                "u.example",
                &["/"],
            ),
            ingress(
                "nginx-5",
                &[("app-root", "/app"), ("force-ssl-redirect", "true")],
                "root.example",
                &["/"],
            ),
        ],
        "",
    );
    let Some(site) = site else { return };
    site.expect("p.example", &[("/a?b", "301 https://new.example/a?b")]);
    site.expect("q.example", &[("/a", "308 https://new.example/a")]);
    site.expect(
        "t.example",
        &[("/a", "302 https://other.example/t.example")],
    );
    site.expect(
        "u.example",
        &[("/a", "307 https://other.example/u.example")],
    );
    site.expect(
        "root.example",
        &[
            ("/", "302 http://root.example/app"),
            ("/app", "308 https://root.example/app"),
        ],
    );
}

#[test]
fn hosts_have_other_names() {
    let site = Site::start(
        &[
            ingress(
                "nginx-6",
                &[("from-to-www-redirect", "true")],
                "w.example",
                &["/"],
            ),
            ingress(
                "spec-1",
                &[("from-to-www-redirect", "true")],
                "www.v.example",
                &["/"],
            ),
            ingress(
                "nginx-7",
                &[(
                    "server-alias",
                    "alias.example, *.many.example, ~^re\\d+\\.example$",
                )],
                "h.example",
                &["/"],
            ),
        ],
        "",
    );
    let Some(site) = site else { return };
    let port = site.http.port();
    let www = format!("308 http://w.example:{port}/a?b");
    site.expect("www.w.example", &[("/a?b", &www)]);
    site.expect("w.example", &[("/a", "/a")]);
    let www = format!("308 http://www.v.example:{port}/a");
    site.expect("v.example", &[("/a/", &www)]);
    for host in [
        "alias.example",
        "x.y.many.example",
        "re12.example",
        "h.example",
    ] {
        site.expect(host, &[("/a", "/a")]);
    }
    site.expect("re.example", &[("/a", "404")]);
}

#[test]
fn redirects_to_https_have_ingress_nginx_s_details() {
    let force = ("force-ssl-redirect", "true");
    let keep = ("preserve-trailing-slash", "true");
    let challenge = "/.well-known/acme-challenge/token";
    let settings = "  use-forwarded-headers: 'true'\n  proxy-real-ip-cidr: 127.0.0.0/8\n  \
                    http-redirect-code: '301'\n  no-tls-redirect-locations: \
                    '/.well-known/acme-challenge, /open'\n";
    let site = Site::start(
        &[
            ingress("nginx-1", &[force], "a.example", &["/", "/open"]),
            ingress("nginx-2", &[force, keep], "k.example", &["/"]),
            ingress("spec-1", &[force], "b.example", &["/"]),
            // A solver of cert-manager, beside patterns, redirects and a rewrite of its host.
            ingress(
                "nginx-3",
                &[force, ("rewrite-target", "/$1")],
                "s.example",
                &["/(.*)"],
            ),
            ingress("nginx-4", &[], "s.example", &[challenge]),
        ],
        settings,
    );
    let Some(site) = site else { return };
    site.expect(
        "a.example:8080",
        &[
            ("/", "301 https://a.example"),
            ("/x/", "301 https://a.example/x"),
            ("/x?y", "301 https://a.example/x?y"),
            ("/open/x", "/open/x"),
            (
                challenge,
                "301 https://a.example/.well-known/acme-challenge/token",
            ),
        ],
    );
    site.expect("k.example", &[("/x/", "301 https://k.example/x/")]);
    site.expect(
        "b.example",
        &[("/x/", "301 https://b.example/x/"), (challenge, challenge)],
    );
    site.expect(
        "s.example",
        &[(challenge, challenge), ("/x", "301 https://s.example/x")],
    );
    let told = |headers: &str| {
        let answer = site.ask("a.example", "/x", headers);
        (answer.status, answer.header("location").map(str::to_owned))
    };
    assert_eq!(told("X-Forwarded-Proto: https\r\n").0, 200);
    let front = told("X-Forwarded-Host: front.example:81, b\r\n").1;
    assert_eq!(front.as_deref(), Some("https://front.example/x"));
}

/// What clients say of themselves counts for nothing unless they are trusted.
#[test]
fn untrusted_clients_cannot_say_that_they_come_by_https() {
    let force = [("force-ssl-redirect", "true")];
    let site = Site::start(&[ingress("nginx-1", &force, "a.example", &["/"])], "");
    let Some(site) = site else { return };
    let lie = "X-Forwarded-Proto: https\r\nX-Forwarded-Host: evil.example\r\n";
    let answer = site.ask("a.example", "/x", lie);
    assert_eq!(answer.status, 308);
    assert_eq!(answer.header("location"), Some("https://a.example/x"));
}

#[test]
fn a_host_ends_where_ingress_nginx_ends_it() {
    let site = Site::start(
        &[
            ingress("nginx-1", &[], "a.example", &["/a"]),
            ingress("nginx-2", &[], "", &["/all"]),
            ingress("spec-1", &[], "b.example", &["/a"]),
        ],
        "",
    );
    let Some(site) = site else { return };
    site.expect("a.example", &[("/a", "/a"), ("/all", "404")]);
    site.expect("b.example", &[("/a", "/a"), ("/all", "/all")]);
    site.expect("c.example", &[("/all/x", "/all/x"), ("/x", "404")]);
}
