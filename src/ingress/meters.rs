// SPDX-License-Identifier: Apache-2.0
//! What is counted.

use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
};

use super::annotation::Kind;

/// Upper bounds of response times, in seconds: those of ingress-nginx.
const SECONDS: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// Counters of all serving threads. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Meters(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    requests: IntCounterVec,
    by_class: [IntCounter; 6],
    duration: Histogram,
    connections: IntGauge,
    accepted: IntCounter,
    refused: IntCounter,
    unbegun: IntCounter,
    malformed: IntCounter,
    upstream_errors: IntCounterVec,
    retries: IntCounter,
    tunnels: IntGauge,
    log_dropped: IntCounter,
}

/// Some of them, as numbers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    /// Client connections that are open.
    pub(crate) connections: i64,
    /// All that were accepted.
    pub(crate) accepted: u64,
    /// Those of them that were reset at once.
    pub(crate) refused: u64,
    /// Requests that are over.
    pub(crate) requests: u64,
}

impl Default for Meters {
    fn default() -> Self {
        let counter = |name, help: &str| made(IntCounter::new(name, help));
        let gauge = |name, help: &str| made(IntGauge::new(name, help));
        let counters = |name, help: &str, labels: &[&str]| {
            made(IntCounterVec::new(Opts::new(name, help), labels))
        };
        let requests = counters(
            "ferrule_ingress_requests_total",
            "Requests that were answered, by the class of the status; \"other\" is one that the \
             client broke off",
            &["status"],
        );
        let by_class = ["1xx", "2xx", "3xx", "4xx", "5xx", "other"]
            .map(|class| requests.with_label_values(&[class]));
        let duration = HistogramOpts::new(
            "ferrule_ingress_request_duration_seconds",
            "From the head of a request to the end of its response",
        );
        Self(Arc::new(Inner {
            requests,
            by_class,
            duration: made(Histogram::with_opts(duration.buckets(SECONDS.to_vec()))),
            connections: gauge("ferrule_ingress_connections", "Client connections"),
            accepted: counter(
                "ferrule_ingress_connections_accepted_total",
                "Client connections that were accepted",
            ),
            refused: counter(
                "ferrule_ingress_connections_refused_total",
                "Client connections that were reset because there were too many",
            ),
            unbegun: counter(
                "ferrule_ingress_connections_unbegun_total",
                "Client connections that ended before a first request: no or broken TLS \
                 handshakes, PROXY headers and connections without any byte",
            ),
            malformed: counter(
                "ferrule_ingress_requests_malformed_total",
                "Requests that were no HTTP/1 and answered 400, 414 or 431 before they were \
                 requests; they are counted and logged nowhere else",
            ),
            upstream_errors: counters(
                "ferrule_ingress_upstream_errors_total",
                "Failed attempts to get a response from an endpoint",
                &["reason"],
            ),
            retries: counter(
                "ferrule_ingress_upstream_retries_total",
                "Attempts after a first one",
            ),
            tunnels: gauge(
                "ferrule_ingress_tunnels",
                "Connections that were upgraded, to WebSocket for one",
            ),
            log_dropped: counter(
                "ferrule_ingress_access_log_dropped_total",
                "Lines of the access log that were dropped because it was written too slowly",
            ),
        }))
    }
}

impl Meters {
    /// All metrics, to be registered once.
    pub fn collectors(&self) -> Vec<Box<dyn Collector>> {
        let all = &self.0;
        vec![
            Box::new(all.requests.clone()),
            Box::new(all.duration.clone()),
            Box::new(all.connections.clone()),
            Box::new(all.accepted.clone()),
            Box::new(all.refused.clone()),
            Box::new(all.unbegun.clone()),
            Box::new(all.malformed.clone()),
            Box::new(all.upstream_errors.clone()),
            Box::new(all.retries.clone()),
            Box::new(all.tunnels.clone()),
            Box::new(all.log_dropped.clone()),
        ]
    }

    /// What there was so far.
    pub(crate) fn seen(&self) -> Seen {
        let of = |counter: &IntCounter| counter.get();
        Seen {
            connections: self.0.connections.get(),
            accepted: of(&self.0.accepted) + of(&self.0.refused),
            refused: of(&self.0.refused),
            requests: self.0.by_class.iter().map(of).sum(),
        }
    }

    pub(crate) fn answered(&self, status: Option<StatusCode>, took: Duration) {
        let class = status.map_or(6, |status| usize::from(status.as_u16() / 100));
        let class = class.clamp(1, self.0.by_class.len()) - 1;
        self.0.by_class[class].inc();
        self.0.duration.observe(took.as_secs_f64());
    }

    pub(crate) fn opened(&self) {
        self.0.connections.inc();
        self.0.accepted.inc();
    }

    pub(crate) fn closed(&self) {
        self.0.connections.dec();
    }

    pub(crate) fn refused(&self) {
        self.0.refused.inc();
    }

    pub(crate) fn unbegun(&self) {
        self.0.unbegun.inc();
    }

    pub(crate) fn malformed(&self) {
        self.0.malformed.inc();
    }

    pub(crate) fn upstream_failed(&self, reason: &str) {
        self.0.upstream_errors.with_label_values(&[reason]).inc();
    }

    pub(crate) fn retried(&self) {
        self.0.retries.inc();
    }

    pub(crate) fn tunnels(&self, change: i64) {
        self.0.tunnels.add(change);
    }

    pub(crate) fn log_dropped(&self) {
        self.0.log_dropped.inc();
    }
}

/// How many annotations of Ingresses are not served as they are written, by kind.
#[derive(Debug, Clone)]
pub struct AnnotationGauge {
    all: IntGaugeVec,
    by_kind: [IntGauge; Kind::ALL.len()],
}

impl Default for AnnotationGauge {
    fn default() -> Self {
        let all = made(IntGaugeVec::new(
            Opts::new(
                "ferrule_ingress_annotations",
                "Annotations of Ingresses that are not served as they are written, by kind",
            ),
            &["kind"],
        ));
        let by_kind = Kind::ALL.map(|kind| all.with_label_values(&[kind.as_str()]));
        Self { all, by_kind }
    }
}

impl AnnotationGauge {
    /// What is to be registered, once.
    pub fn collector(&self) -> Box<dyn Collector> {
        Box::new(self.all.clone())
    }

    /// Takes what there is now.
    pub(crate) fn set(&self, count: impl Fn(Kind) -> usize) {
        for (kind, gauge) in Kind::ALL.into_iter().zip(&self.by_kind) {
            gauge.set(i64::try_from(count(kind)).unwrap_or(i64::MAX));
        }
    }
}

/// Names and labels are constants, so that what can be wrong with them shows in any test.
fn made<C>(made: prometheus::Result<C>) -> C {
    made.expect("a valid name and valid labels")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_counted_by_class() {
        let meters = Meters::default();
        let registry = prometheus::Registry::new();
        for collector in meters.collectors() {
            registry.register(collector).unwrap();
        }
        for status in [101, 200, 204, 404, 599] {
            let status = StatusCode::from_u16(status).ok();
            meters.answered(status, Duration::from_millis(20));
        }
        meters.answered(None, Duration::ZERO);
        let text = prometheus::TextEncoder::new()
            .encode_to_string(&registry.gather())
            .unwrap();
        for line in [
            "ferrule_ingress_requests_total{status=\"1xx\"} 1",
            "ferrule_ingress_requests_total{status=\"2xx\"} 2",
            "ferrule_ingress_requests_total{status=\"3xx\"} 0",
            "ferrule_ingress_requests_total{status=\"5xx\"} 1",
            "ferrule_ingress_requests_total{status=\"other\"} 1",
            "ferrule_ingress_request_duration_seconds_count 6",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }
}
