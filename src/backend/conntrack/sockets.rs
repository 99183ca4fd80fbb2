// SPDX-License-Identifier: Apache-2.0
//! Ends TCP sockets of this host (`SOCK_DESTROY` of sock_diag, as `ss --kill` does it): their
//! programs get ECONNABORTED at once, even those that only wait for data.

use std::net::IpAddr;

use nix::libc;

use super::stale::Tuple;
use super::{BATCH, number};
use crate::backend::Error;
use crate::backend::netlink::{NLM_F_ACK, NLM_F_REQUEST, Socket, Writer};
use crate::model::IpFamily;

/// `linux/sock_diag.h`.
const SOCK_DESTROY: u16 = 21;
/// Either half of a cookie that stands for any (`INET_DIAG_NOCOOKIE`).
const NO_COOKIE: [u8; 4] = [0xff; 4];

/// Sockets that are to be ended, collected and sent together.
#[derive(Debug)]
pub(super) struct Sockets {
    socket: Socket,
    batch: Writer,
    pending: usize,
    ended: Result<usize, Error>,
}

impl Sockets {
    pub(super) fn new() -> Result<Self, Error> {
        Ok(Self {
            socket: Socket::diagnostics()?,
            batch: Writer::new(),
            pending: 0,
            ended: Ok(0),
        })
    }

    /// Has the socket ended that sends from the tuple's source to its destination.
    pub(super) fn end(&mut self, family: IpFamily, tuple: &Tuple) {
        self.batch
            .message(SOCK_DESTROY, NLM_F_REQUEST | NLM_F_ACK, 1, |w| {
                request(w, family, tuple);
            });
        self.pending += 1;
        if self.pending == BATCH {
            self.send();
        }
    }

    /// Sends what is pending.
    pub(super) fn send(&mut self) {
        let sent = std::mem::take(&mut self.pending);
        if sent == 0 {
            return;
        }
        let answer = self.socket.acknowledged(self.batch.as_bytes());
        self.batch.clear();
        let Ok(before) = self.ended else { return };
        self.ended = answer.and_then(|failures| {
            // A client in a pod with the host's address, or one that has gone meanwhile.
            match failures.iter().find(|f| f.errno != libc::ENOENT) {
                None => Ok(before + sent - failures.len()),
                Some(failure) => Err(Error::Refused {
                    operation: "end",
                    object: "TCP socket of this host".into(),
                    errno: failure.errno,
                    message: failure.message.clone(),
                }),
            }
        });
    }

    /// How many sockets were ended since the last call.
    pub(super) fn take_ended(&mut self) -> Result<usize, Error> {
        std::mem::replace(&mut self.ended, Ok(0))
    }
}

/// `struct inet_diag_req_v2` of `linux/inet_diag.h`.
fn request(w: &mut Writer, family: IpFamily, tuple: &Tuple) {
    w.raw(&[number(family), tuple.protocol, 0, 0]);
    // In any state.
    w.raw(&[0xff; 4]);
    w.raw(&tuple.source.1.to_be_bytes());
    w.raw(&tuple.destination.1.to_be_bytes());
    for (address, _) in [tuple.source, tuple.destination] {
        let mut bytes = [0; 16];
        match address {
            IpAddr::V4(a) => bytes[..4].copy_from_slice(&a.octets()),
            IpAddr::V6(a) => bytes = a.octets(),
        }
        w.raw(&bytes);
    }
    // By any interface.
    w.raw(&[0; 4]);
    w.raw(&NO_COOKIE);
    w.raw(&NO_COOKIE);
}
