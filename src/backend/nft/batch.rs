// SPDX-License-Identifier: Apache-2.0
//! Operations as one batch of messages, and the kernel's complaints about a message as errors
//! about an operation.

use super::uapi::{
    LIST_ELEM, SUBSYS_NFTABLES, chain as chain_attr, elem, msg, rule as rule_attr, set as set_attr,
    table as table_attr,
};
use super::{encode, nfproto, object, sets, userdata};
use crate::backend::netlink::{
    Attrs, Failure, NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_REQUEST, Writer,
};
use crate::backend::{Error, Sent};
use crate::model::IpFamily;
use crate::plan::nft::{
    ChainSpec, Element, Match, Op, Rule, SetId, SetName, TABLE, rule_fingerprint, text,
};

/// Bytes of elements in one message. Attribute lengths have 16 bits; half of that leaves room.
const ELEMENTS: usize = 32 << 10;
/// `struct nlmsghdr` and `struct nfgenmsg`, bytes.
const HEADERS: usize = 20;
/// `NF_ACCEPT`.
const ACCEPT: u32 = 1;

/// What a message is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subject {
    /// The batch as a whole.
    Batch,
    /// One operation.
    Op(usize),
    /// Some operations on elements of one set, from the first of them on.
    Elements(usize),
    /// One rule of the chain that an operation fills.
    Rule(usize, usize),
}

/// A batch under construction. Message `n` of it has sequence number `n`, counted from 0 for the
/// one that begins it.
#[derive(Debug)]
pub(in crate::backend) struct Batch<'a> {
    family: IpFamily,
    ops: &'a [Op],
    /// Buffer, and where in it each message begins.
    w: Writer,
    starts: Vec<usize>,
    subjects: Vec<Subject>,
    set_ids: u32,
    /// `NFT_TABLE_F_*` of a table that is made.
    table_flags: u32,
    elements: usize,
    /// Deletes what is gone without an error (`NFT_MSG_DESTROYSETELEM`).
    forget_by: u16,
}

impl<'a> Batch<'a> {
    /// Encodes operations. `destroy` tells that the kernel knows `NFT_MSG_DESTROYSETELEM`; if it
    /// does not, [`Op::Forget`] becomes an ordinary deletion.
    pub(in crate::backend) fn new(
        family: IpFamily,
        ops: &'a [Op],
        destroy: bool,
        table_flags: u32,
        buffer: Writer,
    ) -> Self {
        let mut batch = Self {
            family,
            ops,
            w: buffer,
            starts: Vec::new(),
            subjects: Vec::new(),
            set_ids: 0,
            table_flags,
            elements: 0,
            forget_by: if destroy {
                msg::DESTROYSETELEM
            } else {
                msg::DELSETELEM
            },
        };
        batch.w.clear();
        batch.frame(msg::BATCH_BEGIN);
        let mut at = 0;
        while at < ops.len() {
            at = batch.add(at);
        }
        batch.ask_for_acknowledgement();
        batch.frame(msg::BATCH_END);
        batch
    }

    /// Everything, to be sent at once.
    pub(super) fn as_bytes(&self) -> &[u8] {
        self.w.as_bytes()
    }

    /// What sending it costs.
    pub(in crate::backend) fn sent(&self) -> Sent {
        Sent {
            messages: self.subjects.len() - 2,
            elements: self.elements,
            bytes: self.w.len(),
        }
    }

    /// The buffer, for the next batch.
    pub(super) fn into_buffer(self) -> Writer {
        self.w
    }

    /// The kernel executes a batch while it is being sent, and reports errors unasked. That the
    /// last message is acknowledged proves that the whole batch was read.
    fn ask_for_acknowledgement(&mut self) {
        let last = self.starts[self.starts.len() - 1];
        self.w.set_flags(last, NLM_F_ACK);
    }

    fn frame(&mut self, kind: u16) {
        self.begin(Subject::Batch);
        let seq = self.seq();
        // Family and subsystem: the kernel wants AF_UNSPEC and NFNL_SUBSYS_NFTABLES here.
        self.w
            .message(kind, NLM_F_REQUEST, seq, |w| w.nfgenmsg(0, SUBSYS_NFTABLES));
    }

    fn begin(&mut self, subject: Subject) {
        self.starts.push(self.w.len());
        self.subjects.push(subject);
    }

    fn seq(&self) -> u32 {
        self.subjects.len() as u32 - 1
    }

    fn message(&mut self, subject: Subject, kind: u16, flags: u16, body: impl FnOnce(&mut Writer)) {
        self.begin(subject);
        let (seq, family) = (self.seq(), nfproto(self.family));
        self.w.message(kind, NLM_F_REQUEST | flags, seq, |w| {
            w.nfgenmsg(family, 0);
            body(w);
        });
    }

    /// Encodes the operation at an index, with those after it that go into the same message.
    /// Returns the index of the next one.
    fn add(&mut self, at: usize) -> usize {
        let ops = self.ops;
        let subject = Subject::Op(at);
        match &ops[at] {
            Op::AddTable => {
                let flags = self.table_flags;
                self.message(subject, msg::NEWTABLE, NLM_F_CREATE, |w| {
                    w.attr_str(table_attr::NAME, TABLE);
                    w.attr_be32(table_attr::FLAGS, flags);
                });
            }
            Op::DeleteTable => {
                self.message(subject, msg::DELTABLE, 0, |w| {
                    w.attr_str(table_attr::NAME, TABLE)
                });
            }
            Op::AddChain(spec) => {
                self.message(subject, msg::NEWCHAIN, NLM_F_CREATE, |w| chain(w, spec));
            }
            Op::SetRules(spec) => self.rules(at, spec),
            Op::DeleteChain(name) => self.message(subject, msg::DELCHAIN, 0, |w| {
                w.attr_str(chain_attr::TABLE, TABLE);
                w.attr_str(chain_attr::NAME, name.as_str());
            }),
            Op::AddSet(spec) => {
                let (family, id) = (self.family, self.next_set_id());
                self.message(subject, msg::NEWSET, NLM_F_CREATE, |w| {
                    sets::definition(w, spec, family, id);
                });
            }
            Op::DeleteSet(name) => self.message(subject, msg::DELSET, 0, |w| {
                w.attr_str(set_attr::TABLE, TABLE);
                w.attr_str(set_attr::NAME, name.as_str());
            }),
            Op::AddElement(e) => return self.add_elements(at, e.set),
            Op::DeleteElement(e) => return self.delete_elements(at, e.set),
            Op::Forget(name, _) => return self.forget(at, name),
        }
        at + 1
    }

    fn next_set_id(&mut self) -> u32 {
        self.set_ids += 1;
        self.set_ids
    }

    fn rules(&mut self, at: usize, spec: &ChainSpec) {
        self.message(Subject::Op(at), msg::DELRULE, 0, |w| {
            w.attr_str(rule_attr::TABLE, TABLE);
            w.attr_str(rule_attr::CHAIN, spec.name.as_str());
        });
        for (index, rule) in spec.rules.iter().enumerate() {
            self.rule(Subject::Rule(at, index), spec, rule);
        }
    }

    fn rule(&mut self, subject: Subject, spec: &ChainSpec, rule: &Rule) {
        let family = self.family;
        let mut protocols = 0;
        if rule.matches.contains(&Match::KnownProtocol) {
            protocols = self.next_set_id();
            self.message(subject, msg::NEWSET, NLM_F_CREATE, |w| {
                sets::protocols_definition(w, protocols);
            });
            self.message(subject, msg::NEWSETELEM, NLM_F_CREATE, |w| {
                sets::protocols(w, protocols);
            });
        }
        self.message(subject, msg::NEWRULE, NLM_F_CREATE | NLM_F_APPEND, |w| {
            w.attr_str(rule_attr::TABLE, TABLE);
            w.attr_str(rule_attr::CHAIN, spec.name.as_str());
            w.nested(rule_attr::EXPRESSIONS, |w| {
                encode::rule(w, rule, family, protocols)
            });
            let fingerprint = rule_fingerprint(rule, family);
            w.attr(rule_attr::USERDATA, &userdata::of_rule(fingerprint));
        });
    }

    fn add_elements(&mut self, at: usize, set: SetId) -> usize {
        let length = sets::key_length(&set.spec().key, self.family);
        self.elements(
            at,
            msg::NEWSETELEM,
            NLM_F_CREATE,
            set.name(),
            |w, op| match op {
                Op::AddElement(e) if e.set == set => {
                    sets::element(w, e, length);
                    true
                }
                _ => false,
            },
        )
    }

    fn delete_elements(&mut self, at: usize, set: SetId) -> usize {
        let length = sets::key_length(&set.spec().key, self.family);
        self.elements(at, msg::DELSETELEM, 0, set.name(), |w, op| match op {
            Op::DeleteElement(e) if e.set == set => {
                sets::key(w, &e.key, e.end.as_deref(), length);
                true
            }
            _ => false,
        })
    }

    fn forget(&mut self, at: usize, set: &SetName) -> usize {
        self.elements(at, self.forget_by, 0, set.as_str(), |w, op| match op {
            Op::Forget(name, key) if name == set => {
                sets::key(w, key, None, key.as_bytes().len());
                true
            }
            _ => false,
        })
    }

    /// Encodes operations from an index on into one message, as long as `encode` takes them and
    /// there is room. Returns the index of the first that is not in it.
    fn elements(
        &mut self,
        at: usize,
        kind: u16,
        flags: u16,
        set: &str,
        encode: impl Fn(&mut Writer, &Op) -> bool,
    ) -> usize {
        let ops = self.ops;
        let mut end = at;
        self.message(Subject::Elements(at), kind, flags, |w| {
            w.attr_str(elem::LIST_TABLE, TABLE);
            w.attr_str(elem::LIST_SET, set);
            w.nested(elem::LIST_ELEMENTS, |w| {
                let limit = w.len() + ELEMENTS;
                while w.len() < limit && ops.get(end).is_some_and(|op| encode(w, op)) {
                    end += 1;
                }
            });
        });
        self.elements += end - at;
        end
    }

    /// What a failure was about.
    pub(super) fn error(&self, failure: Failure) -> Error {
        let seq = failure.seq as usize;
        let subject = self.subjects.get(seq).copied().unwrap_or(Subject::Batch);
        let (operation, object) = match subject {
            Subject::Batch => ("commit", format!("table {}", self.table())),
            Subject::Op(op) => describe(&self.ops[op], self.family),
            Subject::Elements(first) => {
                match failure
                    .offset
                    .and_then(|offset| self.element_at(seq, offset))
                {
                    Some(index) => describe(&self.ops[first + index], self.family),
                    None => describe_set(&self.ops[first], self.family),
                }
            }
            Subject::Rule(op, index) => describe_rule(&self.ops[op], index, self.family),
        };
        Error::Refused {
            operation,
            object,
            errno: failure.errno,
            message: failure.message,
        }
    }

    /// The operation that a failure was about, if it was about one.
    pub(super) fn failed_op(&self, failure: &Failure) -> Option<&Op> {
        match self.subjects.get(failure.seq as usize)? {
            Subject::Batch => None,
            Subject::Op(op) | Subject::Elements(op) | Subject::Rule(op, _) => self.ops.get(*op),
        }
    }

    fn table(&self) -> String {
        format!("{} {TABLE}", text::family_word(self.family))
    }

    /// Which element of a message holds the byte that the kernel points at.
    fn element_at(&self, seq: usize, offset: u32) -> Option<usize> {
        let start = self.starts[seq];
        let message = &self.w.as_bytes()[start..*self.starts.get(seq + 1)?];
        let list = Attrs::new(message.get(HEADERS..)?).get(elem::LIST_ELEMENTS)?;
        let base = list.as_ptr() as usize - message.as_ptr() as usize;
        let culprit = |(kind, payload): &(u16, &[u8])| {
            let from = payload.as_ptr() as usize - list.as_ptr() as usize + base - 4;
            *kind == LIST_ELEM && (from..from + payload.len() + 4).contains(&(offset as usize))
        };
        Attrs::new(list).position(|attr| culprit(&attr))
    }
}

fn chain(w: &mut Writer, spec: &ChainSpec) {
    w.attr_str(chain_attr::TABLE, TABLE);
    w.attr_str(chain_attr::NAME, spec.name.as_str());
    let Some(base) = spec.base else { return };
    w.attr_str(chain_attr::TYPE, base.hook.chain_type());
    w.attr_be32(chain_attr::POLICY, ACCEPT);
    w.nested(chain_attr::HOOK, |w| {
        w.attr_be32(chain_attr::HOOK_HOOKNUM, base.hook.number());
        w.attr_be32(chain_attr::HOOK_PRIORITY, base.priority as u32);
    });
}

/// An operation and its object, as errors name them.
pub(in crate::backend) fn describe(op: &Op, family: IpFamily) -> (&'static str, String) {
    let named = |name: &str| object(family, name);
    let element = |e: &Element| sets::element_name(e, family);
    match op {
        Op::AddTable => (
            "add table",
            format!("{} {TABLE}", text::family_word(family)),
        ),
        Op::DeleteTable => (
            "delete table",
            format!("{} {TABLE}", text::family_word(family)),
        ),
        Op::AddChain(spec) => ("add chain", named(spec.name.as_str())),
        Op::SetRules(spec) => ("set rules of chain", named(spec.name.as_str())),
        Op::DeleteChain(name) => ("delete chain", named(name.as_str())),
        Op::AddSet(spec) => ("add set", named(spec.name.as_str())),
        Op::DeleteSet(name) => ("delete set", named(name.as_str())),
        Op::AddElement(e) => ("add element", element(e)),
        Op::DeleteElement(e) => ("delete element", element(e)),
        Op::Forget(set, key) => ("forget", format!("{} {{ {key:?} }}", named(set.as_str()))),
    }
}

/// A rule of the chain that an operation fills, as errors name it.
pub(in crate::backend) fn describe_rule(
    op: &Op,
    index: usize,
    family: IpFamily,
) -> (&'static str, String) {
    let Op::SetRules(spec) = op else {
        return describe(op, family);
    };
    let rule = text::rule(&spec.rules[index], family);
    (
        "add rule",
        format!("{} {rule}", object(family, spec.name.as_str())),
    )
}

/// An operation on an element and its set: the kernel does not always say which element it means.
pub(in crate::backend) fn describe_set(op: &Op, family: IpFamily) -> (&'static str, String) {
    let (operation, _) = describe(op, family);
    let set = match op {
        Op::AddElement(e) | Op::DeleteElement(e) => e.set.name(),
        Op::Forget(set, _) => set.as_str(),
        _ => "",
    };
    (operation, object(family, set))
}
