// SPDX-License-Identifier: Apache-2.0
//! One connection: its socket and how far it has come.

use std::io::IoSliceMut;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Range;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use ferrule::model::Protocol;
use nix::cmsg_space;
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrStorage, bind, connect, getsockopt, recvmsg, send,
    setsockopt, sockopt,
};

use super::{Answer, Attempt, Refusal};
use crate::mode::{Mode, mode};
use crate::netns::Namespace;
use crate::sctp::Init;
use crate::socket;

/// A connection under way.
#[derive(Debug)]
pub(super) struct Flow {
    pub(super) fd: OwnedFd,
    attempt: Attempt,
    started: Instant,
    connected: bool,
    heard: Vec<u8>,
    init: Init,
    remind: Duration,
}

/// Errors that mean: somebody said no. Port unreachable, a reset, and what a kernel without SCTP
/// says to it (protocol unreachable; in ICMPv6 unknown next header).
fn refusal(e: Errno) -> Option<Refusal> {
    match e {
        Errno::ECONNREFUSED => Some(Refusal::Port),
        Errno::ECONNRESET => Some(Refusal::Reset),
        Errno::ENOPROTOOPT | Errno::EPROTO => Some(Refusal::Protocol),
        _ => None,
    }
}

/// How many raw flows there have been. Ports come round after all others: the kernel remembers a
/// flow for some seconds, and holds the same ports with another tag for an error.
static RAW_FLOWS: AtomicU32 = AtomicU32::new(0);

/// How many flows have been given a port, see [`bind_alone`].
static BOUND_FLOWS: AtomicU32 = AtomicU32::new(0);

/// The ports that kernels choose from (`net.ipv4.ip_local_port_range`); no server here listens there.
const EPHEMERAL: Range<u16> = 32_768..61_000;

/// When a raw client sends its INIT again for the first time (RFC 9260, RTO.Initial).
///
/// A node refuses SCTP only if none of its sockets wants the packet, and a raw socket that another
/// thread has opened there and not connected yet wants all.
const REMIND: Duration = Duration::from_secs(1);

fn fresh_init(to: u16) -> Init {
    let n = RAW_FLOWS.fetch_add(1, Ordering::Relaxed);
    let source = 1_024 + (n % (65_536 - 1_024)) as u16;
    Init {
        source,
        destination: to,
        tag: n.wrapping_mul(0x9e37_79b1) | 1,
    }
}

/// The source address that the kernel would choose, with port 0. Real SCTP tells its peer all
/// addresses that it is bound to, a node's other ones too, and no NAT translates those.
fn chosen_source(to: SocketAddr) -> Option<SocketAddr> {
    let fd = socket::open(Protocol::Udp, to.ip()).ok()?;
    connect(fd.as_raw_fd(), &SockaddrStorage::from(to)).ok()?;
    let mut source = std::net::UdpSocket::from(fd).local_addr().ok()?;
    source.set_port(0);
    Some(source)
}

fn unspecified(to: SocketAddr) -> SocketAddr {
    match to {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    }
}

/// Binds to a port that no other flow has, whatever its client. IPVS knows the answers of an
/// endpoint by the client's address and port alone: of two flows from one port to one endpoint by
/// two frontends, the older gets none (docs/ipvs.md). Kernels choose ports by the frontend.
fn bind_alone(fd: &OwnedFd, mut source: SocketAddr) -> nix::Result<()> {
    loop {
        let n = BOUND_FLOWS.fetch_add(1, Ordering::Relaxed);
        source.set_port(EPHEMERAL.start + (n % EPHEMERAL.len() as u32) as u16);
        match bind(fd.as_raw_fd(), &SockaddrStorage::from(source)) {
            Err(Errno::EADDRINUSE) => {}
            other => return other,
        }
    }
}

impl Flow {
    /// Opens the socket, in the namespace of the calling thread, and sends the first packet.
    pub(super) fn start(attempt: Attempt) -> Result<Self, Answer> {
        let broken = |e: Errno| Answer::Broken(format!("{}: {e}", attempt.to));
        let fd = Self::socket(attempt).map_err(broken)?;
        let init = fresh_init(attempt.to.port());
        let mut flow = Self {
            fd,
            attempt,
            started: Instant::now(),
            connected: false,
            heard: vec![],
            init,
            remind: REMIND,
        };
        flow.connect().map_err(broken)?;
        Ok(flow)
    }

    fn socket(attempt: Attempt) -> nix::Result<OwnedFd> {
        let fd = socket::open(attempt.protocol, attempt.to.ip())?;
        if attempt.via != 0 {
            setsockopt(&fd, sockopt::Mark, &u32::from(attempt.via))?;
        }
        match attempt.to {
            SocketAddr::V4(_) if attempt.protocol != Protocol::Udp => {
                setsockopt(&fd, sockopt::Ipv4RecvErr, &true)?;
            }
            SocketAddr::V6(_) if attempt.protocol != Protocol::Udp => {
                setsockopt(&fd, sockopt::Ipv6RecvErr, &true)?;
            }
            _ => {}
        }
        let mut source = attempt.source.map(|a| SocketAddr::new(a, 0));
        if attempt.protocol == Protocol::Sctp && socket::is_stream(attempt.protocol) {
            source = source.or_else(|| chosen_source(attempt.to));
        }
        if mode() == Mode::Ipvs && !socket::is_raw(attempt.protocol) {
            bind_alone(&fd, source.unwrap_or_else(|| unspecified(attempt.to)))?;
        } else if let Some(source) = source {
            bind(fd.as_raw_fd(), &SockaddrStorage::from(source))?;
        }
        Ok(fd)
    }

    fn connect(&mut self) -> nix::Result<()> {
        let to = socket::raw_port(self.attempt.protocol, self.attempt.to);
        match connect(self.fd.as_raw_fd(), &to) {
            Ok(()) => self.greet(),
            Err(Errno::EINPROGRESS) => Ok(()),
            // A rule in the output hook dropped the first packet; an ICMP error may follow.
            Err(Errno::EPERM) => Ok(()),
            Err(e) => Err(e),
        }
    }

    /// Sends what a server waits for: nothing in TCP.
    pub(super) fn greet(&mut self) -> nix::Result<()> {
        self.connected = true;
        let packet = match self.attempt.protocol {
            protocol if socket::is_stream(protocol) => return Ok(()),
            Protocol::Tcp => return Ok(()),
            Protocol::Udp => b"who?".to_vec(),
            Protocol::Sctp => self.init.encode(),
        };
        match send(self.fd.as_raw_fd(), &packet, MsgFlags::empty()) {
            // As above. ECONNREFUSED is an earlier packet's, and will be read as such.
            Ok(_) | Err(Errno::EPERM | Errno::ECONNREFUSED) => Ok(()),
            Err(e) => Err(e),
        }
    }

    /// Whether nothing has come for so long.
    pub(super) fn expired(&self, limit: Duration) -> bool {
        self.started.elapsed() > limit
    }

    /// Sends an INIT again that has waited for too long, each time for twice as long. Kernels do
    /// so by themselves in TCP and SCTP, and nobody does in UDP.
    pub(super) fn remind(&mut self) {
        let waited = self.started.elapsed();
        if socket::is_raw(self.attempt.protocol) && waited > self.remind {
            self.remind = waited + 2 * self.remind;
            let _ = self.greet();
        }
    }

    /// Looks at a socket with something to tell. None if it is not the end yet.
    pub(super) fn advance(&mut self) -> Option<Answer> {
        match self.attempt.protocol {
            protocol if socket::is_stream(protocol) => self.advance_stream(),
            Protocol::Tcp => self.advance_stream(),
            Protocol::Udp => self.advance_udp(),
            Protocol::Sctp => self.advance_sctp(),
        }
    }

    fn failed(&self, e: Errno) -> Option<Answer> {
        match e {
            Errno::EAGAIN | Errno::EINTR | Errno::EPERM => None,
            // To TCP, ICMP errors come by their queue as well: this one is a reset.
            Errno::ECONNREFUSED if self.attempt.protocol == Protocol::Tcp => {
                Some(self.refused_by(Refusal::Reset))
            }
            e => Some(match refusal(e) {
                Some(how) => self.refused_by(how),
                None => Answer::Broken(e.to_string()),
            }),
        }
    }

    fn refused_by(&self, how: Refusal) -> Answer {
        Answer::Refused(self.started.elapsed(), how)
    }

    fn advance_stream(&mut self) -> Option<Answer> {
        // It is there even if the socket was locked when the error came, see `refused_at_once`.
        if let Some(how) = self.icmp_error(false) {
            return Some(self.refused_by(how));
        }
        match getsockopt(&self.fd, sockopt::SocketError).map(Errno::from_raw) {
            Ok(e) if e as i32 != 0 => return self.failed(e),
            _ => {}
        }
        let mut buffer = [0; 512];
        loop {
            match nix::unistd::read(&self.fd, &mut buffer) {
                Ok(0) => break,
                Ok(n) => self.heard.extend(&buffer[..n]),
                Err(Errno::ENOTCONN) => return None,
                Err(e) => return self.failed(e),
            }
        }
        // A reset instead of a FIN: no TIME-WAIT on either end, ports are free at once.
        let linger = libc::linger {
            l_onoff: 1,
            l_linger: 0,
        };
        let _ = setsockopt(&self.fd, sockopt::Linger, &linger);
        Some(Answer::parse(&String::from_utf8_lossy(&self.heard)))
    }

    fn advance_udp(&mut self) -> Option<Answer> {
        let mut buffer = [0; 512];
        match socket::receive(&self.fd, false, &mut buffer) {
            Ok(Some((text, _))) => Some(Answer::parse(&String::from_utf8_lossy(text))),
            Ok(None) => None,
            Err(e) => self.failed(e),
        }
    }

    /// Many raw sockets get each packet; ours is the one that answers our INIT.
    fn advance_sctp(&mut self) -> Option<Answer> {
        let mut buffer = [0; 2048];
        loop {
            match socket::receive(&self.fd, true, &mut buffer) {
                Ok(Some((packet, _))) => {
                    if let Some(text) = self.init.answered_by(packet) {
                        return Some(Answer::parse(&text));
                    }
                }
                Ok(None) => break,
                Err(_) => {
                    if let Some(how) = self.icmp_error(true) {
                        return Some(self.refused_by(how));
                    }
                }
            }
        }
        self.icmp_error(true).map(|how| self.refused_by(how))
    }

    /// The refusal that the queue of ICMP errors holds; a raw socket gets others' errors, too.
    fn icmp_error(&self, raw: bool) -> Option<Refusal> {
        let mut copy = [0; 256];
        let mut space = cmsg_space!(libc::sock_extended_err, libc::sockaddr_in6);
        loop {
            let mut slices = [IoSliceMut::new(&mut copy)];
            let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
            let fd = self.fd.as_raw_fd();
            let Ok(message) = recvmsg::<()>(fd, &mut slices, Some(&mut space), flags) else {
                return None;
            };
            let length = message.bytes;
            let errno = message.cmsgs().ok().and_then(|mut all| {
                all.find_map(|c| match c {
                    ControlMessageOwned::Ipv4RecvErr(e, _)
                    | ControlMessageOwned::Ipv6RecvErr(e, _) => Some(e.ee_errno),
                    _ => None,
                })
            });
            let said_no = errno.and_then(|e| refusal(Errno::from_raw(e as i32)));
            if said_no.is_some() && (!raw || self.init.begins_like(&copy[..length])) {
                return said_no;
            }
        }
    }
}

/// A UDP client that keeps its socket: the same flow, whatever happens to the rules.
#[derive(Debug)]
pub struct UdpFlow(Flow);

impl UdpFlow {
    /// Opens the socket in the namespace and sends the first datagram.
    ///
    /// # Errors
    /// If the socket cannot be opened.
    pub fn start(namespace: &Namespace, attempt: Attempt) -> Result<Self> {
        let attempt = Attempt {
            protocol: Protocol::Udp,
            ..attempt
        };
        let start = || Flow::start(attempt).map_err(|a| anyhow::anyhow!("{a}"));
        Ok(Self(namespace.enter(start)?))
    }

    /// Sends a datagram and waits for what comes.
    ///
    /// # Errors
    /// If it cannot be sent.
    pub fn ask(&mut self, limit: Duration) -> Result<Answer> {
        while self.0.advance().is_some() {}
        self.0.started = Instant::now();
        match self.0.greet() {
            // Its source has gone: in IPVS mode the host talks to a VIP from the VIP itself.
            Err(e @ Errno::ENETUNREACH) => return Ok(Answer::Broken(e.to_string())),
            sent => sent?,
        }
        while !self.0.expired(limit) {
            if let Some(answer) = self.0.advance() {
                return Ok(answer);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(Answer::Timeout)
    }
}
