// SPDX-License-Identifier: Apache-2.0
//! A destination: a server behind a service.

use std::net::SocketAddr;

use netlink_packet_core::DecodeError;

use crate::attribute::DestinationAttribute as A;
use crate::stats::Stats;
use crate::value::{BigEndian, RawAddress, family_of};

/// How packets get to a destination (`IP_VS_CONN_F_FWD_MASK`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ForwardingMethod {
    /// Addresses and ports are translated.
    Masquerade,
    /// The destination is this host.
    LocalNode,
    /// Packets are wrapped and sent to the destination.
    Tunnel,
    /// Packets are sent to the destination's link address as they are.
    DirectRoute,
    /// Packets go where they were addressed to.
    Bypass,
    /// One that this crate does not know.
    Other(u32),
}

impl From<u32> for ForwardingMethod {
    fn from(number: u32) -> Self {
        match number {
            0 => Self::Masquerade,
            1 => Self::LocalNode,
            2 => Self::Tunnel,
            3 => Self::DirectRoute,
            4 => Self::Bypass,
            other => Self::Other(other),
        }
    }
}

impl From<ForwardingMethod> for u32 {
    fn from(method: ForwardingMethod) -> Self {
        match method {
            ForwardingMethod::Masquerade => 0,
            ForwardingMethod::LocalNode => 1,
            ForwardingMethod::Tunnel => 2,
            ForwardingMethod::DirectRoute => 3,
            ForwardingMethod::Bypass => 4,
            ForwardingMethod::Other(number) => number,
        }
    }
}

/// How packets are wrapped for [`ForwardingMethod::Tunnel`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Tunnel {
    /// 0 is IP in IP, 1 GUE, 2 GRE.
    pub kind: u8,
    /// UDP port, for GUE.
    pub port: u16,
    /// `IP_VS_TUNNEL_ENCAP_FLAG_*`.
    pub flags: u16,
}

/// A destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// Address and port, which identify it among those of a service.
    pub address: SocketAddr,
    /// How packets get there.
    pub forwarding: ForwardingMethod,
    /// Share of the connections, for schedulers that know weights. No new connections at 0.
    pub weight: i32,
    /// From this many connections on it gets no new ones. 0: no limit.
    pub upper_threshold: u32,
    /// Below this many connections it gets new ones again.
    pub lower_threshold: u32,
    /// None in answers of kernels before 5.2; in requests, plain IP in IP.
    pub tunnel: Option<Tunnel>,
    /// Established connections; requests ignore it.
    pub active_connections: u32,
    /// Other connections; requests ignore it.
    pub inactive_connections: u32,
    /// Clients that keep this destination; requests ignore it.
    pub persistent_connections: u32,
    /// Counters; requests ignore them.
    pub stats: Stats,
}

impl Destination {
    /// A destination of weight 1 that is reached by address translation.
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            forwarding: ForwardingMethod::Masquerade,
            weight: 1,
            upper_threshold: 0,
            lower_threshold: 0,
            tunnel: None,
            active_connections: 0,
            inactive_connections: 0,
            persistent_connections: 0,
            stats: Stats::default(),
        }
    }

    /// What identifies it, as attributes.
    pub fn key_attributes(&self) -> Vec<A> {
        vec![
            A::Address(self.address.ip().into()),
            A::Port(BigEndian(self.address.port())),
            A::AddressFamily(family_of(self.address.ip())),
        ]
    }

    /// As attributes of a request, all that the kernel wants to see.
    pub fn to_attributes(&self) -> Vec<A> {
        let mut attributes = self.key_attributes();
        attributes.extend([
            A::ForwardingMethod(self.forwarding.into()),
            A::Weight(self.weight),
            A::UpperThreshold(self.upper_threshold),
            A::LowerThreshold(self.lower_threshold),
        ]);
        if let Some(tunnel) = self.tunnel {
            attributes.extend([
                A::TunnelType(tunnel.kind),
                A::TunnelPort(BigEndian(tunnel.port)),
                A::TunnelFlags(tunnel.flags),
            ]);
        }
        attributes
    }

    /// From attributes, as the kernel answers. The family is that of the service, for kernels
    /// before 3.18, which name none.
    ///
    /// # Errors
    /// If there is no address or port, or the family is unknown.
    pub fn from_attributes(service_family: u16, attributes: &[A]) -> Result<Self, DecodeError> {
        let mut d = Self::new(find_address(service_family, attributes)?);
        let mut wide = false;
        for attribute in attributes {
            match attribute {
                A::ForwardingMethod(method) => d.forwarding = (*method).into(),
                A::Weight(weight) => d.weight = *weight,
                A::UpperThreshold(n) => d.upper_threshold = *n,
                A::LowerThreshold(n) => d.lower_threshold = *n,
                A::ActiveConnections(n) => d.active_connections = *n,
                A::InactiveConnections(n) => d.inactive_connections = *n,
                A::PersistentConnections(n) => d.persistent_connections = *n,
                A::TunnelType(kind) => d.tunnel.get_or_insert_default().kind = *kind,
                A::TunnelPort(port) => d.tunnel.get_or_insert_default().port = port.0,
                A::TunnelFlags(flags) => d.tunnel.get_or_insert_default().flags = *flags,
                A::Stats64(stats) => {
                    d.stats = stats.as_slice().into();
                    wide = true;
                }
                A::Stats(stats) if !wide => d.stats = stats.as_slice().into(),
                A::Stats(_) | A::Address(_) | A::Port(_) | A::AddressFamily(_) | A::Other(_) => {}
            }
        }
        Ok(d)
    }
}

fn find_address(service_family: u16, attributes: &[A]) -> Result<SocketAddr, DecodeError> {
    let (mut family, mut address, mut port) = (service_family, None::<RawAddress>, None);
    for attribute in attributes {
        match attribute {
            A::Address(a) => address = Some(*a),
            A::Port(p) => port = Some(p.0),
            A::AddressFamily(f) => family = *f,
            _ => {}
        }
    }
    let address = address.ok_or("destination without an address")?;
    let ip = address
        .to_ip(family)
        .ok_or("destination of unknown family")?;
    Ok(SocketAddr::new(
        ip,
        port.ok_or("destination without a port")?,
    ))
}
