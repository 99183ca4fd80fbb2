// SPDX-License-Identifier: Apache-2.0
//! Fetches tables from the kernel.

use std::collections::HashMap;

use super::set::Set;
use super::view::{self, Listing};
use super::{RulesOptions, rule};
use crate::backend::Error;
use crate::backend::netlink::{
    Attrs, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, Socket, Writer, be32, be64, cstr,
};
use crate::model::IpFamily;

// enum nf_tables_msg_types, with NFNL_SUBSYS_NFTABLES above them.
const GETTABLE: u16 = 0x0a01;
const GETCHAIN: u16 = 0x0a04;
const GETRULE: u16 = 0x0a07;
const GETSET: u16 = 0x0a0a;
const GETSETELEM: u16 = 0x0a0d;
const GETGEN: u16 = 0x0a10;

/// A table's family (`NFPROTO_*`) and name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Name<'a> {
    pub(super) family: u8,
    pub(super) table: &'a str,
}

/// Everything that the options ask for.
///
/// # Errors
/// [`Error::Interrupted`] if a commit came in between; those of the kernel.
pub(super) fn listing(socket: &mut Socket, options: &RulesOptions) -> Result<Listing, Error> {
    let before = generation(socket)?;
    let mut tables = Vec::new();
    for family in families(socket, options)? {
        tables.push(table(
            socket,
            Name {
                family,
                table: &options.table,
            },
            options,
        )?);
    }
    // Each dump is checked by the kernel, what lies between two of them is not.
    if generation(socket)? != before {
        return Err(Error::Interrupted);
    }
    Ok(Listing {
        generation: before,
        tables,
        virtual_servers: Vec::new(),
    })
}

fn generation(socket: &mut Socket) -> Result<u32, Error> {
    let mut found = None;
    let mut request = Writer::new();
    request.message(GETGEN, NLM_F_REQUEST | NLM_F_ACK, 1, |w| w.nfgenmsg(0, 0));
    let read = socket.dump(request.as_bytes(), |_, payload| {
        found = body(payload).get(1).and_then(be32)
    });
    read.map_err(|e| e.about("read", "nftables generation"))?;
    found.ok_or_else(|| Error::Malformed("no generation".into()))
}

/// Families that have a table of the name.
fn families(socket: &mut Socket, options: &RulesOptions) -> Result<Vec<u8>, Error> {
    let wanted = options.family.map_or(0, number);
    let mut found = Vec::new();
    dump(socket, GETTABLE, wanted, "tables", &[], |family, attrs| {
        if attrs.get(1).and_then(cstr) == Some(&options.table) {
            found.push(family);
        }
    })?;
    Ok(found)
}

/// Families and names of all tables.
pub(super) fn tables(socket: &mut Socket) -> Result<Vec<(u8, String)>, Error> {
    let mut found = Vec::new();
    dump(socket, GETTABLE, 0, "tables", &[], |family, attrs| {
        let name = attrs.get(1).and_then(cstr);
        found.extend(name.map(|name| (family, name.to_owned())));
    })?;
    Ok(found)
}

/// nft's word for a family.
pub(super) fn family_word(family: u8) -> &'static str {
    match family {
        1 => "inet",
        2 => "ip",
        3 => "arp",
        5 => "netdev",
        7 => "bridge",
        10 => "ip6",
        _ => "unknown",
    }
}

pub(super) fn table(
    socket: &mut Socket,
    name: Name,
    options: &RulesOptions,
) -> Result<view::Table, Error> {
    let order = sets(socket, name, options)?;
    let views = order
        .iter()
        .filter(|s| !s.anonymous())
        .filter(|s| wanted(&s.name, options));
    let views = views.map(|set| set.view(options.elements)).collect();
    let mut chains = Vec::new();
    if options.set.is_none() {
        chains = self::chains(socket, name)?;
        let by_name = order
            .into_iter()
            .map(|set| (set.name.clone(), set))
            .collect();
        rules(socket, name, &by_name, &mut chains)?;
    }
    let family = family_word(name.family);
    Ok(view::Table {
        family: family.into(),
        name: name.table.into(),
        sets: views,
        chains,
    })
}

/// Whether a named set is to be shown.
fn wanted(name: &str, options: &RulesOptions) -> bool {
    options.set.as_ref().is_none_or(|set| set == name)
}

fn sets(socket: &mut Socket, name: Name, options: &RulesOptions) -> Result<Vec<Set>, Error> {
    let mut sets = Vec::new();
    dump(
        socket,
        GETSET,
        name.family,
        "sets",
        &[(1, name.table)],
        |_, attrs| {
            if attrs.get(1).and_then(cstr) == Some(name.table) {
                sets.extend(Set::read(&attrs));
            }
        },
    )?;
    for set in &mut sets {
        let named = wanted(&set.name, options) && !options.bare;
        if set.anonymous() && options.set.is_none() || named {
            let by = [(1, name.table), (2, &set.name.clone())];
            let what = format!("elements of {}", set.name);
            dump(socket, GETSETELEM, name.family, &what, &by, |_, attrs| {
                set.add(&attrs)
            })?;
        }
    }
    Ok(sets)
}

pub(super) fn chains(socket: &mut Socket, name: Name) -> Result<Vec<view::Chain>, Error> {
    let mut chains = Vec::new();
    dump(
        socket,
        GETCHAIN,
        name.family,
        "chains",
        &[],
        |family, attrs| {
            if family == name.family && attrs.get(1).and_then(cstr) == Some(name.table) {
                chains.extend(chain(family, &attrs));
            }
        },
    )?;
    Ok(chains)
}

fn chain(family: u8, attrs: &Attrs) -> Option<view::Chain> {
    let hook = attrs.get(4).map(Attrs::new);
    let number = |kind| hook.as_ref().and_then(|h| h.get(kind)).and_then(be32);
    let names: &[&str] = match family {
        5 => &["ingress", "egress"],
        3 => &["input", "output", "forward"],
        _ => &[
            "prerouting",
            "input",
            "forward",
            "output",
            "postrouting",
            "ingress",
        ],
    };
    let word = |n: u32| {
        names
            .get(n as usize)
            .map_or_else(|| n.to_string(), |w| (*w).to_owned())
    };
    Some(view::Chain {
        name: attrs.get(3).and_then(cstr)?.to_owned(),
        r#type: attrs.get(7).and_then(cstr).map(str::to_owned),
        hook: number(1).map(word),
        priority: number(2).map(|p| p as i32),
        policy: attrs
            .get(5)
            .and_then(be32)
            .map(|p| if p == 0 { "drop" } else { "accept" }),
        rules: Vec::new(),
    })
}

/// Adds the rules to their chains.
fn rules(
    socket: &mut Socket,
    name: Name,
    sets: &HashMap<String, Set>,
    chains: &mut [view::Chain],
) -> Result<(), Error> {
    let index: HashMap<String, usize> = chains
        .iter()
        .enumerate()
        .map(|(i, c)| (c.name.clone(), i))
        .collect();
    let family = match name.family {
        2 => Some(IpFamily::V4),
        10 => Some(IpFamily::V6),
        _ => None,
    };
    dump(
        socket,
        GETRULE,
        name.family,
        "rules",
        &[(1, name.table)],
        |_, attrs| {
            let chain = attrs
                .get(2)
                .and_then(cstr)
                .and_then(|chain| index.get(chain));
            let ours = attrs.get(1).and_then(cstr) == Some(name.table);
            let Some(chain) = chain.filter(|_| ours) else {
                return;
            };
            let comment = attrs.get(7).and_then(comment);
            let expressions = attrs.get(4).unwrap_or_default();
            chains[*chain].rules.push(view::Rule {
                handle: attrs.get(3).and_then(be64).unwrap_or(0),
                text: rule::text(expressions, comment, family, sets),
            });
        },
    )
}

/// The comment in a rule's user data: records of type, length and value, the comment's type is 0.
fn comment(mut userdata: &[u8]) -> Option<&str> {
    while let [kind, length, rest @ ..] = userdata {
        let (value, tail) = rest.split_at_checked(usize::from(*length))?;
        if *kind == 0 {
            return cstr(value);
        }
        userdata = tail;
    }
    None
}

/// Dumps objects of one kind, filtered by the text attributes that the kernel takes for that.
fn dump(
    socket: &mut Socket,
    kind: u16,
    family: u8,
    what: &str,
    by: &[(u16, &str)],
    mut each: impl FnMut(u8, Attrs),
) -> Result<(), Error> {
    let mut request = Writer::new();
    request.message(kind, NLM_F_REQUEST | NLM_F_DUMP, 1, |w| {
        w.nfgenmsg(family, 0);
        by.iter().for_each(|(kind, text)| w.attr_str(*kind, text));
    });
    let read = socket.dump(request.as_bytes(), |_, payload| {
        if let Some(family) = payload.first() {
            each(*family, body(payload));
        }
    });
    read.map_err(|e| e.about("read", what))
}

/// The attributes after `struct nfgenmsg`.
fn body(payload: &[u8]) -> Attrs<'_> {
    Attrs::new(payload.get(4..).unwrap_or_default())
}

/// The family's number (`NFPROTO_*`).
fn number(family: IpFamily) -> u8 {
    match family {
        IpFamily::V4 => 2,
        IpFamily::V6 => 10,
    }
}
