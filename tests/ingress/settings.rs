// SPDX-License-Identifier: Apache-2.0
//! What ingress-nginx's ConfigMap and annotations say of TLS, of headers, of redirects, of who is
//! believed and of what is too risky: the whole program in behaviour `ingress-nginx`, and TLS as a
//! real client speaks it.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;

use ferrule::ingress::action::handshake::{Handshake, Versions};
use ferrule::ingress::table::{RouteSettings, Settings};
use rustls::CipherSuite;

use super::hand_over::{Process, manifests};
use super::rig::{Answer, Client, Endpoint, Plan, Rig, eventually, own_address};
use super::tls::{has, openssl, rig};

const AES256: &str = "ECDHE-ECDSA-AES256-GCM-SHA384";
const AES128: &str = "ECDHE-ECDSA-AES128-GCM-SHA256";

/// Whether a client with these options is served at a name.
fn speaks(rig: &Rig, name: &str, options: &[&str]) -> bool {
    let text = openssl(rig, &[&["-servername", name], options].concat());
    text.contains("HTTP/1.1 200 OK")
}

fn suites(suite: CipherSuite) -> Option<Arc<[u16]>> {
    Some([suite.into()].into())
}

#[test]
fn hosts_speak_the_tls_that_they_say() {
    if !has("openssl") {
        return;
    }
    let rig = rig();
    let mut table = (**rig.table.load()).clone();
    let own = Handshake {
        versions: Some(Versions::Only12),
        suites: suites(CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
        own_order: None,
    };
    table.handshakes.insert("a.example".into(), Arc::new(own));
    rig.table.store(Arc::new(table.clone()));
    let (tls12, tls13) = (["-tls1_2"], ["-tls1_3"]);
    let with = |suite| ["-tls1_2", "-cipher", suite];
    assert!(speaks(&rig, "a.example", &tls12));
    assert!(speaks(&rig, "A.example", &with(AES256)));
    assert!(!speaks(&rig, "a.example", &with(AES128)));
    assert!(!speaks(&rig, "a.example", &tls13));
    assert!(speaks(&rig, "x.b.example", &with(AES128)), "another host");
    assert!(speaks(&rig, "x.b.example", &tls13), "another host");

    let only13 = Handshake {
        versions: Some(Versions::Only13),
        ..Handshake::default()
    };
    let wildcard = Arc::new(only13);
    table.handshakes.insert("*.b.example".into(), wildcard);
    rig.table.store(Arc::new(table.clone()));
    assert!(!speaks(&rig, "x.b.example", &tls12));
    assert!(speaks(&rig, "x.b.example", &tls13));

    table.handshakes.clear();
    table.settings = Arc::new(Settings {
        handshake: Handshake {
            suites: suites(CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
            ..Handshake::default()
        },
        ..Settings::default()
    });
    rig.table.store(Arc::new(table));
    for name in ["a.example", "other.example"] {
        assert!(speaks(&rig, name, &with(AES128)), "{name}");
        assert!(!speaks(&rig, name, &with(AES256)), "{name}");
        assert!(speaks(&rig, name, &tls13), "{name}");
    }
}

#[test]
fn a_redirect_to_https_names_the_port_where_it_is_wanted() {
    let mut plan = Plan::to(&[Endpoint::echo().address]);
    plan.settings.https_port = 8443;
    plan.route.https_redirect = Some(308);
    let location = |plan: &Plan| {
        let answer = plan
            .start()
            .ask("GET /x HTTP/1.1\r\nHost: a.example\r\n\r\n");
        answer.header("location").map(str::to_owned)
    };
    let without = location(&plan);
    assert_eq!(without.as_deref(), Some("https://a.example/x"));
    plan.route = RouteSettings {
        port_in_redirects: true,
        ..plan.route
    };
    let with = location(&plan);
    assert_eq!(with.as_deref(), Some("https://a.example:8443/x"));
}

fn object(folder: &Path, name: &str, text: &str) {
    let new = folder.join("new");
    fs::write(&new, text).unwrap();
    fs::rename(&new, folder.join(name).with_extension("yaml")).unwrap();
}

fn ingress(folder: &Path, name: &str, annotations: &[(&str, &str)]) {
    let lines = annotations
        .iter()
        .map(|(key, value)| format!("    nginx.ingress.kubernetes.io/{key}: {value:?}\n"));
    let lines: String = lines.collect();
    let text = format!(
        "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  name: {name}\n  \
         namespace: default\n  annotations:\n    example.com/x: y\n{lines}\
         spec:\n  ingressClassName: nginx\n  rules:\n  - host: {name}.example\n    http: \
         {{paths: [{{path: /, pathType: Prefix, backend: {{service: {{name: web, port: \
         {{number: 80}}}}}}}}]}}\n"
    );
    object(folder, name, &text);
}

fn config_map(folder: &Path, data: &[(&str, &str)]) {
    let lines = data
        .iter()
        .map(|(key, value)| format!("  {key}: {value:?}\n"));
    let lines: String = lines.collect();
    let head =
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings, namespace: sys}\ndata:\n";
    object(
        folder,
        "settings",
        &format!("{head}  keep-alive: \"75\"\n{lines}"),
    );
}

/// The program in place of ingress-nginx.
struct Site {
    folder: tempfile::TempDir,
    http: SocketAddr,
    process: Option<Process>,
}

impl Site {
    /// None where there can be no endpoint.
    fn new(endpoint: impl FnOnce(std::net::IpAddr) -> Endpoint) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        manifests(folder.path(), endpoint(own_address()?).address);
        let class = "apiVersion: networking.k8s.io/v1\nkind: IngressClass\n\
                     metadata: {name: nginx}\nspec: {controller: k8s.io/ingress-nginx}\n";
        object(folder.path(), "class", class);
        ingress(folder.path(), "plain", &[]);
        Some(Self {
            folder,
            http: Endpoint::nobody(),
            process: None,
        })
    }

    fn start(mut self) -> Self {
        let flags = [
            "--controller-class=k8s.io/ingress-nginx",
            "--configmap=sys/settings",
        ];
        let process = Process::start(self.folder.path(), self.http, &flags);
        self.process = Some(process);
        eventually("it listens", || TcpStream::connect(self.http).is_ok());
        eventually("it serves", || {
            self.get("plain.example", "/", "").status == 200
        });
        self
    }

    fn get(&self, host: &str, path: &str, headers: &str) -> Answer {
        let head = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n");
        Client::connect(self.http).ask(head)
    }
}

#[test]
fn endpoints_are_told_what_the_config_map_says() {
    let Some(site) = Site::new(Endpoint::echo_at) else {
        return;
    };
    let folder = site.folder.path().to_owned();
    ingress(&folder, "moved", &[("rewrite-target", "/other")]);
    config_map(&folder, &[]);
    let site = site.start();
    let headers = "X_Under: a\r\nX-Original-URI: /forged\r\n";
    let seen = |host: &str| {
        let body = site.get(host, "/x?y", headers).body;
        body.to_ascii_lowercase()
    };
    let without = seen("plain.example");
    assert!(!without.contains("x_under"), "{without}");
    assert!(without.contains("x-original-uri: /forged"), "{without}");
    config_map(
        &folder,
        &[
            ("enable-underscores-in-headers", "true"),
            ("proxy-add-original-uri-header", "true"),
        ],
    );
    eventually("they are told", || {
        seen("plain.example").contains("x_under: a")
    });
    let moved = seen("moved.example");
    assert!(moved.starts_with("get /other"), "{moved}");
    assert!(moved.contains("x-original-uri: /x?y\r\n"), "{moved}");
    assert!(!moved.contains("/forged"), "{moved}");
}

#[test]
fn everybody_is_believed_where_ingress_nginx_believes_everybody() {
    let Some(site) = Site::new(Endpoint::echo_at) else {
        return;
    };
    let folder = site.folder.path().to_owned();
    config_map(&folder, &[("use-forwarded-headers", "true")]);
    let site = site.start();
    let address = || {
        let claimed = "X-Forwarded-For: 192.0.2.7\r\n";
        let body = site.get("plain.example", "/", claimed).body;
        body.to_ascii_lowercase().contains("x-real-ip: 192.0.2.7")
    };
    eventually("it is believed", address);
    let data = [
        ("use-forwarded-headers", "true"),
        ("proxy-real-ip-cidr", "198.51.100.0/24"),
    ];
    config_map(&folder, &data);
    eventually("others are not", || !address());
}

#[test]
fn load_balancers_find_it_alive_under_names_that_nobody_has() {
    let Some(site) = Site::new(Endpoint::echo_at) else {
        return;
    };
    config_map(site.folder.path(), &[]);
    let site = site.start();
    for (host, path, status) in [
        ("nobody.example", "/healthz", 200),
        ("127.0.0.1", "/healthz", 200),
        ("nobody.example", "/health", 404),
        ("nobody.example", "/x/healthz", 404),
    ] {
        let answer = site.get(host, path, "");
        assert_eq!(answer.status, status, "{host}{path}");
        assert!(status != 200 || answer.body.is_empty(), "{answer:?}");
    }
    let own = site.get("plain.example", "/healthz", "");
    assert!(
        own.body.starts_with("GET /healthz"),
        "the Ingress's: {own:?}"
    );
}

#[test]
fn what_is_too_risky_or_cannot_be_read_is_as_if_it_was_not_there() {
    let Some(site) = Site::new(Endpoint::echo_at) else {
        return;
    };
    let folder = site.folder.path().to_owned();
    let snippet = "more_set_headers 'X-Own: here';";
    ingress(&folder, "risky", &[("configuration-snippet", snippet)]);
    ingress(
        &folder,
        "magic",
        &[("auth-type", "magic"), ("auth-secret", "users")],
    );
    ingress(
        &folder,
        "missing",
        &[("auth-type", "basic"), ("auth-secret", "users")],
    );
    ingress(&folder, "many", &[("limit-rps", "many")]);
    config_map(&folder, &[]);
    let site = site.start();
    for (host, status) in [
        ("risky.example", 404),
        ("magic.example", 404),
        ("many.example", 404),
        ("missing.example", 503),
    ] {
        assert_eq!(site.get(host, "/", "").status, status, "{host}");
    }
    let allowed = ("allow-snippet-annotations", "true");
    config_map(&folder, &[allowed]);
    eventually("snippets are served", || {
        site.get("risky.example", "/", "").header("x-own") == Some("here")
    });
    config_map(&folder, &[allowed, ("annotations-risk-level", "High")]);
    eventually("they are too risky", || {
        site.get("risky.example", "/", "").status == 404
    });
    config_map(&folder, &[("annotations-risk-level", "Critical")]);
    eventually("the rest is served", || {
        let answer = site.get("risky.example", "/", "");
        answer.status == 200 && answer.header("x-own").is_none()
    });
    assert_eq!(site.get("magic.example", "/", "").status, 404);
}

#[test]
fn the_head_of_an_encoded_answer_is_that_of_get() {
    let endpoint = |own| {
        Endpoint::serving_at(own, |mut served, _| {
            while let Some(request) = served.request() {
                let body = match request.starts_with("HEAD") {
                    true => String::new(),
                    false => "x".repeat(1000),
                };
                let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\
                            Content-Length: 1000\r\n\r\n";
                served.client.send(format!("{head}{body}"));
            }
        })
    };
    let Some(site) = Site::new(endpoint) else {
        return;
    };
    config_map(site.folder.path(), &[("use-gzip", "true")]);
    let site = site.start();
    let ask = |method: &str| {
        let mut client = Client::connect(site.http);
        client.send(format!(
            "{method} / HTTP/1.1\r\nHost: plain.example\r\nAccept-Encoding: gzip\r\n\r\n"
        ));
        client.answer(method == "HEAD")
    };
    let get = || ask("GET").header("content-encoding") == Some("gzip");
    eventually("it encodes", get);
    let head = ask("HEAD");
    assert_eq!(head.status, 200);
    assert_eq!(head.header("content-encoding"), Some("gzip"));
    assert_eq!(head.header("vary"), Some("Accept-Encoding"));
    assert_eq!(head.header("content-length"), None);
    assert_eq!(head.body, "");
}

#[test]
fn a_page_in_place_of_a_401_still_asks_for_a_password() {
    let Some(site) = Site::new(Endpoint::echo_at) else {
        return;
    };
    let folder = site.folder.path().to_owned();
    object(
        &folder,
        "users",
        "apiVersion: v1\nkind: Secret\nmetadata: {name: users, namespace: default}\n\
         stringData: {auth: \"user:{PLAIN}secret\"}\n",
    );
    let annotations = [
        ("auth-type", "basic"),
        ("auth-secret", "users"),
        ("auth-realm", "Here"),
        ("custom-http-errors", "401"),
        ("default-backend", "web"),
    ];
    ingress(&folder, "paged", &annotations);
    config_map(&folder, &[]);
    let site = site.start();
    let answer = site.get("paged.example", "/x", "");
    assert!(
        answer.body.to_ascii_lowercase().contains("x-code: 401"),
        "{answer:?}"
    );
    assert_eq!(
        answer.header("www-authenticate"),
        Some("Basic realm=\"Here\"")
    );
}
