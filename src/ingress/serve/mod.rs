// SPDX-License-Identifier: Apache-2.0
//! Serves clients: threads that share nothing but what is never changed, each with listeners,
//! connections and a runtime of its own.

mod client;
mod connection;
mod io;
pub(super) mod listen;
pub(super) mod proxy_protocol;
pub(crate) mod state;
pub(crate) mod worker;

use std::net::{SocketAddr, TcpListener};
use std::num::NonZero;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::oneshot;

use self::worker::{Parts, Worker};
use super::access_log::AccessLog;
use super::keep::Budget;
use super::meters::Meters;
use super::nginx_metrics::NginxMetrics;
use super::table::Table;
use super::tls;

pub(crate) use self::client::{Client, trusted};

/// How to serve.
#[derive(Debug)]
pub struct ServeOptions {
    /// Where HTTP/1.1 and HTTP/2 without TLS are spoken.
    pub http: Vec<SocketAddr>,
    /// Where TLS is spoken.
    pub https: Vec<SocketAddr>,
    /// How many threads; 0 for one for each core.
    pub threads: usize,
    /// Connections at a time, of all threads together; more are reset.
    pub connections: usize,
    /// What is counted.
    pub meters: Meters,
    /// Where requests are logged, if anywhere.
    pub access_log: Option<AccessLog>,
    /// Metrics by ingress-nginx's names, if somebody wants them.
    pub nginx: Option<NginxMetrics>,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            http: Vec::new(),
            https: Vec::new(),
            threads: 0,
            connections: 16_384,
            meters: Meters::default(),
            access_log: None,
            nginx: None,
        }
    }
}

/// Why serving could not begin.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address could not be listened on.
    #[error(transparent)]
    Listen(#[from] listen::Error),
    /// No TLS.
    #[error(transparent)]
    Tls(#[from] tls::Error),
    /// A thread could not be started.
    #[error("cannot start a serving thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// Threads that serve. Dropping it ends them at once.
#[derive(Debug)]
pub struct Server {
    http: Vec<SocketAddr>,
    https: Vec<SocketAddr>,
    threads: Vec<Thread>,
}

#[derive(Debug)]
struct Thread {
    stop: oneshot::Sender<Instant>,
    stopped: oneshot::Receiver<usize>,
}

/// A listener, and whether TLS is spoken on it.
type Listener = (TcpListener, bool);

impl Server {
    /// Begins to serve what `table` says, at any time.
    ///
    /// # Errors
    ///
    /// An address that cannot be listened on is named.
    pub fn start(
        options: ServeOptions,
        table: Arc<ArcSwap<Table>>,
        store: Arc<tls::Store>,
    ) -> Result<Self, Error> {
        let count = match options.threads {
            0 => std::thread::available_parallelism().map_or(1, NonZero::get),
            count => count,
        };
        let parts = Parts {
            table,
            meters: options.meters,
            guard: Arc::default(),
            bodies: Budget::default(),
            log: options.access_log,
            tls: tls::server_config(store)?,
            limit: options.connections.div_ceil(count),
            threads: count,
            nginx: options.nginx,
        };
        let mut listeners: Vec<Vec<Listener>> = (0..count).map(|_| Vec::new()).collect();
        let mut open = |addresses: &[SocketAddr], tls| -> Result<Vec<SocketAddr>, Error> {
            let mut bound = Vec::new();
            for address in addresses {
                let opened = listen::listen(*address, count)?;
                bound.extend(opened.first().and_then(|first| first.local_addr().ok()));
                for (own, listener) in listeners.iter_mut().zip(opened) {
                    own.push((listener, tls));
                }
            }
            Ok(bound)
        };
        let (http, https) = (open(&options.http, false)?, open(&options.https, true)?);
        let threads = listeners.into_iter().enumerate();
        let threads = threads.map(|(n, own)| spawn(n, own, parts.clone()));
        Ok(Self {
            http,
            https,
            threads: threads.collect::<Result<_, _>>()?,
        })
    }

    /// The addresses of `ServeOptions::http`, with the ports that were chosen for 0.
    pub fn http(&self) -> &[SocketAddr] {
        &self.http
    }

    /// The addresses of `ServeOptions::https`, with the ports that were chosen for 0.
    pub fn https(&self) -> &[SocketAddr] {
        &self.https
    }

    /// Takes no new connections, ends the others once they have no request under way, and all
    /// after `deadline`. Gives how many had to be ended so.
    pub async fn drain(self, deadline: Duration) -> usize {
        let deadline = Instant::now() + deadline;
        let mut left = 0;
        let mut waiting = Vec::new();
        for thread in self.threads {
            // A thread that is gone has nothing to be ended.
            let _ = thread.stop.send(deadline);
            waiting.push(thread.stopped);
        }
        for stopped in waiting {
            left += stopped.await.unwrap_or(0);
        }
        left
    }
}

fn spawn(number: usize, listeners: Vec<Listener>, parts: Parts) -> Result<Thread, Error> {
    let (stop, stopping) = oneshot::channel();
    let (tell, stopped) = oneshot::channel();
    let (begun, beginning) = sync_channel(1);
    std::thread::Builder::new()
        .name(format!("serve-{number}"))
        .spawn(move || {
            // A runtime stays on the thread that made it.
            let runtime = Builder::new_current_thread()
                .enable_all()
                .build_local(LocalOptions::default());
            let runtime = match runtime {
                Ok(runtime) => runtime,
                Err(error) => return begun.send(Err(error)).unwrap_or(()),
            };
            // Somebody waits for it.
            let _ = begun.send(Ok(()));
            let left = runtime.block_on(run(listeners, parts, stopping));
            let _ = tell.send(left);
        })?;
    beginning
        .recv()
        .unwrap_or_else(|_| Err(std::io::Error::other("it ended")))?;
    Ok(Thread { stop, stopped })
}

/// One thread: serves until it is told to stop.
async fn run(listeners: Vec<Listener>, parts: Parts, stop: oneshot::Receiver<Instant>) -> usize {
    let worker = Worker::new(parts);
    tokio::task::spawn_local(worker.clone().sweep());
    for (listener, tls) in listeners {
        match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => {
                tokio::task::spawn_local(listen::accept(worker.clone(), listener, tls));
            }
            Err(error) => tracing::error!(%error, "a listener is not served"),
        }
    }
    match stop.await {
        Ok(deadline) => worker.drain(deadline).await,
        Err(_) => 0,
    }
}
