// SPDX-License-Identifier: Apache-2.0
//! Random cases, and what they show.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use clap::Args;
use fastrand::Rng;
use ferrule_conformance::differential::allowed;
use ferrule_conformance::differential::render::{Round, manifest};
use ferrule_conformance::differential::rig::{Report, Rig};
use ferrule_conformance::differential::shrink::shrink;
use ferrule_conformance::differential::spec::Case;
use ferrule_conformance::differential::summary::Summary;

use super::{cases, zones};

#[derive(Debug, Args)]
pub(super) struct Options {
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
    #[arg(long, default_value_t = 50)]
    at_once: usize,
    /// Print differences as they are, not their smallest case
    #[arg(long)]
    no_shrink: bool,
    /// Take intended differences for differences, too
    #[arg(long)]
    strict: bool,
    /// Write a summary to this file
    #[arg(long)]
    summary: Option<PathBuf>,
}

/// A rig, and what it has shown so far.
struct Run {
    rig: Rig,
    shrink: bool,
    summary: Summary,
}

/// Runs all seeds. Whether there was no unexplained difference.
pub(super) fn run(options: &Options) -> Result<bool> {
    let begun = Instant::now();
    let mut allowed = allowed::list()?;
    allowed.retain(|_| !options.strict);
    let mut summary = Summary::new()?;
    summary.intended = allowed.iter().map(|a| (a.name.clone(), 0)).collect();
    let rig = Rig::start(allowed)?;
    println!(
        "up after {:.1} s, logs in {}",
        begun.elapsed().as_secs_f64(),
        rig.directory().display()
    );
    let mut run = Run {
        rig,
        shrink: !options.no_shrink,
        summary,
    };
    for seed in options.seed..options.seed + options.seeds {
        run.seed(seed, options.count, options.at_once.max(1))?;
    }
    run.summary.seconds = begun.elapsed().as_secs();
    if let Some(file) = &options.summary {
        run.summary.save(file)?;
    }
    Ok(run.finish())
}

impl Run {
    fn seed(&mut self, seed: u64, count: usize, at_once: usize) -> Result<()> {
        let begun = Instant::now();
        let mut rng = Rng::with_seed(seed);
        let before = (self.summary.probes, self.summary.differences);
        let mut left = count;
        while left > 0 {
            let zones = zones(&mut rng);
            let cases = cases(&mut rng, left.min(at_once));
            left -= cases.len();
            let (round, reports) = self.rig.round(&cases, zones)?;
            for ((case, seeds), report) in cases.iter().zip(&reports) {
                self.judge(seed, (case, seeds[0]), &round, report)?;
            }
        }
        self.summary.seeds.push(seed);
        self.summary.cases += count;
        println!(
            "seed {seed}: {count} cases, {} probes, {} cases differ, {:.0} s",
            self.summary.probes - before.0,
            self.summary.differences - before.1,
            begun.elapsed().as_secs_f64()
        );
        Ok(())
    }

    fn judge(
        &mut self,
        seed: u64,
        (case, probes): (&Case, u64),
        round: &Round,
        report: &Report,
    ) -> Result<()> {
        self.summary.probes += report.answers.len();
        if let Some(reason) = &report.refused {
            self.summary.refused += 1;
            println!("seed {seed}: the API server refuses a case: {reason}");
        }
        for difference in &report.differences {
            if let Some(entry) = self.rig.intended(difference, &report.objects) {
                *self.summary.intended.entry(entry.name.clone()).or_default() += 1;
            }
        }
        let unexplained = self.rig.unexplained(report);
        if unexplained.is_empty() {
            return Ok(());
        }
        self.summary.differences += 1;
        println!("\nDIFFERENCE with seed {seed}:");
        unexplained.iter().for_each(|d| println!("{d}"));
        if !self.shrink {
            println!("{}", manifest(round, &report.objects));
            return Ok(());
        }
        match shrink(&mut self.rig, case, probes, round.zones)? {
            Some((case, (round, report))) => {
                println!("smallest: {case:?}\n{}", manifest(&round, &report.objects));
                report.differences.iter().for_each(|d| println!("{d}"));
            }
            None => println!(
                "not seen again; it was:\n{}",
                manifest(round, &report.objects)
            ),
        }
        Ok(())
    }

    fn finish(mut self) -> bool {
        let all = &self.summary;
        println!(
            "{} cases, {} probes in both worlds, {} refused by the API server, {} with unexplained differences, {} s",
            all.cases, all.probes, all.refused, all.differences, all.seconds
        );
        for (name, times) in &all.intended {
            println!("intended: {name}: {times} probes");
        }
        let good = all.differences == 0 && all.refused == 0;
        if !good {
            println!("logs stay in {}", self.rig.keep().display());
        }
        good
    }
}
