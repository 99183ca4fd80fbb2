// SPDX-License-Identifier: Apache-2.0
//! Adds up contributions and keeps the sum: what the kernel should hold.
//!
//! Chains and a few sets are shared, so the ledger counts who needs them. Replacing one
//! contribution gives the change of the sum, which is all that has to be sent.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use super::change::Change;
use super::contribution::{Contribution, WithoutLocal};
use super::ipvs::servers::Servers;
use super::nft::element::address_from;
use super::nft::{ChainName, ChainSpec, Element, Key, SetId, SetName, SetSpec};
use super::ruleset::Ruleset;
use crate::model::ServiceName;

/// Who contributes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner {
    /// The node itself.
    Node,
    /// A Service.
    Service(ServiceName),
}

/// The sum of all contributions of one family.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    contributions: HashMap<Owner, Contribution>,
    chains: HashMap<ChainName, (Arc<ChainSpec>, usize)>,
    shared: HashMap<(SetId, Key), usize>,
    /// Elements of each set, in the order of [`SetId::ALL`].
    counts: [usize; SetId::ALL.len()],
    without_local: WithoutLocal,
    servers: Servers,
}

impl Ledger {
    /// What an owner contributes at present.
    pub fn get(&self, owner: &Owner) -> Option<&Contribution> {
        self.contributions.get(owner)
    }

    /// All contributions, in no particular order.
    pub fn contributions(&self) -> impl Iterator<Item = (&Owner, &Contribution)> {
        self.contributions.iter()
    }

    /// Puts a contribution in the place of the owner's former one, if any, and notes in `change`
    /// what that does to the sum.
    pub fn replace(&mut self, owner: Owner, mut new: Contribution, change: &mut Change) {
        let old = self.contributions.remove(&owner);
        let none = Contribution::default();
        let before = old.as_ref().unwrap_or(&none);
        if *before == new {
            // Its virtual servers are known by identity, so the former ones stay.
            if let Some(old) = old {
                self.contributions.insert(owner, old);
            }
            return;
        }
        // Additions first, so that what both need is never counted down to nothing.
        new.chains
            .iter_mut()
            .for_each(|c| self.add_chain(c, change));
        before
            .chains
            .iter()
            .for_each(|c| self.drop_chain(&c.name, change));
        sets(&before.sets, &new.sets, change);
        self.elements(&before.elements, &new.elements, change);
        self.servers.replace(&before.servers, &new.servers, change);
        if owner == Owner::Node {
            let served = new
                .elements
                .iter()
                .filter(|e| e.set == SetId::NodeAddresses);
            let addresses = served.filter_map(|e| address_from(e.key.as_bytes()));
            self.servers.set_node_addresses(addresses.collect(), change);
        }
        let (gone, come) = (before.without_local, new.without_local);
        let count = &mut self.without_local;
        count.inside = count.inside + come.inside - gone.inside;
        count.outside = count.outside + come.outside - gone.outside;
        if new != none {
            self.contributions.insert(owner, new);
        }
    }

    /// Counts a chain in. All who need an equal one share one copy of it.
    fn add_chain(&mut self, chain: &mut Arc<ChainSpec>, change: &mut Change) {
        match self.chains.entry(chain.name.clone()) {
            Entry::Vacant(entry) => {
                change.chain(None, Some(chain));
                entry.insert((chain.clone(), 1));
            }
            Entry::Occupied(mut entry) => {
                let (known, count) = entry.get_mut();
                *count += 1;
                if known == chain {
                    *chain = known.clone();
                } else {
                    change.chain(Some(known), Some(chain));
                    *known = chain.clone();
                }
            }
        }
    }

    fn drop_chain(&mut self, name: &ChainName, change: &mut Change) {
        if let Entry::Occupied(mut entry) = self.chains.entry(name.clone()) {
            entry.get_mut().1 -= 1;
            if entry.get().1 == 0 {
                let (chain, _) = entry.remove();
                change.chain(Some(&chain), None);
            }
        }
    }

    /// Walks both ordered lists side by side.
    fn elements(&mut self, old: &[Element], new: &[Element], change: &mut Change) {
        let place = |e: &Element| (e.set, e.key);
        let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
        loop {
            let (before, after) = match (old.peek(), new.peek()) {
                (None, None) => return,
                (Some(b), Some(a)) if place(b) == place(a) => (old.next(), new.next()),
                (Some(b), Some(a)) if place(b) < place(a) => (old.next(), None),
                (Some(_), None) => (old.next(), None),
                _ => (None, new.next()),
            };
            self.element(before, after, change);
        }
    }

    fn element(&mut self, before: Option<&Element>, after: Option<&Element>, change: &mut Change) {
        let Some(either) = before.or(after).filter(|e| e.set.shared()) else {
            if before != after {
                change.element(before, after);
                if let Some(either) = before.or(after) {
                    let count = &mut self.counts[either.set as usize];
                    *count = *count + usize::from(after.is_some()) - usize::from(before.is_some());
                }
            }
            return;
        };
        let total = &mut self.counts[either.set as usize];
        let count = self.shared.entry((either.set, either.key)).or_default();
        let was = *count;
        *count = was + usize::from(after.is_some()) - usize::from(before.is_some());
        match (was, *count) {
            (0, 1..) => {
                *total += 1;
                change.element(None, after);
            }
            (1.., 0) => {
                *total -= 1;
                self.shared.remove(&(either.set, either.key));
                change.element(before, None);
            }
            _ => {}
        }
    }

    /// The sum of one set's elements, by key, each once.
    pub fn elements_of(&self, set: SetId) -> Vec<&Element> {
        let of_set = |c: &Contribution| {
            let start = c.elements.partition_point(|e| e.set < set);
            let end = c.elements.partition_point(|e| e.set <= set);
            start..end
        };
        let mut all: Vec<&Element> = self
            .contributions
            .values()
            .flat_map(|c| &c.elements[of_set(c)])
            .collect();
        all.sort_unstable_by_key(|e| e.key);
        all.dedup_by(|a, b| a.key == b.key);
        all
    }

    /// The element at a key. Looks through all contributions.
    pub fn element_at(&self, set: SetId, key: &Key) -> Option<&Element> {
        self.contributions.values().find_map(|c| {
            let place = c
                .elements
                .binary_search_by(|e| (e.set, &e.key).cmp(&(set, key)));
            place.ok().map(|place| &c.elements[place])
        })
    }

    /// How many elements a set has. Kept up to date, not counted.
    pub fn count(&self, set: SetId) -> usize {
        self.counts[set as usize]
    }

    /// How many service ports lack local endpoints. Kept up to date, not counted.
    pub fn without_local(&self) -> WithoutLocal {
        self.without_local
    }

    /// All virtual servers.
    pub fn servers(&self) -> &Servers {
        &self.servers
    }

    /// All chains that somebody needs.
    pub fn chains(&self) -> impl Iterator<Item = &Arc<ChainSpec>> {
        self.chains.values().map(|(chain, _)| chain)
    }

    /// The permanent sets, and those that Services have of their own.
    pub fn sets(&self) -> impl Iterator<Item = Arc<SetSpec>> {
        let own = self
            .contributions
            .values()
            .flat_map(|c| c.sets.iter().cloned());
        super::skeleton::sets().chain(own)
    }

    /// The sum as one value.
    pub fn ruleset(&self) -> Ruleset {
        let elements = SetId::ALL.into_iter().flat_map(|set| self.elements_of(set));
        Ruleset {
            chains: self.chains().map(|c| (c.name.clone(), c.clone())).collect(),
            sets: self.sets().map(|s| (s.name.clone(), s)).collect(),
            elements: elements.map(|e| ((e.set, e.key), e.clone())).collect(),
            servers: self.servers.iter().map(|(k, s)| (*k, s.clone())).collect(),
        }
    }
}

/// A Service's own sets belong to it alone, so they need no count.
fn sets(old: &[Arc<SetSpec>], new: &[Arc<SetSpec>], change: &mut Change) {
    let named = |sets: &[Arc<SetSpec>], name: &SetName| sets.iter().any(|s| s.name == *name);
    old.iter()
        .filter(|s| !named(new, &s.name))
        .for_each(|s| change.set(Some(s), None));
    new.iter()
        .filter(|s| !named(old, &s.name))
        .for_each(|s| change.set(None, Some(s)));
}
