// SPDX-License-Identifier: Apache-2.0
//! The numbers of the last run of each size, as kept in conformance/results/scale.json.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use procfs::Current;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::usage::Memory;

/// Filling the API server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fill {
    /// Services and EndpointSlices.
    pub objects: u32,
    /// How long it took.
    pub seconds: f64,
    /// Objects per second.
    pub per_second: f64,
}

/// A start on a node without rules.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Start {
    /// From the start of the process until every Service answered.
    pub seconds: f64,
    /// Processor time, children included, until the proxy was quiet.
    pub cpu_seconds: f64,
}

/// Percentiles by nearest rank, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Latency {
    /// Half of them took no longer.
    pub p50_ms: f64,
    /// Nine of ten took no longer.
    pub p90_ms: f64,
    /// 99 of 100 took no longer.
    pub p99_ms: f64,
    /// The longest.
    pub max_ms: f64,
    /// How many there were.
    pub count: usize,
}

/// Changes of one kind, one after the other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Changes {
    /// What changed.
    pub kind: String,
    /// From the acknowledged write until traffic followed.
    pub latency: Latency,
    /// From the request until the API server acknowledged it: not part of the latency.
    pub write: Latency,
    /// Processor time of one change, children included, milliseconds.
    pub cpu_ms: f64,
}

/// Changes while others happen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Churn {
    /// All changes, per second.
    pub per_second: f64,
    /// From the acknowledged write until traffic followed.
    pub latency: Latency,
    /// Processor time per second, children included.
    pub cpus: f64,
}

/// One proxy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measured {
    /// `ferrule` or `kube-proxy`.
    pub proxy: String,
    /// Its version.
    pub version: String,
    /// Load average of a minute, right before it was started.
    pub load: f64,
    /// Its starts.
    pub starts: Vec<Start>,
    /// Changes, by kind.
    pub changes: Vec<Changes>,
    /// Changes among many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub churn: Option<Churn>,
    /// After all of that.
    pub memory: Memory,
}

/// One size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// Services.
    pub services: u32,
    /// Endpoints of each.
    pub endpoints: u32,
    /// The day, by UTC.
    pub date: String,
    /// The kernel's release.
    pub kernel: String,
    /// Processors.
    pub cores: usize,
    /// Load average of a minute before it all.
    pub load: f64,
    /// Filling the API server.
    pub fill: Fill,
    /// The proxies, in the order in which they were measured.
    pub proxies: Vec<Measured>,
}

/// The last run of each size, the smallest first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Results {
    /// The runs.
    pub runs: Vec<Run>,
}

impl Latency {
    /// Sums up; without measurements all is 0.
    #[must_use]
    pub fn new(mut millis: Vec<f64>) -> Self {
        millis.sort_unstable_by(f64::total_cmp);
        let at = |percent: usize| {
            let rank = (millis.len() * percent).div_ceil(100).max(1);
            millis.get(rank - 1).copied().map_or(0.0, rounded)
        };
        Self {
            p50_ms: at(50),
            p90_ms: at(90),
            p99_ms: at(99),
            max_ms: at(100),
            count: millis.len(),
        }
    }
}

impl Changes {
    /// Sums up changes that took so much processor time together. What the writes took is apart.
    #[must_use]
    pub fn new(kind: &str, millis: Vec<f64>, writes: Vec<f64>, cpu: Duration) -> Self {
        let cpu_ms = rounded(cpu.as_secs_f64() * 1e3 / millis.len().max(1) as f64);
        Self {
            kind: kind.to_owned(),
            latency: Latency::new(millis),
            write: Latency::new(writes),
            cpu_ms,
        }
    }
}

impl Churn {
    /// Sums up.
    #[must_use]
    pub fn new(millis: Vec<f64>, per_second: f64, cpus: f64) -> Self {
        let (per_second, cpus) = (rounded(per_second), rounded(cpus));
        Self {
            per_second,
            latency: Latency::new(millis),
            cpus,
        }
    }
}

impl Measured {
    /// The start in the middle: of an even number the shorter of the two.
    #[must_use]
    pub fn start(&self) -> Option<&Start> {
        let mut all: Vec<&Start> = self.starts.iter().collect();
        all.sort_unstable_by(|a, b| a.seconds.total_cmp(&b.seconds));
        all.get(all.len().saturating_sub(1) / 2).copied()
    }
}

impl Results {
    /// Takes a run in, in the place of one of the same size.
    pub fn merge(&mut self, run: Run) {
        let size = |r: &Run| (r.services, r.endpoints);
        self.runs.retain(|r| size(r) != size(&run));
        self.runs.push(run);
        self.runs.sort_by_key(size);
    }
}

/// Reads results; no file is as good as an empty one.
///
/// # Errors
/// If it is there and cannot be read.
pub fn read<T: Default + DeserializeOwned>(file: &Path) -> Result<T> {
    if !file.exists() {
        return Ok(T::default());
    }
    let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
    serde_json::from_str(&text).with_context(|| file.display().to_string())
}

/// Writes results anew.
///
/// # Errors
/// If the file cannot be written.
pub fn write<T: Serialize>(results: &T, file: &Path) -> Result<()> {
    let text = serde_json::to_string_pretty(results)? + "\n";
    fs::write(file, text).with_context(|| file.display().to_string())
}

/// To three digits behind the point: what is beyond is noise.
#[must_use]
pub fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

/// The load average of the last minute.
///
/// # Errors
/// If /proc/loadavg cannot be read.
pub fn load() -> Result<f64> {
    let load = procfs::LoadAverage::current().context("/proc/loadavg")?;
    Ok(rounded(load.one.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_measured_values() {
        let latency = Latency::new((1..=30).rev().map(f64::from).collect());
        assert_eq!((latency.p50_ms, latency.p90_ms), (15.0, 27.0));
        assert_eq!(
            (latency.p99_ms, latency.max_ms, latency.count),
            (30.0, 30.0, 30)
        );
        assert_eq!(Latency::new(Vec::new()).max_ms, 0.0);
    }

    #[test]
    fn a_run_replaces_the_one_of_its_size_only() {
        let run = |services, date: &str| Run {
            services,
            endpoints: 3,
            date: date.to_owned(),
            kernel: "6".to_owned(),
            cores: 2,
            load: 0.0,
            fill: Fill {
                objects: 6,
                seconds: 1.0,
                per_second: 6.0,
            },
            proxies: Vec::new(),
        };
        let mut results = Results::default();
        [run(20, "a"), run(10, "b"), run(20, "c")]
            .into_iter()
            .for_each(|r| results.merge(r));
        let all: Vec<_> = results
            .runs
            .iter()
            .map(|r| (r.services, r.date.as_str()))
            .collect();
        assert_eq!(all, [(10, "b"), (20, "c")]);
        let text = serde_json::to_string(&results).unwrap();
        assert_eq!(serde_json::from_str::<Results>(&text).unwrap(), results);
    }
}
