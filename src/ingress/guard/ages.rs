// SPDX-License-Identifier: Apache-2.0
//! A map of bounded size that forgets what has not been asked for in a while, in two halves: what is
//! asked for moves to the young one, and when that is full the old one goes.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;

/// A map that forgets.
pub(super) struct Ages<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    /// The most entries of each half.
    half: usize,
    /// When the halves last turned, on the clock of the caller.
    turned: u64,
}

impl<K: Hash + Eq, V> Ages<K, V> {
    /// A map of so many entries at most, and of half as many that were asked for last at least.
    pub(super) fn new(most: usize) -> Self {
        Self {
            young: HashMap::new(),
            old: HashMap::new(),
            half: (most / 2).max(1),
            turned: 0,
        }
    }

    /// What is known by a key, which is young again.
    pub(super) fn get(&mut self, key: &K) -> Option<&mut V> {
        if !self.young.contains_key(key) {
            let (key, value) = self.old.remove_entry(key)?;
            self.insert(key, value);
        }
        self.young.get_mut(key)
    }

    /// Takes in an entry, or replaces it.
    pub(super) fn insert(&mut self, key: K, value: V) {
        if self.young.len() >= self.half && !self.young.contains_key(&key) {
            self.turn();
        }
        self.old.remove(&key);
        self.young.insert(key, value);
    }

    /// Forgets one.
    pub(super) fn remove(&mut self, key: &K) {
        self.young.remove(key);
        self.old.remove(key);
    }

    /// Forgets what has not been asked for in `age`, and at most twice as long.
    pub(super) fn turn_if_due(&mut self, now: u64, age: u64) {
        if now.saturating_sub(self.turned) >= age {
            self.turned = now;
            self.turn();
        }
    }

    fn turn(&mut self) {
        self.old = std::mem::take(&mut self.young);
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    /// About how many bytes they take, without what values point to.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        // A table has an eighth of its places free, and a byte for each.
        let places = |capacity: usize| (capacity * 8 / 7).next_power_of_two();
        let entry = std::mem::size_of::<(K, V)>() + 1;
        let half = |map: &HashMap<K, V>| match map.capacity() {
            0 => 0,
            capacity => places(capacity) * entry,
        };
        half(&self.young) + half(&self.old)
    }
}

impl<K, V> fmt::Debug for Ages<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ages").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_stays_and_the_rest_goes() {
        let mut ages = Ages::new(8);
        for n in 0..1000 {
            ages.insert(n, n);
            assert_eq!(ages.get(&0), Some(&mut 0), "{n}");
            assert!(ages.len() <= 8);
        }
        assert_eq!(ages.get(&1), None);
        assert_eq!(ages.get(&999), Some(&mut 999));
        ages.remove(&999);
        assert_eq!(ages.get(&999), None);
    }

    #[test]
    fn time_makes_it_forget() {
        let mut ages = Ages::new(8);
        ages.insert(1, 1);
        ages.turn_if_due(60, 60);
        assert_eq!(ages.get(&1), Some(&mut 1), "it was asked for");
        ages.turn_if_due(119, 60);
        ages.turn_if_due(120, 60);
        ages.turn_if_due(180, 60);
        assert_eq!(ages.len(), 0);
    }
}
