// SPDX-License-Identifier: Apache-2.0
//! What changes between two states of the sum, and the transaction that does it.

use std::collections::{BTreeMap, btree_map};
use std::sync::Arc;

use super::ipvs::{ServerKey, VirtualServer};
use super::nft::{ChainName, ChainSpec, Element, Key, Op, SetId, SetName, SetSpec, Transaction};

/// Former and future state of one object; equal ones need nothing.
pub type Pair<T> = (Option<T>, Option<T>);

/// Collects changes. An object has one owner before and one after (or is counted), so when it moves
/// from one Service to another, one of them tells the former state and the other the future one, in
/// either order; together they are one change.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// Nothing is noted: the kernel is going to be compared with the whole sum anyway.
    ignored: bool,
    chains: BTreeMap<ChainName, Pair<Arc<ChainSpec>>>,
    sets: BTreeMap<SetName, Pair<Arc<SetSpec>>>,
    elements: BTreeMap<(SetId, Key), Pair<Element>>,
    servers: Servers,
    /// See [`Change::with_addresses_last`].
    addresses_last: bool,
}

/// Virtual servers that change: as they were and as they are to be.
pub type Servers = BTreeMap<ServerKey, Pair<Arc<VirtualServer>>>;

fn note<K: Ord, T: Clone>(
    map: &mut BTreeMap<K, Pair<T>>,
    key: K,
    before: Option<&T>,
    after: Option<&T>,
) {
    match map.entry(key) {
        btree_map::Entry::Vacant(entry) => {
            entry.insert((before.cloned(), after.cloned()));
        }
        btree_map::Entry::Occupied(mut entry) => {
            let (former, future) = entry.get_mut();
            if former.is_none() {
                *former = before.cloned();
            }
            if after.is_some() {
                *future = after.cloned();
            }
        }
    }
}

impl Change {
    /// A change that notes nothing.
    pub fn ignored() -> Self {
        Self {
            ignored: true,
            ..Self::default()
        }
    }

    /// The same change, in which VIPs leave their set after all else: while they are bound, the set
    /// keeps their unused ports from being this host's.
    #[must_use]
    pub fn with_addresses_last(mut self, last: bool) -> Self {
        self.addresses_last = last;
        self
    }

    /// Notes that a virtual server appears, changes or goes. Unlike the others, it is told in the
    /// order of events.
    pub fn server(
        &mut self,
        key: ServerKey,
        before: Option<&Arc<VirtualServer>>,
        after: Option<&Arc<VirtualServer>>,
    ) {
        if !self.ignored {
            let entry = self.servers.entry(key);
            let pair = entry.or_insert_with(|| (before.cloned(), None));
            pair.1 = after.cloned();
        }
    }

    /// Takes the virtual servers that change.
    pub fn take_servers(&mut self) -> Servers {
        std::mem::take(&mut self.servers)
    }

    /// Notes that a chain appears, changes or goes.
    pub fn chain(&mut self, before: Option<&Arc<ChainSpec>>, after: Option<&Arc<ChainSpec>>) {
        let Some(either) = before.or(after).filter(|_| !self.ignored) else {
            return;
        };
        note(&mut self.chains, either.name.clone(), before, after);
    }

    /// Notes that a set appears or goes.
    pub fn set(&mut self, before: Option<&Arc<SetSpec>>, after: Option<&Arc<SetSpec>>) {
        let Some(either) = before.or(after).filter(|_| !self.ignored) else {
            return;
        };
        note(&mut self.sets, either.name.clone(), before, after);
    }

    /// Notes that an element appears, changes or goes.
    pub fn element(&mut self, before: Option<&Element>, after: Option<&Element>) {
        let Some(either) = before.or(after).filter(|_| !self.ignored) else {
            return;
        };
        note(&mut self.elements, (either.set, either.key), before, after);
    }

    /// The keys of the elements that are noted.
    pub fn elements(&self) -> impl Iterator<Item = (SetId, Key)> {
        self.elements.keys().copied()
    }

    /// Whether nothing was noted.
    pub fn is_empty(&self) -> bool {
        self.chains.is_empty()
            && self.sets.is_empty()
            && self.elements.is_empty()
            && self.servers.is_empty()
    }

    /// The transaction. What is named comes before what names it, and additions before the
    /// removals that [`Transaction::later`] describes.
    pub fn into_transaction(self) -> Transaction {
        let mut tx = Transaction::default();
        let mut rules = Vec::new();
        let mut unused = Vec::new();
        for (_, (before, after)) in self.sets {
            match (before, after) {
                (None, Some(set)) => tx.ops.push(Op::AddSet(set)),
                (Some(set), None) => unused.push(Op::DeleteSet(set.name.clone())),
                _ => {}
            }
        }
        for (name, (before, after)) in self.chains {
            match (before, after) {
                (before, Some(after)) if before.as_ref() != Some(&after) => {
                    if before.is_none() {
                        tx.ops.push(Op::AddChain(after.clone()));
                    }
                    rules.push(Op::SetRules(after));
                }
                (Some(_), None) => tx.later.push(Op::DeleteChain(name)),
                _ => {}
            }
        }
        tx.ops.append(&mut rules);
        elements(self.elements, self.addresses_last, &mut tx);
        order_deletions(&mut tx.later);
        tx.later.append(&mut unused);
        tx
    }
}

/// Elements: ranges that go, then everything that comes or changes in the order of the sets, then
/// what goes in the opposite order. Endpoints go later: a packet that has taken the verdict for
/// three of them may still ask for the third.
fn elements(
    elements: BTreeMap<(SetId, Key), Pair<Element>>,
    addresses_last: bool,
    tx: &mut Transaction,
) {
    let mut gone = Vec::new();
    let mut come = Vec::new();
    for ((set, _), pair) in elements {
        match pair {
            (Some(before), Some(after)) if before == after => {}
            (Some(before), None) if set == SetId::SourceRanges => {
                tx.ops.push(Op::DeleteElement(before));
            }
            (Some(before), None) => gone.push(before),
            (before, Some(after)) => {
                come.extend(before.map(Op::DeleteElement));
                come.push(Op::AddElement(after));
            }
            (None, None) => {}
        }
    }
    tx.ops.append(&mut come);
    for element in gone.into_iter().rev() {
        let lingers = match element.set {
            SetId::Endpoints | SetId::NodeportEndpoints => true,
            SetId::ServiceAddresses => addresses_last,
            _ => false,
        };
        let ops = if lingers { &mut tx.later } else { &mut tx.ops };
        ops.push(Op::DeleteElement(element));
    }
}

/// Chains refer to each other (`ranges-lb-3` to `lb-3`), so the one that refers must go first.
/// Names make that order: `ranges-` before `sticky-` before the shared ones.
fn order_deletions(ops: &mut [Op]) {
    ops.sort_by_key(|op| match op {
        Op::DeleteElement(_) => 0,
        Op::DeleteChain(name) if name.as_str().starts_with("ranges-") => 1,
        Op::DeleteChain(name) if name.as_str().starts_with("sticky-") => 2,
        _ => 3,
    });
}
