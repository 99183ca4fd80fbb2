// SPDX-License-Identifier: Apache-2.0
//! A whole ruleset of one family, as one value: what tracing, rendering and full comparison use.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::ipvs::{ServerKey, VirtualServer};
use super::nft::{ChainName, ChainSpec, Data, Element, Key, SetId, SetName, SetSpec};

/// All chains, sets and elements of one family's table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ruleset {
    /// Chains by name.
    pub chains: BTreeMap<ChainName, Arc<ChainSpec>>,
    /// Sets by name.
    pub sets: BTreeMap<SetName, Arc<SetSpec>>,
    /// Elements of the permanent sets, by set and key.
    pub elements: BTreeMap<(SetId, Key), Element>,
    /// Virtual servers, in IPVS mode.
    pub servers: BTreeMap<ServerKey, Arc<VirtualServer>>,
}

impl Ruleset {
    /// The elements of one set, in the order of their keys.
    pub fn elements_of(&self, set: SetId) -> impl Iterator<Item = &Element> {
        self.elements
            .range((set, Key::EMPTY)..)
            .take_while(move |((s, _), _)| *s == set)
            .map(|e| e.1)
    }

    /// What a set or map holds for a key; for interval sets, of the range that contains it.
    pub fn lookup(&self, set: SetId, key: &Key) -> Option<&Data> {
        self.find(set, key).map(|e| &e.data)
    }

    /// The element of a set or map for a key; in interval sets, the range that contains it.
    pub fn find(&self, set: SetId, key: &Key) -> Option<&Element> {
        if set.spec().interval {
            let inside = |e: &&Element| e.end.as_ref().is_some_and(|end| within(&e.key, key, end));
            return self.elements_of(set).find(inside);
        }
        self.elements.get(&(set, *key))
    }
}

/// Whether every part of the key lies between the two ends. Parts that are no ranges have equal
/// ends and prefixes are aligned, so comparing byte strings part by part would say the same.
fn within(low: &Key, key: &Key, high: &Key) -> bool {
    let (low, key, high) = (low.as_bytes(), key.as_bytes(), high.as_bytes());
    let common = low.iter().zip(high).take_while(|(a, b)| a == b).count();
    low.get(..common) == key.get(..common) && low <= key && key <= high
}
