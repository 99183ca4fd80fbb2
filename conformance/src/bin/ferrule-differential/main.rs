// SPDX-License-Identifier: Apache-2.0
//! Compares ferrule with kube-proxy on random Services: `make differential SEED=1 COUNT=100`.

mod faults;
mod run;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Parser, Subcommand};
use fastrand::Rng;
use ferrule_conformance::differential::proxies::Proxy;
use ferrule_conformance::differential::rig::Rig;
use ferrule_conformance::differential::spec::Case;
use ferrule_conformance::differential::{allowed, generate, record, summary};

/// Compares ferrule with kube-proxy on random Services.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs random cases, and prints the smallest one for each difference
    Run(run::Options),
    /// Writes kube-proxy's answers to a fixed set of cases into the source tree
    Record {
        /// Where chance begins
        #[arg(long, default_value_t = 1_000)]
        seed: u64,
        /// Files, each a round
        #[arg(long, default_value_t = 3)]
        files: usize,
        /// Cases of each file
        #[arg(long, default_value_t = 20)]
        cases: usize,
        /// Directory of the files
        #[arg(long, default_value_os_t = record::directory())]
        directory: PathBuf,
    },
    /// Puts faults into ferrule's rules, each of which must be reported; one is made small
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
            Command::Run(options) => run::run(&options),
            Command::Record {
                seed,
                files,
                cases,
                directory,
            } => write(seed, files, cases, &directory),
            Command::Faults { seed, cases } => faults::faults(seed, cases),
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

fn cases(rng: &mut Rng, count: usize) -> Vec<(Case, Vec<u64>)> {
    (0..count)
        .map(|_| (generate::case(rng), vec![rng.u64(..)]))
        .collect()
}

fn zones(rng: &mut Rng) -> [u8; 3] {
    [0; 3].map(|_: u8| rng.u8(..3))
}

/// Only rounds in which both proxies agree, or differ as intended, are recorded.
fn write(seed: u64, files: usize, count: usize, directory: &std::path::Path) -> Result<bool> {
    let mut rig = Rig::start(allowed::list()?)?;
    let version = summary::version(Proxy::KubeProxy)?;
    let mut rng = Rng::with_seed(seed);
    for file in 1..=files {
        let (zones, cases) = (zones(&mut rng), cases(&mut rng, count));
        let (round, reports) = rig.round(&cases, zones)?;
        for report in &reports {
            if let Some(reason) = &report.refused {
                bail!("the API server refuses a case: {reason}");
            }
            if let Some(difference) = rig.unexplained(report).first() {
                bail!("not recorded, as the proxies differ: {difference}");
            }
        }
        let path = directory.join(format!("{file:02}.json"));
        record::save(&path, &version, &round, reports)?;
        println!("{}", path.display());
    }
    Ok(true)
}
