// SPDX-License-Identifier: Apache-2.0
//! Headers by ConfigMaps and annotations.

use super::{Cluster, all, endpoint};
use crate::rig::{eventually, header};

#[test]
fn headers_of_config_maps_are_set() {
    let Some(cluster) = Cluster::new() else {
        return;
    };
    let endpoint = endpoint(cluster.own());
    let settings = [
        ("add-headers", "sys/add"),
        ("proxy-set-headers", "sys/set"),
        ("hide-headers", "X-Hidden, x-other"),
        ("global-allowed-response-headers", "X-Two,Content-Type"),
    ];
    let running = cluster
        .service("web", Some(endpoint.address))
        .config_map("settings", &settings)
        .config_map("add", &[("X-One", "all $host"), ("X-Three", "3")])
        .config_map(
            "set",
            &[("X-Sent", "$request_method $request_uri"), ("Accept", "")],
        )
        .config_map(
            "custom",
            &[("X-Two", "$mine"), ("Content-Type", "application/json")],
        )
        .config_map("bad", &[("X-Secret", "1")])
        .ingress("plain.example", &[])
        .ingress("custom.example", &[("custom-headers", "sys/custom")])
        .ingress("bad.example", &[("custom-headers", "sys/bad")])
        .ingress("missing.example", &[("custom-headers", "sys/none")])
        .start();
    let answer = running.get("plain.example", "/headers");
    for (name, values) in [
        ("X-One", &["all plain.example"][..]),
        ("X-Two", &["endpoint"]),
        ("X-Three", &["3"]),
        ("X-Hidden", &[]),
        ("Server", &[]),
        ("Content-Type", &["text/html"]),
    ] {
        assert_eq!(all(&answer, name), values, "{}", answer.head);
    }
    let answer = running.get("custom.example", "/headers");
    assert_eq!(all(&answer, "X-Two"), ["$mine"], "{}", answer.head);
    assert_eq!(all(&answer, "Content-Type"), ["application/json"]);
    assert_eq!(all(&answer, "X-One"), ["all custom.example"]);
    for host in ["bad.example", "missing.example"] {
        let answer = running.get(host, "/headers");
        assert_eq!(answer.status, 503, "{host}");
        assert_eq!(all(&answer, "X-Three"), ["3"], "{host}");
    }
    // What is nobody's has them, too.
    let answer = running.get("nobody.example", "/");
    assert_eq!((answer.status, all(&answer, "X-Three")), (404, vec!["3"]));

    let seen = running
        .ask("GET", "plain.example", "/echo?a=b", &["Accept: x"])
        .body;
    assert_eq!(header(&seen, "X-Sent"), Some("GET /echo?a=b"), "{seen}");
    assert_eq!(header(&seen, "Accept"), None, "{seen}");
}

#[test]
fn linked_config_maps_may_change() {
    let Some(cluster) = Cluster::new() else {
        return;
    };
    let endpoint = endpoint(cluster.own());
    let running = cluster
        .service("web", Some(endpoint.address))
        .ingress("a.example", &[("custom-headers", "sys/custom")])
        .start();
    let one = || {
        let answer = running.get("a.example", "/headers");
        (answer.status, all(&answer, "X-One").join(","))
    };
    assert_eq!(one().0, 503);
    running.put("custom", &[("X-One", "custom")]);
    running.put("settings", &[("global-allowed-response-headers", "X-One")]);
    eventually("the ConfigMap is read", || {
        one() == (200, "custom".to_owned())
    });
    running.put("custom", &[("X-One", "other")]);
    eventually("its change is, too", || one() == (200, "other".to_owned()));
    running.put(
        "settings",
        &[("server-tokens", "true"), ("add-headers", "sys/add")],
    );
    eventually("it is no longer allowed", || one().0 == 503);
    running.put("custom", &[]);
    running.put("add", &[("X-One", "add")]);
    eventually("another one is read", || one() == (200, "add".to_owned()));
    assert_eq!(
        running.get("a.example", "/headers").header("server"),
        Some("ferrule")
    );
    running.put("add", &[("X-One", "add again")]);
    eventually("its change is, too", || {
        one() == (200, "add again".to_owned())
    });
}

#[test]
fn endpoints_are_told_how_to_go_on() {
    let Some(cluster) = Cluster::new() else {
        return;
    };
    let endpoint = endpoint(cluster.own());
    let running = cluster
        .service("web", Some(endpoint.address))
        .ingress("close.example", &[("connection-proxy-header", "close")])
        .ingress("keep.example", &[("connection-proxy-header", "keep-alive")])
        .ingress("plain.example", &[])
        .start();
    for (host, expected) in [
        ("close.example", Some("close")),
        ("keep.example", Some("keep-alive")),
        ("plain.example", None),
    ] {
        let seen = running.get(host, "/echo").body;
        assert_eq!(header(&seen, "Connection"), expected, "{seen}");
        let sent = running
            .ask("GET", host, "/echo", &["X-Request-ID: mine"])
            .body;
        assert_eq!(header(&sent, "X-Request-ID"), Some("mine"));
    }
}
