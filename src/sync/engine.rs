// SPDX-License-Identifier: Apache-2.0
//! Events in, one transaction a family out. Holds everything that the loop needs.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::servers::Trouble;
use super::table::{Figures, Table};
use crate::backend::{Error, Nftables, Sent, VirtualServers};
use crate::model::{Changes, Event, IpFamily, ServiceName, State, select};
use crate::plan::Options;
use crate::plan::resync::Doubt;
use crate::plan::stale::StaleFlows;

/// The proxy without its surroundings: a state, the tables that follow it, and the kernel.
pub struct Engine<K> {
    kernel: K,
    /// Only in IPVS mode.
    ipvs: Option<Box<dyn VirtualServers + Send>>,
    options: Options,
    state: State,
    pending: Changes,
    tables: Vec<Table>,
    health_checks: BTreeMap<ServiceName, (u16, usize)>,
}

/// What a commit did.
#[derive(Debug, Default)]
pub struct Committed {
    /// For each family, what was sent or why it failed, and how long it took.
    pub families: Vec<(IpFamily, Result<Sent, Error>, Duration)>,
    /// What was planned anew; nothing if a family failed.
    pub changes: Changes,
    /// Whether health checks have to be told anew.
    pub health_checks: bool,
    /// Conntrack entries that may have gone stale.
    pub stale_flows: Vec<(IpFamily, Vec<StaleFlows>)>,
    /// Sticky clients that were let go because their endpoint went.
    pub clients_forgotten: usize,
    /// Why some clients could not be let go. The next commit tries again.
    pub left_behind: Vec<(IpFamily, Error)>,
    /// What virtual servers cannot do as it was wished; something else is done.
    pub troubles: Vec<(IpFamily, Trouble)>,
    /// For each family, what metrics want to know of it.
    pub figures: Vec<(IpFamily, Figures)>,
}

impl Committed {
    /// Whether any family failed.
    pub fn failed(&self) -> bool {
        self.families.iter().any(|(_, result, _)| result.is_err())
    }

    /// What was sent, all families together.
    pub fn sent(&self) -> Sent {
        let mut sum = Sent::default();
        self.families
            .iter()
            .filter_map(|(_, r, _)| r.as_ref().ok())
            .for_each(|s| sum += *s);
        sum
    }
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
            ipvs: None,
            options,
            state,
            pending,
            tables,
            health_checks: BTreeMap::new(),
        }
    }

    /// The same engine with virtual servers, which IPVS mode needs.
    #[must_use]
    pub fn with_ipvs(mut self, ipvs: Option<Box<dyn VirtualServers + Send>>) -> Self {
        self.ipvs = ipvs;
        self
    }

    /// Takes in an event. Nothing reaches the kernel before the next commit.
    pub fn observe(&mut self, event: Event) {
        self.take_in(event);
    }

    /// The same; returns whether the event changes anything.
    pub fn take_in(&mut self, event: Event) -> bool {
        let changes = self.state.apply(event);
        let changed = !changes.is_empty();
        self.pending.merge(changes);
        changed
    }

    /// Changes the options of the rules: everything is planned anew by the next commit, which
    /// writes only what differs.
    pub fn set_options(&mut self, options: Options) {
        if self.options != options {
            self.options = options;
            self.pending.merge(Changes {
                everything: true,
                node: true,
                ..Changes::default()
            });
        }
    }

    /// Others may have changed the tables of these families: the next commit puts them right.
    pub fn suspect(&mut self, families: BTreeMap<IpFamily, Doubt>) {
        for (family, doubt) in families {
            let table = self.tables.iter_mut().find(|t| t.family() == family);
            table.into_iter().for_each(|t| t.suspect(doubt.clone()));
        }
    }

    /// Whether a commit has something to do: never before everything has been listed.
    pub fn has_work(&self) -> bool {
        self.state.synced()
            && (!self.pending.is_empty() || self.tables.iter().any(Table::is_suspect))
    }

    /// Brings the kernel to the present state. A family that fails does not keep the other from
    /// its commit. After an error nothing is lost: the changes stay pending, and the failed
    /// family's next commit starts from what the kernel holds.
    pub fn commit(&mut self) -> Committed {
        let mut done = Committed::default();
        if !self.state.synced() {
            return done;
        }
        for table in &mut self.tables {
            let family = table.family();
            let begun = Instant::now();
            let ipvs = self
                .ipvs
                .as_deref_mut()
                .map(|ipvs| ipvs as &mut dyn VirtualServers);
            let (options, pending) = (&self.options, &self.pending);
            match table.commit(&self.state, options, pending, &mut self.kernel, ipvs) {
                Ok(sent) => done.families.push((family, Ok(sent), begun.elapsed())),
                Err(error) => done.families.push((family, Err(error), begun.elapsed())),
            }
            done.figures.push((family, table.take_figures()));
            let troubles = table.servers().take_troubles().into_iter();
            done.troubles
                .extend(troubles.map(|trouble| (family, trouble)));
        }
        if done.failed() {
            return done;
        }
        done.changes = std::mem::take(&mut self.pending);
        done.health_checks = self.update_health_checks(&done.changes);
        self.clear_away(&mut done);
        done
    }

    /// Real servers that are gone but keep their connections for a while.
    pub fn draining(&self) -> usize {
        self.tables.iter().map(Table::draining).sum()
    }

    /// Whether there are virtual servers that others might delete.
    pub fn has_servers(&self) -> bool {
        self.ipvs.is_some() && self.options.mode.ipvs().is_some()
    }

    /// Looks whether others have deleted virtual servers or addresses; if so, the next commit has
    /// work. Returns how many there are of each family.
    pub fn look(&mut self) -> Vec<(IpFamily, Result<usize, Error>)> {
        let Some(ipvs) = self.ipvs.as_deref_mut() else {
            return Vec::new();
        };
        let tables = self.tables.iter_mut();
        let found: Vec<_> = tables.map(|t| (t.family(), t.look(ipvs))).collect();
        self.pending.node |= found.iter().any(|(_, n)| !matches!(n, Ok(0) | Err(_)));
        found
    }

    /// Removes those that have lost their connections, or had their time. What fails is tried
    /// again the next time.
    pub fn drain(&mut self, now: Instant) -> Vec<(IpFamily, Result<usize, Error>)> {
        let (Some(ipvs), Some(options)) = (self.ipvs.as_deref_mut(), self.options.mode.ipvs())
        else {
            return Vec::new();
        };
        let busy = self.tables.iter_mut().filter(|t| t.draining() > 0);
        busy.map(|table| (table.family(), table.servers().drain(now, options, ipvs)))
            .collect()
    }

    /// Lets go of sticky clients whose endpoints are gone, and hands out the flows to be ended.
    fn clear_away(&mut self, done: &mut Committed) {
        for table in &mut self.tables {
            let stale = table.take_stale();
            for (map, live) in stale.clients {
                match table.forget(&map, &live, &mut self.kernel) {
                    Ok(count) => done.clients_forgotten += count,
                    Err(error) => {
                        done.left_behind.push((table.family(), error));
                        table.forget_later(map, live);
                    }
                }
            }
            if !stale.flows.is_empty() {
                done.stale_flows.push((table.family(), stale.flows));
            }
        }
    }

    /// Returns whether any of them may have changed, or the addresses that they answer on.
    fn update_health_checks(&mut self, changes: &Changes) -> bool {
        let mut changed = changes.everything || changes.node;
        let names: Vec<ServiceName> = match changes.everything {
            true => {
                self.health_checks.clear();
                self.state.service_names().cloned().collect()
            }
            false => changes.services.iter().cloned().collect(),
        };
        for name in names {
            let service = self.state.service(&name);
            match service.and_then(|s| s.health_check_node_port.map(|port| (s, port))) {
                Some((service, port)) => {
                    let slices = self.state.slices(&name);
                    let ready = select::local_ready(service, slices, self.state.node());
                    changed |=
                        self.health_checks.insert(name, (port, ready)) != Some((port, ready));
                }
                None => changed |= self.health_checks.remove(&name).is_some(),
            }
        }
        changed
    }

    /// For each Service with a healthCheckNodePort: the port, and its ready endpoints here.
    pub fn health_checks(&self) -> &BTreeMap<ServiceName, (u16, usize)> {
        &self.health_checks
    }

    /// The state.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The families that are served.
    pub fn families(&self) -> impl Iterator<Item = IpFamily> {
        self.tables.iter().map(Table::family)
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
