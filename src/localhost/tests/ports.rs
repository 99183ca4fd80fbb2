// SPDX-License-Identifier: Apache-2.0
//! Which ports are wanted, without any I/O.

use super::*;
use crate::model::Protocol;
use crate::model::fixture::ip;

const BOTH: [IpFamily; 2] = IpFamily::ALL;

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn with_node_port(name: &str, created: i64, node_port: u16) -> Service {
    let mut service = service(name, "10.96.0.1");
    service.created = created;
    service.ports[0].node_port = Some(node_port);
    service
}

fn everything() -> Changes {
    Changes {
        everything: true,
        node: true,
        ..Changes::default()
    }
}

/// All that is wanted of these Services, with the given address of the node in IPv4 alone.
fn wanted(services: &[Service], node: Option<&str>, families: &[IpFamily]) -> Wanted {
    let (mut ports, mut wanted) = (Ports::default(), Wanted::default());
    let node = |family| node.map(ip).filter(|_| family == IpFamily::V4);
    ports.update(
        &mut wanted,
        &state(services, &[]),
        &everything(),
        families,
        node,
    );
    wanted
}

fn leads(wanted: &Wanted) -> Vec<(SocketAddr, SocketAddr)> {
    let ports = wanted.listeners().into_keys();
    ports
        .map(|port| (port, wanted.target(port).unwrap()))
        .collect()
}

#[test]
fn tcp_node_ports_of_the_families_of_a_service() {
    let mut both = with_node_port("both", 0, 30001);
    both.cluster_ips.push(ip("fd00::1"));
    let mut udp = with_node_port("udp", 0, 30002);
    udp.ports[0].protocol = Protocol::Udp;
    let plain = service("plain", "10.96.0.3");
    let services = [both, udp, plain];
    let v4 = (address("127.0.0.1:30001"), address("192.0.2.10:30001"));
    // Where no address of the node serves NodePorts, the ClusterIP does.
    let v6 = (address("[::1]:30001"), address("[fd00::1]:80"));
    let found = wanted(&services, Some("192.0.2.10"), &BOTH);
    assert_eq!(leads(&found), [v4, v6]);
    assert_eq!(found.name(v4.0), "default/both");
    assert_eq!(leads(&wanted(&services, Some("192.0.2.10"), &V4)), [v4]);
}

#[test]
fn the_older_service_has_a_disputed_port() {
    let (old, young) = (with_node_port("z", 1, 30001), with_node_port("a", 2, 30001));
    let found = wanted(&[young, old], None, &V4);
    assert_eq!(found.name(address("127.0.0.1:30001")), "default/z");
}

#[test]
fn changes_of_any_kind_end_where_a_fresh_start_does() {
    let services = |ports: [Option<u16>; 3]| -> Vec<Service> {
        let named = ["a", "b", "c"].into_iter().zip(ports);
        named
            .enumerate()
            .filter_map(|(i, (name, port))| Some(with_node_port(name, i as i64, port?)))
            .collect()
    };
    let steps = [
        [Some(30001), Some(30002), None],
        [Some(30002), Some(30001), None],
        [Some(30002), Some(30001), Some(30002)],
        [None, Some(30001), Some(30002)],
        [None, Some(30003), Some(30001)],
        [None, Some(30003), Some(30001)],
        [None, None, None],
    ];
    let (mut ports, mut now) = (Ports::default(), Wanted::default());
    let mut state = state(&[], &[]);
    let mut old: Vec<Service> = vec![];
    for step in steps {
        let new = services(step);
        let mut changes = Changes::default();
        for service in &old {
            let gone = !new.iter().any(|s| s.name == service.name);
            if gone {
                let event = Event::Service(service.name.clone(), Observed::gone());
                changes.merge(state.apply(event));
            }
        }
        for service in &new {
            let event = Event::Service(service.name.clone(), Observed::new(service.clone()));
            changes.merge(state.apply(event));
        }
        let before = now.clone();
        let changed = ports.update(&mut now, &state, &changes, &V4, |_| None);
        assert_eq!(changed, before != now, "{step:?}");
        assert_eq!(now, wanted(&new, None, &V4), "{step:?}");
        old = new;
    }
    let slice = Changes {
        services: [service("b", "10.96.0.1").name].into(),
        ..Changes::default()
    };
    assert!(!ports.update(&mut now, &state, &slice, &V4, |_| None));
}

#[test]
fn an_address_of_the_node_that_changes_moves_targets_alone() {
    let services = [with_node_port("web", 0, 30001)];
    let state = state(&services, &[]);
    let (mut ports, mut now) = (Ports::default(), Wanted::default());
    let first = |_| Some(ip("192.0.2.10"));
    assert!(ports.update(&mut now, &state, &everything(), &V4, first));
    let before = now.listeners();
    let node = Changes {
        node: true,
        ..Changes::default()
    };
    assert!(ports.update(&mut now, &state, &node, &V4, |_| Some(ip("192.0.2.11"))));
    assert_eq!(now.listeners(), before);
    let target = now.target(address("127.0.0.1:30001"));
    assert_eq!(target, Some(address("192.0.2.11:30001")));
    assert_eq!(now.target(address("127.0.0.1:30009")), None);
}
