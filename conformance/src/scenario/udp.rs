// SPDX-License-Identifier: Apache-2.0
//! UDP flows that outlive what they were told about their Service. The kernel remembers a flow's
//! translation, or that it had none; a client that keeps its socket must get on all the same.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use ferrule::model::{IpFamily, Protocol};

use super::{apply, at, clear};
use crate::case::{From, host, outside, pod};
use crate::cases::cluster_cidr_flags;
use crate::client::{Answer, Attempt, UdpFlow};
use crate::cluster::Cluster;
use crate::netns;
use crate::object::{Endpoint, Kind, PORT, Service, ready, service};

/// How soon a flow must have found a living endpoint after the agents have applied the change.
const LIMIT: Duration = Duration::from_secs(3);

struct Flow {
    what: String,
    flow: UdpFlow,
}

fn echo(id: u16, endpoints: &[Endpoint]) -> Service {
    let service = service("echo", endpoints)
        .kind(Kind::LoadBalancer)
        .with_external_ip();
    Service {
        id,
        namespace: "scenario",
        ..service
    }
}

/// One flow of each kind of client to each kind of frontend.
fn flows(cluster: &Cluster, service: &Service) -> Result<Vec<Flow>> {
    let mut flows = Vec::new();
    for family in IpFamily::ALL {
        let node_port = service.node_port().context("a NodePort")?;
        let frontends = [
            ("ClusterIP", at(service.cluster_ip(family), PORT)),
            (
                "load balancer",
                at(
                    service.load_balancer_ip(family).context("an address")?,
                    PORT,
                ),
            ),
            (
                "externalIP",
                at(service.external_ip(family).context("an address")?, PORT),
            ),
            ("NodePort", at(netns::node_address(family, 1), node_port)),
        ];
        for (word, to) in frontends {
            for from in [pod("1b"), host(1), outside(1)] {
                flows.push(start(cluster, from, word, to)?);
            }
        }
    }
    Ok(flows)
}

fn start(cluster: &Cluster, from: From, word: &str, to: SocketAddr) -> Result<Flow> {
    let source = from.source(IpFamily::of(to.ip()));
    let via = if word == "NodePort" { 0 } else { from.via };
    let attempt = Attempt {
        protocol: Protocol::Udp,
        to,
        source,
        via,
    };
    let what = format!("{:?} to {word} {to}", from.place);
    let flow = UdpFlow::start(cluster.topology.namespace(from.place)?, attempt)
        .with_context(|| what.clone())?;
    Ok(Flow { what, flow })
}

impl Flow {
    /// Sends until one of these pods answers at this port.
    fn must_reach(&mut self, pods: &[&str], target: u16) -> Result<()> {
        let begun = Instant::now();
        loop {
            let answer = self.flow.ask(Duration::from_millis(100))?;
            match &answer {
                Answer::From { endpoint, port, .. }
                    if pods.contains(&endpoint.as_str()) && *port == target =>
                {
                    return Ok(());
                }
                _ if begun.elapsed() < LIMIT => {}
                _ => bail!(
                    "{}: {answer}, for {LIMIT:?}; {pods:?} should answer",
                    self.what
                ),
            }
        }
    }

    /// Sends until nobody answers.
    fn must_be_lost(&mut self) -> Result<()> {
        let begun = Instant::now();
        loop {
            match self.flow.ask(Duration::from_millis(100))? {
                Answer::Timeout | Answer::Refused(..) | Answer::Broken(_) => return Ok(()),
                _ if begun.elapsed() < LIMIT => {}
                answer => bail!(
                    "{}: {answer}, for {LIMIT:?}; nobody should answer",
                    self.what
                ),
            }
        }
    }

    fn answered_by(&mut self) -> Result<String> {
        match self.flow.ask(Duration::from_secs(1))? {
            Answer::From { endpoint, .. } => Ok(endpoint),
            other => bail!("{}: {other}", self.what),
        }
    }
}

/// Flows begin, then the Service appears.
pub(super) fn older(cluster: &mut Cluster) -> Result<()> {
    let service = echo(920, &[ready("1a"), ready("2a")]);
    let mut flows = flows(cluster, &service)?;
    for flow in &mut flows {
        let answer = flow.flow.ask(Duration::from_millis(50))?;
        ensure!(
            !matches!(answer, Answer::From { .. }),
            "{}: answered too early",
            flow.what
        );
    }
    apply(cluster, &[service])?;
    flows
        .iter_mut()
        .try_for_each(|f| f.must_reach(&["1a", "2a"], 8080))?;
    clear(cluster)
}

/// The endpoint of a flow goes, another one stays. Its server even goes on answering: a deleted
/// pod may do so for a while.
pub(super) fn stale(cluster: &mut Cluster) -> Result<()> {
    let both = [ready("1a"), ready("2a")];
    apply(cluster, &[echo(921, &both)])?;
    let mut flows = flows(cluster, &echo(921, &both))?;
    let homes: Vec<_> = flows
        .iter_mut()
        .map(Flow::answered_by)
        .collect::<Result<_>>()?;
    ensure!(
        homes.iter().any(|h| h == "1a") && homes.iter().any(|h| h == "2a"),
        "{homes:?}"
    );
    apply(cluster, &[echo(921, &[ready("2a")])])?;
    flows
        .iter_mut()
        .try_for_each(|f| f.must_reach(&["2a"], 8080))?;
    // From the last endpoint to none, and to another one.
    apply(cluster, &[echo(921, &[])])?;
    apply(cluster, &[echo(921, &[ready("3a")])])?;
    flows
        .iter_mut()
        .try_for_each(|f| f.must_reach(&["3a"], 8080))?;
    clear(cluster)
}

/// The same pod, another port.
pub(super) fn moved(cluster: &mut Cluster) -> Result<()> {
    apply(cluster, &[echo(922, &[ready("1a")])])?;
    let mut flows = flows(cluster, &echo(922, &[ready("1a")]))?;
    flows
        .iter_mut()
        .try_for_each(|f| f.must_reach(&["1a"], 8080))?;
    apply(cluster, &[echo(922, &[ready("1a").second_port()])])?;
    flows
        .iter_mut()
        .try_for_each(|f| f.must_reach(&["1a"], 8081))?;
    clear(cluster)
}

/// Addresses go, one after the other, then the Service. Who uses one that is left notices nothing;
/// a flow to one that is gone is not answered any more, though its endpoint is well.
pub(super) fn frontend_goes(cluster: &mut Cluster) -> Result<()> {
    let full = echo(923, &[ready("1a")]);
    apply(cluster, std::slice::from_ref(&full))?;
    let mut flows = flows(cluster, &full)?;
    let plain = Service {
        external: false,
        ..full.clone()
    };
    let node_port = plain.clone().kind(Kind::NodePort);
    let inside = plain.clone().kind(Kind::ClusterIp);
    let steps = [
        (vec![full], ""),
        (vec![plain], "externalIP"),
        (vec![node_port], "load balancer"),
        (vec![inside], "NodePort"),
        (vec![], "ClusterIP"),
    ];
    for (services, gone) in steps {
        apply(cluster, &services)?;
        let (lost, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut flows)
            .into_iter()
            .partition(|f| f.what.contains(&format!("to {gone} ")));
        for mut flow in lost {
            flow.must_be_lost()?;
        }
        flows = kept;
        for flow in &mut flows {
            let who = flow.answered_by()?;
            ensure!(who == "1a", "{}: {who}", flow.what);
        }
    }
    clear(cluster)
}

/// An endpoint goes, of sticky Services and of those that prefer local ones.
pub(super) fn variants(cluster: &mut Cluster) -> Result<()> {
    let variants: [fn(Service) -> Service; 3] = [
        |s| s.sticky(600),
        Service::external_local,
        Service::internal_local,
    ];
    for (variant, id) in variants.into_iter().zip(924..) {
        let service = |endpoints: &[Endpoint]| variant(echo(id, endpoints));
        apply(cluster, &[service(&[ready("1a")])])?;
        let mut flows = flows(cluster, &service(&[]))?;
        flows
            .iter_mut()
            .try_for_each(|f| f.must_reach(&["1a"], 8080))?;
        apply(cluster, &[service(&[ready("1b")])])?;
        flows
            .iter_mut()
            .try_for_each(|f| f.must_reach(&["1b"], 8080))?;
    }
    clear(cluster)
}

/// While the agent of node 1 is away an endpoint goes, and a whole Service.
pub(super) fn away(cluster: &mut Cluster) -> Result<()> {
    let stays = |pod| echo(928, &[ready(pod)]);
    let goes = Service {
        name: "goes",
        ..echo(929, &[ready("1a")])
    };
    apply(cluster, &[stays("1a"), goes.clone()])?;
    let mut kept = flows(cluster, &stays("1a"))?;
    let mut lost = flows(cluster, &goes)?;
    for flow in kept.iter_mut().chain(&mut lost) {
        flow.must_reach(&["1a"], 8080)?;
    }
    cluster.stop_agent(1)?;
    cluster.write_services("scenario", &[stays("2a")])?;
    for flow in kept.iter_mut().chain(&mut lost) {
        ensure!(flow.answered_by()? == "1a", "{}: too early", flow.what);
    }
    cluster.start_agent(1, &cluster_cidr_flags())?;
    cluster.settle()?;
    kept.iter_mut()
        .try_for_each(|f| f.must_reach(&["2a"], 8080))?;
    lost.iter_mut().try_for_each(Flow::must_be_lost)?;
    clear(cluster)
}
