// SPDX-License-Identifier: Apache-2.0
//! From manifests to requests, in one process.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::*;
use crate::ingress::serve::{ServeOptions, Server};
use crate::observe::events;
use crate::watch::manifests;

/// More than any machine under load needs for one change.
const PATIENCE: Duration = Duration::from_secs(30);

/// Answers each connection with a word.
fn upstream(word: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("an upstream");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let _ = stream.read(&mut [0; 4096]);
            let length = word.len();
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{word}"
            );
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    address
}

/// Status and body of a request.
fn get(address: SocketAddr, host: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).expect("a connection");
    let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok());
    (status.expect("a status"), body.to_owned())
}

fn manifest(host: &str, service: &str) -> String {
    format!(
        "
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: web}}
spec:
  ingressClassName: ferrule
  tls: [{{hosts: [{host}], secretName: tls}}]
  rules: [{{host: {host}, http: {{paths: [
    {{path: /, pathType: Prefix, backend: {{service: {{name: {service}, port: {{number: 80}}}}}}}}]}}}}]
"
    )
}

/// Endpoints on loopback are refused by conversion, so the control side is given them directly.
fn slice(name: &str, address: SocketAddr) -> Event {
    let mut slice = crate::model::fixture::slice(name, name, address.port(), &["127.0.0.1"]);
    slice.ports[0].name = "http".into();
    Event::Slice(slice.name.clone(), crate::model::Observed::new(slice))
}

const SERVICES: &str = "
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: ferrule}
spec: {controller: ferrule.dev/ingress}
---
apiVersion: v1
kind: Service
metadata: {name: a}
spec: {clusterIP: 10.0.0.1, ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: b}
spec: {clusterIP: None, ports: [{name: http, port: 80}]}
";

fn secret(names: &[&str]) -> String {
    let made = rcgen::generate_simple_self_signed(
        names.iter().map(ToString::to_string).collect::<Vec<_>>(),
    );
    let made = made.expect("a certificate");
    let indent = |pem: String| pem.replace('\n', "\n    ");
    let (certificate, key) = (
        indent(made.cert.pem()),
        indent(made.signing_key.serialize_pem()),
    );
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: tls}}\nstringData:\n  tls.crt: |\n    \
         {certificate}\n  tls.key: |\n    {key}\n"
    )
}

struct Running {
    dir: tempfile::TempDir,
    outputs: Outputs,
    notices: events::Inbox,
    questions: mpsc::Sender<Question>,
    events: mpsc::Sender<Event>,
}

fn write(dir: &Path, name: &str, text: &str) {
    let aside = dir.join(format!(".{name}"));
    std::fs::write(&aside, text).expect("written");
    std::fs::rename(&aside, dir.join(name)).expect("in place");
}

async fn start(files: &[(&str, &str)]) -> Running {
    let dir = tempfile::tempdir().expect("a directory");
    files
        .iter()
        .for_each(|(name, text)| write(dir.path(), name, text));
    let (recorder, notices) = events::channel("n1");
    let outputs = Outputs {
        streams: watch::Sender::new(Arc::default()),
        changes: Arc::default(),
        table: Arc::default(),
        store: tls::Store::new().expect("a store"),
        wanted: watch::Sender::new(None),
        config_maps: watch::Sender::new(None),
        externals: watch::Sender::new(Arc::default()),
        ready: watch::Sender::new(false),
        events: recorder,
    };
    let (events, received) = mpsc::channel(64);
    let (questions, asked) = mpsc::channel(1);
    tokio::spawn(manifests::run_ingress(
        dir.path().into(),
        "n1".into(),
        events.clone(),
    ));
    tokio::spawn(Control::new("n1", Options::default(), outputs.clone()).run(received, asked));
    let mut ready = outputs.ready.subscribe();
    let ready = tokio::time::timeout(PATIENCE, ready.wait_for(|ready| *ready)).await;
    ready.expect("in time").expect("a loop");
    Running {
        dir,
        outputs,
        notices,
        questions,
        events,
    }
}

impl Running {
    /// Waits until the control side has come to a state.
    async fn until(&self, done: impl Fn(&Self) -> bool) {
        let begun = Instant::now();
        while !done(self) {
            assert!(begun.elapsed() < PATIENCE, "not in time");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_follow_the_manifests() {
    let (a, b) = (upstream("a"), upstream("b"));
    let ingress = manifest("h.com", "a");
    let running = start(&[("s.yaml", SERVICES), ("i.yaml", &ingress)]).await;
    for event in [slice("a", a), slice("b", b)] {
        running.events.send(event).await.expect("a loop");
    }
    let options = ServeOptions {
        http: vec!["127.0.0.1:0".parse().expect("an address")],
        threads: 1,
        ..ServeOptions::default()
    };
    let (table, store) = (running.outputs.table.clone(), running.outputs.store.clone());
    let server = Server::start(options, table, store).expect("a server");
    let at = server.http()[0];
    let body = |host: &str| get(at, host, "/x").1;
    running.until(|_| body("h.com") == "a").await;
    assert_eq!(get(at, "other.com", "/").0, 404);
    write(running.dir.path(), "i.yaml", &manifest("h.com", "b"));
    running.until(|_| body("h.com") == "b").await;
    write(running.dir.path(), "i.yaml", &manifest("h.com", "none"));
    running.until(|_| get(at, "h.com", "/").0 == 503).await;
    write(running.dir.path(), "i.yaml", "");
    running.until(|_| get(at, "h.com", "/").0 == 404).await;
    server.drain(Duration::from_secs(1)).await;
}

#[tokio::test]
async fn certificates_follow_their_secrets_and_the_last_good_one_stays() {
    let ingress = manifest("h.com", "a");
    let good = secret(&["h.com"]);
    let files = [
        ("s.yaml", SERVICES),
        ("i.yaml", &*ingress),
        ("t.yaml", &*good),
    ];
    let mut running = start(&files).await;
    let shown = |running: &Running| {
        let certificates = running.outputs.store.certificates();
        let found = certificates.find(Some("h.com"));
        found.map(|key| key.names().map(str::to_owned).collect::<Vec<_>>())
    };
    running
        .until(|r| shown(r) == Some(vec!["h.com".into()]))
        .await;
    running.notices.take();
    write(running.dir.path(), "t.yaml", &secret(&["i.com"]));
    running
        .until(|r| shown(r) == Some(vec!["i.com".into()]))
        .await;
    let notices = running.notices.take();
    assert_eq!(notices.len(), 1, "{notices:?}");
    assert_eq!(notices[0].reason, "CertificateInvalid");
    assert_eq!(notices[0].regarding.to_string(), "Secret default/tls");
    assert!(
        notices[0]
            .note
            .contains("h.com is none of the certificate's names (i.com)")
    );
    let broken = "apiVersion: v1\nkind: Secret\nmetadata: {name: tls}\nstringData: {tls.crt: x}";
    write(running.dir.path(), "t.yaml", broken);
    let refused = Arc::new(std::sync::Mutex::new(Vec::new()));
    let begun = Instant::now();
    while !refused
        .lock()
        .expect("whole")
        .iter()
        .any(|n: &events::Notice| n.reason == "CertificateRefused")
    {
        assert!(begun.elapsed() < PATIENCE, "not in time");
        refused
            .lock()
            .expect("whole")
            .extend(running.notices.take());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(
        shown(&running),
        Some(vec!["i.com".into()]),
        "the last good one"
    );
    write(running.dir.path(), "t.yaml", "");
    running.until(|r| shown(r).is_none()).await;
    let served = ask(&running.questions, PATIENCE, |catalog, _| {
        catalog.served().count()
    })
    .await;
    assert_eq!(served, Some(1));
}
