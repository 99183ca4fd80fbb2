// SPDX-License-Identifier: Apache-2.0
//! The netlink socket: sends requests and batches, and sorts the answers.

use std::io;

use netlink_sys::SocketAddr;
use netlink_sys::protocols::{
    NETLINK_GENERIC, NETLINK_NETFILTER, NETLINK_ROUTE, NETLINK_SOCK_DIAG,
};
use nix::libc;
use nix::sys::socket::{getsockopt, setsockopt, sockopt};

use super::message::{Failure, Message};
use super::{NLM_F_ACK, NLM_F_DUMP};
use crate::backend::Error;

/// Receive buffer, bytes. What the kernel has to say about a batch waits here until the batch is
/// through; an answer takes about 1 KiB, so that some 10,000 errors fit.
const RECEIVE_BUFFER: usize = 16 << 20;
/// Room for one answer, bytes. The kernel fills at most 32 KiB of it (`netlink_recvmsg`).
const ANSWER: usize = 64 << 10;

/// A netlink socket. It belongs to the network namespace that its maker was in.
#[derive(Debug)]
pub struct Socket {
    inner: netlink_sys::Socket,
    answer: Vec<u8>,
}

impl Socket {
    /// Opens a socket to netfilter (nf_tables and ctnetlink), with extended acknowledgements.
    /// What may be done with it is checked with each request (`CAP_NET_ADMIN`).
    pub fn netfilter() -> Result<Socket, Error> {
        Self::open(NETLINK_NETFILTER)
    }

    /// Opens a socket to the kernel's table of sockets, likewise.
    pub fn diagnostics() -> Result<Socket, Error> {
        Self::open(NETLINK_SOCK_DIAG)
    }

    /// Opens a socket to the generic netlink families, likewise.
    pub fn generic() -> Result<Socket, Error> {
        Self::open(NETLINK_GENERIC)
    }

    /// Opens a socket to links and addresses, likewise.
    pub fn route() -> Result<Socket, Error> {
        Self::open(NETLINK_ROUTE)
    }

    fn open(protocol: isize) -> Result<Socket, Error> {
        let opened = (|| {
            let mut inner = netlink_sys::Socket::new(protocol)?;
            inner.bind_auto()?;
            // Connected, it takes messages from nobody but the kernel.
            inner.connect(&SocketAddr::new(0, 0))?;
            inner.set_ext_ack(true)?;
            inner.set_cap_ack(true)?;
            Ok(inner)
        })();
        let inner = opened.map_err(failed("socket"))?;
        // Without CAP_NET_ADMIN the system's limit has to do.
        setsockopt(&inner, sockopt::RcvBufForce, &RECEIVE_BUFFER)
            .or_else(|_| setsockopt(&inner, sockopt::RcvBuf, &RECEIVE_BUFFER))
            .map_err(|e| failed("socket")(e.into()))?;
        Ok(Socket {
            inner,
            answer: Vec::with_capacity(ANSWER),
        })
    }

    /// The number that the kernel knows this socket by (`nlmsg_pid` of what it causes).
    ///
    /// # Errors
    /// The socket's.
    pub fn port(&self) -> Result<u32, Error> {
        let mut address = SocketAddr::new(0, 0);
        let read = self.inner.get_address(&mut address);
        read.map_err(failed("socket"))?;
        Ok(address.port_number())
    }

    /// Hears what the kernel tells a group of listeners (`NFNLGRP_*`) from now on.
    pub fn join(&mut self, group: u32) -> Result<(), Error> {
        self.inner.add_membership(group).map_err(failed("join"))
    }

    /// Passes on what has been heard, without waiting: message type, and payload after the message
    /// header. What did not fit into the buffer is lost.
    pub fn heard(&mut self, mut each: impl FnMut(u16, &[u8])) -> Result<(), Error> {
        loop {
            match self.receive(libc::MSG_DONTWAIT) {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.raw_os_error() == Some(libc::ENOBUFS) => continue,
                Err(e) => return Err(failed("receive")(e)),
            }
            let mut rest = self.answer.as_slice();
            while let Some((message, tail)) = Message::split(rest) {
                rest = tail;
                each(message.kind, message.payload);
            }
        }
    }

    /// Sends messages, all in one go. netfilter works them off before this returns.
    pub fn send(&mut self, messages: &[u8]) -> Result<(), Error> {
        self.make_room(messages.len()).map_err(failed("send"))?;
        loop {
            match self.inner.send(messages, 0) {
                Ok(sent) if sent == messages.len() => return Ok(()),
                Ok(_) => return Err(failed("send")(io::ErrorKind::WriteZero.into())),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(failed("send")(e)),
            }
        }
    }

    /// Sends one request and passes every object of the answer on: message type, and payload after
    /// the message header. The request has `NLM_F_DUMP`, or `NLM_F_ACK` for a single object.
    ///
    /// # Errors
    /// [`Error::Interrupted`] if the objects changed meanwhile (the caller starts over);
    /// [`Error::Refused`] with the bare message number, see [`Error::about`].
    pub fn dump(&mut self, request: &[u8], mut each: impl FnMut(u16, &[u8])) -> Result<(), Error> {
        let Some((header, _)) = Message::split(request) else {
            return Err(Error::Malformed("request without a header".into()));
        };
        let (kind, seq) = (header.kind, header.seq);
        let ends = header.flags & NLM_F_DUMP == NLM_F_DUMP || header.flags & NLM_F_ACK != 0;
        debug_assert!(ends, "the answer to message {kind:#06x} would have no end");
        self.discard();
        self.send(request)?;
        let mut interrupted = false;
        loop {
            self.receive(0).map_err(failed("receive"))?;
            let mut rest = self.answer.as_slice();
            while let Some((message, tail)) = Message::split(rest) {
                rest = tail;
                if message.seq != seq {
                    continue;
                }
                interrupted |= message.flags & libc::NLM_F_DUMP_INTR as u16 != 0;
                match i32::from(message.kind) {
                    libc::NLMSG_NOOP => {}
                    libc::NLMSG_ERROR | libc::NLMSG_DONE => {
                        return match message.failure() {
                            Some(f) if f.errno == libc::EINTR => Err(Error::Interrupted),
                            Some(f) => Err(refused(kind, f)),
                            None if interrupted => Err(Error::Interrupted),
                            None => Ok(()),
                        };
                    }
                    _ => each(message.kind, message.payload),
                }
            }
        }
    }

    /// Sends messages, of which at least one asks for an acknowledgement, and returns what the
    /// kernel refused, in its order: nothing if all went well. In a batch of nf_tables the kernel
    /// reports refused messages without being asked, and applies none if it refused any.
    ///
    /// # Errors
    /// [`Error::Malformed`] if the kernel neither acknowledged nor refused anything;
    /// [`Error::Socket`] if answers were lost and none of those left tells of a failure.
    pub fn acknowledged(&mut self, messages: &[u8]) -> Result<Vec<Failure>, Error> {
        self.discard();
        self.send(messages)?;
        let mut failures = Vec::new();
        let (mut answered, mut lost) = (false, None);
        loop {
            match self.receive(libc::MSG_DONTWAIT) {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                // The buffer overflowed. What is in it can be read after this error.
                Err(e) if e.raw_os_error() == Some(libc::ENOBUFS) => {
                    lost = Some(e);
                    continue;
                }
                Err(e) => return Err(failed("receive")(e)),
            }
            let mut rest = self.answer.as_slice();
            while let Some((message, tail)) = Message::split(rest) {
                rest = tail;
                if i32::from(message.kind) == libc::NLMSG_ERROR {
                    answered = true;
                    failures.extend(message.failure());
                }
            }
        }
        match lost {
            Some(e) if failures.is_empty() => Err(failed("receive")(e)),
            None if !answered => Err(Error::Malformed("no acknowledgement".into())),
            _ => Ok(failures),
        }
    }

    /// The kernel refuses what is longer than the send buffer (`netlink_sendmsg`).
    fn make_room(&self, length: usize) -> io::Result<()> {
        let wanted = length + 1024;
        if getsockopt(&self.inner, sockopt::SndBuf)? >= wanted {
            return Ok(());
        }
        // Without CAP_NET_ADMIN the system's limit has to do; sending tells whether it does.
        setsockopt(&self.inner, sockopt::SndBufForce, &wanted)
            .or_else(|_| setsockopt(&self.inner, sockopt::SndBuf, &wanted))?;
        Ok(())
    }

    /// Drops what an earlier, failed exchange left over.
    fn discard(&mut self) {
        while match self.receive(libc::MSG_DONTWAIT) {
            Ok(()) => true,
            Err(e) => e.raw_os_error() == Some(libc::ENOBUFS),
        } {}
    }

    fn receive(&mut self, flags: i32) -> io::Result<()> {
        loop {
            self.answer.clear();
            match self.inner.recv(&mut self.answer, flags | libc::MSG_TRUNC) {
                Ok(length) if length > self.answer.len() => {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "answer cut off"));
                }
                Ok(_) => return Ok(()),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }
}

fn failed(operation: &'static str) -> impl Fn(io::Error) -> Error {
    move |source| Error::Socket { operation, source }
}

fn refused(kind: u16, failure: Failure) -> Error {
    Error::Refused {
        operation: "read",
        object: format!("(netlink message {kind:#06x})"),
        errno: failure.errno,
        message: failure.message,
    }
}

#[cfg(test)]
#[path = "socket_tests.rs"]
mod tests;
