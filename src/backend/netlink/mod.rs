// SPDX-License-Identifier: Apache-2.0
//! Netlink, as much of it as we need: [`Writer`] makes messages, [`Attrs`]
//! reads them, [`Socket`] carries them, [`Subscription`] hears what others cause. Nothing here knows what a message means.
//!
//! Numbers in netlink headers are in host order; in nf_tables and ctnetlink attributes they are
//! big-endian (hence `attr_be32`), but for a few that say otherwise.

mod attrs;
mod message;
mod socket;
mod subscription;
mod writer;

pub use attrs::{Attrs, be16, be32, be64, cstr};
pub use message::{Failure, Message};
pub use socket::Socket;
pub use subscription::Subscription;
pub use writer::Writer;

/// Flag of a request (`linux/netlink.h`); every message that we send has it.
pub const NLM_F_REQUEST: u16 = 0x001;
/// Asks for an acknowledgement even if all is well.
pub const NLM_F_ACK: u16 = 0x004;
/// Asks for the created object back.
pub const NLM_F_ECHO: u16 = 0x008;
/// Asks for all objects (`NLM_F_ROOT | NLM_F_MATCH`).
pub const NLM_F_DUMP: u16 = 0x300;
/// An existing object is replaced.
pub const NLM_F_REPLACE: u16 = 0x100;
/// An existing object is an error.
pub const NLM_F_EXCL: u16 = 0x200;
/// A missing object is created.
pub const NLM_F_CREATE: u16 = 0x400;
/// The object goes to the end of its list.
pub const NLM_F_APPEND: u16 = 0x800;

/// `struct nlmsghdr`, bytes.
const HEADER: usize = 16;
/// Set in an attribute's kind if its payload is attributes.
const NLA_F_NESTED: u16 = 0x8000;
/// The bits of an attribute's kind that are no flags (`NLA_TYPE_MASK`).
const NLA_TYPE_MASK: u16 = 0x3fff;

/// Rounds up to the 4 bytes that netlink aligns everything to.
const fn aligned(length: usize) -> usize {
    (length + 3) & !3
}
