// SPDX-License-Identifier: Apache-2.0
//! Memory for request bodies that may have to be sent a second time, bounded over all connections.
//! What there is no room for is passed on as it comes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use bytes::Bytes;

/// The most bytes that are kept of one body: what `proxy-body-size` allows by default, so that a
/// longer one is the exception.
pub(crate) const MOST: usize = 1 << 20;
/// The most bytes of all bodies at a time.
pub(crate) const ALL: usize = 64 << 20;

/// How many bytes may still be taken up, by all threads together.
#[derive(Debug, Clone)]
pub(crate) struct Budget(Arc<AtomicUsize>);

impl Default for Budget {
    fn default() -> Self {
        Self::new(ALL)
    }
}

impl Budget {
    /// So many bytes.
    pub(crate) fn new(bytes: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(bytes)))
    }

    fn take(&self, bytes: usize) -> bool {
        let left = |left: usize| left.checked_sub(bytes);
        self.0.fetch_update(Relaxed, Relaxed, left).is_ok()
    }

    fn give_back(&self, bytes: usize) {
        self.0.fetch_add(bytes, Relaxed);
    }
}

/// What has come of a body so far. Pieces are copied: each of them would keep all of the buffer that
/// it was read into.
#[derive(Debug)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    /// As long as it may become.
    most: usize,
    /// What it has of the budget: its capacity.
    taken: usize,
    budget: Budget,
}

impl Buffer {
    /// For a body of this length, if it is known. Nothing is taken before something has come.
    pub(crate) fn new(budget: &Budget, length: Option<u64>) -> Self {
        let length = length.and_then(|length| usize::try_from(length).ok());
        Self {
            bytes: Vec::new(),
            most: length.unwrap_or(MOST).min(MOST),
            taken: 0,
            budget: budget.clone(),
        }
    }

    /// Adds a piece. Whether there was room for it; if not, the buffer is as it was.
    pub(crate) fn add(&mut self, piece: &[u8]) -> bool {
        let wanted = self.bytes.len() + piece.len();
        if wanted > self.most || (wanted > self.taken && !self.grow(wanted)) {
            return false;
        }
        self.bytes.extend_from_slice(piece);
        true
    }

    fn grow(&mut self, wanted: usize) -> bool {
        let room = wanted.max((self.taken * 2).min(self.most));
        if !self.budget.take(room - self.taken) {
            return false;
        }
        self.taken = room;
        self.bytes.reserve_exact(room - self.bytes.len());
        true
    }

    /// What has come. The budget has it back when the last copy is dropped.
    pub(crate) fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.budget.give_back(self.taken);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(budget: &Budget) -> usize {
        budget.0.load(Relaxed)
    }

    #[test]
    fn a_buffer_takes_what_has_come_and_gives_it_back() {
        let budget = Budget::new(100);
        let mut buffer = Buffer::new(&budget, Some(30));
        assert_eq!(left(&budget), 100, "nothing has come yet");
        assert!(buffer.add(b"0123456789"));
        assert_eq!(left(&budget), 90);
        assert!(buffer.add(b"0"));
        assert_eq!(left(&budget), 80, "twice as much");
        assert!(buffer.add(b"1234567890123456789"));
        assert_eq!(left(&budget), 70, "never more than the body is long");
        assert!(!buffer.add(b"x"), "longer than it was to be");
        let bytes = buffer.freeze();
        assert_eq!(&bytes[..], b"012345678901234567890123456789");
        let again = bytes.clone();
        drop(bytes);
        assert_eq!(left(&budget), 70);
        drop(again);
        assert_eq!(left(&budget), 100);
    }

    #[test]
    fn what_there_is_no_room_for_is_not_taken() {
        let budget = Budget::new(10);
        let mut one = Buffer::new(&budget, None);
        assert!(one.add(b"01234567"));
        let mut other = Buffer::new(&budget, None);
        assert!(!other.add(b"012"));
        assert!(other.add(b"01"));
        assert_eq!(left(&budget), 0);
        assert!(!one.add(b"8"));
        assert_eq!(one.as_ref(), b"01234567");
        drop((one, other));
        assert_eq!(left(&budget), 10);
    }

    #[test]
    fn one_body_has_a_bound_of_its_own() {
        let budget = Budget::default();
        for length in [None, Some(u64::MAX)] {
            let mut buffer = Buffer::new(&budget, length);
            assert!(buffer.add(&[0; MOST]));
            assert!(!buffer.add(&[0]));
            assert_eq!(left(&budget), ALL - MOST);
        }
    }

    #[test]
    fn many_small_pieces_take_no_more_than_twice_their_length() {
        let budget = Budget::new(MOST);
        let mut buffer = Buffer::new(&budget, None);
        for _ in 0..1000 {
            assert!(buffer.add(b"x"));
        }
        assert!(MOST - left(&budget) < 2000);
        assert!(buffer.bytes.capacity() <= buffer.taken);
    }
}
