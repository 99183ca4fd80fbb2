// SPDX-License-Identifier: Apache-2.0
//! Which objects have vanished while nobody watched: those that a new list does not name. PURE.

use std::collections::HashSet;
use std::hash::Hash;
use std::mem;

/// The names of one kind's objects.
#[derive(Debug)]
pub(super) struct Listing<N> {
    known: HashSet<N>,
    /// While a list is under way: the names that it has not named so far.
    unseen: Option<HashSet<N>>,
}

impl<N> Default for Listing<N> {
    fn default() -> Self {
        Self {
            known: HashSet::new(),
            unseen: None,
        }
    }
}

impl<N: Eq + Hash> Listing<N> {
    /// A list begins. One that was under way counts no more.
    pub(super) fn begin(&mut self) {
        let mut unseen = mem::take(&mut self.known);
        unseen.extend(self.unseen.take().into_iter().flatten());
        self.unseen = Some(unseen);
    }

    /// An object is there.
    pub(super) fn seen(&mut self, name: N) {
        if let Some(unseen) = &mut self.unseen {
            unseen.remove(&name);
        }
        self.known.insert(name);
    }

    /// An object was deleted.
    pub(super) fn gone(&mut self, name: &N) {
        self.known.remove(name);
    }

    /// The list is complete: returns the objects that have vanished.
    pub(super) fn end(&mut self) -> HashSet<N> {
        self.unseen.take().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(listing: &mut Listing<char>, names: &str) {
        names.chars().for_each(|name| listing.seen(name));
    }

    fn end(listing: &mut Listing<char>) -> String {
        let mut gone: Vec<char> = listing.end().into_iter().collect();
        gone.sort_unstable();
        gone.into_iter().collect()
    }

    #[test]
    fn what_a_new_list_does_not_name_has_vanished() {
        let mut listing = Listing::default();
        listing.begin();
        seen(&mut listing, "abc");
        assert_eq!(end(&mut listing), "");
        listing.gone(&'a');
        seen(&mut listing, "d");
        listing.begin();
        seen(&mut listing, "ce");
        assert_eq!(end(&mut listing), "bd");
        listing.begin();
        seen(&mut listing, "ce");
        assert_eq!(end(&mut listing), "", "vanished once");
    }

    #[test]
    fn a_list_that_breaks_off_loses_nothing() {
        let mut listing = Listing::default();
        listing.begin();
        seen(&mut listing, "abc");
        end(&mut listing);
        listing.begin();
        seen(&mut listing, "a");
        listing.begin();
        seen(&mut listing, "b");
        assert_eq!(end(&mut listing), "ac");
    }
}
