// SPDX-License-Identifier: Apache-2.0
//! Random cases. What the API server would refuse is not made; nor is what kube-proxy itself leaves
//! to chance: two Services with the same address and port.

use fastrand::Rng;
use ferrule::model::{IpFamily, Protocol};

use super::spec::{Balancer, Case, Endpoint, External, Ingress, Kind, Port, Service, Slice};

/// Where endpoints are. Pods 1c to 3c are clients only.
const HOMES: [&str; 9] = [
    "1a", "1b", "2a", "2b", "3a", "3b", "node1", "node2", "node3",
];
/// Source ranges: the outside client's own network, that of its further addresses, pods, nodes,
/// everybody, nobody, one inside another.
const RANGES: [&str; 13] = [
    "192.168.30.0/24",
    "10.99.0.0/16",
    "10.99.0.0/28",
    "10.244.0.0/16",
    "10.244.1.0/24",
    "172.30.0.0/24",
    "172.30.0.11/32",
    "0.0.0.0/0",
    "203.0.113.0/24",
    "fd00:192:30::/64",
    "fd00:10:99::/112",
    "fd00:10:244:2::/64",
    "::/0",
];

/// A case of one to four Services.
pub fn case(rng: &mut Rng) -> Case {
    let count = [1, 2, 2, 3, 3, 4][rng.usize(..6)];
    Case {
        services: (0..count).map(|n| service(rng, n)).collect(),
    }
}

/// True that many times of a hundred.
fn chance(rng: &mut Rng, percent: u32) -> bool {
    rng.u32(..100) < percent
}

fn service(rng: &mut Rng, number: usize) -> Service {
    let kind = [
        Kind::ClusterIp,
        Kind::NodePort,
        Kind::LoadBalancer,
        Kind::LoadBalancer,
    ][rng.usize(..4)];
    let families = match rng.u32(..6) {
        0 => vec![IpFamily::V4],
        1 => vec![IpFamily::V6],
        2 => vec![IpFamily::V6, IpFamily::V4],
        _ => IpFamily::ALL.to_vec(),
    };
    let affinity = chance(rng, 20).then(|| [10_800, 3_600, 600][rng.usize(..3)]);
    let mut service = Service {
        kind,
        ports: ports(rng),
        internal_local: chance(rng, 25),
        external_local: chance(rng, 50),
        affinity,
        publish_not_ready: chance(rng, 10),
        external: external(rng),
        ingress: Vec::new(),
        ranges: Vec::new(),
        node_ports: chance(rng, 85),
        others: chance(rng, 3),
        slices: Vec::new(),
        families,
    };
    if kind == Kind::LoadBalancer {
        service.ingress = ingress(rng, number);
        if chance(rng, 45) {
            let count = rng.usize(1..=4);
            service.ranges = (0..count)
                .map(|_| RANGES[rng.usize(..RANGES.len())])
                .collect();
        }
    }
    service.slices = slices(rng, &service);
    service
}

fn ports(rng: &mut Rng) -> Vec<Port> {
    let protocols = |rng: &mut Rng| match rng.u32(..8) {
        0 => vec![Protocol::Udp],
        1 => vec![Protocol::Sctp],
        2 => vec![Protocol::Tcp, Protocol::Udp],
        3 => Protocol::ALL.to_vec(),
        _ => vec![Protocol::Tcp],
    };
    let count = [1, 1, 1, 2][rng.usize(..4)];
    (0..count)
        .map(|_| Port {
            protocols: protocols(rng),
        })
        .collect()
}

fn external(rng: &mut Rng) -> External {
    match rng.u32(..20) {
        0..4 => External::Own,
        4 => External::Node(rng.u16(1..=3)),
        _ => External::No,
    }
}

fn ingress(rng: &mut Rng, number: usize) -> Vec<Ingress> {
    let one = |rng: &mut Rng| Ingress {
        proxy: chance(rng, 15),
        address: match rng.u32(..10) {
            0 if number > 0 => Balancer::Shared,
            1 => Balancer::Node(rng.u16(1..=3)),
            _ => Balancer::Own,
        },
    };
    match rng.u32(..12) {
        0 => Vec::new(),
        1 => {
            let first = one(rng);
            let node = Balancer::Node(rng.u16(1..=3));
            let second = Ingress {
                proxy: false,
                address: node,
            };
            vec![first, second]
        }
        _ => vec![one(rng)],
    }
}

/// How the endpoints of a Service are conditioned and hinted.
struct Mood {
    odd_conditions: bool,
    zones: bool,
    nodes: bool,
    sloppy: bool,
}

fn slices(rng: &mut Rng, service: &Service) -> Vec<Slice> {
    if chance(rng, 6) {
        return Vec::new();
    }
    let mood = Mood {
        odd_conditions: chance(rng, 45),
        zones: chance(rng, 25),
        nodes: chance(rng, 15),
        sloppy: chance(rng, 15),
    };
    // Sticky ones are hard to see apart: fewer.
    let most = if service.affinity.is_some() { 3 } else { 4 };
    let mut homes = HOMES.to_vec();
    rng.shuffle(&mut homes);
    homes.truncate(rng.usize(0..=most).max(usize::from(chance(rng, 80))));
    let mut slices = Vec::new();
    for family in IpFamily::ALL {
        let all: Vec<_> = homes.iter().map(|at| endpoint(rng, &mood, at)).collect();
        let cut = if chance(rng, 25) {
            rng.usize(0..=all.len())
        } else {
            all.len()
        };
        let (first, second) = all.split_at(cut);
        for part in [first, second] {
            if !part.is_empty() || chance(rng, 10) {
                slices.push(Slice {
                    family,
                    second_target: chance(rng, 20),
                    first_port_only: chance(rng, 10),
                    endpoints: part.to_vec(),
                });
            }
        }
    }
    slices
}

fn endpoint(rng: &mut Rng, mood: &Mood, at: &'static str) -> Endpoint {
    let (mut ready, mut serving, mut terminating) = (Some(true), Some(true), Some(false));
    if mood.odd_conditions {
        (ready, serving, terminating) = match rng.u32(..8) {
            0 | 1 => (Some(true), Some(true), Some(false)),
            2 | 3 => (Some(false), Some(true), Some(true)),
            4 => (Some(false), Some(false), Some(true)),
            5 => (Some(false), Some(false), Some(false)),
            6 => (None, None, None),
            // What a Service with publishNotReadyAddresses gets.
            _ => (Some(true), Some(false), Some(chance(rng, 50))),
        };
    }
    let hinted = |rng: &mut Rng, wanted: bool| wanted && !(mood.sloppy && chance(rng, 30));
    let zones = match hinted(rng, mood.zones) {
        true if chance(rng, 10) => vec![9],
        true if chance(rng, 20) => vec![0, 1],
        true => vec![rng.u8(..3)],
        false => Vec::new(),
    };
    let nodes = match hinted(rng, mood.nodes) {
        true if chance(rng, 10) => vec![9],
        true => vec![rng.u16(1..=3)],
        false => Vec::new(),
    };
    Endpoint {
        at,
        ready,
        serving,
        terminating,
        zones,
        nodes,
        node_name: !chance(rng, 4),
    }
}
