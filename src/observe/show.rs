// SPDX-License-Identifier: Apache-2.0
//! From the state to what the admin socket shows of it.

use super::admin::Selection;
use super::view::{EndpointView, FrontendKind, FrontendView, ServiceView, Used};
use crate::model::select::{self, Candidate, Choice};
use crate::model::{IpFamily, Service, ServicePort, State, TrafficPolicy};
use crate::plan::frontend::{self, Frontend, Kind};

/// The views of the selected Services, by name.
pub(crate) fn services(
    state: &State,
    families: &[IpFamily],
    selection: &Selection,
) -> Vec<ServiceView> {
    let mut names: Vec<_> = state
        .service_names()
        .filter(|name| selection.matches(name))
        .collect();
    names.sort_unstable();
    let services = names.into_iter().filter_map(|name| state.service(name));
    services
        .filter(|service| selection.answers(service))
        .map(|service| show(state, families, service))
        .collect()
}

fn show(state: &State, families: &[IpFamily], service: &Service) -> ServiceView {
    let mut frontends = Vec::new();
    for port in &service.ports {
        for family in families {
            frontends.extend(show_port(state, service, port, *family));
        }
    }
    ServiceView {
        namespace: service.name.namespace.to_string(),
        name: service.name.name.to_string(),
        health_check_node_port: service.health_check_node_port,
        frontends,
        usage: None,
    }
}

fn show_port(
    state: &State,
    service: &Service,
    port: &ServicePort,
    family: IpFamily,
) -> Vec<FrontendView> {
    let node = state.node();
    let of_family = |family| {
        let slices = state.slices(&service.name);
        select::candidates(slices, &port.name, port.protocol, family, node)
    };
    let candidates = of_family(family);
    let choice = select::choose(&candidates, true, node);
    let unused = select::explain(&candidates, node);
    // Said only where it is the reason for having none: a dual-stack Service has all twice.
    let others = match candidates.is_empty() {
        true => of_family(family.other()),
        false => Vec::new(),
    };
    let view = |frontend: Frontend| {
        let policy = frontend.policy(service);
        let endpoints = candidates.iter().zip(&unused).map(|(candidate, unused)| {
            endpoint(candidate, &choice, policy, unused.map(|u| u.to_string()))
        });
        let others = others.iter().map(|candidate| {
            let reason = format!("{}, the frontend is {family}", family.other());
            EndpointView {
                reason: Some(reason),
                used: None,
                ..endpoint(candidate, &choice, policy, None)
            }
        });
        FrontendView {
            kind: kind(frontend.kind),
            address: frontend.address,
            family: family.into(),
            port: frontend.port,
            protocol: frontend.protocol.into(),
            port_name: port.name.to_string(),
            policy: policy.into(),
            affinity_seconds: service.affinity,
            source_ranges: match frontend.kind {
                Kind::LoadBalancer => {
                    frontend::source_ranges(service, family, node).unwrap_or_default()
                }
                _ => Vec::new(),
            },
            endpoints: endpoints.chain(others).collect(),
        }
    };
    frontend::frontends(state, service, port, family)
        .into_iter()
        .map(view)
        .collect()
}

fn kind(kind: Kind) -> FrontendKind {
    match kind {
        Kind::ClusterIp => FrontendKind::ClusterIP,
        Kind::NodePort => FrontendKind::NodePort,
        Kind::LoadBalancer => FrontendKind::LoadBalancer,
        Kind::ExternalIp => FrontendKind::ExternalIP,
    }
}

fn endpoint(
    candidate: &Candidate<'_>,
    choice: &Choice,
    policy: TrafficPolicy,
    unused: Option<String>,
) -> EndpointView {
    let used = match policy {
        TrafficPolicy::Local => choice
            .local
            .contains(&candidate.target)
            .then_some(Used::Local),
        TrafficPolicy::Cluster => choice
            .cluster
            .contains(&candidate.target)
            .then_some(Used::Cluster),
    };
    let terminating = candidate.endpoint.conditions.terminating;
    let reason = match (used, policy) {
        (Some(_), _) => None,
        (None, TrafficPolicy::Local) if !candidate.local => Some("on another node".to_owned()),
        (None, TrafficPolicy::Local) if terminating => Some("terminating".to_owned()),
        (None, TrafficPolicy::Local) => Some("not ready".to_owned()),
        (None, TrafficPolicy::Cluster) => unused,
    };
    EndpointView {
        address: candidate.target.address,
        port: candidate.target.port,
        node: candidate.endpoint.node.as_deref().map(str::to_owned),
        zone: candidate.endpoint.zone.as_deref().map(str::to_owned),
        state: candidate.endpoint.conditions.into(),
        used,
        reason,
    }
}
