// SPDX-License-Identifier: Apache-2.0
//! Asks all probes at once, in one world or in two alike, until chance can't be the reason for a
//! difference any more.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Result, anyhow};
use ferrule::model::IpFamily;

use super::health;
use super::outcome::{Outcome, answered, endpoint, word};
use super::probe::{From, Frontend, Probe};
use super::render::node_of;
use super::world::{ALIASES, World, alias};
use crate::client::{Answer, Attempt, PATIENCE, dial_at_once};
use crate::netns::{client_address, client_alias};

/// Connections under way at a time from one place.
const WINDOW: usize = 256;
/// Clients of a sticky probe. One endpoint of three is missed by all once in 16,000 times, and such
/// a difference is looked at again.
const CLIENTS: u16 = 24;
/// Connections in addition where two worlds differ: chance misses one of four endpoints once in
/// 30 million times.
const SURE: usize = 60;

/// The next client address outside that no sticky probe had.
static NEXT: AtomicU16 = AtomicU16::new(100);

/// The probe while it is asked in one world.
#[derive(Debug, Clone, Default)]
struct Tally {
    seen: BTreeSet<String>,
    asked: usize,
    sticky: Option<bool>,
}

/// Connections so that an endpoint more than those seen would be missed once in 500 times. So rare
/// a miss hides a difference, and never makes one: where sets differ, more is asked.
fn enough(seen: usize) -> usize {
    [2, 9, 15, 21, 28, 34, 40][seen.min(6)]
}

/// Asks each probe in each world. `known` are the answers that count as seen beforehand, or nothing.
/// The outcomes are per world, in the order of the probes.
///
/// # Errors
/// If a namespace cannot be entered.
pub fn ask(worlds: &[&World], probes: &[Probe], known: &[Outcome]) -> Result<Vec<Vec<Outcome>>> {
    let mut tallies = vec![vec![Tally::default(); probes.len()]; worlds.len()];
    let sticky: Vec<usize> = (0..probes.len())
        .filter(|i| probes[*i].sticky.is_some())
        .collect();
    let plain: Vec<usize> = (0..probes.len()).filter(|i| !sticky.contains(i)).collect();
    let mut jobs: Vec<(usize, usize)> = plain.iter().map(|i| (*i, 2)).collect();
    for wave in 0..6 {
        connect(worlds, probes, &jobs, &mut tallies)?;
        jobs.clear();
        for i in &plain {
            let mut union: BTreeSet<&str> = known.get(*i).map(endpoints).unwrap_or_default();
            tallies
                .iter()
                .for_each(|t| union.extend(endpoints_of(&t[*i].seen)));
            let asked = tallies[0][*i].asked;
            let differs = tallies.iter().any(|t| t[*i].seen != tallies[0][*i].seen)
                || known.get(*i).is_some_and(|k| k.seen != tallies[0][*i].seen);
            let mut more = match union.len() {
                0 => 0,
                n => enough(n).saturating_sub(asked),
            };
            if more == 0 && differs && wave < 5 && asked < 2 * SURE {
                more = if union.is_empty() { 2 } else { SURE };
            }
            if more > 0 {
                jobs.push((*i, more));
            }
        }
        if jobs.is_empty() {
            break;
        }
    }
    ask_sticky(worlds, probes, &sticky, &mut tallies)?;
    let outcome = |t: Tally| Outcome {
        seen: t.seen,
        sticky: t.sticky,
    };
    Ok(tallies
        .into_iter()
        .map(|w| w.into_iter().map(outcome).collect())
        .collect())
}

fn endpoints(outcome: &Outcome) -> BTreeSet<&str> {
    endpoints_of(&outcome.seen).collect()
}

fn endpoints_of(seen: &BTreeSet<String>) -> impl Iterator<Item = &str> {
    seen.iter().filter(|w| answered(w)).map(|w| endpoint(w))
}

/// The attempt with the address that it comes from, for the words about it.
fn attempt(probe: &Probe, source: Option<IpAddr>) -> (Attempt, Option<IpAddr>) {
    let family = IpFamily::of(probe.to.ip());
    let via = if let From::Outside(n) = probe.from {
        n
    } else {
        0
    };
    let source = source.or(probe.source).or(match probe.from {
        From::Outside(_) => Some(client_address(family)),
        _ => None,
    });
    let attempt = Attempt {
        protocol: probe.protocol(),
        to: probe.to,
        source,
        via,
    };
    (attempt, source)
}

/// An attempt, and what it belongs to: world, probe and number of its client.
type Task = (usize, usize, usize, Attempt);

/// Makes connections from all places of all worlds at the same time.
fn dial_all(worlds: &[&World], probes: &[Probe], tasks: Vec<Task>) -> Result<Vec<(Task, Answer)>> {
    let mut places: BTreeMap<(usize, String), Vec<Task>> = BTreeMap::new();
    for task in tasks {
        let place = match &probes[task.1].from {
            From::Outside(_) => "outside".to_owned(),
            other => format!("{other:?}"),
        };
        places.entry((task.0, place)).or_default().push(task);
    }
    let (done, failed) = (Mutex::new(Vec::new()), Mutex::new(None));
    std::thread::scope(|scope| {
        for tasks in places.into_values() {
            let (done, failed) = (&done, &failed);
            scope.spawn(move || {
                let attempts: Vec<_> = tasks.iter().map(|t| t.3).collect();
                let answers = worlds[tasks[0].0]
                    .namespace(&probes[tasks[0].1].from)
                    .and_then(|n| dial_at_once(n, &attempts, PATIENCE, WINDOW));
                match answers {
                    Ok(answers) => {
                        let mut done = done.lock().unwrap_or_else(|e| e.into_inner());
                        done.extend(tasks.into_iter().zip(answers));
                    }
                    Err(e) => *failed.lock().unwrap_or_else(|e| e.into_inner()) = Some(e),
                }
            });
        }
    });
    match failed.into_inner().unwrap_or_else(|e| e.into_inner()) {
        Some(e) => Err(anyhow!(e)),
        None => Ok(done.into_inner().unwrap_or_else(|e| e.into_inner())),
    }
}

fn connect(
    worlds: &[&World],
    probes: &[Probe],
    jobs: &[(usize, usize)],
    tallies: &mut [Vec<Tally>],
) -> Result<()> {
    let mut tasks = Vec::new();
    for (world, of_world) in tallies.iter_mut().enumerate() {
        for (probe, times) in jobs {
            of_world[*probe].asked += times;
            if probes[*probe].frontend == Frontend::HealthCheck {
                let answer = health::get(
                    worlds[world].namespace(&probes[*probe].from)?,
                    probes[*probe].to,
                )?;
                // It changes with time: the latest counts.
                of_world[*probe].seen = BTreeSet::from([answer]);
                continue;
            }
            let (attempt, _) = attempt(&probes[*probe], None);
            tasks.extend(std::iter::repeat_n((world, *probe, 0, attempt), *times));
        }
    }
    for ((world, probe, _, attempt), answer) in dial_all(worlds, probes, tasks)? {
        tallies[world][probe]
            .seen
            .insert(word(&answer, attempt.source));
    }
    Ok(())
}

/// The addresses that a sticky probe comes from; a node has only its own, which it does not choose.
fn clients(probe: &Probe) -> Vec<Option<IpAddr>> {
    let family = IpFamily::of(probe.to.ip());
    match &probe.from {
        From::Node(_) => vec![None],
        From::Pod(name) => {
            let slot = probe.sticky.unwrap_or(0);
            let number = |k| (slot * CLIENTS + k) % ALIASES;
            (0..CLIENTS)
                .map(|k| Some(alias(family, node_of(name), number(k))))
                .collect()
        }
        From::Outside(_) => {
            let first = NEXT.fetch_add(CLIENTS, Ordering::Relaxed).max(100);
            (0..CLIENTS)
                .map(|k| Some(client_alias(family, first.wrapping_add(k).max(100))))
                .collect()
        }
    }
}

/// Each client connects once, and then twice again: those two and the first must agree. Where a
/// node's own address races through several frontends at first, the last two must.
fn ask_sticky(
    worlds: &[&World],
    probes: &[Probe],
    sticky: &[usize],
    tallies: &mut [Vec<Tally>],
) -> Result<()> {
    let all: Vec<(usize, Vec<Option<IpAddr>>)> =
        sticky.iter().map(|i| (*i, clients(&probes[*i]))).collect();
    let mut answers: BTreeMap<(usize, usize, usize), Vec<String>> = BTreeMap::new();
    for _ in 0..3 {
        let mut tasks = Vec::new();
        for world in 0..worlds.len() {
            for (probe, clients) in &all {
                for (n, source) in clients.iter().enumerate() {
                    tasks.push((world, *probe, n, attempt(&probes[*probe], *source).0));
                }
            }
        }
        for ((world, probe, client, attempt), answer) in dial_all(worlds, probes, tasks)? {
            let word = word(&answer, attempt.source);
            answers
                .entry((world, probe, client))
                .or_default()
                .push(word);
        }
    }
    for ((world, probe, _), words) in answers {
        let tally = &mut tallies[world][probe];
        let own = matches!(probes[probe].from, From::Node(_));
        let reached = words.iter().all(|w| answered(w));
        if reached {
            let same = words[1] == words[2] && (own || words[0] == words[1]);
            tally.sticky = Some(tally.sticky.unwrap_or(true) && same);
        }
        if own && reached {
            // One client has one endpoint, and which one is chance.
            tally.seen.insert("some endpoint saw something".to_owned());
        } else {
            tally.seen.extend(words);
        }
    }
    Ok(())
}
