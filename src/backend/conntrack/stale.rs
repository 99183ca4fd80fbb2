// SPDX-License-Identifier: Apache-2.0
//! Which entries are stale, and how to have the kernel leave out most of the others.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;

use super::{CTA_TUPLE_ORIG, CTA_TUPLE_REPLY};
use crate::backend::Error;
use crate::backend::netlink::{Attrs, Writer, be16};
use crate::model::{IpFamily, Protocol, Target};
use crate::plan::nft::element::address_from;
use crate::plan::stale::StaleFlows;

/// More ports of a protocol than this are looked for in one walk through all the protocol's
/// entries; up to this many, in one walk each that passes on only what has the port. Measured, of
/// 500,000 entries: 0.1 s for a walk, and 2 us for each entry that is passed on.
const WALKS: usize = 3;

// enum ctattr_tuple
pub(super) const CTA_TUPLE_IP: u16 = 1;
pub(super) const CTA_TUPLE_PROTO: u16 = 2;
// enum ctattr_ip: IPv4 source and destination, IPv6 source and destination
pub(super) const CTA_IP_V4_SRC: u16 = 1;
pub(super) const CTA_IP_V4_DST: u16 = 2;
pub(super) const CTA_IP_V6_SRC: u16 = 3;
pub(super) const CTA_IP_V6_DST: u16 = 4;
// enum ctattr_l4proto
pub(super) const CTA_PROTO_NUM: u16 = 1;
pub(super) const CTA_PROTO_SRC_PORT: u16 = 2;
pub(super) const CTA_PROTO_DST_PORT: u16 = 3;
// enum ctattr_type
const CTA_FILTER: u16 = 25;
// enum ctattr_filter, and its flags (CTA_FILTER_FLAG in nf_internals.h)
const CTA_FILTER_ORIG_FLAGS: u16 = 1;
const FILTER_DESTINATION: u32 = 1 << 1;
const FILTER_PROTOCOL: u32 = 1 << 3;
const FILTER_DESTINATION_PORT: u32 = 1 << 5;

/// Where clients send to; no address: a NodePort.
type Frontend = (Option<IpAddr>, u16);

/// What is stale of one family and protocol.
pub(super) struct Stale<'a> {
    live: HashMap<Frontend, &'a BTreeSet<Target>>,
    /// Addresses of this host; only read for NodePorts and for TCP.
    local: HashSet<IpAddr>,
}

impl<'a> Stale<'a> {
    pub(super) fn new(
        family: IpFamily,
        flows: impl Iterator<Item = &'a StaleFlows>,
    ) -> Result<Self, Error> {
        let mut stale = Self {
            live: HashMap::new(),
            local: HashSet::new(),
        };
        let mut locals = false;
        for flow in flows.filter(|f| f.address.is_none_or(|a| IpFamily::of(a) == family)) {
            stale.live.insert((flow.address, flow.port), &*flow.live);
            locals |= flow.address.is_none() || flow.protocol == Protocol::Tcp;
        }
        if locals {
            stale.local = local_addresses()?;
        }
        Ok(stale)
    }

    /// How the kernel should filter: one walk through its table for each.
    pub(super) fn filters(&self, family: IpFamily, protocol: Protocol) -> Vec<Filter> {
        let mut ports: HashMap<u16, Option<IpAddr>> = HashMap::new();
        for (address, port) in self.live.keys() {
            // The kernel compares IPv6 addresses the wrong way round: it would leave out the very
            // entries that have the address (`ctnetlink_filter_match_tuple`, seen in 5.8 to 6.18).
            let address = address.filter(|_| family == IpFamily::V4);
            let several = ports.contains_key(port);
            ports.insert(*port, if several { None } else { address });
        }
        if ports.len() > WALKS {
            return vec![Filter {
                protocol,
                address: None,
                port: None,
            }];
        }
        let filter = |(port, address)| Filter {
            protocol,
            address,
            port: Some(port),
        };
        ports.into_iter().map(filter).collect()
    }

    /// What an entry is about that is to be deleted: nothing if it stays.
    pub(super) fn find(&self, entry: &Attrs, protocol: Protocol) -> Option<Tuple> {
        let read = |kind| entry.get(kind).and_then(Tuple::read);
        let (to, from) = (read(CTA_TUPLE_ORIG)?, read(CTA_TUPLE_REPLY)?);
        // Kernels before 5.8 do not filter, and none filters SCTP ports.
        if to.protocol != protocol.number() {
            return None;
        }
        if protocol == Protocol::Tcp && from.source == to.destination {
            return None;
        }
        let (address, port) = to.destination;
        let live = self.live.get(&(Some(address), port)).or_else(|| {
            self.live
                .get(&(None, port))
                .filter(|_| self.local.contains(&address))
        });
        let (address, port) = from.source;
        let stays = live?.contains(&Target { address, port });
        (!stays).then_some(to)
    }

    /// Whether it is a TCP connection that a program of this host has opened.
    pub(super) fn is_own_connection(&self, tuple: &Tuple) -> bool {
        tuple.protocol == Protocol::Tcp.number() && self.local.contains(&tuple.source.0)
    }
}

/// The addresses of this host's interfaces but loopback ones. Of entries to other addresses a
/// NodePort's number says nothing: they pass through, or are another frontend's.
fn local_addresses() -> Result<HashSet<IpAddr>, Error> {
    let interfaces = nix::ifaddrs::getifaddrs().map_err(|e| Error::Socket {
        operation: "read of local addresses",
        source: e.into(),
    })?;
    let address = |storage: nix::sys::socket::SockaddrStorage| {
        let v4 = storage.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
        v4.or_else(|| storage.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip())))
    };
    let all = interfaces.filter_map(|interface| address(interface.address?));
    Ok(all.filter(|a| !a.is_loopback()).collect())
}

/// What the kernel is asked to leave out of a dump (since 5.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Filter {
    pub(super) protocol: Protocol,
    address: Option<IpAddr>,
    port: Option<u16>,
}

impl Filter {
    /// Writes the attributes of the request.
    pub(super) fn write(self, w: &mut Writer) {
        let mut flags = FILTER_PROTOCOL;
        w.nested(CTA_TUPLE_ORIG, |w| {
            if let Some(address) = self.address {
                flags |= FILTER_DESTINATION;
                w.nested(CTA_TUPLE_IP, |w| match address {
                    IpAddr::V4(a) => w.attr(CTA_IP_V4_DST, &a.octets()),
                    IpAddr::V6(a) => w.attr(CTA_IP_V6_DST, &a.octets()),
                });
            }
            w.nested(CTA_TUPLE_PROTO, |w| {
                w.attr_u8(CTA_PROTO_NUM, self.protocol.number());
                if let Some(port) = self.port {
                    flags |= FILTER_DESTINATION_PORT;
                    w.attr_be16(CTA_PROTO_DST_PORT, port);
                }
            });
        });
        // Unlike almost everything else in ctnetlink, in host order.
        w.nested(CTA_FILTER, |w| {
            w.attr(CTA_FILTER_ORIG_FLAGS, &flags.to_ne_bytes())
        });
    }
}

/// One direction of a flow.
pub(super) struct Tuple {
    pub(super) protocol: u8,
    pub(super) source: (IpAddr, u16),
    pub(super) destination: (IpAddr, u16),
}

impl Tuple {
    /// None for protocols without ports.
    pub(super) fn read(payload: &[u8]) -> Option<Self> {
        let tuple = Attrs::new(payload);
        let ip = Attrs::new(tuple.get(CTA_TUPLE_IP)?);
        let l4 = Attrs::new(tuple.get(CTA_TUPLE_PROTO)?);
        let address = |v4, v6| ip.get(v4).or_else(|| ip.get(v6)).and_then(address_from);
        let port = |kind| l4.get(kind).and_then(be16);
        Some(Self {
            protocol: *l4.get(CTA_PROTO_NUM)?.first()?,
            source: (
                address(CTA_IP_V4_SRC, CTA_IP_V6_SRC)?,
                port(CTA_PROTO_SRC_PORT)?,
            ),
            destination: (
                address(CTA_IP_V4_DST, CTA_IP_V6_DST)?,
                port(CTA_PROTO_DST_PORT)?,
            ),
        })
    }
}
