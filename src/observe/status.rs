// SPDX-License-Identifier: Apache-2.0
//! What the loop tells the outside.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::watch;

use super::accounting::{self, Accounting};
use super::checks::{Checks, HealthCheck};
use super::events::Recorder;
use super::health::{Health, Moment, Report};
use super::metrics::Metrics;
use super::view::{About, StatusView};
use crate::model::IpFamily;

/// The proxy's state as others see it. Cheap to clone; no method waits for anything.
#[derive(Clone)]
pub struct Status(Arc<Shared>);

/// How old what is served is; none if it is the API server's.
type StateAge = Box<dyn Fn() -> Option<Duration> + Send + Sync>;

struct Shared {
    now: Box<dyn Fn() -> Moment + Send + Sync>,
    health: Mutex<Health>,
    checks: watch::Sender<Arc<Checks>>,
    metrics: Metrics,
    events: OnceLock<Recorder>,
    about: OnceLock<About>,
    accounting: OnceLock<Accounting>,
    state_age: OnceLock<StateAge>,
    /// When this proxy started, by the time of day.
    started: Timestamp,
}

impl Status {
    /// A proxy that has just started. A change that is queued for `timeout` without being applied
    /// makes it unhealthy.
    pub fn new(timeout: Duration) -> Self {
        let start = Instant::now();
        Self::with_clock(timeout, move || Moment {
            wall: Timestamp::now(),
            elapsed: start.elapsed(),
        })
    }

    /// The same with a clock of the caller's.
    pub fn with_clock(timeout: Duration, now: impl Fn() -> Moment + Send + Sync + 'static) -> Self {
        let started = now().wall;
        Self(Arc::new(Shared {
            now: Box::new(now),
            health: Mutex::new(Health::new(timeout)),
            checks: watch::Sender::new(Arc::default()),
            metrics: Metrics::new(),
            events: OnceLock::new(),
            about: OnceLock::new(),
            accounting: OnceLock::new(),
            state_age: OnceLock::new(),
            started,
        }))
    }

    /// The same status with a way for Kubernetes Events, which otherwise lead nowhere. Only the
    /// first call counts.
    pub fn with_events(self, recorder: Recorder) -> Self {
        let _ = self.0.events.set(recorder);
        self
    }

    /// The same status that says what runs here. Only the first call counts.
    pub fn with_about(self, about: About) -> Self {
        let _ = self.0.about.set(about);
        self
    }

    /// Shows from now on how old what is served is, where that comes from the file of the last
    /// known state. Only the first call counts.
    pub fn show_state_age(&self, age: impl Fn() -> Option<Duration> + Send + Sync + 'static) {
        let _ = self.0.state_age.set(Box::new(age));
    }

    /// Shows sums as metrics and on the admin socket from now on. Only the first call counts.
    pub fn account(&self, accounting: Accounting) {
        if let Some(sums) = accounting::metrics::Sums::new(accounting.clone()) {
            self.register(Box::new(sums));
        }
        let _ = self.0.accounting.set(accounting);
    }

    /// The accounting, if it is on.
    pub fn accounting(&self) -> Option<&Accounting> {
        self.0.accounting.get()
    }

    /// Where Kubernetes Events are handed in.
    pub fn events(&self) -> Recorder {
        self.0.events.get().cloned().unwrap_or_default()
    }

    /// Changes the time after which a queued change makes unhealthy.
    pub fn set_timeout(&self, timeout: Duration) {
        self.health().set_timeout(timeout);
    }

    /// A change of this family waits to be applied.
    pub fn queued(&self, family: IpFamily) {
        let now = (self.0.now)();
        self.health().queued(family, now);
        self.0.metrics.queued(family, now.wall);
    }

    /// All changes of this family are in the kernel.
    pub fn applied(&self, family: IpFamily) {
        let now = (self.0.now)();
        self.health().applied(family, now);
        self.0.metrics.applied(family, now.wall);
    }

    /// A transaction failed; what it should have changed stays queued. The reason is logged, and
    /// shown on the admin socket until the family is applied.
    pub fn failed(&self, family: IpFamily, reason: &str) {
        tracing::error!(%family, reason, "rules were not applied");
        self.queued(family);
        self.health().failed(family, reason);
        self.0.metrics.failed(family);
    }

    /// Changes of endpoints that happened then (milliseconds since 1970) are in the kernel.
    pub fn programmed(&self, family: IpFamily, changes: &[i64]) {
        if changes.is_empty() {
            return;
        }
        let now = (self.0.now)().wall.as_millisecond();
        for at in changes {
            // Clocks differ: what seems to come from the future took no time.
            let after = u64::try_from(now.saturating_sub(*at)).unwrap_or(0);
            let after = Duration::from_millis(after);
            self.0.metrics.programmed(family, after);
        }
    }

    /// When this proxy started, in milliseconds since 1970.
    pub fn started(&self) -> i64 {
        self.0.started.as_millisecond()
    }

    /// Where the other stages record what they do.
    pub fn meters(&self) -> &Metrics {
        &self.0.metrics
    }

    /// Shows metrics of another stage's own as well.
    pub fn register(&self, collector: Box<dyn prometheus::core::Collector>) {
        self.0.metrics.register(collector);
    }

    /// The own Node: whether it is leaving, or None if there is no such Node.
    pub fn node(&self, leaving: Option<bool>) {
        self.health().node(leaving);
    }

    /// All Services that have a health check node port, and the addresses to answer on: the
    /// NodePort addresses, where `0.0.0.0` and `::` stand for all of a family.
    pub fn health_checks(&self, mut addresses: Vec<IpAddr>, mut services: Vec<HealthCheck>) {
        addresses.sort_unstable();
        addresses.dedup();
        services.sort_unstable();
        let checks = Checks {
            addresses,
            services,
        };
        self.0.checks.send_if_modified(|old| {
            let changed = **old != checks;
            if changed {
                *old = Arc::new(checks);
            }
            changed
        });
    }

    pub(super) fn checks(&self) -> watch::Receiver<Arc<Checks>> {
        self.0.checks.subscribe()
    }

    /// The current checks, without subscribing to them.
    pub(super) fn current_checks(&self) -> Arc<Checks> {
        self.0.checks.borrow().clone()
    }

    pub(crate) fn healthy(&self) -> bool {
        self.health().healthy((self.0.now)())
    }

    pub(super) fn healthz(&self) -> Report {
        let report = self.health().healthz((self.0.now)());
        self.0.metrics.healthz(report.good);
        report
    }

    pub(super) fn livez(&self) -> Report {
        let report = self.health().livez((self.0.now)());
        self.0.metrics.livez(report.good);
        report
    }

    /// What the admin socket says.
    pub(super) fn view(&self) -> StatusView {
        let now = (self.0.now)();
        let health = self.health();
        StatusView {
            healthy: health.healthy(now),
            failures: health.failures(),
            waiting: health.waiting(now),
            state_file_age: self
                .0
                .state_age
                .get()
                .and_then(|age| age())
                .map(|age| age.as_secs()),
            about: self.0.about.get().cloned(),
        }
    }

    /// All metrics in Prometheus' text format 0.0.4.
    pub fn metrics(&self) -> String {
        self.0.metrics.text()
    }

    /// A panic elsewhere leaves whole values behind: no update spans two steps.
    fn health(&self) -> MutexGuard<'_, Health> {
        self.0.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Status")
            .field("health", &*self.health())
            .finish_non_exhaustive()
    }
}
