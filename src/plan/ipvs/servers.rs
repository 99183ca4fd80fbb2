// SPDX-License-Identifier: Apache-2.0
//! The sum of all virtual servers: part of the ledger.
//!
//! A NodePort is planned once and served on each of the node's addresses, so it is here that it
//! becomes virtual servers.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::Bound;
use std::sync::Arc;

use super::{ServerKey, VirtualServer};
use crate::model::Protocol;
use crate::plan::change::Change;

/// What a Service wants on one of its frontends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// The address; none for a NodePort.
    pub address: Option<IpAddr>,
    /// Protocol.
    pub protocol: Protocol,
    /// Port.
    pub port: u16,
    /// What serves it. Frontends of one service port that have the same share it.
    pub server: Arc<VirtualServer>,
}

/// Who asks for a virtual server. If one of the node's addresses is also a Service's, a port of it
/// can be asked for as both; the Service's address goes first, as in nftables mode.
#[derive(Debug, Clone, Default)]
struct Slot {
    address: Option<Arc<VirtualServer>>,
    node_port: Option<Arc<VirtualServer>>,
}

impl Slot {
    fn holder(&self) -> Option<&Arc<VirtualServer>> {
        self.address.as_ref().or(self.node_port.as_ref())
    }
}

/// All virtual servers that are wanted in one family.
#[derive(Debug, Clone, Default)]
pub struct Servers {
    slots: BTreeMap<ServerKey, Slot>,
    node_ports: BTreeMap<(Protocol, u16), Arc<VirtualServer>>,
    node_addresses: BTreeSet<IpAddr>,
}

impl Servers {
    /// All of them, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&ServerKey, &Arc<VirtualServer>)> {
        let slots = self.slots.iter();
        slots.filter_map(|(key, slot)| Some((key, slot.holder()?)))
    }

    /// Those whose keys come after one, or all.
    pub fn after(
        &self,
        key: Option<ServerKey>,
    ) -> impl Iterator<Item = (&ServerKey, &Arc<VirtualServer>)> {
        let from = key.map_or(Bound::Unbounded, Bound::Excluded);
        let slots = self.slots.range((from, Bound::Unbounded));
        slots.filter_map(|(key, slot)| Some((key, slot.holder()?)))
    }

    /// The one at an address and port.
    pub fn get(&self, key: &ServerKey) -> Option<&Arc<VirtualServer>> {
        self.slots.get(key)?.holder()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The addresses that NodePorts are served on.
    pub fn node_addresses(&self) -> &BTreeSet<IpAddr> {
        &self.node_addresses
    }

    /// Puts what a Service wants in the place of what it wanted.
    pub fn replace(&mut self, old: &[Planned], new: &[Planned], change: &mut Change) {
        let place = |p: &Planned| (p.address, p.protocol, p.port);
        let after: BTreeMap<_, _> = new.iter().map(|p| (place(p), p)).collect();
        for gone in old.iter().filter(|p| !after.contains_key(&place(p))) {
            self.set(gone, false, change);
        }
        for planned in new {
            self.set(planned, true, change);
        }
    }

    /// Another Service may have taken the place over before its former holder gives it up: only
    /// the holder's own is removed.
    fn set(&mut self, planned: &Planned, wanted: bool, change: &mut Change) {
        let Planned {
            address,
            protocol,
            port,
            server,
        } = planned;
        let key = |address| ServerKey {
            address,
            protocol: *protocol,
            port: *port,
        };
        let put = |place: &mut Option<Arc<VirtualServer>>| match wanted {
            true => *place = Some(server.clone()),
            false if place.as_ref().is_some_and(|p| Arc::ptr_eq(p, server)) => *place = None,
            false => {}
        };
        if let Some(address) = address {
            return self.edit(key(*address), |slot| put(&mut slot.address), change);
        }
        let mut held = self.node_ports.remove(&(*protocol, *port));
        put(&mut held);
        if let Some(held) = held {
            self.node_ports.insert((*protocol, *port), held);
        }
        for address in self.node_addresses.clone() {
            self.edit(key(address), |slot| put(&mut slot.node_port), change);
        }
    }

    /// Serves NodePorts on these addresses.
    pub fn set_node_addresses(&mut self, addresses: BTreeSet<IpAddr>, change: &mut Change) {
        let old = std::mem::replace(&mut self.node_addresses, addresses.clone());
        for ((protocol, port), server) in self.node_ports.clone() {
            let key = |address: &IpAddr| ServerKey {
                address: *address,
                protocol,
                port,
            };
            for gone in old.difference(&addresses) {
                self.edit(key(gone), |slot| slot.node_port = None, change);
            }
            for come in addresses.difference(&old) {
                let serve = |slot: &mut Slot| slot.node_port = Some(server.clone());
                self.edit(key(come), serve, change);
            }
        }
    }

    fn edit(&mut self, key: ServerKey, edit: impl FnOnce(&mut Slot), change: &mut Change) {
        let slot = self.slots.entry(key).or_default();
        let before = slot.holder().cloned();
        edit(slot);
        let after = slot.holder().cloned();
        if after.is_none() {
            self.slots.remove(&key);
        }
        if before != after {
            change.server(key, before.as_ref(), after.as_ref());
        }
    }
}
