// SPDX-License-Identifier: Apache-2.0
//! Flows as connection tracking knows them: those that live, and those that end.

use std::io::IoSliceMut;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;

use netlink_sys::protocols::NETLINK_NETFILTER;
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, MultiHeaders, recvmmsg, setsockopt, sockopt};

use super::stale::Tuple;
use super::{CTA_ID, CTA_TUPLE_ORIG, CTA_TUPLE_REPLY, IPCTNL_MSG_CT_GET, number};
use crate::backend::Error;
use crate::backend::netlink::{Attrs, NLM_F_DUMP, NLM_F_REQUEST, Socket, Writer, be32, be64};
use crate::model::IpFamily;

// enum ctattr_type
const CTA_STATUS: u16 = 3;
const CTA_PROTOINFO: u16 = 4;
const CTA_TIMEOUT: u16 = 7;
const CTA_COUNTERS_ORIG: u16 = 9;
const CTA_COUNTERS_REPLY: u16 = 10;
/// `CTA_COUNTERS_BYTES`, within either.
const BYTES: u16 = 2;
/// `CTA_PROTOINFO_TCP` and its `CTA_PROTOINFO_TCP_STATE`.
const TCP: u16 = 1;
const TCP_STATE: u16 = 1;
/// `IPS_SEEN_REPLY`.
const SEEN_REPLY: u32 = 1 << 1;
/// `NFNLGRP_CONNTRACK_DESTROY`.
const ENDS: u32 = 3;
/// Bytes of `struct nlmsghdr` and `struct nfgenmsg`, which come before the attributes.
const BEFORE: usize = 20;
/// Receive buffer, bytes: an event takes about 1 KiB of it, so that some 30,000 fit.
const BUFFER: usize = 32 << 20;
/// Events taken with one call, and room for one, bytes. An event has 200 to 400.
const EVENTS: usize = 64;
const EVENT: usize = 1024;

/// A flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flow {
    /// Number of the protocol.
    pub protocol: u8,
    /// Who began it.
    pub client: SocketAddr,
    /// Where that one sends to.
    pub frontend: SocketAddr,
    /// Who answers: another one than that if the flow was translated.
    pub endpoint: SocketAddr,
    /// Bytes from the client and to it, with their headers; none without accounting.
    pub bytes: Option<(u64, u64)>,
    /// Whether an answer has come.
    pub answered: bool,
    /// State of a TCP connection (`enum tcp_conntrack`).
    pub tcp_state: Option<u8>,
    /// How long it is remembered without a packet, seconds.
    pub timeout: Option<u32>,
    /// The kernel's number for it.
    pub id: u32,
}

impl Flow {
    /// From the attributes of an entry. None for protocols without ports.
    pub(super) fn read(attrs: &Attrs<'_>) -> Option<Self> {
        let (to, from) = (
            Tuple::read(attrs.get(CTA_TUPLE_ORIG)?)?,
            Tuple::read(attrs.get(CTA_TUPLE_REPLY)?)?,
        );
        let bytes = |kind| {
            let counters = Attrs::new(attrs.get(kind)?);
            counters.get(BYTES).and_then(be64)
        };
        let tcp = attrs.get(CTA_PROTOINFO).map(Attrs::new);
        let tcp = tcp.and_then(|info| info.get(TCP)).map(Attrs::new);
        let tcp = tcp.and_then(|tcp| tcp.get(TCP_STATE)?.first().copied());
        let status = attrs.get(CTA_STATUS).and_then(be32).unwrap_or_default();
        Some(Self {
            protocol: to.protocol,
            client: to.source.into(),
            frontend: to.destination.into(),
            endpoint: from.source.into(),
            bytes: bytes(CTA_COUNTERS_ORIG).zip(bytes(CTA_COUNTERS_REPLY)),
            answered: status & SEEN_REPLY != 0,
            tcp_state: tcp,
            timeout: attrs.get(CTA_TIMEOUT).and_then(be32),
            id: attrs.get(CTA_ID).and_then(be32).unwrap_or_default(),
        })
    }

    /// Whether it goes elsewhere than its client thinks.
    pub fn is_translated(&self) -> bool {
        self.frontend != self.endpoint
    }

    /// The state of a TCP connection in the kernel's words.
    pub fn state(&self) -> &'static str {
        const STATES: [&str; 10] = [
            "none",
            "syn-sent",
            "syn-recv",
            "established",
            "fin-wait",
            "close-wait",
            "last-ack",
            "time-wait",
            "close",
            "syn-sent2",
        ];
        match self.tcp_state {
            Some(state) => STATES.get(usize::from(state)).unwrap_or(&"unknown"),
            None if self.answered => "answered",
            None => "unanswered",
        }
    }
}

/// Passes on all flows of a family that live.
///
/// # Errors
/// Those of the kernel: `EPERM` without CAP_NET_ADMIN.
pub fn live(family: IpFamily, mut each: impl FnMut(Flow)) -> Result<(), Error> {
    let mut socket = Socket::netfilter()?;
    let mut request = Writer::new();
    request.message(IPCTNL_MSG_CT_GET, NLM_F_REQUEST | NLM_F_DUMP, 1, |w| {
        w.nfgenmsg(number(family), 0);
    });
    let read = socket.dump(request.as_bytes(), |_, payload| {
        let attrs = Attrs::new(payload.get(4..).unwrap_or_default());
        if let Some(flow) = Flow::read(&attrs) {
            each(flow);
        }
    });
    match read {
        // Flows come and go all the time; what was missed is there the next time.
        Ok(()) | Err(Error::Interrupted) => Ok(()),
        Err(error) => Err(error.about("read", "conntrack entries")),
    }
}

/// Tells of flows that end. It waits for nothing: whoever asks from time to time spares the kernel
/// a wake-up for each.
#[derive(Debug)]
pub struct Ends {
    socket: netlink_sys::Socket,
    buffers: Vec<[u8; EVENT]>,
}

impl Ends {
    /// Listens from now on.
    ///
    /// # Errors
    /// The socket's: `EPERM` without CAP_NET_ADMIN.
    pub fn listen() -> Result<Self, Error> {
        let open = || {
            let mut socket = netlink_sys::Socket::new(NETLINK_NETFILTER)?;
            setsockopt(&socket, sockopt::RcvBufForce, &BUFFER)
                .or_else(|_| setsockopt(&socket, sockopt::RcvBuf, &BUFFER))?;
            socket.bind_auto()?;
            socket.add_membership(ENDS)?;
            Ok(socket)
        };
        let socket = open().map_err(|source| Error::Socket {
            operation: "listening to ends of flows",
            source,
        })?;
        Ok(Self {
            socket,
            buffers: vec![[0; EVENT]; EVENTS],
        })
    }

    /// Passes on the flows that have ended since the last time. Returns how often the buffer
    /// overflowed, so that some are lost.
    ///
    /// # Errors
    /// The socket's.
    pub fn take(&mut self, mut each: impl FnMut(Flow)) -> Result<u64, Error> {
        let mut lost = 0;
        loop {
            let mut slices: Vec<_> = self
                .buffers
                .iter_mut()
                .map(|b| [IoSliceMut::new(b)])
                .collect();
            let mut headers = MultiHeaders::<()>::preallocate(EVENTS, None);
            let fd = self.socket.as_raw_fd();
            let taken = recvmmsg(
                fd,
                &mut headers,
                slices.iter_mut(),
                MsgFlags::MSG_DONTWAIT,
                None,
            );
            let taken = match taken {
                Ok(taken) => taken,
                Err(Errno::EAGAIN) => return Ok(lost),
                Err(Errno::EINTR) => continue,
                Err(Errno::ENOBUFS) => {
                    lost += 1;
                    continue;
                }
                Err(errno) => {
                    return Err(Error::Socket {
                        operation: "reading ends of flows",
                        source: errno.into(),
                    });
                }
            };
            let mut count = 0;
            for message in taken {
                count += 1;
                for bytes in message.iovs() {
                    if let Some(flow) = ended(bytes) {
                        each(flow);
                    }
                }
            }
            if count < EVENTS {
                return Ok(lost);
            }
        }
    }
}

/// An event has a datagram of its own.
pub(in crate::backend) fn ended(datagram: &[u8]) -> Option<Flow> {
    let length = u32::from_ne_bytes(datagram.get(..4)?.try_into().ok()?) as usize;
    let attrs = datagram.get(BEFORE..length)?;
    Flow::read(&Attrs::new(attrs))
}
