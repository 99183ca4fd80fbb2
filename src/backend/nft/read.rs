// SPDX-License-Identifier: Apache-2.0
//! What the kernel holds, as our own types.

use std::net::IpAddr;

use super::uapi::{LIST_ELEM, chain, data, elem, gen_id, msg, rule, set, table};
use super::{Kernel, Owner, nfproto, object, sets, userdata};
use crate::backend::netlink::{Attrs, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, Writer, be32, cstr};
use crate::backend::{ChainState, Error, TableState};
use crate::model::IpFamily;
use crate::plan::balance;
use crate::plan::nft::element::address_from;
use crate::plan::nft::{
    Base, ChainName, Data, Element, Hook, Key, SetId, SetName, SetSpec, TABLE, Verdict,
    set_fingerprint,
};

/// How often a reading that a change interrupts is tried in all.
const ATTEMPTS: usize = 10;
/// `struct nfgenmsg`, bytes; the first is the family.
pub(super) const NFGENMSG: usize = 4;

impl Kernel {
    /// The generation of the whole ruleset of this network namespace; each commit of anybody
    /// raises it.
    ///
    /// # Errors
    /// If the socket fails or the kernel has no nf_tables.
    pub fn generation(&mut self) -> Result<u32, Error> {
        let mut id = None;
        self.request(
            None,
            msg::GETGEN,
            NLM_F_ACK,
            |_| (),
            |kind, attrs| {
                if kind == msg::NEWGEN {
                    id = attrs.get(gen_id::ID).and_then(be32);
                }
            },
        )
        .map_err(|e| e.about("read", "the ruleset's generation"))?;
        id.ok_or_else(|| Error::Malformed("generation without a number".into()))
    }

    /// Sends one request and passes on the attributes of each object of the answer.
    pub(super) fn request(
        &mut self,
        family: Option<IpFamily>,
        kind: u16,
        flags: u16,
        body: impl FnOnce(&mut Writer),
        mut each: impl FnMut(u16, Attrs<'_>),
    ) -> Result<(), Error> {
        self.exchange(family, kind, flags, body, |kind, payload| {
            let attrs = payload.get(NFGENMSG..).unwrap_or_default();
            each(kind, Attrs::new(attrs));
        })
    }

    /// Sends one request and passes on each object of the answer, with its header.
    pub(super) fn exchange(
        &mut self,
        family: Option<IpFamily>,
        kind: u16,
        flags: u16,
        body: impl FnOnce(&mut Writer),
        each: impl FnMut(u16, &[u8]),
    ) -> Result<(), Error> {
        self.seq = self.seq.wrapping_add(1);
        let mut w = Writer::new();
        w.message(kind, NLM_F_REQUEST | flags, self.seq, |w| {
            w.nfgenmsg(family.map_or(0, nfproto), 0);
            body(w);
        });
        self.socket.dump(w.as_bytes(), each)
    }

    /// Reads what one commit left: starts over if another one comes in between.
    pub(super) fn consistent<T>(
        &mut self,
        read: impl Fn(&mut Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        for _ in 1..ATTEMPTS {
            let before = self.generation()?;
            match read(self) {
                Err(Error::Interrupted) => {}
                done if self.generation()? == before => return done,
                _ => {}
            }
        }
        read(self)
    }

    pub(super) fn table(&mut self, family: IpFamily) -> Result<Option<TableState>, Error> {
        self.consistent(|kernel| {
            if !kernel.has_table(family)? {
                return Ok(None);
            }
            let mut chains = kernel.chains(family)?;
            kernel.rules(family, &mut chains)?;
            Ok(Some(TableState {
                chains,
                sets: kernel.sets(family)?,
            }))
        })
    }

    /// Whom our table belongs to, if it is there.
    pub(crate) fn owner(&mut self, family: IpFamily) -> Result<Owner, Error> {
        let mut found = Owner::Nobody;
        let name = |w: &mut Writer| w.attr_str(table::NAME, TABLE);
        let each = |_, attrs: Attrs<'_>| {
            let flags = attrs.get(table::FLAGS).and_then(be32).unwrap_or_default();
            found = match attrs.get(table::OWNER).and_then(be32) {
                Some(port) => Owner::Socket(port),
                None if flags & table::F_PERSIST != 0 => Owner::Orphan,
                None => Owner::Nobody,
            };
        };
        match self.request(Some(family), msg::GETTABLE, NLM_F_ACK, name, each) {
            Err(e) if e.errno() != Some(nix::libc::ENOENT) => {
                Err(e.about("read table", object(family, "")))
            }
            _ => Ok(found),
        }
    }

    /// Whether our table of a family is there.
    ///
    /// # Errors
    /// If the socket fails.
    pub fn has_table(&mut self, family: IpFamily) -> Result<bool, Error> {
        let name = |w: &mut Writer| w.attr_str(table::NAME, TABLE);
        match self.request(Some(family), msg::GETTABLE, NLM_F_ACK, name, |_, _| ()) {
            Ok(()) => Ok(true),
            Err(e) if e.errno() == Some(nix::libc::ENOENT) => Ok(false),
            Err(e) => Err(e.about("read table", object(family, ""))),
        }
    }

    fn chains(&mut self, family: IpFamily) -> Result<Vec<ChainState>, Error> {
        let mut chains = Vec::new();
        let filter = |w: &mut Writer| w.attr_str(chain::TABLE, TABLE);
        self.request(
            Some(family),
            msg::GETCHAIN,
            NLM_F_DUMP,
            filter,
            |_, attrs| {
                if text(&attrs, chain::TABLE) == Some(TABLE) {
                    chains.push(chain_state(&attrs));
                }
            },
        )
        .map_err(|e| e.about("list chains of", object(family, "")))?;
        all(chains, "chain")
    }

    fn rules(&mut self, family: IpFamily, chains: &mut [ChainState]) -> Result<(), Error> {
        let index: std::collections::HashMap<_, _> = chains
            .iter()
            .enumerate()
            .map(|(i, c)| (c.name.clone(), i))
            .collect();
        let filter = |w: &mut Writer| w.attr_str(rule::TABLE, TABLE);
        self.request(
            Some(family),
            msg::GETRULE,
            NLM_F_DUMP,
            filter,
            |_, attrs| {
                if text(&attrs, rule::TABLE) != Some(TABLE) {
                    return;
                }
                let name = text(&attrs, rule::CHAIN).map(ChainName::from);
                if let Some(chain) = name.and_then(|n| index.get(&n)) {
                    let ours = attrs.get(rule::USERDATA).and_then(userdata::fingerprint);
                    chains[*chain].rules.push(ours);
                }
            },
        )
        .map_err(|e| e.about("list rules of", object(family, "")))
    }

    fn sets(&mut self, family: IpFamily) -> Result<Vec<(SetName, Option<u64>)>, Error> {
        let mut sets = Vec::new();
        let filter = |w: &mut Writer| w.attr_str(set::TABLE, TABLE);
        self.request(Some(family), msg::GETSET, NLM_F_DUMP, filter, |_, attrs| {
            let flags = attrs.get(set::FLAGS).and_then(be32).unwrap_or_default();
            if text(&attrs, set::TABLE) == Some(TABLE) && flags & set::ANONYMOUS == 0 {
                let noted = || attrs.get(set::USERDATA).and_then(userdata::fingerprint);
                sets.push(text(&attrs, set::NAME).map(|name| {
                    let name = set_name(name);
                    let clients = clients_map(&name, &attrs, family);
                    let print = clients.map_or_else(noted, |s| Some(set_fingerprint(&s, family)));
                    (name, print)
                }));
            }
        })
        .map_err(|e| e.about("list sets of", object(family, "")))?;
        all(sets, "set")
    }

    /// Passes on the attributes of each element of a set. No such set: [`Error::Refused`], ENOENT.
    fn elements<T>(
        &mut self,
        family: IpFamily,
        name: &str,
        decode: impl Fn(&Attrs<'_>) -> Option<T>,
    ) -> Result<Vec<T>, Error> {
        self.consistent(|kernel| {
            let mut found = Vec::new();
            let filter = |w: &mut Writer| {
                w.attr_str(elem::LIST_TABLE, TABLE);
                w.attr_str(elem::LIST_SET, name);
            };
            kernel
                .request(
                    Some(family),
                    msg::GETSETELEM,
                    NLM_F_DUMP,
                    filter,
                    |_, attrs| {
                        let list = attrs.get(elem::LIST_ELEMENTS).unwrap_or_default();
                        for (kind, payload) in Attrs::new(list) {
                            if kind == LIST_ELEM {
                                found.push(decode(&Attrs::new(payload)));
                            }
                        }
                    },
                )
                .map_err(|e| e.about("list elements of", object(family, name)))?;
            all(found, "element")
        })
    }

    pub(super) fn fixed_elements(
        &mut self,
        family: IpFamily,
        set: SetId,
    ) -> Result<Vec<Element>, Error> {
        self.elements(family, set.name(), |attrs| element_from(set, attrs))
    }

    pub(super) fn one_element(
        &mut self,
        family: IpFamily,
        set: SetId,
        key: &Key,
    ) -> Result<Option<Element>, Error> {
        let mut found = None;
        let length = sets::key_length(&set.spec().key, family);
        let filter = |w: &mut Writer| {
            w.attr_str(elem::LIST_TABLE, TABLE);
            w.attr_str(elem::LIST_SET, set.name());
            w.nested(elem::LIST_ELEMENTS, |w| sets::key(w, key, None, length));
        };
        let each = |_, attrs: Attrs<'_>| {
            let list = attrs.get(elem::LIST_ELEMENTS).unwrap_or_default();
            found = Attrs::new(list)
                .next()
                .map(|(_, payload)| element_from(set, &Attrs::new(payload)));
        };
        match self.request(Some(family), msg::GETSETELEM, NLM_F_ACK, filter, each) {
            Ok(()) => Ok(all(found.into_iter().collect(), "element")?.pop()),
            Err(e) if e.errno() == Some(nix::libc::ENOENT) => Ok(None),
            Err(e) => Err(e.about("read an element of", object(family, set.name()))),
        }
    }

    pub(super) fn clients(
        &mut self,
        family: IpFamily,
        set: &SetName,
    ) -> Result<Vec<(Key, IpAddr)>, Error> {
        self.elements(family, set.as_str(), |attrs| {
            let key = attrs.get(elem::KEY).and_then(key_from)?;
            match attrs.get(elem::DATA).and_then(data_from)? {
                Data::Address(address) => Some((key, address)),
                _ => None,
            }
        })
    }
}

/// All of them, or an error if one could not be understood.
fn all<T>(decoded: Vec<Option<T>>, what: &str) -> Result<Vec<T>, Error> {
    let complete: Option<Vec<T>> = decoded.into_iter().collect();
    complete.ok_or_else(|| Error::Malformed(format!("{what} that is none of ours")))
}

fn text<'a>(attrs: &Attrs<'a>, kind: u16) -> Option<&'a str> {
    attrs.get(kind).and_then(cstr)
}

fn set_name(name: &str) -> SetName {
    SetId::from_name(name).map_or_else(|| SetName::Own(name.into()), SetName::Fixed)
}

/// The definition of a map that remembers clients, by what it is and not by what was noted of it:
/// what is in it is not lost only because another version spelled it differently.
fn clients_map(name: &SetName, attrs: &Attrs<'_>, family: IpFamily) -> Option<SetSpec> {
    let SetName::Own(own) = name else { return None };
    let number = |kind| attrs.get(kind).and_then(be32);
    let size = Attrs::new(attrs.get(set::DESC)?).get(set::DESC_SIZE);
    let spec = balance::clients_map(own.clone(), size.and_then(be32)?);
    let is = |kind, value: u32| number(kind).unwrap_or_default() == value;
    let same = is(set::FLAGS, sets::flags(&spec))
        && is(set::KEY_TYPE, sets::data_type(spec.key[0], family))
        && is(set::KEY_LEN, sets::key_length(&spec.key, family) as u32)
        && is(set::DATA_TYPE, sets::data_type(spec.key[0], family))
        && is(set::DATA_LEN, sets::key_length(&spec.key, family) as u32);
    same.then_some(spec)
}

pub(super) fn chain_state(attrs: &Attrs<'_>) -> Option<ChainState> {
    let name = ChainName::from(text(attrs, chain::NAME)?);
    let base = match attrs.get(chain::HOOK) {
        Some(hook) => Some(base_from(&Attrs::new(hook))?),
        None => None,
    };
    Some(ChainState {
        name,
        base,
        rules: Vec::new(),
    })
}

fn base_from(hook: &Attrs<'_>) -> Option<Base> {
    let number = hook.get(chain::HOOK_HOOKNUM).and_then(be32)?;
    let priority = hook.get(chain::HOOK_PRIORITY).and_then(be32)?;
    let hooks = [
        Hook::Prerouting,
        Hook::Input,
        Hook::Forward,
        Hook::Output,
        Hook::Postrouting,
    ];
    let hook = hooks.into_iter().find(|h| h.number() == number)?;
    Some(Base {
        hook,
        priority: priority as i32,
    })
}

pub(super) fn element_from(set: SetId, attrs: &Attrs<'_>) -> Option<Element> {
    let key = attrs.get(elem::KEY).and_then(key_from)?;
    let end = match attrs.get(elem::KEY_END) {
        Some(end) => Some(Box::new(key_from(end)?)),
        None => None,
    };
    let data = match attrs.get(elem::DATA) {
        Some(data) => data_from(data)?,
        None => Data::None,
    };
    Some(Element {
        set,
        key,
        end,
        data,
    })
}

/// A key from a nested value.
pub(super) fn key_from(nested: &[u8]) -> Option<Key> {
    Attrs::new(nested)
        .get(data::VALUE)
        .and_then(Key::from_bytes)
}

fn data_from(nested: &[u8]) -> Option<Data> {
    let attrs = Attrs::new(nested);
    if let Some(verdict) = attrs.get(data::VERDICT) {
        return verdict_from(&Attrs::new(verdict)).map(Data::Verdict);
    }
    let value = attrs.get(data::VALUE)?;
    if let Some(address) = address_from(value) {
        return Some(Data::Address(address));
    }
    let (address, port) = value.split_at_checked(value.len().checked_sub(4)?)?;
    Some(Data::Target(
        address_from(address)?,
        u16::from_be_bytes([port[0], port[1]]),
    ))
}

fn verdict_from(attrs: &Attrs<'_>) -> Option<Verdict> {
    let code = attrs.get(data::VERDICT_CODE).and_then(be32)? as i32;
    let chain = || text(attrs, data::VERDICT_CHAIN).map(ChainName::from);
    match code {
        data::DROP => Some(Verdict::Drop),
        data::GOTO => chain().map(Verdict::Goto),
        data::JUMP => chain().map(Verdict::Jump),
        _ => None,
    }
}
