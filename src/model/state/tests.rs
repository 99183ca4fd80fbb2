// SPDX-License-Identifier: Apache-2.0

use super::*;
use crate::model::fixture::{ip, node, service, slice, state};

fn names(changes: &Changes) -> Vec<&str> {
    changes.services.iter().map(|n| &*n.name).collect()
}

fn put(state: &mut State, service: &Service) -> Changes {
    state.apply(Event::Service(
        service.name.clone(),
        Observed::new(service.clone()),
    ))
}

#[test]
fn a_change_concerns_its_service_only() {
    let mut s = state(&[service("a", "10.96.0.1"), service("b", "10.96.0.2")], &[]);
    assert!(
        put(&mut s, &service("a", "10.96.0.1")).is_empty(),
        "nothing new"
    );
    assert_eq!(names(&put(&mut s, &service("a", "10.96.0.3"))), ["a"]);
    let e = slice("b-1", "b", 80, &["10.0.0.1"]);
    let event = Event::Slice(e.name.clone(), Observed::new(e.clone()));
    assert_eq!(names(&s.apply(event.clone())), ["b"]);
    assert!(s.apply(event).is_empty());
    let moved = EndpointSlice {
        service: ServiceName::new("default", "a"),
        ..e.clone()
    };
    let changes = s.apply(Event::Slice(e.name.clone(), Observed::new(moved)));
    assert_eq!(
        names(&changes),
        ["a", "b"],
        "a slice that changes its Service concerns both"
    );
    assert_eq!(s.slices(&ServiceName::new("default", "b")).count(), 0);
    assert_eq!(
        names(&s.apply(Event::Slice(e.name, Observed::gone()))),
        ["a"]
    );
}

#[test]
fn the_older_service_keeps_what_two_ask_for() {
    let with_vip = |name: &str, ip4: &str, created| {
        let mut s = service(name, ip4);
        s.external_ips = vec![ip("203.0.113.9")];
        s.created = created;
        s
    };
    let claim = Claim::Vip(ip("203.0.113.9"), crate::model::Protocol::Tcp, 80);
    let young = with_vip("young", "10.96.0.1", 200);
    let old = with_vip("old", "10.96.0.2", 100);
    let mut s = state(std::slice::from_ref(&young), &[]);
    assert!(s.owns(&young.name, &claim));
    assert_eq!(names(&put(&mut s, &old)), ["old", "young"]);
    assert!(s.owns(&old.name, &claim) && !s.owns(&young.name, &claim));
    let reason = "203.0.113.9:80/tcp belongs to the older Service default/old";
    assert_eq!(s.disputes(&young), [reason]);
    assert_eq!(s.disputes(&old), [""; 0]);
    // A third one in the queue, and one that leaves it.
    let third = with_vip("third", "10.96.0.3", 150);
    assert_eq!(names(&put(&mut s, &third)), ["third"]);
    assert_eq!(
        names(&s.apply(Event::Service(third.name, Observed::gone()))),
        ["third"]
    );
    let changes = s.apply(Event::Service(old.name, Observed::gone()));
    assert_eq!(names(&changes), ["old", "young"]);
    assert!(s.owns(&young.name, &claim));
}

#[test]
fn of_equal_age_the_first_name_wins() {
    let mut b = service("b", "10.96.0.1");
    b.ports[0].node_port = Some(30_000);
    let mut a = service("a", "10.96.0.2");
    a.ports[0].node_port = Some(30_000);
    let s = state(&[b.clone(), a.clone()], &[]);
    let claim = Claim::NodePort(crate::model::Protocol::Tcp, 30_000);
    assert!(s.owns(&a.name, &claim));
    assert_eq!(
        s.disputes(&b),
        ["NodePort 30000/tcp belongs to the older Service default/a"]
    );
}

#[test]
fn the_node_concerns_who_depends_on_what_changed() {
    let plain = service("plain", "10.96.0.1");
    let mut ranged = service("ranged", "10.96.0.2");
    ranged.source_ranges = vec!["192.0.2.0/24".parse().expect("a prefix")];
    let hinted = service("hinted", "10.96.0.3");
    let slices = [
        slice(
            "plain-1",
            "plain",
            80,
            &["10.244.1.5@n1", "10.244.1.6@n1>n:n1"],
        ),
        slice("hinted-1", "hinted", 80, &["10.244.1.7@n1>z1,n:n1"]),
    ];
    let mut s = state(&[plain, ranged, hinted], &slices);
    let apply = |s: &mut State, node| s.apply(Event::Node(Observed::new(node)));
    assert!(apply(&mut s, node()).is_empty());
    assert!(
        apply(
            &mut s,
            Node {
                leaving: true,
                ..node()
            }
        )
        .is_empty()
    );
    assert_eq!(s.node_leaving(), Some(true));
    let mut now = node();
    now.zone = None;
    let changes = apply(&mut s, now.clone());
    assert_eq!(names(&changes), ["hinted"]);
    assert!(!changes.everything && !changes.node);
    now.addresses.pop();
    let changes = apply(&mut s, now.clone());
    assert_eq!(names(&changes), ["ranged"]);
    assert!(!changes.everything && changes.node);
    now.pod_cidrs = vec!["10.244.1.0/24".parse().expect("a prefix")];
    let changes = apply(&mut s, now.clone());
    assert!(changes.services.is_empty() && !changes.everything && changes.node);
    now.name = "n2".into();
    assert!(
        apply(&mut s, now).everything,
        "endpoints are local elsewhere"
    );
    assert!(s.apply(Event::Node(Observed::gone())).is_empty());
    assert_eq!(
        (s.node_leaving(), s.node().addresses.len()),
        (None, 1),
        "rules stay"
    );
}

#[test]
fn addresses_and_service_cidrs_concern_the_node_part() {
    let mut s = state(&[], &[]);
    let cidr = |c: &str| vec![c.parse().expect("a prefix")];
    let event = |c| Event::ServiceCidr("k".into(), Observed::new(cidr(c)));
    assert!(s.apply(event("10.96.0.0/16")).node);
    assert!(!s.apply(event("10.96.0.0/16")).node);
    assert!(
        s.apply(Event::ServiceCidr("k".into(), Observed::gone()))
            .node
    );
    assert!(s.apply(Event::LocalAddresses(vec![ip("192.0.2.11")])).node);
    assert!(!s.apply(Event::LocalAddresses(vec![ip("192.0.2.11")])).node);
}

#[test]
fn a_given_node_address_goes_first_and_needs_no_node() {
    let given = Some(ip("192.0.2.99"));
    let mut s = State::new("n1").with_node_ip(given);
    assert_eq!(s.node().addresses, [ip("192.0.2.99")]);
    s.apply(Event::Node(Observed::new(node())));
    assert_eq!(s.node().addresses[0], ip("192.0.2.99"));
    assert_eq!(s.node().addresses.len(), 3);
}

#[test]
fn without_external_ips_a_service_has_none() {
    let mut s = State::new("n1").without_external_ips();
    let mut edge = service("edge", "10.96.0.1");
    edge.external_ips = vec![ip("203.0.113.9")];
    put(&mut s, &edge);
    let kept = s.service(&edge.name).unwrap();
    assert!(kept.external_ips.is_empty());
    assert_eq!(kept.cluster_ips, edge.cluster_ips);
}

/// Whoever has an address of another node from outside hears when that changes, and nobody else.
#[test]
fn addresses_of_other_nodes() {
    let mut s = State::new("n1");
    let mut web = service("web", "10.0.0.1");
    web.external_ips = vec![ip("192.0.2.12")];
    s.apply(Event::Service(web.name.clone(), Observed::new(web)));
    let other = service("other", "10.0.0.2");
    s.apply(Event::Service(other.name.clone(), Observed::new(other)));
    s.apply(Event::Synced);
    let there = |s: &mut State, node: &str, addresses: &[&str]| {
        let addresses = addresses.iter().map(|a| ip(a)).collect();
        let changes = s.apply(Event::OtherNode(node.into(), addresses));
        assert!(!changes.everything && !changes.node);
        (changes.services.len(), s.elsewhere().len())
    };
    assert_eq!(there(&mut s, "n2", &["192.0.2.12", "192.0.2.12"]), (1, 1));
    assert_eq!(there(&mut s, "n2", &["192.0.2.12"]), (0, 1));
    assert_eq!(there(&mut s, "n3", &["192.0.2.12", "192.0.2.13"]), (0, 2));
    assert_eq!(there(&mut s, "n2", &[]), (0, 2));
    let changes = s.apply(Event::LocalAddresses(vec![ip("192.0.2.12")]));
    assert_eq!((changes.services.len(), s.elsewhere().len()), (1, 1));
    let changes = s.apply(Event::LocalAddresses(vec![ip("192.0.2.11")]));
    assert_eq!((changes.services.len(), s.elsewhere().len()), (1, 2));
    assert_eq!(there(&mut s, "n3", &[]), (1, 0));
}
