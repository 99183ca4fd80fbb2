// SPDX-License-Identifier: Apache-2.0
//! Writes netlink messages into one growing buffer.

use super::{HEADER, NLA_F_NESTED, aligned};

/// The longest payload of an attribute, bytes: its length field has 16 bits and counts the header.
const LONGEST: usize = u16::MAX as usize - 4;

/// A buffer of netlink messages. Attributes go straight into it: nothing is allocated but the
/// buffer itself, which [`Writer::clear`] keeps for the next use.
#[derive(Debug, Clone, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// An empty buffer.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a message: the header (`struct nlmsghdr`, port id 0) and what `body` writes.
    ///
    /// `kind` is the message type, `flags` the `NLM_F_*`, `seq` what answers will carry.
    pub fn message(&mut self, kind: u16, flags: u16, seq: u32, body: impl FnOnce(&mut Writer)) {
        let start = self.bytes.len();
        self.raw(&[0; 4]);
        self.raw(&kind.to_ne_bytes());
        self.raw(&flags.to_ne_bytes());
        self.raw(&seq.to_ne_bytes());
        self.raw(&[0; 4]);
        debug_assert_eq!(self.bytes.len(), start + HEADER);
        body(self);
        let length = (self.bytes.len() - start) as u32;
        self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
        self.pad();
    }

    /// Appends `struct nfgenmsg`, with which the body of every netfilter message begins: address
    /// family (`AF_*` or `NFPROTO_*`) and, in the messages that frame a batch, the subsystem.
    pub fn nfgenmsg(&mut self, family: u8, resource: u16) {
        let [high, low] = resource.to_be_bytes();
        self.raw(&[family, 0, high, low]);
    }

    /// Appends bytes as they are, without padding.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Appends an attribute. A payload of more than 65,531 bytes is a bug of the caller: it cannot
    /// be expressed, and the message would be malformed.
    pub fn attr(&mut self, kind: u16, payload: &[u8]) {
        debug_assert!(
            payload.len() <= LONGEST,
            "attribute {kind} of {} bytes",
            payload.len()
        );
        self.raw(&((payload.len() + 4) as u16).to_ne_bytes());
        self.raw(&kind.to_ne_bytes());
        self.raw(payload);
        self.pad();
    }

    /// Appends an attribute of one byte.
    pub fn attr_u8(&mut self, kind: u16, value: u8) {
        self.attr(kind, &[value]);
    }

    /// Appends an attribute of 16 bits, big-endian.
    pub fn attr_be16(&mut self, kind: u16, value: u16) {
        self.attr(kind, &value.to_be_bytes());
    }

    /// Appends an attribute of 32 bits, big-endian.
    pub fn attr_be32(&mut self, kind: u16, value: u32) {
        self.attr(kind, &value.to_be_bytes());
    }

    /// Appends an attribute of 64 bits, big-endian.
    pub fn attr_be64(&mut self, kind: u16, value: u64) {
        self.attr(kind, &value.to_be_bytes());
    }

    /// Appends a text attribute with the NUL byte that the kernel expects after it.
    pub fn attr_str(&mut self, kind: u16, value: &str) {
        debug_assert!(
            value.len() < LONGEST,
            "attribute {kind} of {} bytes",
            value.len()
        );
        self.raw(&((value.len() + 5) as u16).to_ne_bytes());
        self.raw(&kind.to_ne_bytes());
        self.raw(value.as_bytes());
        self.raw(&[0]);
        self.pad();
    }

    /// Appends an attribute that holds the attributes which `body` writes. More than 65,531 bytes
    /// of them is a bug of the caller, as in [`Writer::attr`].
    pub fn nested(&mut self, kind: u16, body: impl FnOnce(&mut Writer)) {
        let start = self.bytes.len();
        self.raw(&[0; 2]);
        self.raw(&(kind | NLA_F_NESTED).to_ne_bytes());
        body(self);
        let length = self.bytes.len() - start;
        debug_assert!(
            length - 4 <= LONGEST,
            "nested attribute {kind} of {} bytes",
            length - 4
        );
        self.bytes[start..start + 2].copy_from_slice(&(length as u16).to_ne_bytes());
        self.pad();
    }

    /// Sets further flags of the message that begins at an offset.
    pub fn set_flags(&mut self, start: usize, flags: u16) {
        let at = start + 6;
        let old = u16::from_ne_bytes([self.bytes[at], self.bytes[at + 1]]);
        self.bytes[at..at + 2].copy_from_slice(&(old | flags).to_ne_bytes());
    }

    /// Bytes written so far.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing is written.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// All messages, to be sent.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Forgets the content and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    fn pad(&mut self) {
        self.bytes.resize(aligned(self.bytes.len()), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::super::NLM_F_REQUEST;
    use super::*;

    /// What `nft add table ip demo` sends between the two messages that frame its batch, captured
    /// with strace (nft 1.0.6, little-endian).
    #[test]
    #[cfg(target_endian = "little")]
    fn writes_what_nft_sends_for_a_table() {
        let mut w = Writer::new();
        w.message(0x0a00, NLM_F_REQUEST, 1, |w| {
            w.nfgenmsg(2, 0);
            w.attr_str(1, "demo");
            w.attr_be32(2, 0);
        });
        let expected: [u8; 40] = [
            0x28, 0x00, 0x00, 0x00, 0x00, 0x0a, 0x01, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00,
            0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x09, 0x00, 0x01, 0x00, 0x64, 0x65, 0x6d, 0x6f,
            0x00, 0x00, 0x00, 0x00, 0x08, 0x00, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00,
        ];
        assert_eq!(w.as_bytes(), expected);
    }

    #[test]
    fn nested_attributes_count_padding_of_their_content_only() {
        let mut w = Writer::new();
        w.nested(3, |w| {
            w.attr_u8(1, 7);
            w.nested(2, |w| w.attr_be16(1, 0x0102));
        });
        let mut expected = Vec::new();
        for part in [24u16, 0x8003, 5, 1] {
            expected.extend(part.to_ne_bytes());
        }
        expected.extend([7, 0, 0, 0]);
        for part in [12u16, 0x8002, 6, 1] {
            expected.extend(part.to_ne_bytes());
        }
        expected.extend([1, 2, 0, 0]);
        assert_eq!(w.as_bytes(), expected);
    }

    #[test]
    fn a_message_after_an_unaligned_one_starts_aligned() {
        let mut w = Writer::new();
        w.message(1, 0, 0, |w| w.raw(b"abc"));
        assert_eq!(w.len(), 20);
        assert_eq!(w.as_bytes()[..4], 19u32.to_ne_bytes());
        w.message(2, 0, 0, |_| ());
        assert_eq!(w.as_bytes()[20..24], 16u32.to_ne_bytes());
        w.clear();
        assert!(w.is_empty());
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "nested attribute 9")]
    fn too_much_for_one_attribute_is_a_bug() {
        Writer::new().nested(9, |w| w.raw(&[0; 65_532]));
    }
}
