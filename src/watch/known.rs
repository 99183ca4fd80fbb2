// SPDX-License-Identifier: Apache-2.0
//! Which objects of a kind have been announced. PURE.

use std::collections::HashMap;
use std::hash::Hash;

/// The names of a kind that the model knows of. A list says what is there but not what has gone:
/// that is the difference to what was known before, see [`finish`](Known::finish).
#[derive(Debug, Clone)]
pub struct Known<N> {
    /// With the number of the list that last showed the name.
    names: HashMap<N, u32>,
    list: u32,
    complete: bool,
}

impl<N> Default for Known<N> {
    fn default() -> Self {
        Self {
            names: HashMap::new(),
            list: 0,
            complete: false,
        }
    }
}

impl<N: Eq + Hash + Clone> Known<N> {
    /// A list begins. One that did not come to its end counts for nothing.
    pub fn begin(&mut self) {
        self.list = self.list.wrapping_add(1);
    }

    /// The object is there, in a list or in a watch.
    pub fn seen(&mut self, name: &N) {
        match self.names.get_mut(name) {
            Some(list) => *list = self.list,
            None => {
                self.names.insert(name.clone(), self.list);
            }
        }
    }

    /// The object was there at some time: only a list may say that it has gone. Whether that is
    /// news.
    pub fn remember(&mut self, name: &N) -> bool {
        if self.names.contains_key(name) {
            return false;
        }
        self.names.insert(name.clone(), self.list.wrapping_sub(1));
        true
    }

    /// The object was deleted.
    pub fn forget(&mut self, name: &N) {
        self.names.remove(name);
    }

    /// The list is complete: the names that it did not show, which are forgotten hereby.
    pub fn finish(&mut self) -> Vec<N> {
        self.complete = true;
        let current = self.list;
        self.names
            .extract_if(|_, list| *list != current)
            .map(|(name, _)| name)
            .collect()
    }

    /// Whether a list ever came to its end.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// How many names are known.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether no name is known.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::Known;

    fn listed(known: &mut Known<&'static str>, names: &[&'static str]) -> Vec<&'static str> {
        known.begin();
        names.iter().for_each(|n| known.seen(n));
        let mut gone = known.finish();
        gone.sort_unstable();
        gone
    }

    #[test]
    fn the_first_list_finds_nothing_gone() {
        let mut known = Known::default();
        assert!(!known.is_complete());
        assert!(listed(&mut known, &["a", "b"]).is_empty());
        assert!(known.is_complete());
        assert_eq!(known.len(), 2);
    }

    #[test]
    fn a_later_list_finds_what_vanished_between() {
        let mut known = Known::default();
        listed(&mut known, &["a", "b", "c"]);
        known.seen(&"d");
        known.forget(&"b");
        assert_eq!(listed(&mut known, &["a", "e"]), ["c", "d"]);
        assert!(listed(&mut known, &["a", "e"]).is_empty());
    }

    #[test]
    fn an_interrupted_list_deletes_nothing() {
        let mut known = Known::default();
        listed(&mut known, &["a", "b"]);
        known.begin();
        known.seen(&"a");
        assert_eq!(known.len(), 2);
        assert_eq!(
            listed(&mut known, &["b"]),
            ["a"],
            "the interrupted list counts for nothing"
        );
    }

    #[test]
    fn what_is_remembered_is_gone_unless_a_list_shows_it() {
        let mut known = Known::default();
        known.begin();
        known.seen(&"a");
        assert!(!known.remember(&"a"));
        assert!(known.remember(&"b") && known.remember(&"c"));
        known.seen(&"c");
        assert_eq!(known.finish(), ["b"]);
    }

    #[test]
    fn an_empty_list_ends_everything() {
        let mut known = Known::default();
        listed(&mut known, &["a"]);
        assert_eq!(listed(&mut known, &[]), ["a"]);
        assert!(known.is_empty());
    }
}
