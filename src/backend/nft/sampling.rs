// SPDX-License-Identifier: Apache-2.0
//! A table of its own that lets connection tracking tell of the end of one in so many flows that
//! go through Services, and not of the others' (`ct event set`).
//!
//! Its chains are of type nat, so that a flow's first packet alone meets them. The table is owned
//! by its socket (`NFT_TABLE_F_OWNER`, Linux 5.12) and goes when the process does.

use super::encode::{compare, condition, events, hash, load_ct, load_key, verdict};
use super::nfproto;
use super::uapi::{SUBSYS_NFTABLES, chain, ct, data, msg, rule, table};
use crate::backend::Error;
use crate::backend::netlink::{
    NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_REQUEST, Socket, Writer,
};
use crate::model::IpFamily;
use crate::plan::nft::{Field, Hook, Match};

/// The table's name, in both families.
pub const TABLE: &str = "ferrule-sample";
/// Before our own chains end the hook (100).
const PRIORITY: i32 = 99;
/// Where a flow's first packet is seen that has been translated: one of them for each flow.
const HOOKS: [Hook; 2] = [Hook::Postrouting, Hook::Input];

/// The table, while it is there.
#[derive(Debug)]
pub struct Sampling {
    socket: Socket,
    /// Of the hash that chooses.
    seed: u32,
}

impl Sampling {
    /// Makes the table, which does nothing yet: all ends are told.
    ///
    /// # Errors
    /// The kernel's; `EOPNOTSUPP` or `EINVAL` if it knows no owners of tables.
    pub fn start(seed: u32) -> Result<Self, Error> {
        let socket = Socket::netfilter()?;
        let mut sampling = Self { socket, seed };
        sampling.commit("add table", Batch::table())?;
        Ok(sampling)
    }

    /// From now on the ends of one in so many flows that begin are told; of all, if it is 1.
    ///
    /// # Errors
    /// The kernel's; nothing has changed then.
    pub fn one_in(&mut self, number: u32) -> Result<(), Error> {
        self.commit("replace rules", Batch::rules(number, self.seed))
    }

    fn commit(&mut self, operation: &'static str, batch: Vec<u8>) -> Result<(), Error> {
        let failures = self.socket.acknowledged(&batch)?;
        match failures.into_iter().next() {
            None => Ok(()),
            Some(failure) => Err(Error::Refused {
                operation,
                object: TABLE.to_owned(),
                errno: failure.errno,
                message: failure.message,
            }),
        }
    }
}

struct Batch {
    w: Writer,
    seq: u32,
}

impl Batch {
    fn new() -> Self {
        let mut batch = Self {
            w: Writer::new(),
            seq: 0,
        };
        batch.frame(msg::BATCH_BEGIN);
        batch
    }

    fn table() -> Vec<u8> {
        let mut batch = Self::new();
        for family in IpFamily::ALL {
            batch.message(msg::NEWTABLE, NLM_F_CREATE, family, |w| {
                w.attr_str(table::NAME, TABLE);
                w.attr_be32(table::FLAGS, table::F_OWNER);
            });
            for hook in HOOKS {
                batch.message(msg::NEWCHAIN, NLM_F_CREATE, family, |w| {
                    w.attr_str(chain::TABLE, TABLE);
                    w.attr_str(chain::NAME, hook.word());
                    w.nested(chain::HOOK, |w| {
                        w.attr_be32(chain::HOOK_HOOKNUM, hook.number());
                        w.attr_be32(chain::HOOK_PRIORITY, PRIORITY as u32);
                    });
                    w.attr_be32(chain::POLICY, 1);
                    w.attr_str(chain::TYPE, "nat");
                });
            }
        }
        batch.end()
    }

    fn rules(number: u32, seed: u32) -> Vec<u8> {
        let mut batch = Self::new();
        for (family, hook) in IpFamily::ALL
            .into_iter()
            .flat_map(|f| HOOKS.map(|h| (f, h)))
        {
            let of = |w: &mut Writer| {
                w.attr_str(rule::TABLE, TABLE);
                w.attr_str(rule::CHAIN, hook.word());
            };
            batch.message(msg::DELRULE, 0, family, of);
            if number < 2 {
                continue;
            }
            batch.message(msg::NEWRULE, NLM_F_CREATE | NLM_F_APPEND, family, |w| {
                of(w);
                w.nested(rule::EXPRESSIONS, |w| told(w, family, number, seed));
            });
            batch.message(msg::NEWRULE, NLM_F_CREATE | NLM_F_APPEND, family, |w| {
                of(w);
                w.nested(rule::EXPRESSIONS, |w| untold(w, family));
            });
        }
        batch.end()
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

    fn end(mut self) -> Vec<u8> {
        self.frame(msg::BATCH_END);
        self.w.as_bytes().to_vec()
    }
}

/// `ct status dnat jhash ct original saddr . ct original proto-src mod N seed S == 0 ct event set
/// destroy return`
fn told(w: &mut Writer, family: IpFamily, number: u32, seed: u32) {
    condition(w, &Match::Translated, family, 0);
    let port = load_key(w, &[Field::OriginalSource], family, KEY);
    load_ct(w, ct::PROTO_SRC, Some(ct::ORIGINAL), port);
    hash(w, KEY, (port + 1 - KEY) * 4, number, seed);
    compare(w, false, &[0; 4]);
    events(w, ct::DESTROY);
    verdict(w, data::RETURN, None);
}

/// `ct status dnat ct event set 0`
fn untold(w: &mut Writer, family: IpFamily) {
    condition(w, &Match::Translated, family, 0);
    events(w, 0);
}

/// The first of the 32-bit slots that the hash reads: register 2.
const KEY: usize = 4;
