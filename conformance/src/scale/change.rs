// SPDX-License-Identifier: Apache-2.0
//! From the acknowledged write of an object until traffic follows.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::cluster::Cluster;
use super::dial::dial;
use super::objects::cluster_ip;
use super::progress::Progress;
use super::proxy::Running;
use super::results::Changes;

/// How long one change may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long a connection may take: a twentieth of the time that has passed, but no less and no more.
const LIMITS: (Duration, Duration) = (Duration::from_millis(3), Duration::from_millis(100));

/// How much to measure.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Changes at most.
    pub count: u32,
    /// No further change is begun after that time.
    pub limit: Duration,
    /// Between the end of a change and the next one.
    pub pause: Duration,
}

/// What changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A Service gets other endpoints, all of them.
    Replaced,
    /// A Service comes new, with its endpoints.
    Added,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Kind; 2] = [Kind::Replaced, Kind::Added];

    /// For people and for the file of results.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Kind::Replaced => "endpoints replaced",
            Kind::Added => "Service added",
        }
    }
}

/// Makes changes one after the other, each to another Service, and waits for each.
///
/// # Errors
/// If a change does not arrive, or the proxy ends.
pub fn changes(cluster: &Cluster, proxy: &Running, kind: Kind, plan: Plan) -> Result<Changes> {
    let process = proxy.process();
    let before = process.cpu()?;
    let (mut millis, mut writes) = (Vec::new(), Vec::new());
    let mut progress = Progress::new(format!("{}: {}", proxy.name(), kind.name()));
    while millis.len() < plan.count as usize && progress.elapsed() < plan.limit {
        let n = millis.len() as u32;
        let begun = Instant::now();
        let (i, written) = write(cluster, kind, n, plan.count)?;
        let took = proxy
            .machine
            .node
            .enter(|| follow(cluster, proxy, i, written))?;
        let write = written - begun;
        writes.push(write.as_secs_f64() * 1e3);
        millis.push(took.as_secs_f64() * 1e3);
        progress.at(|| format!("{} of {}, the last took {took:.1?}", n + 1, plan.count));
        std::thread::sleep(plan.pause);
    }
    process.settle(proxy.name())?;
    let cpu = process.cpu()?.saturating_sub(before);
    Ok(Changes::new(kind.name(), millis, writes, cpu))
}

/// Makes change number `n` of `count`. Which Service, and when the server has acknowledged it.
fn write(cluster: &Cluster, kind: Kind, n: u32, count: u32) -> Result<(u32, Instant)> {
    let i = match kind {
        Kind::Replaced => {
            let i = measured(cluster.size.services, n, count);
            cluster.replace(i)?;
            i
        }
        Kind::Added => cluster.add()?,
    };
    Ok((i, Instant::now()))
}

/// Spread over all Services. With two and more the number is even: the odd ones are for the churn.
#[must_use]
pub fn measured(services: u32, n: u32, count: u32) -> u32 {
    let i = (u64::from(n) * u64::from(services) / u64::from(count.max(1))) as u32 % services;
    i & !1
}

/// Connects until a connection lands on an endpoint of the Service's generation. The time between
/// two connections grows with the time that has passed, so that none of them matters.
///
/// # Errors
/// If that takes too long, or the proxy ends.
pub fn follow(cluster: &Cluster, proxy: &Running, i: u32, written: Instant) -> Result<Duration> {
    let generation = cluster.generation(i);
    loop {
        let limit = written.elapsed() / 20;
        let reached = dial(cluster_ip(i), limit.clamp(LIMITS.0, LIMITS.1));
        let elapsed = written.elapsed();
        if reached.is_some_and(|a| cluster.size.owns(i, generation, a)) {
            return Ok(elapsed);
        }
        if elapsed > PATIENCE {
            bail!(
                "{}: no traffic to the new endpoints of Service {i} after {PATIENCE:?}; the last \
                 connection reached {reached:?}\n{}",
                proxy.name(),
                proxy.tail()
            );
        }
        proxy.check()?;
        let pause = (elapsed / 50).clamp(Duration::from_micros(200), Duration::from_millis(20));
        std::thread::sleep(pause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_spread_over_even_services() {
        let all: Vec<u32> = (0..100).map(|n| measured(10_000, n, 100)).collect();
        assert_eq!((all[0], all[1], all[99]), (0, 100, 9_900));
        assert_eq!(measured(1, 7, 100), 0);
        assert!((0..100).all(|n| measured(7, n, 100) < 7 && measured(7, n, 100).is_multiple_of(2)));
    }
}
