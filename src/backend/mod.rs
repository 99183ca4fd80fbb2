// SPDX-License-Identifier: Apache-2.0
//! The kernel: commits transactions and reads back what is there. Decides nothing.

use std::net::IpAddr;

use crate::model::IpFamily;
use crate::plan::nft::{Base, ChainName, Element, Key, Op, SetId, SetName};

/// What nftables mode needs of the kernel. Implemented over netlink, and in memory for tests.
pub trait Nftables {
    /// Chains, rules and sets of our table, without elements. None if there is no such table.
    fn read_table(&mut self, family: IpFamily) -> Result<Option<TableState>, Error>;

    /// The elements of one permanent set, in no particular order.
    fn read_elements(&mut self, family: IpFamily, set: SetId) -> Result<Vec<Element>, Error>;

    /// The clients that a Service's affinity map holds: key (the source address) and endpoint.
    fn read_clients(
        &mut self,
        family: IpFamily,
        set: &SetName,
    ) -> Result<Vec<(Key, IpAddr, u16)>, Error>;

    /// Applies all operations atomically, or none of them.
    fn commit(&mut self, family: IpFamily, ops: &[Op]) -> Result<Sent, Error>;
}

/// Our table as the kernel holds it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TableState {
    /// All chains.
    pub chains: Vec<ChainState>,
    /// All named sets and maps, with the fingerprint of the definition that made each.
    pub sets: Vec<(SetName, Option<u64>)>,
}

/// A chain as the kernel holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainState {
    /// Name.
    pub name: ChainName,
    /// Present for base chains.
    pub base: Option<Base>,
    /// One entry a rule: the fingerprint that we gave it, or None for a rule that is not ours.
    pub rules: Vec<Option<u64>>,
}

/// What a commit cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sent {
    /// Netlink messages, without the two that frame a batch.
    pub messages: usize,
    /// Elements added and deleted.
    pub elements: usize,
    /// Bytes.
    pub bytes: usize,
}

/// Why the kernel could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel refused a message.
    #[error("{operation} {object}: {}{}", std::io::Error::from_raw_os_error(*errno), detail(.message))]
    Refused {
        /// What was tried, as `add chain`.
        operation: &'static str,
        /// The object, as `ip ferrule services`.
        object: String,
        /// The kernel's error number.
        errno: i32,
        /// The kernel's own words (extended acknowledgement), possibly empty.
        message: String,
    },
    /// The socket failed.
    #[error("netlink {operation}")]
    Socket {
        /// What was tried.
        operation: &'static str,
        /// The error.
        #[source]
        source: std::io::Error,
    },
    /// The kernel's answer could not be understood.
    #[error("netlink answer: {0}")]
    Malformed(String),
}

fn detail(message: &str) -> String {
    if message.is_empty() {
        String::new()
    } else {
        format!(" ({message})")
    }
}
