// SPDX-License-Identifier: Apache-2.0
//! NodePorts on loopback: on only if the user says so.

use std::net::{IpAddr, Ipv4Addr};

use super::address::cidr;
use super::resolve::Resolver;

/// Whether TCP NodePorts are served on loopback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LocalhostNodePorts {
    /// The user wants it.
    On,
    /// Not, as in kube-proxy with the same settings.
    Off,
    /// Not, though kube-proxy would, by its default: something to tell the user.
    Missed,
}

impl Resolver<'_> {
    /// Our flag decides. Without it, `iptables.localhostNodePorts: true` in iptables mode counts,
    /// if `nodePortAddresses` hold loopback, as upstream (`NewProxier` of `pkg/proxy/iptables`).
    /// kube-proxy's default there is true; ours is not, since anything on the host may connect.
    pub(super) fn localhost_node_ports(&self) -> LocalhostNodePorts {
        use LocalhostNodePorts::{Missed, Off, On};
        let iptables = matches!(self.file.mode.as_str(), "" | "iptables") && self.holds_loopback();
        match (self.cli.own.localhost_nodeports, self.localhost_node_ports) {
            (Some(true), _) => On,
            (Some(false), _) => Off,
            (None, Some(true)) if iptables => On,
            (None, None) if iptables => Missed,
            (None, _) => Off,
        }
    }

    /// Whether NodePorts are wanted on IPv4 loopback: no IPv4 prefix means all addresses
    /// (upstream: `NewNodePortAddresses`, `ContainsIPv4Loopback`).
    fn holds_loopback(&self) -> bool {
        let texts = self.file.node_port_addresses.as_deref().unwrap_or_default();
        let first = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0));
        let mut v4 = texts
            .iter()
            .filter_map(|text| cidr(text))
            .filter(|net| net.addr().is_ipv4())
            .peekable();
        texts != ["primary"]
            && (v4.peek().is_none() || v4.any(|n| n.addr().is_loopback() || n.contains(&first)))
    }
}
