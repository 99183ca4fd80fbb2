// SPDX-License-Identifier: Apache-2.0
//! What a packet meets on its way, as [`follow`](super::follow) records it.

use std::net::IpAddr;
use std::sync::Arc;

use super::Fate;
use crate::plan::ipvs::{ServerKey, VirtualServer};
use crate::plan::nft::{ChainName, Element, Hook, Rule, SetName};

/// A packet's way.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Way {
    /// What all packets like it meet, until their fate is sealed.
    pub steps: Vec<Step>,
    /// What may become of it, in order, each with what it meets from then on.
    pub fates: Vec<(Fate, Vec<Step>)>,
}

/// One thing that a packet meets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The host sends it, and the kernel takes the destination for its source, too, as that is an
    /// address of the host.
    Source(IpAddr),
    /// A rule.
    Rule(RuleStep),
    /// IPVS looks for a virtual server.
    Server(ServerKey, Option<Arc<VirtualServer>>),
}

/// A rule that was tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleStep {
    /// The hook that is run.
    pub hook: Hook,
    /// The rule's chain.
    pub chain: ChainName,
    /// Its place there, from 0.
    pub index: usize,
    /// The rule.
    pub rule: Rule,
    /// What of the kernel's sets and maps it found its keys in.
    pub found: Vec<Found>,
    /// What came of it.
    pub outcome: Outcome,
}

/// An element that a rule found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Of a permanent set or map.
    Element(Element),
    /// Of a map of sticky clients.
    Client {
        /// The map.
        map: SetName,
        /// The client.
        client: IpAddr,
        /// Where it went before.
        endpoint: IpAddr,
    },
}

/// What came of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The condition at this place does not hold.
    Unmet(usize),
    /// Its map holds nothing for the packet.
    NotInMap,
    /// It did what it does.
    Done,
}
