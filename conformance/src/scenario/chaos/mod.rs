// SPDX-License-Identifier: Apache-2.0
//! Everything at once: agents are killed and restarted, somebody flushes and deletes rules, the API
//! server goes away, objects change; and no client must notice.
//!
//! All pods live on, and every Service has an endpoint at any time, so that each connection that
//! fails is ferrule's fault. `CHAOS_SECONDS` (20) says how long, `CHAOS_SEED` (1) what happens.
//! What happens while no agent runs is not tried: a flush then leaves nobody to put things right.

mod stage;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
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
/// How long all is left in peace, to know that the clients themselves do not fail.
const CONTROL: Duration = Duration::from_secs(3);

/// See the module.
pub(super) fn chaos(cluster: &mut Cluster) -> Result<()> {
    let length = Duration::from_secs(number("CHAOS_SECONDS", 20)?);
    let seed = number("CHAOS_SEED", 1)?;
    let mut stage = Stage::set(cluster, seed)?;
    let targets = targets(stage.services());
    let load = |stage: &Stage<'_>| Load::start_in(&[Protocol::Tcp], stage.topology(), &targets);

    // At first neighbours have to be found, which takes IPv6 longer than our patience.
    load(&stage)?.stop()?;
    let clients = load(&stage)?;
    std::thread::sleep(CONTROL);
    quiet(&clients.stop()?).context("in peace")?;

    let clients = load(&stage)?;
    let (mut done, begun) = (BTreeMap::new(), Instant::now());
    while begun.elapsed() < length {
        let deed = stage.do_something()?;
        *done.entry(deed).or_insert(0_usize) += 1;
    }
    let tally = clients.stop()?;
    println!("    {tally}");
    println!("    seed {seed}: {done:?}");
    quiet(&tally)?;
    stage.check()?;
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
