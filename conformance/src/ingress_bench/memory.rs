// SPDX-License-Identifier: Apache-2.0
//! What many Ingresses take.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use tokio::runtime::Builder;

use super::load::{self, Connection, get};
use super::proxies::{Certificate, Kind, Routes, Running, host};
use super::results::Memory;
use crate::scale::results::rounded;
use crate::scale::usage::Process;

/// How long the last Ingress may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Measures one proxy after the other, once most Ingresses have been asked. What each takes with one host is known by its name.
///
/// # Errors
/// If one does not serve all of them.
pub fn measure(
    ingresses: usize,
    certificate: &Certificate,
    one: &BTreeMap<String, u64>,
) -> Result<BTreeMap<String, Memory>> {
    let mut measured = BTreeMap::new();
    for kind in Kind::ALL {
        let name = kind.name();
        eprintln!("memory with {ingresses} Ingresses: {name}");
        let begun = Instant::now();
        let proxy = Running::start(kind, 2, Routes::Ingresses(ingresses), certificate)?;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(answers(&proxy, ingresses - 1, begun))?;
        let start_seconds = rounded(begun.elapsed().as_secs_f64());
        ask_all(&proxy, ingresses)?;
        Process(proxy.id()).settle(name)?;
        let memory = Memory {
            one_kb: one.get(name).copied().unwrap_or(0),
            all_kb: proxy.family.pss_kb()?,
            start_seconds,
        };
        measured.insert(name.to_owned(), memory);
    }
    Ok(measured)
}

/// Asks all Ingresses, on both of their paths.
fn ask_all(proxy: &Running, ingresses: usize) -> Result<()> {
    let requests = (0..ingresses).flat_map(|n| ["/0", "/api/0"].map(|path| get(&host(n), path)));
    let clients = load::start(load::Plan {
        target: proxy.http,
        connections: 16,
        requests: requests.collect(),
        warm: Duration::ZERO,
        time: Duration::from_secs(3),
    })?;
    let load = clients
        .join()
        .unwrap_or_else(|_| bail!("the client panicked"))?;
    let reason = load.reason.unwrap_or_default();
    ensure!(load.failed == 0, "{} failures: {reason}", load.failed);
    Ok(())
}

/// Waits until an Ingress answers on both of its paths.
pub(super) async fn answers(proxy: &Running, n: usize, begun: Instant) -> Result<()> {
    let mut connection = Connection::open(proxy.http).await?;
    for path in ["/0", "/api/0"] {
        loop {
            let answer = connection.ask(&get(&host(n), path)).await?;
            if answer.status == 200 {
                break;
            }
            ensure!(
                begun.elapsed() < PATIENCE,
                "{}: host {n} answers {} for {path}",
                proxy.kind.name(),
                answer.status
            );
            connection = Connection::open(proxy.http).await?;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    Ok(())
}
