// SPDX-License-Identifier: Apache-2.0
//! The packet table: who connects where, and what must become of it.

use std::net::{IpAddr, SocketAddr};

use ferrule::model::{IpFamily, Protocol};
use ferrule::plan::Options;

use crate::client::Attempt;
use crate::mode::{Mode, mode};
use crate::netns::{self, Place};
use crate::object::{PORT, Service};

/// A port that no Service has.
const UNUSED: u16 = 9_999;

/// One set of flags, and the cases that run under it at the same time.
#[derive(Debug)]
pub struct Profile {
    /// What it is about.
    pub name: &'static str,
    /// Flags of the agents.
    pub flags: Vec<String>,
    /// The same for the tracer.
    pub options: Options,
    /// Cases.
    pub cases: Vec<Case>,
}

/// Services and what connections to them do.
#[derive(Debug)]
pub struct Case {
    /// Name, and the namespace of its Services.
    pub name: &'static str,
    /// Services.
    pub services: Vec<Service>,
    /// Rows.
    pub rows: Vec<Row>,
}

/// One row. It holds in TCP, UDP and SCTP, and in both families unless it names one.
#[derive(Debug)]
pub struct Row {
    /// The only family it holds in, if it is not both.
    pub only: Option<IpFamily>,
    /// Who connects.
    pub from: From,
    /// Where to.
    pub to: To,
    /// What must happen, in the mode that is judged.
    pub expect: Expect,
}

/// Who connects.
#[derive(Debug, Clone, Copy)]
pub struct From {
    /// Where the client runs.
    pub place: Place,
    /// Outside: the node that VIPs are routed to.
    pub via: u16,
    /// Outside: one of its further addresses.
    pub alias: Option<u16>,
}

/// From a pod.
pub fn pod(name: &'static str) -> From {
    From {
        place: Place::Pod(name),
        via: 0,
        alias: None,
    }
}

/// From a node's own network.
pub fn host(n: u16) -> From {
    From {
        place: Place::Node(n),
        via: 0,
        alias: None,
    }
}

/// From outside, entering the cluster by node `n`.
pub fn outside(n: u16) -> From {
    From {
        place: Place::Outside,
        via: n,
        alias: None,
    }
}

impl From {
    /// From the client's address number `k`.
    pub fn alias(self, k: u16) -> Self {
        Self {
            alias: Some(k),
            ..self
        }
    }

    /// The address it connects from; none if the kernel chooses.
    pub fn source(self, family: IpFamily) -> Option<IpAddr> {
        let client = || match self.alias {
            Some(k) => netns::client_alias(family, k),
            None => netns::client_address(family),
        };
        (self.place == Place::Outside).then(client)
    }
}

/// A frontend, by the name of the Service.
#[derive(Debug, Clone, Copy)]
pub enum To {
    /// ClusterIP.
    ClusterIp(&'static str),
    /// A port of the ClusterIP that the Service does not have.
    UnusedPort(&'static str),
    /// The same at the load balancer address.
    UnusedBalancerPort(&'static str),
    /// An address of the Service CIDR that no Service has.
    Unallocated,
    /// NodePort of that node, at its first address.
    NodePort(&'static str, u16),
    /// NodePort of that node, at the address that its Node object does not name.
    NodePortSecond(&'static str, u16),
    /// NodePort of that node, at its address towards the pods.
    NodePortInside(&'static str, u16),
    /// NodePort at 127.0.0.1 or ::1.
    NodePortLoopback(&'static str),
    /// Load balancer address.
    LoadBalancer(&'static str),
    /// External address.
    ExternalIp(&'static str),
}

impl To {
    /// The Service that is meant, if one is.
    pub fn service(self) -> Option<&'static str> {
        match self {
            To::Unallocated => None,
            To::ClusterIp(s) | To::UnusedPort(s) => Some(s),
            To::LoadBalancer(s) | To::UnusedBalancerPort(s) | To::ExternalIp(s) => Some(s),
            To::NodePort(s, _) | To::NodePortSecond(s, _) | To::NodePortInside(s, _) => Some(s),
            To::NodePortLoopback(s) => Some(s),
        }
    }

    /// The node whose own address it is, if it is one's.
    pub fn node(self) -> Option<u16> {
        match self {
            To::NodePort(_, n) | To::NodePortSecond(_, n) | To::NodePortInside(_, n) => Some(n),
            _ => None,
        }
    }

    /// Address and port. None if the Service has no such frontend: the table is wrong.
    pub fn address(self, service: Option<&Service>, family: IpFamily) -> Option<SocketAddr> {
        let loopback = IpAddr::from(std::net::Ipv4Addr::LOCALHOST);
        let loopback6 = IpAddr::from(std::net::Ipv6Addr::LOCALHOST);
        let (address, port) = match self {
            To::Unallocated => (netns::cluster_ip(family, 50_000), PORT),
            To::ClusterIp(_) => (service?.cluster_ip(family), service?.port),
            To::UnusedPort(_) => (service?.cluster_ip(family), UNUSED),
            To::UnusedBalancerPort(_) => (service?.load_balancer_ip(family)?, UNUSED),
            To::LoadBalancer(_) => (service?.load_balancer_ip(family)?, service?.port),
            To::ExternalIp(_) => (service?.external_ip(family)?, service?.port),
            To::NodePort(_, n) => (netns::node_address(family, n), service?.node_port()?),
            To::NodePortSecond(_, n) => (netns::node_secondary(family, n), service?.node_port()?),
            To::NodePortInside(_, n) => (netns::node_gateway(family, n), service?.node_port()?),
            To::NodePortLoopback(_) if family == IpFamily::V4 => (loopback, service?.node_port()?),
            To::NodePortLoopback(_) => (loopback6, service?.node_port()?),
        };
        Some(SocketAddr::new(address, port))
    }
}

/// What must happen.
#[derive(Debug, Clone)]
pub enum Expect {
    /// An endpoint answers.
    Reach(Reach),
    /// Our rules refuse it: it fails at once.
    Refused,
    /// Our rules drop it: no answer.
    Dropped,
    /// No rule of ours touches it, and the node's kernel refuses it, as nobody listens.
    Closed,
    /// No rule of ours touches it, and it goes where nobody answers.
    Lost,
}

/// Who answers.
#[derive(Debug, Clone)]
pub struct Reach {
    /// The pods that answer, all of them sooner or later, and nobody else.
    pub pods: Vec<&'static str>,
    /// The source that servers see.
    pub seen: Seen,
    /// Also: over 1,000 connections each as often as any other, by a chi-square test.
    pub even: bool,
}

/// The source address that servers see. A pod that reaches itself sees its node in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// The client's own; of a host any of its addresses.
    Own,
    /// One of that node's.
    Node(u16),
}

/// These pods answer and see the client's own address.
pub fn reach(pods: &[&'static str]) -> Expect {
    Expect::Reach(Reach {
        pods: pods.to_vec(),
        seen: Seen::Own,
        even: false,
    })
}

impl Expect {
    /// Servers see an address of that node.
    pub fn seen_as(self, node: u16) -> Self {
        match self {
            Expect::Reach(r) => Expect::Reach(Reach {
                seen: Seen::Node(node),
                ..r
            }),
            other => other,
        }
    }

    /// All answer equally often.
    pub fn evenly(self) -> Self {
        match self {
            Expect::Reach(r) => Expect::Reach(Reach { even: true, ..r }),
            other => other,
        }
    }
}

impl Row {
    /// A row.
    pub fn new(from: From, to: To, expect: Expect) -> Self {
        Self {
            only: None,
            from,
            to,
            expect,
        }
    }

    /// Holds only in this family.
    pub fn only(self, family: IpFamily) -> Self {
        Self {
            only: Some(family),
            ..self
        }
    }

    /// The connection that it is about. None if the table is wrong.
    pub fn attempt(&self, case: &Case, family: IpFamily, protocol: Protocol) -> Option<Attempt> {
        let to = self.to.address(case.service(self.to), family)?;
        // A node's own address needs no route chosen.
        let direct = self.to.node().is_some();
        let via = if direct { 0 } else { self.from.via };
        Some(Attempt {
            protocol,
            to,
            source: self.from.source(family),
            via,
        })
    }

    /// The node whose rules decide, from 1.
    pub fn decided_by(&self) -> u16 {
        match self.from.place {
            _ if self.to.node().is_some() => self.to.node().unwrap_or(0),
            Place::Outside => self.from.via,
            Place::Node(n) => n,
            Place::Pod(name) => crate::object::node_of(name),
        }
    }
}

impl Case {
    /// A case.
    pub fn new<const N: usize>(
        name: &'static str,
        services: impl Into<Vec<Service>>,
        rows: [(From, To, Expect); N],
    ) -> Self {
        let rows = rows
            .into_iter()
            .map(|(from, to, expect)| Row::new(from, to, expect));
        Self {
            name,
            services: services.into(),
            rows: rows.collect(),
        }
    }

    /// With rows that expect something else in IPVS mode than in nftables mode, for a reason that
    /// the text says.
    pub fn by_mode<const N: usize>(
        mut self,
        reason: &'static str,
        rows: [(From, To, Expect, Expect); N],
    ) -> Self {
        debug_assert!(!reason.is_empty(), "{}: why?", self.name);
        let pick = |(from, to, nftables, ipvs)| match mode() {
            Mode::Nftables => Row::new(from, to, nftables),
            Mode::Ipvs => Row::new(from, to, ipvs),
        };
        self.rows.extend(rows.into_iter().map(pick));
        self
    }

    /// The Service that a row's frontend belongs to.
    pub fn service(&self, to: To) -> Option<&Service> {
        let name = to.service()?;
        self.services.iter().find(|s| s.name == name)
    }
}
