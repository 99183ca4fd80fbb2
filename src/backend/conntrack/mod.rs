// SPDX-License-Identifier: Apache-2.0
//! Deletes connection tracking entries that lead where a service no longer leads.
//!
//! A NAT rule sees only the first packet of a flow; what it decided stays in the flow's entry for
//! as long as packets keep it alive. A UDP client would talk into the void for ever. The same holds
//! for a flow that began before its service existed, and so was never translated at all.
//!
//! TCP is only touched where the plan says so. Its clients learn from a reset: those on this host
//! at once, by the end of their socket; others when they send, by a rule that resets what is in the
//! midst of a connection without an entry.

pub mod flow;
pub mod sample;
mod sockets;
mod stale;

use nix::libc;

use self::sockets::Sockets;
use self::stale::{Filter, Stale};
use super::Error;
use super::netlink::{Attrs, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, Socket, Writer};
use crate::model::{IpFamily, Protocol};
use crate::plan::stale::StaleFlows;

/// What a clean-up did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ended {
    /// Walks through the kernel's table: 0 if no flow was of the family.
    pub walks: usize,
    /// Entries deleted.
    pub entries: usize,
    /// Sockets of this host that were ended.
    pub sockets: usize,
}

/// Connection tracking of the network namespace that it was opened in.
#[derive(Debug)]
pub struct Conntrack {
    reader: Socket,
    /// Deletes while the other one is still reading, so that nothing piles up.
    deleter: Socket,
    batch: Writer,
    sockets: Sockets,
}

/// Entries deleted in one go: each causes an answer, and all must fit into the receive buffer.
const BATCH: usize = 1000;
/// `NFNL_SUBSYS_CTNETLINK`, shifted to where a message's kind has it.
const SUBSYSTEM: u16 = 1 << 8;
const IPCTNL_MSG_CT_GET: u16 = SUBSYSTEM | 1;
const IPCTNL_MSG_CT_DELETE: u16 = SUBSYSTEM | 2;

// enum ctattr_type
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_ID: u16 = 12;
const CTA_ZONE: u16 = 18;
/// In an attribute's kind: its payload is attributes.
const NESTED: u16 = 0x8000;

impl Conntrack {
    /// Opens the sockets.
    pub fn new() -> Result<Self, Error> {
        let (reader, deleter) = (Socket::netfilter()?, Socket::netfilter()?);
        Ok(Self {
            reader,
            deleter,
            batch: Writer::new(),
            sockets: Sockets::new()?,
        })
    }

    /// Deletes the stale entries of one family. An entry is stale if it was addressed to one of the
    /// frontends and the replies do not come from an endpoint that is live there; of an entry that
    /// was never translated, replies come from the frontend itself (in TCP such a one stays).
    /// A frontend without an address is a NodePort: every address of this host's interfaces but
    /// loopback ones. Entries in other zones than the default one belong to somebody else.
    ///
    /// # Errors
    /// Those of the kernel. What was deleted by then stays deleted; it does no harm to try again.
    pub fn delete_stale(&mut self, family: IpFamily, flows: &[StaleFlows]) -> Result<Ended, Error> {
        let mut ended = Ended::default();
        for protocol in Protocol::ALL {
            let stale = Stale::new(family, flows.iter().filter(|f| f.protocol == protocol))?;
            for filter in stale.filters(family, protocol) {
                ended.walks += 1;
                ended.entries += self.walk(family, filter, &stale)?;
            }
        }
        ended.sockets = self.sockets.take_ended()?;
        Ok(ended)
    }

    fn walk(&mut self, family: IpFamily, filter: Filter, stale: &Stale) -> Result<usize, Error> {
        let Self {
            reader,
            deleter,
            batch,
            sockets,
        } = self;
        let mut request = Writer::new();
        request.message(IPCTNL_MSG_CT_GET, NLM_F_REQUEST | NLM_F_DUMP, 1, |w| {
            w.nfgenmsg(number(family), 0);
            filter.write(w);
        });
        let mut deletion = Deletion {
            socket: deleter,
            batch,
            family,
            pending: 0,
            deleted: Ok(0),
        };
        let read = reader.dump(request.as_bytes(), |_, payload| {
            let entry = Attrs::new(payload.get(4..).unwrap_or_default());
            let found = stale.find(&entry, filter.protocol);
            if let Some(tuple) = found.filter(|_| entry.get(CTA_ZONE).is_none()) {
                if stale.is_own_connection(&tuple) {
                    sockets.end(family, &tuple);
                }
                deletion.add(&entry);
            }
        });
        sockets.send();
        let deleted = deletion.finish();
        read.map_err(|e| e.about("read", "conntrack entries"))?;
        deleted
    }
}

/// Collects deletions and sends them.
struct Deletion<'a> {
    socket: &'a mut Socket,
    batch: &'a mut Writer,
    family: IpFamily,
    pending: usize,
    deleted: Result<usize, Error>,
}

impl Deletion<'_> {
    fn add(&mut self, entry: &Attrs) {
        // With its id, lest a new entry that took the place of this one be deleted.
        let (Some(tuple), Some(id)) = (entry.get(CTA_TUPLE_ORIG), entry.get(CTA_ID)) else {
            return;
        };
        let family = number(self.family);
        self.batch
            .message(IPCTNL_MSG_CT_DELETE, NLM_F_REQUEST | NLM_F_ACK, 1, |w| {
                w.nfgenmsg(family, 0);
                w.attr(CTA_TUPLE_ORIG | NESTED, tuple);
                w.attr(CTA_ID, id);
            });
        self.pending += 1;
        if self.pending == BATCH {
            self.send();
        }
    }

    fn send(&mut self) {
        let answer = self.socket.acknowledged(self.batch.as_bytes());
        self.batch.clear();
        let sent = std::mem::take(&mut self.pending);
        let Ok(before) = self.deleted else { return };
        self.deleted =
            answer.and_then(
                |failures| match failures.iter().find(|f| f.errno != libc::ENOENT) {
                    None => Ok(before + sent - failures.len()),
                    Some(failure) => Err(Error::Refused {
                        operation: "delete",
                        object: "conntrack entry".into(),
                        errno: failure.errno,
                        message: failure.message.clone(),
                    }),
                },
            );
    }

    /// Sends what is left, and returns how many entries were deleted.
    fn finish(mut self) -> Result<usize, Error> {
        if self.pending > 0 {
            self.send();
        }
        self.deleted
    }
}

/// The family's number (`AF_INET` or `AF_INET6`).
fn number(family: IpFamily) -> u8 {
    match family {
        IpFamily::V4 => libc::AF_INET as u8,
        IpFamily::V6 => libc::AF_INET6 as u8,
    }
}

#[cfg(test)]
mod measure;
#[cfg(test)]
pub(crate) mod tests;
