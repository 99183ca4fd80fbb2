// SPDX-License-Identifier: Apache-2.0
//! NodePorts on loopback (`--localhost-nodeports`): a TCP proxy in user space.
//!
//! The kernel translates nothing that goes to a loopback address unless `route_localnet` is on,
//! which lets neighbours reach what a host serves on 127.0.0.1 (CVE-2020-8558). So the rules leave
//! loopback alone, and this opens `127.0.0.1:PORT` and `[::1]:PORT` for each TCP NodePort, and
//! connects to the Service by the rules, as any client of this host. No sysctl is touched.
//!
//! | module | does |
//! |---|---|
//! | `wanted` | which ports there are, and where each leads: pure |
//! | `serve` | opens and closes listeners, accepts |
//! | `relay` | carries one connection |
//!
//! The loop tells changes to [`NodePorts`] and never waits. Everything else runs in a thread of
//! its own, so that a big transfer keeps no health check from being answered.

mod relay;
mod serve;
#[cfg(test)]
mod tests;
mod wanted;

use std::io;
use std::net::IpAddr;
use std::thread;

use tokio::runtime::Builder;
use tokio::sync::watch;

use self::wanted::{Ports, Wanted};
use crate::model::{Changes, IpFamily, State};

/// Tells the proxy which NodePorts there are. Dropping it ends the proxy and its connections.
#[derive(Debug)]
pub struct NodePorts {
    ports: Ports,
    wanted: watch::Sender<Wanted>,
}

impl NodePorts {
    /// Starts the proxy; nothing is open yet.
    ///
    /// # Errors
    /// If there can be no further thread.
    pub fn start() -> io::Result<Self> {
        tracing::info!(
            "TCP NodePorts are served on 127.0.0.1 and [::1]; those of UDP and SCTP are not"
        );
        Self::bounded(serve::CONNECTIONS)
    }

    /// With room for so many connections at a time.
    fn bounded(connections: usize) -> io::Result<Self> {
        let (sender, wanted) = watch::channel(Wanted::default());
        let runtime = Builder::new_current_thread().enable_all().build()?;
        thread::Builder::new()
            .name("localhost".into())
            .spawn(move || runtime.block_on(serve::serve(wanted, connections)))?;
        Ok(Self {
            ports: Ports::default(),
            wanted: sender,
        })
    }

    /// Takes in what has changed, once the rules for it are in the kernel. `node_addresses` are
    /// the addresses that serve the NodePorts of a family.
    pub fn update(
        &mut self,
        state: &State,
        changes: &Changes,
        families: &[IpFamily],
        node_addresses: impl Fn(IpFamily) -> Option<IpAddr>,
    ) {
        let ports = &mut self.ports;
        self.wanted.send_if_modified(|wanted| {
            ports.update(wanted, state, changes, families, node_addresses)
        });
    }
}
