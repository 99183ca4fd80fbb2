// SPDX-License-Identifier: Apache-2.0
//! Objects that a new list lacks, by the many and all at once. PURE: time is an argument.
//!
//! An API server whose store was restored from an old backup answers with lists that lack what
//! came later, or everything. The pods go on running for a while, and what is missing often comes
//! back with the next restore. So what was served goes on being served for a time. Deletions that
//! a watch tells one by one are believed at once.

use std::collections::HashSet;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// Fewer are believed at once.
const MANY: usize = 10;
/// How long such objects have to be missing until they are believed to be gone.
pub(super) const PATIENCE: Duration = Duration::from_secs(300);

/// Names that are not yet believed to be gone.
#[derive(Debug)]
pub(super) struct Held<N> {
    names: HashSet<N>,
    until: Option<Instant>,
}

impl<N> Default for Held<N> {
    fn default() -> Self {
        Self {
            names: HashSet::new(),
            until: None,
        }
    }
}

impl<N: Eq + Hash> Held<N> {
    /// A list lacks these names of `known`. Returns those that are believed to be gone.
    pub(super) fn judge(&mut self, missing: Vec<N>, known: usize, now: Instant) -> Vec<N> {
        if missing.len() < MANY || missing.len() * 2 <= known {
            return missing;
        }
        self.names.extend(missing);
        self.until.get_or_insert(now + PATIENCE);
        Vec::new()
    }

    /// The object is there again, or was deleted by a word of its own.
    pub(super) fn settle(&mut self, name: &N) {
        if self.names.remove(name) && self.names.is_empty() {
            self.until = None;
        }
    }

    /// When [`Held::overdue`] has something to say.
    pub(super) fn until(&self) -> Option<Instant> {
        self.until
    }

    /// How many are held.
    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    /// Those that have been missing for long enough.
    pub(super) fn overdue(&mut self, now: Instant) -> Vec<N> {
        match self.until {
            Some(until) if until <= now => {
                self.until = None;
                self.names.drain().collect()
            }
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_are_gone_at_once() {
        let mut held = Held::default();
        let now = Instant::now();
        assert_eq!(held.judge(vec![1, 2], 2, now), [1, 2]);
        let half: Vec<u32> = (0..500).collect();
        assert_eq!(held.judge(half.clone(), 1_000, now), half);
        assert_eq!((held.len(), held.until()), (0, None));
    }

    #[test]
    fn many_are_held_until_they_are_back_or_their_time_is_over() {
        let mut held = Held::default();
        let now = Instant::now();
        let none: [u32; 0] = [];
        assert_eq!(held.judge((0..20).collect(), 30, now), none);
        held.settle(&3);
        held.settle(&99);
        assert_eq!(held.len(), 19);
        assert_eq!(held.judge((20..30).collect(), 10, now + PATIENCE / 2), none);
        assert_eq!(held.overdue(now + PATIENCE / 2), none);
        assert_eq!(
            held.overdue(now + PATIENCE).len(),
            29,
            "counted from the first"
        );
        assert_eq!((held.len(), held.until()), (0, None));
    }

    #[test]
    fn nothing_is_due_once_all_are_back() {
        let mut held = Held::default();
        let now = Instant::now();
        held.judge((0..10).collect(), 10, now);
        (0..10).for_each(|name| held.settle(&name));
        assert_eq!(held.until(), None);
    }
}
