// SPDX-License-Identifier: Apache-2.0
//! Measures ferrule and kube-proxy on many Services from a real API server:
//! `make scale SERVICES=10000 ENDPOINTS=10`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::{Parser, Subcommand};
use ferrule_conformance::differential::proxies::Proxy;
use ferrule_conformance::scale::change::{Kind, Plan, changes};
use ferrule_conformance::scale::churn::churn;
use ferrule_conformance::scale::cluster::{Cluster, check_programs};
use ferrule_conformance::scale::objects::Size;
use ferrule_conformance::scale::page;
use ferrule_conformance::scale::proxy::{Running, version};
use ferrule_conformance::scale::results::{Measured, Results, Run, load, read, write};
use ferrule_conformance::scale::start::start;
use ferrule_conformance::scale::usage::Watch;

/// Measures ferrule and kube-proxy on many Services from a real API server.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Fills an API server and measures both proxies, one after the other
    Run(Amount),
    /// Writes docs/scale.md anew from the results
    Page,
}

#[derive(Debug, Clone, Parser)]
struct Amount {
    /// Services in the API server
    #[arg(long, default_value_t = 1_000)]
    services: u32,
    /// Endpoints of each Service
    #[arg(long, default_value_t = 10)]
    endpoints: u32,
    /// Starts of each proxy, each on a new node
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    starts: u16,
    /// Changes of endpoints, at most
    #[arg(long, default_value_t = 100)]
    changes: u32,
    /// New Services, at most
    #[arg(long, default_value_t = 30)]
    added: u32,
    /// Seconds after which no further change of a kind is begun
    #[arg(long, default_value_t = 180)]
    limit: u64,
    /// Milliseconds between two changes; with more than a second, kube-proxy's least time between
    /// two updates plays no part
    #[arg(long, default_value_t = 1_300)]
    pause: u64,
    /// Other changes a second in the last part; 0 leaves it out
    #[arg(long, default_value_t = 10)]
    churn: u32,
    /// Measure this proxy only: kube-proxy or ferrule. The results are then not kept
    #[arg(long)]
    only: Option<String>,
    /// Do not keep the results
    #[arg(long)]
    dry: bool,
}

fn main() -> ExitCode {
    let run = || {
        ferrule_conformance::interrupt::clean_up()?;
        match Cli::parse().command {
            Command::Run(amount) => run(&amount),
            Command::Page => write_page(),
        }
    };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("results/scale.json")
}

fn write_page() -> Result<()> {
    page::write(
        &file(),
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/scale.md"),
    )
}

fn run(amount: &Amount) -> Result<()> {
    let size = Size {
        services: amount.services,
        endpoints: amount.endpoints,
    }
    .check()?;
    let proxies: Vec<Proxy> = [Proxy::Ferrule, Proxy::KubeProxy]
        .into_iter()
        .filter(|p| amount.only.as_deref().is_none_or(|only| only == p.name()))
        .collect();
    anyhow::ensure!(!proxies.is_empty(), "--only: kube-proxy or ferrule");
    check_programs()?;
    let before = load()?;
    eprintln!("{size}: load average {before}, filling an API server");
    let (cluster, fill) = Cluster::start(size)?;
    eprintln!("{} objects in {:.1} s", fill.objects, fill.seconds);
    let mut run = Run {
        services: size.services,
        endpoints: size.endpoints,
        date: jiff::Timestamp::now().strftime("%Y-%m-%d").to_string(),
        kernel: std::fs::read_to_string("/proc/sys/kernel/osrelease")?
            .trim()
            .to_owned(),
        cores: std::thread::available_parallelism()?.get(),
        load: before,
        fill,
        proxies: Vec::new(),
    };
    for (proxy, number) in proxies.into_iter().zip(0..) {
        run.proxies.push(measure(
            proxy,
            &cluster,
            amount,
            1 + number * amount.starts,
        )?);
    }
    println!("{}", page::table(&run));
    if amount.only.is_none() && !amount.dry {
        let mut results: Results = read(&file())?;
        results.merge(run);
        write(&results, &file())?;
        write_page()?;
    }
    Ok(())
}

fn measure(proxy: Proxy, cluster: &Cluster, amount: &Amount, first: u16) -> Result<Measured> {
    let load = load()?;
    let mut starts = Vec::new();
    for number in first.. {
        let running = Running::start(proxy, cluster, number)?;
        let watch = Watch::start(running.process())?;
        let start = start(cluster, &running)?;
        eprintln!(
            "{}: {:.2} s, {:.2} s of CPU",
            running.name(),
            start.seconds,
            start.cpu_seconds
        );
        starts.push(start);
        if starts.len() < usize::from(amount.starts) {
            continue;
        }
        let plan = |count| Plan {
            count,
            limit: Duration::from_secs(amount.limit),
            pause: Duration::from_millis(amount.pause),
        };
        let replaced = changes(cluster, &running, Kind::Replaced, plan(amount.changes))?;
        let added = changes(cluster, &running, Kind::Added, plan(amount.added))?;
        let churn = (amount.churn > 0)
            .then(|| churn(cluster, &running, amount.churn, plan(amount.added)))
            .transpose()?;
        let memory = watch.finish()?;
        cluster.remove_added()?;
        return Ok(Measured {
            proxy: proxy.name().to_owned(),
            version: version(proxy)?,
            load,
            starts,
            changes: vec![replaced, added],
            churn,
            memory,
        });
    }
    anyhow::bail!("more starts than there are numbers")
}
