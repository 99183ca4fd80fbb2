// SPDX-License-Identifier: Apache-2.0
//! Metrics by ingress-nginx's names and labels, for dashboards and alerts that have them. Off unless
//! asked for.
//!
//! Each serving thread counts into rows of its own, without locks and without sharing a cache line
//! that another thread writes; a scrape (`scrape`) adds them up. Labels come from routes, never from
//! what a client sent, and there are at most [`MOST`] rows a thread: all others count in one without
//! labels.

mod scrape;
#[cfg(test)]
mod tests;

use std::collections::hash_map::{DefaultHasher, HashMap};
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::{Method, StatusCode};

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
/// The names of the labels of requests; `canary` is empty unless one answered.
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
    /// What answered instead.
    pub(crate) canary: Option<&'a Upstream>,
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
        if let Some(canary) = request.canary {
            (&canary.id.service, &canary.id.port).hash(&mut hasher);
        }
        hasher.finish().max(1)
    }

    #[cold]
    fn insert(&mut self, key: u64, request: &Request<'_>) {
        let (route, service) = (request.route, &request.upstream.id.service);
        let canary = request.canary.map(|canary| canary.id.nginx_name());
        let labels = [
            if self.per_host { &*route.host } else { "" },
            &route.path,
            method(request.method),
            request.status.as_str(),
            &route.ingress.namespace,
            &route.ingress.name,
            &service.name,
            canary.as_deref().unwrap_or_default(),
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
