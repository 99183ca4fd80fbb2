// SPDX-License-Identifier: Apache-2.0
//! Service objects (kube-proxy: `pkg/proxy/serviceport.go`).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use k8s_openapi::api::core::v1 as core;

use super::{Skipped, address, bad_name, name_of, port_number, protocol};
use crate::model::{Observed, Service, ServicePort, TrafficPolicy};

/// Whoever sets this label has another proxy for the Service.
const PROXY_NAME: &str = "service.kubernetes.io/service-proxy-name";
/// `sessionAffinityConfig.clientIP.timeoutSeconds` if it is not given.
const AFFINITY_SECONDS: u32 = 10_800;
/// The longest that the API allows.
const AFFINITY_MOST: i32 = 86_400;

/// Converts a Service. Headless ones, ExternalName and those of another proxy are gone to us.
pub fn service(object: &core::Service) -> Observed<Service> {
    let empty = core::ServiceSpec::default();
    let spec = object.spec.as_ref().unwrap_or(&empty);
    let labelled = |labels: &BTreeMap<String, String>| labels.contains_key(PROXY_NAME);
    let headless = spec.cluster_ip.as_deref() == Some("None")
        || spec.cluster_ips.iter().flatten().any(|ip| ip == "None");
    if object.metadata.labels.as_ref().is_some_and(labelled)
        || headless
        || spec.type_.as_deref() == Some("ExternalName")
    {
        return Observed::gone();
    }
    let name = name_of(&object.metadata);
    let bad = bad_name("metadata.namespace", &name.namespace)
        .or_else(|| bad_name("metadata.name", &name.name));
    if let Some(reason) = bad {
        return Observed::rejected(reason);
    }
    let mut skipped = Skipped::default();
    let cluster_ips = cluster_ips(spec, &mut skipped);
    if cluster_ips.is_empty() {
        skipped.field(
            "spec.clusterIP",
            "there is none, and nothing here allocates one",
        );
        return Observed {
            object: None,
            skipped: skipped.0,
        };
    }
    let external = reaches_outside(spec);
    let external_policy = match spec.external_traffic_policy.as_deref() {
        Some("Local") if external => TrafficPolicy::Local,
        _ => TrafficPolicy::Cluster,
    };
    let service = Service {
        created: object
            .metadata
            .creation_timestamp
            .as_ref()
            .map_or(i64::MAX, |t| t.0.as_second()),
        external_ips: addresses("spec.externalIPs", &spec.external_ips, &mut skipped),
        load_balancer_ips: load_balancer_ips(object, &mut skipped),
        source_ranges: source_ranges(spec, &mut skipped),
        ports: ports(spec, &mut skipped),
        internal_policy: match spec.internal_traffic_policy.as_deref() {
            Some("Local") => TrafficPolicy::Local,
            _ => TrafficPolicy::Cluster,
        },
        external_policy,
        affinity: affinity(spec, &mut skipped),
        health_check_node_port: health_check(spec, external_policy, &mut skipped),
        cluster_ips,
        name,
    };
    Observed {
        object: Some(service),
        skipped: skipped.0,
    }
}

fn is_load_balancer(spec: &core::ServiceSpec) -> bool {
    spec.type_.as_deref() == Some("LoadBalancer")
}

/// `externalTrafficPolicy` has a meaning only here.
fn reaches_outside(spec: &core::ServiceSpec) -> bool {
    is_load_balancer(spec)
        || spec.type_.as_deref() == Some("NodePort")
        || spec
            .external_ips
            .as_ref()
            .is_some_and(|ips| !ips.is_empty())
}

/// `clusterIPs`, or the older `clusterIP`; the first of each family.
fn cluster_ips(spec: &core::ServiceSpec, skipped: &mut Skipped) -> Vec<IpAddr> {
    let mut all = addresses("spec.clusterIPs", &spec.cluster_ips, skipped);
    if let Some(ip) = spec.cluster_ip.as_deref().filter(|ip| !ip.is_empty()) {
        match address(ip) {
            Ok(ip) if all.is_empty() => all.push(ip),
            Err(reason) if spec.cluster_ips.as_ref().is_none_or(Vec::is_empty) => {
                skipped.field("spec.clusterIP", reason);
            }
            _ => {}
        }
    }
    let mut families = BTreeSet::new();
    all.retain(|ip| families.insert(ip.is_ipv4()));
    all
}

fn addresses(path: &str, texts: &Option<Vec<String>>, skipped: &mut Skipped) -> Vec<IpAddr> {
    let mut all = Vec::new();
    for (i, text) in texts.iter().flatten().enumerate() {
        match address(text) {
            Ok(ip) if all.contains(&ip) => {}
            Ok(ip) => all.push(ip),
            Err(reason) => skipped.field(format_args!("{path}[{i}]"), reason),
        }
    }
    all
}

/// Addresses with `ipMode: Proxy` are left to the load balancer (KEP-1860).
fn load_balancer_ips(object: &core::Service, skipped: &mut Skipped) -> Vec<IpAddr> {
    if !object.spec.as_ref().is_some_and(is_load_balancer) {
        return Vec::new();
    }
    let status = object
        .status
        .as_ref()
        .and_then(|s| s.load_balancer.as_ref());
    let mut all = Vec::new();
    for (i, ingress) in status
        .into_iter()
        .flat_map(|s| s.ingress.iter().flatten())
        .enumerate()
    {
        let ours = matches!(ingress.ip_mode.as_deref(), None | Some("VIP"));
        match ingress
            .ip
            .as_deref()
            .filter(|ip| ours && !ip.is_empty())
            .map(address)
        {
            Some(Ok(ip)) if !all.contains(&ip) => all.push(ip),
            Some(Err(reason)) => {
                skipped.field(format_args!("status.loadBalancer.ingress[{i}].ip"), reason);
            }
            _ => {}
        }
    }
    all
}

fn source_ranges(spec: &core::ServiceSpec, skipped: &mut Skipped) -> Vec<IpNet> {
    let mut all = Vec::new();
    for (i, text) in spec
        .load_balancer_source_ranges
        .iter()
        .flatten()
        .enumerate()
    {
        match text.trim().parse::<IpNet>() {
            Ok(net) => all.push(net.trunc()),
            Err(_) => skipped.field(
                format_args!("spec.loadBalancerSourceRanges[{i}]"),
                format_args!("not a prefix like 192.0.2.0/24: {text:?}"),
            ),
        }
    }
    all
}

fn ports(spec: &core::ServiceSpec, skipped: &mut Skipped) -> Vec<ServicePort> {
    let mut all: Vec<ServicePort> = Vec::new();
    let mut known = BTreeSet::new();
    for (i, port) in spec.ports.iter().flatten().enumerate() {
        match one_port(port) {
            Err((field, reason)) => skipped.field(format_args!("spec.ports[{i}].{field}"), reason),
            Ok(port) if !known.insert((port.protocol, port.port)) => {
                let reason = format!("{}/{} is there already", port.port, port.protocol);
                skipped.field(format_args!("spec.ports[{i}]"), reason);
            }
            Ok(mut port) => {
                let node_port = port.node_port.filter(|_| has_node_ports(spec));
                port.node_port = node_port;
                all.push(port);
            }
        }
    }
    all
}

/// A Service that became a ClusterIP again may still show the NodePorts that it had.
fn has_node_ports(spec: &core::ServiceSpec) -> bool {
    is_load_balancer(spec) || spec.type_.as_deref() == Some("NodePort")
}

fn one_port(port: &core::ServicePort) -> Result<ServicePort, (&'static str, String)> {
    let name = port.name.as_deref().unwrap_or_default();
    if !name.is_empty()
        && let Some(reason) = bad_name("name", name)
    {
        return Err(("name", reason));
    }
    let node_port = match port.node_port {
        None | Some(0) => None,
        Some(number) => Some(port_number(number).map_err(|e| ("nodePort", e))?),
    };
    Ok(ServicePort {
        name: name.into(),
        protocol: protocol(port.protocol.as_deref()).map_err(|e| ("protocol", e))?,
        port: port_number(port.port).map_err(|e| ("port", e))?,
        node_port,
    })
}

fn affinity(spec: &core::ServiceSpec, skipped: &mut Skipped) -> Option<u32> {
    match spec.session_affinity.as_deref() {
        Some("ClientIP") => {}
        None | Some("" | "None") => return None,
        Some(other) => {
            skipped.field(
                "spec.sessionAffinity",
                format_args!("unknown affinity {other:?}"),
            );
            return None;
        }
    }
    let config = spec
        .session_affinity_config
        .as_ref()
        .and_then(|c| c.client_ip.as_ref());
    match config.and_then(|c| c.timeout_seconds) {
        None => Some(AFFINITY_SECONDS),
        Some(seconds @ 1..=AFFINITY_MOST) => Some(seconds.unsigned_abs()),
        Some(seconds) => {
            let reason = format!("must be 1 to {AFFINITY_MOST}, is {seconds}; 10800 is used");
            skipped.field("spec.sessionAffinityConfig.clientIP.timeoutSeconds", reason);
            Some(AFFINITY_SECONDS)
        }
    }
}

fn health_check(
    spec: &core::ServiceSpec,
    policy: TrafficPolicy,
    skipped: &mut Skipped,
) -> Option<u16> {
    let number = spec.health_check_node_port.filter(|n| *n != 0)?;
    if !is_load_balancer(spec) || policy != TrafficPolicy::Local {
        return None;
    }
    let port = port_number(number);
    port.map_err(|reason| skipped.field("spec.healthCheckNodePort", reason))
        .ok()
}
