// SPDX-License-Identifier: Apache-2.0
//! Whatever comes over a netlink socket; for `fuzz/`.

use super::foreign;
use super::forward;
use super::monitor::{self, Interference};
use super::read::{self, NFGENMSG};
use super::uapi::{LIST_ELEM, elem, rule};
use super::userdata;
use crate::backend::conntrack;
use crate::backend::leftovers;
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
        leftovers::fuzzing::check(message.payload);
        forward::read(message.payload);
        let attrs = Attrs::new(message.payload.get(NFGENMSG..).unwrap_or_default());
        read::chain_state(&attrs);
        foreign::foreign_chain(&attrs);
        foreign::foreign_rule(&attrs);
        attrs.get(rule::USERDATA).and_then(userdata::fingerprint);
        // An element alone, and all of a list.
        let list = Attrs::new(attrs.get(elem::LIST_ELEMENTS).unwrap_or_default());
        let list = list.filter(|(kind, _)| *kind == LIST_ELEM);
        let elements = list.map(|(_, element)| Attrs::new(element));
        for attrs in elements.chain([attrs]) {
            for set in SetId::ALL {
                read::element_from(set, &attrs);
            }
        }
    }
}
