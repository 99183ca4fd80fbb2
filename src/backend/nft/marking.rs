// SPDX-License-Identifier: Apache-2.0
//! A table of its own that marks one flow for tracing (`meta nftrace set 1`), and what the kernel
//! then tells of its packets.

use nix::libc::{EINVAL, EOPNOTSUPP};

use super::encode::{flow, trace_this};
use super::owned::Owned;
use super::uapi::data;
use crate::backend::Error;
use crate::backend::netlink::{Attrs, Socket, be32, be64, cstr};
use crate::model::{IpFamily, Protocol};
use crate::plan::nft::Hook;

/// Before anybody else's chain: `raw` is at -300.
const PRIORITY: i32 = -450;
/// `NFNLGRP_NFTRACE`.
const GROUP: u32 = 9;
/// `NFT_MSG_TRACE`.
const TRACE: u16 = 10 << 8 | 17;
/// `enum nft_trace_attributes`.
mod attr {
    pub(super) const TABLE: u16 = 1;
    pub(super) const CHAIN: u16 = 2;
    pub(super) const HANDLE: u16 = 3;
    pub(super) const KIND: u16 = 4;
    pub(super) const VERDICT: u16 = 5;
    pub(super) const ID: u16 = 6;
    pub(super) const NETWORK: u16 = 8;
    pub(super) const TRANSPORT: u16 = 9;
    pub(super) const FAMILY: u16 = 15;
    pub(super) const POLICY: u16 = 16;
}

/// The flow whose packets are traced, in the direction of its first packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flow {
    /// Family.
    pub family: IpFamily,
    /// Destination address.
    pub destination: std::net::IpAddr,
    /// Protocol.
    pub protocol: Protocol,
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub port: u16,
}

/// What the kernel tells of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// The same for all that is told of one packet, mostly.
    pub id: u32,
    /// `NFPROTO_*` of the table.
    pub family: u8,
    /// Table.
    pub table: String,
    /// Chain.
    pub chain: String,
    /// What it is about.
    pub about: About,
    /// `NF_*` or `NFT_*`: what comes of it.
    pub verdict: i32,
    /// The chain that a jump or goto leads to.
    pub leads_to: Option<String>,
    /// Destination address and port as the packet has them by now, once for each base chain.
    pub destination: Option<std::net::SocketAddr>,
}

/// What a [`Trace`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// A rule that matched, by its handle.
    Rule(u64),
    /// The end of a chain.
    Return,
    /// The policy of a base chain.
    Policy,
}

/// The table, while it is there, and the socket that hears of packets.
#[derive(Debug)]
pub struct Marking {
    // Dropped first: nothing is marked any more.
    table: Owned,
    ears: Socket,
}

impl Marking {
    /// Marks a flow from now on.
    ///
    /// # Errors
    /// The kernel's; [`Error::Missing`] if it knows no owners of tables.
    pub fn start(of: &Flow) -> Result<Self, Error> {
        let mut ears = Socket::netfilter()?;
        ears.join(GROUP)?;
        let mut table = Owned::new(format!("ferrule-trace-{}", std::process::id()))?;
        let made = table.commit("add table", |batch| {
            batch.table(of.family);
            for hook in [Hook::Prerouting, Hook::Output] {
                batch.chain(of.family, hook, "filter", PRIORITY);
                batch.rule(of.family, hook, |w| {
                    flow(w, of);
                    trace_this(w);
                });
            }
        });
        match made {
            Err(Error::Refused { errno, .. }) if [EOPNOTSUPP, EINVAL].contains(&errno) => {
                Err(Error::Missing(
                    "the kernel does not let a socket own a table, which tracing needs (Linux \
                     5.12)"
                        .into(),
                ))
            }
            made => made.map(|()| Self { table, ears }),
        }
    }

    /// The table's name.
    pub fn table(&self) -> &str {
        self.table.name()
    }

    /// What has been told since the last call, without waiting.
    ///
    /// # Errors
    /// The socket's.
    pub fn told(&mut self) -> Result<Vec<Trace>, Error> {
        let mut told = Vec::new();
        self.ears.heard(|kind, payload| {
            if kind == TRACE {
                told.extend(decode(&Attrs::new(payload.get(4..).unwrap_or_default())));
            }
        })?;
        Ok(told)
    }
}

fn decode(attrs: &Attrs<'_>) -> Option<Trace> {
    let text = |kind| attrs.get(kind).and_then(cstr).map(str::to_owned);
    let verdict = attrs.get(attr::VERDICT).map(Attrs::new);
    let part = |kind| verdict.as_ref().and_then(|v| v.get(kind));
    let policy = attrs.get(attr::POLICY).and_then(be32);
    let about = match attrs.get(attr::KIND).and_then(be32)? {
        1 => About::Policy,
        2 => About::Return,
        3 => About::Rule(attrs.get(attr::HANDLE).and_then(be64)?),
        _ => return None,
    };
    let family = attrs.get(attr::FAMILY).and_then(be32)? as u8;
    Some(Trace {
        id: attrs.get(attr::ID).and_then(be32)?,
        family,
        table: text(attr::TABLE)?,
        chain: text(attr::CHAIN)?,
        about,
        verdict: part(data::VERDICT_CODE).and_then(be32).or(policy)? as i32,
        leads_to: part(data::VERDICT_CHAIN).and_then(cstr).map(str::to_owned),
        destination: destination(attrs.get(attr::NETWORK), attrs.get(attr::TRANSPORT)),
    })
}

/// From the headers as they are: IPv4 by its version, else IPv6.
fn destination(network: Option<&[u8]>, transport: Option<&[u8]>) -> Option<std::net::SocketAddr> {
    let network = network?;
    let bytes = match network.first()? >> 4 {
        4 => network.get(16..20)?,
        _ => network.get(24..40)?,
    };
    let port: [u8; 2] = transport?.get(2..4)?.try_into().ok()?;
    let address = crate::plan::nft::element::address_from(bytes)?;
    Some((address, u16::from_be_bytes(port)).into())
}
