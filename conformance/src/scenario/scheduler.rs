// SPDX-License-Identifier: Apache-2.0
//! Each scheduler of IPVS, chosen by annotation, distributes real connections as it must.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use ferrule::model::{IpFamily, Protocol};

use super::held::{Echo, Held, Told};
use super::{apply, at, clear, combinations, connect, endpoints};
use crate::case::{From, outside, pod};
use crate::cluster::Cluster;
use crate::object::{PORT, Service, ready, service};

const PODS: [&str; 3] = ["1a", "2a", "3a"];
const SCHEDULER: &str = "ferrule.dev/ipvs-scheduler";
const WEIGHTS: &str = "ferrule.dev/ipvs-weights";

fn scheduled(id: u16, annotations: &[(&'static str, &'static str)]) -> Service {
    Service {
        id,
        namespace: "scenario",
        annotations: annotations.to_vec(),
        ..service("scheduled", PODS.map(ready))
    }
}

/// Asks for it with each combination of family and protocol, then removes it.
fn in_all(
    cluster: &mut Cluster,
    service: &Service,
    test: impl Fn(&Cluster, SocketAddr, Protocol) -> Result<()>,
) -> Result<()> {
    apply(cluster, std::slice::from_ref(service))?;
    for (family, protocol) in combinations() {
        let to = at(service.cluster_ip(family), PORT);
        test(cluster, to, protocol).with_context(|| format!("{family} {protocol}"))?;
    }
    clear(cluster)
}

/// How many of so many connections each endpoint got.
fn counts(
    cluster: &Cluster,
    from: From,
    to: SocketAddr,
    protocol: Protocol,
    connections: usize,
) -> Result<BTreeMap<String, usize>> {
    let answers = connect(cluster, vec![from; connections], to, protocol)?;
    let mut counts = BTreeMap::new();
    for name in endpoints(&answers)? {
        *counts.entry(name).or_default() += 1;
    }
    Ok(counts)
}

fn exactly(counts: &BTreeMap<String, usize>, wanted: [usize; 3]) -> Result<()> {
    let found = PODS.map(|p| counts.get(p).copied().unwrap_or_default());
    ensure!(found == wanted, "{PODS:?} got {found:?} and not {wanted:?}");
    Ok(())
}

/// One after the other: exactly equal.
pub(super) fn round_robin(cluster: &mut Cluster) -> Result<()> {
    in_all(
        cluster,
        &scheduled(970, &[(SCHEDULER, "rr")]),
        |cluster, to, protocol| exactly(&counts(cluster, pod("1b"), to, protocol, 60)?, [20; 3]),
    )
}

/// The same by weights: exactly proportional over whole rounds.
pub(super) fn weighted(cluster: &mut Cluster) -> Result<()> {
    let weights = "node-1=3, node-2=2, 10.244.3.10=1, fd00:10:244:3::10=1";
    let service = scheduled(971, &[(SCHEDULER, "wrr"), (WEIGHTS, weights)]);
    in_all(cluster, &service, |cluster, to, protocol| {
        exactly(&counts(cluster, pod("1b"), to, protocol, 60)?, [30, 20, 10])
    })
}

/// Of connections that stay, each endpoint has as many; whoever loses his gets the next ones.
pub(super) fn least_connections(cluster: &mut Cluster) -> Result<()> {
    let usual = scheduled(972, &[(SCHEDULER, "lc")]);
    let service = Service {
        endpoints: PODS.map(|p| ready(p).own_port()).to_vec(),
        ..usual
    };
    let echoes: Result<Vec<_>> = PODS.iter().map(|p| Echo::start(cluster, p)).collect();
    apply(cluster, std::slice::from_ref(&service))?;
    for family in IpFamily::ALL {
        let to = at(service.cluster_ip(family), PORT);
        let mut all = Vec::new();
        let mut found = open(cluster, to, 30, &mut all)?;
        exactly(&found, [10; 3]).with_context(|| format!("{family}, at first"))?;
        all.retain(|(home, _)| home != "1a");
        found = open(cluster, to, 9, &mut all)?;
        exactly(&found, [9, 0, 0]).with_context(|| format!("{family}, after 1a lost all"))?;
    }
    drop(echoes);
    clear(cluster)
}

/// Opens connections one after the other, and keeps them with their endpoints.
fn open(
    cluster: &Cluster,
    to: SocketAddr,
    number: usize,
    all: &mut Vec<(String, Held)>,
) -> Result<BTreeMap<String, usize>> {
    let mut counts = BTreeMap::new();
    for _ in 0..number {
        let mut held = Held::open(cluster, pod("1b"), to, 0)?;
        let Told::By(home) = held.ask()? else {
            anyhow::bail!("{}: no answer", held.what);
        };
        *counts.entry(home.clone()).or_default() += 1;
        all.push((home, held));
    }
    Ok(counts)
}

/// By the client's address: each client has one endpoint. Of 120 neighbouring addresses each
/// endpoint has at least an eighth; the kernel deals its 256 slots to the endpoints in turn.
pub(super) fn source_hash(cluster: &mut Cluster) -> Result<()> {
    let service = scheduled(973, &[(SCHEDULER, "sh")]);
    in_all(cluster, &service, |cluster, to, protocol| {
        let clients = || (1..=120).map(|k| outside(1).alias(k));
        let (first, second) = (
            endpoints(&connect(cluster, clients(), to, protocol)?)?,
            endpoints(&connect(cluster, clients(), to, protocol)?)?,
        );
        ensure!(first == second, "a client has moved");
        spread(&first, 120 / 8)
    })
}

/// By address and port of the client, as kube-proxy has it: the connections of one client are
/// spread. A third of 150 lies 4.3 standard deviations above the bound, and no bound is exact.
pub(super) fn maglev(cluster: &mut Cluster) -> Result<()> {
    let service = scheduled(974, &[(SCHEDULER, "mh")]);
    in_all(cluster, &service, |cluster, to, protocol| {
        let answers = connect(cluster, vec![pod("1b"); 150], to, protocol)?;
        spread(&endpoints(&answers)?, 25)
    })
}

fn spread(names: &[String], least: usize) -> Result<()> {
    for pod in PODS {
        let count = names.iter().filter(|n| *n == pod).count();
        ensure!(
            count >= least,
            "{pod} got {count} of {}, less than {least}",
            names.len()
        );
    }
    Ok(())
}

/// What cannot be used is said, and round robin serves.
pub(super) fn unusable(cluster: &mut Cluster) -> Result<()> {
    let service = scheduled(975, &[(SCHEDULER, "fair"), (WEIGHTS, "much")]);
    in_all(cluster, &service, |cluster, to, protocol| {
        exactly(&counts(cluster, pod("1b"), to, protocol, 30)?, [10; 3])
    })?;
    let log = cluster.logs();
    ensure!(log.contains(SCHEDULER), "nobody was told:\n{log}");
    Ok(())
}
