// SPDX-License-Identifier: Apache-2.0
//! Cases after kube-proxy's `TestCategorizeEndpoints`.

use super::*;
use crate::model::fixture::{ip, node, service, slice};

/// Endpoints, then the last bytes of the addresses that each policy uses.
fn check(name: &str, endpoints: &[&str], cluster: &[u8], local: &[u8]) {
    let slice = slice("s", "web", 80, endpoints);
    let found = candidates([&slice], "", Protocol::Tcp, IpFamily::V4, &node());
    let choice = choose(&found, true, &node());
    let last = |targets: &[Target]| -> Vec<u8> {
        let byte = |t: &Target| match t.address {
            IpAddr::V4(a) => a.octets()[3],
            IpAddr::V6(_) => panic!("an IPv6 endpoint in IPv4"),
        };
        targets.iter().map(byte).collect()
    };
    assert_eq!(last(&choice.cluster), cluster, "{name}: cluster");
    assert_eq!(last(&choice.local), local, "{name}: local");
    assert_eq!(choice.any, !cluster.is_empty(), "{name}: any");
    let used = explain(&found, &node())
        .iter()
        .filter(|e| e.is_none())
        .count();
    assert_eq!(used, cluster.len(), "{name}: explained");
}

#[test]
fn readiness() {
    check("none", &[], &[], &[]);
    check("all ready", &["10.0.0.1@n1", "10.0.0.2@n2"], &[1, 2], &[1]);
    check(
        "unready is out",
        &["10.0.0.1@n1!u", "10.0.0.2@n2"],
        &[2],
        &[],
    );
    check(
        "terminating is out while one is ready",
        &["10.0.0.1@n1!t", "10.0.0.2@n2"],
        &[2],
        &[1],
    );
    check(
        "all terminating",
        &["10.0.0.1@n1!t", "10.0.0.2@n2!t"],
        &[1, 2],
        &[1],
    );
    check(
        "dead ones never",
        &["10.0.0.1@n1!d", "10.0.0.2@n2!u"],
        &[],
        &[],
    );
    check(
        "local ready hides local terminating",
        &["10.0.0.1@n1!t", "10.0.0.2@n1"],
        &[2],
        &[2],
    );
    check("unknown node is not local", &["10.0.0.1"], &[1], &[]);
}

#[test]
fn topology_hints() {
    check(
        "zones",
        &["10.0.0.1@n2/z1>z1", "10.0.0.2@n3/z2>z2"],
        &[1],
        &[],
    );
    check(
        "one missing hint turns it off",
        &["10.0.0.1@n2>z1", "10.0.0.2@n3"],
        &[1, 2],
        &[],
    );
    check(
        "no hint for this zone",
        &["10.0.0.1@n2>z3", "10.0.0.2@n3>z2"],
        &[1, 2],
        &[],
    );
    check(
        "unready hints do not count",
        &["10.0.0.1>z1", "10.0.0.2!u", "10.0.0.3>z2"],
        &[1],
        &[],
    );
    check(
        "nodes before zones",
        &["10.0.0.1@n1>z1,n:n1", "10.0.0.2@n2>z1,n:n2"],
        &[1],
        &[1],
    );
    check(
        "no hint for this node: zones",
        &["10.0.0.1>z1,n:n8", "10.0.0.2>z2,n:n9"],
        &[1],
        &[],
    );
    check(
        "Local ignores hints",
        &["10.0.0.1@n1>z2", "10.0.0.2@n2>z1"],
        &[2],
        &[1],
    );
    check(
        "no hints for terminating ones",
        &["10.0.0.1!t>z2", "10.0.0.2!t>z1"],
        &[1, 2],
        &[],
    );
    check(
        "an empty hint is none",
        &["10.0.0.1>", "10.0.0.2>z1"],
        &[1, 2],
        &[],
    );
}

#[test]
fn a_node_without_a_zone_uses_all_zones() {
    let slice = slice("s", "web", 80, &["10.0.0.1>z1", "10.0.0.2>z2"]);
    let node = Node {
        zone: None,
        ..node()
    };
    let found = candidates([&slice], "", Protocol::Tcp, IpFamily::V4, &node);
    assert_eq!(choose(&found, false, &node).cluster.len(), 2);
}

#[test]
fn several_slices() {
    let mut a = slice("a", "web", 8080, &["10.0.0.1!t", "10.0.0.2"]);
    a.ports[0].name = "http".into();
    let mut b = slice("b", "web", 9090, &["10.0.0.3"]);
    b.ports[0].name = "http".into();
    let mut c = slice("c", "web", 8080, &["10.0.0.1", "2001:db8::1"]);
    c.ports[0].name = "http".into();
    let mut udp = c.clone();
    udp.ports[0].protocol = Protocol::Udp;
    let all = [&a, &b, &c, &udp];
    let found = candidates(all, "http", Protocol::Tcp, IpFamily::V4, &node());
    let targets: Vec<String> = found.iter().map(|c| c.target.to_string()).collect();
    assert_eq!(targets, ["10.0.0.1:8080", "10.0.0.2:8080", "10.0.0.3:9090"]);
    assert!(found[0].ready(), "the entry that is not terminating wins");
    assert_eq!(
        candidates(all, "http", Protocol::Tcp, IpFamily::V6, &node()).len(),
        1
    );
    assert_eq!(
        candidates(all, "grpc", Protocol::Tcp, IpFamily::V4, &node()).len(),
        0
    );
}

#[test]
fn a_health_check_counts_ready_local_addresses_once() {
    let a = slice(
        "a",
        "web",
        80,
        &["10.0.0.1@n1", "10.0.0.2@n2", "10.0.0.3@n1!t"],
    );
    let b = slice("b", "web", 81, &["10.0.0.1@n1", "10.0.0.4@n1!u"]);
    let web = service("web", "10.96.0.1");
    assert_eq!(local_ready(&web, [&a, &b], &node()), 1);
}

#[test]
fn a_health_check_counts_the_larger_of_the_families_that_the_service_has() {
    let four = slice("a", "web", 80, &["10.0.0.1@n1"]);
    let six = slice("b", "web", 80, &["fd00::1@n1", "fd00::2@n1"]);
    let mut web = service("web", "10.96.0.1");
    assert_eq!(local_ready(&web, [&four, &six], &node()), 1);
    web.cluster_ips.push(ip("fd00:96::1"));
    assert_eq!(local_ready(&web, [&four, &six], &node()), 2);
}
