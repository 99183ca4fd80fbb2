// SPDX-License-Identifier: Apache-2.0
//! Counters and rates of services and destinations.

use crate::macros::attributes;

attributes! {
    /// Counters with 32 bits, as `ip_vs_genl_fill_stats` writes them (`IPVS_STATS_ATTR_*`).
    pub enum StatsAttribute {
        /// Connections scheduled.
        Connections(u32) = 1,
        /// Packets from clients.
        InPackets(u32) = 2,
        /// Packets to clients.
        OutPackets(u32) = 3,
        /// Bytes from clients.
        InBytes(u64) = 4,
        /// Bytes to clients.
        OutBytes(u64) = 5,
        /// Connections per second.
        ConnectionRate(u32) = 6,
        /// Packets per second from clients.
        InPacketRate(u32) = 7,
        /// Packets per second to clients.
        OutPacketRate(u32) = 8,
        /// Bytes per second from clients.
        InByteRate(u32) = 9,
        /// Bytes per second to clients.
        OutByteRate(u32) = 10,
    }
}

attributes! {
    /// Counters with 64 bits, since Linux 4.1 beside those with 32 bits.
    pub enum Stats64Attribute {
        /// Connections scheduled.
        Connections(u64) = 1,
        /// Packets from clients.
        InPackets(u64) = 2,
        /// Packets to clients.
        OutPackets(u64) = 3,
        /// Bytes from clients.
        InBytes(u64) = 4,
        /// Bytes to clients.
        OutBytes(u64) = 5,
        /// Connections per second.
        ConnectionRate(u64) = 6,
        /// Packets per second from clients.
        InPacketRate(u64) = 7,
        /// Packets per second to clients.
        OutPacketRate(u64) = 8,
        /// Bytes per second from clients.
        InByteRate(u64) = 9,
        /// Bytes per second to clients.
        OutByteRate(u64) = 10,
    }
}

/// Counters since the object was made or [`Command::Zero`](crate::Command::Zero), and rates as the
/// kernel estimates them every two seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Connections scheduled.
    pub connections: u64,
    /// Packets from clients.
    pub in_packets: u64,
    /// Packets to clients.
    pub out_packets: u64,
    /// Bytes from clients.
    pub in_bytes: u64,
    /// Bytes to clients.
    pub out_bytes: u64,
    /// Connections per second.
    pub connection_rate: u64,
    /// Packets per second from clients.
    pub in_packet_rate: u64,
    /// Packets per second to clients.
    pub out_packet_rate: u64,
    /// Bytes per second from clients.
    pub in_byte_rate: u64,
    /// Bytes per second to clients.
    pub out_byte_rate: u64,
}

macro_rules! collect_stats {
    ($attribute:ident) => {
        impl From<&[$attribute]> for Stats {
            fn from(attributes: &[$attribute]) -> Self {
                let mut stats = Self::default();
                for attribute in attributes {
                    match *attribute {
                        $attribute::Connections(n) => stats.connections = n.into(),
                        $attribute::InPackets(n) => stats.in_packets = n.into(),
                        $attribute::OutPackets(n) => stats.out_packets = n.into(),
                        $attribute::InBytes(n) => stats.in_bytes = n,
                        $attribute::OutBytes(n) => stats.out_bytes = n,
                        $attribute::ConnectionRate(n) => stats.connection_rate = n.into(),
                        $attribute::InPacketRate(n) => stats.in_packet_rate = n.into(),
                        $attribute::OutPacketRate(n) => stats.out_packet_rate = n.into(),
                        $attribute::InByteRate(n) => stats.in_byte_rate = n.into(),
                        $attribute::OutByteRate(n) => stats.out_byte_rate = n.into(),
                        // Padding, on machines that need it.
                        $attribute::Other(_) => {}
                    }
                }
                stats
            }
        }
    };
}

collect_stats!(StatsAttribute);
#[allow(clippy::useless_conversion)]
mod wide {
    use super::{Stats, Stats64Attribute};
    collect_stats!(Stats64Attribute);
}
