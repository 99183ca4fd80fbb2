// SPDX-License-Identifier: Apache-2.0
//! Metrics by ingress-nginx's names and labels, for dashboards and alerts that have them. Off unless
//! asked for.
//!
//! Each serving thread counts into rows of its own, without locks and without sharing a cache line
//! that another thread writes; a scrape adds them up. Labels come from routes, never from what a
//! client sent, and there are at most [`MOST`] rows a thread: all others count in one without labels.

use std::collections::BTreeMap;
use std::collections::hash_map::{DefaultHasher, HashMap};
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::{Method, StatusCode};
use prometheus::core::{Collector, Desc};
use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType,
};

use super::control::Changes;
use super::meters::Meters;
use super::table::{Route, Upstream};

/// The most rows of a thread.
const MOST: usize = 10_000;
/// Upper bounds, in seconds: ingress-nginx's `--time-buckets`.
const SECONDS: [f64; 11] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
/// Upper bounds, in bytes: ingress-nginx's `--size-buckets`.
const BYTES: [f64; 7] = [1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7];
/// The names of the labels of requests; `canary` is empty.
const LABELS: [&str; 8] = [
    "host",
    "path",
    "method",
    "status",
    "namespace",
    "ingress",
    "service",
    "canary",
];

/// What tells this process from all others.
#[derive(Debug, Clone, Default)]
pub struct Names {
    /// `controller_namespace`.
    pub namespace: String,
    /// `controller_class`.
    pub class: String,
    /// `controller_pod`.
    pub pod: String,
    /// Whether requests are counted by host.
    pub per_host: bool,
}

/// All of them. Cheap to clone.
#[derive(Debug, Clone)]
pub struct NginxMetrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    names: Names,
    meters: Meters,
    changes: Arc<Changes>,
    threads: Mutex<Vec<Rows>>,
}

/// The rows of a thread. The lock is taken for a new row and by a scrape.
type Rows = Arc<Mutex<Vec<Arc<Row>>>>;

/// One request that is over.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub(crate) route: &'a Route,
    pub(crate) upstream: &'a Upstream,
    pub(crate) method: &'a Method,
    pub(crate) status: StatusCode,
    pub(crate) took: Duration,
    /// Head and body, in bytes.
    pub(crate) received: u64,
    /// The body, in bytes.
    pub(crate) sent: u64,
}

#[derive(Debug)]
struct Row {
    labels: [String; 8],
    seconds: Spread<11>,
    received: Spread<7>,
    sent: Spread<7>,
}

/// A histogram that one thread writes. Its sum is in microseconds or bytes.
#[derive(Debug)]
struct Spread<const N: usize> {
    buckets: [AtomicU64; N],
    count: AtomicU64,
    sum: AtomicU64,
}

impl<const N: usize> Default for Spread<N> {
    fn default() -> Self {
        Self {
            buckets: [const { AtomicU64::new(0) }; N],
            count: AtomicU64::new(0),
            sum: AtomicU64::new(0),
        }
    }
}

/// Nobody else writes it.
fn add(counter: &AtomicU64, more: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(more), Relaxed);
}

impl<const N: usize> Spread<N> {
    fn observe(&self, bounds: &[f64; N], value: f64, sum: u64) {
        if let Some(place) = bounds.iter().position(|bound| value <= *bound) {
            add(&self.buckets[place], 1);
        }
        add(&self.count, 1);
        add(&self.sum, sum);
    }

    fn read(&self) -> Vec<u64> {
        let all = self.buckets.iter().chain([&self.count, &self.sum]);
        all.map(|counter| counter.load(Relaxed)).collect()
    }
}

/// What one thread counts with.
#[derive(Debug)]
pub(crate) struct Local {
    per_host: bool,
    known: HashMap<u64, Arc<Row>>,
    rows: Rows,
}

impl NginxMetrics {
    /// Metrics of this process.
    pub fn new(names: Names, meters: Meters, changes: Arc<Changes>) -> Self {
        Self(Arc::new(Inner {
            names,
            meters,
            changes,
            threads: Mutex::default(),
        }))
    }

    /// For one thread.
    pub(crate) fn local(&self) -> Local {
        let rows = Rows::default();
        if let Ok(mut threads) = self.0.threads.lock() {
            threads.push(rows.clone());
        }
        Local {
            per_host: self.0.names.per_host,
            known: HashMap::new(),
            rows,
        }
    }
}

impl Local {
    /// Counts a request.
    pub(crate) fn count(&mut self, request: &Request<'_>) {
        let mut key = self.key(request);
        if self.known.len() >= MOST && !self.known.contains_key(&key) {
            key = 0;
        }
        if !self.known.contains_key(&key) {
            self.insert(key, request);
        }
        let Some(row) = self.known.get(&key) else {
            return;
        };
        let micros = u64::try_from(request.took.as_micros()).unwrap_or(u64::MAX);
        row.seconds
            .observe(&SECONDS, request.took.as_secs_f64(), micros);
        row.received
            .observe(&BYTES, request.received as f64, request.received);
        row.sent.observe(&BYTES, request.sent as f64, request.sent);
    }

    fn key(&self, request: &Request<'_>) -> u64 {
        let mut hasher = DefaultHasher::new();
        let route = request.route;
        (&route.ingress, &route.path, method(request.method)).hash(&mut hasher);
        (&request.upstream.id.service, request.status).hash(&mut hasher);
        if self.per_host {
            route.host.hash(&mut hasher);
        }
        hasher.finish().max(1)
    }

    #[cold]
    fn insert(&mut self, key: u64, request: &Request<'_>) {
        let (route, service) = (request.route, &request.upstream.id.service);
        let labels = [
            if self.per_host { &*route.host } else { "" },
            &route.path,
            method(request.method),
            request.status.as_str(),
            &route.ingress.namespace,
            &route.ingress.name,
            &service.name,
            "",
        ];
        let labels = if key == 0 { [""; 8] } else { labels };
        let row = Arc::new(Row {
            labels: labels.map(str::to_owned),
            seconds: Spread::default(),
            received: Spread::default(),
            sent: Spread::default(),
        });
        if let Ok(mut rows) = self.rows.lock() {
            rows.push(row.clone());
        }
        self.known.insert(key, row);
    }
}

/// A client may invent methods.
fn method(method: &Method) -> &str {
    match *method {
        Method::GET
        | Method::POST
        | Method::PUT
        | Method::DELETE
        | Method::HEAD
        | Method::OPTIONS
        | Method::PATCH => method.as_str(),
        _ => "OTHER",
    }
}

/// Seconds, bytes received and bytes sent of all rows with the same labels.
type Sums = BTreeMap<[String; 8], [Vec<u64>; 3]>;

impl Inner {
    fn sums(&self) -> Sums {
        let mut sums = Sums::new();
        let threads = self.threads.lock().map(|threads| threads.clone());
        for rows in threads.unwrap_or_default() {
            let rows = rows.lock().map(|rows| rows.clone()).unwrap_or_default();
            for row in rows {
                let read = [row.seconds.read(), row.received.read(), row.sent.read()];
                let sum = sums
                    .entry(row.labels.clone())
                    .or_insert_with(|| read.each_ref().map(|values| vec![0; values.len()]));
                for (sum, values) in sum.iter_mut().zip(read) {
                    sum.iter_mut()
                        .zip(values)
                        .for_each(|(sum, value)| *sum += value);
                }
            }
        }
        sums
    }

    /// Label pairs, with those that all metrics have, in the order of their names.
    fn pairs(&self, own: &[(&str, &str)]) -> Vec<LabelPair> {
        let names = &self.names;
        let all = [
            ("controller_namespace", names.namespace.as_str()),
            ("controller_class", &names.class),
            ("controller_pod", &names.pod),
        ];
        let mut all = [&all[..], own].concat();
        all.sort_unstable();
        let pair = |(name, value): (&str, &str)| {
            let mut pair = LabelPair::default();
            pair.set_name(name.to_owned());
            pair.set_value(value.to_owned());
            pair
        };
        all.into_iter().map(pair).collect()
    }

    fn metric(&self, own: &[(&str, &str)], value: Value) -> Metric {
        let mut metric = Metric::from_label(self.pairs(own));
        match value {
            Value::Counter(value) => {
                let mut counter = Counter::default();
                counter.set_value(value);
                metric.set_counter(counter);
            }
            Value::Gauge(value) => {
                let mut gauge = Gauge::default();
                gauge.set_value(value);
                metric.set_gauge(gauge);
            }
            Value::Histogram(histogram) => metric.set_histogram(histogram),
        }
        metric
    }

    fn requests(&self, families: &mut Vec<MetricFamily>) {
        let sums = self.sums();
        let mut metrics: [Vec<Metric>; 4] = Default::default();
        for (labels, [seconds, received, sent]) in &sums {
            let own = LABELS
                .iter()
                .copied()
                .zip(labels.iter().map(String::as_str));
            let own: Vec<_> = own
                .filter(|(n, _)| *n != "host" || self.names.per_host)
                .collect();
            let count = seconds[SECONDS.len()] as f64;
            let values = [
                Value::Counter(count),
                Value::Histogram(histogram(&SECONDS, seconds, 1e6)),
                Value::Histogram(histogram(&BYTES, received, 1.0)),
                Value::Histogram(histogram(&BYTES, sent, 1.0)),
            ];
            for (metrics, value) in metrics.iter_mut().zip(values) {
                metrics.push(self.metric(&own, value));
            }
        }
        let [requests, seconds, received, sent] = metrics;
        let histogram = MetricType::HISTOGRAM;
        families.push(family(&REQUESTS[0], MetricType::COUNTER, requests));
        families.push(family(&REQUESTS[1], histogram, seconds));
        families.push(family(&REQUESTS[2], histogram, received));
        families.push(family(&REQUESTS[3], histogram, sent));
    }

    fn process(&self, families: &mut Vec<MetricFamily>) {
        let seen = self.meters.seen();
        let state = |state, value| self.metric(&[("state", state)], value);
        let active = vec![state("active", Value::Gauge(seen.connections as f64))];
        let total = vec![
            state("accepted", Value::Counter(seen.accepted as f64)),
            state(
                "handled",
                Value::Counter((seen.accepted - seen.refused) as f64),
            ),
        ];
        let requests = vec![self.metric(&[], Value::Counter(seen.requests as f64))];
        families.push(family(&PROCESS[0], MetricType::GAUGE, active));
        families.push(family(&PROCESS[1], MetricType::COUNTER, total));
        families.push(family(&PROCESS[2], MetricType::COUNTER, requests));
    }

    fn controller(&self, families: &mut Vec<MetricFamily>) {
        let changes = &self.changes;
        let (tables, refused) = (changes.tables.load(Relaxed), changes.refused.load(Relaxed));
        let one = |value| vec![self.metric(&[], value)];
        let whole = f64::from(u8::from(tables > 0));
        let at = changes.last.load(Relaxed) as f64;
        families.push(family(
            &CONTROLLER[0],
            MetricType::GAUGE,
            one(Value::Gauge(whole)),
        ));
        families.push(family(
            &CONTROLLER[1],
            MetricType::GAUGE,
            one(Value::Gauge(at)),
        ));
        let success = one(Value::Counter(tables as f64));
        families.push(family(&CONTROLLER[2], MetricType::COUNTER, success));
        let errors = one(Value::Counter(refused as f64));
        families.push(family(&CONTROLLER[3], MetricType::COUNTER, errors));
        let expiry = changes.certificates.load();
        let expiry = expiry.iter().map(|(host, secret, not_after)| {
            let own = [
                ("class", self.names.class.as_str()),
                ("host", host),
                ("namespace", &secret.namespace),
                ("secret_name", &secret.name),
            ];
            self.metric(&own, Value::Gauge(*not_after as f64))
        });
        let expiry = expiry.collect();
        families.push(family(&CONTROLLER[4], MetricType::GAUGE, expiry));
    }
}

enum Value {
    Counter(f64),
    Gauge(f64),
    Histogram(Histogram),
}

const REQUESTS: [(&str, &str); 4] = [
    ("requests", "Requests of routes"),
    (
        "request_duration_seconds",
        "From the head of a request to the end of its response",
    ),
    ("request_size", "Head and body of requests, in bytes"),
    ("response_size", "Bodies of responses, in bytes"),
];

const PROCESS: [(&str, &str); 3] = [
    ("nginx_process_connections", "Client connections"),
    (
        "nginx_process_connections_total",
        "Client connections that were accepted, and that were not reset at once",
    ),
    ("nginx_process_requests_total", "Requests"),
];

const CONTROLLER: [(&str, &str); 5] = [
    (
        "config_last_reload_successful",
        "1 once a complete table is in place",
    ),
    (
        "config_last_reload_successful_timestamp_seconds",
        "When the last table was put in place",
    ),
    ("success", "Tables that were put in place"),
    ("errors", "Certificates that were refused"),
    (
        "ssl_expire_time_seconds",
        "When a certificate ends to be valid, since 1970",
    ),
];

fn family((name, help): &(&str, &str), kind: MetricType, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(format!("nginx_ingress_controller_{name}"));
    family.set_help((*help).to_owned());
    family.set_field_type(kind);
    family.set_metric(metrics);
    family
}

/// Of buckets, count and sum, of which so many are one.
fn histogram(bounds: &[f64], values: &[u64], unit: f64) -> Histogram {
    let mut so_far = 0;
    let buckets = bounds.iter().zip(values).map(|(bound, count)| {
        so_far += count;
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(*bound);
        bucket.set_cumulative_count(so_far);
        bucket
    });
    let mut histogram = Histogram::default();
    histogram.set_bucket(buckets.collect());
    histogram.set_sample_count(values[bounds.len()]);
    histogram.set_sample_sum(values[bounds.len() + 1] as f64 / unit);
    histogram
}

impl Collector for NginxMetrics {
    /// None: labels and names are ours to keep apart.
    fn desc(&self) -> Vec<&Desc> {
        Vec::new()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut families = Vec::new();
        self.0.requests(&mut families);
        self.0.process(&mut families);
        self.0.controller(&mut families);
        // The registry takes no family without metrics.
        families.retain(|family| !family.get_metric().is_empty());
        families
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingress::table::Backend;

    fn counted(local: &mut Local, host: &str, status: u16, times: usize) {
        let upstream = crate::ingress::table::Upstream {
            id: crate::ingress::table::UpstreamId {
                service: crate::model::ServiceName::new("shop", "web"),
                port: "80".into(),
                protocol: crate::ingress::table::UpstreamProtocol::Http1,
            },
            endpoints: Arc::default(),
            protocol: crate::ingress::table::UpstreamProtocol::Http1,
            balance: crate::ingress::table::Balance::default(),
        };
        let route = Route {
            ingress: crate::model::ServiceName::new("shop", "i"),
            host: host.into(),
            path: "/x".into(),
            backend: Backend::Status(503),
            settings: Arc::default(),
        };
        for _ in 0..times {
            local.count(&Request {
                route: &route,
                upstream: &upstream,
                method: &Method::from_bytes(b"BREW").unwrap(),
                status: StatusCode::from_u16(status).unwrap(),
                took: Duration::from_millis(20),
                received: 150,
                sent: 5_000,
            });
        }
    }

    fn text(metrics: &NginxMetrics) -> String {
        let registry = prometheus::Registry::new();
        registry.register(Box::new(metrics.clone())).unwrap();
        let families = registry.gather();
        prometheus::TextEncoder::new()
            .encode_to_string(&families)
            .unwrap()
    }

    fn metrics(per_host: bool) -> NginxMetrics {
        let names = Names {
            namespace: "sys".into(),
            class: "k8s.io/ingress-nginx".into(),
            pod: "p".into(),
            per_host,
        };
        NginxMetrics::new(names, Meters::default(), Arc::default())
    }

    #[test]
    fn threads_are_added_up() {
        let metrics = metrics(true);
        let (mut one, mut two) = (metrics.local(), metrics.local());
        counted(&mut one, "a.example", 200, 3);
        counted(&mut two, "a.example", 200, 4);
        counted(&mut two, "a.example", 502, 1);
        let text = text(&metrics);
        let labels = "canary=\"\",controller_class=\"k8s.io/ingress-nginx\",\
                      controller_namespace=\"sys\",controller_pod=\"p\",host=\"a.example\",\
                      ingress=\"i\",method=\"OTHER\",namespace=\"shop\",path=\"/x\",\
                      service=\"web\",status=\"200\"";
        let name = "nginx_ingress_controller_";
        for line in [
            format!("{name}requests{{{labels}}} 7"),
            format!("{name}request_duration_seconds_bucket{{{labels},le=\"0.01\"}} 0"),
            format!("{name}request_duration_seconds_bucket{{{labels},le=\"0.025\"}} 7"),
            format!("{name}request_duration_seconds_bucket{{{labels},le=\"+Inf\"}} 7"),
            format!("{name}request_duration_seconds_sum{{{labels}}} 0.14"),
            format!("{name}request_size_sum{{{labels}}} 1050"),
            format!("{name}response_size_bucket{{{labels},le=\"1000\"}} 0"),
            format!("{name}response_size_bucket{{{labels},le=\"10000\"}} 7"),
        ] {
            assert!(text.contains(&line), "{line}\n{text}");
        }
        assert!(text.contains("state=\"active\"} 0"), "{text}");
        assert!(text.contains("config_last_reload_successful{"), "{text}");
    }

    /// What a scraper is told, in the same words as docs/metrics.md has the names.
    #[test]
    fn the_docs_list_what_is_served() {
        const DOCS: &str = include_str!("../../docs/metrics.md");
        let changes = Changes::default();
        let one = (
            "a.example".into(),
            crate::model::ServiceName::new("shop", "tls"),
            7,
        );
        changes.certificates.store(Arc::new(vec![one]));
        let meters = Meters::default();
        let metrics = NginxMetrics::new(Names::default(), meters.clone(), Arc::new(changes));
        counted(&mut metrics.local(), "a.example", 200, 1);
        meters.upstream_failed("connect");
        let registry = prometheus::Registry::new();
        registry.register(Box::new(metrics)).unwrap();
        for collector in meters.collectors() {
            registry.register(collector).unwrap();
        }
        let families = registry.gather();
        let kind = |family: &MetricFamily| match family.get_field_type() {
            MetricType::COUNTER => "counter",
            MetricType::GAUGE => "gauge",
            _ => "histogram",
        };
        let served = families
            .iter()
            .map(|f| format!("| {} | `{}` |", kind(f), f.name()));
        let served: std::collections::BTreeSet<String> = served.collect();
        let rows = DOCS.lines().filter_map(|line| {
            let end = line.match_indices(" |").nth(1)?.0 + 2;
            let row = &line[..end];
            let ours = row.contains("`ferrule_ingress_") || row.contains("`nginx_ingress_");
            ours.then(|| row.to_owned())
        });
        assert_eq!(rows.collect::<std::collections::BTreeSet<_>>(), served);
    }

    #[test]
    fn rows_are_bounded() {
        let metrics = metrics(true);
        let mut local = metrics.local();
        for n in 0..MOST + 50 {
            counted(&mut local, &format!("h{n}.example"), 200, 1);
        }
        let rows = local.rows.lock().unwrap().len();
        assert_eq!(rows, MOST + 1);
        let others = local.known[&0].seconds.count.load(Relaxed);
        assert_eq!(others, 50);
    }

    #[test]
    fn hosts_may_be_left_out() {
        let metrics = metrics(false);
        let mut local = metrics.local();
        counted(&mut local, "a.example", 200, 1);
        counted(&mut local, "b.example", 200, 1);
        let text = text(&metrics);
        assert!(
            !text.contains("example") && text.contains("status=\"200\"} 2"),
            "{text}"
        );
    }
}
