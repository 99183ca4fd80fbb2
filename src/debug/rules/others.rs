// SPDX-License-Identifier: Apache-2.0
//! The tables of others, with their rules as text.

use super::read::{self, Name};
use super::view::Table;
use super::{ATTEMPTS, RulesOptions};
use crate::backend::Error;
use crate::backend::netlink::Socket;

/// Tables with more chains than this are told without their rules: kube-proxy's may have 100,000,
/// whose reading takes a minute.
const CHAINS: usize = 2_000;
/// How many elements of a set are read.
const ELEMENTS: usize = 1_000;

/// A table of whomever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Other {
    /// The table, without rules if they were not read.
    pub(crate) table: Table,
    /// Whether it has rules that were not read, as there are too many chains.
    pub(crate) unread: bool,
}

/// All tables that `wanted` (family as in `ip6`, and name) lets through.
///
/// # Errors
/// Those of the kernel; [`Error::Interrupted`] if the ruleset changes all the time.
pub(crate) fn others(
    socket: &mut Socket,
    wanted: impl Fn(&str, &str) -> bool,
) -> Result<Vec<Other>, Error> {
    for _ in 0..ATTEMPTS {
        match attempt(socket, &wanted) {
            Err(Error::Interrupted) => {}
            result => return result,
        }
    }
    Err(Error::Interrupted)
}

fn attempt(socket: &mut Socket, wanted: &impl Fn(&str, &str) -> bool) -> Result<Vec<Other>, Error> {
    let mut others = Vec::new();
    for (family, table) in read::tables(socket)? {
        let name = Name {
            family,
            table: &table,
        };
        let chains = read::chains(socket, name)?;
        let many = chains.len() > CHAINS;
        if many || !wanted(read::family_word(family), &table) {
            let table = Table {
                family: read::family_word(family).into(),
                name: table.clone(),
                sets: Vec::new(),
                chains,
            };
            let unread = many;
            others.push(Other { table, unread });
            continue;
        }
        let options = RulesOptions {
            elements: ELEMENTS,
            ..RulesOptions::default()
        };
        let table = read::table(socket, name, &options)?;
        others.push(Other {
            table,
            unread: false,
        });
    }
    Ok(others)
}
