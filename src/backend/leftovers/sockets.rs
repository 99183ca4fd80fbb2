// SPDX-License-Identifier: Apache-2.0
//! TCP connections of this host by their local address (`linux/inet_diag.h`). The host connects to
//! an address that is bound to it from that very address, and gets no answer once it is unbound.

use std::collections::BTreeSet;
use std::net::IpAddr;

use nix::libc::{AF_INET, AF_INET6, ENOENT, EOPNOTSUPP, IPPROTO_TCP};

use crate::backend::Error;
use crate::backend::netlink::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, Socket, Writer};

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const SOCK_DESTROY: u16 = 21;
/// States in which a connection still needs answers: ESTABLISHED, SYN_SENT, SYN_RECV, FIN_WAIT1,
/// CLOSE_WAIT, LAST_ACK, CLOSING (`net/tcp_states.h`).
const STATES: u32 = 1 << 1 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 8 | 1 << 9 | 1 << 11;
/// `struct inet_diag_sockid` in `struct inet_diag_msg`: where it begins, and its length.
const ID: usize = 4;
const ID_LENGTH: usize = 48;
/// The local address in it.
const SOURCE: usize = 4;

/// A connection, as the kernel names it.
#[derive(Debug, Clone)]
pub(super) struct Connection {
    /// Its local address.
    pub(super) source: IpAddr,
    family: u8,
    id: [u8; ID_LENGTH],
}

/// The connections whose local address is one of these. None if the kernel does not tell.
///
/// # Errors
/// The socket's.
pub(super) fn connections(addresses: &BTreeSet<IpAddr>) -> Result<Vec<Connection>, Error> {
    let (mut socket, mut found) = (Socket::diagnostics()?, Vec::new());
    for family in [AF_INET, AF_INET6] {
        let mut w = Writer::new();
        let flags = NLM_F_REQUEST | NLM_F_DUMP;
        w.message(SOCK_DIAG_BY_FAMILY, flags, 1, |w| {
            request(w, family as u8, STATES, &[0; ID_LENGTH]);
        });
        let asked = socket.dump(w.as_bytes(), |_, payload| {
            found.extend(connection(payload).filter(|c| addresses.contains(&c.source)));
        });
        match asked.as_ref().map_err(Error::errno) {
            // Connections that come and go meanwhile are no reason to ask again.
            Ok(()) | Err(Some(ENOENT | EOPNOTSUPP)) => {}
            Err(_) if matches!(asked, Err(Error::Interrupted)) => {}
            Err(_) => {
                return asked
                    .map_err(|e| e.about("list", "TCP sockets"))
                    .map(|()| found);
            }
        }
    }
    Ok(found)
}

/// Ends connections: their programs are told at once, and do not wait for answers that cannot come.
/// Kernels without `CONFIG_INET_DIAG_DESTROY` leave them to their time-outs.
///
/// # Errors
/// The socket's.
pub(super) fn end(connections: &[Connection]) -> Result<(), Error> {
    let mut socket = Socket::diagnostics()?;
    for some in connections.chunks(1_000) {
        let mut w = Writer::new();
        for connection in some {
            w.message(SOCK_DESTROY, NLM_F_REQUEST | NLM_F_ACK, 1, |w| {
                request(w, connection.family, u32::MAX, &connection.id);
            });
        }
        socket.acknowledged(w.as_bytes())?;
    }
    Ok(())
}

/// `struct inet_diag_req_v2`.
fn request(w: &mut Writer, family: u8, states: u32, id: &[u8; ID_LENGTH]) {
    w.raw(&[family, IPPROTO_TCP as u8, 0, 0]);
    w.raw(&states.to_ne_bytes());
    w.raw(id);
}

/// From `struct inet_diag_msg`. An IPv4 address in an IPv6 socket is an IPv4 address.
pub(super) fn connection(payload: &[u8]) -> Option<Connection> {
    let family = *payload.first()?;
    let id: [u8; ID_LENGTH] = payload.get(ID..ID + ID_LENGTH)?.try_into().ok()?;
    let source = &id[SOURCE..SOURCE + 16];
    let source = match i32::from(family) {
        AF_INET => IpAddr::from(<[u8; 4]>::try_from(&source[..4]).ok()?),
        _ => IpAddr::from(<[u8; 16]>::try_from(source).ok()?).to_canonical(),
    };
    Some(Connection { source, family, id })
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read};
    use std::net::{TcpListener, TcpStream};
    use std::process::Command;

    use super::*;
    use crate::backend::testing::in_namespace;

    #[test]
    fn connections_are_found_by_their_address_and_ended() {
        in_namespace(|| {
            let up = Command::new("ip")
                .args(["link", "set", "lo", "up"])
                .status();
            assert!(up.unwrap().success());
            let listener = TcpListener::bind("[::]:80").unwrap();
            let mut clients = ["127.0.0.1:80", "[::1]:80"].map(|to| {
                let client = TcpStream::connect(to).unwrap();
                (client, listener.accept().unwrap())
            });
            let one = |text: &str| BTreeSet::from([text.parse().unwrap()]);
            assert!(connections(&one("192.0.2.1")).unwrap().is_empty());
            // Both ends have that address, and one of them an IPv6 socket.
            let v4 = connections(&one("127.0.0.1")).unwrap();
            assert_eq!(v4.len(), 2, "{v4:?}");
            let v6 = connections(&one("::1")).unwrap();
            assert_eq!(v6.len(), 2, "{v6:?}");
            end(&v6).unwrap();
            let error = clients[1].0.read(&mut [0]).unwrap_err();
            // The other end may have been ended first, whose reset then comes first.
            let ended = [ErrorKind::ConnectionAborted, ErrorKind::ConnectionReset];
            assert!(ended.contains(&error.kind()), "{error}");
            assert!(connections(&one("::1")).unwrap().is_empty());
            assert_eq!(connections(&one("127.0.0.1")).unwrap().len(), 2);
        });
    }
}
