// SPDX-License-Identifier: Apache-2.0
//! A service: what clients talk to.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use netlink_packet_core::DecodeError;

use crate::attribute::ServiceAttribute as A;
use crate::scheduler::Scheduler;
use crate::stats::Stats;
use crate::value::{AF_INET, AF_INET6, BigEndian, RawAddress, ServiceFlags, family_of};

/// What identifies a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ServiceKey {
    /// An address and a port. Port 0 stands for all ports, for persistent services only.
    Address {
        /// `IPPROTO_TCP` (6), `IPPROTO_UDP` (17) or `IPPROTO_SCTP` (132).
        protocol: u16,
        /// Address and port; flow label and scope are ignored.
        address: SocketAddr,
    },
    /// The mark that packets carry.
    Fwmark {
        /// `AF_INET` (2) or `AF_INET6` (10).
        family: u16,
        /// The mark, not 0.
        mark: u32,
    },
}

impl ServiceKey {
    /// A TCP service.
    pub const fn tcp(address: SocketAddr) -> Self {
        Self::Address {
            protocol: 6,
            address,
        }
    }

    /// A UDP service.
    pub const fn udp(address: SocketAddr) -> Self {
        Self::Address {
            protocol: 17,
            address,
        }
    }

    /// An SCTP service.
    pub const fn sctp(address: SocketAddr) -> Self {
        Self::Address {
            protocol: 132,
            address,
        }
    }

    /// `AF_INET` (2) or `AF_INET6` (10).
    pub fn family(&self) -> u16 {
        match self {
            Self::Address { address, .. } => family_of(address.ip()),
            Self::Fwmark { family, .. } => *family,
        }
    }

    /// As attributes, in the order in which the kernel writes them.
    pub fn to_attributes(&self) -> Vec<A> {
        match *self {
            Self::Address { protocol, address } => vec![
                A::Family(self.family()),
                A::Protocol(protocol),
                A::Address(address.ip().into()),
                A::Port(BigEndian(address.port())),
            ],
            Self::Fwmark { family, mark } => vec![A::Family(family), A::Fwmark(mark)],
        }
    }
}

/// Which clients count as one for persistence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Netmask {
    /// Those whose addresses agree in the bits of a mask.
    V4(Ipv4Addr),
    /// Those whose addresses agree in this many bits, 1 to 128.
    V6(u32),
}

impl Netmask {
    /// Every client counts by itself. None if the family is neither `AF_INET` nor `AF_INET6`.
    fn single(family: u16) -> Option<Self> {
        match family {
            AF_INET => Some(Self::V4(Ipv4Addr::BROADCAST)),
            AF_INET6 => Some(Self::V6(128)),
            _ => None,
        }
    }

    fn from_bytes(family: u16, bytes: [u8; 4]) -> Option<Self> {
        match family {
            AF_INET => Some(Self::V4(bytes.into())),
            AF_INET6 => Some(Self::V6(u32::from_ne_bytes(bytes))),
            _ => None,
        }
    }

    fn to_bytes(self) -> [u8; 4] {
        match self {
            Self::V4(mask) => mask.octets(),
            Self::V6(length) => length.to_ne_bytes(),
        }
    }
}

/// A service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// What identifies it.
    pub key: ServiceKey,
    /// How a destination is chosen.
    pub scheduler: Scheduler,
    /// [`ServiceFlags::PERSISTENT`] and so on. In the kernel's answers with
    /// [`ServiceFlags::HASHED`].
    pub flags: u32,
    /// How long a client keeps its destination, seconds; counts with
    /// [`ServiceFlags::PERSISTENT`] only.
    pub timeout: u32,
    /// Which clients count as one.
    pub netmask: Netmask,
    /// Persistence by the content of packets, as `sip`.
    pub persistence_engine: Option<String>,
    /// Counters; requests ignore them.
    pub stats: Stats,
}

impl Service {
    /// A service with round-robin scheduling and without persistence.
    pub fn new(key: ServiceKey) -> Self {
        Self {
            key,
            scheduler: Scheduler::RoundRobin,
            flags: 0,
            timeout: 0,
            netmask: Netmask::single(key.family()).unwrap_or(Netmask::V6(128)),
            persistence_engine: None,
            stats: Stats::default(),
        }
    }

    /// Lets each client keep its destination for some seconds.
    pub fn set_persistence(&mut self, seconds: u32) {
        self.flags |= ServiceFlags::PERSISTENT;
        self.timeout = seconds;
    }

    /// As attributes of a request, all that the kernel wants to see. The mask of the flags is full:
    /// flags that are not set are cleared.
    pub fn to_attributes(&self) -> Vec<A> {
        let mut attributes = self.key.to_attributes();
        attributes.push(A::Scheduler(self.scheduler.name().to_owned()));
        attributes.extend(self.persistence_engine.clone().map(A::PersistenceEngine));
        attributes.push(A::Flags(ServiceFlags {
            flags: self.flags,
            mask: u32::MAX,
        }));
        attributes.push(A::Timeout(self.timeout));
        attributes.push(A::Netmask(self.netmask.to_bytes()));
        attributes
    }

    /// From attributes, as the kernel answers.
    ///
    /// # Errors
    /// If one is missing without which there is no service, or the family is unknown.
    pub fn from_attributes(attributes: &[A]) -> Result<Self, DecodeError> {
        let parts = Parts::new(attributes);
        let key = parts.key()?;
        let mut service = Self::new(key);
        service.scheduler = parts.scheduler.unwrap_or("").into();
        service.flags = parts.flags;
        service.timeout = parts.timeout;
        if let Some(bytes) = parts.netmask {
            service.netmask = Netmask::from_bytes(key.family(), bytes).ok_or("unknown family")?;
        }
        service.persistence_engine = parts.engine.map(str::to_owned);
        service.stats = parts.stats;
        Ok(service)
    }
}

/// What was found among the attributes.
#[derive(Default)]
struct Parts<'a> {
    family: Option<u16>,
    protocol: Option<u16>,
    address: Option<RawAddress>,
    port: Option<u16>,
    mark: Option<u32>,
    scheduler: Option<&'a str>,
    engine: Option<&'a str>,
    flags: u32,
    timeout: u32,
    netmask: Option<[u8; 4]>,
    stats: Stats,
}

impl<'a> Parts<'a> {
    fn new(attributes: &'a [A]) -> Self {
        let mut parts = Self::default();
        let mut wide = false;
        for attribute in attributes {
            match attribute {
                A::Family(family) => parts.family = Some(*family),
                A::Protocol(protocol) => parts.protocol = Some(*protocol),
                A::Address(address) => parts.address = Some(*address),
                A::Port(port) => parts.port = Some(port.0),
                A::Fwmark(mark) => parts.mark = Some(*mark),
                A::Scheduler(name) => parts.scheduler = Some(name),
                A::PersistenceEngine(name) => parts.engine = Some(name),
                A::Flags(flags) => parts.flags = flags.flags & flags.mask,
                A::Timeout(seconds) => parts.timeout = *seconds,
                A::Netmask(bytes) => parts.netmask = Some(*bytes),
                A::Stats64(stats) => {
                    parts.stats = stats.as_slice().into();
                    wide = true;
                }
                A::Stats(stats) if !wide => parts.stats = stats.as_slice().into(),
                A::Stats(_) | A::Other(_) => {}
            }
        }
        parts
    }

    fn key(&self) -> Result<ServiceKey, DecodeError> {
        let family = self.family.ok_or("service without a family")?;
        if let Some(mark) = self.mark {
            return Ok(ServiceKey::Fwmark { family, mark });
        }
        let address = self.address.ok_or("service without an address")?;
        let ip: IpAddr = address.to_ip(family).ok_or("service of unknown family")?;
        let port = self.port.ok_or("service without a port")?;
        Ok(ServiceKey::Address {
            protocol: self.protocol.ok_or("service without a protocol")?,
            address: SocketAddr::new(ip, port),
        })
    }
}
