// SPDX-License-Identifier: Apache-2.0
//! The longest of many prefixes of a path, by one binary search.
//!
//! The keys stand in the order of their bytes, each with the longest key that is a prefix of it.
//! The last key that does not come after a path either is a prefix of the path, or begins with all
//! keys that are: whatever stands between a prefix of the path and the path begins with that prefix.

use std::cmp::Ordering;

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
#[derive(Debug, Clone)]
pub(super) struct Paths<T> {
    /// All keys one after the other, so that a search stays in few cache lines.
    text: Box<[u8]>,
    keys: Box<[Key]>,
    values: Box<[T]>,
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

impl<T> Default for Paths<T> {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

impl<T> Paths<T> {
    /// Of equal keys the one that comes first counts.
    pub(super) fn new(mut entries: Vec<(Vec<u8>, T)>) -> Self {
        entries.sort_by(|(a, _), (b, _)| a.cmp(b));
        entries.dedup_by(|(later, _), (first, _)| later == first);
        let mut text: Vec<u8> = Vec::with_capacity(entries.iter().map(|(key, _)| key.len()).sum());
        let mut keys: Vec<Key> = Vec::with_capacity(entries.len());
        let mut values = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            let mut shorter = keys.len().wrapping_sub(1);
            while let Some(other) = keys.get(shorter)
                && !key.starts_with(&text[other.begin..other.end])
            {
                shorter = other.shorter;
            }
            let begin = text.len();
            text.extend_from_slice(&key);
            let end = text.len();
            keys.push(Key {
                begin,
                end,
                shorter,
            });
            values.push(value);
        }
        Self {
            text: text.into(),
            keys: keys.into(),
            values: values.into(),
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
    pub(super) fn get(&self, path: &str) -> Option<&T> {
        let index = self.last(path.as_bytes(), End::Open);
        let key = *self.keys.get(index)?;
        (self.text(key) == path.as_bytes()).then(|| &self.values[index])
    }

    /// The longest key that is a prefix of the path, with its length.
    pub(super) fn longest(&self, path: &[u8], end: End) -> Option<(usize, &T)> {
        self.all(path, end).next()
    }

    /// All keys that are prefixes of the path, with their lengths, the longest in front.
    pub(super) fn all(&self, path: &[u8], end: End) -> impl Iterator<Item = (usize, &T)> {
        let mut index = self.last(path, end);
        let common = self.keys.get(index).map_or(0, |key| {
            let whole = path.iter().chain(end.bytes());
            let common = self.text(*key).iter().zip(whole);
            common.take_while(|(a, b)| a == b).count()
        });
        std::iter::from_fn(move || {
            while let Some(key) = self.keys.get(index) {
                let found = index;
                index = key.shorter;
                if key.len() <= common {
                    return Some((key.len(), &self.values[found]));
                }
            }
            debug_assert_eq!(index, NONE);
            None
        })
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.values.iter()
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
