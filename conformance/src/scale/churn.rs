// SPDX-License-Identifier: Apache-2.0
//! The same while many other Services change.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};

use super::change::{Plan, follow, measured};
use super::cluster::Cluster;
use super::progress::Progress;
use super::proxy::Running;
use super::results::Churn;

/// Before the first measurement, so that the proxy is in the middle of it.
const WARM_UP: Duration = Duration::from_secs(5);

/// Measures changes while `rate` other Services a second get other endpoints.
///
/// # Errors
/// If a change does not arrive, the proxy ends, a write fails, or there are no two Services.
pub fn churn(cluster: &Cluster, proxy: &Running, rate: u32, plan: Plan) -> Result<Churn> {
    ensure!(cluster.size.services > 1, "churn needs two Services");
    let (stop, written) = (AtomicBool::new(false), AtomicU32::new(0));
    let result = std::thread::scope(|scope| {
        let writer = scope.spawn(|| write(cluster, rate, &stop, &written));
        let result = measure(cluster, proxy, plan, &written);
        stop.store(true, Ordering::Relaxed);
        writer
            .join()
            .map_err(|_| anyhow!("the churn's thread panicked"))?
            .context("churn")?;
        result
    })?;
    proxy.process().settle(proxy.name())?;
    Ok(result)
}

/// Changes the odd Services in turn until it is told to stop. What comes late is made up for.
fn write(cluster: &Cluster, rate: u32, stop: &AtomicBool, written: &AtomicU32) -> Result<()> {
    let begun = Instant::now();
    let odd = cluster.size.services / 2;
    for n in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        cluster.replace(2 * (n % odd) + 1)?;
        written.fetch_add(1, Ordering::Relaxed);
        let next = Duration::from_secs(1) * (n + 1) / rate;
        std::thread::sleep(next.saturating_sub(begun.elapsed()));
    }
    Ok(())
}

fn measure(cluster: &Cluster, proxy: &Running, plan: Plan, written: &AtomicU32) -> Result<Churn> {
    std::thread::sleep(WARM_UP);
    let process = proxy.process();
    let (cpu, first) = (process.cpu()?, written.load(Ordering::Relaxed));
    let mut progress = Progress::new(format!("{}: churn", proxy.name()));
    let mut millis = Vec::new();
    while millis.len() < plan.count as usize && progress.elapsed() < plan.limit {
        let n = millis.len() as u32;
        let i = measured(cluster.size.services, n, plan.count);
        cluster.replace(i)?;
        let acknowledged = Instant::now();
        let took = proxy
            .machine
            .node
            .enter(|| follow(cluster, proxy, i, acknowledged))?;
        millis.push(took.as_secs_f64() * 1e3);
        progress.at(|| format!("{} of {}, the last took {took:.1?}", n + 1, plan.count));
        std::thread::sleep(plan.pause);
    }
    let seconds = progress.elapsed().as_secs_f64();
    let cpu = process.cpu()?.saturating_sub(cpu).as_secs_f64();
    let changes = written.load(Ordering::Relaxed) - first + millis.len() as u32;
    Ok(Churn::new(
        millis,
        f64::from(changes) / seconds,
        cpu / seconds,
    ))
}
