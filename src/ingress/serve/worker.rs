// SPDX-License-Identifier: Apache-2.0
//! What one serving thread has to itself.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use arc_swap::cache::Cache;
use tokio::sync::Notify;

use super::state::State;
use crate::ingress::access_log::AccessLog;
use crate::ingress::action::handshake::Handshake;
use crate::ingress::guard::Guard;
use crate::ingress::keep::Budget;
use crate::ingress::meters::Meters;
use crate::ingress::nginx_metrics::{Local, NginxMetrics};
use crate::ingress::proxy::mirror::Mirrors;
use crate::ingress::services::Services;
use crate::ingress::table::Table;
use crate::ingress::tls;
use crate::ingress::upstream::Upstreams;

/// How often connections that nobody needs are looked for.
const SWEEP: Duration = Duration::from_secs(5);

/// How many ways to begin TLS are kept ready: more than anybody has, and not without end.
const MOST_HANDSHAKES: usize = 64;

/// One serving thread.
pub(crate) struct Worker {
    table: RefCell<Cache<Arc<ArcSwap<Table>>, Arc<Table>>>,
    upstreams: Upstreams,
    mirrors: Mirrors,
    meters: Meters,
    guard: Arc<Guard>,
    bodies: Budget,
    services: Services,
    log: Option<AccessLog>,
    tls: Arc<rustls::ServerConfig>,
    handshakes: RefCell<Vec<(Handshake, Arc<rustls::ServerConfig>)>>,
    limit: usize,
    threads: usize,
    nginx: Option<RefCell<Local>>,
    listeners: Cell<usize>,
    connections: RefCell<HashMap<u64, Option<Arc<State>>>>,
    numbers: Cell<u64>,
    start: Instant,
    draining: Cell<bool>,
    drains: Notify,
    changed: Notify,
}

/// What workers are made of.
#[derive(Clone)]
pub(super) struct Parts {
    pub(super) table: Arc<ArcSwap<Table>>,
    pub(super) meters: Meters,
    pub(super) guard: Arc<Guard>,
    pub(super) bodies: Budget,
    pub(super) log: Option<AccessLog>,
    pub(super) tls: Arc<rustls::ServerConfig>,
    pub(super) limit: usize,
    /// How many threads there are, each with a listener for each address.
    pub(super) threads: usize,
    pub(super) nginx: Option<NginxMetrics>,
}

impl Worker {
    pub(super) fn new(parts: Parts) -> Rc<Self> {
        Rc::new(Self {
            table: RefCell::new(Cache::new(parts.table)),
            upstreams: Upstreams::default(),
            mirrors: Mirrors::default(),
            meters: parts.meters,
            guard: parts.guard,
            bodies: parts.bodies,
            services: Services::default(),
            log: parts.log,
            tls: parts.tls,
            handshakes: RefCell::default(),
            limit: parts.limit,
            threads: parts.threads,
            nginx: parts.nginx.map(|nginx| RefCell::new(nginx.local())),
            listeners: Cell::new(0),
            connections: RefCell::default(),
            numbers: Cell::new(0),
            start: Instant::now(),
            draining: Cell::new(false),
            drains: Notify::new(),
            changed: Notify::new(),
        })
    }

    /// The table as it is now.
    pub(crate) fn table<T>(&self, look: impl FnOnce(&Table) -> T) -> T {
        look(self.table.borrow_mut().load())
    }

    /// Connections to endpoints.
    pub(crate) fn upstreams(&self) -> &Upstreams {
        &self.upstreams
    }

    /// Copies of requests.
    pub(crate) fn mirrors(&self) -> &Mirrors {
        &self.mirrors
    }

    /// What keeps clients out.
    pub(crate) fn guard(&self) -> &Guard {
        &self.guard
    }

    /// Memory for bodies of requests, of all threads.
    pub(crate) fn bodies(&self) -> &Budget {
        &self.bodies
    }

    /// Connections to services that are asked who may come in.
    pub(crate) fn services(&self) -> &Services {
        &self.services
    }

    /// Counters.
    pub(crate) fn meters(&self) -> &Meters {
        &self.meters
    }

    /// Metrics by ingress-nginx's names, if somebody wants them.
    pub(crate) fn nginx(&self) -> Option<&RefCell<Local>> {
        self.nginx.as_ref()
    }

    /// The access log, if there is one.
    pub(crate) fn log(&self) -> Option<&AccessLog> {
        self.log.as_ref()
    }

    pub(super) fn tls(&self) -> Arc<rustls::ServerConfig> {
        self.tls.clone()
    }

    /// How TLS begins with clients of a host that has it otherwise.
    pub(super) fn tls_for(
        &self,
        handshake: &Handshake,
    ) -> Result<Arc<rustls::ServerConfig>, rustls::Error> {
        if handshake.is_usual() {
            return Ok(self.tls());
        }
        let mut known = self.handshakes.borrow_mut();
        if let Some((_, config)) = known.iter().find(|(known, _)| known == handshake) {
            return Ok(config.clone());
        }
        let config = tls::host_config(&self.tls, handshake)?;
        if known.len() >= MOST_HANDSHAKES {
            known.clear();
        }
        known.push((handshake.clone(), config.clone()));
        Ok(config)
    }

    /// From when the thread began until `now`.
    pub(crate) fn elapsed(&self, now: Instant) -> Duration {
        now.duration_since(self.start)
    }

    /// A number that this thread has not used before.
    pub(crate) fn number(&self) -> u64 {
        self.numbers.replace(self.numbers.get() + 1)
    }

    /// A place for one more connection, none if there are too many.
    pub(super) fn place(self: &Rc<Self>) -> Option<Place> {
        let mut connections = self.connections.borrow_mut();
        if connections.len() >= self.limit {
            return None;
        }
        let number = self.number();
        connections.insert(number, None);
        self.meters.opened();
        Some(Place {
            worker: self.clone(),
            number,
        })
    }

    /// How many threads there are.
    pub(super) fn threads(&self) -> usize {
        self.threads
    }

    /// A listener is served for as long as what is returned is kept.
    pub(super) fn listens(self: &Rc<Self>) -> Listening {
        self.listeners.set(self.listeners.get() + 1);
        Listening(self.clone())
    }

    /// Ends connections as soon as they have no request under way, and waits until all have ended
    /// or the deadline has passed. Gives how many are left.
    pub(super) async fn drain(&self, deadline: Instant) -> usize {
        self.draining.set(true);
        self.drains.notify_waiters();
        for state in self.connections.borrow().values().flatten() {
            state.part();
        }
        let empty = async {
            while !self.connections.borrow().is_empty() || self.listeners.get() > 0 {
                self.changed.notified().await;
            }
        };
        // Not expected to matter: what is left is the same either way.
        let _ = tokio::time::timeout_at(deadline.into(), empty).await;
        self.connections.borrow().len()
    }

    /// Returns once [`Worker::drain`] was called.
    pub(super) async fn drains(&self) {
        while !self.draining.get() {
            self.drains.notified().await;
        }
    }

    /// Closes idle connections to endpoints, for ever.
    pub(super) async fn sweep(self: Rc<Self>) {
        loop {
            tokio::time::sleep(SWEEP).await;
            let keep = self.table(|table| table.settings.idle_upstream_timeout);
            self.upstreams.sweep(keep);
            self.services.sweep();
            self.guard.zones.sweep(Instant::now());
        }
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").finish_non_exhaustive()
    }
}

/// Counts as a listener for as long as it is kept.
pub(super) struct Listening(Rc<Worker>);

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.listeners.set(self.0.listeners.get() - 1);
        self.0.changed.notify_waiters();
    }
}

/// Counts as a connection for as long as it is kept.
#[derive(Debug)]
pub(crate) struct Place {
    worker: Rc<Worker>,
    number: u64,
}

impl Place {
    /// Lets the connection know when the worker drains.
    pub(super) fn register(&self, state: Arc<State>) {
        if self.worker.draining.get() {
            state.part();
        }
        let mut connections = self.worker.connections.borrow_mut();
        connections.insert(self.number, Some(state));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.worker.connections.borrow_mut().remove(&self.number);
        self.worker.meters.closed();
        self.worker.changed.notify_waiters();
    }
}
