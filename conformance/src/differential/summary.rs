// SPDX-License-Identifier: Apache-2.0
//! What a run has shown, as kept in conformance/results/differential.json.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde::Serialize;

use super::proxies::Proxy;

/// A run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// kube-proxy's version.
    pub kube_proxy: String,
    /// Ours, and the commit that `FERRULE_COMMIT` names.
    pub ferrule: String,
    /// The kernel's release.
    pub kernel: String,
    /// Seeds, each with the same number of cases.
    pub seeds: Vec<u64>,
    /// Cases of all seeds.
    pub cases: usize,
    /// Cases that the API server refused.
    pub refused: usize,
    /// Questions that were asked in both worlds.
    pub probes: usize,
    /// Cases with a difference that is not intended.
    pub differences: usize,
    /// Probes with an intended difference, by the name of its entry; each entry is there.
    pub intended: BTreeMap<String, usize>,
    /// How long all of it took.
    pub seconds: u64,
}

impl Summary {
    /// An empty one, with the versions of what runs.
    ///
    /// # Errors
    /// If a program does not tell its version.
    pub fn new() -> Result<Self> {
        let commit = std::env::var("FERRULE_COMMIT").unwrap_or_default();
        let ferrule = match commit.as_str() {
            "" => version(Proxy::Ferrule)?,
            commit => format!("{}, commit {commit}", version(Proxy::Ferrule)?),
        };
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
        Ok(Self {
            kube_proxy: version(Proxy::KubeProxy)?,
            ferrule,
            kernel: kernel
                .trim()
                .split('-')
                .next()
                .unwrap_or_default()
                .to_owned(),
            seeds: Vec::new(),
            cases: 0,
            refused: 0,
            probes: 0,
            differences: 0,
            intended: BTreeMap::new(),
            seconds: 0,
        })
    }

    /// Writes it as JSON.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save(&self, file: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        fs::write(file, text).with_context(|| file.display().to_string())
    }
}

/// What a proxy says its version is, as `Kubernetes v1.36.3` or `ferrule 0.1.0`.
///
/// # Errors
/// If it is not there, or does not say it.
pub fn version(proxy: Proxy) -> Result<String> {
    let program = proxy.binary()?;
    let name = || program.display().to_string();
    let output = Command::new(&program).arg("--version").output();
    let text = String::from_utf8(output.with_context(name)?.stdout).with_context(name)?;
    let line = text.lines().next().filter(|l| !l.is_empty());
    Ok(line
        .with_context(|| format!("{}: no version", name()))?
        .to_owned())
}
