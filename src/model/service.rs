// SPDX-License-Identifier: Apache-2.0
//! A Service as far as a proxy needs it.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::{IpvsWishes, ServiceName};

/// Transport protocol of a service port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP, IP protocol 6.
    Tcp,
    /// UDP, IP protocol 17.
    Udp,
    /// SCTP, IP protocol 132.
    Sctp,
}

impl Protocol {
    /// All protocols that a Service may have.
    pub const ALL: [Protocol; 3] = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp];

    /// The IP protocol number (RFC 790 and successors).
    pub fn number(self) -> u8 {
        match self {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
            Protocol::Sctp => 132,
        }
    }

    /// The word nft and ferrule's tables use: `tcp`, `udp` or `sctp`.
    pub fn word(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// `internalTrafficPolicy` or `externalTrafficPolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TrafficPolicy {
    /// Any endpoint of the cluster.
    #[default]
    Cluster,
    /// Only endpoints on the node that the packet arrived at.
    Local,
}

/// A Service that a proxy has to serve: not headless, not ExternalName, not another proxy's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Namespace and name.
    pub name: ServiceName,
    /// `metadata.creationTimestamp`, seconds since 1970; decides who keeps a disputed address
    /// and port. An object without one counts as youngest ([`i64::MAX`]).
    pub created: i64,
    /// `spec.clusterIPs`, at most one of each family.
    pub cluster_ips: Vec<IpAddr>,
    /// `spec.externalIPs`.
    pub external_ips: Vec<IpAddr>,
    /// `status.loadBalancer.ingress[].ip` with `ipMode` VIP or unset (KEP-1860).
    pub load_balancer_ips: Vec<IpAddr>,
    /// `spec.loadBalancerSourceRanges`; a family without a range, or with a /0, is unrestricted.
    pub source_ranges: Vec<IpNet>,
    /// The ports, in the order of the object.
    pub ports: Vec<ServicePort>,
    /// `spec.internalTrafficPolicy`: holds for ClusterIPs.
    pub internal_policy: TrafficPolicy,
    /// `spec.externalTrafficPolicy`: holds for NodePorts, external and load balancer IPs.
    pub external_policy: TrafficPolicy,
    /// `sessionAffinity: ClientIP` with its timeout in seconds (1 to 86,400; default 10,800).
    pub affinity: Option<u32>,
    /// `spec.healthCheckNodePort`, only of type LoadBalancer with `externalTrafficPolicy: Local`.
    pub health_check_node_port: Option<u16>,
    /// What it wishes of IPVS, if anything.
    pub ipvs: Option<Arc<IpvsWishes>>,
}

impl Service {
    /// The addresses that come from outside the cluster.
    pub fn external_addresses(&self) -> impl Iterator<Item = &IpAddr> {
        self.load_balancer_ips.iter().chain(&self.external_ips)
    }
}

/// One port of a [`Service`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePort {
    /// `spec.ports[].name`, possibly empty.
    pub name: Arc<str>,
    /// Transport protocol.
    pub protocol: Protocol,
    /// Port of ClusterIPs, external and load balancer IPs, 1 to 65,535.
    pub port: u16,
    /// NodePort, if one is allocated, 1 to 65,535.
    pub node_port: Option<u16>,
}

impl Service {
    /// Whether traffic from outside the cluster can reach it at all
    /// (kube-proxy: `ExternallyAccessible`).
    pub fn externally_accessible(&self) -> bool {
        self.ports.iter().any(|p| p.node_port.is_some())
            || !self.external_ips.is_empty()
            || !self.load_balancer_ips.is_empty()
    }
}
