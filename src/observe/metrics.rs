// SPDX-License-Identifier: Apache-2.0
//! Metrics by kube-proxy's names. So far those that every dashboard of kube-proxy uses.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use jiff::Timestamp;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::model::IpFamily;

type Label = [(&'static str, &'static str); 1];
type Seconds = Gauge<f64, AtomicU64>;

/// All metrics.
#[derive(Debug)]
pub(super) struct Metrics {
    registry: Registry,
    sync_duration: Family<Label, Histogram, fn() -> Histogram>,
    last_applied: Family<Label, Seconds>,
    last_queued: Family<Label, Seconds>,
    failures: Family<Label, Counter>,
    healthz: Family<Label, Counter>,
    livez: Family<Label, Counter>,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("kubeproxy"),
            sync_duration: Family::new_with_constructor(sync_buckets),
            last_applied: Family::default(),
            last_queued: Family::default(),
            failures: Family::default(),
            healthz: Family::default(),
            livez: Family::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "sync_proxy_rules_duration_seconds",
            "Time from the start of a transaction to the kernel's acknowledgement",
            self.sync_duration.clone(),
        );
        registry.register(
            "sync_proxy_rules_last_timestamp_seconds",
            "When rules were last brought up to date, seconds since 1970",
            self.last_applied.clone(),
        );
        registry.register(
            "sync_proxy_rules_last_queued_timestamp_seconds",
            "When a change of rules was last queued, seconds since 1970",
            self.last_queued.clone(),
        );
        registry.register(
            "sync_proxy_rules_nftables_sync_failures",
            "Transactions that the kernel refused",
            self.failures.clone(),
        );
        registry.register("proxy_healthz", "Answers of /healthz", self.healthz.clone());
        registry.register("proxy_livez", "Answers of /livez", self.livez.clone());
    }

    pub(super) fn queued(&self, family: IpFamily, now: Timestamp) {
        self.last_queued
            .get_or_create(&label(family))
            .set(seconds(now));
    }

    pub(super) fn applied(&self, family: IpFamily, took: Duration, now: Timestamp) {
        self.sync_duration
            .get_or_create(&label(family))
            .observe(took.as_secs_f64());
        self.last_applied
            .get_or_create(&label(family))
            .set(seconds(now));
    }

    pub(super) fn failed(&self, family: IpFamily) {
        self.failures.get_or_create(&label(family)).inc();
    }

    pub(super) fn healthz(&self, good: bool) {
        self.healthz.get_or_create(&code(good)).inc();
    }

    pub(super) fn livez(&self, good: bool) {
        self.livez.get_or_create(&code(good)).inc();
    }

    /// The text that /metrics answers, in OpenMetrics 1.0.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

/// 1 ms to 16.4 s, doubling, as kube-proxy's.
fn sync_buckets() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 15))
}

fn label(family: IpFamily) -> Label {
    [(
        "ip_family",
        if family == IpFamily::V4 {
            "IPv4"
        } else {
            "IPv6"
        },
    )]
}

fn code(good: bool) -> Label {
    [("code", if good { "200" } else { "503" })]
}

fn seconds(time: Timestamp) -> f64 {
    time.as_duration().as_secs_f64()
}
