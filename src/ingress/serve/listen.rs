// SPDX-License-Identifier: Apache-2.0
//! Listeners: one of each address for each thread, between which the kernel spreads connections.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::connection;
use super::worker::Worker;

/// Connections waiting to be accepted; `net.core.somaxconn` may allow less.
const BACKLOG: i32 = 4096;
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

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
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

/// Accepts until the worker drains; then what is in the queue already, and no more.
pub(super) async fn accept(worker: Rc<Worker>, listener: tokio::net::TcpListener, tls: bool) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = worker.drains() => break,
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
