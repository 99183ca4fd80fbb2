// SPDX-License-Identifier: Apache-2.0
//! Everything that a service port answers on.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use super::nft::Key;
use crate::model::claims::Claim;
use crate::model::{IpFamily, Node, Protocol, Service, ServicePort, State, TrafficPolicy};

/// How a frontend came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `spec.clusterIPs`.
    ClusterIp,
    /// `status.loadBalancer.ingress`.
    LoadBalancer,
    /// `spec.externalIPs`.
    ExternalIp,
    /// `spec.ports[].nodePort`, on the node's addresses.
    NodePort,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::ClusterIp => "ClusterIP",
            Kind::LoadBalancer => "LoadBalancer",
            Kind::ExternalIp => "ExternalIP",
            Kind::NodePort => "NodePort",
        })
    }
}

/// An address and port that a service port answers on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Frontend {
    /// How it came about.
    pub kind: Kind,
    /// The address; none for a NodePort, which answers on all the node's NodePort addresses.
    pub address: Option<IpAddr>,
    /// Protocol.
    pub protocol: Protocol,
    /// Port.
    pub port: u16,
}

impl Frontend {
    /// The traffic policy that holds for it.
    pub fn policy(&self, service: &Service) -> TrafficPolicy {
        match self.kind {
            Kind::ClusterIp => service.internal_policy,
            _ => service.external_policy,
        }
    }

    /// Its key in the maps of frontends.
    pub fn key(&self) -> Key {
        let key = self.address.map_or(Key::EMPTY, |a| Key::EMPTY.address(a));
        key.protocol(self.protocol).port(self.port)
    }
}

/// The frontends of a service port in one family that no older Service has claimed.
pub fn frontends(
    state: &State,
    service: &Service,
    port: &ServicePort,
    family: IpFamily,
) -> Vec<Frontend> {
    let mut found: Vec<Frontend> = Vec::new();
    let kinds = [
        (Kind::ClusterIp, &service.cluster_ips),
        (Kind::LoadBalancer, &service.load_balancer_ips),
        (Kind::ExternalIp, &service.external_ips),
    ];
    for (kind, addresses) in kinds {
        for address in addresses.iter().filter(|a| IpFamily::of(**a) == family) {
            let frontend = Frontend {
                kind,
                address: Some(*address),
                protocol: port.protocol,
                port: port.port,
            };
            let claim = Claim::Vip(*address, port.protocol, port.port);
            let known = found.iter().any(|f| f.address == frontend.address);
            if !known && state.owns(&service.name, &claim) {
                found.push(frontend);
            }
        }
    }
    if let Some(node_port) = port.node_port
        && serves_family(service, family)
        && state.owns(&service.name, &Claim::NodePort(port.protocol, node_port))
    {
        let protocol = port.protocol;
        found.push(Frontend {
            kind: Kind::NodePort,
            address: None,
            protocol,
            port: node_port,
        });
    }
    found
}

/// A NodePort answers in the families that the Service has a ClusterIP of.
fn serves_family(service: &Service, family: IpFamily) -> bool {
    service
        .cluster_ips
        .iter()
        .any(|a| IpFamily::of(*a) == family)
}

/// The sources that may use the Service's load balancer IPs in this family: nothing if all may.
/// Prefixes that lie in others are left out, as the kernel's interval sets refuse them. If a node
/// address may, the load balancer IP itself may: a provider that keeps the VIP as destination
/// makes the node talk to itself with it (kube-proxy: `allowFromNode`).
pub fn source_ranges(service: &Service, family: IpFamily, node: &Node) -> Option<Vec<IpNet>> {
    let of_family = |net: &&IpNet| IpFamily::of(net.addr()) == family;
    let ranges: Vec<IpNet> = service
        .source_ranges
        .iter()
        .filter(of_family)
        .map(IpNet::trunc)
        .collect();
    if ranges.is_empty() || ranges.iter().any(|net| net.prefix_len() == 0) {
        return None;
    }
    let mut all = ranges.clone();
    if node
        .addresses
        .iter()
        .any(|a| ranges.iter().any(|net| net.contains(a)))
    {
        let vips = service
            .load_balancer_ips
            .iter()
            .filter(|a| IpFamily::of(**a) == family);
        all.extend(vips.map(|a| IpNet::from(*a)));
    }
    Some(IpNet::aggregate(&all))
}
