// SPDX-License-Identifier: Apache-2.0
//! What the configuration decides about rules.

use std::sync::Arc;

use ipnet::IpNet;

/// Options of the ruleset, from flags and the configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// How a pod's traffic is told from traffic from outside the cluster.
    pub detector: Detector,
    /// Masquerade everything that goes to a ClusterIP (`--masquerade-all`).
    pub masquerade_all: bool,
    /// Which of the node's addresses serve NodePorts (`--nodeport-addresses`).
    pub node_port_addresses: NodePortAddresses,
    /// Capacity of a sticky service's map of clients.
    pub affinity_capacity: u32,
    /// Reset TCP connections to endpoints that are gone (`--reset-stale-tcp`).
    pub reset_stale_tcp: bool,
    /// Drop packets of endpoints that connection tracking calls invalid (`--drop-invalid`).
    pub drop_invalid: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            detector: Detector::None,
            masquerade_all: false,
            node_port_addresses: NodePortAddresses::Primary,
            affinity_capacity: 1 << 20,
            reset_stale_tcp: false,
            drop_invalid: false,
        }
    }
}

/// `--detect-local-mode` with what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Detector {
    /// Unknown: nothing is masqueraded for its source.
    None,
    /// ClusterCIDR: sources in these prefixes are pods (`--cluster-cidr`).
    ClusterCidr(Vec<IpNet>),
    /// NodeCIDR: sources in the own Node's `spec.podCIDRs` are pods.
    NodeCidr,
    /// BridgeInterface: what comes in by this interface is a pod's.
    Bridge(Arc<str>),
    /// InterfaceNamePrefix: what comes in by an interface whose name begins so is a pod's.
    InterfacePrefix(Arc<str>),
}

/// `--nodeport-addresses`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodePortAddresses {
    /// The Node object's first address of each family.
    Primary,
    /// Local addresses in these prefixes. A family that none of them names matches all
    /// (kube-proxy: `NewNodePortAddresses`).
    Within(Vec<IpNet>),
}

impl NodePortAddresses {
    /// All local addresses but loopback ones.
    pub fn all() -> Self {
        NodePortAddresses::Within(Vec::new())
    }
}
