// SPDX-License-Identifier: Apache-2.0
//! Metrics that kube-proxy does not have. No label takes its value from the cluster, so that
//! there can be only so many time series.

use std::sync::OnceLock;
use std::time::Duration;

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use super::kubeproxy::gauge;
use super::{FAMILY, Maker, Metrics, doubling, family_name};
use crate::model::IpFamily;
use crate::plan::nft::SetId;

/// The metrics, without their prefix.
pub(super) struct Own {
    commit_changes: Histogram,
    kernel: HistogramVec,
    messages: IntCounterVec,
    elements_changed: IntCounterVec,
    elements: IntGaugeVec,
    /// The gauges of each family's sets, in the order of [`SetId::ALL`]: there are too many to
    /// look each of them up at each commit.
    elements_by_set: [OnceLock<Vec<IntGauge>>; 2],
    skipped: IntGaugeVec,
    drift: IntCounterVec,
    interference: IntCounterVec,
    clients: IntCounter,
}

impl Own {
    #[rustfmt::skip]
    pub(super) fn new(m: &Maker<'_>) -> Self {
        let version = env!("CARGO_PKG_VERSION");
        let build = m.gauges("ferrule_build_info", "1; the label says what runs", &["version"]);
        build.with_label_values(&[version]).set(1);
        Self {
            commit_changes: m.histogram("ferrule_commit_changes",
                "Changes of objects that one commit took in", doubling(1.0, 14)),
            kernel: m.histograms("ferrule_kernel_commit_duration_seconds",
                "Time from handing a commit to the kernel to its acknowledgement",
                doubling(0.0001, 18)),
            messages: m.counters("ferrule_netlink_messages_total",
                "Netlink messages of commits", &FAMILY),
            elements_changed: m.counters("ferrule_elements_changed_total",
                "Elements of sets and maps added and deleted", &FAMILY),
            elements: m.gauges("ferrule_set_elements",
                "Elements of a permanent set or map", &[FAMILY[0], "set"]),
            elements_by_set: [const { OnceLock::new() }; 2],
            skipped: m.gauges("ferrule_skipped",
                "Fields of objects that are not served, by kind of the object and field",
                &["kind", "field"]),
            drift: m.counters("ferrule_drift_repaired_total",
                "Tables that others had deleted or altered and that were put back", &FAMILY),
            interference: m.counters("ferrule_interference_total",
                "Times that another process was seen to change a table of ours", &FAMILY),
            clients: m.counter("ferrule_sticky_clients_forgotten_total",
                "Clients that were remembered for an endpoint and let go because it went"),
        }
    }
}

impl Metrics {
    /// A commit of all families took in so many changes of objects.
    pub fn coalesced(&self, changes: usize) {
        self.0.own.commit_changes.observe(changes as f64);
    }

    /// What one family's commits cost: netlink messages, elements added and deleted, and time in
    /// the kernel.
    pub fn sent(&self, family: IpFamily, messages: usize, elements: usize, kernel: Duration) {
        let (own, label) = (&self.0.own, [family_name(family)]);
        own.messages
            .with_label_values(&label)
            .inc_by(messages as u64);
        own.elements_changed
            .with_label_values(&label)
            .inc_by(elements as u64);
        if messages > 0 {
            let kernel = kernel.as_secs_f64();
            own.kernel.with_label_values(&label).observe(kernel);
        }
    }

    /// How many elements each set of a family has.
    pub fn elements(&self, family: IpFamily, count: impl Fn(SetId) -> usize) {
        let own = &self.0.own;
        let place = usize::from(family == IpFamily::V6);
        let gauges = own.elements_by_set[place].get_or_init(|| {
            let gauge = |set: SetId| {
                own.elements
                    .with_label_values(&[family_name(family), set.name()])
            };
            SetId::ALL.map(gauge).into()
        });
        for (set, elements) in SetId::ALL.into_iter().zip(gauges) {
            elements.set(gauge(count(set)));
        }
    }

    /// So many fields of objects of this kind are skipped at present.
    pub fn skipped(&self, kind: &str, field: &str, count: usize) {
        self.0
            .own
            .skipped
            .with_label_values(&[kind, field])
            .set(gauge(count));
    }

    /// So many tables were found deleted or altered, and put back. Called with 0 as well, so that
    /// the metric is there before the first.
    pub fn drift_repaired(&self, family: IpFamily, count: usize) {
        let (own, label) = (&self.0.own, [family_name(family)]);
        own.drift.with_label_values(&label).inc_by(count as u64);
        own.interference.with_label_values(&label);
    }

    /// Another process has changed a table of ours.
    pub fn interference(&self, family: IpFamily) {
        let counters = &self.0.own.interference;
        counters.with_label_values(&[family_name(family)]).inc();
    }

    /// So many sticky clients were let go.
    pub fn clients_forgotten(&self, count: usize) {
        self.0.own.clients.inc_by(count as u64);
    }
}
