// SPDX-License-Identifier: Apache-2.0
//! Takes messages apart, and reads what the kernel has to say about a request.

use nix::libc;

use super::{Attrs, HEADER, aligned, cstr};

/// Text of an extended acknowledgement (`enum nlmsgerr_attrs`).
const NLMSGERR_ATTR_MSG: u16 = 1;
/// Offset of what it is about, 32 bits in host order.
const NLMSGERR_ATTR_OFFS: u16 = 2;

/// One message that the kernel refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Sequence number of the message.
    pub seq: u32,
    /// Error number, positive.
    pub errno: i32,
    /// The kernel's own words (extended acknowledgement), mostly empty.
    pub message: String,
    /// Where in the message the kernel sees the cause, bytes from the start of its header.
    pub offset: Option<u32>,
}

/// A message taken apart.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// Message type.
    pub kind: u16,
    /// `NLM_F_*`.
    pub flags: u16,
    /// Sequence number.
    pub seq: u32,
    /// The socket that caused it (`nlmsg_pid`).
    pub port: u32,
    /// What follows the header.
    pub payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// The first message and what follows it. None at the end, or if the length cannot be true.
    pub fn split(bytes: &'a [u8]) -> Option<(Message<'a>, &'a [u8])> {
        let length = u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
        let message = Message {
            kind: u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?),
            flags: u16::from_ne_bytes(bytes.get(6..8)?.try_into().ok()?),
            seq: u32::from_ne_bytes(bytes.get(8..12)?.try_into().ok()?),
            port: u32::from_ne_bytes(bytes.get(12..16)?.try_into().ok()?),
            payload: bytes.get(HEADER..length)?,
        };
        Some((message, bytes.get(aligned(length)..).unwrap_or_default()))
    }

    /// What NLMSG_ERROR or NLMSG_DONE reports; None for "all well" and for nonsense.
    pub fn failure(&self) -> Option<Failure> {
        let (code, rest) = self.payload.split_first_chunk::<4>()?;
        let errno = i32::from_ne_bytes(*code)
            .checked_neg()
            .filter(|errno| *errno > 0)?;
        let attrs = if self.flags & libc::NLM_F_ACK_TLVS as u16 == 0 {
            &[]
        } else if i32::from(self.kind) == libc::NLMSG_DONE {
            rest
        } else {
            self.after_original(rest).unwrap_or_default()
        };
        let attrs = Attrs::new(attrs);
        let message = attrs.get(NLMSGERR_ATTR_MSG).and_then(cstr);
        let offset = attrs.get(NLMSGERR_ATTR_OFFS);
        Some(Failure {
            seq: self.seq,
            errno,
            message: message.unwrap_or_default().to_owned(),
            offset: offset
                .and_then(|o| o.try_into().ok())
                .map(u32::from_ne_bytes),
        })
    }

    /// What follows the quoted request: its header, or all of it unless the answer is capped.
    fn after_original(&self, quoted: &'a [u8]) -> Option<&'a [u8]> {
        if self.flags & libc::NLM_F_CAPPED as u16 != 0 {
            return quoted.get(HEADER..);
        }
        let length = u32::from_ne_bytes(quoted.get(..4)?.try_into().ok()?) as usize;
        quoted.get(aligned(length)..)
    }
}
