// SPDX-License-Identifier: Apache-2.0
//! The endpoints of an upstream that is balanced by a hash of each request.

use std::num::NonZero;

use super::ring::Ring;
use crate::model::Target;

/// Endpoints on a ring, one by one or in sets of which each key has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hashed {
    ring: Ring,
    /// Of each member of the ring.
    sets: Box<[Box<[Target]>]>,
}

impl Hashed {
    /// `size` is how many endpoints a set has; none: no sets.
    pub fn new(endpoints: &[Target], size: Option<NonZero<usize>>) -> Self {
        let mut sorted = endpoints.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        let Some(size) = size else {
            return Self {
                ring: Ring::new(sorted.iter().map(ToString::to_string)),
                sets: sorted.iter().map(|target| [*target].into()).collect(),
            };
        };
        // The last set is filled up from the first endpoints, so that all have the same size.
        let count = sorted.len().div_ceil(size.get());
        let filled = sorted.iter().cycle().take(count * size.get());
        let filled: Vec<Target> = filled.copied().collect();
        Self {
            ring: Ring::new((1..=count).map(|number| format!("set{number}"))),
            sets: filled.chunks(size.get()).map(Box::from).collect(),
        }
    }

    /// The endpoint of a key that has not been tried: one at random of its set, or of the sets that
    /// follow.
    pub(super) fn pick(&self, tried: &[Target], key: u32, random: u64) -> Option<Target> {
        let sets = self.ring.owners(key).map(|member| &self.sets[member]);
        // Once around: each set comes many times.
        sets.filter_map(|set| one(set, tried, random)).next()
    }
}

/// One of the endpoints that have not been tried.
pub(super) fn one(endpoints: &[Target], tried: &[Target], random: u64) -> Option<Target> {
    let open = |target: &&Target| !tried.contains(target);
    let count = endpoints.iter().filter(open).count() as u64;
    let chosen = random.checked_rem(count)?;
    let mut open = endpoints.iter().filter(open);
    open.nth(usize::try_from(chosen).ok()?).copied()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::ingress::balance::tests::targets;

    #[test]
    fn a_key_has_a_set_and_all_sets_have_the_size() {
        let endpoints = targets(7);
        let hashed = Hashed::new(&endpoints, NonZero::new(3));
        assert_eq!(hashed.sets.len(), 3);
        assert!(hashed.sets.iter().all(|set| set.len() == 3));
        assert_eq!(hashed.sets[2][1..], endpoints[..2]);
        for key in [1, u32::MAX / 2, u32::MAX] {
            let chosen: BTreeSet<_> = (0..50).map(|n| hashed.pick(&[], key, n)).collect();
            let set = |set: &[Target]| set.iter().copied().map(Some).collect();
            assert!(hashed.sets.iter().any(|s| chosen == set(s)), "{chosen:?}");
        }
    }

    #[test]
    fn sets_larger_than_all_endpoints_repeat_them() {
        let hashed = Hashed::new(&targets(2), NonZero::new(5));
        let chosen: BTreeSet<_> = (0..50).map(|n| hashed.pick(&[], 9, n)).collect();
        assert_eq!(chosen, targets(2).into_iter().map(Some).collect());
        assert_eq!(hashed.pick(&targets(2), 9, 0), None);
        assert_eq!(Hashed::new(&[], NonZero::new(3)).pick(&[], 9, 0), None);
    }
}
