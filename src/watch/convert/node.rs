// SPDX-License-Identifier: Apache-2.0
//! Node and ServiceCIDR objects.

use std::net::IpAddr;

use ipnet::IpNet;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::networking::v1 as networking;

use super::Skipped;
use crate::model::{Node, Observed};

/// The label that holds a node's zone.
const ZONE: &str = "topology.kubernetes.io/zone";
/// The cluster autoscaler is about to remove the node (KEP-3836).
const TO_BE_DELETED: &str = "ToBeDeletedByClusterAutoscaler";

/// Converts the own Node.
pub fn node(object: &core::Node) -> Observed<Node> {
    let mut skipped = Skipped::default();
    let spec = object.spec.as_ref();
    let taints = spec.into_iter().flat_map(|s| s.taints.iter().flatten());
    let labels = object.metadata.labels.as_ref();
    let node = Node {
        name: object.metadata.name.as_deref().unwrap_or_default().into(),
        zone: labels
            .and_then(|l| l.get(ZONE))
            .filter(|z| !z.is_empty())
            .map(|z| z.as_str().into()),
        addresses: addresses(object, &mut skipped),
        pod_cidrs: pod_cidrs(spec, &mut skipped),
        leaving: object.metadata.deletion_timestamp.is_some()
            || taints.into_iter().any(|t| t.key == TO_BE_DELETED),
    };
    Observed {
        object: Some(node),
        skipped: skipped.0,
    }
}

/// Internal addresses first (kube-proxy: `GetNodeHostIPs`).
fn addresses(object: &core::Node, skipped: &mut Skipped) -> Vec<IpAddr> {
    let given = || {
        let status = object.status.as_ref();
        status
            .into_iter()
            .flat_map(|s| s.addresses.iter().flatten())
            .enumerate()
    };
    let mut all = Vec::new();
    for kind in ["InternalIP", "ExternalIP"] {
        for (i, entry) in given().filter(|(_, a)| a.type_ == kind) {
            match entry.address.parse::<IpAddr>() {
                Ok(ip) => all.push(ip),
                Err(_) => skipped.field(
                    format_args!("status.addresses[{i}].address"),
                    format_args!("not an IP address: {:?}", entry.address),
                ),
            }
        }
    }
    all
}

fn pod_cidrs(spec: Option<&core::NodeSpec>, skipped: &mut Skipped) -> Vec<IpNet> {
    let Some(spec) = spec else { return Vec::new() };
    let one = spec.pod_cidr.as_slice();
    let all = spec
        .pod_cidrs
        .as_deref()
        .filter(|c| !c.is_empty())
        .unwrap_or(one);
    prefixes("spec.podCIDRs", all, skipped)
}

fn prefixes(path: &str, texts: &[String], skipped: &mut Skipped) -> Vec<IpNet> {
    let mut all = Vec::new();
    for (i, text) in texts.iter().enumerate() {
        match text.trim().parse::<IpNet>() {
            Ok(net) => all.push(net.trunc()),
            Err(_) => skipped.field(
                format_args!("{path}[{i}]"),
                format_args!("not a prefix: {text:?}"),
            ),
        }
    }
    all
}

/// Converts a ServiceCIDR (KEP-1880).
pub fn service_cidr(object: &networking::ServiceCIDR) -> Observed<Vec<IpNet>> {
    let mut skipped = Skipped::default();
    let cidrs = object
        .spec
        .as_ref()
        .and_then(|s| s.cidrs.as_deref())
        .unwrap_or_default();
    let cidrs = prefixes("spec.cidrs", cidrs, &mut skipped);
    Observed {
        object: Some(cidrs),
        skipped: skipped.0,
    }
}
