// SPDX-License-Identifier: Apache-2.0
//! Chains that send a connection on. Shared ones are named by their shape (`lb-3`: one of three
//! endpoints), so their number does not grow with Services; a sticky service port has its own.

use std::sync::Arc;

use super::nft::set::{NODEPORT, VIP};
use super::nft::{
    Action, ChainName, ChainSpec, DataKind, Field, Match, Rule, SetId, SetName, SetSpec,
};
use crate::model::Protocol;

/// Indices of a list for policy Local begin here, so that a frontend can have two lists.
pub const LOCAL_OFFSET: u32 = 32_768;
/// The most endpoints that a list can hold.
pub const MAX_ENDPOINTS: usize = LOCAL_OFFSET as usize;

/// Where the connection came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entrance {
    /// At a VIP: the map's key begins with the address.
    Vip,
    /// At a NodePort.
    Node,
}

/// One of a frontend's two lists of endpoints in the kernel's map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Indices from 0.
    First,
    /// Indices from [`LOCAL_OFFSET`].
    Second,
}

impl Place {
    /// The index of the list's first endpoint.
    pub fn offset(self) -> u32 {
        match self {
            Place::First => 0,
            Place::Second => LOCAL_OFFSET,
        }
    }
}

fn chain(name: String, rules: Vec<Rule>) -> Arc<ChainSpec> {
    Arc::new(ChainSpec {
        name: ChainName(name.into()),
        base: None,
        rules,
    })
}

/// The chain that takes one of `count` endpoints at random: `lb-3`, `node-lb-3`, and for the
/// second list `local-3`, `node-local-3`.
pub fn random(entrance: Entrance, place: Place, count: usize) -> Arc<ChainSpec> {
    let list = match place {
        Place::First => "lb",
        Place::Second => "local",
    };
    let (prefix, frontend, map) = match entrance {
        Entrance::Vip => ("", VIP, SetId::Endpoints),
        Entrance::Node => ("node-", NODEPORT, SetId::NodeportEndpoints),
    };
    let index = Field::Random {
        modulus: count as u32,
        offset: place.offset(),
    };
    let key = [frontend, &[index]].concat();
    chain(
        format!("{prefix}{list}-{count}"),
        vec![Rule::always(Action::Dnat(key, map.into()))],
    )
}

/// Resets a connection whose entry in connection tracking is gone: its endpoint is, too.
pub fn reset() -> Rule {
    Rule::when([Match::MidStream], Action::Reset)
}

/// The same chain, which first resets what is in the midst of a connection.
pub fn resetting(chain: &ChainSpec) -> Arc<ChainSpec> {
    let rules = [reset()].into_iter().chain(chain.rules.iter().cloned());
    Arc::new(ChainSpec {
        rules: rules.collect(),
        ..chain.clone()
    })
}

/// The chain that drops, as no endpoint is on this node; only used where connections are reset.
pub fn no_local() -> Arc<ChainSpec> {
    chain("no-local".into(), vec![reset(), Rule::always(Action::Drop)])
}

/// The chain that lets only permitted sources go on to another one.
pub fn ranges(next: &ChainName) -> Arc<ChainSpec> {
    let key = [VIP, &[Field::Source]].concat();
    let permitted = Match::InSet(key, SetId::SourceRanges.into());
    let rules = vec![
        Rule::when([permitted], Action::Goto(next.clone())),
        Rule::always(Action::Drop),
    ];
    chain(format!("ranges-{next}"), rules)
}

/// A sticky service port's map from client to endpoint, one for each target port: nft 1.0.6 can't
/// load a statement that enters an IPv6 address and a port.
pub fn affinity_map(id: &str, local: bool, port: u16, capacity: u32) -> SetSpec {
    let infix = if local { "local/" } else { "" };
    clients_map(format!("affinity-{id}/{infix}{port}").into(), capacity)
}

/// A map from client to endpoint.
pub fn clients_map(name: Arc<str>, capacity: u32) -> SetSpec {
    SetSpec {
        name: SetName::Own(name),
        key: vec![Field::Source],
        data: DataKind::Address,
        interval: false,
        dynamic: Some(capacity),
    }
}

/// What tells the sticky chains of one port apart: it can have one for each entrance and list.
pub fn sticky_suffix(entrance: Entrance, place: Place, local: bool) -> &'static str {
    match (entrance, place, local) {
        (Entrance::Vip, Place::First, false) => "lb",
        (Entrance::Vip, Place::First, true) => "lb-local",
        (Entrance::Vip, Place::Second, _) => "local",
        (Entrance::Node, Place::First, _) => "node-lb",
        (Entrance::Node, Place::Second, _) => "node-local",
    }
}

/// The chain that sends a known client where it was before, and others on to `next`.
pub fn sticky(
    id: &str,
    suffix: &str,
    protocol: Protocol,
    maps: &[(u16, SetName)],
    next: &ChainName,
) -> Arc<ChainSpec> {
    let known = |(port, map): &(u16, SetName)| {
        let (key, map, port) = (vec![Field::Source], map.clone(), *port);
        Rule::when(
            [Match::ProtocolIs(protocol)],
            Action::DnatTo { key, map, port },
        )
    };
    let mut rules: Vec<Rule> = maps.iter().map(known).collect();
    rules.push(Rule::always(Action::Goto(next.clone())));
    chain(format!("sticky-{id}/{suffix}"), rules)
}

/// The chain that remembers where a client went, run once the connection has been translated.
/// The local maps hold the client's endpoint on this node.
pub fn learn(
    id: &str,
    timeout: u32,
    cluster: &[(u16, SetName)],
    local: &[(u16, SetName)],
) -> Arc<ChainSpec> {
    let update = |set: &SetName| Action::Update {
        set: set.clone(),
        key: vec![Field::OriginalSource],
        timeout,
        data: vec![Field::Destination],
    };
    let learn = |(port, map): &(u16, SetName)| Rule::when([Match::PortIs(*port)], update(map));
    // The hairpin set holds each local endpoint as a pair of equal addresses.
    let pair = vec![
        Field::Destination,
        Field::Destination,
        Field::Protocol,
        Field::Port,
    ];
    let here = Match::InSet(pair, SetId::Hairpin.into());
    let learn_local = |(port, map): &(u16, SetName)| {
        Rule::when([Match::PortIs(*port), here.clone()], update(map))
    };
    let rules = cluster
        .iter()
        .map(learn)
        .chain(local.iter().map(learn_local))
        .collect();
    chain(format!("learn-{id}"), rules)
}
