// SPDX-License-Identifier: Apache-2.0
//! Metrics of watching: requests as client-go counts them, and watches that had to be made anew.

use std::time::Duration;

use hyper::Uri;
use prometheus::core::Collector;
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts};

/// client-go's buckets, in seconds.
const BUCKETS: [f64; 12] = [
    0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0,
];

/// Counts what goes to the API server. Cheap to clone; all clones count together.
#[derive(Debug, Clone)]
pub struct Meters {
    requests: IntCounterVec,
    durations: HistogramVec,
    restarts: IntCounterVec,
    held: IntGaugeVec,
    remembered: IntGauge,
}

impl Default for Meters {
    fn default() -> Self {
        let counters = |name: &str, help: &str, labels: &[&str]| {
            IntCounterVec::new(Opts::new(name, help), labels).expect("a valid name and labels")
        };
        let durations = HistogramOpts::new(
            "rest_client_request_duration_seconds",
            "Time until the API server begins to answer, without watches",
        );
        let durations = durations.buckets(BUCKETS.to_vec());
        Self {
            requests: counters(
                "rest_client_requests_total",
                "Requests to the API server; code <error>: there was no answer",
                &["code", "method", "host"],
            ),
            durations: HistogramVec::new(durations, &["verb", "host"])
                .expect("a valid name and labels"),
            restarts: counters(
                "ferrule_watch_restarts_total",
                "Watches and lists that failed and were tried again",
                &["kind"],
            ),
            held: IntGaugeVec::new(
                Opts::new(
                    "ferrule_watch_held_objects",
                    "Objects that a new list lacks and that are served for a while nevertheless",
                ),
                &["kind"],
            )
            .expect("a valid name and labels"),
            remembered: IntGauge::new(
                "ferrule_state_file_age_seconds",
                "Age of the last known state, if that is served as the API server has not answered \
                 yet; else 0",
            )
            .expect("a valid name"),
        }
    }
}

impl Meters {
    /// What an exporter of metrics needs to show them.
    pub fn collectors(&self) -> [Box<dyn Collector>; 5] {
        [
            Box::new(self.requests.clone()),
            Box::new(self.durations.clone()),
            Box::new(self.restarts.clone()),
            Box::new(self.held.clone()),
            Box::new(self.remembered.clone()),
        ]
    }

    /// How old what is served from the file of the last known state is; none: nothing is.
    pub fn remembered(&self, age: Option<Duration>) {
        let seconds = age.map_or(0, |age| age.as_secs().max(1));
        self.remembered
            .set(i64::try_from(seconds).unwrap_or(i64::MAX));
    }

    /// What [`remembered`](Self::remembered) was told last.
    pub fn state_age(&self) -> Option<Duration> {
        let seconds = u64::try_from(self.remembered.get()).ok()?;
        (seconds > 0).then(|| Duration::from_secs(seconds))
    }

    /// A request was answered with this HTTP status, or not at all.
    pub fn request(&self, method: &str, uri: &Uri, code: Option<u16>, took: Duration) {
        let host = uri.authority().map_or("", |authority| authority.as_str());
        let code = code.map_or_else(|| "<error>".to_owned(), |code| code.to_string());
        self.requests
            .with_label_values(&[code.as_str(), method, host])
            .inc();
        if !watches(uri) {
            self.durations
                .with_label_values(&[method, host])
                .observe(took.as_secs_f64());
        }
    }

    /// The watch or the list of a kind, by its plural, failed.
    pub fn restarted(&self, kind: &str) {
        self.restarts.with_label_values(&[kind]).inc();
    }

    /// So many objects of a kind are missing in a list, and still served.
    pub fn held(&self, kind: &str, count: usize) {
        let gauge = self.held.with_label_values(&[kind]);
        gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
    }
}

fn watches(uri: &Uri) -> bool {
    let parameters = uri.query().unwrap_or_default().split('&');
    parameters
        .filter_map(|parameter| parameter.split_once('='))
        .any(|(name, value)| name == "watch" && value != "false" && value != "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_has_no_duration() {
        let meters = Meters::default();
        let request = |text: &str, code| {
            let uri = text.parse().expect("a URI");
            meters.request("GET", &uri, code, Duration::from_millis(7));
        };
        request("https://api:6443/api/v1/services?limit=500", Some(200));
        request(
            "https://api:6443/api/v1/services?limit=5&watch=true",
            Some(200),
        );
        request("https://api:6443/api/v1/services?watch=true", None);
        let count = |code| {
            let labels = [code, "GET", "api:6443"];
            meters.requests.with_label_values(&labels).get()
        };
        assert_eq!((count("200"), count("<error>")), (2, 1));
        let duration = meters.durations.with_label_values(&["GET", "api:6443"]);
        assert_eq!(duration.get_sample_count(), 1);
    }
}
