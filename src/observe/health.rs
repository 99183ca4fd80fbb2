// SPDX-License-Identifier: Apache-2.0
//! When the proxy counts as healthy (upstream: `pkg/proxy/healthcheck/proxy_health.go`). PURE.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use crate::model::IpFamily;

/// A point in time by two clocks: one to show, one to compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Time of day, which may jump.
    pub wall: Timestamp,
    /// Time since some fixed point, which never goes back.
    pub elapsed: Duration,
}

/// Updates of the families and the state of the own Node.
#[derive(Debug)]
pub(super) struct Health {
    timeout: Duration,
    /// When each family was last brought up to date.
    applied: BTreeMap<IpFamily, Timestamp>,
    /// Since when each family has waited for that.
    queued: BTreeMap<IpFamily, Duration>,
    /// Why the last attempt of each family failed.
    failed: BTreeMap<IpFamily, String>,
    eligible: bool,
}

/// Reasons by family.
pub(super) type Failures = BTreeMap<String, String>;

/// An answer of /healthz or /livez.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    last_updated: String,
    current_time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    node_eligible: Option<bool>,
    pub(super) healthy: bool,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    status: BTreeMap<String, FamilyReport>,
    /// Whether the answer is 200.
    #[serde(skip)]
    pub(super) good: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct FamilyReport {
    last_updated: String,
    healthy: bool,
}

impl Health {
    /// Nothing has happened yet and no Node is known, so /healthz is bad and /livez is good.
    pub(super) fn new(timeout: Duration) -> Self {
        let (applied, queued, failed) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self {
            timeout,
            applied,
            queued,
            failed,
            eligible: false,
        }
    }

    /// Changes how long a change may wait.
    pub(super) fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// A change waits to be applied. Later changes do not move the deadline.
    pub(super) fn queued(&mut self, family: IpFamily, now: Moment) {
        self.queued.entry(family).or_insert(now.elapsed);
    }

    /// All changes are applied.
    pub(super) fn applied(&mut self, family: IpFamily, now: Moment) {
        self.queued.remove(&family);
        self.failed.remove(&family);
        self.applied.insert(family, now.wall);
    }

    /// An attempt to apply changes failed.
    pub(super) fn failed(&mut self, family: IpFamily, reason: &str) {
        self.failed.insert(family, reason.to_owned());
    }

    /// The reasons of failures that last, by family.
    pub(super) fn failures(&self) -> Failures {
        self.failed
            .iter()
            .map(|(family, reason)| (family.to_string(), reason.clone()))
            .collect()
    }

    /// How long each family has waited, seconds.
    pub(super) fn waiting(&self, now: Moment) -> BTreeMap<String, f64> {
        let waited = |since: &Duration| now.elapsed.saturating_sub(*since).as_secs_f64();
        let families = self.queued.iter();
        families
            .map(|(family, since)| (family.to_string(), waited(since)))
            .collect()
    }

    /// The own Node, which load balancers should use unless it is gone or leaving (KEP-3836).
    pub(super) fn node(&mut self, leaving: Option<bool>) {
        self.eligible = leaving == Some(false);
    }

    /// Whether no family has waited for too long. Unlike upstream, where a family that was never
    /// applied is healthy forever: a node without any rules must not get traffic.
    pub(super) fn healthy(&self, now: Moment) -> bool {
        self.queued.values().all(|since| !self.late(*since, now))
    }

    fn late(&self, since: Duration, now: Moment) -> bool {
        now.elapsed.saturating_sub(since) >= self.timeout
    }

    /// What /healthz answers.
    pub(super) fn healthz(&self, now: Moment) -> Report {
        self.report(now, Some(self.eligible))
    }

    /// What /livez answers: a leaving Node is no reason to restart the proxy.
    pub(super) fn livez(&self, now: Moment) -> Report {
        self.report(now, None)
    }

    fn report(&self, now: Moment, node_eligible: Option<bool>) -> Report {
        let late = |family: &IpFamily| {
            self.queued
                .get(family)
                .is_some_and(|since| self.late(*since, now))
        };
        let shown = self
            .applied
            .keys()
            .chain(self.queued.keys().filter(|family| late(family)));
        let status = shown.map(|family| {
            let last_updated = time(self.applied.get(family));
            (
                family.to_string(),
                FamilyReport {
                    last_updated,
                    healthy: !late(family),
                },
            )
        });
        let healthy = self.healthy(now);
        let good = healthy && node_eligible != Some(false);
        let newest = self.applied.values().max();
        Report {
            // Older kube-proxies updated at least every 30 s; readers expect a fresh time of a
            // healthy one.
            last_updated: if good {
                now.wall.to_string()
            } else {
                time(newest)
            },
            current_time: now.wall.to_string(),
            node_eligible,
            healthy,
            status: status.collect(),
            good,
        }
    }
}

/// Go's zero time stands for never.
fn time(at: Option<&Timestamp>) -> String {
    at.map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), Timestamp::to_string)
}
