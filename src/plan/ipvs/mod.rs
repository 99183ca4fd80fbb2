// SPDX-License-Identifier: Apache-2.0
//! IPVS mode: virtual servers translate, and the table does what they cannot.
//!
//! | module | does |
//! |---|---|
//! | [`service`] | what a frontend becomes: a virtual server and what lets packets go on to it |
//! | [`skeleton`] | the permanent chains |
//! | [`servers`] | the sum of all virtual servers, part of the ledger |
//! | [`steps`] | from one state of the sum to another, and from what the kernel holds |
//! | [`text`] | virtual servers as `ipvsadm -Sn` writes them |
//!
//! Every address of a Service is bound to the link `kube-ipvs0`, so that its packets are
//! delivered to this host, where IPVS takes them. The set `service-addresses` says which those
//! are; addresses that the node has anyway are not bound.
//!
//! For `externalTrafficPolicy: Local` there are two lists of endpoints and but one virtual server
//! for an address and port. It has the local list; packets from inside (pods and the host) never
//! get to it, as the table itself translates them, just as in nftables mode. IPVS could tell them
//! apart by a mark, but a virtual server that goes by a mark translates no port if it is
//! persistent (`ip_vs_sched_persist`), so Services with session affinity could not be served so.

pub mod servers;
pub mod service;
pub mod skeleton;
pub mod steps;
pub mod text;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::model::{IpFamily, Protocol, Target};

/// What identifies a virtual server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerKey {
    /// Address.
    pub address: IpAddr,
    /// Protocol.
    pub protocol: Protocol,
    /// Port.
    pub port: u16,
}

impl ServerKey {
    /// Its family.
    pub fn family(&self) -> IpFamily {
        IpFamily::of(self.address)
    }

    /// Whether a server that is taken from it is kept until its connections have ended. UDP knows
    /// no end of a connection, and SCTP has associations of its own accord (kube-proxy:
    /// `IsRsGracefulTerminationNeeded`).
    pub fn drains(&self) -> bool {
        self.protocol == Protocol::Tcp
    }
}

impl fmt::Display for ServerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = SocketAddr::new(self.address, self.port);
        write!(f, "{} {at}", self.protocol)
    }
}

/// How a virtual server chooses, all but its real servers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Settings {
    /// The kernel's name of the scheduler.
    pub scheduler: Arc<str>,
    /// How long a client keeps its real server, seconds.
    pub persistence: Option<u32>,
    /// Each packet is a connection of its own. UDP only.
    pub one_packet: bool,
}

impl Settings {
    /// Hashing schedulers go on to another real server if theirs takes no new connections, as one
    /// of weight 0 does: `sh-fallback`, `mh-fallback`.
    pub fn falls_back(&self) -> bool {
        matches!(&*self.scheduler, "sh" | "mh")
    }

    /// `mh` goes by the port, too, as in kube-proxy: `mh-port`.
    pub fn hashes_port(&self) -> bool {
        &*self.scheduler == "mh"
    }
}

/// A virtual server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VirtualServer {
    /// How it chooses.
    pub settings: Settings,
    /// Real servers with their weights, 0 to 65,535. Reached by address translation.
    pub destinations: BTreeMap<Target, u32>,
}

#[cfg(test)]
mod tests;
