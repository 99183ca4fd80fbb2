// SPDX-License-Identifier: Apache-2.0
//! kube-proxy's answers as data files, and ferrule compared with them: that needs no Kubernetes.
//!
//! A file is a round: Nodes, Services and slices as they were written, and what happened to each
//! probe in kube-proxy's world.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::allowed::Allowed;
use super::ask::{Effort, ask};
use super::outcome::Outcome;
use super::probe::{Frontend, Probe};
use super::render::Round;
use super::rig::{Difference, Report};
use super::world::World;
use crate::netns::SERVICE_CIDRS;

/// Times that a difference is looked at again before it counts.
const AGAIN: usize = 2;

/// A probe and its answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Answered {
    /// What was asked.
    #[serde(flatten)]
    pub probe: Probe,
    /// What happened with kube-proxy.
    pub kube_proxy: Outcome,
}

/// A case.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Case {
    /// Services and slices.
    pub objects: Vec<Value>,
    /// Answers.
    pub answers: Vec<Answered>,
}

/// A file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Recording {
    /// Which kube-proxy.
    pub version: String,
    /// Node objects.
    pub nodes: Vec<Value>,
    /// Cases.
    pub cases: Vec<Case>,
}

/// The directory of the files in the source tree.
pub fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/recorded")
}

/// All files, by name.
///
/// # Errors
/// If one cannot be read, naming it; if there is none.
pub fn load(directory: &Path) -> Result<Vec<(String, Recording)>> {
    let entries = fs::read_dir(directory).with_context(|| directory.display().to_string())?;
    let mut files: Vec<PathBuf> = entries.map(|e| Ok(e?.path())).collect::<Result<_>>()?;
    files.retain(|f| f.extension().is_some_and(|e| e == "json"));
    files.sort();
    if files.is_empty() {
        bail!("no recorded answers in {}", directory.display());
    }
    let read = |file: PathBuf| {
        let read = || anyhow::Ok(serde_json::from_slice(&fs::read(&file)?)?);
        let name = file
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        Ok((name, read().with_context(|| file.display().to_string())?))
    };
    files.into_iter().map(read).collect()
}

/// Writes a round to a file.
///
/// # Errors
/// If it cannot be written.
pub fn save(file: &Path, version: &str, round: &Round, reports: Vec<Report>) -> Result<()> {
    let case = |report: Report| Case {
        objects: report.objects,
        answers: report
            .answers
            .into_iter()
            .map(|(probe, kube_proxy)| Answered { probe, kube_proxy })
            .collect(),
    };
    let recording = Recording {
        version: version.to_owned(),
        nodes: round.nodes(),
        cases: reports.into_iter().map(case).collect(),
    };
    let text = pretty(&serde_json::to_value(&recording)?);
    fs::write(file, text).with_context(|| file.display().to_string())
}

/// JSON with one line for each object and each answer: diffs stay readable, files small.
fn pretty(recording: &Value) -> String {
    let lines = |list: &Value, indent: &str| {
        let each = list
            .as_array()
            .into_iter()
            .flatten()
            .map(|v| format!("{indent}{v}"));
        each.collect::<Vec<_>>().join(",\n")
    };
    let case = |case: &Value| {
        format!(
            "  {{\"objects\": [\n{}\n  ], \"answers\": [\n{}\n  ]}}",
            lines(&case["objects"], "    "),
            lines(&case["answers"], "    ")
        )
    };
    let cases: Vec<_> = recording["cases"]
        .as_array()
        .into_iter()
        .flatten()
        .map(case)
        .collect();
    format!(
        "{{\n\"version\": {},\n\"nodes\": [\n{}\n],\n\"cases\": [\n{}\n]}}\n",
        recording["version"],
        lines(&recording["nodes"], "  "),
        cases.join(",\n")
    )
}

impl Recording {
    /// Writes the objects where ferrule reads them, and waits until it has.
    ///
    /// # Errors
    /// If an agent does not come so far.
    pub fn install(&self, world: &mut World) -> Result<()> {
        let mut nodes = self.nodes.clone();
        nodes.push(json!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "ServiceCIDR",
            "metadata": { "name": "kubernetes" },
            "spec": { "cidrs": SERVICE_CIDRS },
        }));
        world.cluster.write("cluster", &nodes)?;
        world.cluster.write("recorded", &self.objects())?;
        world.cluster.settle().map(drop)
    }

    /// How many probes there are.
    pub fn probes(&self) -> usize {
        self.cases.iter().map(|c| c.answers.len()).sum()
    }

    /// Asks all probes, and tells which answers differ and are not intended to. They were looked at
    /// several times.
    ///
    /// # Errors
    /// If a namespace cannot be entered.
    pub fn compare(&self, world: &World, allowed: &[Allowed]) -> Result<Vec<Difference>> {
        let objects = self.objects();
        let mut left: Vec<&Answered> = self.cases.iter().flat_map(|c| &c.answers).collect();
        let mut differences = Vec::new();
        for _ in 0..=AGAIN {
            let outcomes = answers(world, &left, Effort::Thorough)?;
            let pairs = left
                .into_iter()
                .zip(outcomes)
                .filter_map(|(asked, ferrule)| {
                    let differs = asked.kube_proxy != ferrule;
                    let difference = asked.difference(ferrule);
                    let intended = allowed.iter().any(|a| a.covers(&difference, &objects));
                    (differs && !intended).then_some((asked, difference))
                });
            (left, differences) = pairs.unzip();
            if left.is_empty() {
                break;
            }
        }
        Ok(differences)
    }

    /// How many probes show at once that something is wrong, and show it again: so it is not the
    /// machine that is slow. Health checks are not asked, as there may be no agents.
    ///
    /// # Errors
    /// If a namespace cannot be entered.
    pub fn alarms(&self, world: &World, allowed: &[Allowed]) -> Result<usize> {
        let objects = self.objects();
        let all = self.cases.iter().flat_map(|c| &c.answers);
        let mut left: Vec<&Answered> = all
            .filter(|a| a.probe.frontend != Frontend::HealthCheck)
            .collect();
        for _ in 0..2 {
            let outcomes = answers(world, &left, Effort::Quick)?;
            let wrong = |(asked, ferrule): (&Answered, Outcome)| {
                let wrong = is_wrong(&asked.kube_proxy, &ferrule);
                let difference = asked.difference(ferrule);
                wrong && !allowed.iter().any(|a| a.covers(&difference, &objects))
            };
            let pairs = left.iter().copied().zip(outcomes);
            left = pairs
                .filter(|(a, o)| wrong((a, o.clone())))
                .map(|(a, _)| a)
                .collect();
        }
        Ok(left.len())
    }

    fn objects(&self) -> Vec<Value> {
        self.cases.iter().flat_map(|c| c.objects.clone()).collect()
    }
}

impl Answered {
    fn difference(&self, ferrule: Outcome) -> Difference {
        Difference {
            probe: self.probe.clone(),
            kube_proxy: self.kube_proxy.clone(),
            ferrule,
        }
    }
}

fn answers(world: &World, some: &[&Answered], effort: Effort) -> Result<Vec<Outcome>> {
    let probes: Vec<_> = some.iter().map(|a| a.probe.clone()).collect();
    let known: Vec<_> = some.iter().map(|a| a.kube_proxy.clone()).collect();
    Ok(ask(&[world], &probes, &known, effort)?.remove(0))
}

/// Whether something was seen that kube-proxy does not show, as far as few connections tell.
fn is_wrong(kube_proxy: &Outcome, ferrule: &Outcome) -> bool {
    let stays = matches!((kube_proxy.sticky, ferrule.sticky), (Some(a), Some(b)) if a != b);
    stays || !ferrule.seen.is_subset(&kube_proxy.seen)
}
