// SPDX-License-Identifier: Apache-2.0
//! Session affinity by client address. Clients are the outside client's aliases.

use std::collections::BTreeMap;
use std::ops::Range;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use ferrule::model::{IpFamily, Protocol};

use super::{apply, at, clear, combinations, connect, endpoints};
use crate::case::outside;
use crate::cases::cluster_cidr_flags;
use crate::cluster::Cluster;
use crate::object::{Endpoint, Kind, PORT, Service, ready, service};
use crate::{netns, stats};

/// Alias and the endpoint that served it.
type Homes = BTreeMap<u16, String>;

fn sticky(seconds: u32, pods: &[&'static str]) -> Service {
    let endpoints: Vec<Endpoint> = pods.iter().map(|p| ready(p)).collect();
    let service = service("sticky", endpoints)
        .kind(Kind::LoadBalancer)
        .sticky(seconds);
    Service {
        id: 900,
        namespace: "scenario",
        ..service
    }
}

fn balancer(service: &Service, family: IpFamily) -> Result<std::net::SocketAddr> {
    Ok(at(
        service
            .load_balancer_ip(family)
            .context("a load balancer")?,
        PORT,
    ))
}

/// Connects once from each alias by node 1.
fn homes(
    cluster: &Cluster,
    service: &Service,
    (family, protocol): (IpFamily, Protocol),
    aliases: Range<u16>,
) -> Result<Homes> {
    let clients = aliases.clone().map(|k| outside(1).alias(k));
    let answers = connect(cluster, clients, balancer(service, family)?, protocol)?;
    Ok(aliases.zip(endpoints(&answers)?).collect())
}

fn count(homes: &Homes) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    homes
        .values()
        .for_each(|h| *counts.entry(h.as_str()).or_default() += 1);
    counts
}

fn ensure_even(homes: &Homes, endpoints: usize) -> Result<()> {
    let counts = count(homes);
    let numbers: Vec<_> = counts.values().copied().collect();
    ensure!(
        numbers.len() == endpoints && stats::even(&numbers),
        "not even: {counts:?}"
    );
    Ok(())
}

/// 300 connections of one client, a third each to ClusterIP, NodePort and load balancer.
pub(super) fn sticks(cluster: &mut Cluster) -> Result<()> {
    let service = sticky(10_800, &["1a", "2a", "3a"]);
    apply(cluster, std::slice::from_ref(&service))?;
    for (family, protocol) in combinations() {
        let client = outside(1).alias(1);
        let node_port = at(
            netns::node_address(family, 1),
            service.node_port().unwrap_or(0),
        );
        let frontends = [
            at(service.cluster_ip(family), PORT),
            node_port,
            balancer(&service, family)?,
        ];
        let mut homes = Vec::new();
        for to in frontends.into_iter().cycle().take(6) {
            homes.extend(endpoints(&connect(cluster, [client; 50], to, protocol)?)?);
        }
        let first = &homes[0];
        ensure!(
            homes.iter().all(|h| h == first),
            "{family} {protocol}: {homes:?}"
        );
        for others in [crate::case::pod("1b"), crate::case::host(1)] {
            let to = at(service.cluster_ip(family), PORT);
            let homes = endpoints(&connect(cluster, [others; 100], to, protocol)?)?;
            ensure!(
                homes.iter().all(|h| *h == homes[0]),
                "{family} {protocol} {others:?}"
            );
        }
    }
    clear(cluster)
}

/// Of three endpoints one goes: 1,000 new clients split evenly, and clients of the other two stay.
/// A new one comes: nobody moves.
pub(super) fn rehomes(cluster: &mut Cluster) -> Result<()> {
    for (n, combination) in combinations().enumerate() {
        let (old, new) = (2_000..3_000, 3_000..4_000);
        let what = || format!("{} {}", combination.0, combination.1);
        let three = Service {
            id: 901 + n as u16,
            ..sticky(10_800, &["1a", "2a", "3a"])
        };
        let with = |pods: &[&'static str]| Service {
            id: three.id,
            ..sticky(10_800, pods)
        };
        apply(cluster, std::slice::from_ref(&three))?;
        let before = homes(cluster, &three, combination, old.clone())?;
        ensure_even(&before, 3).with_context(what)?;
        apply(cluster, &[with(&["1a", "2a"])])?;
        let newcomers = homes(cluster, &three, combination, new.clone())?;
        ensure_even(&newcomers, 2).with_context(|| format!("{}, new clients", what()))?;
        let after = homes(cluster, &three, combination, old.clone())?;
        let moved = before
            .iter()
            .find(|(k, home)| *home != "3a" && after[k] != **home);
        ensure!(
            moved.is_none(),
            "{}: moved when another's endpoint went: {moved:?}",
            what()
        );
        let rehomed: Homes = after
            .iter()
            .filter(|(k, _)| before[k] == "3a")
            .map(|(k, home)| (*k, home.clone()))
            .collect();
        ensure_even(&rehomed, 2).with_context(|| format!("{}, re-homed clients", what()))?;
        for pods in [&["1a", "2a", "3b"], &["1a", "2a", "3a"]] {
            apply(cluster, &[with(pods)])?;
            let grown = homes(cluster, &three, combination, old.clone())?;
            let moved = after.iter().find(|(k, home)| grown[k] != **home);
            ensure!(
                moved.is_none(),
                "{}: moved when {} came: {moved:?}",
                what(),
                pods[2]
            );
        }
    }
    clear(cluster)
}

/// With a timeout of one second clients are forgotten, and those that go on are not.
pub(super) fn expires(cluster: &mut Cluster) -> Result<()> {
    let service = sticky(1, &["1a", "2a", "3a"]);
    apply(cluster, std::slice::from_ref(&service))?;
    for combination in combinations() {
        let (idle, busy) = (100..160, 200..210);
        let first = homes(cluster, &service, combination, idle.clone())?;
        let kept = homes(cluster, &service, combination, busy.clone())?;
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(2_200) {
            let again = homes(cluster, &service, combination, busy.clone())?;
            ensure!(again == kept, "{combination:?}: moved while it was busy");
            sleep(Duration::from_millis(200));
        }
        let second = homes(cluster, &service, combination, idle)?;
        let stayed = first.iter().filter(|(k, home)| second[k] == **home).count();
        if stayed == first.len() {
            bail!("{combination:?}: {stayed} idle clients and all stayed");
        }
    }
    clear(cluster)
}

/// Room for 64 clients, 300 come, again and again: all are served.
pub(super) fn overflows(cluster: &mut Cluster) -> Result<()> {
    let mut flags = cluster_cidr_flags();
    flags.extend(["--affinity-capacity".to_owned(), "64".to_owned()]);
    cluster.start_agents(&flags)?;
    let service = Service {
        id: 910,
        ..sticky(10_800, &["1a", "2a", "3a"])
    };
    apply(cluster, std::slice::from_ref(&service))?;
    for combination in combinations() {
        for _ in 0..3 {
            homes(cluster, &service, combination, 500..800)
                .with_context(|| format!("{combination:?}"))?;
        }
    }
    clear(cluster)?;
    cluster.start_agents(&cluster_cidr_flags())
}
