// SPDX-License-Identifier: Apache-2.0
//! What one Service (or the node itself) contributes to the ruleset.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::ipvs::servers::Planned;
use super::nft::{ChainSpec, Element, SetSpec};
use crate::model::{Protocol, ServicePortName, Target};

/// Everything that must be in the kernel because of one Service.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Contribution {
    /// Chains that it needs, shared ones (as `lb-3`) and its own.
    pub chains: Vec<Arc<ChainSpec>>,
    /// Sets of its own.
    pub sets: Vec<Arc<SetSpec>>,
    /// Elements, ordered by set and key, each once.
    pub elements: Box<[Element]>,
    /// Its virtual servers, in IPVS mode.
    pub servers: Box<[Planned]>,
    /// Its ports as they were planned.
    pub ports: Box<[PortPlan]>,
    /// Its ports that have endpoints, but none here where the policy wants such.
    pub without_local: WithoutLocal,
}

/// Service ports of traffic policy Local that have endpoints, but none on the own node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WithoutLocal {
    /// By `internalTrafficPolicy`.
    pub inside: u32,
    /// By `externalTrafficPolicy`.
    pub outside: u32,
}

/// One service port as it was planned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortPlan {
    /// Name.
    pub name: ServicePortName,
    /// Protocol.
    pub protocol: Protocol,
    /// What it answers on.
    pub frontends: Box<[super::frontend::Frontend]>,
    /// Endpoints for policy Cluster; their places are the indices in the kernel.
    pub cluster: Arc<[Target]>,
    /// Endpoints for policy Local, likewise.
    pub local: Arc<[Target]>,
    /// All endpoints, also those that get no new connections. Only of a TCP port, and only if
    /// connections to endpoints that are gone are reset.
    pub present: Option<Arc<BTreeSet<Target>>>,
    /// The port's name for its own chains and maps, if it is sticky.
    pub sticky: Option<Arc<str>>,
}

impl PortPlan {
    /// Whether it sends anything to that endpoint.
    pub fn uses(&self, target: &Target) -> bool {
        self.cluster.contains(target) || self.local.contains(target)
    }
}
