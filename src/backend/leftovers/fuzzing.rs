// SPDX-License-Identifier: Apache-2.0
//! Whatever the kernel tells of sockets and IP sets; for `fuzz/`.

use super::{ipsets, sockets};
use crate::backend::netlink::Attrs;

/// Reads what follows a message's header as a TCP connection and as a part of an IP set.
pub(in crate::backend) fn check(payload: &[u8]) {
    sockets::connection(payload);
    ipsets::ports_in(&Attrs::new(payload)).for_each(drop);
}
