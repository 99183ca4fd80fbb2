// SPDX-License-Identifier: Apache-2.0
//! What /metrics answers: kube-proxy's metrics by its names, and ours under `ferrule_`.
//! docs/metrics.md lists them all; a test keeps both in step.
//!
//! | module | holds |
//! |---|---|
//! | [`kubeproxy`] | `kubeproxy_*`, as kube-proxy v1.36 in nftables mode has them |
//! | [`own`] | `ferrule_*` |
//! | [`process`] | `process_*` |
//! | [`not_served`] | what kube-proxy has and ferrule has not, with the reasons |
//!
//! Other stages bring metrics of their own ([`Status::register`](super::Status::register)).

mod kubeproxy;
mod not_served;
mod own;
mod process;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use prometheus::core::Collector;
use prometheus::{
    GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
};

use crate::model::IpFamily;

pub use not_served::NOT_SERVED;

/// The content type of [`Metrics::text`]. kube-proxy answers it whatever a client accepts but
/// Protocol Buffers: its handler has OpenMetrics switched off.
pub(super) const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8; escaping=values";

/// All metrics. Cheap to clone; recording waits for nothing.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    kubeproxy: kubeproxy::KubeProxy,
    own: own::Own,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let registry = Registry::new();
        let maker = Maker(&registry);
        let kubeproxy = kubeproxy::KubeProxy::new(&maker);
        let own = own::Own::new(&maker);
        maker.add(process::Process::new());
        Self(Arc::new(Inner {
            registry,
            kubeproxy,
            own,
        }))
    }

    /// Adds metrics that another stage records. Those of a name that is there already are left
    /// out, with a warning.
    pub(super) fn register(&self, collector: Box<dyn Collector>) {
        if let Err(error) = self.0.registry.register(collector) {
            tracing::warn!(%error, "metrics");
        }
    }

    /// The text that /metrics answers, in Prometheus' format 0.0.4.
    pub(super) fn text(&self) -> String {
        text(&self.0.registry)
    }
}

/// A registry with the metrics of the process.
pub(super) fn registry_of_process() -> Registry {
    let registry = Registry::new();
    Maker(&registry).add(process::Process::new());
    registry
}

/// What a registry holds, in Prometheus' format 0.0.4.
pub(super) fn text(registry: &Registry) -> String {
    let encoder = TextEncoder::new();
    encoder
        .encode_to_string(&registry.gather())
        .unwrap_or_else(|error| format!("# {error}\n"))
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// Makes metrics and registers them. Their names and labels are constants, so that what can be
/// wrong with them shows in any test.
struct Maker<'a>(&'a Registry);

impl Maker<'_> {
    fn add<C: Collector + 'static>(&self, collector: C) {
        let added = self.0.register(Box::new(collector));
        added.expect("each name once");
    }

    fn made<C: Collector + Clone + 'static>(&self, made: prometheus::Result<C>) -> C {
        let collector = made.expect("a valid name and valid labels");
        self.add(collector.clone());
        collector
    }

    fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.made(IntCounter::new(name, help))
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.made(IntCounterVec::new(Opts::new(name, help), labels))
    }

    fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.made(IntGauge::new(name, help))
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.made(IntGaugeVec::new(Opts::new(name, help), labels))
    }

    /// Points in time, by family.
    fn times(&self, name: &str, help: &str) -> GaugeVec {
        self.made(GaugeVec::new(Opts::new(name, help), &FAMILY))
    }

    fn histogram(&self, name: &str, help: &str, buckets: Vec<f64>) -> Histogram {
        self.made(Histogram::with_opts(
            HistogramOpts::new(name, help).buckets(buckets),
        ))
    }

    /// Histograms by family.
    fn histograms(&self, name: &str, help: &str, buckets: Vec<f64>) -> HistogramVec {
        let opts = HistogramOpts::new(name, help).buckets(buckets);
        self.made(HistogramVec::new(opts, &FAMILY))
    }
}

/// The label of what is counted by family.
const FAMILY: [&str; 1] = ["ip_family"];

/// The value of that label.
fn family_name(family: IpFamily) -> &'static str {
    match family {
        IpFamily::V4 => "IPv4",
        IpFamily::V6 => "IPv6",
    }
}

/// Upper bounds, each `factor` times the one before.
fn doubling(start: f64, count: i32) -> Vec<f64> {
    (0..count).map(|power| start * 2f64.powi(power)).collect()
}
