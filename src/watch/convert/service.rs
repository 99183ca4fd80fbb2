// SPDX-License-Identifier: Apache-2.0
//! Service.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use super::{Skipped, field};
use crate::model::{
    IpFamily, IpvsWishes, Observed, Protocol, Service, ServiceName, ServicePort, TrafficPolicy,
    ipvs,
};
use crate::watch::wire::{self, Number};

/// `sessionAffinityConfig.clientIP.timeoutSeconds` of an object that gives none: 3 hours.
const AFFINITY_DEFAULT: u32 = 10_800;
/// The longest affinity that the API server admits: a day.
const AFFINITY_MOST: i64 = 86_400;

/// What `spec.type` says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    ClusterIp,
    NodePort,
    LoadBalancer,
}

/// Converts a Service.
///
/// Headless and ExternalName ones, and those that another proxy serves (label
/// `service.kubernetes.io/service-proxy-name`), are gone. One without clusterIP is rejected.
pub fn service(name: &ServiceName, object: &wire::Service) -> Observed<Service> {
    let spec = &object.spec;
    if is_none_of_ours(object) {
        return Observed::gone();
    }
    let kind = match checked(name, object) {
        Ok(kind) => kind,
        Err(reason) => return Observed::rejected(reason),
    };
    let mut skipped = Skipped::default();
    let external_ips = addresses("spec.externalIPs", &spec.external_ips, &mut skipped);
    let external_policy = external_policy(spec, kind, &external_ips, &mut skipped);
    let service = Service {
        name: name.clone(),
        created: super::created(&object.metadata, &mut skipped),
        cluster_ips: cluster_ips(spec, &mut skipped),
        load_balancer_ips: load_balancer_ips(&object.status, &mut skipped),
        source_ranges: source_ranges(spec, &mut skipped),
        ports: ports(spec, kind, &mut skipped),
        internal_policy: skipped
            .keep(
                "spec.internalTrafficPolicy",
                field::policy(spec.internal_traffic_policy.as_deref()),
            )
            .unwrap_or_default(),
        affinity: affinity(spec, &mut skipped),
        health_check_node_port: health_check(spec, kind, external_policy, &mut skipped),
        ipvs: wishes(&object.metadata.annotations, &mut skipped),
        external_ips,
        external_policy,
    };
    skipped.observed(service)
}

/// What it wishes of IPVS. It is read in every mode, so that a mistake is told in every mode.
fn wishes(annotations: &wire::Annotations, skipped: &mut Skipped) -> Option<Arc<IpvsWishes>> {
    let annotation = |name: &str| match name {
        ipvs::SCHEDULER => annotations.ipvs_scheduler.as_deref(),
        ipvs::WEIGHTS => annotations.ipvs_weights.as_deref(),
        ipvs::ONE_PACKET => annotations.ipvs_one_packet.as_deref(),
        _ => None,
    };
    let mut note =
        |name, reason| skipped.note(format_args!("metadata.annotations[{name}]"), reason);
    IpvsWishes::read(annotation, &mut note).map(Arc::new)
}

fn is_none_of_ours(object: &wire::Service) -> bool {
    let spec = &object.spec;
    let headless = |ip: Option<&String>| ip.is_some_and(|ip| ip == "None");
    object.metadata.labels.proxy_name.is_some()
        || spec.kind.as_deref() == Some("ExternalName")
        || headless(spec.cluster_ip.as_ref())
        || headless(spec.cluster_ips.first())
}

/// What makes the whole object unusable.
fn checked(name: &ServiceName, object: &wire::Service) -> Result<Kind, String> {
    let spec = &object.spec;
    field::label(&name.namespace).map_err(|e| format!("metadata.namespace: {e}"))?;
    field::label(&name.name).map_err(|e| format!("metadata.name: {e}"))?;
    let kind = match spec.kind.as_deref() {
        None | Some("" | "ClusterIP") => Kind::ClusterIp,
        Some("NodePort") => Kind::NodePort,
        Some("LoadBalancer") => Kind::LoadBalancer,
        Some(other) => {
            return Err(format!(
                "spec.type: must be ClusterIP, NodePort, LoadBalancer or ExternalName, is {}",
                field::quoted(other)
            ));
        }
    };
    let mut given = spec.cluster_ips.iter().chain(&spec.cluster_ip);
    if given.all(|ip| ip.is_empty()) {
        return Err("spec.clusterIP: is empty, and only an API server can allocate one".into());
    }
    Ok(kind)
}

/// `clusterIPs`, or of an older object `clusterIP`; one of each family (`GetClusterIPByFamily`).
fn cluster_ips(spec: &wire::ServiceSpec, skipped: &mut Skipped) -> Vec<IpAddr> {
    let single = spec.cluster_ip.as_slice();
    let (path, texts) = match spec.cluster_ips.as_slice() {
        [] => ("spec.clusterIP", single),
        several => ("spec.clusterIPs", several),
    };
    let mut ips: Vec<IpAddr> = Vec::with_capacity(texts.len().min(2));
    for (i, text) in texts.iter().enumerate() {
        let path = match path {
            "spec.clusterIP" => path.to_owned(),
            _ => format!("{path}[{i}]"),
        };
        let Some(ip) = skipped.keep(&path, field::frontend(text)) else {
            continue;
        };
        let family = IpFamily::of(ip);
        match ips.iter().any(|other| IpFamily::of(*other) == family) {
            true => skipped.note(path, format_args!("a second {family} address: {ip}")),
            false => ips.push(ip),
        }
    }
    ips
}

fn addresses(path: &str, texts: &[String], skipped: &mut Skipped) -> Vec<IpAddr> {
    let mut ips = Vec::with_capacity(texts.len());
    for (i, text) in texts.iter().enumerate() {
        let ip = skipped.keep(format_args!("{path}[{i}]"), field::frontend(text));
        ips.extend(ip.filter(|ip| !ips.contains(ip)));
    }
    ips
}

/// Of `ipMode: Proxy` the load balancer itself must see the traffic, also that from inside.
fn load_balancer_ips(status: &wire::ServiceStatus, skipped: &mut Skipped) -> Vec<IpAddr> {
    let mut ips = Vec::new();
    for (i, ingress) in status.load_balancer.ingress.iter().enumerate() {
        let path = format_args!("status.loadBalancer.ingress[{i}]");
        let Some(text) = ingress.ip.as_deref().filter(|ip| !ip.is_empty()) else {
            continue;
        };
        match ingress.ip_mode.as_deref() {
            None | Some("VIP") => {}
            Some("Proxy") => continue,
            Some(other) => {
                let other = field::quoted(other);
                skipped.note(
                    format_args!("{path}.ipMode"),
                    format_args!("must be VIP or Proxy, is {other}"),
                );
                continue;
            }
        }
        let ip = skipped.keep(format_args!("{path}.ip"), field::frontend(text));
        ips.extend(ip.filter(|ip| !ips.contains(ip)));
    }
    ips
}

fn source_ranges(spec: &wire::ServiceSpec, skipped: &mut Skipped) -> Vec<ipnet::IpNet> {
    let texts = spec.load_balancer_source_ranges.iter().enumerate();
    texts
        .filter_map(|(i, text)| {
            skipped.keep(
                format_args!("spec.loadBalancerSourceRanges[{i}]"),
                field::cidr(text),
            )
        })
        .collect()
}

/// Means nothing unless traffic can come from outside (`ExternalPolicyLocal`).
fn external_policy(
    spec: &wire::ServiceSpec,
    kind: Kind,
    external_ips: &[IpAddr],
    skipped: &mut Skipped,
) -> TrafficPolicy {
    let policy = field::policy(spec.external_traffic_policy.as_deref());
    let policy = skipped
        .keep("spec.externalTrafficPolicy", policy)
        .unwrap_or_default();
    match kind == Kind::ClusterIp && external_ips.is_empty() {
        true => TrafficPolicy::Cluster,
        false => policy,
    }
}

fn affinity(spec: &wire::ServiceSpec, skipped: &mut Skipped) -> Option<u32> {
    match spec.session_affinity.as_deref() {
        None | Some("" | "None") => return None,
        Some("ClientIP") => {}
        Some(other) => {
            let other = field::quoted(other);
            let reason = format_args!("must be ClientIP or None, is {other}");
            skipped.note("spec.sessionAffinity", reason);
            return None;
        }
    }
    let seconds = match &spec.session_affinity_config.client_ip.timeout_seconds {
        None => Ok(AFFINITY_DEFAULT),
        Some(Number::Whole(seconds @ 1..=AFFINITY_MOST)) => Ok(*seconds as u32),
        Some(other) => Err(format!("must be 1 to {AFFINITY_MOST}, is {other}")),
    };
    let path = "spec.sessionAffinityConfig.clientIP.timeoutSeconds";
    Some(skipped.keep(path, seconds).unwrap_or(AFFINITY_DEFAULT))
}

fn health_check(
    spec: &wire::ServiceSpec,
    kind: Kind,
    policy: TrafficPolicy,
    skipped: &mut Skipped,
) -> Option<u16> {
    if kind != Kind::LoadBalancer || policy != TrafficPolicy::Local {
        return None;
    }
    let port = field::optional_port(spec.health_check_node_port.as_ref());
    skipped.keep("spec.healthCheckNodePort", port)?
}

fn ports(spec: &wire::ServiceSpec, kind: Kind, skipped: &mut Skipped) -> Vec<ServicePort> {
    let mut numbers = HashSet::with_capacity(spec.ports.len());
    let mut names = HashSet::with_capacity(spec.ports.len());
    let mut ports = Vec::with_capacity(spec.ports.len());
    for (i, object) in spec.ports.iter().enumerate() {
        let path = format!("spec.ports[{i}]");
        let Some((protocol, port)) = number(object, &path, skipped) else {
            continue;
        };
        let name = object.name.as_deref().unwrap_or_default();
        if !name.is_empty()
            && skipped
                .keep(format_args!("{path}.name"), field::label(name))
                .is_none()
        {
            continue;
        }
        if numbers.contains(&(protocol, port)) {
            skipped.note(
                path,
                format_args!("port {port}/{protocol} is there already"),
            );
        } else if names.contains(name) {
            let name = field::quoted(name);
            skipped.note(
                format_args!("{path}.name"),
                format_args!("is there already: {name}"),
            );
        } else {
            numbers.insert((protocol, port));
            names.insert(name);
            let node_port = node_port(object, kind, &path, skipped);
            ports.push(ServicePort {
                name: name.into(),
                protocol,
                port,
                node_port,
            });
        }
    }
    ports
}

fn number(object: &wire::Port, path: &str, skipped: &mut Skipped) -> Option<(Protocol, u16)> {
    let protocol = field::protocol(object.protocol.as_deref());
    let protocol = skipped.keep(format_args!("{path}.protocol"), protocol);
    let port = skipped.keep(
        format_args!("{path}.port"),
        field::port(object.port.as_ref()),
    );
    Some((protocol?, port?))
}

fn node_port(object: &wire::Port, kind: Kind, path: &str, skipped: &mut Skipped) -> Option<u16> {
    let path = format_args!("{path}.nodePort");
    let port = skipped.keep(path, field::optional_port(object.node_port.as_ref()))??;
    if kind == Kind::ClusterIp {
        skipped.note(
            path,
            format_args!("{port}: only for type NodePort or LoadBalancer"),
        );
        return None;
    }
    Some(port)
}
