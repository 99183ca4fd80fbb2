// SPDX-License-Identifier: Apache-2.0
//! Listeners: one of each address for each thread, between which the kernel spreads connections.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::time::Duration;

use socket2::{Domain, Protocol, SockFilter, SockRef, Socket, Type};

use nix::libc::{sock_filter, sock_fprog};
use nix::sys::socket::{setsockopt, sockopt};
use tokio::time::{Instant, sleep_until};

use super::connection;
use super::worker::Worker;

/// Connections waiting to be accepted; `net.core.somaxconn` may allow less.
const BACKLOG: i32 = 4096;
/// How long connections may still come that have begun: a handshake over long ways.
const ON_THE_WAY: Duration = Duration::from_millis(200);
/// Pause after a failed accept, say for lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// An address in use could not be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}")]
pub struct Error {
    address: SocketAddr,
    source: io::Error,
}

/// Listeners on the same address, one for each thread. Port 0 is chosen once.
pub(super) fn listen(address: SocketAddr, threads: usize) -> Result<Vec<TcpListener>, Error> {
    let failed = |source| Error { address, source };
    let first = bind(address).map_err(failed)?;
    let bound = first.local_addr().map_err(failed)?;
    let mut listeners = vec![first];
    for _ in 1..threads {
        listeners.push(bind(bound).map_err(failed)?);
    }
    Ok(listeners)
}

/// One listener, beside which others may listen on the same address.
pub(in crate::ingress) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM.nonblocking().cloexec(),
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        // `0.0.0.0` and `[::]` are two listeners.
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    // Inherited by what is accepted.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Gives new connections to listeners that were opened after the `own` first ones on the same
/// address: those of the process that takes over. Without such, the kernel chooses as before
/// (net/core/sock_reuseport.c).
fn step_back(listener: &tokio::net::TcpListener, own: usize) -> nix::Result<()> {
    let own = u32::try_from(own).unwrap_or(u32::MAX);
    let step = |code, k| sock_filter {
        code,
        jt: 0,
        jf: 0,
        k,
    };
    // Index `own` plus a random number below `own`.
    let mut program = [
        // BPF_LD | BPF_W | BPF_ABS: SKF_AD_OFF + SKF_AD_RANDOM
        step(0x20, 0xffff_f000 + 56),
        // BPF_ALU | BPF_MOD | BPF_K
        step(0x94, own),
        // BPF_ALU | BPF_ADD | BPF_K
        step(0x04, own),
        // BPF_RET | BPF_A
        step(0x16, 0),
    ];
    let program = sock_fprog {
        len: 4,
        filter: program.as_mut_ptr(),
    };
    setsockopt(listener, sockopt::AttachReusePortCbpf, &program)
}

/// Lets no new connection begin, without an answer: the client asks again after a second, when
/// another listener has the address. Handshakes under way go on.
fn fall_silent(listener: &tokio::net::TcpListener) -> io::Result<()> {
    let program = [
        // BPF_LD | BPF_B | BPF_ABS: the flags of the TCP header
        SockFilter::new(0x30, 0, 0, 13),
        // BPF_JMP | BPF_JSET | BPF_K: SYN
        SockFilter::new(0x45, 0, 1, 0x02),
        // BPF_RET | BPF_K: nothing, or all of it
        SockFilter::new(0x06, 0, 0, 0),
        SockFilter::new(0x06, 0, 0, u32::MAX),
    ];
    SockRef::from(listener).attach_filter(&program)
}

/// Accepts until the worker drains; then what is in the queue already or on its way, and no more.
pub(super) async fn accept(worker: Rc<Worker>, listener: tokio::net::TcpListener, tls: bool) {
    let _counted = worker.listens();
    // When the next step to the end is due.
    let (mut due, mut silent) = (None, false);
    loop {
        let accepted = tokio::select! {
            biased;
            () = worker.drains(), if due.is_none() => {
                if let Err(error) = step_back(&listener, worker.threads()) {
                    tracing::debug!(%error, "new connections come until the end");
                }
                due = Some(Instant::now() + ON_THE_WAY);
                continue;
            }
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                // Other threads' listeners may have gone, with their places in the kernel's choice.
                if silent || fall_silent(&listener).is_err() {
                    break;
                }
                (silent, due) = (true, Some(Instant::now() + ON_THE_WAY));
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => begin(&worker, stream, peer, tls),
            Err(error) => {
                tracing::debug!(%error, "accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    let rest = std::future::poll_fn(|cx| {
        while let std::task::Poll::Ready(Ok((stream, peer))) = listener.poll_accept(cx) {
            begin(&worker, stream, peer, tls);
        }
        std::task::Poll::Ready(())
    });
    rest.await;
}

fn begin(worker: &Rc<Worker>, stream: tokio::net::TcpStream, peer: SocketAddr, tls: bool) {
    let Some(place) = worker.place() else {
        worker.meters().refused();
        // At once, without a queue of connections that are closing.
        let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
        return;
    };
    tokio::task::spawn_local(connection::serve(worker.clone(), place, stream, peer, tls));
}
