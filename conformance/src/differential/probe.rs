// SPDX-License-Identifier: Apache-2.0
//! What is asked: every frontend of a case from a pod, a node and outside, and ports that no
//! Service has.

use std::net::{IpAddr, SocketAddr};

use fastrand::Rng;
use ferrule::model::{IpFamily, Protocol};
use serde::{Deserialize, Serialize};

use super::render::{Placed, port_protocols};
use crate::netns;

/// Where a probe comes from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum From {
    /// A pod.
    Pod(String),
    /// A node's own network.
    Node(u16),
    /// The client, by way of that node; by none, if the address is a node's own (0).
    Outside(u16),
}

/// What kind of address is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Frontend {
    /// ClusterIP.
    ClusterIp,
    /// NodePort.
    NodePort,
    /// Load balancer address.
    LoadBalancer,
    /// External address.
    ExternalIp,
    /// A port of an address of the Service that it does not have.
    UnusedPort,
    /// An address of the Service CIDR that no Service has.
    Unallocated,
    /// Health check of the node that asks.
    HealthCheck,
}

/// Who asks, where it lies, and how.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Probe {
    /// Who asks.
    pub from: From,
    /// Address to connect from, if not the kernel's choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<IpAddr>,
    /// What the address is.
    pub frontend: Frontend,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
    /// Address and port.
    pub to: SocketAddr,
    /// Session affinity is on: several clients, each several times. The slot, from 0, keeps the
    /// probes of one service port apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sticky: Option<u16>,
}

impl std::fmt::Display for Probe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.from {
            From::Pod(name) => write!(f, "pod {name}")?,
            From::Node(n) => write!(f, "node {n} itself")?,
            From::Outside(0) => write!(f, "outside")?,
            From::Outside(n) => write!(f, "outside by node {n}")?,
        }
        if let Some(source) = self.source {
            write!(f, " as {source}")?;
        }
        let sticky = if self.sticky.is_some() {
            " (sticky)"
        } else {
            ""
        };
        write!(
            f,
            " to {:?} {} {}{sticky}",
            self.frontend, self.protocol, self.to
        )
    }
}

impl Probe {
    /// Its protocol.
    pub fn protocol(&self) -> Protocol {
        Protocol::ALL
            .into_iter()
            .find(|p| p.word() == self.protocol)
            .unwrap_or(Protocol::Tcp)
    }
}

/// Pods that are endpoints sometimes, so that some reach themselves.
const PODS: [&str; 6] = ["1a", "1b", "2a", "2b", "3a", "3b"];
/// Pods that are never endpoints, with many addresses each.
const CLIENTS: [&str; 3] = ["1c", "2c", "3c"];

struct Asker<'a> {
    rng: &'a mut Rng,
    probes: Vec<Probe>,
    sticky: bool,
}

impl Asker<'_> {
    fn ask(
        &mut self,
        from: From,
        frontend: Frontend,
        protocol: Protocol,
        to: SocketAddr,
        slot: u16,
    ) {
        let sticky =
            self.sticky && !matches!(frontend, Frontend::UnusedPort | Frontend::Unallocated);
        let alias = matches!(from, From::Outside(_)) && !sticky && self.rng.bool();
        let source = alias.then(|| netns::client_alias(IpFamily::of(to.ip()), self.rng.u16(1..60)));
        self.probes.push(Probe {
            from,
            source,
            frontend,
            protocol: protocol.word().to_owned(),
            to,
            sticky: sticky.then_some(slot),
        });
    }

    fn pod(&mut self) -> From {
        let from: &[&str] = if self.sticky || self.rng.u32(..4) == 0 {
            &CLIENTS
        } else {
            &PODS
        };
        From::Pod(from[self.rng.usize(..from.len())].to_owned())
    }

    fn node(&mut self) -> u16 {
        self.rng.u16(1..=3)
    }

    /// From a pod, a node and outside. Another node's address needs no route chosen.
    fn ask_all(&mut self, frontend: Frontend, protocol: Protocol, to: SocketAddr, slot: u16) {
        let own = (1..=3).any(|n| netns::node_address(IpFamily::of(to.ip()), n) == to.ip());
        let via = if own { 0 } else { self.node() };
        let (pod, node) = (self.pod(), From::Node(self.node()));
        for from in [pod, node, From::Outside(via)] {
            self.ask(from, frontend, protocol, to, slot);
        }
    }
}

/// All probes of a case. The same seed gives the same ones.
pub fn probes(placed: &Placed, seed: u64) -> Vec<Probe> {
    let mut rng = Rng::with_seed(seed);
    let mut asker = Asker {
        rng: &mut rng,
        probes: Vec::new(),
        sticky: false,
    };
    for (number, service) in placed.case.services.iter().enumerate() {
        asker.sticky = service.affinity.is_some();
        for family in &service.families {
            for (n, protocol) in port_protocols(service) {
                frontends(&mut asker, placed, number, *family, (n, protocol));
            }
            let unused = SocketAddr::new(placed.cluster_ip(number, *family), 9_999);
            let protocol = Protocol::ALL[asker.rng.usize(..3)];
            let from = match asker.rng.u32(..3) {
                0 => asker.pod(),
                1 => From::Node(asker.node()),
                _ => From::Outside(asker.node()),
            };
            asker.ask(from, Frontend::UnusedPort, protocol, unused, 0);
        }
        if let Some(port) = placed.health_port(number) {
            for family in &service.families {
                let n = asker.node();
                let to = SocketAddr::new(netns::node_address(*family, n), port);
                asker.ask(From::Node(n), Frontend::HealthCheck, Protocol::Tcp, to, 0);
            }
        }
    }
    let nobody = SocketAddr::new(netns::cluster_ip(IpFamily::V4, 60_001), 80);
    let from = asker.pod();
    asker.ask(from, Frontend::Unallocated, Protocol::Tcp, nobody, 0);
    asker.probes
}

fn frontends(
    asker: &mut Asker<'_>,
    placed: &Placed,
    number: usize,
    family: IpFamily,
    (n, protocol): (usize, Protocol),
) {
    let service = &placed.case.services[number];
    let port = placed.port(number, n);
    let cluster_ip = SocketAddr::new(placed.cluster_ip(number, family), port);
    asker.ask_all(Frontend::ClusterIp, protocol, cluster_ip, 0);
    if service.has_node_ports() {
        let at = netns::node_address(family, asker.node());
        let to = SocketAddr::new(at, placed.node_port(number, n));
        asker.ask_all(Frontend::NodePort, protocol, to, 1);
    }
    if let Some(address) = placed.external_ips(number, family) {
        asker.ask_all(
            Frontend::ExternalIp,
            protocol,
            SocketAddr::new(address, port),
            2,
        );
    }
    for (slot, ingress) in (3..).zip(&service.ingress) {
        let to = SocketAddr::new(placed.balancer(number, family, *ingress), port);
        asker.ask_all(Frontend::LoadBalancer, protocol, to, slot);
    }
}
