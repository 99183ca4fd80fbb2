// SPDX-License-Identifier: Apache-2.0
//! Reads netlink attributes.

use super::{NLA_TYPE_MASK, aligned};

/// Iterates over attributes: kind without its flag bits, and payload. Ends at the first one whose
/// length cannot be true; whatever the bytes are, it does not panic.
#[derive(Debug, Clone)]
pub struct Attrs<'a> {
    rest: &'a [u8],
}

impl<'a> Attrs<'a> {
    /// Attributes from the payload of a message (after its fixed part) or of a nested attribute.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The payload of the first attribute of a kind.
    pub fn get(&self, kind: u16) -> Option<&'a [u8]> {
        self.clone()
            .find(|(k, _)| *k == kind)
            .map(|(_, payload)| payload)
    }
}

impl<'a> Iterator for Attrs<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (header, _) = self.rest.split_first_chunk::<4>()?;
        let length = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let kind = u16::from_ne_bytes([header[2], header[3]]) & NLA_TYPE_MASK;
        let Some(payload) = self.rest.get(4..length) else {
            self.rest = &[];
            return None;
        };
        self.rest = self.rest.get(aligned(length)..).unwrap_or_default();
        Some((kind, payload))
    }
}

/// The big-endian number that is the whole payload.
pub fn be16(payload: &[u8]) -> Option<u16> {
    payload.try_into().ok().map(u16::from_be_bytes)
}

/// The big-endian number that is the whole payload.
pub fn be32(payload: &[u8]) -> Option<u32> {
    payload.try_into().ok().map(u32::from_be_bytes)
}

/// The big-endian number that is the whole payload.
pub fn be64(payload: &[u8]) -> Option<u64> {
    payload.try_into().ok().map(u64::from_be_bytes)
}

/// The text up to the first NUL byte, or all of it if there is none. None if it is not UTF-8.
pub fn cstr(payload: &[u8]) -> Option<&str> {
    let end = payload
        .iter()
        .position(|b| *b == 0)
        .unwrap_or(payload.len());
    std::str::from_utf8(&payload[..end]).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Writer;
    use super::*;

    #[test]
    fn reads_back_what_was_written() {
        let mut w = Writer::new();
        w.attr_str(1, "services");
        w.nested(2, |w| {
            w.attr_u8(1, 9);
            w.attr_be16(2, 0x1234);
        });
        w.attr_be64(3, 1 << 40);
        let attrs = Attrs::new(w.as_bytes());
        let kinds: Vec<u16> = attrs.clone().map(|(kind, _)| kind).collect();
        assert_eq!(kinds, [1, 2, 3]);
        assert_eq!(attrs.get(1).and_then(cstr), Some("services"));
        let inner = Attrs::new(attrs.get(2).unwrap());
        assert_eq!(inner.get(1), Some(&[9][..]));
        assert_eq!(inner.get(2).and_then(be16), Some(0x1234));
        assert_eq!(attrs.get(3).and_then(be64), Some(1 << 40));
        assert_eq!(attrs.get(4), None);
    }

    #[test]
    fn ends_where_a_length_is_impossible() {
        let mut w = Writer::new();
        w.attr_u8(1, 1);
        for length in [0u16, 3, 9] {
            let mut bytes = w.as_bytes().to_vec();
            bytes.extend(length.to_ne_bytes());
            bytes.extend([2, 0, 0, 0, 0, 0]);
            assert_eq!(Attrs::new(&bytes).count(), 1, "length {length}");
        }
    }

    #[test]
    fn numbers_and_texts_of_the_wrong_form_are_none() {
        assert_eq!(be16(&[1]), None);
        assert_eq!(be32(&[1, 2, 3]), None);
        assert_eq!(be64(&[]), None);
        assert_eq!(cstr(&[0xff, 0]), None);
        assert_eq!(cstr(b"ab\0cd"), Some("ab"));
        assert_eq!(cstr(b"ab"), Some("ab"));
    }

    proptest! {
        #[test]
        fn any_bytes_end_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let total: usize = Attrs::new(&bytes).map(|(_, payload)| payload.len() + 4).sum();
            prop_assert!(total <= bytes.len());
        }

        /// Random bytes rarely have plausible lengths; these do.
        #[test]
        fn plausible_attributes_end_without_panic(
            parts in prop::collection::vec((0u16..40, any::<u16>(), 0usize..40), 0..20),
        ) {
            let mut bytes = Vec::new();
            for (length, kind, payload) in parts {
                bytes.extend(length.to_ne_bytes());
                bytes.extend(kind.to_ne_bytes());
                bytes.resize(bytes.len() + payload, 0xaa);
            }
            for (kind, payload) in Attrs::new(&bytes) {
                prop_assert!(kind <= NLA_TYPE_MASK);
                prop_assert!(Attrs::new(payload).count() <= payload.len() / 4);
            }
        }
    }
}
