// SPDX-License-Identifier: Apache-2.0
//! What the loop tells others: health, metrics, the log, listeners, and who asks.

use std::time::Duration;

use tracing::{debug, info, warn};

use super::engine::Committed;
use super::heal::Repair;
use super::run::Loop;
use super::table::Table;
use crate::backend::nft::monitor::Interference;
use crate::backend::{Error, Nftables};
use crate::model::{Changes, IpFamily, ServiceName};
use crate::observe::events::{Notice, RULES_CONTESTED};
use crate::observe::{AdminRequest, HealthCheck, show};
use crate::plan::nft::{TABLE, text};
use crate::plan::{frontend, skeleton};

impl<K: Nftables> Loop<K> {
    /// Work waits from now on.
    pub(super) fn tell_queued(&self) {
        if self.engine.has_work() {
            self.engine
                .families()
                .for_each(|family| self.status.queued(family));
        }
    }

    /// What each family's commit did: health, metrics, the log.
    pub(super) fn tell_commit(&mut self, done: &Committed) {
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
        for (family, trouble) in &done.troubles {
            let (reason, text) = (trouble.reason, trouble.text.clone());
            warn!(%family, "{text}");
            self.status.events().of_node(reason, "Program", text);
        }
        for (_, error) in &done.left_behind {
            warn!(
                "sticky clients of an endpoint that is gone: {}",
                Chain(error)
            );
        }
    }

    /// Others have changed our tables.
    pub(super) fn tell_broken(&self, found: &Interference, repair: Repair) {
        let wait = repair.wait;
        let story = story(found);
        warn!(objects = found.objects, ?wait, "{story}");
        found
            .families
            .keys()
            .for_each(|family| self.status.meters().interference(*family));
        if repair.contested {
            let events = self.status.events();
            let note = format!(
                "{story}, again and again; what they change is put back with growing waits"
            );
            let notice = Notice::warning(events.node(), RULES_CONTESTED, "RepairRules", note);
            events.record(notice);
        }
    }

    /// What became of real servers that kept their connections.
    pub(super) fn tell_drained(&self, done: &[(IpFamily, Result<usize, Error>)]) {
        for (family, result) in done {
            match result {
                Ok(0) => {}
                Ok(count) => debug!(%family, count, "real servers removed"),
                Err(error) => warn!("real servers that are gone: {}", Chain(error)),
            }
        }
    }

    /// What others have deleted.
    pub(super) fn tell_missing(&self, found: &[(IpFamily, Result<usize, Error>)]) {
        for (family, result) in found {
            match result {
                Ok(0) => {}
                Ok(count) => {
                    warn!(%family, "somebody has deleted or changed {count} virtual servers or addresses; they are put right");
                    self.status.meters().drift_repaired(*family, 1);
                }
                Err(error) => warn!(%family, "virtual servers cannot be listed: {}", Chain(error)),
            }
        }
    }

    /// What was waiting is in the kernel.
    pub(super) fn tell_coalesced(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        let meters = self.status.meters();
        meters.coalesced(pending.changes);
        meters.pending(0, 0);
    }

    /// What the changes of a commit mean for others.
    pub(super) fn tell_changes(&mut self, done: &Committed) {
        self.tell_services(&done.changes);
        self.serve_localhost(&done.changes);
        self.account(&done.changes);
        self.tell_skipped();
        if done.health_checks {
            self.tell_health_checks();
        }
    }

    /// Metrics of what was skipped since the last time.
    pub(super) fn tell_skipped(&mut self) {
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

    fn tell_services(&mut self, changes: &Changes) {
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

    fn tell_health_checks(&self) {
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

    /// Tells an accounting what Services answer on.
    fn account(&self, changes: &Changes) {
        let Some(accounting) = self.status.accounting() else {
            return;
        };
        let state = self.engine.state();
        let families: Vec<IpFamily> = self.engine.families().collect();
        let tell = |name: &ServiceName| {
            let mut frontends = Vec::new();
            if let Some(service) = state.service(name) {
                for (port, family) in (service.ports.iter())
                    .flat_map(|port| families.iter().map(move |family| (port, *family)))
                {
                    let all = frontend::frontends(state, service, port, family).into_iter();
                    frontends.extend(all.map(|f| (f.protocol.number(), f.address, f.port)));
                }
            }
            accounting.service(name.clone(), frontends);
        };
        match changes.everything {
            true => state.service_names().for_each(tell),
            false => changes.services.iter().for_each(tell),
        }
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

    /// Answers `ferrule debug`.
    pub(super) fn answer(&self, question: AdminRequest) {
        let families: Vec<IpFamily> = self.engine.families().collect();
        match question {
            AdminRequest::Services { selection, reply } => {
                // Who asked may be gone by now.
                let _ = reply.send(show::services(self.engine.state(), &families, &selection));
            }
            AdminRequest::Wanted { reply } => {
                let ledger = |table: &Table| (table.family(), table.ledger().clone());
                let _ = reply.send(self.engine.tables().iter().map(ledger).collect());
            }
        }
    }
}

/// Who has done what, in words.
fn story(found: &Interference) -> String {
    let tables: Vec<String> = found
        .families
        .keys()
        .map(|f| format!("{} {TABLE}", text::family_word(*f)))
        .collect();
    let tables = tables.join(" and ");
    match &found.process {
        Some((name, number)) => format!("{name} (process {number}) has changed table {tables}"),
        None if found.lost => format!("somebody may have changed table {tables}"),
        None => format!("somebody has changed table {tables}"),
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
