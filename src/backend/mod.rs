// SPDX-License-Identifier: Apache-2.0
//! The kernel: commits transactions and reads back what is there. Decides nothing.

pub mod conntrack;
pub mod fake;
pub mod ipvs;
pub mod leftovers;
pub mod netlink;
pub mod nft;
pub mod route;
pub mod servers;
pub mod sysctl;
#[doc(hidden)]
pub mod testing;

use std::net::IpAddr;

pub use self::servers::VirtualServers;
use crate::model::IpFamily;
pub use crate::plan::nft::{ChainState, TableState};
use crate::plan::nft::{Element, Key, Op, SetId, SetName};

/// What nftables mode needs of the kernel. Implemented over netlink, and in memory for tests.
pub trait Nftables {
    /// Chains, rules and sets of our table, without elements. None if there is no such table.
    fn read_table(&mut self, family: IpFamily) -> Result<Option<TableState>, Error>;

    /// The elements of one permanent set, in no particular order.
    fn read_elements(&mut self, family: IpFamily, set: SetId) -> Result<Vec<Element>, Error>;

    /// One element of a permanent set that is no set of ranges.
    fn read_element(
        &mut self,
        family: IpFamily,
        set: SetId,
        key: &Key,
    ) -> Result<Option<Element>, Error> {
        let all = self.read_elements(family, set)?;
        Ok(all.into_iter().find(|element| element.key == *key))
    }

    /// The clients that a Service's affinity map holds: key (the source address) and endpoint.
    fn read_clients(
        &mut self,
        family: IpFamily,
        set: &SetName,
    ) -> Result<Vec<(Key, IpAddr)>, Error>;

    /// Makes sure that a table that is there can be changed by nobody else, where that is wanted
    /// and the kernel can. Nothing to do unless a process that ended had made it so.
    ///
    /// # Errors
    /// Another process owns the table.
    fn adopt(&mut self, _family: IpFamily) -> Result<(), Error> {
        Ok(())
    }

    /// Applies all operations atomically, or none of them.
    fn commit(&mut self, family: IpFamily, ops: &[Op]) -> Result<Sent, Error>;
}

impl<T: Nftables + ?Sized> Nftables for &mut T {
    fn read_table(&mut self, family: IpFamily) -> Result<Option<TableState>, Error> {
        (**self).read_table(family)
    }

    fn read_elements(&mut self, family: IpFamily, set: SetId) -> Result<Vec<Element>, Error> {
        (**self).read_elements(family, set)
    }

    fn read_element(
        &mut self,
        family: IpFamily,
        set: SetId,
        key: &Key,
    ) -> Result<Option<Element>, Error> {
        (**self).read_element(family, set, key)
    }

    fn read_clients(
        &mut self,
        family: IpFamily,
        set: &SetName,
    ) -> Result<Vec<(Key, IpAddr)>, Error> {
        (**self).read_clients(family, set)
    }

    fn adopt(&mut self, family: IpFamily) -> Result<(), Error> {
        (**self).adopt(family)
    }

    fn commit(&mut self, family: IpFamily, ops: &[Op]) -> Result<Sent, Error> {
        (**self).commit(family, ops)
    }
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

impl std::ops::AddAssign for Sent {
    fn add_assign(&mut self, other: Sent) {
        self.messages += other.messages;
        self.elements += other.elements;
        self.bytes += other.bytes;
    }
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
    /// What was being read changed meanwhile, so that the answer may lack something or hold it
    /// twice. The caller starts over.
    #[error("netlink dump interrupted by a change")]
    Interrupted,
    /// A right or a feature of the kernel is missing; says which, and the whole story.
    #[error("{0}")]
    Missing(String),
    /// The kernel's answer could not be understood.
    #[error("netlink answer: {0}")]
    Malformed(String),
}

impl Error {
    /// The kernel's error number, if the kernel refused something.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Error::Refused { errno, .. } => Some(*errno),
            _ => None,
        }
    }

    /// Says what was refused, in place of the bare message number that the socket knows.
    #[must_use]
    pub fn about(mut self, operation: &'static str, object: impl Into<String>) -> Self {
        if let Error::Refused {
            operation: o,
            object: name,
            ..
        } = &mut self
        {
            (*o, *name) = (operation, object.into());
        }
        self
    }
}

fn detail(message: &str) -> String {
    if message.is_empty() {
        String::new()
    } else {
        format!(" ({message})")
    }
}
