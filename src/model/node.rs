// SPDX-License-Identifier: Apache-2.0
//! The node that this process serves.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

/// The own Node object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Node {
    /// Name.
    pub name: Arc<str>,
    /// Label `topology.kubernetes.io/zone`.
    pub zone: Option<Arc<str>>,
    /// `status.addresses`: the InternalIPs in their order, then the ExternalIPs in theirs
    /// (kube-proxy: `GetNodeHostIPs`). The first of a family is its primary address.
    pub addresses: Vec<IpAddr>,
    /// `spec.podCIDRs`.
    pub pod_cidrs: Vec<IpNet>,
    /// Has a deletion timestamp or the taint `ToBeDeletedByClusterAutoscaler`: load balancers
    /// should send no new connections here (KEP-3836).
    pub leaving: bool,
}
