// SPDX-License-Identifier: Apache-2.0
//! One connection after the other, and which endpoint it reached.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Result;
use nix::libc::linger;
use nix::sys::socket::{setsockopt, shutdown, sockopt};

use super::objects::TARGET;
use crate::netns::Namespace;

/// How long the server may take, once it is connected.
const LIMIT: Duration = Duration::from_millis(500);

/// Connects from the namespace that this thread is in. The endpoint's address, or None if nobody
/// takes the connection within the limit.
///
/// The kernels of both ends are one, so taking it is a matter of microseconds. The limit should be
/// low nevertheless: an ICMP error that comes while `connect` still sends the SYN is lost.
#[must_use]
pub fn dial(to: SocketAddrV4, limit: Duration) -> Option<Ipv4Addr> {
    let mut stream = TcpStream::connect_timeout(&to.into(), limit).ok()?;
    // A reset at the end: no port of ours stays in TIME_WAIT, however many connections we make.
    let now = linger {
        l_onoff: 1,
        l_linger: 0,
    };
    setsockopt(&stream, sockopt::Linger, &now).ok()?;
    stream.set_read_timeout(Some(LIMIT)).ok()?;
    let mut address = [0; 4];
    stream.read_exact(&mut address).ok()?;
    Some(address.into())
}

/// Tells each client which address it has reached. Ends when it is dropped.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens on every address of the namespace.
    ///
    /// # Errors
    /// The kernel's.
    pub fn start(namespace: &Namespace) -> Result<Self> {
        let listener =
            namespace.enter(|| Ok(TcpListener::bind((Ipv4Addr::UNSPECIFIED, TARGET))?))?;
        let accepting = listener.try_clone()?;
        let thread = std::thread::Builder::new()
            .name("endpoints".to_owned())
            .spawn(move || {
                while let Ok((stream, _)) = accepting.accept() {
                    // A client that is gone already is its own business.
                    let _ = answer(stream);
                }
            })?;
        Ok(Self {
            listener,
            thread: Some(thread),
        })
    }
}

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    if let IpAddr::V4(own) = stream.local_addr()?.ip() {
        stream.write_all(&own.octets())?;
    }
    stream.shutdown(Shutdown::Write)
}

impl Drop for Server {
    fn drop(&mut self) {
        // On Linux this wakes who waits in accept.
        let _ = shutdown(self.listener.as_raw_fd(), nix::sys::socket::Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
