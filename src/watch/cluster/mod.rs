// SPDX-License-Identifier: Apache-2.0
//! Watches an API server.

mod config_maps;
mod follow;
#[doc(hidden)]
pub mod fuzzing;
mod held;
mod ingress;
mod kind;
mod memory;
mod secrets;
#[cfg(test)]
mod tests;
mod trouble;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kube::{Api, Client};
use tokio::sync::mpsc::Sender;
use tracing::debug;

use self::follow::{Follow, Strategy};
use self::kind::{OtherNode, Thin};
use self::memory::Memory;
pub use self::memory::StateFile;
use super::wire::{EndpointSlice, Node, Service, ServiceCidr};
use crate::model::Event;
use crate::watch::Meters;
pub use ingress::{Scope, run_ingress};
pub use secrets::Wanted;

/// Since Kubernetes 1.34 a watch can begin with a list by default (KEP-3157): the server sends it
/// from memory, object by object, and neither side ever holds all of it.
const STREAMING_SINCE: (u32, u32) = (1, 34);

/// How long the server may take to tell its version, before lists come in pages.
const VERSION_PATIENCE: Duration = Duration::from_secs(5);

/// Where all kinds report to.
struct Shared {
    events: Sender<Event>,
    /// Kinds whose first list is not complete yet.
    unlisted: AtomicUsize,
    meters: Meters,
    memory: Memory,
}

/// Nobody receives events any more.
struct Closed;

impl Shared {
    async fn send(&self, event: Event) -> Result<(), Closed> {
        self.memory.told(&event);
        self.events.send(event).await.map_err(|_| Closed)
    }

    /// One more kind is complete. All events that belong to it have been sent.
    async fn listed(&self) -> Result<(), Closed> {
        match self.unlisted.fetch_sub(1, Ordering::AcqRel) {
            1 => self.send(Event::Synced).await,
            _ => Ok(()),
        }
    }
}

/// Which Nodes are watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nodes {
    /// The own one.
    Own,
    /// All of them: a second watch, of which only addresses are kept.
    All,
}

impl Nodes {
    /// Those that a mode needs: IPVS must not bind the address of another node.
    pub fn needed(ipvs: bool) -> Self {
        match ipvs {
            true => Nodes::All,
            false => Nodes::Own,
        }
    }
}

/// Watches Services, EndpointSlices, the Node `node_name` or all Nodes, and ServiceCIDRs until
/// nobody receives events any more.
///
/// [`Event::Synced`] is sent once, after the first complete list of each kind. A server that can't
/// be reached is tried again for ever, with growing and random pauses of at most 30 s. It is enough
/// if Services and EndpointSlices can be read: an unknown Node, and ServiceCIDRs that the server
/// does not have or does not show, do not hold up anything.
///
/// With a `state_file`, what is there is kept in it; what it holds is served for as long as the
/// server has not listed everything.
pub async fn run(
    client: Client,
    (node_name, nodes): (String, Nodes),
    state_file: Option<StateFile>,
    events: Sender<Event>,
    meters: Meters,
) {
    let shared = &Shared {
        events,
        unlisted: AtomicUsize::new(if nodes == Nodes::All { 5 } else { 4 }),
        memory: Memory::new(state_file, meters.clone()),
        meters,
    };
    let strategy = strategy(&client).await;
    debug!(?strategy, "watching the API server");
    let api = Clients(client);
    let services = follow::follow::<Service>(
        api.all(),
        "!service.kubernetes.io/service-proxy-name",
        "spec.clusterIP!=None",
        strategy,
        shared,
    );
    let slices = follow::follow::<EndpointSlice>(
        api.all(),
        "!service.kubernetes.io/headless",
        "",
        strategy,
        shared,
    );
    let own = format!("metadata.name={node_name}");
    let node = follow::follow::<Node>(api.all(), "", &own, strategy, shared);
    let not_own = format!("metadata.name!={node_name}");
    let others = async {
        match nodes {
            Nodes::Own => std::future::pending().await,
            Nodes::All => {
                follow::follow::<OtherNode>(api.all(), "", &not_own, strategy, shared).await
            }
        }
    };
    let cidrs = follow::follow::<ServiceCidr>(api.all(), "", "", strategy, shared);
    // Each ends only when the receiver is gone, which then all find out; none needs to wait.
    tokio::select! {
        Closed = services => {}
        Closed = slices => {}
        Closed = node => {}
        Closed = others => {}
        Closed = cidrs => {}
        () = shared.memory.write() => {}
        () = shared.events.closed() => {}
    }
}

/// What all kinds are asked from.
#[derive(Clone)]
struct Clients(Client);

impl Clients {
    fn all<K: Follow>(&self) -> Api<Thin<K>> {
        Api::all(self.0.clone())
    }

    /// In one namespace, or in all.
    fn within<K: Follow>(&self, namespace: Option<&str>) -> Api<Thin<K>> {
        match namespace {
            None => self.all(),
            Some(namespace) => Api::namespaced_with(self.0.clone(), namespace, &()),
        }
    }
}

async fn strategy(client: &Client) -> Strategy {
    match tokio::time::timeout(VERSION_PATIENCE, client.apiserver_version()).await {
        Ok(Ok(version)) if since(&version.major, &version.minor) >= STREAMING_SINCE => {
            Strategy::Streaming
        }
        _ => Strategy::Pages,
    }
}

/// Major and minor version; some providers write the minor one as `34+`.
fn since(major: &str, minor: &str) -> (u32, u32) {
    let number = |text: &str| {
        let digits = text
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len());
        text[..digits].parse().unwrap_or(0)
    };
    (number(major), number(minor))
}
