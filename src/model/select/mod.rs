// SPDX-License-Identifier: Apache-2.0
//! Which endpoints of a service port get traffic (kube-proxy: `topology.go`).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::{EndpointSlice, Hints, IpFamily, Node, Protocol, Service, SliceEndpoint};

/// Where a packet may be sent: an endpoint's address and target port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    /// Address of the endpoint.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::net::SocketAddr::new(self.address, self.port).fmt(f)
    }
}

/// An endpoint of one service port, usable or not.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// Address and port.
    pub target: Target,
    /// The slice's entry for it.
    pub endpoint: &'a SliceEndpoint,
    /// Whether it runs on the own node.
    pub local: bool,
}

/// The endpoints that a service port sends traffic to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Choice {
    /// For traffic policy Cluster.
    pub cluster: Vec<Target>,
    /// For traffic policy Local.
    pub local: Vec<Target>,
    /// Whether any endpoint anywhere is usable; if not, traffic is rejected under either policy.
    pub any: bool,
}

/// Why an endpoint gets no traffic under policy Cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unused {
    /// Not ready, and not (serving and terminating) either.
    NotReady,
    /// Terminating, while others are ready.
    Terminating,
    /// Every ready endpoint has a node hint, and this one's names another node.
    OtherNode,
    /// Every ready endpoint has a zone hint, and this one's names another zone.
    OtherZone,
}

impl std::fmt::Display for Unused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Unused::NotReady => "not ready",
            Unused::Terminating => "terminating",
            Unused::OtherNode => "hinted for another node",
            Unused::OtherZone => "hinted for another zone",
        })
    }
}

/// The topology mode of a service port, decided over its ready endpoints: one missing hint
/// disables a mode for all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Topology<'a> {
    None,
    Node(&'a str),
    Zone(&'a str),
}

/// All endpoints of a service port in one family, by address and port. An endpoint that several
/// slices name is taken once: a ready entry before others, a serving one before the rest.
pub fn candidates<'a>(
    slices: impl IntoIterator<Item = &'a EndpointSlice>,
    port_name: &str,
    protocol: Protocol,
    family: IpFamily,
    node: &Node,
) -> Vec<Candidate<'a>> {
    let mut found: BTreeMap<Target, Candidate<'a>> = BTreeMap::new();
    for slice in slices {
        let ports = slice
            .ports
            .iter()
            .filter(|p| *p.name == *port_name && p.protocol == protocol);
        for port in ports {
            for endpoint in slice
                .endpoints
                .iter()
                .filter(|e| IpFamily::of(e.address) == family)
            {
                let target = Target {
                    address: endpoint.address,
                    port: port.port,
                };
                let local = !node.name.is_empty() && endpoint.node.as_ref() == Some(&node.name);
                let candidate = Candidate {
                    target,
                    endpoint,
                    local,
                };
                found
                    .entry(target)
                    .and_modify(|old| {
                        if rank(&candidate) > rank(old) {
                            *old = candidate;
                        }
                    })
                    .or_insert(candidate);
            }
        }
    }
    found.into_values().collect()
}

/// Preference among several entries for the same address and port.
fn rank(candidate: &Candidate<'_>) -> (bool, bool, bool, bool) {
    let c = candidate.endpoint.conditions;
    (!c.terminating, c.ready, c.serving, candidate.local)
}

impl Candidate<'_> {
    fn ready(&self) -> bool {
        self.endpoint.conditions.ready
    }

    fn serving_terminating(&self) -> bool {
        self.endpoint.conditions.serving && self.endpoint.conditions.terminating
    }

    fn hints(&self) -> Option<&Hints> {
        self.endpoint.hints.as_deref()
    }

    fn fits(&self, topology: Topology<'_>) -> bool {
        let has = |names: &[std::sync::Arc<str>], name: &str| names.iter().any(|n| **n == *name);
        match topology {
            Topology::None => true,
            Topology::Node(node) => self.hints().is_some_and(|h| has(&h.nodes, node)),
            Topology::Zone(zone) => self.hints().is_some_and(|h| has(&h.zones, zone)),
        }
    }
}

fn topology<'a>(candidates: &[Candidate<'_>], node: &'a Node) -> Topology<'a> {
    let ready = || candidates.iter().filter(|c| c.ready());
    let node_hint = |c: &Candidate<'_>| c.hints().is_some_and(|h| !h.nodes.is_empty());
    let zone_hint = |c: &Candidate<'_>| c.hints().is_some_and(|h| !h.zones.is_empty());
    let by_node = Topology::Node(&node.name);
    if ready().all(node_hint) && ready().any(|c| c.fits(by_node)) {
        return by_node;
    }
    if let Some(zone) = &node.zone {
        let by_zone = Topology::Zone(zone);
        if ready().all(zone_hint) && ready().any(|c| c.fits(by_zone)) {
            return by_zone;
        }
    }
    Topology::None
}

/// Chooses for both policies. `wants_local` is whether any frontend of the service port has
/// policy Local.
pub fn choose(candidates: &[Candidate<'_>], wants_local: bool, node: &Node) -> Choice {
    let pick = |usable: &dyn Fn(&Candidate<'_>) -> bool| -> Vec<Target> {
        candidates
            .iter()
            .filter(|c| usable(c))
            .map(|c| c.target)
            .collect()
    };
    let topology = topology(candidates, node);
    let mut cluster = pick(&|c| c.ready() && c.fits(topology));
    if cluster.is_empty() {
        cluster = pick(&|c| c.serving_terminating());
    }
    let mut local = Vec::new();
    if wants_local {
        local = pick(&|c| c.local && c.ready());
        if local.is_empty() {
            local = pick(&|c| c.local && c.serving_terminating());
        }
    }
    let any = !cluster.is_empty();
    Choice {
        cluster,
        local,
        any,
    }
}

/// For each candidate, why policy Cluster does not use it, or None if it does.
pub fn explain(candidates: &[Candidate<'_>], node: &Node) -> Vec<Option<Unused>> {
    let topology = topology(candidates, node);
    let any_ready = candidates.iter().any(Candidate::ready);
    let reason = |c: &Candidate<'_>| match (c.ready(), any_ready) {
        (true, _) if c.fits(topology) => None,
        (true, _) if matches!(topology, Topology::Node(_)) => Some(Unused::OtherNode),
        (true, _) => Some(Unused::OtherZone),
        (false, false) if c.serving_terminating() => None,
        (false, true) if c.serving_terminating() => Some(Unused::Terminating),
        (false, _) => Some(Unused::NotReady),
    };
    candidates.iter().map(reason).collect()
}

/// How many endpoints of any port are ready on the own node, by address: what a
/// healthCheckNodePort reports. Terminating ones do not count. A dual-stack Service has the same
/// endpoints in both families, so the larger number of the two counts; slices of a family that the
/// Service does not have are none of its own.
pub fn local_ready<'a>(
    service: &Service,
    slices: impl IntoIterator<Item = &'a EndpointSlice>,
    node: &Node,
) -> usize {
    let local = |e: &&SliceEndpoint| e.conditions.ready && e.node.as_ref() == Some(&node.name);
    let endpoints = slices
        .into_iter()
        .flat_map(|s| s.endpoints.iter().filter(local));
    let addresses: BTreeSet<IpAddr> = endpoints.map(|e| e.address).collect();
    let families = service.cluster_ips.iter().map(|ip| IpFamily::of(*ip));
    let count = |family| {
        addresses
            .iter()
            .filter(move |a| IpFamily::of(**a) == family)
    };
    families.map(|f| count(f).count()).max().unwrap_or(0)
}

#[cfg(test)]
mod tests;
