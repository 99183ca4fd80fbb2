// SPDX-License-Identifier: Apache-2.0
//! From the start of the process until every Service answers.

use std::time::Duration;

use anyhow::{Result, bail};

use super::cluster::Cluster;
use super::dial::dial;
use super::objects::cluster_ip;
use super::progress::Progress;
use super::proxy::Running;
use super::results::{Start, rounded};

/// Between two looks.
const EVERY: Duration = Duration::from_millis(5);
/// How long a connection may take.
const LIMIT: Duration = Duration::from_millis(20);
/// How long a start may take.
const PATIENCE: Duration = Duration::from_secs(900);
/// Services that have to answer before all are asked.
const SAMPLE: u32 = 32;

/// Waits until all Services answer, each by one of its own endpoints, and until the proxy is quiet.
///
/// # Errors
/// If the proxy ends or takes too long.
pub fn start(cluster: &Cluster, proxy: &Running) -> Result<Start> {
    let seconds = proxy
        .machine
        .node
        .enter(|| until_all_answer(cluster, proxy))?;
    let process = proxy.process();
    process.settle(proxy.name())?;
    Ok(Start {
        seconds: rounded(seconds),
        cpu_seconds: rounded(process.cpu()?.as_secs_f64()),
    })
}

fn until_all_answer(cluster: &Cluster, proxy: &Running) -> Result<f64> {
    let services = cluster.size.services;
    let mut progress = Progress::new(format!("{}: start", proxy.name()));
    let last = services - 1;
    let sample = (0..SAMPLE).map(|n| n * services / SAMPLE);
    let mut open: Vec<u32> = [last].into_iter().chain(sample).collect();
    let mut seconds = wait(&mut open, cluster, proxy, &mut progress)?;
    // All of them take a moment to ask: that moment counts only if one of them does not answer.
    open = (0..services).filter(|i| !answers(cluster, *i)).collect();
    if !open.is_empty() {
        eprintln!(
            "{}: {} Services do not answer yet",
            proxy.name(),
            open.len()
        );
        seconds = wait(&mut open, cluster, proxy, &mut progress)?;
    }
    Ok(seconds)
}

/// Until the open ones answer, too; then the time since the start.
fn wait(
    open: &mut Vec<u32>,
    cluster: &Cluster,
    proxy: &Running,
    progress: &mut Progress,
) -> Result<f64> {
    while let Some(i) = open.first() {
        if answers(cluster, *i) {
            open.retain(|i| !answers(cluster, *i));
            continue;
        }
        proxy.check()?;
        progress.at(|| format!("{} Services do not answer", open.len()));
        if progress.elapsed() > PATIENCE {
            bail!(
                "{} is not up after {PATIENCE:?}:\n{}",
                proxy.name(),
                proxy.tail()
            );
        }
        std::thread::sleep(EVERY);
    }
    Ok(proxy.begun.elapsed().as_secs_f64())
}

fn answers(cluster: &Cluster, i: u32) -> bool {
    let generation = cluster.generation(i);
    dial(cluster_ip(i), LIMIT).is_some_and(|a| cluster.size.owns(i, generation, a))
}
