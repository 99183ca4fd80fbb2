// SPDX-License-Identifier: Apache-2.0
//! Tables of others, as much of them as it takes to remove somebody's chains from them: which
//! chains there are, and which rule leads to which. What else a rule says is not looked at.

use super::uapi::{
    LIST_ELEM, SUBSYS_NFTABLES, batch, chain, data, expr, immediate, msg, rule, table,
};
use super::{Kernel, nfproto};
use crate::backend::Error;
use crate::backend::netlink::{
    Attrs, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, Writer, be32, be64, cstr,
};
use crate::model::IpFamily;
use crate::plan::nft::text::family_word;
use nix::libc::{ENOENT, EPERM};

/// What the kernel says to a batch that was made for an older generation (`linux/errno.h`).
const ERESTART: i32 = 85;

/// A table of somebody else: its chains, and the rules of some of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::backend) struct ForeignTable {
    pub(in crate::backend) family: IpFamily,
    pub(in crate::backend) name: &'static str,
    pub(in crate::backend) chains: Vec<ForeignChain>,
    pub(in crate::backend) rules: Vec<ForeignRule>,
}

/// A chain of somebody else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::backend) struct ForeignChain {
    pub(in crate::backend) name: String,
    /// Packets come here by a hook.
    pub(in crate::backend) base: bool,
    /// A base chain that drops what no rule decides.
    pub(in crate::backend) drops: bool,
}

/// A rule of somebody else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::backend) struct ForeignRule {
    pub(in crate::backend) chain: String,
    /// The kernel's number for it, not used a second time.
    pub(in crate::backend) handle: u64,
    /// The chain that it jumps or goes to.
    pub(in crate::backend) to: Option<String>,
}

/// Something to be deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::backend) enum Deletion {
    /// A table with all that is in it.
    Table(IpFamily, &'static str),
    /// A rule by its chain and handle.
    Rule(IpFamily, &'static str, String, u64),
    /// All rules of a chain.
    Rules(IpFamily, &'static str, String),
    /// A chain, empty and with nothing leading to it.
    Chain(IpFamily, &'static str, String),
}

impl Kernel {
    /// Whether there is a table of this name.
    pub(in crate::backend) fn has_foreign_table(
        &mut self,
        family: IpFamily,
        name: &str,
    ) -> Result<bool, Error> {
        let body = |w: &mut Writer| w.attr_str(table::NAME, name);
        self.is_there(family, msg::GETTABLE, name, body)
    }

    /// Whether a table has a chain of this name.
    pub(in crate::backend) fn has_foreign_chain(
        &mut self,
        family: IpFamily,
        table: &str,
        name: &str,
    ) -> Result<bool, Error> {
        self.is_there(family, msg::GETCHAIN, table, |w: &mut Writer| {
            w.attr_str(chain::TABLE, table);
            w.attr_str(chain::NAME, name);
        })
    }

    fn is_there(
        &mut self,
        family: IpFamily,
        kind: u16,
        table: &str,
        body: impl FnOnce(&mut Writer),
    ) -> Result<bool, Error> {
        match self.request(Some(family), kind, NLM_F_ACK, body, |_, _| ()) {
            Ok(()) => Ok(true),
            Err(e) if e.errno() == Some(ENOENT) => Ok(false),
            Err(e) => Err(e.about("read table", format!("{} {table}", family_word(family)))),
        }
    }

    /// The chains of a table; none if it is not there.
    pub(in crate::backend) fn foreign_chains(
        &mut self,
        family: IpFamily,
        table: &str,
    ) -> Result<Option<Vec<ForeignChain>>, Error> {
        if !self.has_foreign_table(family, table)? {
            return Ok(None);
        }
        let mut chains = Vec::new();
        let filter = |w: &mut Writer| w.attr_str(chain::TABLE, table);
        self.request(Some(family), msg::GETCHAIN, NLM_F_DUMP, filter, |_, a| {
            if a.get(chain::TABLE).and_then(cstr) == Some(table) {
                chains.push(foreign_chain(&a));
            }
        })
        .map_err(|e| e.about("list chains of", format!("{} {table}", family_word(family))))?;
        all(chains).map(Some)
    }

    /// The rules of a chain. A table is not read at once: the kernel finds its place anew for each
    /// piece of the answer, which takes it a minute for 300,000 rules.
    pub(in crate::backend) fn foreign_rules(
        &mut self,
        family: IpFamily,
        table: &str,
        name: &str,
    ) -> Result<Vec<ForeignRule>, Error> {
        let mut rules = Vec::new();
        let filter = |w: &mut Writer| {
            w.attr_str(rule::TABLE, table);
            w.attr_str(rule::CHAIN, name);
        };
        let wanted = |a: &Attrs<'_>| {
            let is = |kind, text| a.get(kind).and_then(cstr) == Some(text);
            is(rule::TABLE, table) && is(rule::CHAIN, name)
        };
        self.request(Some(family), msg::GETRULE, NLM_F_DUMP, filter, |_, a| {
            if wanted(&a) {
                rules.push(foreign_rule(&a));
            }
        })
        .map_err(|e| {
            e.about(
                "list rules of",
                format!("{} {table} {name}", family_word(family)),
            )
        })?;
        all(rules)
    }

    /// Deletes all of it in one transaction, if the ruleset is still of this generation; without
    /// one, of whichever.
    ///
    /// # Errors
    /// [`Error::Interrupted`] if it is not: then nothing is deleted.
    pub(in crate::backend) fn delete_foreign(
        &mut self,
        deletions: &[Deletion],
        generation: Option<u32>,
    ) -> Result<(), Error> {
        let messages = encode(deletions, generation);
        let failures = self.socket.acknowledged(messages.as_bytes())?;
        let Some(failure) = failures.into_iter().next() else {
            return Ok(());
        };
        match (failure.seq, failure.errno) {
            (0, ERESTART) => return Err(Error::Interrupted),
            (0, EPERM) => return Err(Error::Missing("needs CAP_NET_ADMIN".into())),
            _ => {}
        }
        let subject = (failure.seq as usize)
            .checked_sub(1)
            .and_then(|index| deletions.get(index));
        Err(Error::Refused {
            operation: "delete",
            object: subject.map_or_else(|| "kube-proxy's rules".into(), ToString::to_string),
            errno: failure.errno,
            message: failure.message,
        })
    }
}

/// One batch; the deletion at index `n` has sequence number `n + 1`.
fn encode(deletions: &[Deletion], generation: Option<u32>) -> Writer {
    let mut w = Writer::new();
    w.message(msg::BATCH_BEGIN, NLM_F_REQUEST, 0, |w| {
        w.nfgenmsg(0, SUBSYS_NFTABLES);
        if let Some(generation) = generation {
            w.attr_be32(batch::GENERATION, generation);
        }
    });
    for (seq, deletion) in (1..).zip(deletions) {
        // The last one is acknowledged: a proof that the whole batch was read.
        let ack = if seq as usize == deletions.len() {
            NLM_F_ACK
        } else {
            0
        };
        w.message(deletion.kind(), NLM_F_REQUEST | ack, seq, |w| {
            deletion.encode(w)
        });
    }
    let end = deletions.len() as u32 + 1;
    w.message(msg::BATCH_END, NLM_F_REQUEST, end, |w| {
        w.nfgenmsg(0, SUBSYS_NFTABLES);
    });
    w
}

impl Deletion {
    fn kind(&self) -> u16 {
        match self {
            Deletion::Table(..) => msg::DELTABLE,
            Deletion::Rule(..) | Deletion::Rules(..) => msg::DELRULE,
            Deletion::Chain(..) => msg::DELCHAIN,
        }
    }

    fn encode(&self, w: &mut Writer) {
        match self {
            Deletion::Table(family, name) => {
                w.nfgenmsg(nfproto(*family), 0);
                w.attr_str(table::NAME, name);
            }
            Deletion::Rule(family, table, chain, handle) => {
                w.nfgenmsg(nfproto(*family), 0);
                w.attr_str(rule::TABLE, table);
                w.attr_str(rule::CHAIN, chain);
                w.attr_be64(rule::HANDLE, *handle);
            }
            Deletion::Rules(family, table, chain) => {
                w.nfgenmsg(nfproto(*family), 0);
                w.attr_str(rule::TABLE, table);
                w.attr_str(rule::CHAIN, chain);
            }
            Deletion::Chain(family, table, name) => {
                w.nfgenmsg(nfproto(*family), 0);
                w.attr_str(chain::TABLE, table);
                w.attr_str(chain::NAME, name);
            }
        }
    }
}

impl std::fmt::Display for Deletion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Deletion::Table(family, name) => write!(f, "table {} {name}", family_word(*family)),
            Deletion::Rule(family, table, chain, handle) => {
                let family = family_word(*family);
                write!(f, "rule {handle} of {family} {table} {chain}")
            }
            Deletion::Rules(family, table, chain) => {
                write!(f, "rules of {} {table} {chain}", family_word(*family))
            }
            Deletion::Chain(family, table, name) => {
                write!(f, "chain {} {table} {name}", family_word(*family))
            }
        }
    }
}

fn all<T>(found: Vec<Option<T>>) -> Result<Vec<T>, Error> {
    let found: Option<Vec<T>> = found.into_iter().collect();
    found.ok_or_else(|| Error::Malformed("a chain or rule without a name".into()))
}

pub(super) fn foreign_chain(attrs: &Attrs<'_>) -> Option<ForeignChain> {
    Some(ForeignChain {
        name: attrs.get(chain::NAME).and_then(cstr)?.to_owned(),
        base: attrs.get(chain::HOOK).is_some(),
        drops: attrs.get(chain::POLICY).and_then(be32) == Some(0),
    })
}

pub(super) fn foreign_rule(attrs: &Attrs<'_>) -> Option<ForeignRule> {
    let expressions = attrs.get(rule::EXPRESSIONS).unwrap_or_default();
    let to = Attrs::new(expressions)
        .filter(|(kind, _)| *kind == LIST_ELEM)
        .find_map(|(_, payload)| target(payload));
    Some(ForeignRule {
        chain: attrs.get(rule::CHAIN).and_then(cstr)?.to_owned(),
        handle: attrs.get(rule::HANDLE).and_then(be64)?,
        to,
    })
}

/// The chain that an expression leads to. iptables-nft, too, writes a jump as nftables' own
/// `immediate`; only matches and other targets are xtables'.
fn target(expression: &[u8]) -> Option<String> {
    let expression = Attrs::new(expression);
    if expression.get(expr::NAME).and_then(cstr) != Some("immediate") {
        return None;
    }
    let value = Attrs::new(expression.get(expr::DATA)?).get(immediate::DATA)?;
    let verdict = Attrs::new(Attrs::new(value).get(data::VERDICT)?);
    Some(verdict.get(data::VERDICT_CHAIN).and_then(cstr)?.to_owned())
}
