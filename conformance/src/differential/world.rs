// SPDX-License-Identifier: Apache-2.0
//! The topology of the packet table, with servers on the nodes, too, and with clients that have
//! many addresses. Two of them are alike to the last address.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Context, Result};
use ferrule::model::IpFamily;

use super::probe::From;
use crate::cluster::Cluster;
use crate::netns::{self, Layout, Namespace, Place};
use crate::object::TARGETS;
use crate::server::Server;

/// Further addresses of each client pod.
pub const ALIASES: u16 = 120;

/// Nodes, pods, a client, and servers on all of them but the client.
#[derive(Debug)]
pub struct World {
    _on_nodes: Vec<Server>,
    /// The rest; its agents, if it has any, read manifests.
    pub cluster: Cluster,
}

impl World {
    /// Three nodes; on each two pods with servers that Services may use, and a client pod.
    ///
    /// # Errors
    /// Without root; if a program is missing.
    pub fn build() -> Result<Self> {
        let pods = vec![
            vec!["1a", "1b", "1c"],
            vec!["2a", "2b", "2c"],
            vec!["3a", "3b", "3c"],
        ];
        let cluster = Cluster::build(&Layout { pods })?;
        let topology = &cluster.topology;
        let mut on_nodes = Vec::new();
        for (node, n) in topology.nodes.iter().zip(1..) {
            let addresses = IpFamily::ALL.map(|f| netns::node_address(f, n));
            on_nodes.push(Server::start(
                node,
                &format!("node{n}"),
                &addresses,
                &TARGETS,
            )?);
            let pod = topology.pod(["1c", "2c", "3c"][usize::from(n) - 1])?;
            let [four, six] = IpFamily::ALL.map(|f| pod.address(f));
            let mut routes = String::new();
            for (network, via) in [(network4(n), four), (network6(n), six)] {
                writeln!(routes, "route add {network} via {via} dev pod-{}", pod.name)?;
            }
            node.ip(&routes)?;
            pod.namespace.ip(&format!(
                "route add local {} dev lo\nroute add local {} dev lo",
                network4(n),
                network6(n)
            ))?;
            pod.namespace.sysctl(&[
                ("net/ipv4/ip_nonlocal_bind", "1"),
                ("net/ipv6/ip_nonlocal_bind", "1"),
            ])?;
        }
        Ok(Self {
            _on_nodes: on_nodes,
            cluster,
        })
    }

    /// Where a probe starts.
    ///
    /// # Errors
    /// If there is no such place.
    pub fn namespace(&self, from: &From) -> Result<&Namespace> {
        let topology = &self.cluster.topology;
        match from {
            From::Outside(_) => topology.namespace(Place::Outside),
            From::Node(n) => topology.namespace(Place::Node(*n)),
            From::Pod(name) => Ok(&topology.pod(name).context("probe")?.namespace),
        }
    }
}

fn network4(n: u16) -> String {
    format!("10.244.{n}.128/25")
}

fn network6(n: u16) -> String {
    format!("fd00:10:244:{n}:1::/80")
}

/// Address number `k`, from 0, of the client pod of node `n`.
pub fn alias(family: IpFamily, n: u16, k: u16) -> IpAddr {
    match family {
        IpFamily::V4 => Ipv4Addr::new(10, 244, n as u8, 128 + k as u8).into(),
        IpFamily::V6 => Ipv6Addr::new(0xfd00, 0x10, 0x244, n, 1, 0, 0, 1 + k).into(),
    }
}
