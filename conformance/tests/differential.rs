// SPDX-License-Identifier: Apache-2.0
//! ferrule against kube-proxy's recorded answers: no Kubernetes is needed for that.
//!
//! First every recorded probe is asked and must be answered as it was by kube-proxy. Then ferrule's
//! rules are made wrong in ten ways and more, one after the other, and each must be noticed.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use ferrule_conformance::cases::cluster_cidr_flags;
use ferrule_conformance::differential::allowed;
use ferrule_conformance::differential::ask::Effort;
use ferrule_conformance::differential::fault::{FAULTS, Fault, remove_tables};
use ferrule_conformance::differential::record::{Recording, directory, load};
use ferrule_conformance::differential::rig::Difference;
use ferrule_conformance::differential::world::World;

/// How many of the parts there were failed.
#[derive(Default)]
struct Tally {
    all: usize,
    failed: usize,
}

impl Tally {
    fn add(&mut self, good: bool) {
        self.all += 1;
        self.failed += usize::from(!good);
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(Tally { all, failed }) => {
            let word = if failed == 0 { "ok" } else { "FAILED" };
            let passed = all - failed;
            println!("\ntest result: {word}. {passed} passed; {failed} failed; 0 ignored");
            ExitCode::from(u8::from(failed > 0))
        }
        Err(e) => {
            eprintln!("error: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<Tally> {
    ferrule_conformance::interrupt::clean_up()?;
    let mut tally = Tally::default();
    if !ferrule_conformance::privileged()? {
        return Ok(tally);
    }
    let recordings = load(&directory())?;
    let mut world = World::build()?;
    // The agents start with the first recording's objects.
    world.cluster.start_agents(&cluster_cidr_flags())?;
    for (name, recording) in &recordings {
        let begun = Instant::now();
        recording.install(&mut world)?;
        let differences = unexplained(recording.compare(&world, Effort::Thorough)?)?;
        for difference in &differences {
            println!("FAIL {name}: {difference}");
        }
        println!(
            "recorded {name}: {} cases, {} probes, {} differ, {:.1} s",
            recording.cases.len(),
            recording.probes(),
            differences.len(),
            begun.elapsed().as_secs_f64()
        );
        tally.add(differences.is_empty());
    }
    let begun = Instant::now();
    for fault in FAULTS {
        tally.add(notices(&mut world, &fault, &recordings)?);
    }
    println!(
        "{} faults, {:.1} s",
        FAULTS.len(),
        begun.elapsed().as_secs_f64()
    );
    Ok(tally)
}

fn unexplained(mut differences: Vec<Difference>) -> Result<Vec<Difference>> {
    let allowed = allowed::list()?;
    differences.retain(|d| !allowed.iter().any(|a| a.covers(d)));
    Ok(differences)
}

/// Whether one of the recordings shows that something is wrong.
fn notices(world: &mut World, fault: &Fault, recordings: &[(String, Recording)]) -> Result<bool> {
    let mut found = Vec::new();
    // The last one is still there from the comparison, or from the fault before.
    for (name, recording) in recordings.iter().rev() {
        if found.is_empty() {
            recording.install(world)?;
            fault.apply(world)?;
            found = unexplained(recording.compare(world, Effort::Quick)?)?;
            println!(
                "fault: {}: {} probes of {name} differ",
                fault.name,
                found.len()
            );
            world.cluster.stop_all();
            remove_tables(world)?;
            world.cluster.start_agents(&cluster_cidr_flags())?;
        }
    }
    if found.is_empty() {
        println!("FAIL {}: not noticed", fault.name);
    }
    Ok(!found.is_empty())
}
