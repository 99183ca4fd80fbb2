// SPDX-License-Identifier: Apache-2.0
//! `debug top`, `debug services` and `debug conntrack` with real connections.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Command;
use std::thread;

use ferrule::backend::testing::in_namespace;
use serde_json::Value;

use crate::rig::{Node, eventually, run};

const CONNECTIONS: u64 = 10;

/// What a debug command prints as JSON.
fn json(node: &Node, command: &[&str]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_ferrule"))
        .arg("debug")
        .args(command)
        .args(["-o", "json", "--admin-socket", &node.socket()])
        .output()
        .expect("ferrule");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {error}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Answers 1,000 bytes to each connection, as the endpoint of this node.
fn serve() {
    run("ip address add 10.244.1.5/32 dev lo");
    let listener = TcpListener::bind("10.244.1.5:8080").expect("a port");
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 100]);
            let _ = stream.write_all(&[7; 1000]);
        }
    });
}

fn ask() {
    let mut stream = TcpStream::connect("10.96.0.10:80").expect("the Service");
    stream.write_all(&[1; 100]).expect("written");
    stream.shutdown(Shutdown::Write).expect("shut down");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    assert_eq!(answer.len(), 1000);
}

/// The sums of default/web; nothing before the first connection.
fn web(node: &Node) -> Value {
    let view = json(node, &["top", "--once"]);
    let services = view["services"].as_array().expect("Services");
    let web = services.iter().find(|s| s["name"] == "web");
    web.cloned().unwrap_or_default()
}

fn scrape() -> String {
    let mut stream = TcpStream::connect("127.0.0.1:10249").expect("metrics");
    let request = "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).expect("written");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("metrics");
    text
}

fn only_here(node: &mut Node) {
    node.change(
        "/apis/discovery.k8s.io/v1/endpointslices",
        "web-1",
        |slice| {
            slice["endpoints"]
                .as_array_mut()
                .expect("endpoints")
                .truncate(1);
        },
    );
    node.write_manifests();
    let arguments = ["services", "default/web"];
    eventually("one endpoint", || {
        let view = json(node, &arguments);
        view[0]["frontends"][0]["endpoints"]
            .as_array()
            .map(Vec::len)
            == Some(1)
    });
}

#[test]
fn connections_and_bytes_are_counted_while_they_live_and_after() {
    in_namespace(|| {
        let mut node = Node::healthy();
        only_here(&mut node);
        serve();
        // One that is older than the accounting does not count, and its end neither.
        ask();
        node.kill_agent();
        node.start_agent(&["--accounting", "--keep-leftovers"]);
        assert_eq!(web(&node), Value::Null);
        (0..CONNECTIONS).for_each(|_| ask());
        let living = web(&node);
        assert_eq!(living["connections"], CONNECTIONS, "{living}");
        assert_eq!(living["live"], CONNECTIONS, "{living}");
        let sent = living["bytesOut"].as_u64().expect("bytes");
        assert!((10_000..30_000).contains(&sent), "{living}");
        let received = living["bytesIn"].as_u64().expect("bytes");
        assert!((1_000..10_000).contains(&received), "{living}");
        assert_eq!(living["endpoints"][0]["endpoint"], "10.244.1.5:8080");
        let flows = json(&node, &["conntrack", "default/web"]);
        assert_eq!(flows["endpoints"][0]["standing"], "used", "{flows}");
        assert_eq!(flows["endpoints"][0]["flows"], CONNECTIONS + 1, "{flows}");
        let services = json(&node, &["services", "default/web"]);
        assert_eq!(
            services[0]["usage"]["connections"], CONNECTIONS,
            "{services}"
        );

        end_all();
        let ended = web(&node);
        assert_eq!(ended["live"], 0, "{ended}");
        for sum in ["connections", "bytesIn", "bytesOut"] {
            assert_eq!(ended[sum], living[sum], "{sum}: {ended} {living}");
        }
        let line = "ferrule_service_connections_total{namespace=\"default\",service=\"web\"} 10\n";
        let text = scrape();
        assert!(text.contains(line), "{text}");
        assert!(text.contains(
            "ferrule_endpoint_bytes_total{direction=\"in\",endpoint=\"10.244.1.5:8080\""
        ));

        // Its endpoint goes while a connection is there.
        let _open = TcpStream::connect("10.96.0.10:80").expect("the Service");
        node.change(
            "/apis/discovery.k8s.io/v1/endpointslices",
            "web-1",
            |slice| {
                slice["endpoints"][0]["addresses"][0] = "10.244.1.77".into();
            },
        );
        node.write_manifests();
        eventually("a stale flow", || {
            let flows = json(&node, &["conntrack", "default/web"]);
            flows["endpoints"][0]["standing"] == "stale" && flows["endpoints"][0]["flows"] == 1
        });
    });
}

/// Both directions of a sample: what lives is chosen by our hash, what has ended by the kernel's.
#[test]
fn one_in_four_connections_stands_for_all() {
    const MANY: u64 = 400;
    in_namespace(|| {
        let mut node = Node::healthy();
        only_here(&mut node);
        serve();
        // Older ones do not count, here neither.
        (0..20).for_each(|_| ask());
        node.kill_agent();
        node.start_agent(&["--accounting", "--accounting-sample=4", "--keep-leftovers"]);
        (0..MANY).for_each(|_| ask());
        let living = web(&node);
        assert_eq!(living["live"], MANY, "{living}");
        let estimate = living["connections"].as_u64().expect("connections");
        // 100 of them are expected, and 8.7 more or fewer: six times that.
        assert!(
            estimate.is_multiple_of(4) && (192..=608).contains(&estimate),
            "{living}"
        );
        let each = living["bytesOut"].as_u64().expect("bytes") / estimate;
        assert!((1_000..3_000).contains(&each), "{living}");

        end_all();
        let ended = web(&node);
        assert_eq!(ended["live"], 0, "{ended}");
        for sum in ["connections", "bytesIn", "bytesOut"] {
            assert_eq!(ended[sum], living[sum], "{sum}: {ended} {living}");
        }
        assert_eq!(json(&node, &["top", "--once"])["oneIn"], 4);
    });
}

/// Ends all flows, as their timeouts do in the end.
fn end_all() {
    use ferrule::backend::netlink::{NLM_F_ACK, NLM_F_REQUEST, Socket, Writer};
    let mut request = Writer::new();
    request.message(1 << 8 | 2, NLM_F_REQUEST | NLM_F_ACK, 1, |w| {
        w.nfgenmsg(0, 0)
    });
    let mut socket = Socket::netfilter().expect("a socket");
    assert!(
        socket
            .acknowledged(request.as_bytes())
            .expect("an answer")
            .is_empty()
    );
}

#[test]
fn without_accounting_top_says_so() {
    in_namespace(|| {
        let node = Node::healthy();
        let output = Command::new(env!("CARGO_BIN_EXE_ferrule"))
            .args(["debug", "top", "--once", "--admin-socket", &node.socket()])
            .output()
            .expect("ferrule");
        assert_eq!(output.status.code(), Some(1));
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            text.contains("accounting is off (--accounting switches it on)"),
            "{text}"
        );
    });
}
