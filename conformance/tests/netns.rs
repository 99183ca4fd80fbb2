// SPDX-License-Identifier: Apache-2.0
//! The packet table: every row with real packets, through the tracer, and explained.
//!
//! `cargo test -p ferrule-conformance --test netns [WORD...]` runs the profiles, cases and
//! scenarios whose names hold one of the words; `rows` and `scenarios` are all of either. The
//! variables `MODE` and `PACKET_...` are in the modules `mode` and `pace`.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context, Result};
use ferrule::model::IpFamily;
use ferrule_conformance::case::{Case, Profile, Row};
use ferrule_conformance::cases::{cluster_cidr_flags, profiles};
use ferrule_conformance::cluster::Cluster;
use ferrule_conformance::explainer::Explainer;
use ferrule_conformance::ipvsadm;
use ferrule_conformance::judge::{COMBINATIONS, Trial};
use ferrule_conformance::mode::{Mode, mode};
use ferrule_conformance::netns::Layout;
use ferrule_conformance::pace::{Pace, pace};
use ferrule_conformance::scenario::scenarios;
use ferrule_conformance::tracer::Tracer;

/// How many rows and scenarios there were, and how many of them failed.
#[derive(Clone, Copy, Default)]
struct Tally {
    all: usize,
    failed: usize,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.all += other.all;
        self.failed += other.failed;
    }
}

impl std::fmt::Display for Tally {
    /// As libtest ends, so that one rule sums up all test programs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Tally { all, failed } = *self;
        let word = if failed == 0 { "ok" } else { "FAILED" };
        write!(
            f,
            "test result: {word}. {} passed; {failed} failed; 0 ignored",
            all - failed
        )
    }
}

fn main() -> ExitCode {
    match judge() {
        Ok(tally) => {
            println!("\n{tally}");
            match tally.failed {
                0 => ExitCode::SUCCESS,
                _ => ExitCode::FAILURE,
            }
        }
        Err(e) => {
            eprintln!("{e:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs what the arguments ask for.
fn judge() -> Result<Tally> {
    println!("mode {}, {:?}", Mode::from_env()?.word(), Pace::from_env()?);
    ferrule_conformance::interrupt::clean_up()?;
    let words: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| !a.starts_with('-'))
        .collect();
    let mut tally = trace(&words);
    if ferrule_conformance::privileged()? {
        tally += run(&words)?;
    }
    Ok(tally)
}

fn wanted(words: &[String], kind: &str, profile: &str, case: &str) -> bool {
    let named = |w: &String| kind == w || profile.contains(w) || case.contains(w);
    words.is_empty() || words.iter().any(named)
}

/// Runs the table through the tracer. A row fails that it sees differently.
fn trace(words: &[String]) -> Tally {
    let mut tally = Tally::default();
    for profile in profiles() {
        let tracer = Tracer::new(&profile, 3);
        let chosen: Vec<&Case> = profile
            .cases
            .iter()
            .filter(|c| wanted(words, "rows", profile.name, c.name))
            .collect();
        for case in &chosen {
            for trial in trials(case) {
                if let Err(reason) = tracer.agrees(&trial) {
                    tally.failed += 1;
                    println!("FAIL tracer  {trial}: {reason}");
                }
            }
        }
        let rows: usize = chosen.iter().map(|c| trials(c).count()).sum();
        tally.all += rows;
        println!(
            "tracer  {}: {rows} rows in both families and all protocols",
            profile.name
        );
    }
    tally
}

fn trials(case: &Case) -> impl Iterator<Item = Trial<'_>> {
    let combinations = COMBINATIONS.into_iter().enumerate();
    combinations.flat_map(move |(c, (family, protocol))| {
        let chosen = move |(n, row): &(usize, &Row)| {
            row.only.is_none_or(|f| f == family) && pace().chooses(*n, c)
        };
        let rows = case.rows.iter().enumerate().filter(chosen);
        rows.map(move |(_, row)| Trial {
            case,
            row,
            family,
            protocol,
        })
    })
}

fn run(words: &[String]) -> Result<Tally> {
    let begun = Instant::now();
    let mut cluster = Cluster::build(&Layout::default())?;
    println!(
        "built 3 nodes, 6 pods and a client in {} ms",
        begun.elapsed().as_millis()
    );
    let mut tally = Tally::default();
    for profile in profiles() {
        let chosen: Vec<&Case> = profile
            .cases
            .iter()
            .filter(|c| wanted(words, "rows", profile.name, c.name))
            .collect();
        if chosen.is_empty() {
            continue;
        }
        tally += run_profile(&mut cluster, &profile, &chosen)?;
    }
    tally += run_scenarios(&mut cluster, words)?;
    println!("{} failures, {} s", tally.failed, begun.elapsed().as_secs());
    Ok(tally)
}

/// Gives node 1 the addresses of a case that are to be on an interface, or takes them back.
fn on_interface(cluster: &Cluster, case: &Case, verb: &str) -> Result<()> {
    for service in case.services.iter().filter(|s| s.on_interface) {
        let change = |family| format!("addr {verb} {} dev lo", service.cluster_ip(family));
        cluster.topology.nodes[0].ip(&IpFamily::ALL.map(change).join("\n"))?;
    }
    Ok(())
}

fn run_profile(cluster: &mut Cluster, profile: &Profile, chosen: &[&Case]) -> Result<Tally> {
    let begun = Instant::now();
    for case in &profile.cases {
        cluster.write_services(case.name, &case.services)?;
        on_interface(cluster, case, "replace")?;
    }
    cluster.start_agents(&profile.flags)?;
    println!(
        "{}: agents ready after {} ms",
        profile.name,
        begun.elapsed().as_millis()
    );
    let trials: Vec<_> = chosen.iter().flat_map(|c| trials(c)).collect();
    // Before any packet makes clients sticky.
    let mut tally = explain(&Explainer::read(cluster)?, &trials);
    let (next, failed) = (
        AtomicUsize::new(0),
        Mutex::new(BTreeMap::<_, Vec<String>>::new()),
    );
    let work = || {
        while let Some(trial) = trials.get(next.fetch_add(1, Ordering::Relaxed)) {
            let result = trial
                .run(&cluster.topology)
                .unwrap_or_else(|e| Err(format!("{e:#}")));
            let mut failed = failed.lock().unwrap_or_else(|e| e.into_inner());
            let of_case = failed.entry(trial.case.name).or_default();
            of_case.extend(result.err().map(|reason| format!("FAIL {trial}: {reason}")));
        }
    };
    std::thread::scope(|s| (0..pace().threads).for_each(|_| drop(s.spawn(work))));
    let failed = failed.into_inner().unwrap_or_else(|e| e.into_inner());
    for (case, failures) in &failed {
        let rows = trials.iter().filter(|t| t.case.name == *case).count();
        println!(
            "  {case}: {} of {rows} rows as they should be",
            rows - failures.len()
        );
        failures.iter().for_each(|f| println!("    {f}"));
    }
    println!("  {} rows, {} s", trials.len(), begun.elapsed().as_secs());
    tally += Tally {
        all: trials.len(),
        failed: failed.values().map(Vec::len).sum(),
    };
    if mode() == Mode::Ipvs {
        tally += second_opinion(cluster, profile)?;
    }
    for case in &profile.cases {
        cluster.remove(case.name);
        on_interface(cluster, case, "del")?;
    }
    Ok(tally)
}

/// Has every row explained, with the agent's answer and from the kernel alone.
fn explain(explainer: &Explainer, trials: &[Trial<'_>]) -> Tally {
    let mut tally = Tally {
        all: trials.len(),
        failed: 0,
    };
    for trial in trials {
        if let Err(reason) = explainer.agrees(trial) {
            tally.failed += 1;
            println!("    FAIL explain {trial}: {reason}");
        }
    }
    let agree = tally.all - tally.failed;
    println!("  explain agrees on {agree} of {} rows", tally.all);
    tally
}

/// What `ipvsadm -Sn` sees on each node must be what the plan has: the second opinion.
fn second_opinion(cluster: &Cluster, profile: &Profile) -> Result<Tally> {
    let tracer = Tracer::new(profile, cluster.topology.nodes.len() as u16);
    let mut tally = Tally::default();
    for (node, n) in cluster.topology.nodes.iter().zip(1..) {
        let seen = ipvsadm::list(node)?;
        let planned = tracer.virtual_servers(n).context("a node without a plan")?;
        let different: Vec<_> = seen.symmetric_difference(planned).collect();
        tally += Tally {
            all: 1,
            failed: usize::from(!different.is_empty()),
        };
        println!(
            "  node-{n}: {} lines by ipvsadm, {} planned",
            seen.len(),
            planned.len()
        );
        for line in different.iter().take(8) {
            let who = if planned.contains(*line) {
                "the plan"
            } else {
                "ipvsadm"
            };
            println!("    FAIL only {who} has {line}");
        }
    }
    Ok(tally)
}

fn run_scenarios(cluster: &mut Cluster, words: &[String]) -> Result<Tally> {
    let chosen: Vec<_> = scenarios()
        .into_iter()
        .filter(|s| wanted(words, "scenarios", "", s.name))
        .collect();
    if chosen.is_empty() {
        return Ok(Tally::default());
    }
    cluster.start_agents(&cluster_cidr_flags())?;
    let mut tally = Tally {
        all: chosen.len(),
        failed: 0,
    };
    for scenario in chosen {
        let begun = Instant::now();
        let result = (scenario.run)(cluster);
        let seconds = begun.elapsed().as_secs_f64();
        match result {
            Ok(()) => println!("  {}: good, {seconds:.1} s", scenario.name),
            Err(e) => {
                tally.failed += 1;
                println!(
                    "  FAIL {}: {e:#}, {seconds:.1} s\n{}",
                    scenario.name,
                    cluster.logs()
                );
                // Whatever it left behind must not fail the next one.
                cluster.remove("scenario");
                cluster.start_agents(&cluster_cidr_flags())?;
            }
        }
    }
    Ok(tally)
}
