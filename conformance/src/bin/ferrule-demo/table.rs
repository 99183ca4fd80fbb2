// SPDX-License-Identifier: Apache-2.0
//! Who answered how often, and which source the servers saw.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use anyhow::{Result, bail};
use comfy_table::presets::NOTHING;
use comfy_table::{LineStyle, Table};
use ferrule::model::{IpFamily, Protocol};
use ferrule_conformance::client::{Answer, Attempt, PATIENCE, dial};
use ferrule_conformance::cluster::Cluster;
use ferrule_conformance::netns::{self, Place};
use ferrule_conformance::object::pod_address;

use crate::step;

const CONNECTIONS: usize = 300;

/// Where a connection goes.
#[derive(Clone, Copy)]
enum To {
    ClusterIp(u16),
    NodePort(u16),
    LoadBalancer(u16),
    External(u16),
}

const FROM: [Place; 3] = [Place::Pod("1b"), Place::Node(1), Place::Outside];
const SHOP: [To; 4] = [
    To::ClusterIp(1),
    To::NodePort(1),
    To::LoadBalancer(1),
    To::External(1),
];
const VAULT: [To; 1] = [To::LoadBalancer(2)];

impl To {
    fn address(self, family: IpFamily) -> SocketAddr {
        let (address, port) = match self {
            To::ClusterIp(i) => (netns::cluster_ip(family, i), 80),
            To::NodePort(i) => (netns::node_address(family, 1), 30_000 + i),
            To::LoadBalancer(i) => (netns::load_balancer_ip(family, i), 80),
            To::External(i) => (netns::external_ip(family, i), 80),
        };
        SocketAddr::new(address, port)
    }

    fn word(self) -> &'static str {
        match self {
            To::ClusterIp(_) => "ClusterIP",
            To::NodePort(_) => "NodePort",
            To::LoadBalancer(_) => "LoadBalancer",
            To::External(_) => "externalIP",
        }
    }
}

pub(crate) fn show(cluster: &Cluster) -> Result<()> {
    step(3, &format!("{CONNECTIONS} TCP connections each, IPv4:"));
    for (name, all) in [("shop", &SHOP[..]), ("vault", &VAULT[..])] {
        let mut table = Table::new();
        table.load_style(NOTHING.header_separator(LineStyle::none().fill('─')));
        table.set_header(["from", name, "address", "answered by", "servers saw"]);
        for to in all {
            for from in FROM {
                let answers = ask(cluster, from, *to, IpFamily::V4, Protocol::Tcp)?;
                table.add_row(row(from, *to, &answers));
            }
        }
        println!("{}\n", table.trim_fmt());
    }
    println!("   node-1's: 172.30.0.11, or 10.244.1.1 towards its own pods");
    others(cluster)
}

fn row(from: Place, to: To, answers: &[Answer]) -> [String; 5] {
    let who = match from {
        Place::Pod(name) => format!("pod {name}"),
        Place::Node(n) => format!("node-{n}"),
        Place::Outside => "client".to_owned(),
    };
    let address = to.address(IpFamily::V4).to_string();
    [
        who,
        to.word().to_owned(),
        address,
        by(answers),
        saw(answers),
    ]
}

fn ask(c: &Cluster, from: Place, to: To, family: IpFamily, p: Protocol) -> Result<Vec<Answer>> {
    let outside = from == Place::Outside;
    // A marked packet goes to node 1, whatever its destination; NodePorts need no such route.
    let via = u16::from(outside && !matches!(to, To::NodePort(_)));
    let source = outside.then(|| netns::client_address(family));
    let attempt = Attempt {
        protocol: p,
        to: to.address(family),
        source,
        via,
    };
    dial(
        c.topology.namespace(from)?,
        &vec![attempt; CONNECTIONS],
        PATIENCE,
    )
}

/// `1a 98, 2a 101, 3a 101`.
fn by(answers: &[Answer]) -> String {
    let mut counts = BTreeMap::<String, usize>::new();
    for answer in answers {
        let who = match answer {
            Answer::From { endpoint, .. } => endpoint.clone(),
            other => other.to_string(),
        };
        *counts.entry(who).or_default() += 1;
    }
    counts
        .iter()
        .map(|(who, n)| format!("{who} {n}"))
        .collect::<Vec<_>>()
        .join(", ")
}

/// The address, or whose addresses they are.
fn saw(answers: &[Answer]) -> String {
    let source = |a: &Answer| match a {
        Answer::From { source, .. } => Some(*source),
        _ => None,
    };
    let sources: BTreeSet<IpAddr> = answers.iter().filter_map(source).collect();
    match sources.first() {
        Some(only) if sources.len() == 1 => only.to_string(),
        _ => {
            let names: BTreeSet<String> = sources.iter().map(|s| name_of(*s)).collect();
            names
                .into_iter()
                .map(|n| n + "'s")
                .collect::<Vec<_>>()
                .join(", ")
        }
    }
}

fn name_of(source: IpAddr) -> String {
    let family = IpFamily::of(source);
    let nodes = (1..=3).find(|n| {
        [
            netns::node_address(family, *n),
            netns::node_gateway(family, *n),
        ]
        .contains(&source)
    });
    let pods = ["1a", "1b", "2a", "2b", "3a", "3b"];
    match nodes {
        Some(n) => format!("node-{n}"),
        None if source == netns::client_address(family) => "client".to_owned(),
        None => pods
            .into_iter()
            .find(|p| pod_address(family, p) == source)
            .map_or_else(|| source.to_string(), |p| format!("pod {p}")),
    }
}

/// The same connections in every other family and protocol, as one line.
fn others(cluster: &Cluster) -> Result<()> {
    let mut answered = 0;
    for family in IpFamily::ALL {
        for protocol in Protocol::ALL {
            if (family, protocol) == (IpFamily::V4, Protocol::Tcp) {
                continue;
            }
            for to in SHOP.into_iter().chain(VAULT) {
                for from in FROM {
                    let answers = ask(cluster, from, to, family, protocol)?;
                    let bad = answers.iter().find(|a| !matches!(a, Answer::From { .. }));
                    if let Some(bad) = bad {
                        bail!(
                            "{from:?} to {} {} {protocol}: {bad}",
                            to.word(),
                            to.address(family)
                        );
                    }
                    answered += answers.len();
                }
            }
        }
    }
    println!("   The same in UDP, in SCTP and over IPv6: {answered} connections, all answered.\n");
    Ok(())
}
