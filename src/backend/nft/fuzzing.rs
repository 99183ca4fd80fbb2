// SPDX-License-Identifier: Apache-2.0
//! Whatever comes over a netlink socket; for `fuzz/`.

use super::monitor::{self, Interference};
use super::read::{self, NFGENMSG};
use crate::backend::conntrack;
use crate::backend::netlink::{Attrs, Message};
use crate::plan::nft::SetId;

/// Reads bytes as everything that a socket of netfilter may bring. Nothing may panic or go on for
/// ever.
pub fn check(bytes: &[u8]) {
    monitor::read(bytes, &mut Interference::default());
    conntrack::flow::ended(bytes);
    let mut rest = bytes;
    while let Some((message, after)) = Message::split(rest) {
        rest = after;
        let _ = message.failure();
        let attrs = Attrs::new(message.payload.get(NFGENMSG..).unwrap_or_default());
        read::chain_state(&attrs);
        for set in SetId::ALL {
            read::element_from(set, &attrs);
        }
    }
}
