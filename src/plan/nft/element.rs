// SPDX-License-Identifier: Apache-2.0
//! Elements of sets and maps, with keys as the kernel lays them out.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{ChainName, Field, SetId};
use crate::model::{IpFamily, Protocol};

/// The longest key: two IPv6 addresses, protocol and port.
const CAPACITY: usize = 40;

/// A look-up key, byte for byte as the kernel compares it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    bytes: [u8; CAPACITY],
    len: u8,
}

impl Key {
    /// The empty key, to be filled by the methods below.
    pub const EMPTY: Key = Key {
        bytes: [0; CAPACITY],
        len: 0,
    };

    /// A key from the kernel. None if it is longer than any of ours.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        (bytes.len() <= CAPACITY).then(|| Key::EMPTY.raw(bytes))
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    fn raw(mut self, bytes: &[u8]) -> Self {
        let start = usize::from(self.len);
        self.bytes[start..start + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len() as u8;
        self
    }

    /// Appends an address.
    pub fn address(self, address: IpAddr) -> Self {
        match address {
            IpAddr::V4(a) => self.raw(&a.octets()),
            IpAddr::V6(a) => self.raw(&a.octets()),
        }
    }

    /// Appends a protocol number.
    pub fn protocol(self, protocol: Protocol) -> Self {
        self.protocol_number(protocol.number())
    }

    /// Appends a protocol number that may be none of a Service's.
    pub fn protocol_number(self, number: u8) -> Self {
        self.raw(&[number, 0, 0, 0])
    }

    /// Appends a port.
    pub fn port(self, port: u16) -> Self {
        let [high, low] = port.to_be_bytes();
        self.raw(&[high, low, 0, 0])
    }

    /// Appends an index.
    pub fn index(self, index: u32) -> Self {
        self.raw(&index.to_ne_bytes())
    }

    /// The key as values, read by the parts that it is made of.
    pub fn parts(&self, fields: &[Field], family: IpFamily) -> Vec<KeyPart> {
        let mut rest = self.as_bytes();
        fields
            .iter()
            .map_while(|field| KeyPart::take(&mut rest, *field, family))
            .collect()
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for byte in self.as_bytes() {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

/// One part of a [`Key`], as a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyPart {
    /// An address.
    Address(IpAddr),
    /// An IP protocol number.
    Protocol(u8),
    /// A port.
    Port(u16),
    /// An index.
    Index(u32),
}

impl KeyPart {
    /// Takes one part off the front, if there are enough bytes.
    fn take(rest: &mut &[u8], field: Field, family: IpFamily) -> Option<KeyPart> {
        let address = matches!(
            field,
            Field::Source | Field::Destination | Field::OriginalSource | Field::OriginalDestination
        );
        let length = if address && family == IpFamily::V6 {
            16
        } else {
            4
        };
        let (bytes, tail) = rest.split_at_checked(length)?;
        *rest = tail;
        Some(match field {
            _ if address => KeyPart::Address(address_from(bytes)?),
            Field::Protocol => KeyPart::Protocol(bytes[0]),
            Field::Random { .. } => KeyPart::Index(u32::from_ne_bytes(bytes.try_into().ok()?)),
            _ => KeyPart::Port(u16::from_be_bytes([bytes[0], bytes[1]])),
        })
    }
}

/// An address from 4 or 16 bytes.
pub fn address_from(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(b) = <[u8; 4]>::try_from(bytes) {
        return Some(IpAddr::V4(Ipv4Addr::from(b)));
    }
    <[u8; 16]>::try_from(bytes)
        .ok()
        .map(|b| IpAddr::V6(Ipv6Addr::from(b)))
}

/// A verdict as an element of a verdict map holds it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// Drop.
    Drop,
    /// Continue there and do not come back.
    Goto(ChainName),
    /// Continue there, then with the next rule.
    Jump(ChainName),
}

/// What an element holds for its key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Data {
    /// Nothing: an element of a set.
    None,
    /// Address and port to translate to.
    Target(IpAddr, u16),
    /// Address to translate to.
    Address(IpAddr),
    /// A verdict.
    Verdict(Verdict),
}

/// An element of one of the permanent sets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Element {
    /// The set.
    pub set: SetId,
    /// Key; of a range its lower end.
    pub key: Key,
    /// Upper end of a range, only in interval sets.
    pub end: Option<Box<Key>>,
    /// Data.
    pub data: Data,
}
