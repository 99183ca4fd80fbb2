// SPDX-License-Identifier: Apache-2.0
//! The API server, both worlds and both proxies; rounds of cases in them.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tempfile::TempDir;

use super::allowed::Allowed;
use super::api::Api;
use super::ask::{Effort, ask};
use super::fault::{Fault, remove_tables};
use super::outcome::Outcome;
use super::probe::{Probe, probes};
use super::proxies::{Proxies, check_programs};
use super::render::{Placed, Round};
use super::spec::Case;
use super::world::World;

/// Times that a difference is looked at again before it counts.
const AGAIN: usize = 2;
/// How long the proxies may take for a round.
const APPLY: Duration = Duration::from_secs(180);
/// The same when they have just been started, and how often that is tried with other zones.
const BEGIN: Duration = Duration::from_secs(30);
const BEGINNINGS: u32 = 4;

/// Where the two proxies do not do the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// What was asked.
    pub probe: Probe,
    /// What happened in kube-proxy's world.
    pub kube_proxy: Outcome,
    /// What happened in ours.
    pub ferrule: Outcome,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}", self.probe)?;
        writeln!(f, "  kube-proxy: {}", self.kube_proxy)?;
        write!(f, "  ferrule:    {}", self.ferrule)
    }
}

/// What came of a case.
#[derive(Debug, Default)]
pub struct Report {
    /// Its objects.
    pub objects: Vec<Value>,
    /// What the API server said against it, if it refused something. Then nothing was asked.
    pub refused: Option<String>,
    /// What was asked, and what happened in kube-proxy's world.
    pub answers: Vec<(Probe, Outcome)>,
    /// Differences.
    pub differences: Vec<Difference>,
}

/// Everything that runs. Dropping it removes all of it.
pub struct Rig {
    proxies: Proxies,
    worlds: [World; 2],
    api: Api,
    directory: TempDir,
    allowed: Vec<Allowed>,
    fault: Option<Fault>,
    round: u32,
    next: u16,
}

impl Rig {
    /// Starts it all. Differences of the list are reported without being looked at again.
    ///
    /// # Errors
    /// If a program is missing or something does not come up.
    pub fn start(allowed: Vec<Allowed>) -> Result<Self> {
        check_programs()?;
        let directory = tempfile::Builder::new()
            .prefix("ferrule-differential-")
            .tempdir()?;
        crate::interrupt::remove_later(directory.path().to_owned());
        let worlds = [World::build()?, World::build()?];
        let api = Api::start(directory.path())?;
        let round = Round {
            number: 1,
            zones: [0, 1, 1],
        };
        round.nodes().iter().try_for_each(|node| api.update(node))?;
        let proxies = Proxies::start(&api, &worlds, directory.path())?;
        let mut rig = Self {
            proxies,
            worlds,
            api,
            directory,
            allowed,
            fault: None,
            round: 1,
            next: 1,
        };
        rig.begin(round).context("start")?;
        Ok(rig)
    }

    /// Waits for the proxies that were started. kube-proxy reads its Node before it looks after the
    /// zone (`NewNodeTopologyConfig`, then `RegisterEventHandler`), and may so miss it until it
    /// changes: hence the further rounds.
    fn begin(&mut self, mut round: Round) -> Result<()> {
        for _ in 1..BEGINNINGS {
            if self.settle(&round, BEGIN).is_ok() {
                return Ok(());
            }
            round = self.next_round(round.zones)?;
        }
        self.settle(&round, APPLY)
    }

    /// Gives the Nodes the zones of a new round.
    fn next_round(&mut self, zones: [u8; 3]) -> Result<Round> {
        self.round += 1;
        let round = Round {
            number: self.round,
            zones,
        };
        let nodes = round.nodes();
        nodes.iter().try_for_each(|node| self.api.update(node))?;
        Ok(round)
    }

    /// Waits until both proxies have applied everything. If they take too long, logs stay.
    fn settle(&mut self, round: &Round, limit: Duration) -> Result<()> {
        let (api, worlds) = (&self.api, &self.worlds);
        let settled = self.proxies.settle(api, worlds, round, limit);
        if settled.is_err() && limit == APPLY {
            self.keep();
        }
        settled
    }

    /// Where logs are.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Puts this fault into ferrule's rules in each round from now on, or none.
    pub fn set_fault(&mut self, fault: Option<Fault>) {
        self.fault = fault;
    }

    /// Starts ferrule again, on nodes without rules of its own.
    fn restart_ours(&mut self) -> Result<()> {
        self.proxies.stop_ours();
        remove_tables(&self.worlds[1])?;
        self.proxies
            .start_ours(&self.worlds[1], self.directory.path())
    }

    /// Leaves the logs behind and tells where.
    pub fn keep(&mut self) -> &Path {
        self.directory.disable_cleanup(true);
        self.directory.path()
    }

    /// Runs cases at the same time, each with the probes of its seeds, and tells what came of each.
    /// A fault is put into the rules when the proxies have applied all of it.
    ///
    /// # Errors
    /// If something breaks. Differences are no errors.
    pub fn round(
        &mut self,
        cases: &[(Case, Vec<u64>)],
        zones: [u8; 3],
    ) -> Result<(Round, Vec<Report>)> {
        let round = self.next_round(zones)?;
        let mut reports: Vec<Report> = Vec::new();
        let mut asked: Vec<(usize, Probe)> = Vec::new();
        for (n, (case, seeds)) in cases.iter().enumerate() {
            let placed = self.place(case.clone());
            let objects = placed.objects(&round);
            let mut all: Vec<_> = seeds
                .iter()
                .flat_map(|seed| probes(&placed, *seed))
                .collect();
            all.sort();
            all.dedup();
            asked.extend(all.into_iter().map(|p| (n, p)));
            reports.push(Report {
                objects,
                ..Report::default()
            });
        }
        self.create(&mut reports)?;
        asked.retain(|(n, _)| reports[*n].refused.is_none());
        self.settle(&round, APPLY)?;
        if let Some(fault) = self.fault {
            fault.apply(&self.worlds[1])?;
        }
        self.compare(&asked, &mut reports)?;
        if self.fault.is_some() {
            self.restart_ours()?;
        }
        self.api.remove_round(round.number)?;
        Ok((round, reports))
    }

    fn place(&mut self, case: Case) -> Placed {
        let base = self.next;
        self.next += case.services.len() as u16;
        if self.next > 50_000 {
            self.next = 1;
        }
        Placed { case, base }
    }

    fn create(&self, reports: &mut [Report]) -> Result<()> {
        let all: Vec<Value> = reports.iter().flat_map(|r| r.objects.clone()).collect();
        let mut answers = self.api.create(&all)?.into_iter();
        for report in reports {
            for object in &report.objects {
                let Some(answer) = answers.next() else {
                    bail!("an answer is missing")
                };
                if let Err(e) = answer {
                    let text = format!("{} {}: {e:#}", object["kind"], object["metadata"]["name"]);
                    report.refused.get_or_insert(text);
                }
            }
        }
        Ok(())
    }

    fn compare(&self, asked: &[(usize, Probe)], reports: &mut [Report]) -> Result<()> {
        let worlds = [&self.worlds[0], &self.worlds[1]];
        let all: Vec<Probe> = asked.iter().map(|(_, p)| p.clone()).collect();
        let mut outcomes = ask(&worlds, &all, &[], Effort::Thorough)?;
        for _ in 0..AGAIN {
            let differ: Vec<usize> = (0..all.len())
                .filter(|i| outcomes[0][*i] != outcomes[1][*i])
                .filter(|i| {
                    let outcomes = [outcomes[0][*i].clone(), outcomes[1][*i].clone()];
                    let difference = difference(&all[*i], outcomes);
                    let objects = &reports[asked[*i].0].objects;
                    self.intended(&difference, objects).is_none()
                })
                .collect();
            if differ.is_empty() {
                break;
            }
            let some: Vec<_> = differ.iter().map(|i| all[*i].clone()).collect();
            let again = ask(&worlds, &some, &[], Effort::Thorough)?;
            for (n, i) in differ.into_iter().enumerate() {
                outcomes[0][i] = again[0][n].clone();
                outcomes[1][i] = again[1][n].clone();
            }
        }
        let pairs = outcomes[0].iter().zip(&outcomes[1]);
        for ((n, probe), (theirs, ours)) in asked.iter().zip(pairs) {
            reports[*n].answers.push((probe.clone(), theirs.clone()));
            if theirs != ours {
                let differs = difference(probe, [theirs.clone(), ours.clone()]);
                reports[*n].differences.push(differs);
            }
        }
        Ok(())
    }

    /// The entry of the list that covers a difference between such objects.
    pub fn intended(&self, difference: &Difference, objects: &[Value]) -> Option<&Allowed> {
        self.allowed.iter().find(|a| a.covers(difference, objects))
    }

    /// The differences of a report that no entry of the list covers.
    pub fn unexplained<'a>(&self, report: &'a Report) -> Vec<&'a Difference> {
        let all = report.differences.iter();
        all.filter(|d| self.intended(d, &report.objects).is_none())
            .collect()
    }

    /// Creates what [`manifest`](super::render::manifest) printed once more, and removes it.
    ///
    /// # Errors
    /// If it is no JSON, or the API server refuses an object, naming it.
    pub fn apply(&self, manifest: &str, round: &Round) -> Result<()> {
        let list: Value = serde_json::from_str(manifest)?;
        let items = list["items"].as_array().context("no list")?;
        let own = |o: &&Value| o["kind"] != "Node" && o["kind"] != "Namespace";
        let objects: Vec<Value> = items.iter().filter(own).cloned().collect();
        for (answer, object) in self.api.create(&objects)?.into_iter().zip(&objects) {
            answer.with_context(|| format!("{} {}", object["kind"], object["metadata"]["name"]))?;
        }
        self.api.remove_round(round.number)
    }
}

fn difference(probe: &Probe, [kube_proxy, ferrule]: [Outcome; 2]) -> Difference {
    Difference {
        probe: probe.clone(),
        kube_proxy,
        ferrule,
    }
}
