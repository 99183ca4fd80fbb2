// SPDX-License-Identifier: Apache-2.0
//! The header of the PROXY protocol, versions 1 and 2 (haproxy's proxy-protocol.txt): who the
//! client is, told by a load balancer in front of us.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::{Buf, BytesMut};
use tokio::net::TcpStream;

const V2: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The longest header of version 1, with its line end.
const V1_LENGTH: usize = 107;
/// The longest header of version 2 that is read: addresses and some kilobytes of extensions.
const V2_LENGTH: usize = 4096;

/// The most bytes of a header.
pub(in crate::ingress) const LENGTH: usize = V2_LENGTH;

/// What the bytes so far are.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::ingress) enum Header {
    /// The beginning of a header.
    Partial,
    /// A header of so many bytes, with the client's address; none for a check by the load
    /// balancer itself or another kind of address.
    Whole(usize, Option<SocketAddr>),
    /// No header.
    Wrong,
}

/// A header of version 1 that says where a connection comes from and where it was made to.
pub(in crate::ingress) fn write(from: SocketAddr, to: SocketAddr) -> String {
    let (source, target) = (from.ip().to_canonical(), to.ip().to_canonical());
    let family = match (source, target) {
        (IpAddr::V4(_), IpAddr::V4(_)) => "TCP4",
        (IpAddr::V6(_), IpAddr::V6(_)) => "TCP6",
        _ => return "PROXY UNKNOWN\r\n".to_owned(),
    };
    let (from, to) = (from.port(), to.port());
    format!("PROXY {family} {source} {target} {from} {to}\r\n")
}

/// Reads the header of a connection; what follows it stays in `first`.
///
/// # Errors
/// The stream's; `InvalidData` if it begins with something else.
pub(in crate::ingress) async fn read(
    stream: &TcpStream,
    first: &mut BytesMut,
) -> io::Result<Option<SocketAddr>> {
    loop {
        more(stream, first).await?;
        match parse(first) {
            Header::Whole(length, told) => {
                first.advance(length);
                return Ok(told);
            }
            Header::Partial if first.len() <= LENGTH => {}
            Header::Partial | Header::Wrong => return Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

/// Reads what has come. No memory is taken before something has.
pub(super) async fn more(stream: &TcpStream, first: &mut BytesMut) -> io::Result<()> {
    loop {
        stream.readable().await?;
        first.reserve(LENGTH);
        match stream.try_read_buf(first) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// Reads a header at the beginning of a connection.
pub(in crate::ingress) fn parse(bytes: &[u8]) -> Header {
    if bytes.len() < V2.len() && V2.starts_with(bytes) {
        return Header::Partial;
    }
    if bytes.starts_with(V2) {
        return v2(bytes).unwrap_or(Header::Partial);
    }
    v1(bytes)
}

fn v1(bytes: &[u8]) -> Header {
    let seen = &bytes[..bytes.len().min(V1_LENGTH)];
    let start = &seen[..seen.len().min(6)];
    if !b"PROXY ".starts_with(start) {
        return Header::Wrong;
    }
    let Some(end) = seen.windows(2).position(|pair| pair == b"\r\n") else {
        let full = seen.len() == V1_LENGTH;
        return if full { Header::Wrong } else { Header::Partial };
    };
    match std::str::from_utf8(&seen[6..end]).ok().and_then(v1_address) {
        Some(address) => Header::Whole(end + 2, address),
        None => Header::Wrong,
    }
}

/// `TCP4 192.0.2.1 192.0.2.2 56324 443`.
fn v1_address(line: &str) -> Option<Option<SocketAddr>> {
    if line == "UNKNOWN" || line.starts_with("UNKNOWN ") {
        return Some(None);
    }
    let words: Vec<&str> = line.split(' ').collect();
    let [kind, source, destination, port, to_port] = words[..] else {
        return None;
    };
    let (source, destination): (IpAddr, IpAddr) = (source.parse().ok()?, destination.parse().ok()?);
    let fits = match kind {
        "TCP4" => source.is_ipv4() && destination.is_ipv4(),
        "TCP6" => source.is_ipv6() && destination.is_ipv6(),
        _ => false,
    };
    to_port.parse::<u16>().ok()?;
    fits.then_some(Some(SocketAddr::new(source, port.parse().ok()?)))
}

/// None if bytes are missing.
fn v2(bytes: &[u8]) -> Option<Header> {
    let (&[version, family], rest) = bytes.get(12..)?.split_first_chunk()?;
    let (length, rest) = rest.split_first_chunk()?;
    let length = usize::from(u16::from_be_bytes(*length));
    if version >> 4 != 2 || version & 0xf > 1 || 16 + length > V2_LENGTH {
        return Some(Header::Wrong);
    }
    let rest = rest.get(..length)?;
    let address: Option<(IpAddr, u16)> = match (version & 0xf, family) {
        // LOCAL: the load balancer's own connection.
        (0, _) => None,
        (1, 0x11) => match v2_address::<4>(rest) {
            Some((octets, port)) => Some((Ipv4Addr::from(octets).into(), port)),
            None => return Some(Header::Wrong),
        },
        (1, 0x21) => match v2_address::<16>(rest) {
            Some((octets, port)) => Some((Ipv6Addr::from(octets).into(), port)),
            None => return Some(Header::Wrong),
        },
        _ => None,
    };
    Some(Header::Whole(16 + length, address.map(SocketAddr::from)))
}

/// Source, destination, source port, destination port.
fn v2_address<const N: usize>(bytes: &[u8]) -> Option<([u8; N], u16)> {
    let port = bytes.get(2 * N..2 * N + 4)?;
    Some((
        *bytes.first_chunk()?,
        u16::from_be_bytes([port[0], port[1]]),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v2_header(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [V2.as_slice(), &[command, family], &length, body].concat()
    }

    #[test]
    fn headers_are_read() {
        let address = |text: &str| Some(text.parse().unwrap());
        let v4 = [192, 0, 2, 1, 192, 0, 2, 2, 0x12, 0x34, 0, 80];
        let mut v6 = [0; 36];
        (v6[15], v6[33]) = (1, 9);
        for (header, expected) in [
            (
                b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n".to_vec(),
                address("192.0.2.1:56324"),
            ),
            (b"PROXY TCP6 ::1 ::2 1 2\r\n".to_vec(), address("[::1]:1")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN what ever\r\n".to_vec(), None),
            (v2_header(0x21, 0x11, &v4), address("192.0.2.1:4660")),
            (
                v2_header(0x21, 0x11, &[v4.as_slice(), &[3; 9]].concat()),
                address("192.0.2.1:4660"),
            ),
            (v2_header(0x21, 0x21, &v6), address("[::1]:9")),
            (v2_header(0x20, 0x00, &[]), None),
            (v2_header(0x21, 0x31, &[0; 216]), None),
        ] {
            let whole = Header::Whole(header.len(), expected);
            for end in 0..header.len() {
                assert_eq!(parse(&header[..end]), Header::Partial, "{header:?} {end}");
            }
            assert_eq!(parse(&header), whole);
            assert_eq!(parse(&[&header[..], b"GET / HTTP/1.1\r\n"].concat()), whole);
        }
    }

    #[test]
    fn what_is_no_header_is_wrong() {
        for header in [
            b"GET / HTTP/1.1\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 192.0.2.2 56324\r\n".to_vec(),
            b"PROXY TCP4 ::1 ::2 1 2\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n".to_vec(),
            b"PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n".to_vec(),
            [b"PROXY ".as_slice(), &[b'x'; 200]].concat(),
            v2_header(0x11, 0x11, &[0; 12]),
            v2_header(0x22, 0x11, &[0; 12]),
            v2_header(0x21, 0x11, &[0; 11]),
            v2_header(0x21, 0x21, &[0; 35]),
            v2_header(0x21, 0x11, &[0; 5000]),
        ] {
            assert_eq!(parse(&header), Header::Wrong, "{header:?}");
        }
    }
}
