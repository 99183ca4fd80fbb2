// SPDX-License-Identifier: Apache-2.0
//! The longest of many prefixes of a path, by one binary search.
//!
//! The keys stand in the order of their bytes, each with the longest key that is a prefix of it.
//! The last key that does not come after a path either is a prefix of the path, or begins with all
//! keys that are: whatever stands between a prefix of the path and the path begins with that prefix.

use std::cmp::Ordering;

use super::PathRoute;

/// What follows a path when it is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Nothing.
    Open,
    /// One more slash, as if it were written.
    Slash,
}

impl End {
    fn bytes(self) -> &'static [u8] {
        match self {
            End::Open => b"",
            End::Slash => b"/",
        }
    }
}

/// No key.
const NONE: usize = usize::MAX;

/// Keys with what they lead to.
#[derive(Debug, Clone, Default)]
pub(super) struct Paths {
    /// All keys one after the other, so that a search stays in few cache lines.
    text: Box<[u8]>,
    keys: Box<[Key]>,
    routes: Box<[PathRoute]>,
}

#[derive(Debug, Clone, Copy)]
struct Key {
    begin: usize,
    end: usize,
    /// The longest other key that is a prefix of this one, or [`NONE`].
    shorter: usize,
}

impl Key {
    fn len(self) -> usize {
        self.end - self.begin
    }
}

impl Paths {
    /// Of equal keys the one that comes first counts.
    pub(super) fn new(mut entries: Vec<(String, PathRoute)>) -> Self {
        entries.sort_by(|(a, _), (b, _)| a.cmp(b));
        entries.dedup_by(|(later, _), (first, _)| later == first);
        let mut text: Vec<u8> = Vec::with_capacity(entries.iter().map(|(key, _)| key.len()).sum());
        let mut keys: Vec<Key> = Vec::with_capacity(entries.len());
        let mut routes = Vec::with_capacity(entries.len());
        for (key, route) in entries {
            let mut shorter = keys.len().wrapping_sub(1);
            while let Some(other) = keys.get(shorter)
                && !key.as_bytes().starts_with(&text[other.begin..other.end])
            {
                shorter = other.shorter;
            }
            let begin = text.len();
            text.extend_from_slice(key.as_bytes());
            let end = text.len();
            keys.push(Key {
                begin,
                end,
                shorter,
            });
            routes.push(route);
        }
        Self {
            text: text.into(),
            keys: keys.into(),
            routes: routes.into(),
        }
    }

    fn text(&self, key: Key) -> &[u8] {
        &self.text[key.begin..key.end]
    }

    /// The index of the last key that does not come after the path.
    fn last(&self, path: &[u8], end: End) -> usize {
        let before = |key: &Key| compare(self.text(*key), path, end) != Ordering::Greater;
        self.keys.partition_point(before).wrapping_sub(1)
    }

    /// What is exactly the path.
    pub(super) fn get(&self, path: &str) -> Option<&PathRoute> {
        let index = self.last(path.as_bytes(), End::Open);
        let key = *self.keys.get(index)?;
        (self.text(key) == path.as_bytes()).then(|| &self.routes[index])
    }

    /// The longest key that is a prefix of the path, with its length.
    pub(super) fn longest(&self, path: &str, end: End) -> Option<(usize, &PathRoute)> {
        let mut index = self.last(path.as_bytes(), end);
        let key = *self.keys.get(index)?;
        let whole = path.bytes().chain(end.bytes().iter().copied());
        let common = self.text(key).iter().zip(whole);
        let common = common.take_while(|(a, b)| **a == *b).count();
        while let Some(key) = self.keys.get(index) {
            if key.len() <= common {
                return Some((key.len(), &self.routes[index]));
            }
            index = key.shorter;
        }
        debug_assert_eq!(index, NONE);
        None
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &PathRoute> {
        self.routes.iter()
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }
}

/// Compares a key with a path and its end.
fn compare(key: &[u8], path: &[u8], end: End) -> Ordering {
    match key.split_at_checked(path.len()) {
        None => key.cmp(path),
        Some((head, tail)) => head.cmp(path).then_with(|| tail.cmp(end.bytes())),
    }
}
