// SPDX-License-Identifier: Apache-2.0
//! What commits leave to be cleared away: flows and remembered clients of endpoints that are gone.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use super::Table;
use crate::backend::{Error, Nftables};
use crate::plan::Contribution;
use crate::plan::nft::{Key, Op, SetName};
use crate::plan::stale::{self, StaleFlows};

/// Leftovers of commits.
#[derive(Debug, Default)]
pub struct Stale {
    /// Conntrack entries.
    pub flows: Vec<StaleFlows>,
    /// Remembered clients: the maps, and the endpoints that may hold some, by the newest word.
    pub clients: BTreeMap<SetName, BTreeSet<IpAddr>>,
}

impl Table {
    /// Ends the flows of frontends that only an earlier process knew.
    pub(super) fn leave_behind(&mut self) {
        let held = self.inherited.replace(HashMap::new()).unwrap_or_default();
        let now = self.ledger.contributions().map(|(_, c)| c);
        let abandoned = stale::abandoned(held.keys(), self.family, now);
        self.stale.flows.extend(abandoned);
    }

    /// Ends the flows that began while others had damaged the table: they went past the endpoints,
    /// and would go on doing so.
    pub(super) fn end_strays(&mut self) {
        let none = Contribution::default();
        for (_, planned) in self.ledger.contributions() {
            self.stale.flows.extend(stale::flows(&none, planned));
            self.stale.flows.extend(stale::all_connections(planned));
        }
    }

    /// Takes what is left to be cleared away.
    pub fn take_stale(&mut self) -> Stale {
        std::mem::take(&mut self.stale)
    }

    /// Puts back what could not be cleared away, unless there is a newer word by now.
    pub fn forget_later(&mut self, map: SetName, live: BTreeSet<IpAddr>) {
        self.stale.clients.entry(map).or_insert(live);
    }

    /// Removes clients of endpoints that are gone. A packet that is under way may add one more
    /// while we read, so this looks again until there is none. Returns how many were removed.
    pub fn forget(
        &self,
        map: &SetName,
        live: &BTreeSet<IpAddr>,
        kernel: &mut dyn Nftables,
    ) -> Result<usize, Error> {
        let mut forgotten = 0;
        for _ in 0..3 {
            let clients = kernel.read_clients(self.family, map)?;
            let gone = |(_, address): &(Key, _)| !live.contains(address);
            let op = |(key, _)| Op::Forget(map.clone(), key);
            let ops: Vec<Op> = clients.into_iter().filter(gone).map(op).collect();
            if ops.is_empty() {
                break;
            }
            forgotten += ops.len();
            for chunk in ops.chunks(4096) {
                kernel.commit(self.family, chunk)?;
            }
        }
        Ok(forgotten)
    }
}
