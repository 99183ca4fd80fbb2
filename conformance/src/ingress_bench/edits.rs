// SPDX-License-Identifier: Apache-2.0
//! One Ingress among thousands is edited again and again while all are asked.

use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use tokio::runtime::{Builder, Runtime};

use super::load::{self, Connection, get};
use super::memory::answers;
use super::proxies::{self, Certificate, ENDPOINTS, Kind, Routes, Running, host};
use super::results::Edits;
use super::stats::percentile;
use crate::scale::progress::Progress;
use crate::scale::results::{Latency, rounded};

/// Between two edits.
const EVERY: Duration = Duration::from_millis(100);
/// Between two looks whether an edit is followed.
const LOOK: Duration = Duration::from_micros(200);
/// An edit that is followed later has failed.
const PATIENCE: Duration = Duration::from_secs(10);
/// Connections that ask meanwhile.
const CONNECTIONS: usize = 16;

/// Edits for so long, each another Ingress: its backend becomes another Service.
///
/// # Errors
/// If an edit is not followed.
pub fn measure(ingresses: usize, time: Duration, certificate: &Certificate) -> Result<Edits> {
    let routes = Routes::Ingresses(ingresses);
    let proxy = Running::start(Kind::Ferrule, 3, routes, certificate)?;
    let manifests = proxy.folder().join("manifests");
    let other = proxies::service("other", ENDPOINTS[1]);
    proxies::write(&manifests, "other.json", &other)?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(answers(&proxy, ingresses - 1, Instant::now()))?;
    let clients = load::start(load::Plan {
        target: proxy.http,
        connections: CONNECTIONS,
        requests: (0..ingresses).map(|n| get(&host(n), "/api/0")).collect(),
        warm: Duration::ZERO,
        time,
    })?;
    let (before, begun) = (proxy.family.cpu()?, Instant::now());
    let mut progress = Progress::new("edits");
    let mut millis = Vec::new();
    while begun.elapsed() + EVERY < time {
        let due = EVERY * u32::try_from(millis.len())?;
        sleep(due.saturating_sub(begun.elapsed()));
        let n = millis.len() * 7 % ingresses;
        let took = edit(&runtime, &proxy, &manifests, n)?;
        millis.push(took.as_secs_f64() * 1e3);
        progress.at(|| {
            format!(
                "{} of {}",
                millis.len(),
                time.as_millis() / EVERY.as_millis()
            )
        });
    }
    let cpus = (proxy.family.cpu()? - before).as_secs_f64() / begun.elapsed().as_secs_f64();
    let load = clients.join();
    let mut load = load.unwrap_or_else(|_| bail!("the client panicked"))?;
    if let Some(reason) = &load.reason {
        eprintln!("{} requests failed: {reason}", load.failed);
    }
    ensure!(!load.micros.is_empty(), "no request was answered");
    load.micros.sort_unstable();
    Ok(Edits {
        ingresses,
        every_ms: u64::try_from(EVERY.as_millis())?,
        latency: Latency::new(millis),
        per_second: rounded(load.micros.len() as f64 / time.as_secs_f64()),
        p99_us: percentile(&load.micros, 99),
        failed: load.failed,
        cpus: rounded(cpus),
    })
}

/// From before the file is written until the first answer of the other endpoint.
fn edit(runtime: &Runtime, proxy: &Running, manifests: &Path, n: usize) -> Result<Duration> {
    let request = get(&host(n), "/0");
    let mut connection = runtime.block_on(Connection::open(proxy.http))?;
    let answer = runtime.block_on(connection.ask(&request))?;
    let to = match answer.endpoint == ENDPOINTS[0] {
        true => "other".to_owned(),
        false => format!("web-{n}"),
    };
    let begun = Instant::now();
    proxies::edit(manifests, n, &to)?;
    loop {
        let now = runtime.block_on(connection.ask(&request))?;
        ensure!(now.status == 200, "status {} after an edit", now.status);
        if now.endpoint != answer.endpoint {
            return Ok(begun.elapsed());
        }
        ensure!(
            begun.elapsed() < PATIENCE,
            "an edit of Ingress {n} is not followed"
        );
        sleep(LOOK);
    }
}
