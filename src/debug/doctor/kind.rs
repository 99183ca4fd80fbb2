// SPDX-License-Identifier: Apache-2.0
//! Everything that can be found. docs/doctor.md has a row for each.

use schemars::JsonSchema;
use serde::Serialize;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Traffic of Services is lost.
    Error,
    /// It may be lost, or soon will be.
    Warning,
    /// Worth knowing; as such no fault.
    Note,
}

impl Severity {
    /// As it is shown.
    pub fn word(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        }
    }
}

/// Declares the kinds with their ids and severities, so that none can lack one.
macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident $id:literal $severity:ident,)*) => {
        /// What kind of finding it is.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind {
            $($(#[$doc])* $name,)*
        }

        impl Kind {
            /// All of them.
            pub const ALL: &[Kind] = &[$(Kind::$name,)*];

            /// Its name in the output, which does not change.
            pub fn id(self) -> &'static str {
                match self {
                    $(Kind::$name => $id,)*
                }
            }

            /// How bad it is.
            pub fn severity(self) -> Severity {
                match self {
                    $(Kind::$name => Severity::$severity,)*
                }
            }
        }
    };
}

kinds! {
    /// The kernel lacks something that the rules need.
    KernelFeature "kernel-feature" Error,
    /// The process lacks CAP_NET_ADMIN.
    Capability "capability" Error,
    /// No agent answers on the admin socket.
    AgentAbsent "agent-absent" Error,
    /// Something listens on the admin socket and does not answer.
    AgentSilent "agent-silent" Error,
    /// Changes wait too long, or commits fail.
    AgentBehind "agent-behind" Error,
    /// The API server has not answered since the agent started: it serves what it knew before.
    LastKnownState "last-known-state" Warning,
    /// The agent runs, and its table is not in the kernel.
    RulesMissing "rules-missing" Error,
    /// `net.ipv4.ip_forward` or `net.ipv6.conf.all.forwarding` is off.
    ForwardingOff "forwarding-off" Error,
    /// Forwarding is off on one interface.
    ForwardingOffLink "forwarding-off-interface" Error,
    /// A strict reverse path filter drops what comes in by another way than answers leave.
    ReversePath "reverse-path" Warning,
    /// Bridged pods are not seen by netfilter.
    BridgeUnseen "bridge-unseen" Warning,
    /// kube-proxy's rules are in the kernel.
    KubeProxy "kube-proxy" Warning,
    /// kube-router's service proxy is on the node.
    KubeRouter "kube-router" Warning,
    /// Cilium serves Services in place of kube-proxy.
    Cilium "cilium" Warning,
    /// The link of an IPVS mode is there, and IPVS mode is not on.
    IpvsLeftover "ipvs-leftover" Warning,
    /// A chain of somebody else drops at the forward hook whatever it does not know.
    ForwardDrop "forward-drop" Warning,
    /// A rule of somebody else drops or rejects what is for a Service.
    ForeignDrop "foreign-drop" Error,
    /// A rule of somebody else translates what is for a Service.
    ForeignDnat "foreign-dnat" Warning,
    /// A rule of somebody else keeps connections of a Service from being tracked.
    ForeignNotrack "foreign-notrack" Error,
    /// A program of the host listens on a NodePort.
    NodePortHeld "node-port-held" Warning,
    /// A NodePort is in the range of ports that the host's own connections use.
    NodePortEphemeral "node-port-ephemeral" Warning,
    /// There is no way to an endpoint.
    EndpointUnroutable "endpoint-unroutable" Error,
    /// There is no way to a Service's address, so that the host's programs cannot connect.
    VipUnroutable "vip-unroutable" Error,
    /// Nothing leads back to clients outside.
    NoReturnRoute "no-return-route" Error,
    /// A network of the node overlaps the addresses of Services.
    ServiceRangeRouted "service-range-routed" Warning,
    /// The node answers ARP for addresses of Services.
    ArpAnswered "arp-answered" Warning,
    /// The table of connections is nearly full.
    ConntrackFull "conntrack-full" Error,
    /// An overlay's packets do not fit into what is below it.
    Mtu "mtu" Warning,
    /// The cluster has no Node of this name.
    NodeMissing "node-missing" Error,
    /// None of the Node's addresses is one of this host.
    NodeAddress "node-address" Error,
    /// The API server does not answer.
    ApiUnreachable "api-unreachable" Error,
    /// The clocks of this host and of the API server differ.
    ClockSkew "clock-skew" Warning,
    /// The selector of a Service matches no Pod.
    SelectorMatchesNothing "selector-matches-nothing" Warning,
    /// Pods are there, and none of them is ready.
    PodsUnready "pods-unready" Warning,
    /// No Pod or slice has a port of the name that the Service asks for.
    PortNameMismatch "port-name-mismatch" Warning,
    /// All endpoints are terminating.
    EndpointsTerminating "endpoints-terminating" Warning,
    /// A Service without selector has no endpoints.
    NoEndpointsWritten "no-endpoints-written" Warning,
    /// Endpoints are missing for another reason.
    NoReadyEndpoints "no-ready-endpoints" Warning,
    /// Policy Local, and no endpoint on this node: its clients here get nothing.
    NoLocalEndpoints "no-local-endpoints" Note,
    /// A load balancer has given no address yet.
    LoadBalancerPending "load-balancer-pending" Warning,
    /// Two Services want the same address and port.
    ClaimedTwice "claimed-twice" Warning,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ids_are_distinct_and_the_page_tells_each() {
        let ids: BTreeSet<_> = Kind::ALL.iter().map(|kind| kind.id()).collect();
        assert_eq!(ids.len(), Kind::ALL.len());
        let page = include_str!("../../../docs/doctor.md");
        for kind in Kind::ALL {
            let row = format!("| `{}` | {} |", kind.id(), kind.severity().word());
            assert!(page.contains(&row), "docs/doctor.md lacks {row}");
        }
    }
}
