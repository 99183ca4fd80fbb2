// SPDX-License-Identifier: Apache-2.0
//! Compares ferrule with kube-proxy on random Services: `make differential SEED=1 COUNT=100`.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, bail};
use clap::{Parser, Subcommand};
use fastrand::Rng;
use ferrule_conformance::differential::allowed;
use ferrule_conformance::differential::fault::FAULTS;
use ferrule_conformance::differential::generate;
use ferrule_conformance::differential::record;
use ferrule_conformance::differential::rig::{Report, Rig};
use ferrule_conformance::differential::shrink::shrink;
use ferrule_conformance::differential::spec::Case;

/// Compares ferrule with kube-proxy on random Services.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs random cases, and prints the smallest one for each difference
    Run {
        /// Where chance begins; the same seed gives the same cases
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Number of seeds, counted up from the first
        #[arg(long, default_value_t = 1)]
        seeds: u64,
        /// Cases of each seed
        #[arg(long, default_value_t = 100)]
        count: usize,
        /// Cases that are in the cluster at the same time
        #[arg(long, default_value_t = 12)]
        at_once: usize,
        /// Print differences as they are, not their smallest case
        #[arg(long)]
        no_shrink: bool,
        /// Take intended differences for differences, too
        #[arg(long)]
        strict: bool,
    },
    /// Writes kube-proxy's answers to a fixed set of cases into the source tree
    Record {
        /// Where chance begins
        #[arg(long, default_value_t = 1_000)]
        seed: u64,
        /// Files, each a round
        #[arg(long, default_value_t = 6)]
        files: usize,
        /// Cases of each file
        #[arg(long, default_value_t = 10)]
        cases: usize,
    },
    /// Puts faults into ferrule's rules, each of which must be reported
    Faults {
        /// Where chance begins
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Cases for each fault
        #[arg(long, default_value_t = 12)]
        cases: usize,
    },
}

fn main() -> ExitCode {
    let run = || {
        ferrule_conformance::interrupt::clean_up()?;
        match Cli::parse().command {
            Command::Run {
                seed,
                seeds,
                count,
                at_once,
                no_shrink,
                strict,
            } => {
                let mut run = Run::start(!no_shrink, strict)?;
                for seed in seed..seed + seeds {
                    run.seed(seed, count, at_once)?;
                }
                Ok(run.finish())
            }
            Command::Record { seed, files, cases } => write(seed, files, cases),
            Command::Faults { seed, cases } => faults(seed, cases),
        }
    };
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("error: {e:#}");
            ExitCode::from(2)
        }
    }
}

/// A rig, and what it has shown so far.
struct Run {
    rig: Rig,
    shrink: bool,
    begun: Instant,
    cases: usize,
    probes: usize,
    refused: usize,
    differing: usize,
    intended: BTreeMap<String, usize>,
}

fn cases(rng: &mut Rng, count: usize) -> Vec<(Case, Vec<u64>)> {
    (0..count)
        .map(|_| (generate::case(rng), vec![rng.u64(..)]))
        .collect()
}

fn zones(rng: &mut Rng) -> [u8; 3] {
    [0; 3].map(|_: u8| rng.u8(..3))
}

impl Run {
    fn start(shrink: bool, strict: bool) -> Result<Self> {
        let begun = Instant::now();
        let mut allowed = allowed::list()?;
        allowed.retain(|_| !strict);
        let rig = Rig::start(allowed)?;
        println!(
            "up after {:.1} s, logs in {}",
            begun.elapsed().as_secs_f64(),
            rig.directory().display()
        );
        Ok(Self {
            rig,
            shrink,
            begun,
            cases: 0,
            probes: 0,
            refused: 0,
            differing: 0,
            intended: BTreeMap::new(),
        })
    }

    fn seed(&mut self, seed: u64, count: usize, at_once: usize) -> Result<()> {
        let begun = Instant::now();
        let mut rng = Rng::with_seed(seed);
        let before = (self.probes, self.differing);
        let mut left = count;
        while left > 0 {
            let zones = zones(&mut rng);
            let cases = cases(&mut rng, left.min(at_once));
            left -= cases.len();
            let (_, reports) = self.rig.round(&cases, zones, &|_| Ok(()))?;
            for ((case, seeds), report) in cases.iter().zip(reports) {
                self.judge(seed, case, seeds[0], zones, report)?;
            }
        }
        self.cases += count;
        println!(
            "seed {seed}: {count} cases, {} probes, {} cases differ, {:.0} s",
            self.probes - before.0,
            self.differing - before.1,
            begun.elapsed().as_secs_f64()
        );
        Ok(())
    }

    fn judge(
        &mut self,
        seed: u64,
        case: &Case,
        probes: u64,
        zones: [u8; 3],
        report: Report,
    ) -> Result<()> {
        self.probes += report.answers.len();
        if let Some(reason) = &report.refused {
            self.refused += 1;
            println!("seed {seed}: the API server refuses a case: {reason}");
        }
        for entry in report
            .differences
            .iter()
            .filter_map(|d| self.rig.intended(d))
        {
            *self.intended.entry(entry.name.clone()).or_default() += 1;
        }
        let unexplained = self.rig.unexplained(&report);
        if unexplained.is_empty() {
            return Ok(());
        }
        self.differing += 1;
        println!("\nDIFFERENCE with seed {seed}:");
        unexplained.iter().for_each(|d| println!("{d}"));
        if !self.shrink {
            print_objects(&report);
            return Ok(());
        }
        match shrink(&mut self.rig, case, probes, zones)? {
            Some((case, report)) => {
                println!("smallest: {case:?}\nzones {zones:?}");
                print_objects(&report);
                report.differences.iter().for_each(|d| println!("{d}"));
            }
            None => {
                println!("not seen again; it was:");
                print_objects(&report);
            }
        }
        Ok(())
    }

    fn finish(mut self) -> bool {
        println!(
            "{} cases, {} probes in both worlds, {} refused by the API server, {} with unexplained differences, {:.0} s",
            self.cases,
            self.probes,
            self.refused,
            self.differing,
            self.begun.elapsed().as_secs_f64()
        );
        for (name, times) in &self.intended {
            println!("intended: {name}: {times} probes");
        }
        if self.differing > 0 {
            println!("logs stay in {}", self.rig.keep().display());
        }
        self.differing == 0 && self.refused == 0
    }
}

fn print_objects(report: &Report) {
    report.objects.iter().for_each(|o| println!("---\n{o:#}"));
}

/// Only rounds in which both proxies agree, or differ as intended, are recorded.
fn write(seed: u64, files: usize, count: usize) -> Result<bool> {
    let allowed = allowed::list()?;
    let mut rig = Rig::start(allowed)?;
    let mut rng = Rng::with_seed(seed);
    for file in 1..=files {
        let (zones, cases) = (zones(&mut rng), cases(&mut rng, count));
        let (round, reports) = rig.round(&cases, zones, &|_| Ok(()))?;
        for report in &reports {
            if let Some(reason) = &report.refused {
                bail!("the API server refuses a case: {reason}");
            }
            if let Some(difference) = rig.unexplained(report).first() {
                bail!("not recorded, as the proxies differ: {difference}");
            }
        }
        let path = record::directory().join(format!("{file:02}.json"));
        record::save(&path, "v1.36.3", &round, reports)?;
        println!("{}", path.display());
    }
    Ok(true)
}

/// Other cases are tried where those of the first seed don't meet the fault.
const SEEDS_OF_A_FAULT: u64 = 4;

fn faults(seed: u64, count: usize) -> Result<bool> {
    let allowed = allowed::list()?;
    let mut rig = Rig::start(allowed)?;
    let mut all = true;
    for fault in FAULTS {
        let mut seeds = seed..seed + SEEDS_OF_A_FAULT;
        let noticed = loop {
            let Some(seed) = seeds.next() else { break None };
            let mut rng = Rng::with_seed(seed);
            let (zones, cases) = (zones(&mut rng), cases(&mut rng, count));
            let (_, reports) = rig.round(&cases, zones, &|world| fault.apply(world))?;
            rig.restart_ours()?;
            let found: Vec<_> = reports.iter().flat_map(|r| rig.unexplained(r)).collect();
            if let Some(first) = found.first() {
                break Some(format!("{} probes differ, as\n{first}\n", found.len()));
            }
        };
        all &= noticed.is_some();
        let result = noticed.unwrap_or_else(|| "NOT NOTICED".to_owned());
        println!("{}: {result}", fault.name);
    }
    Ok(all)
}
