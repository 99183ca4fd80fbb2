// SPDX-License-Identifier: Apache-2.0
//! Who may answer on an address and port: the oldest Service that asks for it.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::{Protocol, Service, ServiceName};

/// Something that at most one Service can answer on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Claim {
    /// An address and port: ClusterIP, external IP or load balancer IP.
    Vip(IpAddr, Protocol, u16),
    /// A NodePort.
    NodePort(Protocol, u16),
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Claim::Vip(a, protocol, port) => write!(f, "{}/{protocol}", SocketAddr::new(*a, *port)),
            Claim::NodePort(protocol, port) => write!(f, "NodePort {port}/{protocol}"),
        }
    }
}

/// Everything that a Service asks for.
pub fn of(service: &Service) -> BTreeSet<Claim> {
    let vips = || {
        let external = service
            .external_ips
            .iter()
            .chain(&service.load_balancer_ips);
        service.cluster_ips.iter().chain(external).copied()
    };
    let mut claims = BTreeSet::new();
    for port in &service.ports {
        claims.extend(vips().map(|a| Claim::Vip(a, port.protocol, port.port)));
        claims.extend(port.node_port.map(|p| Claim::NodePort(port.protocol, p)));
    }
    claims
}

/// Age, then name: smaller goes first.
type Claimant = (i64, ServiceName);

/// All claims of all Services. Nearly every claim has one claimant, so only the owner is stored
/// beside the claim, and the others apart.
#[derive(Debug, Clone, Default)]
pub struct Claims {
    owners: HashMap<Claim, Claimant>,
    waiting: HashMap<Claim, BTreeSet<Claimant>>,
}

impl Claims {
    /// The Service that owns the claim.
    pub fn owner(&self, claim: &Claim) -> Option<&ServiceName> {
        self.owners.get(claim).map(|(_, name)| name)
    }

    /// Replaces a Service's claims. Returns the other Services that won or lost something by it.
    pub fn replace(
        &mut self,
        old: Option<&Service>,
        new: Option<&Service>,
    ) -> BTreeSet<ServiceName> {
        let mut touched = BTreeSet::new();
        if let (Some(old), Some(new)) = (old, new)
            && old.created == new.created
            && of(old) == of(new)
        {
            return touched;
        }
        if let Some(service) = old {
            self.remove_all(service, &mut touched);
        }
        if let Some(service) = new {
            self.add_all(service, &mut touched);
        }
        for service in old.into_iter().chain(new) {
            touched.remove(&service.name);
        }
        touched
    }

    fn remove_all(&mut self, service: &Service, touched: &mut BTreeSet<ServiceName>) {
        let claimant = (service.created, service.name.clone());
        for claim in of(service) {
            if self.owners.get(&claim) != Some(&claimant) {
                self.leave_queue(&claim, &claimant);
                continue;
            }
            self.owners.remove(&claim);
            let next = self.waiting.get(&claim).and_then(|w| w.first().cloned());
            if let Some(next) = next {
                self.leave_queue(&claim, &next);
                touched.insert(next.1.clone());
                self.owners.insert(claim, next);
            }
        }
    }

    fn leave_queue(&mut self, claim: &Claim, claimant: &Claimant) {
        if let Some(queue) = self.waiting.get_mut(claim) {
            queue.remove(claimant);
            if queue.is_empty() {
                self.waiting.remove(claim);
            }
        }
    }

    fn add_all(&mut self, service: &Service, touched: &mut BTreeSet<ServiceName>) {
        let claimant = (service.created, service.name.clone());
        for claim in of(service) {
            match self.owners.get(&claim) {
                None => {
                    self.owners.insert(claim, claimant.clone());
                }
                Some(owner) if *owner < claimant => {
                    self.waiting
                        .entry(claim)
                        .or_default()
                        .insert(claimant.clone());
                }
                Some(_) => {
                    if let Some(loser) = self.owners.insert(claim, claimant.clone()) {
                        touched.insert(loser.1.clone());
                        self.waiting.entry(claim).or_default().insert(loser);
                    }
                }
            }
        }
    }
}
