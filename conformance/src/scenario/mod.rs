// SPDX-License-Identifier: Apache-2.0
//! What a table of rows cannot say: things that happen one after the other.

mod affinity;
mod chaos;
mod debugging;
mod flood;
mod foreign;
mod forward;
mod health;
mod held;
mod invalid;
mod lifecycle;
mod load;
mod localhost;
mod remembered;
mod scheduler;
pub mod takeover;
mod tcp;
mod udp;
mod upgrade;

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, bail};
use ferrule::model::{IpFamily, Protocol};

use crate::case::From;
use crate::client::{Answer, Attempt, dial};
use crate::cluster::Cluster;
use crate::mode::{Mode, mode};
use crate::object::Service;
use crate::pace::pace;

/// A scenario: it gets a cluster whose agents run with the usual flags, and leaves it so.
#[derive(Clone)]
pub struct Scenario {
    /// Name.
    pub name: &'static str,
    /// Fails with what went wrong.
    pub run: fn(&mut Cluster) -> Result<()>,
}

/// Those of the mode that is judged.
pub fn scenarios() -> Vec<Scenario> {
    match mode() {
        Mode::Nftables => [of_both(), of_nftables()].concat(),
        Mode::Ipvs => [of_both(), of_ipvs()].concat(),
    }
}

fn of(name: &'static str, run: fn(&mut Cluster) -> Result<()>) -> Scenario {
    Scenario { name, run }
}

/// What clients see alike in both modes.
fn of_both() -> Vec<Scenario> {
    vec![
        of("udp: the endpoint of a flow goes", udp::stale),
        of("udp: the port of an endpoint changes", udp::moved),
        of("udp: a frontend goes", udp::frontend_goes),
        of("udp: an agent was away", udp::away),
        of("tcp: connections are left alone", tcp::left_alone),
        of("health check NodePort", health::answers),
        of("endpoints come and go under load", lifecycle::churn),
        of("a Service goes and comes again", lifecycle::recreated),
        of(
            "takeover: from kube-proxy's IPVS mode",
            takeover::ipvs::from_ipvs,
        ),
    ]
}

/// What only a virtual server has.
fn of_ipvs() -> Vec<Scenario> {
    vec![
        of("scheduler rr: exactly equal", scheduler::round_robin),
        of("scheduler wrr: exactly by weights", scheduler::weighted),
        of(
            "scheduler lc: by open connections",
            scheduler::least_connections,
        ),
        of("scheduler sh: by client", scheduler::source_hash),
        of("scheduler mh: by client and port", scheduler::maglev),
        of("a scheduler that nobody has", scheduler::unusable),
        of(
            "takeover: from nftables mode to IPVS mode and back",
            takeover::ipvs::between_modes,
        ),
    ]
}

/// What is about the rules themselves, their flags or kube-proxy's.
fn of_nftables() -> Vec<Scenario> {
    vec![
        // IPVS remembers a client for as long as connections of his, ended or not.
        of(
            "affinity: a client is forgotten after the timeout",
            affinity::expires,
        ),
        of(
            "affinity: one client sticks, at every frontend",
            affinity::sticks,
        ),
        of(
            "affinity: three endpoints become two and three again",
            affinity::rehomes,
        ),
        of("affinity: a full map still serves", affinity::overflows),
        of("udp: a flow is older than its Service", udp::older),
        of("udp: affinity and policy Local", udp::variants),
        // IPVS mixes them up (docs/ipvs.md).
        of("tcp: two frontends from one port", tcp::one_port),
        of("tcp: connections are reset on request", tcp::reset),
        of("tcp: invalid packets", invalid::dropped),
        of(
            "another agent's DNAT wins over our refusals",
            foreign::host_port,
        ),
        of("localhost: NodePorts by the rules", localhost::serves),
        of("localhost: two Services swap ports", localhost::swaps),
        of("localhost: a thousand NodePorts", localhost::many),
        of("localhost: bytes both ways", localhost::carries),
        of("a FORWARD policy of drop is told", forward::policy_drop),
        of(
            "debug diff: agent, manifests and cluster",
            debugging::differences,
        ),
        of("debug trace: real packets agree", debugging::probes),
        of("stop, start, cleanup", lifecycle::stop_start),
        of("a node boots without an API server", remembered::boots),
        of("upgrade: from and to other versions", upgrade::versions),
        of("load: 1,000 endpoint changes a second", flood::flood),
        of("chaos: nothing, for comparison", chaos::nothing),
        of("chaos: everything at once", chaos::chaos),
        of(
            "chaos: rules that nobody protects, clients notice",
            chaos::unprotected,
        ),
        of(
            "takeover: from kube-proxy's nftables mode, and back",
            takeover::from_nftables,
        ),
        of(
            "takeover: from kube-proxy's iptables mode, and back",
            takeover::from_iptables,
        ),
        of(
            "takeover: iptables-legacy, which stays for now",
            takeover::from_legacy,
        ),
        of(
            "takeover: in the wrong order, clients notice",
            takeover::wrong_order,
        ),
    ]
}

/// Every combination that a Service is served in.
fn combinations() -> impl Iterator<Item = (IpFamily, Protocol)> {
    IpFamily::ALL
        .into_iter()
        .flat_map(|f| Protocol::ALL.map(|p| (f, p)))
}

/// Replaces the scenario's Services and waits until that holds everywhere.
fn apply(cluster: &mut Cluster, services: &[Service]) -> Result<()> {
    cluster.write_services("scenario", services)?;
    cluster.settle().map(drop)
}

/// Removes them.
fn clear(cluster: &mut Cluster) -> Result<()> {
    cluster.remove("scenario");
    cluster.settle().map(drop)
}

/// Connects from each of these places once, all to the same address.
fn connect(
    cluster: &Cluster,
    from: impl IntoIterator<Item = From>,
    to: SocketAddr,
    protocol: Protocol,
) -> Result<Vec<Answer>> {
    let family = IpFamily::of(to.ip());
    let from: Vec<From> = from.into_iter().collect();
    let attempt = |f: &From| Attempt {
        protocol,
        to,
        source: f.source(family),
        via: f.via,
    };
    let attempts: Vec<_> = from.iter().map(attempt).collect();
    let place = from.first().context("nobody connects")?.place;
    dial(
        cluster.topology.namespace(place)?,
        &attempts,
        pace().silence,
    )
}

/// The endpoints that answered.
fn endpoints(answers: &[Answer]) -> Result<Vec<String>> {
    let name = |(i, a): (usize, &Answer)| match a {
        Answer::From { endpoint, .. } => Ok(endpoint.clone()),
        other => bail!("connection {} of {}: {other}", i + 1, answers.len()),
    };
    answers.iter().enumerate().map(name).collect()
}

/// A number from the environment.
fn number(name: &str, usual: u64) -> Result<u64> {
    match std::env::var(name) {
        Ok(text) => text.parse().with_context(|| format!("{name}={text}")),
        Err(_) => Ok(usual),
    }
}

fn at(address: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(address, port)
}
