// SPDX-License-Identifier: Apache-2.0
//! A case: some Services as small numbers and switches. [`render`](super::render) gives them
//! addresses, [`shrink`](super::shrink) makes them smaller.

use ferrule::model::{IpFamily, Protocol};

/// Services that are looked at together.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// Services.
    pub services: Vec<Service>,
}

/// `spec.type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// ClusterIP.
    ClusterIp,
    /// NodePort.
    NodePort,
    /// LoadBalancer.
    LoadBalancer,
}

/// A Service with its EndpointSlices.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    /// Type.
    pub kind: Kind,
    /// Families, the first one first.
    pub families: Vec<IpFamily>,
    /// Port numbers.
    pub ports: Vec<Port>,
    /// `internalTrafficPolicy: Local`.
    pub internal_local: bool,
    /// `externalTrafficPolicy: Local`.
    pub external_local: bool,
    /// Session affinity, with its timeout in seconds.
    pub affinity: Option<u32>,
    /// `publishNotReadyAddresses`: for who writes slices, not for proxies.
    pub publish_not_ready: bool,
    /// Whether it has external addresses.
    pub external: External,
    /// `status.loadBalancer.ingress` of a LoadBalancer.
    pub ingress: Vec<Ingress>,
    /// Source ranges.
    pub ranges: Vec<&'static str>,
    /// Whether a LoadBalancer has NodePorts.
    pub node_ports: bool,
    /// Another proxy's, by the label `service.kubernetes.io/service-proxy-name`.
    pub others: bool,
    /// Slices.
    pub slices: Vec<Slice>,
}

/// `spec.externalIPs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum External {
    /// None.
    No,
    /// An address of its own in each of its families.
    Own,
    /// The address of that node.
    Node(u16),
}

/// One of a load balancer's addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ingress {
    /// `ipMode: Proxy`.
    pub proxy: bool,
    /// Which.
    pub address: Balancer,
}

/// Whose address a load balancer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Balancer {
    /// Its own.
    Own,
    /// That of the case's first Service; the ports differ.
    Shared,
    /// A node's.
    Node(u16),
}

/// A port number, with one or several protocols.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// Protocols.
    pub protocols: Vec<Protocol>,
}

/// An EndpointSlice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice {
    /// Family of its addresses.
    pub family: IpFamily,
    /// Whether the servers' second port is meant.
    pub second_target: bool,
    /// Has only the first of the Service's ports.
    pub first_port_only: bool,
    /// Endpoints.
    pub endpoints: Vec<Endpoint>,
}

/// An endpoint. None stands for a field that is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Pod as `1a`, or node as `node1`.
    pub at: &'static str,
    /// Condition.
    pub ready: Option<bool>,
    /// Condition.
    pub serving: Option<bool>,
    /// Condition.
    pub terminating: Option<bool>,
    /// Zones of its hint; 9 is a zone that no node is in.
    pub zones: Vec<u8>,
    /// Nodes of its hint; 9 is a node that is not there.
    pub nodes: Vec<u16>,
    /// Whether the slice names its node.
    pub node_name: bool,
}

impl Case {
    /// How many objects and fields it has beyond one Service of type ClusterIP with one port.
    pub fn extras(&self) -> usize {
        let of_service: usize = self.services.iter().map(Service::extras).sum();
        self.services.len() - 1 + of_service
    }
}

impl Endpoint {
    fn extras(&self) -> usize {
        let odd = |yes: bool| usize::from(yes);
        let ready = (Some(true), Some(true), Some(false));
        odd((self.ready, self.serving, self.terminating) != ready)
            + self.zones.len()
            + self.nodes.len()
            + odd(!self.node_name)
    }
}

impl Service {
    fn extras(&self) -> usize {
        let switches = [
            self.kind != Kind::ClusterIp,
            self.families.len() > 1,
            self.internal_local,
            self.external_local,
            self.affinity.is_some(),
            self.publish_not_ready,
            self.external != External::No,
            !self.node_ports,
            self.others,
        ];
        let slice = |s: &Slice| {
            let endpoints: usize = s.endpoints.iter().map(|e| 1 + e.extras()).sum();
            1 + usize::from(s.second_target) + usize::from(s.first_port_only) + endpoints
        };
        let protocols: usize = self.ports.iter().map(|p| p.protocols.len()).sum();
        let slices: usize = self.slices.iter().map(slice).sum();
        let lists = protocols - 1 + self.ingress.len() + self.ranges.len();
        switches.iter().filter(|s| **s).count() + lists + slices
    }

    /// Whether clients can come from outside at all.
    pub fn has_external(&self) -> bool {
        self.kind != Kind::ClusterIp || self.external != External::No
    }

    /// Whether it has NodePorts.
    pub fn has_node_ports(&self) -> bool {
        match self.kind {
            Kind::ClusterIp => false,
            Kind::NodePort => true,
            Kind::LoadBalancer => self.node_ports,
        }
    }
}
