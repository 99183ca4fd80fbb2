// SPDX-License-Identifier: Apache-2.0
//! The loop itself, on one screen.

use std::future::Future;

use tokio::sync::mpsc::{self, Receiver};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::drain::{CHECK, LOOK};
use super::engine::Engine;
use super::flows::Flows;
use super::heal::Truce;
use super::pace::Pace;
use super::pending::{Note, Pending};
use super::reports::Reports;
use super::takeover::Takeover;
use crate::backend::Nftables;
use crate::backend::nft::monitor::Interference;
use crate::localhost::NodePorts;
use crate::model::Event;
use crate::observe::{AdminRequest, Status};
use crate::plan::Options;

/// The most events that one commit takes in. What comes later waits for the next.
const BATCH: usize = 8_192;

/// The proxy with what it reports to.
pub struct Loop<K> {
    /// State, tables and kernel.
    pub engine: Engine<K>,
    /// Ends flows to endpoints that are gone; none where conntrack can't be reached.
    pub flows: Option<Flows>,
    /// Removes kube-proxy's rules after the first commit; none where they are to stay.
    pub takeover: Option<Takeover>,
    /// What health checks and metrics show.
    pub status: Status,
    /// Whether the proxy is healthy only while its own Node object exists.
    pub needs_node: bool,
    /// Serves NodePorts on loopback, if that is wanted.
    pub localhost: Option<NodePorts>,
    /// What others do to our tables; nothing comes from a channel that is closed, as it is at first.
    pub interference: Receiver<Interference>,
    /// New options of the rules; none come from a channel that is closed, as it is at first.
    pub options: watch::Receiver<Options>,
    pub(super) reports: Reports,
    pub(super) pending: Pending,
    pub(super) started: Instant,
    pace: Pace,
    retry_at: Option<Instant>,
    truce: Truce,
    /// What others have done and we have not yet put right.
    broken: Interference,
    heal_at: Option<Instant>,
    /// When to look at real servers that keep their connections.
    drain_at: Option<Instant>,
    /// When to look whether virtual servers are still there.
    check_at: Option<Instant>,
}

impl<K: Nftables> Loop<K> {
    /// A loop that has seen nothing yet.
    pub fn new(engine: Engine<K>, flows: Option<Flows>, status: Status) -> Self {
        let reports = Reports::new(status.events());
        let options = watch::Sender::new(engine.options().clone()).subscribe();
        Self {
            engine,
            flows,
            takeover: None,
            status,
            needs_node: true,
            localhost: None,
            interference: mpsc::channel(1).1,
            options,
            reports,
            pending: Pending::default(),
            started: Instant::now(),
            pace: Pace::default(),
            retry_at: None,
            truce: Truce::default(),
            broken: Interference::default(),
            heal_at: None,
            drain_at: None,
            check_at: None,
        }
    }

    /// Runs until `stop` is ready or no event can come any more. The rules stay.
    pub async fn run(
        mut self,
        mut events: Receiver<Event>,
        mut questions: Receiver<AdminRequest>,
        stop: impl Future<Output = ()>,
    ) {
        tokio::pin!(stop);
        loop {
            let sleep = |until: Option<Instant>| sleep_until(until.unwrap_or_else(Instant::now));
            let (retry, drain) = (sleep(self.retry_at), sleep(self.drain_at));
            let (heal, check) = (sleep(self.heal_at), sleep(self.check_at));
            tokio::select! {
                biased;
                () = &mut stop => return,
                Some(question) = questions.recv() => self.answer(question),
                () = retry, if self.retry_at.is_some() => self.commit(),
                Some(found) = self.interference.recv() => self.broken(found),
                () = heal, if self.heal_at.is_some() => self.heal(),
                () = drain, if self.drain_at.is_some() => self.drain(),
                () = check, if self.check_at.is_some() => self.check(),
                Ok(()) = self.options.changed() => self.change_options(),
                event = events.recv() => match event {
                    None => return,
                    Some(event) => {
                        self.observe(event);
                        let more = std::iter::from_fn(|| events.try_recv().ok());
                        more.take(BATCH).for_each(|event| self.observe(event));
                        if self.engine.has_work() && self.retry_at.is_none() {
                            self.commit();
                        }
                    }
                },
            }
        }
    }

    fn change_options(&mut self) {
        let options = self.options.borrow_and_update().clone();
        self.engine.set_options(options);
        self.tell_queued();
        if self.engine.has_work() && self.retry_at.is_none() {
            self.commit();
        }
    }

    fn observe(&mut self, event: Event) {
        self.reports.event(&event);
        let of_node = matches!(event, Event::Node(_) | Event::Synced);
        self.tell_skipped();
        self.take_in(event);
        if of_node {
            let (state, options) = (self.engine.state(), self.engine.options());
            self.reports.node(state, options, self.needs_node);
        }
        let leaving = self.engine.state().node_leaving();
        self.status
            .node(leaving.or((!self.needs_node).then_some(false)));
        self.tell_queued();
    }

    /// Gives the engine an event, and counts it.
    fn take_in(&mut self, event: Event) {
        let meters = self.status.meters();
        let note = Note::of(&event, self.engine.state(), self.status.started());
        match note {
            Note::Service(_) => meters.service_change(),
            Note::Slice { .. } => meters.endpoint_change(),
            Note::Other => {}
        }
        if self.engine.take_in(event) {
            self.pending.add(note);
            meters.pending(self.pending.endpoint_changes, self.pending.services());
        }
    }

    /// Others have changed our tables: they are put right now, or after a truce.
    fn broken(&mut self, found: Interference) {
        self.broken.add(found);
        while let Ok(more) = self.interference.try_recv() {
            self.broken.add(more);
        }
        if self.heal_at.is_none() {
            let repair = self.truce.broken(self.started.elapsed());
            self.tell_broken(&self.broken, repair);
            self.heal_at = Some(Instant::now() + repair.wait);
        }
    }

    fn heal(&mut self) {
        self.heal_at = None;
        let found = std::mem::take(&mut self.broken);
        self.engine.suspect(found.families);
        if self.engine.has_work() && self.retry_at.is_none() {
            self.commit();
        }
    }

    fn drain(&mut self) {
        let done = self.engine.drain(Instant::now().into_std());
        self.tell_drained(&done);
        self.drain_at = None;
        self.look_later();
    }

    /// Brings back what others have deleted of virtual servers and their addresses.
    fn check(&mut self) {
        let found = self.engine.look();
        self.tell_missing(&found);
        self.check_at = Some(Instant::now() + CHECK);
        if self.engine.has_work() && self.retry_at.is_none() {
            self.commit();
        }
    }

    /// Sets the time for the next look, if there is something to look at.
    fn look_later(&mut self) {
        if self.drain_at.is_none() && self.engine.draining() > 0 {
            self.drain_at = Some(Instant::now() + LOOK);
        }
    }

    fn commit(&mut self) {
        let mut done = self.engine.commit();
        self.look_later();
        self.retry_at = match done.failed() {
            true => Some(Instant::now() + self.pace.failed()),
            false => None,
        };
        self.tell_commit(&done);
        if done.failed() {
            return;
        }
        self.pace.succeeded();
        let next = || Instant::now() + CHECK;
        self.check_at = self
            .engine
            .has_servers()
            .then(|| self.check_at.unwrap_or_else(next));
        if let Some(takeover) = &mut self.takeover {
            takeover.rules_in_force();
        }
        self.tell_coalesced();
        if let Some(conntrack) = &self.flows {
            for (family, flows) in done.stale_flows.drain(..) {
                conntrack.end(family, flows);
            }
        }
        self.tell_changes(&done);
    }
}
