// SPDX-License-Identifier: Apache-2.0
//! Ports that are passed on to a Service byte by byte, TCP and UDP. They are opened and closed as
//! the ConfigMaps say; what goes on over TCP when a port is closed goes on.
//!
//! Threads of their own, one a core, that are started with the first port. Each has a socket of
//! its own for each port, between which the kernel spreads clients.

mod tcp;
mod udp;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio::task::{JoinHandle, LocalSet};

use super::table::{Settings, Stream, Streams, Table};
use crate::model::{Protocol, Target};

/// When to try again to open a port.
const RETRY: Duration = Duration::from_secs(5);

/// How ports are passed on.
#[derive(Debug, Clone)]
pub struct Options {
    /// Addresses that each port is opened on.
    pub addresses: Vec<IpAddr>,
    /// How many threads.
    pub threads: usize,
    /// TCP connections at a time, of each thread; more are reset.
    pub connections: usize,
    /// Where settings are.
    pub table: Arc<ArcSwap<Table>>,
}

/// The number of TCP connections that are open.
#[derive(Debug, Clone, Default)]
pub struct Open(Arc<AtomicUsize>);

impl Open {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    fn one(&self) -> One {
        self.0.fetch_add(1, Ordering::Relaxed);
        One(self.clone())
    }
}

/// Counts as a connection for as long as it is kept.
struct One(Open);

impl Drop for One {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Passes on what `streams` says, until its sender goes. Returns an error if a thread cannot be
/// started.
///
/// # Errors
/// No thread.
pub async fn run(
    options: Options,
    mut streams: watch::Receiver<Arc<Streams>>,
    open: Open,
) -> io::Result<()> {
    if streams
        .wait_for(|streams| !streams.is_empty())
        .await
        .is_err()
    {
        return Ok(());
    }
    for number in 0..options.threads {
        let (options, streams, open) = (options.clone(), streams.clone(), open.clone());
        std::thread::Builder::new()
            .name(format!("pass-{number}"))
            .spawn(move || thread(options, streams, open))?;
    }
    // Without a sender the threads end, too.
    while streams.changed().await.is_ok() {}
    Ok(())
}

fn thread(options: Options, streams: watch::Receiver<Arc<Streams>>, open: Open) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => LocalSet::new().block_on(&runtime, follow(options, streams, open)),
        Err(error) => tracing::error!(%error, "ports are not passed on"),
    }
}

/// One port, as it is at present.
struct Port {
    number: u16,
    stream: RefCell<Arc<Stream>>,
    turn: Cell<usize>,
    table: Arc<ArcSwap<Table>>,
    connections: usize,
    open: Open,
}

impl Port {
    fn settings(&self) -> Arc<Settings> {
        self.table.load().settings.clone()
    }

    /// All endpoints, beginning with the one whose turn it is.
    fn targets(&self) -> Vec<Target> {
        let endpoints = self.stream.borrow().endpoints.clone();
        let count = endpoints.len();
        let first = self.turn.replace(self.turn.get().wrapping_add(1));
        (0..count)
            .map(|n| endpoints[first.wrapping_add(n) % count])
            .collect()
    }

    fn has(&self, target: Target) -> bool {
        self.stream.borrow().endpoints.contains(&target)
    }
}

/// A port with what serves it, on one address each.
struct Served {
    port: Rc<Port>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Keeps this thread's sockets as `streams` says.
async fn follow(options: Options, mut streams: watch::Receiver<Arc<Streams>>, open: Open) {
    let mut served: BTreeMap<(Protocol, u16), Served> = BTreeMap::new();
    loop {
        let now = streams.borrow_and_update().clone();
        served.retain(|key, _| now.contains_key(key));
        for (key, stream) in now.iter() {
            if let Some(served) = served.get(key) {
                served.port.stream.replace(stream.clone());
                continue;
            }
            let port = Rc::new(Port {
                number: key.1,
                stream: RefCell::new(stream.clone()),
                turn: Cell::new(fastrand::usize(..)),
                table: options.table.clone(),
                connections: options.connections,
                open: open.clone(),
            });
            let each = options.addresses.iter();
            let tasks = each.map(|address| {
                let address = SocketAddr::new(*address, key.1);
                tokio::task::spawn_local(serve(key.0, port.clone(), address))
            });
            let tasks = tasks.collect();
            served.insert(*key, Served { port, tasks });
        }
        if streams.changed().await.is_err() {
            return;
        }
    }
}

/// Serves a port on one address, as soon as it can be opened.
async fn serve(protocol: Protocol, port: Rc<Port>, address: SocketAddr) {
    let mut said = false;
    loop {
        let result = match protocol {
            Protocol::Udp => udp::serve(port.clone(), address).await,
            _ => tcp::serve(port.clone(), address).await,
        };
        if let Err(error) = result
            && !said
        {
            let service = port.stream.borrow().service.clone();
            tracing::error!(%address, %service, %error, "a port cannot be opened, trying again");
            said = true;
        }
        tokio::time::sleep(RETRY).await;
    }
}
