// SPDX-License-Identifier: Apache-2.0
//! The packet table: every row with real packets, and through the tracer.
//!
//! `cargo test -p ferrule-conformance --test netns [WORD...]` runs the profiles, cases and
//! scenarios whose names hold one of the words.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::Result;
use ferrule::model::{IpFamily, Protocol};
use ferrule_conformance::case::{Case, Profile};
use ferrule_conformance::cases::{cluster_cidr_flags, profiles};
use ferrule_conformance::cluster::Cluster;
use ferrule_conformance::judge::Trial;
use ferrule_conformance::netns::Layout;
use ferrule_conformance::scenario::scenarios;
use ferrule_conformance::tracer::Tracer;

/// Rows that run at the same time. Most wait for time-outs.
const THREADS: usize = 16;

fn main() -> ExitCode {
    match judge() {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("{e:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs what the arguments ask for. Returns how much failed.
fn judge() -> Result<usize> {
    ferrule_conformance::interrupt::clean_up()?;
    let words: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| !a.starts_with('-'))
        .collect();
    let failures = trace(&words);
    match ferrule_conformance::privileged()? {
        true => Ok(failures + run(&words)?),
        false => Ok(failures),
    }
}

fn wanted(words: &[String], profile: &str, case: &str) -> bool {
    words.is_empty()
        || words
            .iter()
            .any(|w| profile.contains(w) || case.contains(w))
}

/// Runs the table through the tracer. Returns how many rows it sees differently.
fn trace(words: &[String]) -> usize {
    let mut wrong = 0;
    for profile in profiles() {
        let tracer = Tracer::new(&profile, 3);
        let chosen: Vec<&Case> = profile
            .cases
            .iter()
            .filter(|c| wanted(words, profile.name, c.name))
            .collect();
        for case in &chosen {
            for trial in trials(case) {
                if let Err(reason) = tracer.agrees(&trial) {
                    wrong += 1;
                    println!("FAIL tracer  {trial}: {reason}");
                }
            }
        }
        let rows: usize = chosen.iter().map(|c| trials(c).count()).sum();
        println!(
            "tracer  {}: {rows} rows in both families and all protocols",
            profile.name
        );
    }
    wrong
}

fn trials(case: &Case) -> impl Iterator<Item = Trial<'_>> {
    let combinations = IpFamily::ALL
        .into_iter()
        .flat_map(|f| Protocol::ALL.map(|p| (f, p)));
    combinations.flat_map(move |(family, protocol)| {
        let rows = case
            .rows
            .iter()
            .filter(move |r| r.only.is_none_or(|f| f == family));
        rows.map(move |row| Trial {
            case,
            row,
            family,
            protocol,
        })
    })
}

fn run(words: &[String]) -> Result<usize> {
    let begun = Instant::now();
    let mut cluster = Cluster::build(&Layout::default())?;
    println!(
        "built 3 nodes, 6 pods and a client in {} ms",
        begun.elapsed().as_millis()
    );
    let mut failures = 0;
    for profile in profiles() {
        let chosen: Vec<&Case> = profile
            .cases
            .iter()
            .filter(|c| wanted(words, profile.name, c.name))
            .collect();
        if !chosen.is_empty() {
            failures += run_profile(&mut cluster, &profile, &chosen)?;
        }
    }
    failures += run_scenarios(&mut cluster, words)?;
    println!("{failures} failures, {} s", begun.elapsed().as_secs());
    Ok(failures)
}

fn run_profile(cluster: &mut Cluster, profile: &Profile, chosen: &[&Case]) -> Result<usize> {
    let begun = Instant::now();
    for case in &profile.cases {
        cluster.write_services(case.name, &case.services)?;
        for service in case.services.iter().filter(|s| s.on_interface) {
            let add =
                IpFamily::ALL.map(|f| format!("addr replace {} dev lo", service.cluster_ip(f)));
            cluster.topology.nodes[0].ip(&add.join("\n"))?;
        }
    }
    cluster.start_agents(&profile.flags)?;
    println!(
        "{}: agents ready after {} ms",
        profile.name,
        begun.elapsed().as_millis()
    );
    let trials: Vec<_> = chosen.iter().flat_map(|c| trials(c)).collect();
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
    std::thread::scope(|s| (0..THREADS).for_each(|_| drop(s.spawn(work))));
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
    profile.cases.iter().for_each(|c| cluster.remove(c.name));
    Ok(failed.values().map(Vec::len).sum())
}

fn run_scenarios(cluster: &mut Cluster, words: &[String]) -> Result<usize> {
    let chosen: Vec<_> = scenarios()
        .into_iter()
        .filter(|s| wanted(words, "scenarios", s.name))
        .collect();
    if chosen.is_empty() {
        return Ok(0);
    }
    cluster.start_agents(&cluster_cidr_flags())?;
    let mut failures = 0;
    for scenario in chosen {
        let begun = Instant::now();
        let result = (scenario.run)(cluster);
        let seconds = begun.elapsed().as_secs_f64();
        match result {
            Ok(()) => println!("  {}: good, {seconds:.1} s", scenario.name),
            Err(e) => {
                failures += 1;
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
    Ok(failures)
}
