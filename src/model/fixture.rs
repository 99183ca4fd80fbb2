// SPDX-License-Identifier: Apache-2.0
//! Short ways to write objects in tests.

use std::net::IpAddr;
use std::sync::Arc;

use super::*;

/// Parses an address; tests only.
pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// A Service `default/NAME` with a ClusterIP and one TCP port 80.
pub(crate) fn service(name: &str, cluster_ip: &str) -> Service {
    Service {
        name: ServiceName::new("default", name),
        created: 0,
        cluster_ips: vec![ip(cluster_ip)],
        external_ips: vec![],
        load_balancer_ips: vec![],
        source_ranges: vec![],
        ports: vec![port(80)],
        internal_policy: TrafficPolicy::Cluster,
        external_policy: TrafficPolicy::Cluster,
        affinity: None,
        health_check_node_port: None,
        ipvs: None,
    }
}

/// An unnamed TCP port without NodePort.
pub(crate) fn port(port: u16) -> ServicePort {
    ServicePort {
        name: "".into(),
        protocol: Protocol::Tcp,
        port,
        node_port: None,
    }
}

/// An endpoint, written as `ADDRESS[@NODE[/ZONE]][!FLAGS][>HINTS]`, where FLAGS are `u` (unready),
/// `t` (terminating, still serving) or `d` (terminating, not serving), and HINTS are names of zones
/// and, with a leading `n:`, of nodes, separated by commas.
pub(crate) fn endpoint(text: &str) -> SliceEndpoint {
    let (text, hints) = text
        .split_once('>')
        .map_or((text, None), |(t, h)| (t, Some(h)));
    let (text, flags) = text.split_once('!').unwrap_or((text, ""));
    let (address, place) = text
        .split_once('@')
        .map_or((text, None), |(a, p)| (a, Some(p)));
    let (node, zone) = match place {
        Some(p) => p
            .split_once('/')
            .map_or((Some(p), None), |(n, z)| (Some(n), Some(z))),
        None => (None, None),
    };
    let conditions = match flags {
        "u" => Conditions {
            ready: false,
            serving: false,
            terminating: false,
        },
        "t" => Conditions {
            ready: false,
            serving: true,
            terminating: true,
        },
        "d" => Conditions {
            ready: false,
            serving: false,
            terminating: true,
        },
        _ => Conditions::default(),
    };
    let hints = hints.map(|h| {
        let (nodes, zones): (Vec<&str>, Vec<&str>) = h
            .split(',')
            .filter(|h| !h.is_empty())
            .partition(|h| h.starts_with("n:"));
        let nodes = nodes.into_iter().map(|n| Arc::from(&n[2..])).collect();
        Box::new(Hints {
            zones: zones.into_iter().map(Arc::from).collect(),
            nodes,
        })
    });
    let node = node.map(Arc::from);
    SliceEndpoint {
        address: ip(address),
        conditions,
        node,
        zone: zone.map(Arc::from),
        hints,
    }
}

/// A slice `default/NAME` of a Service `default/SERVICE` with one unnamed TCP port.
pub(crate) fn slice(name: &str, service: &str, port: u16, endpoints: &[&str]) -> EndpointSlice {
    EndpointSlice {
        name: SliceName::new("default", name),
        service: ServiceName::new("default", service),
        ports: vec![EndpointPort {
            name: "".into(),
            protocol: Protocol::Tcp,
            port,
        }],
        endpoints: endpoints.iter().map(|e| endpoint(e)).collect(),
        triggered_at: None,
    }
}

/// The node `n1` in zone `z1` with address 192.0.2.10.
pub(crate) fn node() -> Node {
    Node {
        name: "n1".into(),
        zone: Some("z1".into()),
        addresses: vec![ip("192.0.2.10"), ip("2001:db8::10")],
        pod_cidrs: vec![],
        leaving: false,
    }
}

/// A complete state of [`node`] with these objects.
pub(crate) fn state(services: &[Service], slices: &[EndpointSlice]) -> State {
    let mut state = State::new("n1");
    state.apply(Event::Node(Observed::new(node())));
    state.apply(Event::LocalAddresses(vec![
        ip("192.0.2.10"),
        ip("2001:db8::10"),
    ]));
    for s in services {
        state.apply(Event::Service(s.name.clone(), Observed::new(s.clone())));
    }
    for s in slices {
        state.apply(Event::Slice(s.name.clone(), Observed::new(s.clone())));
    }
    state.apply(Event::Synced);
    state
}
