// SPDX-License-Identifier: Apache-2.0
//! The attributes, with their numbers from `include/uapi/linux/ip_vs.h`.

use crate::macros::attributes;
use crate::stats::{Stats64Attribute, StatsAttribute};
use crate::value::{BigEndian, RawAddress, ServiceFlags};

attributes! {
    /// Attributes of a message (`IPVS_CMD_ATTR_*`), except of [`Command::SetInfo`](crate::Command).
    pub enum IpvsAttribute {
        /// The service that the message is about.
        Service(Vec<ServiceAttribute>) = 1,
        /// The destination that the message is about.
        Destination(Vec<DestinationAttribute>) = 2,
        /// How long an established TCP connection may be idle, seconds. 0 in a request: as it is.
        TimeoutTcp(u32) = 4,
        /// How long a TCP connection stays after a FIN, seconds. 0 in a request: as it is.
        TimeoutTcpFin(u32) = 5,
        /// How long a UDP flow may be idle, seconds. 0 in a request: as it is.
        TimeoutUdp(u32) = 6,
    }
}

attributes! {
    /// Attributes of [`Command::SetInfo`](crate::Command) (`IPVS_INFO_ATTR_*`).
    pub enum InfoAttribute {
        /// Version of IPVS: `0x010201` is 1.2.1.
        Version(u32) = 1,
        /// Buckets of the table of connections.
        ConnectionTableSize(u32) = 2,
    }
}

attributes! {
    /// Attributes of a service (`IPVS_SVC_ATTR_*`).
    pub enum ServiceAttribute {
        /// `AF_INET` or `AF_INET6`.
        Family(u16) = 1,
        /// `IPPROTO_TCP`, `IPPROTO_UDP` or `IPPROTO_SCTP`.
        Protocol(u16) = 2,
        /// The address that clients use.
        Address(RawAddress) = 3,
        /// The port that clients use.
        Port(BigEndian) = 4,
        /// In place of protocol, address and port: the mark of the packets.
        Fwmark(u32) = 5,
        /// Name of the scheduler.
        Scheduler(String) = 6,
        /// Flags and the mask of those that are meant.
        Flags(ServiceFlags) = 7,
        /// How long a client keeps its destination, seconds.
        Timeout(u32) = 8,
        /// Which clients count as one. IPv4: a mask, as bytes of an address. IPv6: the length of a
        /// prefix, in host order.
        Netmask([u8; 4]) = 9,
        /// Counters of 32 bits.
        Stats(Vec<StatsAttribute>) = 10,
        /// Name of the persistence engine, as `sip`.
        PersistenceEngine(String) = 11,
        /// Counters of 64 bits.
        Stats64(Vec<Stats64Attribute>) = 12,
    }
}

attributes! {
    /// Attributes of a destination (`IPVS_DEST_ATTR_*`).
    pub enum DestinationAttribute {
        /// Address of the server.
        Address(RawAddress) = 1,
        /// Port of the server.
        Port(BigEndian) = 2,
        /// How packets get there: `IP_VS_CONN_F_FWD_MASK`.
        ForwardingMethod(u32) = 3,
        /// Weight. No new connections go to a destination of weight 0.
        Weight(i32) = 4,
        /// From this many connections on it gets no new ones. 0: no limit.
        UpperThreshold(u32) = 5,
        /// Below this many connections it gets new ones again. 0: three quarters of the upper one.
        LowerThreshold(u32) = 6,
        /// Established connections.
        ActiveConnections(u32) = 7,
        /// Other connections.
        InactiveConnections(u32) = 8,
        /// Clients that keep this destination.
        PersistentConnections(u32) = 9,
        /// Counters of 32 bits.
        Stats(Vec<StatsAttribute>) = 10,
        /// Family of the address. Without it, that of the service.
        AddressFamily(u16) = 11,
        /// Counters of 64 bits.
        Stats64(Vec<Stats64Attribute>) = 12,
        /// What kind of tunnel, if packets are tunnelled (Linux 5.2).
        TunnelType(u8) = 13,
        /// UDP port of a GUE tunnel.
        TunnelPort(BigEndian) = 14,
        /// Flags of a tunnel (`IP_VS_TUNNEL_ENCAP_FLAG_*`).
        TunnelFlags(u16) = 15,
    }
}
