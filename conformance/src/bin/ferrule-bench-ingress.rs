// SPDX-License-Identifier: Apache-2.0
//! Measures the Ingress sidecar, nginx and HAProxy in turn: `make bench-ingress`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Parser;
use ferrule_conformance::ingress_bench::machine::{Cores, Held};
use ferrule_conformance::ingress_bench::proxies::{
    ADDRESS, Certificate, ENDPOINTS, Kind, Routes, Running,
};
use ferrule_conformance::ingress_bench::results::{Results, Rounds};
use ferrule_conformance::ingress_bench::scenario::{HOSTS, Scenario, Setting, start};
use ferrule_conformance::ingress_bench::{edits, memory, page, upstream};
use ferrule_conformance::netns::Namespace;
use ferrule_conformance::scale::results::{load, read, write};

/// Measures the Ingress sidecar, nginx and HAProxy in turn on one core.
#[derive(Debug, Clone, Parser)]
struct Cli {
    /// Rounds of each scenario; ten at least for results that are kept
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Seconds of one proxy in one round
    #[arg(long, default_value_t = 1.5)]
    seconds: f64,
    /// Only these scenarios: h1-0, h1-1k, h1-16k, routes, h2, tls, tls-resumed, held. The results
    /// are then not kept
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Ingresses for memory and edits
    #[arg(long, default_value_t = 5_000)]
    ingresses: usize,
    /// Measure memory with many Ingresses, and nothing else that is not named
    #[arg(long)]
    memory: bool,
    /// Measure edits for a minute, and nothing else that is not named
    #[arg(long)]
    edits: bool,
    /// Seconds of edits
    #[arg(long, default_value_t = 60)]
    edits_seconds: u64,
    /// Do not keep the results
    #[arg(long)]
    dry: bool,
    /// Write docs/ingress-bench.md anew from the results, and measure nothing
    #[arg(long)]
    page: bool,
}

fn main() -> ExitCode {
    let run = || {
        ferrule_conformance::interrupt::clean_up()?;
        let cli = Cli::parse();
        if cli.page {
            return write_page();
        }
        let results = run(&cli)?;
        println!("{}", page::tables(&results));
        if cli.whole() {
            write(&results, &file())?;
            write_page()?;
        }
        Ok(())
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
    Path::new(env!("CARGO_MANIFEST_DIR")).join("results/ingress-bench.json")
}

fn write_page() -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/ingress-bench.md");
    let text = page::page(&read(&file())?);
    std::fs::write(&path, text).with_context(|| path.display().to_string())
}

impl Cli {
    /// Whether nothing is left out.
    fn everything(&self) -> bool {
        self.only.is_empty() && !self.memory && !self.edits
    }

    /// Whether the results are to be kept.
    fn whole(&self) -> bool {
        self.everything() && !self.dry
    }

    fn scenarios(&self) -> Result<Vec<Scenario>> {
        if self.everything() {
            return Ok(Scenario::ALL.to_vec());
        }
        let find = |name: &String| {
            let mut all = Scenario::ALL.into_iter();
            let found = all.find(|scenario| scenario.name() == name);
            let names = || Scenario::ALL.map(Scenario::name).join(", ");
            found.with_context(|| format!("--only {name}: one of {}", names()))
        };
        self.only.iter().map(find).collect()
    }
}

fn run(cli: &Cli) -> Result<Results> {
    let scenarios = cli.scenarios()?;
    let cores = Cores::find()?;
    let mut results = Results {
        date: jiff::Timestamp::now().strftime("%Y-%m-%d").to_string(),
        kernel: std::fs::read_to_string("/proc/sys/kernel/osrelease")?
            .trim()
            .to_owned(),
        cores: cores.count(),
        load: load()?,
        seconds: cli.seconds,
        held_by: Held::version().to_owned(),
        ingresses: cli.ingresses,
        ..Results::default()
    };
    for kind in Kind::ALL {
        results
            .versions
            .insert(kind.name().to_owned(), kind.version()?);
    }
    let namespace = Namespace::new("bench-ingress")?;
    namespace.sysctl(&[("net/ipv4/ip_local_port_range", "10000 65535")])?;
    namespace.ip(&format!("link set lo up\naddr add {ADDRESS}/32 dev lo"))?;
    namespace.enter(|| inside(cli, cores, &scenarios, &mut results))?;
    Ok(results)
}

fn inside(cli: &Cli, cores: Cores, scenarios: &[Scenario], results: &mut Results) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let certificate = Certificate::make(folder.path())?;
    cores.others()?;
    upstream::start(&ENDPOINTS.map(|port| (ADDRESS, port).into()))?;
    let mut one = BTreeMap::new();
    if !scenarios.is_empty() || cli.everything() {
        cores.proxy()?;
        let simple = start(0, Routes::One, &certificate)?;
        let many = start(1, Routes::Many(HOSTS), &certificate)?;
        cores.others()?;
        let setting = Setting {
            simple: &simple,
            many: &many,
            certificate: &certificate,
            time: Duration::from_secs_f64(cli.seconds),
            folder: folder.path(),
        };
        results.scenarios = rounds(cli.rounds, scenarios, &setting)?;
        one = simple.iter().map(pss).collect::<Result<_>>()?;
    }
    cores.all()?;
    if cli.everything() || cli.memory {
        results.memory = memory::measure(cli.ingresses, &certificate, &one)?;
    }
    if cli.everything() || cli.edits {
        let time = Duration::from_secs(cli.edits_seconds);
        let edits = edits::measure(cli.ingresses, time, &certificate)?;
        if edits.failed > 0 && cli.whole() {
            bail!("{} requests failed during edits", edits.failed);
        }
        results.edits = Some(edits);
    }
    Ok(())
}

fn pss(proxy: &Running) -> Result<(String, u64)> {
    Ok((proxy.kind.name().to_owned(), proxy.family.pss_kb()?))
}

/// A round of all scenarios, then the next one: what else the machine does meets all alike.
fn rounds(count: u32, scenarios: &[Scenario], setting: &Setting) -> Result<Vec<Rounds>> {
    let begin = |scenario: &Scenario| Rounds {
        name: scenario.name().to_owned(),
        what: scenario.what().to_owned(),
        rounds: Vec::new(),
    };
    let mut all: Vec<Rounds> = scenarios.iter().map(begin).collect();
    for round in 0..count {
        for (scenario, rounds) in scenarios.iter().zip(&mut all) {
            let samples = scenario.round(setting, round as usize)?;
            let shown = Kind::ALL.map(|kind| {
                let sample = samples.get(kind.name());
                let cpu = sample.map_or(0.0, |sample| sample.cpu_us);
                format!("{} {cpu:.1}", kind.name())
            });
            eprintln!(
                "round {} of {count}: {:<11} µs a request: {}",
                round + 1,
                scenario.name(),
                shown.join(", ")
            );
            rounds.rounds.push(samples);
        }
    }
    Ok(all)
}
