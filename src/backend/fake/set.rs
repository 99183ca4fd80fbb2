// SPDX-License-Identifier: Apache-2.0
//! One set in memory: `nft_set_hash.c` and `nft_set_pipapo.c` as far as our operations reach.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use nix::libc::EEXIST;

use crate::backend::nft::data_type;
use crate::model::IpFamily;
use crate::plan::nft::{ChainName, Data, DataKind, Element, Key, SetId, SetSpec, Verdict};

/// A set with its elements.
#[derive(Debug, Clone)]
pub(super) struct Set {
    pub(super) spec: Arc<SetSpec>,
    pub(super) elements: BTreeMap<Key, (Option<Key>, Data)>,
    /// Rules that refer to it.
    pub(super) uses: usize,
}

impl Set {
    /// Inserts an element; false if it was there with the same data.
    pub(super) fn insert(&mut self, key: Key, end: Option<Key>, data: &Data) -> Result<bool, i32> {
        if self.spec.interval {
            return self.insert_range(key, end.unwrap_or(key));
        }
        match self.elements.get(&key) {
            Some((_, there)) if there == data => Ok(false),
            Some(_) => Err(EEXIST),
            None => {
                self.elements.insert(key, (end, data.clone()));
                Ok(true)
            }
        }
    }

    /// A range may not begin or end within another one; it may contain others
    /// (`nft_pipapo_insert`).
    fn insert_range(&mut self, low: Key, high: Key) -> Result<bool, i32> {
        if let Some((end, _)) = self.elements.get(&low)
            && *end == Some(high)
        {
            return Ok(false);
        }
        if self.find(&low).is_some() || self.find(&high).is_some() {
            return Err(EEXIST);
        }
        self.elements.insert(low, (Some(high), Data::None));
        Ok(true)
    }

    /// The key of the element that a key matches.
    pub(super) fn find(&self, key: &Key) -> Option<Key> {
        if !self.spec.interval {
            return self.elements.contains_key(key).then_some(*key);
        }
        let within = |(low, (high, _)): &(&Key, &(Option<Key>, Data))| {
            let high = high.as_ref().unwrap_or(low);
            low.as_bytes() <= key.as_bytes() && key.as_bytes() <= high.as_bytes()
        };
        self.elements.iter().find(within).map(|(low, _)| *low)
    }

    pub(super) fn targets(&self) -> impl Iterator<Item = &ChainName> {
        self.elements.values().filter_map(|(_, data)| match data {
            Data::Verdict(Verdict::Goto(chain) | Verdict::Jump(chain)) => Some(chain),
            _ => None,
        })
    }

    pub(super) fn elements(&self, set: SetId) -> Vec<Element> {
        let element = |(key, (end, data)): (&Key, &(Option<Key>, Data))| Element {
            set,
            key: *key,
            end: end.map(Box::new),
            data: data.clone(),
        };
        self.elements.iter().map(element).collect()
    }

    pub(super) fn clients(&self) -> Vec<(Key, IpAddr)> {
        let client = |(key, (_, data)): (&Key, &(Option<Key>, Data))| match data {
            Data::Address(address) => Some((*key, *address)),
            _ => None,
        };
        self.elements.iter().filter_map(client).collect()
    }
}

/// What kind of data it is.
pub(super) fn kind_of(data: &Data) -> DataKind {
    match data {
        Data::None => DataKind::None,
        Data::Target(..) => DataKind::Target,
        Data::Address(_) => DataKind::Address,
        Data::Verdict(_) => DataKind::Verdict,
    }
}

/// Whether the kernel takes two definitions for the same (`nft_set_is_same`): it knows types, not
/// what nft calls the parts.
pub(super) fn same(a: &SetSpec, b: &SetSpec, family: IpFamily) -> bool {
    let kinds =
        |spec: &SetSpec| -> Vec<u32> { spec.key.iter().map(|f| data_type(*f, family)).collect() };
    kinds(a) == kinds(b)
        && a.data == b.data
        && a.interval == b.interval
        && a.dynamic.is_some() == b.dynamic.is_some()
}
