// SPDX-License-Identifier: Apache-2.0
//! Looks whether virtual servers and their addresses are as we left them. The kernel tells nobody
//! of a change, so it has to be asked.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::servers::{Servers, USUAL};
use crate::backend::servers::Destination;
use crate::backend::{Error, VirtualServers};
use crate::model::Target;
use crate::plan::ipvs::{ServerKey, Settings, VirtualServer};
use crate::plan::ledger::Ledger;

/// Virtual servers whose real servers one look compares, for each takes a request of its own. The
/// next look goes on with the following ones.
const AT_ONCE: usize = 1_000;

impl Servers {
    /// How many virtual servers and addresses are not as they are wanted: others have deleted or
    /// changed them.
    ///
    /// # Errors
    /// The kernel's.
    pub fn missing(
        &mut self,
        ledger: &Ledger,
        kernel: &mut dyn VirtualServers,
    ) -> Result<usize, Error> {
        let there = kernel.servers(self.family)?;
        let as_wanted =
            |(key, server): &(&ServerKey, &Arc<VirtualServer>)| self.is_there(key, server, &there);
        let servers = ledger.servers().iter().filter(|s| !as_wanted(s)).count();
        let bound = kernel.bound(self.family)?;
        let addresses = self.bound.difference(&bound).count();
        let emptied = self.changed(ledger, &there, kernel)?;
        Ok(servers + addresses + emptied)
    }

    /// Whether a virtual server chooses as it is wanted to, with the scheduler that the kernel has.
    fn is_there(
        &self,
        key: &ServerKey,
        wanted: &VirtualServer,
        there: &BTreeMap<ServerKey, Option<Settings>>,
    ) -> bool {
        let mut wanted = wanted.settings.clone();
        if self.schedulers.get(&wanted.scheduler) == Some(&false) {
            wanted.scheduler = USUAL.into();
        }
        there
            .get(key)
            .is_some_and(|there| there.as_ref() == Some(&wanted))
    }

    /// How many of the next virtual servers that are there have lost real servers, or have others.
    fn changed(
        &mut self,
        ledger: &Ledger,
        servers: &BTreeMap<ServerKey, Option<Settings>>,
        kernel: &mut dyn VirtualServers,
    ) -> Result<usize, Error> {
        let wanted = |key: &ServerKey, target: &Target| {
            let server = ledger.servers().get(key);
            server.is_some_and(|s| s.destinations.contains_key(target))
        };
        self.refused.retain(|(key, target)| wanted(key, target));
        let mut changed = 0;
        let mut last = None;
        let next = ledger.servers().after(self.looked).take(AT_ONCE);
        for (number, (key, server)) in next.enumerate() {
            if servers.contains_key(key) {
                let there = kernel.destinations(key)?;
                changed += usize::from(!self.has_all(key, server, &there));
            }
            last = Some(*key).filter(|_| number + 1 == AT_ONCE);
        }
        self.looked = last;
        Ok(changed)
    }

    /// Whether a virtual server has the real servers that it is wanted to have. Others that take no
    /// new connections may be there: they are on their way out.
    fn has_all(&self, key: &ServerKey, wanted: &VirtualServer, there: &[Destination]) -> bool {
        let found: BTreeMap<Target, Option<u32>> =
            there.iter().map(|d| (d.target, d.weight)).collect();
        let mut wanted_ones = wanted.destinations.iter();
        let there = wanted_ones.all(|(target, weight)| {
            found.get(target) == Some(&Some(*weight)) || self.refused.contains(&(*key, *target))
        });
        let mut others = found.iter();
        let known = |target| wanted.destinations.contains_key(target);
        there && others.all(|(target, weight)| known(target) || *weight == Some(0))
    }
}
