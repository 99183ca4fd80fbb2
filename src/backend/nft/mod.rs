// SPDX-License-Identifier: Apache-2.0
//! nftables over netlink: [`Kernel`] writes operations as batches and reads our table back.
//!
//! | module | does |
//! |---|---|
//! | `uapi` | the kernel's numbers |
//! | `encode` | rules as expressions |
//! | `sets` | sets and elements as attributes |
//! | `userdata` | what nft and we keep beside rules and sets |
//! | `batch` | operations as messages, failures as errors |
//! | `read` | answers as our own types |
//! | `foreign` | chains of others: which there are, and their removal |
//! | [`forward`] | chains of others that forwarded packets pass |
//! | `owned` | tables that a socket owns, beside the main one |
//! | [`marking`] | has packets traced, by a table of its own |
//! | [`sampling`] | has ends of some flows told alone, by a table of its own |
//! | [`monitor`] | what others do to our tables |
//! | [`probe`] | names what a kernel lacks, before anything is written |
//!
//! Nothing here is copied from nft; what it sends was watched (`nft --debug=netlink,mnl`), and the
//! tests compare what the kernel then holds.

mod batch;
mod encode;
pub(super) mod foreign;
pub mod forward;
#[doc(hidden)]
pub mod fuzzing;
pub mod marking;
pub mod monitor;
mod owned;
pub mod probe;
mod read;
pub mod sampling;
mod sets;
mod uapi;
mod userdata;

#[cfg(test)]
pub(crate) mod tests;

use std::net::IpAddr;

use nix::libc::{EINVAL, ENOENT, EOPNOTSUPP, EPERM};

pub(super) use self::batch::{Batch, describe, describe_rule, describe_set};
pub(super) use self::sets::{data_type, key_length};
use self::uapi::table;
use super::netlink::{Failure, Socket, Writer};
use super::{Error, Nftables, Sent, TableState};
use crate::model::IpFamily;
use crate::plan::nft::{Element, Key, Op, SetId, SetName, TABLE, text};

/// The `NFPROTO_*` number of a family.
fn nfproto(family: IpFamily) -> u8 {
    match family {
        IpFamily::V4 => nix::libc::NFPROTO_IPV4 as u8,
        IpFamily::V6 => nix::libc::NFPROTO_IPV6 as u8,
    }
}

/// A table or something in it, as errors name it: `ip ferrule services`.
fn object(family: IpFamily, name: &str) -> String {
    let table = format!("{} {TABLE}", text::family_word(family));
    if name.is_empty() {
        table
    } else {
        format!("{table} {name}")
    }
}

/// nf_tables of the network namespace that it was opened in.
///
/// [`Op::Forget`] takes `NFT_MSG_DESTROYSETELEM` (Linux 6.3). An older kernel refuses the first
/// batch that has one; from then on the rest of a commit goes first, as one batch, and each
/// `Forget` follows in a batch of its own, whose ENOENT is no error. Such a commit is atomic but
/// for its `Forget`s: for that moment a client may still reach the endpoint that it had.
#[derive(Debug)]
pub struct Kernel {
    socket: Socket,
    seq: u32,
    buffer: Writer,
    /// The kernel is not known to lack `NFT_MSG_DESTROYSETELEM`.
    destroy: bool,
    /// Tables are to be ours alone, and the kernel is not known to lack what that takes.
    own: bool,
}

impl Kernel {
    /// Opens a socket. Rights and abilities show with the first use; see [`probe::probe`].
    ///
    /// # Errors
    /// If the kernel has no netfilter netlink.
    pub fn open() -> Result<Self, Error> {
        let socket = Socket::netfilter()?;
        Ok(Self {
            socket,
            seq: 0,
            buffer: Writer::new(),
            destroy: true,
            own: false,
        })
    }

    /// The same, whose tables nobody else may change as long as it is open (Linux 6.9; older
    /// kernels make ordinary tables). They outlive it, and the next one takes them over.
    #[must_use]
    pub fn owning(self, own: bool) -> Self {
        Self { own, ..self }
    }

    /// The number of our socket, by which [`monitor`] knows our own commits.
    ///
    /// # Errors
    /// The socket's.
    pub fn port(&self) -> Result<u32, Error> {
        self.socket.port()
    }

    fn table_flags(&self) -> u32 {
        match self.own {
            true => table::F_OWNER | table::F_PERSIST,
            false => 0,
        }
    }

    /// Sends one batch.
    fn send(&mut self, family: IpFamily, ops: &[Op]) -> Result<Sent, Refusal> {
        let (flags, buffer) = (self.table_flags(), std::mem::take(&mut self.buffer));
        let batch = Batch::new(family, ops, self.destroy, flags, buffer);
        let result = match self.socket.acknowledged(batch.as_bytes()) {
            Ok(failures) => match failures.into_iter().next() {
                None => Ok(batch.sent()),
                Some(failure) => Err(Refusal {
                    forget: matches!(batch.failed_op(&failure), Some(Op::Forget(..))),
                    table: matches!(batch.failed_op(&failure), Some(Op::AddTable)),
                    error: failed(&batch, failure),
                }),
            },
            Err(error) => Err(Refusal {
                forget: false,
                table: false,
                error,
            }),
        };
        self.buffer = batch.into_buffer();
        result
    }

    /// For kernels without `NFT_MSG_DESTROYSETELEM`.
    fn commit_without_destroy(&mut self, family: IpFamily, ops: &[Op]) -> Result<Sent, Error> {
        let forget = |op: &&Op| matches!(op, Op::Forget(..));
        let mut total = Sent::default();
        let rest: Vec<Op> = ops.iter().filter(|op| !forget(op)).cloned().collect();
        if !rest.is_empty() {
            total += self.send(family, &rest)?;
        }
        for op in ops.iter().filter(forget) {
            match self.send(family, std::slice::from_ref(op)) {
                Ok(sent) => total += sent,
                Err(refusal) if refusal.error.errno() == Some(ENOENT) => {}
                Err(refusal) => return Err(refusal.error),
            }
        }
        Ok(total)
    }
}

/// Whom a table belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// Everybody may change it.
    Nobody,
    /// The owner has gone; the next may take it over.
    Orphan,
    /// The socket of this port.
    Socket(u32),
}

/// Why a batch was refused.
struct Refusal {
    error: Error,
    /// The first message that was refused is one that forgets clients.
    forget: bool,
    /// It is the one that makes the table.
    table: bool,
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        refusal.error
    }
}

impl Refusal {
    /// What the kernel says to a message type that it does not know (`nfnetlink_rcv_batch`).
    fn unknown_message(&self) -> bool {
        self.forget && matches!(self.error.errno(), Some(EINVAL | EOPNOTSUPP))
    }

    /// What it says to a flag of a table that it does not know (`nf_tables_newtable`).
    fn unknown_flag(&self) -> bool {
        self.table && matches!(self.error.errno(), Some(EINVAL | EOPNOTSUPP))
    }
}

/// The error for a failure. The message that begins a batch has two failures of its own.
fn failed(batch: &Batch<'_>, failure: Failure) -> Error {
    match (failure.seq, failure.errno) {
        (0, EPERM) => Error::Missing("needs CAP_NET_ADMIN".into()),
        (0, EOPNOTSUPP) => Error::Missing("the kernel lacks nf_tables (CONFIG_NF_TABLES)".into()),
        _ => batch.error(failure),
    }
}

impl Nftables for Kernel {
    fn read_table(&mut self, family: IpFamily) -> Result<Option<TableState>, Error> {
        self.table(family)
    }

    fn read_elements(&mut self, family: IpFamily, set: SetId) -> Result<Vec<Element>, Error> {
        self.fixed_elements(family, set)
    }

    fn read_element(
        &mut self,
        family: IpFamily,
        set: SetId,
        key: &Key,
    ) -> Result<Option<Element>, Error> {
        self.one_element(family, set, key)
    }

    fn read_clients(
        &mut self,
        family: IpFamily,
        set: &SetName,
    ) -> Result<Vec<(Key, IpAddr)>, Error> {
        self.clients(family, set)
    }

    fn adopt(&mut self, family: IpFamily) -> Result<(), Error> {
        if !self.own {
            return Ok(());
        }
        match self.owner(family)? {
            Owner::Orphan => self.commit(family, &[Op::AddTable]).map(drop),
            Owner::Socket(port) if port != self.port()? => Err(Error::Missing(format!(
                "the table {} belongs to another running process (netlink port {port}, often its \
                 process id): end it, most likely another ferrule",
                object(family, "")
            ))),
            Owner::Socket(_) | Owner::Nobody => Ok(()),
        }
    }

    fn commit(&mut self, family: IpFamily, ops: &[Op]) -> Result<Sent, Error> {
        if ops.is_empty() {
            return Ok(Sent::default());
        }
        if self.own && ops.contains(&Op::AddTable) {
            match self.send(family, ops) {
                Err(refusal) if refusal.unknown_flag() => self.own = false,
                done => return Ok(done?),
            }
        }
        if self.destroy {
            match self.send(family, ops) {
                Err(refusal) if refusal.unknown_message() => self.destroy = false,
                done => return Ok(done?),
            }
        }
        self.commit_without_destroy(family, ops)
    }
}
