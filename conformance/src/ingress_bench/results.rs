// SPDX-License-Identifier: Apache-2.0
//! The numbers of the last run, as kept in conformance/results/ingress-bench.json.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::proxies::Kind;
use super::stats::{Spread, percentile, spread};
use crate::scale::results::{Latency, rounded};

/// One proxy, in one round of one scenario.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// Answers.
    pub requests: usize,
    /// Processor time of an answer, user and system, microseconds.
    pub cpu_us: f64,
    /// Answers per second.
    pub per_second: f64,
    /// Half of them took no longer, microseconds.
    pub p50_us: u32,
    /// 99 of 100 took no longer, microseconds.
    pub p99_us: u32,
}

/// All rounds of one scenario.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rounds {
    /// `h1-0`, say.
    pub name: String,
    /// What was asked.
    pub what: String,
    /// By proxy, in the order in which rounds were made.
    pub rounds: Vec<BTreeMap<String, Sample>>,
}

/// What a proxy with many Ingresses takes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// With one host, after everything else, kB of PSS.
    pub one_kb: u64,
    /// With all Ingresses, kB of PSS.
    pub all_kb: u64,
    /// From its start until the last Ingress answers, seconds.
    pub start_seconds: f64,
}

/// Changes under load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edits {
    /// Ingresses.
    pub ingresses: usize,
    /// Milliseconds between two edits.
    pub every_ms: u64,
    /// From before the file is written until the first answer by it.
    pub latency: Latency,
    /// Other requests meanwhile, per second.
    pub per_second: f64,
    /// 99 of 100 of these took no longer, microseconds.
    pub p99_us: u32,
    /// How many failed.
    pub failed: u64,
    /// Processors that the proxy had in use.
    pub cpus: f64,
}

/// A run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Results {
    /// The day, by UTC.
    pub date: String,
    /// The kernel's release.
    pub kernel: String,
    /// Processors.
    pub cores: usize,
    /// Load average of a minute before it all.
    pub load: f64,
    /// Seconds of one measurement.
    pub seconds: f64,
    /// By proxy.
    pub versions: BTreeMap<String, String>,
    /// How the proxies are held to a part of a processor.
    pub held_by: String,
    /// What was measured, round after round.
    pub scenarios: Vec<Rounds>,
    /// Ingresses of `memory`.
    pub ingresses: usize,
    /// By proxy.
    pub memory: BTreeMap<String, Memory>,
    /// Changes of the sidecar.
    pub edits: Option<Edits>,
}

impl Sample {
    /// From how long each answer took, in microseconds, the proxy's processor time and how long it
    /// was measured.
    #[must_use]
    pub fn new(mut micros: Vec<u32>, cpu: Duration, took: Duration) -> Self {
        micros.sort_unstable();
        let requests = micros.len();
        Self {
            requests,
            cpu_us: rounded(cpu.as_secs_f64() * 1e6 / requests.max(1) as f64),
            per_second: rounded(requests as f64 / took.as_secs_f64()),
            p50_us: percentile(&micros, 50),
            p99_us: percentile(&micros, 99),
        }
    }
}

impl Rounds {
    /// The median of a value of a proxy.
    #[must_use]
    pub fn median(&self, kind: Kind, of: impl Fn(&Sample) -> f64) -> Option<f64> {
        let values = self.rounds.iter();
        let values = values.filter_map(|round| round.get(kind.name()).map(&of));
        spread(values.collect()).map(|spread| spread.median)
    }

    /// How many times as many requests the sidecar answers as another proxy, in the same round:
    /// with the same processor time, or in the same time.
    #[must_use]
    pub fn ratio(&self, other: Kind, of: impl Fn(&Sample) -> f64) -> Option<Spread> {
        let pair = |round: &BTreeMap<String, Sample>| {
            let ours = of(round.get(Kind::Ferrule.name())?);
            Some(ours / of(round.get(other.name())?))
        };
        spread(self.rounds.iter().filter_map(pair).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_of_the_same_round() {
        let sample = |cpu_us| Sample {
            requests: 1,
            cpu_us,
            per_second: 0.0,
            p50_us: 0,
            p99_us: 0,
        };
        let round = |ours, theirs| {
            BTreeMap::from([
                ("ferrule".to_owned(), sample(ours)),
                ("nginx".to_owned(), sample(theirs)),
            ])
        };
        let rounds = Rounds {
            name: "h1-0".to_owned(),
            what: String::new(),
            rounds: vec![round(10.0, 20.0), round(20.0, 40.0), round(30.0, 30.0)],
        };
        let ratio = rounds.ratio(Kind::Nginx, |s| 1.0 / s.cpu_us).unwrap();
        assert_eq!((ratio.median, ratio.low, ratio.high), (2.0, 1.0, 2.0));
        assert_eq!(rounds.median(Kind::Nginx, |s| s.cpu_us), Some(30.0));
        assert_eq!(rounds.ratio(Kind::Haproxy, |s| s.cpu_us), None);
        let sample = Sample::new(
            vec![3, 1, 2],
            Duration::from_micros(30),
            Duration::from_secs(2),
        );
        assert_eq!((sample.cpu_us, sample.per_second), (10.0, 1.5));
    }
}
