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

use super::ask::{Effort, ask};
use super::outcome::Outcome;
use super::probe::Probe;
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
        let objects: Vec<Value> = self.cases.iter().flat_map(|c| c.objects.clone()).collect();
        world.cluster.write("recorded", &objects)?;
        world.cluster.settle().map(drop)
    }

    /// How many probes there are.
    pub fn probes(&self) -> usize {
        self.cases.iter().map(|c| c.answers.len()).sum()
    }

    /// Asks all probes, and tells which answers differ. Those found with thorough effort are
    /// looked at again before they count.
    ///
    /// # Errors
    /// If a namespace cannot be entered.
    pub fn compare(&self, world: &World, effort: Effort) -> Result<Vec<Difference>> {
        let mut left: Vec<&Answered> = self.cases.iter().flat_map(|c| &c.answers).collect();
        let mut differences = Vec::new();
        for _ in 0..match effort {
            Effort::Thorough => 1 + AGAIN,
            Effort::Quick => 1,
        } {
            let probes: Vec<_> = left.iter().map(|a| a.probe.clone()).collect();
            let known: Vec<_> = left.iter().map(|a| a.kube_proxy.clone()).collect();
            let outcomes = ask(&[world], &probes, &known, effort)?.remove(0);
            let differs = |(a, o): &(&Answered, Outcome)| a.kube_proxy != *o;
            let pairs: Vec<_> = left.into_iter().zip(outcomes).filter(differs).collect();
            left = pairs.iter().map(|(a, _)| *a).collect();
            let difference = |(a, ferrule): (&Answered, Outcome)| Difference {
                probe: a.probe.clone(),
                kube_proxy: a.kube_proxy.clone(),
                ferrule,
            };
            differences = pairs.into_iter().map(difference).collect();
            if left.is_empty() {
                break;
            }
        }
        Ok(differences)
    }
}
