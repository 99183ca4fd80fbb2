// SPDX-License-Identifier: Apache-2.0
//! Asks all probes at once, in one world or in two alike, until chance can't be the reason for a
//! difference any more.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

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

/// How hard it is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// Until neither chance nor a slow machine can be the reason for a difference.
    Thorough,
    /// Just enough to see that something is wrong.
    Quick,
}

/// Times that lost answers are asked for again.
const AGAIN: usize = 3;
/// How long a client waits then: on a machine with too much to do, silence takes time to be sure of.
const LONG: Duration = Duration::from_secs(5);
const SILENCE: &str = "silence";

/// Connections so that an endpoint more than those seen would be missed once in 500 times. So rare
/// a miss hides a difference, and never makes one: where sets differ, more is asked. Silence may be
/// that of one endpoint only.
fn enough(seen: usize, silence: bool) -> usize {
    match seen {
        0 if silence => 20,
        n => [2, 9, 15, 21, 28, 34, 40][n.min(6)],
    }
}

/// Asks each probe in each world. `known` are the answers that count as seen beforehand, or nothing.
/// The outcomes are per world, in the order of the probes.
///
/// # Errors
/// If a namespace cannot be entered.
pub fn ask(
    worlds: &[&World],
    probes: &[Probe],
    known: &[Outcome],
    effort: Effort,
) -> Result<Vec<Vec<Outcome>>> {
    let mut tallies = vec![vec![Tally::default(); probes.len()]; worlds.len()];
    let (sticky, plain): (Vec<_>, Vec<_>) =
        (0..probes.len()).partition(|i| probes[*i].sticky.is_some());
    let mut jobs: Vec<(usize, usize)> = plain.iter().map(|i| (*i, 2)).collect();
    for _ in 0..6 {
        connect(worlds, probes, &jobs, &mut tallies, PATIENCE)?;
        let more =
            |i: &usize| Some((*i, more(&tallies, known.get(*i), *i, effort))).filter(|m| m.1 > 0);
        jobs = plain.iter().filter_map(more).collect();
        if jobs.is_empty() {
            break;
        }
    }
    ask_sticky(worlds, probes, &sticky, &mut tallies, PATIENCE)?;
    if effort == Effort::Thorough {
        find_lost(worlds, probes, &mut tallies)?;
    }
    let outcome = |t: Tally| Outcome {
        seen: t.seen,
        sticky: t.sticky,
    };
    Ok(tallies
        .into_iter()
        .map(|w| w.into_iter().map(outcome).collect())
        .collect())
}

/// How many connections more a probe needs.
fn more(tallies: &[Vec<Tally>], known: Option<&Outcome>, i: usize, effort: Effort) -> usize {
    let mut union: BTreeSet<&str> = known.map(endpoints).unwrap_or_default();
    tallies
        .iter()
        .for_each(|t| union.extend(endpoints_of(&t[i].seen)));
    let first = &tallies[0][i];
    let silence = effort == Effort::Thorough && tallies.iter().any(|t| t[i].seen.contains(SILENCE));
    let missing = enough(union.len(), silence).saturating_sub(first.asked);
    let differs = tallies.iter().any(|t| t[i].seen != first.seen)
        || known.is_some_and(|k| k.seen != first.seen);
    let limit = if union.is_empty() { 4 } else { 2 * SURE };
    match missing {
        0 if effort == Effort::Thorough && differs && first.asked < limit => {
            if union.is_empty() {
                2
            } else {
                SURE
            }
        }
        n => n,
    }
}

/// Where some connections were answered and some were not, the machine may just have been slow: all
/// are made again, with more time. Whatever stays silent then is silent.
fn find_lost(worlds: &[&World], probes: &[Probe], tallies: &mut [Vec<Tally>]) -> Result<()> {
    for _ in 0..AGAIN {
        let lost = |t: &Tally| t.seen.contains(SILENCE) && t.seen.len() > 1;
        let some: Vec<usize> = (0..probes.len())
            .filter(|i| tallies.iter().any(|t| lost(&t[*i])))
            .collect();
        if some.is_empty() {
            break;
        }
        for of_world in tallies.iter_mut() {
            some.iter().for_each(|i| {
                of_world[*i].seen.remove(SILENCE);
                of_world[*i].sticky = None;
            });
        }
        let (sticky, plain): (Vec<_>, Vec<_>) =
            some.into_iter().partition(|i| probes[*i].sticky.is_some());
        let jobs: Vec<_> = plain.iter().map(|i| (*i, 2 * enough(0, true))).collect();
        connect(worlds, probes, &jobs, tallies, LONG)?;
        ask_sticky(worlds, probes, &sticky, tallies, LONG)?;
    }
    Ok(())
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
fn dial_all(
    worlds: &[&World],
    probes: &[Probe],
    tasks: Vec<Task>,
    limit: Duration,
) -> Result<Vec<(Task, Answer)>> {
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
                    .and_then(|n| dial_at_once(n, &attempts, limit, WINDOW));
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
    limit: Duration,
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
    for ((world, probe, _, attempt), answer) in dial_all(worlds, probes, tasks, limit)? {
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
    limit: Duration,
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
        for ((world, probe, client, attempt), answer) in dial_all(worlds, probes, tasks, limit)? {
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
