// SPDX-License-Identifier: Apache-2.0
//! Keys, data and compared values as text. Knows nft's data types by their numbers.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::backend::netlink::{Attrs, be32, cstr};

/// How bytes are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Ip4,
    Ip6,
    Protocol,
    /// Big-endian number.
    Big,
    /// Number in host order.
    Host,
    /// The same in hexadecimal.
    Mark,
    /// Text with NUL bytes after it.
    Name,
    Mac,
    EtherType,
    NfProto,
    State,
    Status,
    Direction,
    AddressType,
    /// Anything else: bytes.
    Bytes,
}

/// nft's types (`enum datatypes` of nftables): number, name, how to read it, bytes.
const TYPES: &[(u8, &str, Kind, usize)] = &[
    (2, "nf_proto", Kind::NfProto, 1),
    (4, "integer", Kind::Host, 4),
    (5, "string", Kind::Name, 16),
    (7, "ipv4_addr", Kind::Ip4, 4),
    (8, "ipv6_addr", Kind::Ip6, 16),
    (9, "ether_addr", Kind::Mac, 6),
    (10, "ether_type", Kind::EtherType, 2),
    (12, "inet_proto", Kind::Protocol, 1),
    (13, "inet_service", Kind::Big, 2),
    (14, "icmp_type", Kind::Big, 1),
    (18, "time", Kind::Host, 4),
    (19, "mark", Kind::Mark, 4),
    (20, "iface_index", Kind::Host, 4),
    (24, "uid", Kind::Host, 4),
    (25, "gid", Kind::Host, 4),
    (26, "ct_state", Kind::State, 4),
    (27, "ct_dir", Kind::Direction, 1),
    (28, "ct_status", Kind::Status, 4),
    (29, "icmpv6_type", Kind::Big, 1),
    (31, "pkt_type", Kind::Host, 1),
    (38, "fib_addrtype", Kind::AddressType, 4),
    (39, "boolean", Kind::Host, 1),
    (41, "ifname", Kind::Name, 16),
];

/// The types of a key's or datum's parts: nft packs them into one number, six bits each. A type
/// that is not known here has the length 0, that is, all that is left.
pub(super) fn parts(packed: u32) -> Vec<(String, Kind, usize)> {
    let numbers = (0..5).rev().map(|i| (packed >> (6 * i)) as u8 & 0x3f);
    let known = |n: u8| TYPES.iter().find(|t| t.0 == n);
    let part = |n: u8| match known(n) {
        Some((_, name, kind, length)) => ((*name).to_owned(), *kind, *length),
        None => (format!("type-{n}"), Kind::Bytes, 0),
    };
    numbers.skip_while(|n| *n == 0).map(part).collect()
}

const STATES: &[(u32, &str)] = &[
    (1, "invalid"),
    (2, "established"),
    (4, "related"),
    (8, "new"),
    (64, "untracked"),
];
const STATUSES: &[(u32, &str)] = &[
    (1, "expected"),
    (2, "seen-reply"),
    (4, "assured"),
    (8, "confirmed"),
    (16, "snat"),
    (32, "dnat"),
    (512, "dying"),
];
const ADDRESS_TYPES: &[&str] = &[
    "unspec",
    "unicast",
    "local",
    "broadcast",
    "anycast",
    "multicast",
    "blackhole",
    "unreachable",
    "prohibit",
];

impl Kind {
    /// Whether values of this kind are sets of flags with names.
    pub(super) fn flags(self) -> bool {
        matches!(self, Kind::State | Kind::Status)
    }

    /// Bytes as a value; where they make no sense as such, in hexadecimal.
    pub(super) fn show(self, bytes: &[u8]) -> String {
        self.try_show(bytes).unwrap_or_else(|| hex(bytes))
    }

    fn try_show(self, bytes: &[u8]) -> Option<String> {
        Some(match self {
            Kind::Ip4 => Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).to_string(),
            Kind::Ip6 => Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).to_string(),
            Kind::Protocol => protocol(*bytes.first()?),
            Kind::Big => big(bytes)?.to_string(),
            Kind::Host => host(bytes)?.to_string(),
            Kind::Mark => format!("{:#x}", host(bytes)?),
            Kind::Name => format!("\"{}\"", cstr(bytes)?.escape_debug()),
            Kind::Mac if bytes.len() == 6 => bytes
                .iter()
                .map(|b| format!("{b:02x}"))
                .collect::<Vec<_>>()
                .join(":"),
            Kind::EtherType => match big(bytes)? {
                0x0800 => "ip".into(),
                0x86dd => "ip6".into(),
                0x0806 => "arp".into(),
                0x8100 => "vlan".into(),
                other => format!("{other:#06x}"),
            },
            Kind::NfProto => match bytes.first()? {
                2 => "ipv4".into(),
                10 => "ipv6".into(),
                other => other.to_string(),
            },
            Kind::State => names(host(bytes)?, STATES),
            Kind::Status => names(host(bytes)?, STATUSES),
            Kind::Direction => (*["original", "reply"].get(usize::from(*bytes.first()?))?).into(),
            Kind::AddressType => (*ADDRESS_TYPES.get(host(bytes)? as usize)?).into(),
            Kind::Mac | Kind::Bytes => return None,
        })
    }

    /// From a lowest to a highest value, both included: a prefix if it is one.
    pub(super) fn show_range(self, low: &[u8], high: &[u8]) -> String {
        if low == high {
            return self.show(low);
        }
        match prefix_length(low, high) {
            Some(length) if matches!(self, Kind::Ip4 | Kind::Ip6) => {
                format!("{}/{length}", self.show(low))
            }
            _ => format!("{}-{}", self.show(low), self.show(high)),
        }
    }
}

fn names(value: u32, table: &[(u32, &str)]) -> String {
    let named: Vec<&str> = table
        .iter()
        .filter(|(b, _)| value & b != 0)
        .map(|(_, n)| *n)
        .collect();
    let rest = table.iter().fold(value, |rest, (bit, _)| rest & !bit);
    if named.is_empty() || rest != 0 {
        format!("{value:#x}")
    } else {
        named.join(",")
    }
}

/// The protocol's name as nft has it, for those a proxy meets.
fn protocol(number: u8) -> String {
    match number {
        1 => "icmp".into(),
        6 => "tcp".into(),
        17 => "udp".into(),
        58 => "ipv6-icmp".into(),
        132 => "sctp".into(),
        other => other.to_string(),
    }
}

fn big(bytes: &[u8]) -> Option<u64> {
    (bytes.len() <= 8).then(|| bytes.iter().fold(0, |n, b| n << 8 | u64::from(*b)))
}

fn host(bytes: &[u8]) -> Option<u32> {
    match bytes.len() {
        1 => Some(bytes[0].into()),
        2 => Some(u16::from_ne_bytes(bytes.try_into().ok()?).into()),
        _ => Some(u32::from_ne_bytes(bytes.try_into().ok()?)),
    }
}

/// `0x` and the bytes in their order.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold("0x".to_owned(), |text, b| text + &format!("{b:02x}"))
}

/// The number of leading ones of a mask, if nothing but zeros follows them.
pub(super) fn mask_length(mask: &[u8]) -> Option<u32> {
    let ones: u32 = mask.iter().map(|b| b.count_ones()).sum();
    let leading = mask.iter().position(|b| *b != 0xff);
    let leading = leading.map_or(mask.len() as u32 * 8, |i| {
        i as u32 * 8 + mask[i].leading_ones()
    });
    (ones == leading).then_some(ones)
}

/// The length of the prefix that reaches from `low` to `high`, if there is one.
fn prefix_length(low: &[u8], high: &[u8]) -> Option<u32> {
    let mask: Vec<u8> = low.iter().zip(high).map(|(l, h)| !(l ^ h)).collect();
    let bounds = low
        .iter()
        .zip(high)
        .zip(&mask)
        .all(|((l, h), m)| l & !m == 0 && h | m == 0xff);
    mask_length(&mask).filter(|_| bounds)
}

/// A verdict (`NFTA_DATA_VERDICT`) in nft's words.
pub(super) fn verdict(payload: &[u8]) -> Option<String> {
    let attrs = Attrs::new(payload);
    let code = be32(attrs.get(1)?)? as i32;
    let chain = attrs.get(2).and_then(cstr).unwrap_or("?");
    Some(match code {
        0 => "drop".into(),
        1 => "accept".into(),
        -1 => "continue".into(),
        -2 => "break".into(),
        -3 => format!("jump {chain}"),
        -4 => format!("goto {chain}"),
        -5 => "return".into(),
        other => format!("[ verdict {other} ]"),
    })
}
