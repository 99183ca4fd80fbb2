// SPDX-License-Identifier: Apache-2.0
//! ferrule against kube-proxy's recorded answers: no Kubernetes is needed for that.
//!
//! Every recorded probe is asked and must be answered as it was by kube-proxy. And ferrule's rules
//! are made wrong in ten ways and more, one after the other, each of which must be noticed. Most of
//! the time is waiting for silence: so there are two worlds that share the work.

use std::collections::VecDeque;
use std::process::ExitCode;
use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use anyhow::{Result, anyhow};
use ferrule_conformance::cases::cluster_cidr_flags;
use ferrule_conformance::differential::allowed::{self, Allowed};
use ferrule_conformance::differential::fault::{FAULTS, Fault, remove_tables};
use ferrule_conformance::differential::record::{Recording, directory, load};
use ferrule_conformance::differential::world::World;

/// Worlds that share the work.
const WORLDS: usize = 2;

type Recordings = [(String, Recording)];

/// A part of the test.
#[derive(Clone, Copy)]
enum Job {
    /// All answers of a recording.
    Compare(usize),
    /// A fault must be noticed.
    Notice(Fault),
}

fn main() -> ExitCode {
    match run() {
        Ok(results) => {
            let all = results.len();
            let failed = results.iter().filter(|good| !**good).count();
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

/// Whether each part went well.
fn run() -> Result<Vec<bool>> {
    ferrule_conformance::interrupt::clean_up()?;
    if !ferrule_conformance::privileged()? {
        return Ok(Vec::new());
    }
    let (recordings, allowed) = (load(&directory())?, allowed::list()?);
    let compare = (0..recordings.len()).map(Job::Compare);
    let mut jobs: VecDeque<Job> = compare.chain(FAULTS.map(Job::Notice)).collect();
    jobs.retain(wanted);
    let jobs = Mutex::new(jobs);
    if lock(&jobs).is_empty() {
        return Ok(Vec::new());
    }
    let work = || work(&jobs, &recordings, &allowed);
    let all = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..WORLDS).map(|_| scope.spawn(work)).collect();
        let result = |w: std::thread::ScopedJoinHandle<'_, Result<Vec<bool>>>| {
            w.join().map_err(|_| anyhow!("a thread panicked"))?
        };
        workers.into_iter().map(result).collect::<Result<Vec<_>>>()
    })?;
    Ok(all.concat())
}

/// Whether a part has one of the command line's words in its name, if there are any, as tests have.
fn wanted(job: &Job) -> bool {
    let name = match job {
        Job::Compare(n) => format!("differential recorded {:02}", n + 1),
        Job::Notice(fault) => format!("differential fault {}", fault.name),
    };
    let words = std::env::args().skip(1).filter(|a| !a.starts_with('-'));
    let words: Vec<String> = words.collect();
    words.is_empty() || words.iter().any(|w| name.contains(w))
}

/// Does what there is to do, in a world of its own.
fn work(
    jobs: &Mutex<VecDeque<Job>>,
    recordings: &Recordings,
    allowed: &[Allowed],
) -> Result<Vec<bool>> {
    let mut world = World::build()?;
    world.cluster.start_agents(&cluster_cidr_flags())?;
    let mut results = Vec::new();
    let next = || lock(jobs).pop_front();
    while let Some(job) = next() {
        results.push(match job {
            Job::Compare(n) => compare(&mut world, &recordings[n], allowed)?,
            Job::Notice(fault) => notices(&mut world, &fault, recordings, allowed)?,
        });
    }
    Ok(results)
}

fn lock(jobs: &Mutex<VecDeque<Job>>) -> MutexGuard<'_, VecDeque<Job>> {
    jobs.lock().unwrap_or_else(|e| e.into_inner())
}

fn compare(
    world: &mut World,
    (name, recording): &(String, Recording),
    allowed: &[Allowed],
) -> Result<bool> {
    let begun = Instant::now();
    recording.install(world)?;
    let differences = recording.compare(world, allowed)?;
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
    Ok(differences.is_empty())
}

/// Whether one of the recordings shows that something is wrong.
fn notices(
    world: &mut World,
    fault: &Fault,
    recordings: &Recordings,
    allowed: &[Allowed],
) -> Result<bool> {
    let begun = Instant::now();
    for (name, recording) in recordings {
        recording.install(world)?;
        // Nobody repairs the rules then.
        world.cluster.stop_all();
        fault.apply(world)?;
        let alarms = recording.alarms(world, allowed)?;
        remove_tables(world)?;
        world.cluster.start_agents(&cluster_cidr_flags())?;
        if alarms > 0 {
            let seconds = begun.elapsed().as_secs_f64();
            println!(
                "fault: {}: {alarms} probes of {name} differ, {seconds:.1} s",
                fault.name
            );
            return Ok(true);
        }
    }
    println!("FAIL {}: not noticed", fault.name);
    Ok(false)
}
