// SPDX-License-Identifier: Apache-2.0
//! nftables in memory, for tests: atomic, with the errors that the kernel gives. The tests run
//! the same operations on both and compare.
//!
//! It goes by Linux 6.18. What it does not know: packets ([`Fake::learn`] stands in for them),
//! time-outs, and capacities. What is refused for the table as a whole (a loop, masquerade in the
//! wrong hook) the kernel puts down to one of the rules, the fake to the commit.

pub mod servers;
mod set;
mod table;

#[cfg(test)]
mod tests;

use std::net::IpAddr;

use nix::libc::ENOENT;

use self::table::{Table, Trouble};
use super::nft::{Batch, describe, describe_rule, describe_set};
use super::{Error, Nftables, Sent, TableState};
use crate::model::IpFamily;
use crate::plan::nft::{Element, Key, Op, SetId, SetName, TABLE, text};

/// An in-memory kernel with the tables of both families.
#[derive(Debug, Default)]
pub struct Fake {
    tables: [Option<Table>; 2],
    generation: u32,
    refusals: Vec<i32>,
}

impl Fake {
    /// The number of commits so far that did something.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// Refuses one commit to come with an error number, whatever is in it. Called several times:
    /// so many commits, in that order.
    pub fn refuse(&mut self, errno: i32) {
        self.refusals.push(errno);
    }

    /// Puts a client into a Service's own map, as a packet does: one that is there keeps its data.
    ///
    /// # Panics
    /// If there is no such dynamic map; no rule could have named it.
    pub fn learn(&mut self, family: IpFamily, set: &SetName, client: Key, address: IpAddr) {
        let table = self.tables[family as usize].as_mut();
        let learnt = table.is_some_and(|t| t.learn(set, client, address));
        assert!(learnt, "no dynamic map {set}");
    }

    fn find(&self, family: IpFamily, name: &SetName) -> Result<&set::Set, Error> {
        let table = self.tables[family as usize].as_ref();
        table
            .and_then(|t| t.set(name))
            .ok_or_else(|| Error::Refused {
                operation: "list elements of",
                object: format!("{} {TABLE} {name}", text::family_word(family)),
                errno: ENOENT,
                message: String::new(),
            })
    }
}

impl Nftables for Fake {
    fn read_table(&mut self, family: IpFamily) -> Result<Option<TableState>, Error> {
        Ok(self.tables[family as usize]
            .as_ref()
            .map(|table| table.state(family)))
    }

    fn read_elements(&mut self, family: IpFamily, set: SetId) -> Result<Vec<Element>, Error> {
        Ok(self.find(family, &set.into())?.elements(set))
    }

    fn read_clients(
        &mut self,
        family: IpFamily,
        set: &SetName,
    ) -> Result<Vec<(Key, IpAddr)>, Error> {
        Ok(self.find(family, set)?.clients())
    }

    fn commit(&mut self, family: IpFamily, ops: &[Op]) -> Result<Sent, Error> {
        if ops.is_empty() {
            return Ok(Sent::default());
        }
        let refused = |(operation, object), errno| Error::Refused {
            operation,
            object,
            errno,
            message: String::new(),
        };
        let whole = || {
            (
                "commit",
                format!("table {} {TABLE}", text::family_word(family)),
            )
        };
        if !self.refusals.is_empty() {
            return Err(refused(whole(), self.refusals.remove(0)));
        }
        let mut table = self.tables[family as usize].clone();
        for op in ops {
            table::apply(&mut table, op, family).map_err(|trouble| match trouble {
                Trouble::Op(errno) => refused(describe(op, family), errno),
                Trouble::Set(errno) => refused(describe_set(op, family), errno),
                Trouble::Rule(index, errno) => refused(describe_rule(op, index, family), errno),
            })?;
        }
        if let Some(table) = &table {
            table.validate().map_err(|errno| refused(whole(), errno))?;
        }
        self.tables[family as usize] = table;
        self.generation += 1;
        Ok(Batch::new(family, ops, true, 0, Default::default()).sent())
    }
}
