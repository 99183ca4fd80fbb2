// SPDX-License-Identifier: Apache-2.0
//! Asks all probes at once, in one world or in two alike, until chance can't be the reason for a
//! difference any more.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Result;

use super::dial::{Task, attempt, clients, dial_all};
use super::health;
use super::outcome::{Outcome, answered, endpoint, word};
use super::probe::{From, Frontend, Probe};
use super::world::World;
use crate::client::PATIENCE;

/// Waves of connections at most; each takes as long as silence does.
const WAVES: usize = 6;
/// Connections of each client of a sticky probe.
const TWICE_AGAIN: usize = 3;
/// Connections in addition where two worlds differ: chance misses one of four endpoints once in
/// 30 million times.
const SURE: usize = 60;
/// Times that lost answers are asked for again.
const AGAIN: usize = 3;
/// How long a client waits then: on a machine with too much to do, silence takes time to be sure of.
const LONG: Duration = Duration::from_secs(5);
const SILENCE: &str = "silence";

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
    /// One wave, just enough to see that something is wrong.
    Quick,
}

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
    let mut asking = Asking {
        worlds,
        probes,
        known,
        effort,
        tallies: vec![vec![Tally::default(); probes.len()]; worlds.len()],
    };
    let jobs: Vec<_> = (0..probes.len()).map(|i| (i, asking.first(i))).collect();
    asking.waves(jobs, PATIENCE)?;
    if effort == Effort::Thorough {
        asking.find_lost()?;
    }
    let outcome = |t: Tally| Outcome {
        seen: t.seen,
        sticky: t.sticky,
    };
    Ok(asking
        .tallies
        .into_iter()
        .map(|w| w.into_iter().map(outcome).collect())
        .collect())
}

/// The answers of each client of a sticky probe, by world, probe and client.
type Words = BTreeMap<(usize, usize, usize), Vec<String>>;

struct Asking<'a> {
    worlds: &'a [&'a World],
    probes: &'a [Probe],
    known: &'a [Outcome],
    effort: Effort,
    tallies: Vec<Vec<Tally>>,
}

impl Asking<'_> {
    /// How many connections a plain probe begins with.
    fn first(&self, i: usize) -> usize {
        match (self.probes[i].frontend, self.known.get(i)) {
            (Frontend::HealthCheck, _) => 1,
            (Frontend::UnusedPort | Frontend::Unallocated, _) => 2,
            (_, Some(known)) => enough(endpoints_of(&known.seen).count(), false),
            (_, None) => enough(1, false),
        }
    }

    /// How many connections more a plain probe needs.
    fn more(&self, i: usize) -> usize {
        if self.effort == Effort::Quick {
            return 0;
        }
        let first = &self.tallies[0][i];
        let all = self.tallies.iter().map(|t| &t[i].seen);
        let known = self.known.get(i).map(|k| &k.seen);
        let union: BTreeSet<&str> = all.clone().chain(known).flat_map(endpoints_of).collect();
        // Nobody was ever behind these.
        let closed = matches!(
            self.probes[i].frontend,
            Frontend::UnusedPort | Frontend::Unallocated
        );
        let silence = !closed && all.clone().any(|seen| seen.contains(SILENCE));
        let missing = enough(union.len(), silence).saturating_sub(first.asked);
        let (limit, step) = match union.len() {
            0 => (4, 2),
            _ => (2 * SURE, SURE),
        };
        if missing == 0 && self.differs(i) && first.asked < limit {
            step
        } else {
            missing
        }
    }

    /// Whether the worlds have not seen the same so far, or not what was known.
    fn differs(&self, i: usize) -> bool {
        let first = &self.tallies[0][i];
        let other = |t: &Vec<Tally>| t[i].seen != first.seen || t[i].sticky != first.sticky;
        self.tallies.iter().any(other) || self.known.get(i).is_some_and(|k| k.seen != first.seen)
    }

    /// Makes the connections of these jobs, which are probes and numbers of connections, and then as
    /// many more as it takes. Clients of sticky probes connect once in each of the first waves.
    fn waves(&mut self, jobs: Vec<(usize, usize)>, limit: Duration) -> Result<()> {
        let (sticky, mut jobs): (Vec<_>, Vec<_>) = jobs
            .into_iter()
            .partition(|(i, _)| self.probes[*i].sticky.is_some());
        let plain: Vec<usize> = jobs.iter().map(|(i, _)| *i).collect();
        let all_clients: Vec<_> = sticky
            .iter()
            .map(|(i, _)| (*i, clients(&self.probes[*i])))
            .collect();
        let mut words = Words::new();
        for wave in 0..WAVES {
            let mut tasks = self.tasks(&jobs)?;
            if wave < TWICE_AGAIN {
                for (probe, sources) in &all_clients {
                    tasks.extend(self.sticky_tasks(*probe, sources));
                }
            }
            if tasks.is_empty() && jobs.is_empty() {
                break;
            }
            self.connect(tasks, limit, &mut words)?;
            let more = plain.iter().map(|i| (*i, self.more(*i)));
            jobs = more.filter(|(_, times)| *times > 0).collect();
        }
        self.judge_sticky(words);
        Ok(())
    }

    /// The connections of plain probes. Health checks are answered here and now.
    fn tasks(&mut self, jobs: &[(usize, usize)]) -> Result<Vec<Task>> {
        let mut tasks = Vec::new();
        for (world, of_world) in self.tallies.iter_mut().enumerate() {
            for (probe, times) in jobs {
                let asked = &self.probes[*probe];
                of_world[*probe].asked += times;
                if asked.frontend == Frontend::HealthCheck {
                    let namespace = self.worlds[world].namespace(&asked.from)?;
                    // It changes with time: the latest counts.
                    of_world[*probe].seen = BTreeSet::from([health::get(namespace, asked.to)?]);
                    continue;
                }
                let task = Task {
                    world,
                    probe: *probe,
                    client: 0,
                    attempt: attempt(asked, None),
                };
                tasks.extend(std::iter::repeat_n(task, *times));
            }
        }
        Ok(tasks)
    }

    /// One connection of each client in each world.
    fn sticky_tasks(&self, probe: usize, sources: &[Option<std::net::IpAddr>]) -> Vec<Task> {
        let mut tasks = Vec::new();
        for world in 0..self.worlds.len() {
            for (client, source) in sources.iter().enumerate() {
                tasks.push(Task {
                    world,
                    probe,
                    client,
                    attempt: attempt(&self.probes[probe], *source),
                });
            }
        }
        tasks
    }

    fn connect(&mut self, tasks: Vec<Task>, limit: Duration, words: &mut Words) -> Result<()> {
        for (task, answer) in dial_all(self.worlds, self.probes, tasks, limit)? {
            let word = word(&answer, task.attempt.source);
            if self.probes[task.probe].sticky.is_some() {
                let client = (task.world, task.probe, task.client);
                words.entry(client).or_default().push(word);
            } else {
                self.tallies[task.world][task.probe].seen.insert(word);
            }
        }
        Ok(())
    }

    /// Each client connected once, and then twice again: those two and the first must agree. Where
    /// a node's own address races through several frontends at first, the last two must.
    fn judge_sticky(&mut self, words: Words) {
        for ((world, probe, _), words) in words {
            let tally = &mut self.tallies[world][probe];
            let own = matches!(self.probes[probe].from, From::Node(_));
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
    }

    /// Where some connections were answered and some were not, the machine may just have been slow:
    /// all are made again, with more time, and again where that leaves a difference. Whatever stays
    /// silent then is silent.
    fn find_lost(&mut self) -> Result<()> {
        for turn in 0..AGAIN {
            let lost = |t: &Tally| t.seen.contains(SILENCE) && t.seen.len() > 1;
            let some: Vec<usize> = (0..self.probes.len())
                .filter(|i| self.tallies.iter().any(|t| lost(&t[*i])))
                .filter(|i| turn == 0 || self.differs(*i))
                .collect();
            if some.is_empty() {
                break;
            }
            for of_world in &mut self.tallies {
                for i in &some {
                    of_world[*i].seen.remove(SILENCE);
                    of_world[*i].sticky = None;
                }
            }
            let jobs = some.into_iter().map(|i| (i, 2 * enough(0, true)));
            self.waves(jobs.collect(), LONG)?;
        }
        Ok(())
    }
}

fn endpoints_of(seen: &BTreeSet<String>) -> impl Iterator<Item = &str> {
    seen.iter().filter(|w| answered(w)).map(|w| endpoint(w))
}
