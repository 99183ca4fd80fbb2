// SPDX-License-Identifier: Apache-2.0
//! Hears of every commit that touches our tables and is not ours: `nft flush ruleset`, a reload of
//! somebody's firewall, a second agent.
//!
//! The kernel tells a multicast group of each object that a commit creates or deletes, then of the
//! new generation with the process that made it (`nf_tables_commit`, `nft_commit_notify`,
//! `nf_tables_gen_notify`). What rules do themselves, such as remembering a client, is not told.

use std::collections::BTreeMap;
use std::io;

use nix::libc::{ENOBUFS, NFPROTO_IPV4, NFPROTO_IPV6};

use super::read::{NFGENMSG, key_from};
use super::uapi::{GROUP, elem, gen_id, msg, set};
use crate::backend::netlink::{Attrs, Message, Subscription, be32, cstr};
use crate::model::IpFamily;
use crate::plan::nft::{SetId, TABLE};
use crate::plan::resync::Doubt;

/// The attribute that names the table, which has the same number in every message.
const OF_TABLE: u16 = 1;

/// What others did to our tables.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Interference {
    /// The tables that may no longer be as we left them, and which of their elements.
    pub families: BTreeMap<IpFamily, Doubt>,
    /// How many objects were created or deleted in them, as far as it was told.
    pub objects: usize,
    /// The process that did it last, if the kernel said so: its name and number.
    pub process: Option<(String, u32)>,
    /// Messages were lost, so that anything may have been done.
    pub lost: bool,
}

impl Interference {
    /// Adds what was done later.
    pub fn add(&mut self, later: Interference) {
        for (family, doubt) in later.families {
            self.doubt(family, doubt);
        }
        self.objects += later.objects;
        self.process = later.process.or(self.process.take());
        self.lost |= later.lost;
    }

    fn doubt(&mut self, family: IpFamily, doubt: Doubt) {
        self.families
            .entry(family)
            .or_insert_with(Doubt::none)
            .add(doubt);
    }
}

/// A listener.
pub struct Monitor {
    messages: Subscription,
    found: Interference,
}

impl Monitor {
    /// Listens from now on. `own` is the port of the socket that our commits go through
    /// ([`super::Kernel::port`]). Needs a runtime.
    ///
    /// # Errors
    /// The socket's; EPERM without `CAP_NET_ADMIN`.
    pub fn start(own: u32) -> io::Result<Self> {
        Ok(Self {
            messages: Subscription::netfilter(GROUP, own)?,
            found: Interference::default(),
        })
    }

    /// Waits until somebody has changed one of our tables.
    ///
    /// # Errors
    /// The socket's, but for messages lost.
    pub async fn next(&mut self) -> io::Result<Interference> {
        loop {
            let ended = match self.messages.next().await {
                Ok(bytes) => read(bytes, &mut self.found),
                Err(error) if error.raw_os_error() == Some(ENOBUFS) => {
                    let both = IpFamily::ALL.into_iter();
                    both.for_each(|family| self.found.doubt(family, Doubt::All));
                    self.found.lost = true;
                    true
                }
                Err(error) => return Err(error),
            };
            if ended {
                let found = std::mem::take(&mut self.found);
                if !found.families.is_empty() {
                    return Ok(found);
                }
            }
        }
    }
}

/// Notes what messages tell of our tables. Returns whether a commit is told to its end.
pub(super) fn read(mut bytes: &[u8], found: &mut Interference) -> bool {
    let mut ended = false;
    while let Some((message, rest)) = Message::split(bytes) {
        bytes = rest;
        let attrs = Attrs::new(message.payload.get(NFGENMSG..).unwrap_or_default());
        if message.kind == msg::NEWGEN {
            let number = attrs.get(gen_id::PID).and_then(be32);
            let name = attrs.get(gen_id::NAME).and_then(cstr);
            found.process = name.map(str::to_owned).zip(number);
            ended = true;
        } else if let Some(family) = ours(message.payload, &attrs) {
            let (doubt, objects) = doubt(message.kind, &attrs);
            found.doubt(family, doubt);
            found.objects += objects;
        }
    }
    ended
}

/// The family of our table that a message is about.
fn ours(payload: &[u8], attrs: &Attrs<'_>) -> Option<IpFamily> {
    if attrs.get(OF_TABLE).and_then(cstr) != Some(TABLE) {
        return None;
    }
    match i32::from(*payload.first()?) {
        NFPROTO_IPV4 => Some(IpFamily::V4),
        NFPROTO_IPV6 => Some(IpFamily::V6),
        _ => None,
    }
}

/// Which elements an object that was created or deleted puts in doubt, and how many objects it is.
fn doubt(kind: u16, attrs: &Attrs<'_>) -> (Doubt, usize) {
    let set = |name: u16| attrs.get(name).and_then(cstr).and_then(SetId::from_name);
    match kind {
        msg::NEWTABLE | msg::DELTABLE => (Doubt::All, 1),
        msg::NEWSET | msg::DELSET => (set(set::NAME).map_or_else(Doubt::none, Doubt::set), 1),
        msg::NEWSETELEM | msg::DELSETELEM => {
            let mut doubt = Doubt::none();
            let list = Attrs::new(attrs.get(elem::LIST_ELEMENTS).unwrap_or_default());
            let keys: Vec<_> = list
                .map(|(_, one)| Attrs::new(one).get(elem::KEY).and_then(key_from))
                .collect();
            if let Some(set) = set(elem::LIST_SET) {
                let of = |key: &Option<_>| key.map_or(Doubt::set(set), |k| Doubt::element(set, k));
                keys.iter().for_each(|key| doubt.add(of(key)));
            }
            (doubt, keys.len())
        }
        _ => (Doubt::none(), 1),
    }
}
