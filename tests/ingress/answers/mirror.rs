// SPDX-License-Identifier: Apache-2.0
//! Copies of requests.

use std::net::SocketAddr;
use std::time::Duration;

use super::{Cluster, endpoint, head};
use crate::rig::{Endpoint, eventually, header};

fn url(address: SocketAddr, path: &str) -> String {
    format!("http://{address}{path}")
}

#[test]
fn mirrors_are_sent_copies() {
    let Some(cluster) = Cluster::new() else {
        return;
    };
    let (endpoint, mirror) = (endpoint(cluster.own()), Endpoint::echo_at(cluster.own()));
    // What it was sent with its body shows in what it answers, which nobody sees: it is kept here.
    let bodies = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let kept = bodies.clone();
    let whole = Endpoint::serving_at(cluster.own(), move |mut served, _| {
        while let Some(request) = served.request() {
            kept.lock().unwrap().push(request);
            served.answer("");
        }
    });
    let (plain, moved) = (
        url(mirror.address, "$request_uri"),
        url(whole.address, "/copy$request_uri"),
    );
    let nobody = url(Endpoint::nobody(), "");
    let running = cluster
        .service("web", Some(endpoint.address))
        .ingress("plain.example", &[("mirror-target", &plain)])
        .ingress(
            "whole.example",
            &[("mirror-target", &moved), ("mirror-host", "m.example")],
        )
        .ingress(
            "head.example",
            &[("mirror-target", &moved), ("mirror-request-body", "off")],
        )
        .ingress("nobody.example", &[("mirror-target", &nobody)])
        .start();
    let answer = running.ask(
        "GET",
        "plain.example",
        "/a?b",
        &["X-Mine: 1", "Keep-Alive: 5"],
    );
    assert_eq!(answer.status, 200);
    assert!(answer.body.starts_with("GET /a?b HTTP/1.1\r\n"));
    eventually("a copy comes", || mirror.requests().len() == 1);
    let seen = &mirror.requests()[0];
    assert!(seen.starts_with("GET /a?b HTTP/1.1\r\n"), "{seen}");
    let address = mirror.address.ip().to_string();
    assert_eq!(header(seen, "Host"), Some(address.as_str()), "{seen}");
    assert_eq!(header(seen, "X-Mine"), Some("1"), "{seen}");
    assert_eq!(header(seen, "Keep-Alive"), None, "{seen}");

    let post = |host: &str| {
        let mut client = running.client();
        client
            .ask(head("POST", host, "/p", &["Content-Length: 5"]) + "hello")
            .status
    };
    assert_eq!(post("whole.example"), 200);
    eventually("a copy comes", || bodies.lock().unwrap().len() == 1);
    assert_eq!(post("head.example"), 200);
    eventually("another one does", || bodies.lock().unwrap().len() == 2);
    let seen = bodies.lock().unwrap().clone();
    for (seen, host, body) in [(&seen[0], "m.example", "hello"), (&seen[1], &*address, "")] {
        assert!(seen.starts_with("POST /copy/p HTTP/1.1\r\n"), "{seen}");
        assert!(seen.ends_with(&format!("\r\n\r\n{body}")), "{seen}");
        assert_eq!(header(seen, "Host"), Some(host), "{seen}");
    }
    for _ in 0..20 {
        assert_eq!(running.get("nobody.example", "/").status, 200);
    }
}

#[test]
fn a_mirror_that_does_not_read_holds_nothing_up() {
    let Some(cluster) = Cluster::new() else {
        return;
    };
    let endpoint = endpoint(cluster.own());
    let stuck = Endpoint::serving_at(cluster.own(), |mut served, _| {
        let _ = served.head();
        std::thread::sleep(Duration::from_secs(60));
    });
    let target = url(stuck.address, "/");
    let annotations = [
        ("mirror-target", target.as_str()),
        ("proxy-body-size", "64m"),
    ];
    let running = cluster
        .service("web", Some(endpoint.address))
        .ingress("a.example", &annotations)
        .start();
    // More than its connection and the queue can hold.
    let length = 24 << 20;
    let mut client = running.client();
    client.send(head(
        "POST",
        "a.example",
        "/",
        &[&format!("Content-Length: {length}")],
    ));
    client.send(vec![b'x'; length]);
    let answer = client.answer(false);
    assert_eq!(answer.status, 200);
    assert!(answer.body.len() > length);
    eventually("the mirror was asked", || stuck.connections() == 1);
    for _ in 0..10 {
        assert_eq!(running.get("a.example", "/").status, 200);
    }
}
