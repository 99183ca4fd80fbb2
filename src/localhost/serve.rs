// SPDX-License-Identifier: Apache-2.0
//! Opens and closes the loopback ports, and accepts connections within bounds.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

use super::relay::{relay, reset};
use super::wanted::Wanted;
use crate::observe::listeners::Listeners;

/// Connections at a time, of all ports together. Each takes two file descriptors and, while bytes
/// are under way, two buffers (`relay::BUFFER`).
pub(super) const CONNECTIONS: usize = 2_048;
/// How long to wait before a port that could not be opened is tried again: another agent that is
/// being replaced holds it for a moment, another program for longer.
const RETRY: Duration = Duration::from_secs(1);
/// Pause after a failed accept, say for lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Keeps the wanted ports open until nobody can want any more.
pub(super) async fn serve(mut wanted: watch::Receiver<Wanted>, limit: usize) {
    let connections = Arc::new(Connections::new(limit));
    let mut listeners = Listeners::new("localhost NodePort");
    loop {
        let now = wanted.borrow_and_update().clone();
        let targets = wanted.clone();
        listeners
            .reconcile(
                &now.listeners(),
                |address| now.name(address),
                |listener, address, ()| {
                    accept(listener, address, targets.clone(), connections.clone())
                },
            )
            .await;
        tokio::select! {
            changed = wanted.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(RETRY), if listeners.incomplete() => {}
        }
    }
}

/// Accepts for ever. A connection outlives its listener, as one that the kernel translates
/// outlives its Service.
async fn accept(
    listener: TcpListener,
    address: SocketAddr,
    wanted: watch::Receiver<Wanted>,
    connections: Arc<Connections>,
) -> Infallible {
    loop {
        match listener.accept().await {
            // With `route_localnet`, which portmap plugins set, a neighbour can get here.
            Ok((client, peer)) if !peer.ip().is_loopback() => reset(&client),
            Ok((client, _)) => {
                let target = wanted.borrow().target(address);
                match target {
                    Some(target) => connections.add(client, target),
                    None => reset(&client),
                }
            }
            Err(error) => {
                tracing::debug!(%error, "accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Counts connections.
struct Connections {
    limit: usize,
    free: Arc<Semaphore>,
    /// Whether it has been said that there are too many.
    reported: AtomicBool,
}

impl Connections {
    fn new(limit: usize) -> Self {
        Self {
            limit,
            free: Arc::new(Semaphore::new(limit)),
            reported: AtomicBool::new(false),
        }
    }

    /// Carries a connection, or resets it if there are too many: a client that waits in a queue
    /// behind idle connections would wait for ever.
    fn add(&self, client: TcpStream, target: SocketAddr) {
        let Ok(permit) = self.free.clone().try_acquire_owned() else {
            reset(&client);
            if !self.reported.swap(true, Ordering::Relaxed) {
                tracing::warn!(
                    limit = self.limit,
                    "too many connections to localhost NodePorts; further ones are reset"
                );
            }
            return;
        };
        if self.free.available_permits() > self.limit / 2 {
            self.reported.store(false, Ordering::Relaxed);
        }
        tokio::spawn(async move {
            relay(client, target).await;
            drop(permit);
        });
    }
}
