// SPDX-License-Identifier: Apache-2.0
//! What the configuration decides about rules.

use std::sync::Arc;
use std::time::Duration;

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
    /// What balances: the table itself, or IPVS.
    pub mode: Mode,
}

/// `--proxy-mode`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Mode {
    /// The table translates.
    #[default]
    Nftables,
    /// Virtual servers translate; the table does what they cannot.
    Ipvs(IpvsOptions),
}

impl Mode {
    /// The options of IPVS mode, in IPVS mode.
    pub fn ipvs(&self) -> Option<&IpvsOptions> {
        match self {
            Mode::Nftables => None,
            Mode::Ipvs(options) => Some(options),
        }
    }
}

/// What only IPVS mode knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IpvsOptions {
    /// The scheduler of Services that do not choose one (`--ipvs-scheduler`).
    pub scheduler: Arc<str>,
    /// Policy Local without an endpoint on this node sends to all endpoints, as kube-proxy does in
    /// this mode, and does not drop.
    pub local_fallback: bool,
    /// How long an endpoint that is gone may keep its TCP connections.
    pub drain: Duration,
    /// Virtual servers at these addresses are not removed, whoever made them
    /// (`--ipvs-exclude-cidrs`).
    pub exclude_cidrs: Vec<IpNet>,
}

impl Default for IpvsOptions {
    fn default() -> Self {
        Self {
            scheduler: "rr".into(),
            local_fallback: false,
            drain: Duration::from_secs(15 * 60),
            exclude_cidrs: Vec::new(),
        }
    }
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
            mode: Mode::Nftables,
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
