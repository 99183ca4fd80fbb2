// SPDX-License-Identifier: Apache-2.0
//! The results of one proxy, as kept in conformance/results/PROXY.json.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

/// How a spec ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// As upstream wants it.
    Passed,
    /// Otherwise: failed, panicked, timed out or was interrupted.
    Failed,
    /// The spec itself saw that it cannot run here.
    Skipped,
}

/// A spec that ran.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Its full name, `[sig-network]` included.
    pub name: String,
    /// How it ended.
    pub result: Outcome,
    /// How long it took, rounded.
    pub seconds: u64,
    /// Why it did not pass, in one line.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// What a run was made with; conformance.sh leaves it in `run.txt` as lines `key=value`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// The list or the regular expression that chose the specs.
    pub focus: String,
    /// The day it ended, by UTC.
    pub date: String,
    /// The proxy's version.
    pub version: String,
    /// The kernel's release.
    pub kernel: String,
    /// Nodes of the cluster.
    pub nodes: u64,
    /// Specs at a time.
    pub procs: u64,
    /// How long all of it took.
    pub seconds: u64,
}

/// Everything known about a proxy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Results {
    /// `ferrule` or `kube-proxy`.
    pub proxy: String,
    /// Its mode, such as `nftables`.
    pub mode: String,
    /// Version of Kubernetes: of the cluster and of the specs.
    pub kubernetes: String,
    /// The last run of each focus, by focus.
    pub runs: Vec<Run>,
    /// The last result of each spec, by name.
    pub specs: Vec<Spec>,
}

impl Results {
    /// The results of one run: `run.txt` and every `junit*.xml` in the directory.
    ///
    /// # Errors
    /// If a file cannot be read, a line of `run.txt` is missing, or no spec ran.
    pub fn of_run(dir: &Path) -> Result<Self> {
        let text = read(&dir.join("run.txt"))?;
        let lines: BTreeMap<&str, &str> = text.lines().filter_map(|l| l.split_once('=')).collect();
        let get = |key: &str| {
            let value = lines.get(key).map(ToString::to_string);
            value.with_context(|| format!("{}: no line {key}=", dir.join("run.txt").display()))
        };
        let number = |key: &str| get(key)?.parse().with_context(|| format!("run.txt: {key}"));
        let specs = specs(dir)?;
        if specs.is_empty() {
            bail!("{}: no spec ran", dir.display());
        }
        let run = Run {
            focus: get("focus")?,
            date: get("date")?,
            version: get("version")?,
            kernel: get("kernel")?,
            nodes: number("nodes")?,
            procs: number("procs")?,
            seconds: number("seconds")?,
        };
        Ok(Self {
            proxy: get("proxy")?,
            mode: get("mode")?,
            kubernetes: get("kubernetes")?,
            runs: vec![run],
            specs,
        })
    }

    /// Reads a file of results.
    ///
    /// # Errors
    /// If it cannot be read, or is none.
    pub fn read(file: &Path) -> Result<Self> {
        serde_json::from_str(&read(file)?).with_context(|| file.display().to_string())
    }

    /// Writes the file anew.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, file: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        fs::write(file, text).with_context(|| file.display().to_string())
    }

    /// Takes over what is newer. Results of another mode or another Kubernetes say nothing about
    /// this one and are dropped.
    pub fn merge(&mut self, newer: Self) {
        if (&self.proxy, &self.mode, &self.kubernetes)
            != (&newer.proxy, &newer.mode, &newer.kubernetes)
        {
            *self = newer;
            return;
        }
        self.runs = last(&self.runs, newer.runs, |r| r.focus.clone());
        self.specs = last(&self.specs, newer.specs, |s| s.name.clone());
    }

    /// The result of a spec, if it ran.
    #[must_use]
    pub fn spec(&self, name: &str) -> Option<&Spec> {
        self.specs.iter().find(|s| s.name == name)
    }
}

/// Both, sorted by key; of two with the same key the newer.
fn last<T: Clone>(old: &[T], newer: Vec<T>, key: impl Fn(&T) -> String) -> Vec<T> {
    let mut all: BTreeMap<String, T> = old.iter().map(|x| (key(x), x.clone())).collect();
    all.extend(newer.into_iter().map(|x| (key(&x), x)));
    all.into_values().collect()
}

fn read(file: &Path) -> Result<String> {
    fs::read_to_string(file).with_context(|| file.display().to_string())
}

fn specs(dir: &Path) -> Result<Vec<Spec>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let path = entry?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if name.starts_with("junit") && name.ends_with(".xml") {
            let specs = super::junit::specs(&read(&path)?);
            all.extend(specs.with_context(|| path.display().to_string())?);
        }
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}

#[cfg(test)]
#[path = "results_tests.rs"]
mod tests;
