// SPDX-License-Identifier: Apache-2.0
//! Tables that a socket owns (`NFT_TABLE_F_OWNER`, Linux 5.12): nobody else can change them, and
//! they go when the process does, however that ends.

use super::nfproto;
use super::uapi::{SUBSYS_NFTABLES, chain, msg, rule, table};
use crate::backend::Error;
use crate::backend::netlink::{
    NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_REQUEST, Socket, Writer,
};
use crate::model::IpFamily;
use crate::plan::nft::Hook;

/// A table of this name in any family, while it is there.
#[derive(Debug)]
pub(super) struct Owned {
    socket: Socket,
    name: String,
}

impl Owned {
    /// Nothing is made yet.
    pub(super) fn new(name: impl Into<String>) -> Result<Self, Error> {
        let (socket, name) = (Socket::netfilter()?, name.into());
        Ok(Self { socket, name })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Commits what `fill` asks for, all of it or nothing.
    ///
    /// # Errors
    /// The kernel's; `EOPNOTSUPP` or `EINVAL` if it knows no owners of tables.
    pub(super) fn commit(
        &mut self,
        operation: &'static str,
        fill: impl FnOnce(&mut Batch<'_>),
    ) -> Result<(), Error> {
        let mut batch = Batch {
            w: Writer::new(),
            seq: 0,
            name: &self.name,
        };
        batch.frame(msg::BATCH_BEGIN);
        fill(&mut batch);
        batch.frame(msg::BATCH_END);
        let failures = self.socket.acknowledged(batch.w.as_bytes())?;
        match failures.into_iter().next() {
            None => Ok(()),
            Some(failure) => Err(Error::Refused {
                operation,
                object: self.name.clone(),
                errno: failure.errno,
                message: failure.message,
            }),
        }
    }
}

/// What is to be committed.
pub(super) struct Batch<'a> {
    w: Writer,
    seq: u32,
    name: &'a str,
}

impl Batch<'_> {
    pub(super) fn table(&mut self, family: IpFamily) {
        let name = self.name;
        self.message(msg::NEWTABLE, NLM_F_CREATE, family, |w| {
            w.attr_str(table::NAME, name);
            w.attr_be32(table::FLAGS, table::F_OWNER);
        });
    }

    /// A base chain that accepts, named by its hook. `kind`: `filter` or `nat`.
    pub(super) fn chain(&mut self, family: IpFamily, hook: Hook, kind: &str, priority: i32) {
        let name = self.name;
        self.message(msg::NEWCHAIN, NLM_F_CREATE, family, |w| {
            w.attr_str(chain::TABLE, name);
            w.attr_str(chain::NAME, hook.word());
            w.nested(chain::HOOK, |w| {
                w.attr_be32(chain::HOOK_HOOKNUM, hook.number());
                w.attr_be32(chain::HOOK_PRIORITY, priority as u32);
            });
            w.attr_be32(chain::POLICY, 1);
            w.attr_str(chain::TYPE, kind);
        });
    }

    /// Removes all rules of a chain.
    pub(super) fn flush(&mut self, family: IpFamily, hook: Hook) {
        let name = self.name;
        self.message(msg::DELRULE, 0, family, |w| {
            w.attr_str(rule::TABLE, name);
            w.attr_str(rule::CHAIN, hook.word());
        });
    }

    /// Appends a rule to a chain.
    pub(super) fn rule(&mut self, family: IpFamily, hook: Hook, what: impl FnOnce(&mut Writer)) {
        let name = self.name;
        self.message(msg::NEWRULE, NLM_F_CREATE | NLM_F_APPEND, family, |w| {
            w.attr_str(rule::TABLE, name);
            w.attr_str(rule::CHAIN, hook.word());
            w.nested(rule::EXPRESSIONS, what);
        });
    }

    fn message(&mut self, kind: u16, flags: u16, family: IpFamily, body: impl FnOnce(&mut Writer)) {
        let flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        self.w.message(kind, flags, self.seq, |w| {
            w.nfgenmsg(nfproto(family), 0);
            body(w);
        });
        self.seq += 1;
    }

    fn frame(&mut self, kind: u16) {
        self.w.message(kind, NLM_F_REQUEST, self.seq, |w| {
            w.nfgenmsg(0, SUBSYS_NFTABLES);
        });
        self.seq += 1;
    }
}
