// SPDX-License-Identifier: Apache-2.0
//! `/healthz` of the metrics port, and `/metrics/slis`, which counts its answers (upstream:
//! `apiserver/pkg/server/healthz`, `component-base/metrics/prometheus/slis`).

use std::fmt::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hyper::{Method, StatusCode};
use jiff::Timestamp;

use crate::observe::http::{Reply, TEXT, plain, reply};

/// The text format of Prometheus; names are not to be escaped.
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";
/// The only check there is. It says that the process answers, no more.
const PING: &str = "ping";

/// Counts the answers of `/healthz`.
pub(super) struct Slis(Mutex<Counts>);

struct Counts {
    /// Since 1970, in seconds; gone after a reset, as upstream.
    started: Option<f64>,
    /// None until the first check, and after a reset.
    passed: Option<u64>,
}

/// An answer of `/metrics/slis`.
pub(super) enum Answer {
    Metrics(Reply),
    Reset(Reply),
}

impl Slis {
    pub(super) fn new(started: Timestamp) -> Self {
        Self(Mutex::new(Counts {
            started: Some(started.as_duration().as_secs_f64()),
            passed: None,
        }))
    }

    /// `/healthz` with its parameters `verbose` and `exclude`, which may come again and again.
    pub(super) fn healthz(&self, query: Option<&str>) -> Reply {
        let pairs = query.unwrap_or_default().split('&');
        let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let (mut verbose, mut excluded, mut unknown) = (false, false, Vec::new());
        for (name, value) in pairs {
            match (name, value) {
                ("verbose", _) => verbose = true,
                ("exclude", PING) => excluded = true,
                ("exclude", other) => unknown.push(format!("{other:?}")),
                _ => {}
            }
        }
        if !excluded {
            let mut counts = self.counts();
            counts.passed = Some(counts.passed.unwrap_or(0) + 1);
        }
        if !verbose {
            return reply(StatusCode::OK, TEXT, "ok");
        }
        let mut text = format!("[+]{PING}{} ok\n", if excluded { " excluded:" } else { "" });
        if !unknown.is_empty() {
            unknown.sort_unstable();
            unknown.dedup();
            let names = unknown.join(",");
            text +=
                &format!("warn: some health checks cannot be excluded: no matches for {names}\n");
        }
        text += "healthz check passed\n";
        reply(StatusCode::OK, TEXT, text)
    }

    /// `/metrics/slis`; DELETE forgets all.
    pub(super) fn answer(&self, method: &Method) -> Answer {
        let mut counts = self.counts();
        if *method == Method::DELETE {
            *counts = Counts {
                started: None,
                passed: None,
            };
            return Answer::Reset(plain(StatusCode::OK, TEXT, "metrics reset\n"));
        }
        Answer::Metrics(plain(StatusCode::OK, PROMETHEUS, counts.text()))
    }

    /// No update spans two steps, so a panic elsewhere leaves whole values.
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn text(&self) -> String {
        let mut text = String::new();
        let mut family = |name: &str, help: &str, kind: &str, sample: String| {
            // Writing to a String cannot fail.
            let _ = write!(
                text,
                "# HELP {name} {help}\n# TYPE {name} {kind}\n{name}{sample}\n"
            );
        };
        if let Some(passed) = self.passed {
            family(
                "kubernetes_healthcheck",
                "[STABLE] This metric records the result of a single healthcheck.",
                "gauge",
                format!("{{name=\"{PING}\",type=\"healthz\"}} 1"),
            );
            family(
                "kubernetes_healthchecks_total",
                "[STABLE] This metric records the results of all healthcheck.",
                "counter",
                format!("{{name=\"{PING}\",status=\"success\",type=\"healthz\"}} {passed}"),
            );
        }
        if let Some(started) = self.started {
            family(
                "process_start_time_seconds",
                "[ALPHA] Start time of the process since unix epoch in seconds.",
                "gauge",
                format!(" {started}"),
            );
        }
        text
    }
}
