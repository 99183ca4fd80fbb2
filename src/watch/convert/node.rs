// SPDX-License-Identifier: Apache-2.0
//! Node and ServiceCIDR.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::{Skipped, field};
use crate::model::{Node, Observed};
use crate::watch::wire;

/// A cluster autoscaler sets it before it removes a node, with any effect (KEP-3836).
const LEAVING_TAINT: &str = "ToBeDeletedByClusterAutoscaler";

/// Converts the own Node.
pub fn node(name: &Arc<str>, object: &wire::Node) -> Observed<Node> {
    let mut skipped = Skipped::default();
    let mut addresses = of_type("InternalIP", &object.status, &mut skipped);
    addresses.extend(of_type("ExternalIP", &object.status, &mut skipped));
    let leaving = object
        .spec
        .taints
        .iter()
        .any(|t| t.key.as_deref() == Some(LEAVING_TAINT));
    let node = Node {
        name: name.clone(),
        zone: object
            .metadata
            .labels
            .zone
            .as_deref()
            .filter(|z| !z.is_empty())
            .map(Arc::from),
        addresses,
        pod_cidrs: pod_cidrs(&object.spec, &mut skipped),
        leaving: leaving || object.metadata.deletion_timestamp.is_some(),
    };
    skipped.observed(node)
}

/// The addresses of another Node. What cannot be read is its own agent's to report.
pub fn other_node(object: &wire::Node) -> Vec<IpAddr> {
    let mut skipped = Skipped::default();
    let mut addresses = of_type("InternalIP", &object.status, &mut skipped);
    addresses.extend(of_type("ExternalIP", &object.status, &mut skipped));
    addresses
}

/// Converts a ServiceCIDR.
pub fn service_cidr(object: &wire::ServiceCidr) -> Observed<Vec<IpNet>> {
    let mut skipped = Skipped::default();
    let cidrs = prefixes("spec.cidrs", &object.spec.cidrs, &mut skipped);
    skipped.observed(cidrs)
}

fn of_type(kind: &str, status: &wire::NodeStatus, skipped: &mut Skipped) -> Vec<IpAddr> {
    let mut ips = Vec::new();
    for (i, object) in status.addresses.iter().enumerate() {
        if object.kind.as_deref() == Some(kind) {
            let address = field::address(object.address.as_deref().unwrap_or_default());
            ips.extend(skipped.keep(format_args!("status.addresses[{i}].address"), address));
        }
    }
    ips
}

fn pod_cidrs(spec: &wire::NodeSpec, skipped: &mut Skipped) -> Vec<IpNet> {
    if spec.pod_cidrs.is_empty() {
        let text = spec.pod_cidr.as_deref().filter(|c| !c.is_empty());
        return text
            .and_then(|c| skipped.keep("spec.podCIDR", field::cidr(c)))
            .into_iter()
            .collect();
    }
    prefixes("spec.podCIDRs", &spec.pod_cidrs, skipped)
}

fn prefixes(path: &str, texts: &[String], skipped: &mut Skipped) -> Vec<IpNet> {
    let texts = texts.iter().enumerate();
    texts
        .filter_map(|(i, text)| skipped.keep(format_args!("{path}[{i}]"), field::cidr(text)))
        .collect()
}
