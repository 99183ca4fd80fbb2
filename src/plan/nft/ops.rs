// SPDX-License-Identifier: Apache-2.0
//! Operations on our table, and the transactions that carry them.

use std::sync::Arc;

use super::{ChainName, ChainSpec, Element, Key, SetName, SetSpec};

/// One operation on the table of one family. The kernel applies all operations of a commit or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Creates the table; no error if it exists.
    AddTable,
    /// Deletes the table with all that is in it; an error if it does not exist.
    DeleteTable,
    /// Creates a chain without its rules; no error if it exists as described.
    AddChain(Arc<ChainSpec>),
    /// Replaces all rules of an existing chain by the given ones.
    SetRules(Arc<ChainSpec>),
    /// Deletes a chain and its rules; an error if something still refers to it.
    DeleteChain(ChainName),
    /// Creates a set; no error if it exists as described.
    AddSet(Arc<SetSpec>),
    /// Deletes a set; an error if a rule still refers to it.
    DeleteSet(SetName),
    /// Adds an element; an error if the key is there with other data (EEXIST).
    AddElement(Element),
    /// Deletes an element of a permanent set; an error if it is not there (ENOENT).
    DeleteElement(Element),
    /// Deletes an element that packets put into a Service's own set, if it is still there.
    Forget(SetName, Key),
}

/// What takes the kernel from one state to another.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Transaction {
    /// One atomic commit.
    pub ops: Vec<Op>,
    /// A second commit, after the first: removals that a packet which is just under way may still
    /// need, such as indices above a shrunken count, and chains that no verdict names any more.
    pub later: Vec<Op>,
}

impl Transaction {
    /// The commits, without empty ones.
    pub fn commits(self) -> impl Iterator<Item = Vec<Op>> {
        [self.ops, self.later]
            .into_iter()
            .filter(|ops| !ops.is_empty())
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty() && self.later.is_empty()
    }
}
