// SPDX-License-Identifier: Apache-2.0
//! What outlives a change in the kernel and has to be cleared away: conntrack entries, and
//! remembered clients, that point to endpoints which are gone. docs/connections.md says what
//! becomes of whom.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use super::balance;
use super::contribution::{Contribution, PortPlan};
use super::frontend::Frontend;
use super::nft::element::KeyPart;
use super::nft::{Key, SetId, SetName};
use crate::model::{IpFamily, Protocol, Target};

/// Connections through a frontend are stale unless they go to one of the live endpoints.
/// That includes connections that began before the frontend existed and were never translated;
/// but in TCP those go to a program that answers, and are not meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaleFlows {
    /// TCP ends by itself, so it is among these only where `--reset-stale-tcp` asks for it.
    pub protocol: Protocol,
    /// The frontend's address; none for a NodePort, which any local address may have been.
    pub address: Option<IpAddr>,
    /// The frontend's port.
    pub port: u16,
    /// Endpoints that connections may stay with. In UDP and SCTP those that serve; in TCP all that
    /// there are, since one that takes no new connections may still end its old ones in peace.
    pub live: Arc<BTreeSet<Target>>,
}

/// Clients in an affinity map are stale unless they are held by one of the live endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaleClients {
    /// The map.
    pub map: SetName,
    /// Addresses of endpoints that may hold clients.
    pub live: BTreeSet<IpAddr>,
}

fn targets(plan: &PortPlan) -> BTreeSet<Target> {
    plan.cluster
        .iter()
        .chain(plan.local.iter())
        .copied()
        .collect()
}

fn same_port<'a>(among: &'a Contribution, port: &PortPlan) -> Option<&'a PortPlan> {
    among
        .ports
        .iter()
        .find(|p| p.name == port.name && p.protocol == port.protocol)
}

/// The flows that may be stale after `old` became `new`. Nothing for changes that touch no UDP or
/// SCTP port, and none where endpoints only came.
pub fn flows(old: &Contribution, new: &Contribution) -> Vec<StaleFlows> {
    let mut stale = Vec::new();
    for port in new.ports.iter().filter(|p| p.protocol != Protocol::Tcp) {
        let live = targets(port);
        let before = same_port(old, port);
        let left = before.is_some_and(|b| targets(b).iter().any(|t| !live.contains(t)));
        let began = before.is_none_or(|b| targets(b).is_empty()) && !live.is_empty();
        let live = Arc::new(live);
        for frontend in &port.frontends {
            let known = before.is_some_and(|b| b.frontends.contains(frontend));
            if left || began || !known {
                stale.push(flow(port, frontend, live.clone()));
            }
        }
    }
    for port in old.ports.iter().filter(|p| p.protocol != Protocol::Tcp) {
        let after = same_port(new, port);
        let gone = port.frontends.iter().filter(|f| {
            // Another port of the same Service may have taken it over.
            !new.ports.iter().any(|p| p.frontends.contains(f))
                && after.is_none_or(|a| !a.frontends.contains(f))
        });
        stale.extend(gone.map(|frontend| flow(port, frontend, Arc::default())));
    }
    stale
}

/// The TCP connections that may have lost their endpoint when `old` became `new`. A Service or
/// frontend that goes is no reason: its endpoints may be well.
pub fn connections(old: &Contribution, new: &Contribution) -> Vec<StaleFlows> {
    let left = |port: &&PortPlan| {
        let before = same_port(old, port).and_then(|b| b.present.as_ref());
        let now = port.present.as_ref();
        before.is_some_and(|b| now.is_some_and(|n| !b.is_subset(n)))
    };
    of_frontends(new.ports.iter().filter(left))
}

/// All TCP connections of a contribution, for a start: an endpoint may have gone unseen.
pub fn all_connections(contribution: &Contribution) -> Vec<StaleFlows> {
    of_frontends(contribution.ports.iter())
}

/// The connections through all frontends of these ports that know their endpoints.
fn of_frontends<'a>(ports: impl Iterator<Item = &'a PortPlan>) -> Vec<StaleFlows> {
    ports
        .filter_map(|port| Some((port, port.present.as_ref()?)))
        .flat_map(|(port, present)| {
            let of = |frontend| flow(port, frontend, present.clone());
            port.frontends.iter().map(of)
        })
        .collect()
}

/// The UDP and SCTP flows of frontends that an earlier process served, by the keys of endpoints
/// that it has left in the kernel, and that nobody serves `now`.
pub fn abandoned<'a>(
    held: impl IntoIterator<Item = &'a (SetId, Key)>,
    family: IpFamily,
    now: impl IntoIterator<Item = &'a Contribution>,
) -> Vec<StaleFlows> {
    let mut left: BTreeSet<_> = held
        .into_iter()
        .filter_map(|(set, key)| served(*set, key, family))
        .collect();
    if left.is_empty() {
        return Vec::new();
    }
    for frontend in now
        .into_iter()
        .flat_map(|c| &c.ports)
        .flat_map(|p| &p.frontends)
    {
        left.remove(&(frontend.protocol, frontend.address, frontend.port));
    }
    let flow = |(protocol, address, port)| StaleFlows {
        protocol,
        address,
        port,
        live: Arc::default(),
    };
    left.into_iter().map(flow).collect()
}

/// The frontend of a key of an endpoint map, unless it is TCP.
fn served(set: SetId, key: &Key, family: IpFamily) -> Option<(Protocol, Option<IpAddr>, u16)> {
    let parts = key.parts(&set.spec().key, family);
    let (address, rest) = match parts.split_first()? {
        (KeyPart::Address(address), rest) => (Some(*address), rest),
        _ => (None, parts.as_slice()),
    };
    let [KeyPart::Protocol(number), KeyPart::Port(port), ..] = rest else {
        return None;
    };
    let protocol = Protocol::ALL.into_iter().find(|p| p.number() == *number);
    let protocol = protocol.filter(|p| *p != Protocol::Tcp)?;
    Some((protocol, address, *port))
}

fn flow(port: &PortPlan, frontend: &Frontend, live: Arc<BTreeSet<Target>>) -> StaleFlows {
    StaleFlows {
        protocol: port.protocol,
        address: frontend.address,
        port: frontend.port,
        live,
    }
}

/// The affinity maps that may hold stale clients after `old` became `new`.
pub fn clients(old: &Contribution, new: &Contribution) -> Vec<StaleClients> {
    let left = |port: &&PortPlan| {
        let before = same_port(old, port).map(targets).unwrap_or_default();
        before != targets(port) && !before.is_subset(&targets(port))
    };
    new.ports
        .iter()
        .filter(left)
        .flat_map(|port| maps(port, new))
        .collect()
}

/// All affinity maps of a contribution, for a start: who knows what they hold.
pub fn all_clients(contribution: &Contribution) -> Vec<StaleClients> {
    contribution
        .ports
        .iter()
        .flat_map(|port| maps(port, contribution))
        .collect()
}

fn maps(port: &PortPlan, contribution: &Contribution) -> Vec<StaleClients> {
    let Some(id) = &port.sticky else {
        return Vec::new();
    };
    let of = |local: bool| {
        let live = if local {
            port.local.iter().copied().collect()
        } else {
            targets(port)
        };
        let ports: BTreeSet<u16> = live.iter().map(|t: &Target| t.port).collect();
        ports.into_iter().filter_map(move |target_port| {
            let map = balance::affinity_map(id, local, target_port, 0).name;
            let exists = contribution.sets.iter().any(|s| s.name == map);
            let on_port = live.iter().filter(|t| t.port == target_port);
            let live = on_port.map(|t| t.address).collect();
            exists.then_some(StaleClients { map, live })
        })
    };
    of(false).chain(of(true)).collect()
}
