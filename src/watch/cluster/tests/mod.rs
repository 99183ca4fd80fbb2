// SPDX-License-Identifier: Apache-2.0
//! Against a server on a loopback address that says what the test wants.

mod server;

use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc::{Receiver, channel};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use self::server::{Server, Streaming};
use super::*;
use crate::model::{IngressEvent, ServiceName};

const PATIENCE: Duration = Duration::from_secs(20);

struct Watching {
    server: Server,
    events: Receiver<Event>,
    task: JoinHandle<()>,
}

impl Watching {
    fn start(server: Server) -> Self {
        Self::of(server, Nodes::Own)
    }

    fn of(server: Server, nodes: Nodes) -> Self {
        let url = format!("http://{}", server.address).parse().expect("a URL");
        let client = Client::try_from(kube::Config::new(url)).expect("a client");
        let (sender, events) = channel(64);
        let task = tokio::spawn(run(
            client,
            ("n1".into(), nodes),
            None,
            sender,
            Meters::default(),
        ));
        Self {
            server,
            events,
            task,
        }
    }

    async fn next(&mut self) -> String {
        let event = timeout(PATIENCE, self.events.recv()).await;
        show(
            &event
                .expect("an event in time")
                .expect("the watch still runs"),
        )
    }

    /// Kinds come in any order, so events are compared in theirs.
    async fn expect(&mut self, events: &[&str]) {
        let mut got = Vec::new();
        for _ in events {
            got.push(self.next().await);
        }
        got.sort();
        assert_eq!(got, events);
    }

    async fn expect_silence(&mut self) {
        if let Ok(event) = timeout(Duration::from_millis(100), self.events.recv()).await {
            panic!("unexpected: {event:?}");
        }
    }

    /// Waits until a kind is watched, and not only listed.
    async fn until_watched(&self, plural: &str) {
        self.until_watched_by(plural, 1).await;
    }

    async fn until_watched_by(&self, plural: &str, count: usize) {
        let watched = async {
            while self.server.watches(plural) < count {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, watched).await.expect("watched in time");
    }

    async fn stop(self) {
        drop(self.events);
        timeout(PATIENCE, self.task)
            .await
            .expect("ends in time")
            .expect("no panic");
    }
}

fn show(event: &Event) -> String {
    let gone = |there: bool| if there { "" } else { " gone" };
    match event {
        Event::Ingress(event) => match (&**event, event.object_ref()) {
            (IngressEvent::Secret(_, o), Some(object)) => {
                format!("{object}{}", gone(o.object.is_some()))
            }
            (IngressEvent::ConfigMap(_, o), Some(object)) => {
                format!("{object}{}", gone(o.object.is_some()))
            }
            (_, Some(object)) => object.to_string(),
            (other, None) => format!("{other:?}"),
        },
        Event::Service(name, o) => format!("service {name}{}", gone(o.object.is_some())),
        Event::Slice(name, o) => format!("slice {name}{}", gone(o.object.is_some())),
        Event::Node(o) => format!("node{}", gone(o.object.is_some())),
        Event::OtherNode(name, addresses) => format!("other node {name} {addresses:?}"),
        Event::ServiceCidr(name, o) => format!("cidr {name}{}", gone(o.object.is_some())),
        Event::Source { name, reason } => format!("source {name}: {reason}"),
        Event::Synced => "synced".into(),
        Event::LocalAddresses(_) => unreachable!("a cluster knows no local addresses"),
    }
}

fn service(name: &str) -> Value {
    json!({"kind": "Service", "apiVersion": "v1",
        "metadata": {"name": name, "namespace": "default", "resourceVersion": "7"},
        "spec": {"clusterIP": "10.0.0.1", "ports": [{"port": 80}]}})
}

fn slice(name: &str) -> Value {
    json!({"metadata": {"name": name, "namespace": "default", "resourceVersion": "7",
        "labels": {"kubernetes.io/service-name": "a"}}, "addressType": "IPv4", "endpoints": []})
}

fn named(name: &str) -> Value {
    json!({"metadata": {"name": name, "resourceVersion": "7"}})
}

async fn server(minor: &'static str, streaming: Streaming) -> Server {
    let server = Server::start(minor, streaming).await;
    server.set("services", vec![service("a"), service("b"), service("c")]);
    server.set("endpointslices", vec![slice("a-1")]);
    server.set("nodes", vec![named("n1")]);
    server.set("servicecidrs", vec![named("kubernetes")]);
    server
}

const ALL: [&str; 6] = [
    "cidr kubernetes",
    "node",
    "service default/a",
    "service default/b",
    "service default/c",
    "slice default/a-1",
];

#[test]
fn versions() {
    assert!(since("1", "34") >= STREAMING_SINCE);
    assert!(since("1", "36+") >= STREAMING_SINCE);
    assert!(since("2", "0") >= STREAMING_SINCE);
    assert!(since("1", "33") < STREAMING_SINCE);
    assert!(since("", "") < STREAMING_SINCE);
}

#[tokio::test]
async fn lists_and_changes_by_every_strategy() {
    for (minor, streaming) in [
        ("30", Streaming::Refuse),
        ("36", Streaming::Refuse),
        ("36", Streaming::Fail),
        ("36+", Streaming::Serve),
    ] {
        let mut watching = Watching::start(server(minor, streaming).await);
        watching.expect(&ALL).await;
        watching.expect(&["synced"]).await;
        let lists = |r: &String| !r.contains("watch=true");
        let pages = watching
            .server
            .requests("/services")
            .iter()
            .filter(|r| lists(r))
            .count();
        assert_eq!(
            pages,
            if streaming == Streaming::Serve { 0 } else { 2 },
            "{minor} {streaming:?}"
        );

        for plural in ["services", "endpointslices"] {
            watching.until_watched(plural).await;
        }
        watching.server.send("services", "ADDED", service("d"));
        watching.expect(&["service default/d"]).await;
        watching.server.send("services", "MODIFIED", service("a"));
        watching.expect(&["service default/a"]).await;
        watching
            .server
            .send("endpointslices", "DELETED", slice("a-1"));
        watching.expect(&["slice default/a-1 gone"]).await;
        watching.expect_silence().await;
        watching.stop().await;
    }
}

#[tokio::test]
async fn what_is_asked_for() {
    let mut watching = Watching::start(server("30", Streaming::Refuse).await);
    watching.expect(&ALL).await;
    let asked = |plural: &str, what: &str| {
        let requests = watching.server.requests(plural);
        assert!(requests[0].contains(what), "{requests:?}");
    };
    asked(
        "/api/v1/services?",
        "labelSelector=%21service.kubernetes.io%2Fservice-proxy-name",
    );
    asked(
        "/api/v1/services?",
        "fieldSelector=spec.clusterIP%21%3DNone",
    );
    asked("/api/v1/services?", "limit=500");
    asked(
        "/endpointslices?",
        "labelSelector=%21service.kubernetes.io%2Fheadless",
    );
    asked("/api/v1/nodes?", "fieldSelector=metadata.name%3Dn1");
    watching.stop().await;
}

#[tokio::test]
async fn other_nodes_are_watched_on_request() {
    let server = server("30", Streaming::Refuse).await;
    let node = |name: &str, address: &str| {
        let addresses = json!([{"type": "Hostname", "address": name},
            {"type": "InternalIP", "address": address}, {"type": "ExternalIP", "address": "?"}]);
        let mut node = named(name);
        node["kind"] = json!("Node");
        node["status"] = json!({ "addresses": addresses });
        node
    };
    server.set(
        "nodes",
        vec![node("n1", "192.0.2.11"), node("n2", "192.0.2.12")],
    );
    let mut watching = Watching::of(server, Nodes::All);
    let known = ["other node n2 [192.0.2.12]"];
    watching
        .expect(&[&ALL[..2], &known, &ALL[2..]].concat())
        .await;
    watching.expect(&["synced"]).await;
    let asked = watching.server.requests("/api/v1/nodes?");
    let not_own = "fieldSelector=metadata.name%21%3Dn1";
    assert!(asked.iter().any(|r| r.contains(not_own)), "{asked:?}");
    watching.until_watched_by("nodes", 2).await;
    watching
        .server
        .send("nodes", "DELETED", node("n2", "192.0.2.12"));
    watching.expect(&["other node n2 []"]).await;
    watching.stop().await;
}

#[tokio::test]
async fn what_vanished_while_nobody_watched_is_gone() {
    for streaming in [Streaming::Refuse, Streaming::Serve] {
        let mut watching = Watching::start(server("36", streaming).await);
        watching.expect(&ALL).await;
        watching.expect(&["synced"]).await;
        watching.until_watched("services").await;
        watching
            .server
            .set("services", vec![service("c"), service("d")]);
        let expired =
            json!({"kind": "Status", "status": "Failure", "code": 410, "message": "too old"});
        watching.server.send("services", "ERROR", expired);
        watching
            .expect(&[
                "service default/a gone",
                "service default/b gone",
                "service default/c",
                "service default/d",
            ])
            .await;
        watching.expect_silence().await;
        watching.stop().await;
    }
}

#[tokio::test]
async fn optional_kinds_hold_up_nothing() {
    let server = server("30", Streaming::Refuse).await;
    server.refuse("servicecidrs", 404);
    server.refuse("nodes", 403);
    let mut watching = Watching::start(server);
    let mut got = Vec::new();
    while got.last().is_none_or(|last| last != "synced") {
        got.push(watching.next().await);
    }
    // The Node's trouble is said, for the proxy is not what it could be; before or after the rest.
    got.retain(|event| event != "source nodes: the test says no (HTTP status 403)");
    got.sort();
    assert_eq!(got, [&ALL[2..], &["synced"]].concat());
    watching.stop().await;
}

#[tokio::test]
async fn an_unknown_node_holds_up_nothing() {
    let server = server("30", Streaming::Refuse).await;
    server.set("nodes", vec![]);
    let mut watching = Watching::start(server);
    watching.expect(&[&ALL[..1], &ALL[2..]].concat()).await;
    watching.expect(&["synced"]).await;
    watching.stop().await;
}

#[tokio::test]
async fn trouble_is_told_and_its_end() {
    let server = server("30", Streaming::Refuse).await;
    server.refuse("services", 403);
    let mut watching = Watching::start(server);
    let others = [
        ALL[0],
        ALL[1],
        ALL[5],
        "source services: the test says no (HTTP status 403)",
    ];
    watching.expect(&others).await;
    // The second try (0.4 to 0.8 s later) fails as well, of which nothing is said.
    while watching.server.requests("/services").len() < 2 {
        sleep(Duration::from_millis(20)).await;
    }
    watching.expect_silence().await;
    watching.server.refuse("services", 0);
    let rest = [ALL[2], ALL[3], ALL[4], "source services: ", "synced"];
    watching.expect(&rest).await;
    watching.stop().await;
}

fn secret(name: &str, kind: &str) -> Value {
    json!({"kind": "Secret", "metadata": {"name": name, "namespace": "default",
        "resourceVersion": "7"}, "type": kind, "data": {"tls.key": "eA=="}})
}

const TLS: &str = "kubernetes.io/tls";

/// A sidecar's watch on a server with Secrets, and where to say which are wanted.
async fn sidecar(streaming: Streaming) -> (Watching, tokio::sync::watch::Sender<Wanted>) {
    let (watching, secrets, _) = sidecar_and_maps(streaming).await;
    (watching, secrets)
}

/// The same, with who wants ConfigMaps.
async fn sidecar_and_maps(
    streaming: Streaming,
) -> (
    Watching,
    tokio::sync::watch::Sender<Wanted>,
    tokio::sync::watch::Sender<Wanted>,
) {
    let server = server("36", streaming).await;
    let named = |name: &str| json!({"metadata": {"name": name, "resourceVersion": "7"}});
    server.set("ingresses", vec![named("i")]);
    server.set("ingressclasses", vec![named("c")]);
    let headless = json!({"metadata": {"name": "h-1", "resourceVersion": "7",
        "labels": {"kubernetes.io/service-name": "h", "service.kubernetes.io/headless": ""}},
        "addressType": "IPv4"});
    server.set("endpointslices", vec![headless]);
    let secrets = [("t1", TLS), ("t2", TLS), ("o1", "Opaque"), ("o2", "Opaque")];
    server.set(
        "secrets",
        secrets.map(|(name, kind)| secret(name, kind)).into(),
    );
    let map = |name: &str| {
        json!({"kind": "ConfigMap", "metadata": {"name": name, "namespace": "kube-system",
            "resourceVersion": "7"}, "data": {"keep-alive": "5"}})
    };
    server.set("configmaps", vec![map("settings"), map("other")]);
    let url = format!("http://{}", server.address).parse().expect("a URL");
    let client = Client::try_from(kube::Config::new(url)).expect("a client");
    let (sender, events) = channel(64);
    let (want, wanted) = tokio::sync::watch::channel(None);
    let want_maps = tokio::sync::watch::Sender::new(None);
    let scope = Scope {
        node_name: "n1".into(),
        namespace: None,
        config_maps: [ServiceName::new("kube-system", "settings")].into(),
    };
    let task = tokio::spawn(run_ingress(
        client,
        scope,
        (wanted, want_maps.subscribe()),
        sender,
        Meters::default(),
    ));
    let watching = Watching {
        server,
        events,
        task,
    };
    (watching, want, want_maps)
}

fn want(sender: &tokio::sync::watch::Sender<Wanted>, names: &[&str]) {
    let names = names.iter().map(|name| ServiceName::new("default", *name));
    sender.send_replace(Some(std::sync::Arc::new(names.collect())));
}

#[tokio::test]
async fn config_maps_come_while_annotations_name_them() {
    let (mut watching, _secrets, maps) = sidecar_and_maps(Streaming::Serve).await;
    let want = |names: &[&str]| {
        let names = names
            .iter()
            .map(|name| ServiceName::new("kube-system", *name));
        maps.send_replace(Some(std::sync::Arc::new(names.collect())));
    };
    let kinds = [
        "ConfigMap kube-system/settings",
        "Ingress default/i",
        "IngressClass c",
        "Service default/a",
        "Service default/b",
        "Service default/c",
        "node",
        "slice default/h-1",
    ];
    watching.expect(&kinds).await;
    watching.expect(&["synced"]).await;
    // The one of the settings is watched anyway.
    want(&["settings", "other", "missing"]);
    watching.expect(&["ConfigMap kube-system/other"]).await;
    watching.expect_silence().await;
    want(&["missing"]);
    watching.expect(&["ConfigMap kube-system/other gone"]).await;
    want(&["other"]);
    // What was not there may have been told to be gone, too.
    let again = [
        "ConfigMap kube-system/missing gone",
        "ConfigMap kube-system/other",
    ];
    watching.expect(&again).await;
    watching.expect_silence().await;
}

#[tokio::test]
async fn the_sidecar_gets_its_kinds_and_the_secrets_that_are_wanted() {
    for streaming in [Streaming::Refuse, Streaming::Serve] {
        let (mut watching, wanted) = sidecar(streaming).await;
        let kinds = [
            "ConfigMap kube-system/settings",
            "Ingress default/i",
            "IngressClass c",
            "Service default/a",
            "Service default/b",
            "Service default/c",
            "node",
            "slice default/h-1",
        ];
        watching.expect(&kinds).await;
        watching.expect(&["synced"]).await;
        watching.expect_silence().await;
        assert_eq!(watching.server.requests("secrets"), [""; 0]);
        want(&wanted, &["t1", "o1", "missing"]);
        watching
            .expect(&["Secret default/o1", "Secret default/t1"])
            .await;
        watching.expect(&["SecretsListed"]).await;
        watching.expect_silence().await;

        // One of all that have the type, and one for each that has not or is not there.
        let watched = async {
            while watching.server.watches("secrets") < 3 {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, watched).await.expect("watched in time");
        watching
            .server
            .send("secrets", "MODIFIED", secret("t2", TLS));
        watching
            .server
            .send("secrets", "MODIFIED", secret("t1", TLS));
        watching.expect(&["Secret default/t1"]).await;
        watching
            .server
            .send("secrets", "MODIFIED", secret("o1", "Opaque"));
        watching.expect(&["Secret default/o1"]).await;
        watching
            .server
            .send("secrets", "ADDED", secret("missing", "Opaque"));
        watching.expect(&["Secret default/missing"]).await;

        want(&wanted, &["t2", "o1"]);
        let others = ["Secret default/missing gone", "Secret default/t1 gone"];
        watching
            .expect(&[&others[..], &["Secret default/t2"]].concat())
            .await;
        watching
            .server
            .send("secrets", "MODIFIED", secret("t1", TLS));
        watching.expect_silence().await;
        watching
            .server
            .send("secrets", "DELETED", secret("t2", TLS));
        watching.expect(&["Secret default/t2 gone"]).await;
        watching.stop().await;
    }
}

#[tokio::test]
async fn secrets_that_are_withheld_hold_up_nothing() {
    let (mut watching, wanted) = sidecar(Streaming::Refuse).await;
    watching.server.refuse("secrets", 403);
    want(&wanted, &["t1"]);
    let mut got = Vec::new();
    while got.last().is_none_or(|last| last != "SecretsListed") {
        got.push(watching.next().await);
    }
    assert!(
        !got.iter().any(|event| event.starts_with("Secret ")),
        "{got:?}"
    );
    watching.stop().await;
}
