// SPDX-License-Identifier: Apache-2.0
//! Real servers for endpoints: they answer with their name, their port and the peer they see.

use std::io::Write;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use anyhow::{Context, Result};
use ferrule::model::Protocol;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::socket::Backlog;

use crate::netns::Namespace;
use crate::sctp::Init;
use crate::socket;

/// A running server. It stops when it is dropped.
#[derive(Debug)]
pub struct Server {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// A listening socket of one protocol.
enum Listener {
    /// TCP, or the kernel's own SCTP.
    Tcp(TcpListener, u16),
    Udp(OwnedFd, u16),
    /// Played SCTP, all ports at once.
    Sctp(OwnedFd),
}

impl Server {
    /// Listens in the namespace on all addresses and ports, in TCP, UDP and SCTP.
    ///
    /// # Errors
    /// If a socket cannot be opened or bound.
    pub fn start(
        namespace: &Namespace,
        name: &str,
        addresses: &[IpAddr],
        ports: &[u16],
    ) -> Result<Self> {
        let listeners = namespace.enter(|| listeners(addresses, ports))?;
        let stop = Arc::new(AtomicBool::new(false));
        let (halted, name, ports) = (stop.clone(), name.to_owned(), ports.to_vec());
        let thread = std::thread::Builder::new()
            .name(format!("server-{name}"))
            .spawn(move || serve(&name, &ports, &listeners, &halted))?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn listeners(addresses: &[IpAddr], ports: &[u16]) -> Result<Vec<Listener>> {
    let mut listeners = Vec::new();
    for address in addresses {
        for port in ports {
            let at = SocketAddr::new(*address, *port);
            let tcp = TcpListener::bind(at).with_context(|| format!("tcp {at}"))?;
            tcp.set_nonblocking(true)?;
            nix::sys::socket::listen(&tcp, Backlog::new(4_096)?)?;
            listeners.push(Listener::Tcp(tcp, *port));
            let udp = socket::bound(Protocol::Udp, at).with_context(|| format!("udp {at}"))?;
            listeners.push(Listener::Udp(udp, *port));
        }
        listeners
            .extend(sctp_listeners(*address, ports).with_context(|| format!("sctp {address}"))?);
    }
    Ok(listeners)
}

fn sctp_listeners(address: IpAddr, ports: &[u16]) -> Result<Vec<Listener>> {
    if socket::is_raw(Protocol::Sctp) {
        let fd = socket::bound(Protocol::Sctp, SocketAddr::new(address, 0))?;
        return Ok(vec![Listener::Sctp(fd)]);
    }
    let open = |port: &u16| {
        let fd = socket::bound(Protocol::Sctp, SocketAddr::new(address, *port))?;
        nix::sys::socket::listen(&fd, Backlog::new(128)?)?;
        // Only its name is TCP's: accepting and writing are the same.
        Ok(Listener::Tcp(fd.into(), *port))
    };
    ports.iter().map(open).collect()
}

fn serve(name: &str, ports: &[u16], listeners: &[Listener], stop: &AtomicBool) {
    let watch = |l| PollFd::new(Listener::fd(l), PollFlags::POLLIN);
    while !stop.load(Ordering::Relaxed) {
        let mut fds: Vec<_> = listeners.iter().map(watch).collect();
        if poll(&mut fds, 50u8).is_err() {
            continue;
        }
        for (listener, fd) in listeners.iter().zip(fds) {
            if fd.any() == Some(true) {
                listener.answer_all(name, ports);
            }
        }
    }
}

impl Listener {
    fn fd(&self) -> std::os::fd::BorrowedFd<'_> {
        match self {
            Listener::Tcp(listener, _) => listener.as_fd(),
            Listener::Udp(fd, _) | Listener::Sctp(fd) => fd.as_fd(),
        }
    }

    fn answer_all(&self, name: &str, ports: &[u16]) {
        let mut buffer = [0; 2048];
        match self {
            Listener::Tcp(listener, port) => {
                while let Ok((mut stream, peer)) = listener.accept() {
                    let _ = stream.write_all(text(name, *port, peer).as_bytes());
                }
            }
            Listener::Udp(fd, port) => {
                while let Ok(Some((_, peer))) = socket::receive(fd, false, &mut buffer) {
                    if let Some(peer) = peer {
                        socket::reply(fd, text(name, *port, peer).as_bytes(), peer);
                    }
                }
            }
            Listener::Sctp(fd) => {
                while let Ok(Some((packet, peer))) = socket::receive(fd, true, &mut buffer) {
                    let init = Init::decode(packet).filter(|i| ports.contains(&i.destination));
                    if let (Some(init), Some(peer)) = (init, peer) {
                        let seen = SocketAddr::new(peer.ip(), init.source);
                        let answer = init.answer(&text(name, init.destination, seen));
                        socket::reply(fd, &answer, SocketAddr::new(peer.ip(), 0));
                    }
                }
            }
        }
    }
}

/// `NAME PORT PEER-ADDRESS PEER-PORT`.
fn text(name: &str, port: u16, peer: SocketAddr) -> String {
    format!("{name} {port} {} {}", peer.ip(), peer.port())
}
