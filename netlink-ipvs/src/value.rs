// SPDX-License-Identifier: Apache-2.0
//! Values of attributes, and lists of attributes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_core::{DecodeError, DefaultNla, Emitable, Nla, NlasIterator, Parseable};

/// `AF_INET`
pub(crate) const AF_INET: u16 = 2;
/// `AF_INET6`
pub(crate) const AF_INET6: u16 = 10;

/// What an attribute holds.
pub(crate) trait Value: Sized {
    /// Bytes that it takes.
    fn length(&self) -> usize;
    /// Writes it into a buffer of just that length.
    fn write(&self, buffer: &mut [u8]);
    /// Reads it. None if the bytes do not have its form.
    fn read(bytes: &[u8]) -> Option<Self>;
}

/// An enum of attributes, made by `attributes!`.
pub(crate) trait Attribute: Nla + Sized {
    /// Reads the value of a known attribute. None if it is unknown or has another form.
    fn read(kind: u16, value: &[u8]) -> Option<Self>;
    /// An attribute as it came.
    fn other(nla: DefaultNla) -> Self;
}

/// Reads a list of attributes.
///
/// # Errors
/// If a length cannot be true.
pub(crate) fn read_list<A: Attribute>(bytes: &[u8]) -> Result<Vec<A>, DecodeError> {
    let read = |nla: Result<netlink_packet_core::NlaBuffer<&[u8]>, DecodeError>| {
        let nla = nla?;
        // The flags would be lost; the kernel sets none of them here.
        let plain = !nla.nested_flag() && !nla.network_byte_order_flag();
        let known = A::read(nla.kind(), nla.value()).filter(|_| plain);
        Ok(match known {
            Some(attribute) => attribute,
            None => A::other(DefaultNla::parse(&nla)?),
        })
    };
    NlasIterator::new(bytes).map(read).collect()
}

impl<A: Attribute> Value for Vec<A> {
    fn length(&self) -> usize {
        self.as_slice().buffer_len()
    }

    fn write(&self, buffer: &mut [u8]) {
        self.as_slice().emit(buffer);
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        read_list(bytes).ok()
    }
}

macro_rules! host_order {
    ($($type:ty)+) => { $(
        impl Value for $type {
            fn length(&self) -> usize {
                size_of::<$type>()
            }

            fn write(&self, buffer: &mut [u8]) {
                buffer.copy_from_slice(&self.to_ne_bytes());
            }

            fn read(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(<$type>::from_ne_bytes)
            }
        }
    )+ };
}

host_order!(u8 u16 u32 i32 u64);

/// A port: 16 bits, big-endian on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BigEndian(pub u16);

impl Value for BigEndian {
    fn length(&self) -> usize {
        2
    }

    fn write(&self, buffer: &mut [u8]) {
        buffer.copy_from_slice(&self.0.to_be_bytes());
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(|b| Self(u16::from_be_bytes(b)))
    }
}

/// Four bytes as they are.
impl Value for [u8; 4] {
    fn length(&self) -> usize {
        4
    }

    fn write(&self, buffer: &mut [u8]) {
        buffer.copy_from_slice(self);
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok()
    }
}

/// Text; on the wire a NUL byte ends it.
impl Value for String {
    fn length(&self) -> usize {
        self.len() + 1
    }

    fn write(&self, buffer: &mut [u8]) {
        let (text, end) = buffer.split_at_mut(self.len());
        text.copy_from_slice(self.as_bytes());
        end.fill(0);
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (end, text) = bytes.split_last()?;
        let clean = *end == 0 && !text.contains(&0);
        String::from_utf8(text.to_vec()).ok().filter(|_| clean)
    }
}

/// An address whose family another attribute tells: `union nf_inet_addr`, 16 bytes of which IPv4
/// uses the first four.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RawAddress(pub [u8; 16]);

impl RawAddress {
    /// The address, by its family (`AF_INET` or `AF_INET6`). None for any other family.
    pub fn to_ip(self, family: u16) -> Option<IpAddr> {
        let [a, b, c, d, ..] = self.0;
        match family {
            AF_INET => Some(Ipv4Addr::new(a, b, c, d).into()),
            AF_INET6 => Some(Ipv6Addr::from(self.0).into()),
            _ => None,
        }
    }
}

impl From<IpAddr> for RawAddress {
    fn from(address: IpAddr) -> Self {
        let mut bytes = [0; 16];
        match address {
            IpAddr::V4(v4) => bytes[..4].copy_from_slice(&v4.octets()),
            IpAddr::V6(v6) => bytes = v6.octets(),
        }
        Self(bytes)
    }
}

impl Value for RawAddress {
    fn length(&self) -> usize {
        16
    }

    fn write(&self, buffer: &mut [u8]) {
        buffer.copy_from_slice(&self.0);
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

/// The number of an address's family.
pub(crate) fn family_of(address: IpAddr) -> u16 {
    if address.is_ipv4() { AF_INET } else { AF_INET6 }
}

/// Flags of a service and which of them are meant (`struct ip_vs_flags`). The kernel answers with
/// a full mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ServiceFlags {
    /// The flags.
    pub flags: u32,
    /// Flags outside of it stay as they are.
    pub mask: u32,
}

impl ServiceFlags {
    /// A client keeps its destination (`IP_VS_SVC_F_PERSISTENT`).
    pub const PERSISTENT: u32 = 0x1;
    /// The kernel's own mark of a service that is in its table; requests need not have it.
    pub const HASHED: u32 = 0x2;
    /// Each UDP packet is scheduled by itself (`IP_VS_SVC_F_ONEPACKET`).
    pub const ONE_PACKET: u32 = 0x4;
    /// Scheduler `sh`: take another destination if the chosen one is down. `mh`: the same.
    pub const SCHED_1: u32 = 0x8;
    /// Schedulers `sh` and `mh`: the port counts, too.
    pub const SCHED_2: u32 = 0x10;
    /// No scheduler of the kernel uses it.
    pub const SCHED_3: u32 = 0x20;
}

impl Value for ServiceFlags {
    fn length(&self) -> usize {
        8
    }

    fn write(&self, buffer: &mut [u8]) {
        buffer[..4].copy_from_slice(&self.flags.to_ne_bytes());
        buffer[4..].copy_from_slice(&self.mask.to_ne_bytes());
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (flags, mask) = bytes.split_first_chunk::<4>()?;
        Some(Self {
            flags: u32::from_ne_bytes(*flags),
            mask: u32::from_ne_bytes(mask.try_into().ok()?),
        })
    }
}
