// SPDX-License-Identifier: Apache-2.0
//! Opening sockets. A socket belongs to the namespace in which it was opened, for good.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::LazyLock;

use ferrule::model::Protocol;
use nix::Result;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage, bind, recvfrom,
    setsockopt, socket, sockopt,
};

/// Whether SCTP is the kernel's own, as `REAL_SCTP=1` in the environment asks for. Otherwise raw
/// sockets play it, which works on kernels without SCTP only: others answer by themselves.
static REAL_SCTP: LazyLock<bool> =
    LazyLock::new(|| std::env::var_os("REAL_SCTP").is_some_and(|v| v == "1"));

/// Whether a protocol's sockets are raw ones.
pub(crate) fn is_raw(protocol: Protocol) -> bool {
    protocol == Protocol::Sctp && !*REAL_SCTP
}

/// Whether a protocol's sockets listen, accept and are read to the end.
pub(crate) fn is_stream(protocol: Protocol) -> bool {
    protocol == Protocol::Tcp || protocol == Protocol::Sctp && *REAL_SCTP
}

/// A non-blocking socket; for SCTP a raw one unless `REAL_SCTP=1`.
///
/// # Errors
/// The kernel's.
pub fn open(protocol: Protocol, address: IpAddr) -> Result<OwnedFd> {
    let domain = if address.is_ipv4() {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    };
    let (kind, number) = match protocol {
        Protocol::Tcp => (SockType::Stream, SockProtocol::Tcp),
        Protocol::Udp => (SockType::Datagram, SockProtocol::Udp),
        Protocol::Sctp if is_raw(protocol) => (SockType::Raw, SockProtocol::Sctp),
        Protocol::Sctp => (SockType::Stream, SockProtocol::Sctp),
    };
    let fd = socket(
        domain,
        kind,
        SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC,
        number,
    )?;
    // Raw sockets are of one family anyway, and refuse the option.
    if domain == AddressFamily::Inet6 && !is_raw(protocol) {
        setsockopt(&fd, sockopt::Ipv6V6Only, &true)?;
    }
    Ok(fd)
}

/// A socket that is bound to an address of this namespace.
///
/// # Errors
/// The kernel's.
pub fn bound(protocol: Protocol, address: SocketAddr) -> Result<OwnedFd> {
    let fd = open(protocol, address.ip())?;
    if is_stream(protocol) {
        setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    } else {
        // Room for all that many clients send at once. Only root may have so much.
        let _ = setsockopt(&fd, sockopt::RcvBufForce, &(16 << 20));
    }
    bind(fd.as_raw_fd(), &raw_port(protocol, address))?;
    Ok(fd)
}

/// Raw sockets have no ports: IPv6 ones refuse any but 0.
pub(crate) fn raw_port(protocol: Protocol, mut address: SocketAddr) -> SockaddrStorage {
    if is_raw(protocol) {
        address.set_port(0);
    }
    SockaddrStorage::from(address)
}

/// The next packet or datagram with its sender, without the IP header that raw IPv4 sockets
/// deliver. None if there is nothing now.
///
/// # Errors
/// The kernel's.
pub(crate) fn receive<'a>(
    fd: &OwnedFd,
    raw: bool,
    buffer: &'a mut [u8],
) -> Result<Option<(&'a [u8], Option<SocketAddr>)>> {
    let (length, from) = match recvfrom::<SockaddrStorage>(fd.as_raw_fd(), buffer) {
        Err(Errno::EAGAIN) => return Ok(None),
        other => other?,
    };
    let from = from.and_then(|a| to_std(&a));
    let header = match buffer.first() {
        Some(first) if raw && first >> 4 == 4 && from.is_none_or(|a| a.is_ipv4()) => {
            usize::from(first & 15) * 4
        }
        _ => 0,
    };
    Ok(Some((&buffer[header.min(length)..length], from)))
}

/// Sends a datagram to where it came from. Errors are the sender's to notice.
pub(crate) fn reply(fd: &OwnedFd, text: &[u8], to: SocketAddr) {
    let to = SockaddrStorage::from(to);
    let _ = nix::sys::socket::sendto(fd.as_fd().as_raw_fd(), text, &to, MsgFlags::empty());
}

fn to_std(address: &SockaddrStorage) -> Option<SocketAddr> {
    let four = address
        .as_sockaddr_in()
        .map(|a| SocketAddr::V4((*a).into()));
    four.or_else(|| {
        address
            .as_sockaddr_in6()
            .map(|a| SocketAddr::V6((*a).into()))
    })
}
