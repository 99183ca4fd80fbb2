// SPDX-License-Identifier: Apache-2.0
//! Everything at once: agents are killed and restarted, somebody flushes and deletes rules, the API
//! server goes away, objects change; and no client must notice.
//!
//! All pods live on, and every Service has an endpoint at any time, so that each connection that
//! fails is ferrule's fault. What happens while no agent runs is not tried: a flush then leaves
//! nobody to put things right.
//!
//! That a failure would be noticed is tried as well: with the same things done to agents that
//! neither own their tables nor repair them, clients must fail.
//!
//! | variable | is | default |
//! |---|---|---|
//! | `CHAOS_SECONDS` | how long things happen | 20 |
//! | `CHAOS_CONTROL_SECONDS` | how long nothing happens, for comparison | 3 |
//! | `CHAOS_UNPROTECTED_SECONDS` | how long they happen to unprotected rules, at most | 20 |
//! | `CHAOS_SEED` | what happens | 1 |

mod stage;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use ferrule::model::{IpFamily, Protocol};

use self::stage::Stage;
use super::load::{Load, Tally};
use super::{at, number};
use crate::case::{From, host, outside, pod};
use crate::cases::cluster_cidr_flags;
use crate::cluster::Cluster;
use crate::object::{PORT, Service};

/// Fewer connections a second would prove little.
const RATE: f64 = 200.0;

/// So long, by the environment.
fn seconds(name: &str, usual: u64) -> Result<Duration> {
    Ok(Duration::from_secs(number(name, usual)?))
}

/// Clients for all Services. Before, neighbours have to be found, which takes IPv6 longer than our
/// patience.
fn clients(stage: &Stage<'_>) -> Result<Load> {
    let targets = targets(stage.services());
    let load = || Load::start_in(&[Protocol::Tcp], stage.topology(), &targets);
    load()?.stop()?;
    load()
}

/// Lets things happen until the time is over, or nobody wants more.
fn happen(
    stage: &mut Stage<'_>,
    length: Duration,
    mut enough: impl FnMut() -> bool,
) -> Result<BTreeMap<&'static str, usize>> {
    let (mut done, begun) = (BTreeMap::new(), Instant::now());
    while begun.elapsed() < length && !enough() {
        let deed = stage.do_something()?;
        *done.entry(deed).or_insert(0_usize) += 1;
    }
    Ok(done)
}

/// Nothing happens: the clients themselves do not fail.
pub(super) fn nothing(cluster: &mut Cluster) -> Result<()> {
    let stage = Stage::set(cluster, 0, &[])?;
    let clients = clients(&stage)?;
    std::thread::sleep(seconds("CHAOS_CONTROL_SECONDS", 3)?);
    let tally = clients.stop()?;
    println!("    {tally}");
    quiet(&tally)?;
    drop(stage);
    cluster.start_agents(&cluster_cidr_flags())
}

/// Everything happens.
pub(super) fn chaos(cluster: &mut Cluster) -> Result<()> {
    let length = seconds("CHAOS_SECONDS", 20)?;
    let seed = number("CHAOS_SEED", 1)?;
    let mut stage = Stage::set(cluster, seed, &[])?;
    let clients = clients(&stage)?;
    let done = happen(&mut stage, length, || false)?;
    let tally = clients.stop()?;
    println!("    {tally}");
    println!("    seed {seed}: {done:?}");
    quiet(&tally)?;
    stage.check()?;
    println!("    the last state is a fresh start's");
    drop(stage);
    cluster.start_agents(&cluster_cidr_flags())
}

/// The same, with the handling of what others do switched off: clients must fail, or the test
/// above could not.
pub(super) fn unprotected(cluster: &mut Cluster) -> Result<()> {
    let length = seconds("CHAOS_UNPROTECTED_SECONDS", 20)?;
    let seed = number("CHAOS_SEED", 1)?;
    let mut stage = Stage::set(cluster, seed, &["--protect-rules=off"])?;
    let clients = clients(&stage)?;
    let done = happen(&mut stage, length, || clients.failed() > 100)?;
    let tally = clients.stop()?;
    println!("    {tally}");
    println!("    seed {seed}: {done:?}");
    ensure!(tally.failed > 0, "nobody noticed: {tally}");
    drop(stage);
    cluster.start_agents(&cluster_cidr_flags())
}

/// Each Service at each of its kinds of address, from everywhere.
fn targets(services: &[Service]) -> Vec<(From, SocketAddr)> {
    let mut targets = Vec::new();
    for service in services {
        for family in IpFamily::ALL {
            let cluster_ip = at(service.cluster_ip(family), PORT);
            targets.extend([(pod("1b"), cluster_ip), (host(2), cluster_ip)]);
            let balanced = service.load_balancer_ip(family);
            targets.extend(balanced.map(|ip| (outside(3), at(ip, PORT))));
        }
    }
    targets
}

fn quiet(tally: &Tally) -> Result<()> {
    ensure!(tally.failed == 0, "{tally}");
    ensure!(tally.rate() >= RATE, "too few to prove anything: {tally}");
    Ok(())
}
