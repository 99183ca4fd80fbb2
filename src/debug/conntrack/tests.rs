// SPDX-License-Identifier: Apache-2.0

use serde_json::json;

use super::*;
use crate::backend::conntrack::tests::{entry, insert};
use crate::backend::testing::in_namespace;
use crate::model::Protocol::{Tcp, Udp};

fn service() -> ServiceView {
    let endpoint = |address: &str, used: bool| {
        json!({"address": address, "port": 8080, "state": if used {"ready"} else {"terminating"},
            "used": used.then_some("cluster")})
    };
    let endpoints = json!([endpoint("10.244.1.5", true), endpoint("10.244.1.6", false)]);
    serde_json::from_value(json!({"namespace": "default", "name": "web", "frontends": [
        {"kind": "ClusterIP", "address": "10.96.0.10", "family": "IPv4", "port": 80,
         "protocol": "TCP", "portName": "", "policy": "Cluster", "endpoints": endpoints},
        {"kind": "NodePort", "address": null, "family": "IPv4", "port": 30080,
         "protocol": "TCP", "portName": "", "policy": "Cluster", "endpoints": endpoints}]}))
    .unwrap()
}

/// Real entries of the kernel's, each judged by where it goes.
#[test]
fn flows_are_told_by_the_standing_of_their_endpoint() {
    in_namespace(|| {
        let client = |n: u16| format!("10.244.1.9:{}", 40000 + n);
        let flows = [
            (1, "10.96.0.10:80", "10.244.1.5:8080"),
            (2, "10.96.0.10:80", "10.244.1.5:8080"),
            (3, "10.96.0.10:80", "10.244.1.6:8080"),
            (4, "10.96.0.10:80", "10.244.1.7:8080"),
            (5, "192.0.2.10:30080", "10.244.1.7:8080"),
            (6, "10.96.0.10:80", "10.96.0.10:80"),
            // Others': another Service's, and a port that is like a NodePort.
            (7, "10.96.0.11:80", "10.244.1.5:8080"),
            (8, "198.51.100.1:30080", "198.51.100.1:30080"),
        ];
        let entries = flows.map(|(n, to, endpoint)| entry(Tcp, &client(n), to, endpoint));
        insert(entries).unwrap();
        let udp = entry(Udp, &client(9), "10.96.0.10:80", "10.244.1.5:8080");
        insert(std::iter::once(udp)).unwrap();
        let mut flows = Vec::new();
        live(IpFamily::V4, |flow| flows.push(flow)).unwrap();
        let view = view(&service(), flows);
        let seen: Vec<_> = view
            .endpoints
            .iter()
            .map(|e| (e.endpoint.to_string(), e.standing, e.flows))
            .collect();
        let expected = [
            ("10.244.1.5:8080", Standing::Used, 2),
            ("10.244.1.6:8080", Standing::Unused, 1),
            ("10.244.1.7:8080", Standing::Stale, 2),
            ("10.96.0.10:80", Standing::Untranslated, 1),
        ];
        assert_eq!(seen, expected.map(|(e, s, n)| (e.to_owned(), s, n)));
        assert_eq!(view.flows.len(), 6);
        let mut text = Vec::new();
        page(&view, true, &mut text).unwrap();
        let text = anstream::adapter::strip_bytes(&text).into_vec();
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains("10.244.1.9:40004"), "{text}");
        assert_eq!(text.matches("stale").count(), 3, "{text}");
        crate::debug::schema::obeys("conntrack", &serde_json::to_value(&view).unwrap());
    });
}
