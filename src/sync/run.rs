// SPDX-License-Identifier: Apache-2.0
//! The loop itself, on one screen.

use std::future::Future;
use std::time::Duration;

use tokio::sync::mpsc::Receiver;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::engine::{Committed, Engine};
use super::flows::Flows;
use super::pace::Pace;
use super::pending::{Note, Pending};
use super::reports::Reports;
use super::takeover::Takeover;
use crate::backend::Nftables;
use crate::localhost::NodePorts;
use crate::model::{Changes, Event, IpFamily};
use crate::observe::{AdminRequest, HealthCheck, Status, show};
use crate::plan::{Options, skeleton};

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
    /// New options of the rules; none come from a channel that is closed, as it is at first.
    pub options: watch::Receiver<Options>,
    pace: Pace,
    retry_at: Option<Instant>,
    reports: Reports,
    pending: Pending,
    started: Instant,
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
            options,
            pace: Pace::default(),
            retry_at: None,
            reports,
            pending: Pending::default(),
            started: Instant::now(),
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
            let retry = tokio::time::sleep_until(self.retry_at.unwrap_or_else(Instant::now));
            tokio::select! {
                biased;
                () = &mut stop => return,
                Some(question) = questions.recv() => self.answer(question),
                () = retry, if self.retry_at.is_some() => self.commit(),
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
        self.report_queued();
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
        self.report_queued();
    }

    fn report_queued(&self) {
        if self.engine.has_work() {
            self.engine
                .families()
                .for_each(|family| self.status.queued(family));
        }
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

    fn commit(&mut self) {
        let mut done = self.engine.commit();
        self.retry_at = match done.failed() {
            true => Some(Instant::now() + self.pace.failed()),
            false => None,
        };
        self.report(&done);
        if done.failed() {
            return;
        }
        self.pace.succeeded();
        if let Some(takeover) = &mut self.takeover {
            takeover.rules_in_force();
        }
        let pending = std::mem::take(&mut self.pending);
        let meters = self.status.meters();
        meters.coalesced(pending.changes);
        meters.pending(0, 0);
        if let Some(conntrack) = &self.flows {
            for (family, flows) in done.stale_flows.drain(..) {
                conntrack.end(family, flows);
            }
        }
        self.report_services(&done.changes);
        self.serve_localhost(&done.changes);
        self.tell_skipped();
        if done.health_checks {
            self.report_health_checks();
        }
    }

    fn report(&mut self, done: &Committed) {
        self.measure(done);
        for (family, result, took) in &done.families {
            match result {
                Ok(sent) => {
                    debug!(%family, ?took, messages = sent.messages, elements = sent.elements, "committed");
                    self.status.applied(*family);
                    let changed = self.pending.take_triggers(*family);
                    self.status.programmed(*family, &changed);
                }
                Err(error) => {
                    self.status.failed(*family, &Chain(error).to_string());
                }
            }
        }
        for (_, error) in &done.left_behind {
            warn!(
                "sticky clients of an endpoint that is gone: {}",
                Chain(error)
            );
        }
    }

    fn tell_skipped(&mut self) {
        for (kind, field, count) in self.reports.tally.news() {
            self.status.meters().skipped(kind, field, count);
        }
    }

    /// Tells metrics of a commit. The tables keep their counts, so that none is counted here.
    pub(super) fn measure(&mut self, done: &Committed) {
        let meters = self.status.meters();
        let families = done.families.iter().zip(&done.figures);
        for ((family, result, took), (_, figures)) in families {
            // A change of one family's endpoints is no sync of the other family.
            let idle = matches!(result, Ok(sent) if sent.messages == 0);
            if !idle || figures.full {
                meters.synced(*family, *took, figures.full);
            }
            meters.drift_repaired(*family, usize::from(figures.drifted));
            if let Ok(sent) = result {
                meters.sent(*family, sent.messages, sent.elements, figures.kernel);
            }
        }
        for table in self.engine.tables() {
            let (family, ledger) = (table.family(), table.ledger());
            let without = ledger.without_local();
            meters.elements(family, |set| ledger.count(set));
            meters.without_local(family, without.inside, without.outside);
        }
        meters.clients_forgotten(done.clients_forgotten);
        done.left_behind
            .iter()
            .for_each(|(family, _)| meters.cleanup_failed(*family));
    }

    fn report_services(&mut self, changes: &Changes) {
        let state = self.engine.state();
        if changes.everything {
            state
                .service_names()
                .for_each(|name| self.reports.service(name, state));
            let took: Duration = self.started.elapsed();
            let (services, skipped) = (
                state.service_names().count(),
                self.reports.skipped_objects(),
            );
            info!(services, skipped, ?took, "in step");
        } else {
            changes
                .services
                .iter()
                .for_each(|name| self.reports.service(name, state));
        }
    }

    fn report_health_checks(&self) {
        let (state, options) = (self.engine.state(), self.engine.options());
        let addresses = |family: IpFamily| skeleton::node_addresses(state, options, family);
        let checks = self
            .engine
            .health_checks()
            .iter()
            .map(|(service, (port, ready))| HealthCheck {
                service: service.clone(),
                port: *port,
                local_endpoints: *ready,
            });
        self.status.health_checks(
            self.engine.families().flat_map(addresses).collect(),
            checks.collect(),
        );
    }

    fn serve_localhost(&mut self, changes: &Changes) {
        let Some(localhost) = &mut self.localhost else {
            return;
        };
        let (state, options) = (self.engine.state(), self.engine.options());
        let families: Vec<IpFamily> = self.engine.families().collect();
        localhost.update(state, changes, &families, |family| {
            skeleton::node_addresses(state, options, family).pop_first()
        });
    }

    fn answer(&self, question: AdminRequest) {
        let families: Vec<IpFamily> = self.engine.families().collect();
        match question {
            AdminRequest::Services { selection, reply } => {
                // Who asked may be gone by now.
                let _ = reply.send(show::services(self.engine.state(), &families, &selection));
            }
        }
    }
}

/// An error with its causes, on one line.
struct Chain<'a>(&'a dyn std::error::Error);

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
