// SPDX-License-Identifier: Apache-2.0
//! kube-proxy's metrics (upstream: `pkg/proxy/metrics/metrics.go`), recorded where it does.

use std::time::Duration;

use jiff::Timestamp;
use prometheus::{GaugeVec, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use super::{FAMILY, Maker, Metrics, doubling, family_name};
use crate::model::IpFamily;

/// The metrics, without their prefix.
pub(super) struct KubeProxy {
    sync: HistogramVec,
    sync_full: HistogramVec,
    sync_partial: HistogramVec,
    programming: HistogramVec,
    last_applied: GaugeVec,
    last_queued: GaugeVec,
    endpoint_changes: IntCounter,
    endpoint_pending: IntGauge,
    service_changes: IntCounter,
    service_pending: IntGauge,
    without_local: IntGaugeVec,
    sync_failures: IntCounterVec,
    cleanup_failures: IntCounterVec,
    healthz: IntCounterVec,
    livez: IntCounterVec,
    conntrack: HistogramVec,
    conntrack_deleted: IntCounterVec,
}

impl KubeProxy {
    #[rustfmt::skip]
    pub(super) fn new(m: &Maker<'_>) -> Self {
        let sync = || doubling(0.001, 15);
        Self {
            sync: m.histograms("kubeproxy_sync_proxy_rules_duration_seconds",
                "Time to plan and commit what changed", sync()),
            sync_full: m.histograms("kubeproxy_sync_full_proxy_rules_duration_seconds",
                "The same, where all Services were planned or the kernel was read", sync()),
            sync_partial: m.histograms("kubeproxy_sync_partial_proxy_rules_duration_seconds",
                "The same, where only Services that changed were planned", sync()),
            programming: m.histograms("kubeproxy_network_programming_duration_seconds",
                "Time from the change of an endpoint to its being in the kernel", programming()),
            last_applied: m.times("kubeproxy_sync_proxy_rules_last_timestamp_seconds",
                "When the rules were last brought up to date, since 1970"),
            last_queued: m.times("kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds",
                "When a change of the rules was last queued, since 1970"),
            endpoint_changes: m.counter("kubeproxy_sync_proxy_rules_endpoint_changes_total",
                "EndpointSlices seen to come, change or go"),
            endpoint_pending: m.gauge("kubeproxy_sync_proxy_rules_endpoint_changes_pending",
                "Changes of EndpointSlices that are not in the kernel yet"),
            service_changes: m.counter("kubeproxy_sync_proxy_rules_service_changes_total",
                "Services seen to come, change or go"),
            service_pending: m.gauge("kubeproxy_sync_proxy_rules_service_changes_pending",
                "Services whose own change is not in the kernel yet"),
            without_local: m.gauges("kubeproxy_sync_proxy_rules_no_local_endpoints_total",
                "Service ports of traffic policy Local that have endpoints, but none here",
                &["traffic_policy", FAMILY[0]]),
            sync_failures: m.counters("kubeproxy_sync_proxy_rules_nftables_sync_failures_total",
                "Commits that failed", &FAMILY),
            cleanup_failures: m.counters(
                "kubeproxy_sync_proxy_rules_nftables_cleanup_failures_total",
                "Failures to clear away what a commit has left behind", &FAMILY),
            healthz: m.counters("kubeproxy_proxy_healthz_total", "Answers of /healthz", &["code"]),
            livez: m.counters("kubeproxy_proxy_livez_total", "Answers of /livez", &["code"]),
            conntrack: m.histograms("kubeproxy_conntrack_reconciler_sync_duration_seconds",
                "Time to end stale flows", sync()),
            conntrack_deleted: m.counters("kubeproxy_conntrack_reconciler_deleted_entries_total",
                "Stale flows that were ended", &FAMILY),
        }
    }
}

/// 0, which upstream's `MergeBuckets` puts in front, 0.25 and 0.5 s, each second to 59, each fifth
/// to 115, each thirtieth to 300.
fn programming() -> Vec<f64> {
    let steps = |start: u32, step: u32, count: u32| {
        (0..count).map(move |index| f64::from(start + step * index))
    };
    let (seconds, fives, thirties) = (steps(1, 1, 59), steps(60, 5, 12), steps(120, 30, 7));
    let fractions = [0.0, 0.25, 0.5].into_iter();
    fractions
        .chain(seconds)
        .chain(fives)
        .chain(thirties)
        .collect()
}

impl Metrics {
    pub(in crate::observe) fn queued(&self, family: IpFamily, now: Timestamp) {
        let gauges = &self.0.kubeproxy.last_queued;
        gauges
            .with_label_values(&[family_name(family)])
            .set(seconds(now));
    }

    pub(in crate::observe) fn applied(&self, family: IpFamily, now: Timestamp) {
        let gauges = &self.0.kubeproxy.last_applied;
        gauges
            .with_label_values(&[family_name(family)])
            .set(seconds(now));
    }

    pub(in crate::observe) fn failed(&self, family: IpFamily) {
        let counters = &self.0.kubeproxy.sync_failures;
        counters.with_label_values(&[family_name(family)]).inc();
    }

    pub(in crate::observe) fn healthz(&self, good: bool) {
        let counters = &self.0.kubeproxy.healthz;
        counters.with_label_values(&[code(good)]).inc();
    }

    pub(in crate::observe) fn livez(&self, good: bool) {
        let counters = &self.0.kubeproxy.livez;
        counters.with_label_values(&[code(good)]).inc();
    }

    /// A commit of a family is over, well or not. `full`: all Services were planned, or the
    /// kernel was read.
    pub fn synced(&self, family: IpFamily, took: Duration, full: bool) {
        let all = &self.0.kubeproxy;
        let kind = if full {
            &all.sync_full
        } else {
            &all.sync_partial
        };
        for histogram in [&all.sync, kind] {
            let histogram = histogram.with_label_values(&[family_name(family)]);
            histogram.observe(took.as_secs_f64());
        }
    }

    /// A change of an endpoint came into the kernel so long after it happened.
    pub fn programmed(&self, family: IpFamily, after: Duration) {
        let histograms = &self.0.kubeproxy.programming;
        histograms
            .with_label_values(&[family_name(family)])
            .observe(after.as_secs_f64());
    }

    /// An EndpointSlice was seen to come, change or go.
    pub fn endpoint_change(&self) {
        self.0.kubeproxy.endpoint_changes.inc();
    }

    /// A Service was seen to come, change or go.
    pub fn service_change(&self) {
        self.0.kubeproxy.service_changes.inc();
    }

    /// So many changes are not in the kernel yet.
    pub fn pending(&self, endpoint_changes: usize, services: usize) {
        let all = &self.0.kubeproxy;
        all.endpoint_pending.set(gauge(endpoint_changes));
        all.service_pending.set(gauge(services));
    }

    /// So many service ports of this family have endpoints, but none here, where the policy for
    /// traffic from inside, or from outside, wants such.
    pub fn without_local(&self, family: IpFamily, inside: u32, outside: u32) {
        for (policy, count) in [("internal", inside), ("external", outside)] {
            let gauges = &self.0.kubeproxy.without_local;
            gauges
                .with_label_values(&[policy, family_name(family)])
                .set(i64::from(count));
        }
    }

    /// Something could not be cleared away after a commit.
    pub fn cleanup_failed(&self, family: IpFamily) {
        let counters = &self.0.kubeproxy.cleanup_failures;
        counters.with_label_values(&[family_name(family)]).inc();
    }

    /// A walk through conntrack ended so many flows.
    pub fn flows_ended(&self, family: IpFamily, took: Duration, count: usize) {
        let (all, label) = (&self.0.kubeproxy, [family_name(family)]);
        all.conntrack
            .with_label_values(&label)
            .observe(took.as_secs_f64());
        all.conntrack_deleted
            .with_label_values(&label)
            .inc_by(count as u64);
    }
}

fn code(good: bool) -> &'static str {
    if good { "200" } else { "503" }
}

fn seconds(time: Timestamp) -> f64 {
    time.as_duration().as_secs_f64()
}

/// A count as a gauge holds it; what does not fit is as good as infinite.
pub(super) fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
