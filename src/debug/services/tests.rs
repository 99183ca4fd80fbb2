// SPDX-License-Identifier: Apache-2.0

use serde_json::json;
use tokio::sync::mpsc;

use super::*;
use crate::cli::Output;
use crate::config::Listen;
use crate::model::ServiceName;
use crate::observe::{AdminRequest, Status, serve};

fn views() -> Vec<ServiceView> {
    let endpoint = |address, node, state, used: Option<&str>, reason: Option<&str>| {
        json!({"address": address, "port": 8080, "node": node, "zone": "zone-1", "state": state,
               "used": used, "reason": reason})
    };
    let frontend = |kind, address: Option<&str>, port, policy, endpoints| {
        json!({"kind": kind, "address": address, "family": "IPv4", "port": port, "protocol": "TCP",
               "portName": "http", "policy": policy, "endpoints": endpoints})
    };
    let here = endpoint("10.244.1.2", "n1", "ready", Some("cluster"), None);
    let there = endpoint(
        "10.244.2.30",
        "node-2",
        "not-ready",
        None,
        Some("not ready"),
    );
    let mut sticky = frontend(
        "LoadBalancer",
        Some("192.0.2.1"),
        80,
        "Local",
        json!([here]),
    );
    sticky["affinitySeconds"] = json!(10_800);
    sticky["sourceRanges"] = json!(["10.0.0.0/8", "192.168.0.0/16"]);
    serde_json::from_value(json!([
        {"namespace": "default", "name": "web", "frontends": [
            frontend("ClusterIP", Some("10.96.0.10"), 80, "Cluster", json!([here, there])),
            frontend("NodePort", None, 30080, "Local", json!([])),
            sticky,
        ]},
        {"namespace": "kube-system", "name": "dns", "frontends": [
            {"kind": "ExternalIP", "address": "fd00::a", "family": "IPv6", "port": 53,
             "protocol": "UDP", "portName": "", "policy": "Cluster", "endpoints": [
                {"address": "fd00:1::2", "port": 53, "state": "serving-terminating",
                 "used": "local"}]},
        ]},
    ]))
    .unwrap()
}

/// The table without its colours.
fn table(views: &[ServiceView], wide: bool) -> String {
    anstream::adapter::strip_str(&super::table(views, wide)).to_string()
}

#[test]
fn table_is_aligned_and_every_row_is_complete() {
    let expected = "\
NAMESPACE    NAME  TYPE          FRONTEND             POLICY   ENDPOINT          NODE    ZONE    STATE                USED     REASON
default      web   ClusterIP     10.96.0.10:80/TCP    Cluster  10.244.1.2:8080   n1      zone-1  ready                cluster  -
default      web   ClusterIP     10.96.0.10:80/TCP    Cluster  10.244.2.30:8080  node-2  zone-1  not-ready            -        not ready
default      web   NodePort      <node-IPv4>:30080/TCP Local    <none>            -       -       -                    -        -
";
    let text = table(&views(), false);
    let rows: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split("  ").collect())
        .collect();
    assert_eq!(rows.len(), 6, "{text}");
    let start = text.lines().next().unwrap().find("POLICY").unwrap();
    for line in text.lines().skip(1) {
        assert!(
            ["Cluster", "Local"]
                .iter()
                .any(|p| line[start..].starts_with(p)),
            "{text}"
        );
        assert_eq!(line, line.trim_end(), "{text}");
    }
    for (line, words) in text.lines().zip(expected.lines()) {
        let (found, wanted): (Vec<_>, Vec<_>) = (
            line.split_whitespace().collect(),
            words.split_whitespace().collect(),
        );
        assert_eq!(found, wanted, "{text}");
    }
    assert!(
        text.contains("[fd00::a]:53/UDP") && text.contains("serving-terminating"),
        "{text}"
    );
}

#[test]
fn wide_table_has_port_name_affinity_and_source_ranges() {
    let text = table(&views(), true);
    let line = text
        .lines()
        .find(|line| line.contains("LoadBalancer"))
        .unwrap();
    assert!(
        line.ends_with("http       10800s    10.0.0.0/8,192.168.0.0/16"),
        "{text}"
    );
    let line = text
        .lines()
        .find(|line| line.contains("kube-system"))
        .unwrap();
    let cells: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(cells[cells.len() - 3..], ["-", "-", "-"], "{text}");
}

#[test]
fn filters_are_checked_and_sent() {
    for (filter, wanted) in [
        (None, "/services"),
        (Some("default"), "/services?namespace=default"),
        (Some("default/web"), "/services?namespace=default&name=web"),
    ] {
        assert_eq!(path(&selection(filter).unwrap()), wanted);
    }
    for filter in ["", "/", "a/", "/b", "a/b/c", "a&name=b", "A b", "ä"] {
        assert!(selection(Some(filter)).is_err(), "{filter}");
    }
}

fn args(socket: &std::path::Path, filter: Option<&str>, output: Output) -> ServicesArgs {
    let filter = filter.map(str::to_owned);
    ServicesArgs {
        filter,
        output,
        admin_socket: socket.to_owned(),
    }
}

#[test]
fn no_agent_is_said_clearly() {
    let socket = std::path::Path::new("/nonexistent/ferrule.sock");
    let error = run(&args(socket, None, Output::Table), &mut Vec::new()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no agent runs here: nothing listens on /nonexistent/ferrule.sock (see --admin-socket)"
    );
}

/// An agent with `views()` that answers until the runtime is dropped.
fn agent(socket: &std::path::Path) -> tokio::runtime::Runtime {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let admin = Some(socket.to_owned());
    let listen = Listen {
        healthz: None,
        metrics: None,
        hard_fail: false,
        admin,
    };
    let (sender, mut requests) = mpsc::channel(1);
    runtime.spawn(async move {
        let _ = serve(
            &listen,
            tokio::sync::watch::channel(Default::default()).1,
            Status::new(std::time::Duration::from_secs(60)),
            sender,
        )
        .await;
    });
    runtime.spawn(async move {
        while let Some(AdminRequest::Services { selection, reply }) = requests.recv().await {
            let selected = |view: &ServiceView| {
                let name = ServiceName::new(view.namespace.as_str(), view.name.as_str());
                selection.matches(&name)
            };
            let _ = reply.send(views().into_iter().filter(selected).collect());
        }
    });
    while !socket.exists() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    runtime
}

#[test]
fn a_running_agent_is_asked() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("ferrule.sock");
    let _agent = agent(&socket);
    let ask = |filter, output| {
        let mut out = Vec::new();
        run(&args(&socket, filter, output), &mut out).map(|()| String::from_utf8(out).unwrap())
    };
    let json = ask(None, Output::Json).unwrap();
    assert_eq!(
        serde_json::from_str::<Vec<ServiceView>>(&json).unwrap(),
        views()
    );
    crate::debug::schema::obeys("services", &serde_json::from_str(&json).unwrap());
    let yaml = ask(None, Output::Yaml).unwrap();
    assert_eq!(
        serde_saphyr::from_str::<Vec<ServiceView>>(&yaml).unwrap(),
        views()
    );
    assert_eq!(
        ask(Some("kube-system"), Output::Table)
            .unwrap()
            .lines()
            .count(),
        2
    );
    assert_eq!(
        ask(Some("default/web"), Output::Wide)
            .unwrap()
            .lines()
            .count(),
        5
    );
    let error = ask(Some("default/nope"), Output::Table)
        .unwrap_err()
        .to_string();
    assert_eq!(error, "the agent serves no Service default/nope");
}
