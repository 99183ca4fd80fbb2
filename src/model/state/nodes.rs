// SPDX-License-Identifier: Apache-2.0
//! Which addresses are other nodes' own.

use std::collections::BTreeSet;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::Arc;

use super::{Changes, State};
use crate::model::Service;

impl State {
    /// The addresses of other nodes, as far as they are known.
    pub fn elsewhere(&self) -> &Arc<BTreeSet<IpAddr>> {
        &self.elsewhere
    }

    pub(super) fn apply_other_node(&mut self, name: Arc<str>, addresses: Vec<IpAddr>) -> Changes {
        let old = match addresses.is_empty() {
            true => self.other_nodes.remove(&name),
            false => self.other_nodes.insert(name, addresses.clone()),
        };
        let old = old.unwrap_or_default();
        for address in &addresses {
            *self.nodes_at.entry(*address).or_default() += 1;
        }
        for address in &old {
            if let Entry::Occupied(mut nodes) = self.nodes_at.entry(*address) {
                *nodes.get_mut() -= 1;
                if *nodes.get() == 0 {
                    nodes.remove();
                }
            }
        }
        self.place(old.into_iter().chain(addresses))
    }

    /// Finds out anew which of these addresses are other nodes'. Whoever has one from outside is
    /// concerned.
    pub(super) fn place(&mut self, addresses: impl Iterator<Item = IpAddr>) -> Changes {
        let mut moved = BTreeSet::new();
        for address in addresses {
            let mine = self.local_addresses.contains(&address);
            let there = !mine && self.nodes_at.contains_key(&address);
            if there != self.elsewhere.contains(&address) {
                moved.insert(address);
                let elsewhere = Arc::make_mut(&mut self.elsewhere);
                match there {
                    true => elsewhere.insert(address),
                    false => elsewhere.remove(&address),
                };
            }
        }
        // Until then all Services are planned anyway.
        if moved.is_empty() || !self.synced {
            return Changes::default();
        }
        let concerned = |s: &&Arc<Service>| s.external_addresses().any(|a| moved.contains(a));
        let services = self.services.values().filter(concerned);
        Changes::services(services.map(|s| s.name.clone()))
    }
}
