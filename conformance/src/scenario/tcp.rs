// SPDX-License-Identifier: Apache-2.0
//! TCP connections whose endpoint goes. Its server even lives on, so that nothing but our doing can
//! end them.

use anyhow::{Context, Result, ensure};
use ferrule::model::IpFamily;

use super::held::{Echo, Held, Told};
use super::{apply, at, clear};
use crate::case::{From, host, outside, pod};
use crate::cases::cluster_cidr_flags;
use crate::cluster::Cluster;
use crate::mode::{Mode, mode};
use crate::netns;
use crate::object::{Endpoint, Kind, PORT, Service, ready, service, terminating, unready};

fn echo(id: u16, endpoints: &[Endpoint]) -> Service {
    let endpoints: Vec<Endpoint> = endpoints.iter().map(|e| e.own_port()).collect();
    Service {
        id,
        namespace: "scenario",
        ..service("held", endpoints).kind(Kind::LoadBalancer)
    }
}

/// A connection of each kind of client to each kind of frontend, several times.
fn connections(cluster: &Cluster, service: &Service) -> Result<Vec<Held>> {
    let mut all = Vec::new();
    for family in IpFamily::ALL {
        let balancer = service.load_balancer_ip(family).context("an address")?;
        let node_port = service.node_port().context("a NodePort")?;
        let vips = [service.cluster_ip(family), balancer].map(|a| at(a, PORT));
        let node = at(netns::node_address(family, 1), node_port);
        for from in [pod("1b"), host(1), outside(1)] {
            for to in vips {
                all.push(Held::open(cluster, from, to, from.via)?);
                all.push(Held::open(cluster, from, to, from.via)?);
            }
            all.push(Held::open(cluster, from, node, 0)?);
        }
    }
    Ok(all)
}

/// Those at 1a, and the others, which are at 2a.
fn by_home(mut all: Vec<Held>) -> Result<(Vec<Held>, Vec<Held>)> {
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for mut held in all.drain(..) {
        match held.ask()? {
            Told::By(name) if name == "1a" => first.push(held),
            Told::By(name) if name == "2a" => second.push(held),
            other => anyhow::bail!("{}: {other:?}", held.what),
        }
    }
    ensure!(
        !first.is_empty() && !second.is_empty(),
        "all at one endpoint"
    );
    Ok((first, second))
}

fn all_at(held: &mut [Held], pod: &str, when: &str) -> Result<()> {
    held.iter_mut()
        .try_for_each(|h| h.must_be_at(pod))
        .with_context(|| when.to_owned())
}

fn all_reset(held: &mut [Held], when: &str) -> Result<()> {
    held.iter_mut()
        .try_for_each(Held::must_be_reset)
        .with_context(|| when.to_owned())
}

/// By default, whatever becomes of endpoint or Service.
pub(super) fn left_alone(cluster: &mut Cluster) -> Result<()> {
    let _servers = [Echo::start(cluster, "1a")?, Echo::start(cluster, "2a")?];
    apply(cluster, &[echo(960, &[ready("1a"), ready("2a")])])?;
    let (mut first, mut second) = by_home(connections(cluster, &echo(960, &[]))?)?;
    let mut steps = vec![
        vec![echo(960, &[ready("2a")])],
        vec![echo(960, &[])],
        vec![],
    ];
    if mode() == Mode::Ipvs {
        println!("SKIP: the Service goes: its virtual servers have the connections (docs/ipvs.md)");
        steps.pop();
    }
    for services in steps {
        apply(cluster, &services)?;
        all_at(&mut first, "1a", "left alone")?;
        all_at(&mut second, "2a", "left alone")?;
    }
    clear(cluster)
}

/// A port of the client's that its kernel does not choose by itself.
const ONE_PORT: u16 = 20_123;

/// A client talks to two frontends of a Service from one and the same port, at the same endpoint.
pub(super) fn one_port(cluster: &mut Cluster) -> Result<()> {
    let _server = Echo::start(cluster, "1a")?;
    let service = echo(962, &[ready("1a")]);
    apply(cluster, std::slice::from_ref(&service))?;
    for family in IpFamily::ALL {
        let balancer = service.load_balancer_ip(family).context("an address")?;
        for from in [pod("1b"), host(1), outside(1)] {
            let to = [service.cluster_ip(family), balancer].map(|a| at(a, PORT));
            let mut first = Held::open_at(cluster, from, ONE_PORT, to[0], from.via)?;
            first.must_be_at("1a").context("alone")?;
            let mut second = Held::open_at(cluster, from, ONE_PORT, to[1], from.via)?;
            second.must_be_at("1a").context("the second one")?;
            first.must_be_at("1a").context("beside the second one")?;
        }
    }
    clear(cluster)
}

/// With `--reset-stale-tcp`, once the endpoint is gone, and not before.
pub(super) fn reset(cluster: &mut Cluster) -> Result<()> {
    let mut flags = cluster_cidr_flags();
    flags.push("--reset-stale-tcp".to_owned());
    cluster.start_agents(&flags)?;
    let _servers = [Echo::start(cluster, "1a")?, Echo::start(cluster, "2a")?];
    gone(cluster)?;
    local(cluster)?;
    away(cluster, &flags)?;
    clear(cluster)?;
    cluster.start_agents(&cluster_cidr_flags())
}

fn gone(cluster: &mut Cluster) -> Result<()> {
    let both = [ready("1a"), ready("2a")];
    apply(cluster, &[echo(961, &both)])?;
    let (mut first, mut second) = by_home(connections(cluster, &echo(961, &both))?)?;
    for (endpoint, when) in [
        (unready("1a"), "not ready"),
        (terminating("1a"), "terminating"),
    ] {
        apply(cluster, &[echo(961, &[endpoint, ready("2a")])])?;
        all_at(&mut first, "1a", when)?;
    }
    apply(cluster, &[echo(961, &[ready("2a")])])?;
    all_reset(&mut first, "an endpoint has gone")?;
    all_at(&mut second, "2a", "the other is there")?;
    apply(cluster, &[echo(961, &[])])?;
    all_reset(&mut second, "all have gone")
}

/// With policy Local, and none left on this node.
fn local(cluster: &mut Cluster) -> Result<()> {
    let of = |endpoints: &[Endpoint]| echo(962, endpoints).external_local().internal_local();
    apply(cluster, &[of(&[ready("1a")])])?;
    let mut all = connections(cluster, &of(&[]))?;
    all_at(&mut all, "1a", "policy Local")?;
    apply(cluster, &[of(&[ready("2a")])])?;
    all_reset(&mut all, "policy Local, the local endpoint has gone")
}

/// An endpoint goes while no agent runs on the client's node.
fn away(cluster: &mut Cluster, flags: &[String]) -> Result<()> {
    let clients: [From; 2] = [pod("1b"), host(1)];
    apply(cluster, &[echo(963, &[ready("1a")])])?;
    let to = at(echo(963, &[]).cluster_ip(IpFamily::V4), PORT);
    let mut all = clients
        .into_iter()
        .map(|from| Held::open(cluster, from, to, 0))
        .collect::<Result<Vec<_>>>()?;
    cluster.stop_agent(1)?;
    cluster.write_services("scenario", &[echo(963, &[ready("2a")])])?;
    all_at(&mut all, "1a", "no agent")?;
    cluster.start_agent(1, flags)?;
    cluster.settle()?;
    all_reset(&mut all, "the agent is back")
}
