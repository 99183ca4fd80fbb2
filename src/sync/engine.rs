// SPDX-License-Identifier: Apache-2.0
//! Events in, one transaction a family out. Holds everything that the loop needs.

use std::collections::BTreeMap;

use super::table::Table;
use crate::backend::{Error, Nftables, Sent};
use crate::model::{Changes, Event, IpFamily, ServiceName, State, select};
use crate::plan::Options;
use crate::plan::stale::StaleFlows;

/// The proxy without its surroundings: a state, the tables that follow it, and the kernel.
pub struct Engine<K> {
    kernel: K,
    options: Options,
    state: State,
    pending: Changes,
    tables: Vec<Table>,
    health_checks: BTreeMap<ServiceName, (u16, usize)>,
}

/// What a commit did.
#[derive(Debug, Default)]
pub struct Committed {
    /// What was sent, both families together.
    pub sent: Sent,
    /// Conntrack entries that may have gone stale.
    pub stale_flows: Vec<(IpFamily, Vec<StaleFlows>)>,
    /// Sticky clients that were let go because their endpoint went.
    pub clients_forgotten: usize,
}

impl<K: Nftables> Engine<K> {
    /// An engine for a node, serving the given families.
    pub fn new(kernel: K, options: Options, state: State, families: &[IpFamily]) -> Self {
        let tables = families.iter().map(|f| Table::new(*f)).collect();
        let pending = Changes {
            everything: true,
            node: true,
            ..Changes::default()
        };
        Self {
            kernel,
            options,
            state,
            pending,
            tables,
            health_checks: BTreeMap::new(),
        }
    }

    /// Takes in an event. Nothing reaches the kernel before the next commit.
    pub fn observe(&mut self, event: Event) {
        let changes = self.state.apply(event);
        self.pending.merge(changes);
    }

    /// Whether a commit has something to do: never before everything has been listed.
    pub fn has_work(&self) -> bool {
        self.state.synced() && !self.pending.is_empty()
    }

    /// Brings the kernel to the present state. After an error nothing is lost: the changes stay
    /// pending, and the next commit starts from what the kernel holds.
    pub fn commit(&mut self) -> Result<Committed, Error> {
        let mut done = Committed::default();
        if !self.state.synced() {
            return Ok(done);
        }
        for table in &mut self.tables {
            done.sent +=
                table.commit(&self.state, &self.options, &self.pending, &mut self.kernel)?;
        }
        let changes = std::mem::take(&mut self.pending);
        self.update_health_checks(&changes);
        for table in &mut self.tables {
            let stale = table.take_stale();
            for clients in &stale.clients {
                done.clients_forgotten += table.forget(clients, &mut self.kernel)?;
            }
            if !stale.flows.is_empty() {
                done.stale_flows.push((table.family(), stale.flows));
            }
        }
        Ok(done)
    }

    fn update_health_checks(&mut self, changes: &Changes) {
        let names: Vec<ServiceName> = match changes.everything {
            true => {
                self.health_checks.clear();
                self.state.service_names().cloned().collect()
            }
            false => changes.services.iter().cloned().collect(),
        };
        for name in names {
            let port = self
                .state
                .service(&name)
                .and_then(|s| s.health_check_node_port);
            match port {
                Some(port) => {
                    let ready = select::local_ready(self.state.slices(&name), self.state.node());
                    self.health_checks.insert(name, (port, ready));
                }
                None => {
                    self.health_checks.remove(&name);
                }
            }
        }
    }

    /// For each Service with a healthCheckNodePort: the port, and its ready endpoints here.
    pub fn health_checks(&self) -> &BTreeMap<ServiceName, (u16, usize)> {
        &self.health_checks
    }

    /// The state.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The tables.
    pub fn tables(&self) -> &[Table] {
        &self.tables
    }

    /// The options of the rules.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The kernel.
    pub fn kernel(&mut self) -> &mut K {
        &mut self.kernel
    }
}
