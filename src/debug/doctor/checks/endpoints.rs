// SPDX-License-Identifier: Apache-2.0
//! Services without an endpoint that could serve, and why.

use super::{Facts, Finding, Report, listed, name};
use crate::debug::doctor::Kind;
use crate::debug::doctor::facts::objects::{Objects, Pod, Port, Service};
use crate::observe::view::{EndpointState, FrontendKind, Policy};

/// Judges each Service's ports; one finding a Service.
pub(super) fn endpoints(facts: &Facts, report: &mut Report) {
    let Ok(objects) = &facts.objects else { return };
    if let Err(unread) = &objects.slices {
        return report.unread("EndpointSlices", unread);
    }
    for service in objects.proxied() {
        let serves = |port: &Port| {
            let states = objects.targets(service, port).map(|(_, _, e)| e.state());
            let mut states = states.filter(|s| *s != EndpointState::NotReady);
            states.any(|s| s != EndpointState::Terminating)
        };
        let Some(port) = service.spec.ports.iter().find(|port| !serves(port)) else {
            continue;
        };
        if !service.spec.selector.is_empty()
            && let Err(unread) = &objects.pods
        {
            report.unread(format!("Pods of {}", service.metadata.id()), unread);
        }
        report.add(why(objects, service, port));
    }
}

fn why(objects: &Objects, service: &Service, port: &Port) -> Finding {
    let id = service.metadata.id();
    let what = |why: &str| {
        let port = port.port;
        format!("{id} has no ready endpoint on port {port}: {why}; clients get connection refused")
    };
    let of_slices = slices(objects, service, port);
    if service.spec.selector.is_empty() {
        return match of_slices.unlike_names.is_empty() {
            false => unlike_slices(what, port, &of_slices),
            true => Finding::new(
                Kind::NoEndpointsWritten,
                what("it has no selector, and nobody has written endpoints for it"),
                of_slices.summary,
                "write an EndpointSlice with the label kubernetes.io/service-name, or give the \
                 Service a selector",
            ),
        };
    }
    let pods = pods(objects, service);
    let alive: Vec<&Pod> = pods.iter().copied().filter(|pod| is_alive(pod)).collect();
    if objects.pods.is_err() || objects.nodes_of_directory.is_some() && no_pods(objects) {
        return of_slices_only(what, of_slices);
    }
    if pods.is_empty() {
        return Finding::new(
            Kind::SelectorMatchesNothing,
            what("its selector matches no Pod"),
            format!(
                "selector {} in namespace {}",
                selector(service),
                service.metadata.namespace
            ),
            "compare with kubectl get pods --show-labels; correct the selector or the labels, or \
             scale the workload up",
        );
    }
    if alive.is_empty() {
        return Finding::new(
            Kind::EndpointsTerminating,
            what("all its Pods are terminating or have ended"),
            listed(pods.iter().map(|pod| pod.metadata.name.clone())),
            "see why no new Pods come: kubectl describe of the Deployment or its ReplicaSet",
        );
    }
    if let Some(finding) = port_name(&what, port, &alive) {
        return finding;
    }
    if !alive.iter().any(|pod| is_ready(pod)) {
        return Finding::new(
            Kind::PodsUnready,
            what("none of its Pods is ready"),
            listed(alive.iter().map(|pod| unready(pod))),
            "kubectl describe pod and kubectl logs: a readiness probe that fails, an image that \
             cannot be pulled, a container that ends",
        );
    }
    if !of_slices.unlike_names.is_empty() {
        return unlike_slices(what, port, &of_slices);
    }
    Finding::new(
        Kind::NoReadyEndpoints,
        what("Pods are ready, and its EndpointSlices do not say so"),
        of_slices.summary,
        "see whether kube-controller-manager runs: it writes EndpointSlices",
    )
}

fn no_pods(objects: &Objects) -> bool {
    objects.pods.as_ref().is_ok_and(Vec::is_empty)
}

/// What EndpointSlices alone tell.
struct OfSlices {
    summary: String,
    terminating: bool,
    /// Names of ports that are there, where the port's own is not.
    unlike_names: Vec<String>,
}

fn slices(objects: &Objects, service: &Service, port: &Port) -> OfSlices {
    let states: Vec<_> = objects
        .targets(service, port)
        .map(|(_, _, e)| e.state())
        .collect();
    let count = |state| states.iter().filter(|s| **s == state).count();
    let (unready, ending) = (
        count(EndpointState::NotReady),
        count(EndpointState::Terminating),
    );
    let slices = objects.slices_of(service);
    let names: Vec<String> = slices
        .filter(|slice| !slice.endpoints.is_empty())
        .flat_map(|slice| {
            slice
                .ports
                .iter()
                .map(|p| p.name.clone().unwrap_or_default())
        })
        .collect();
    let unlike = states.is_empty() && !names.contains(&port.name);
    OfSlices {
        summary: format!(
            "{} EndpointSlices; endpoints: {unready} not ready, {ending} terminating",
            objects.slices_of(service).count()
        ),
        terminating: ending > 0 && unready == 0,
        unlike_names: if unlike { names } else { Vec::new() },
    }
}

fn unlike_slices(what: impl Fn(&str) -> String, port: &Port, slices: &OfSlices) -> Finding {
    Finding::new(
        Kind::PortNameMismatch,
        what("its EndpointSlices have no port of that name"),
        format!(
            "the Service's port is named {:?}, theirs {:?}",
            port.name, slices.unlike_names
        ),
        "give both the same name",
    )
}

fn of_slices_only(what: impl Fn(&str) -> String, slices: OfSlices) -> Finding {
    let (kind, why) = match slices.terminating {
        true => (
            Kind::EndpointsTerminating,
            "all its endpoints are terminating",
        ),
        false => (Kind::NoReadyEndpoints, "its EndpointSlices have none"),
    };
    Finding::new(
        kind,
        what(why),
        slices.summary,
        "kubectl get pods with the Service's selector, and kubectl describe of those",
    )
}

fn port_name(what: &impl Fn(&str) -> String, port: &Port, pods: &[&Pod]) -> Option<Finding> {
    let wanted = port.target_port.as_str()?;
    if wanted.parse::<u16>().is_ok() {
        return None;
    }
    let containers = pods.iter().flat_map(|pod| &pod.spec.containers);
    let ports: Vec<&str> = containers
        .flat_map(|c| &c.ports)
        .map(|p| p.name.as_str())
        .collect();
    (!ports.contains(&wanted)).then(|| {
        Finding::new(
            Kind::PortNameMismatch,
            what("none of its Pods has a port of the name that it asks for"),
            format!(
                "targetPort {wanted:?}; ports of the Pods: {}",
                listed(ports.iter().map(|p| format!("{p:?}")))
            ),
            "correct targetPort, or name the container's port so",
        )
    })
}

fn pods<'a>(objects: &'a Objects, service: &Service) -> Vec<&'a Pod> {
    let pods = objects.pods.as_deref().unwrap_or_default().iter();
    let selected = |pod: &&Pod| {
        let labels = &pod.metadata.labels;
        let mut selector = service.spec.selector.iter();
        pod.metadata.namespace == service.metadata.namespace
            && selector.all(|(key, value)| labels.get(key) == Some(value))
    };
    pods.filter(selected).collect()
}

fn is_alive(pod: &Pod) -> bool {
    let ended = ["Succeeded", "Failed"].contains(&pod.status.phase.as_str());
    pod.metadata.deletion_timestamp.is_none() && !ended
}

fn is_ready(pod: &Pod) -> bool {
    let mut conditions = pod.status.conditions.iter();
    conditions.any(|c| c.kind == "Ready" && c.status == "True")
}

/// Why a Pod is not ready: what a container waits for, or what the condition says.
fn unready(pod: &Pod) -> String {
    let waiting = pod.status.container_statuses.iter().find_map(|status| {
        let state = ["waiting", "terminated"].iter();
        let reason = state.filter_map(|s| status.state.get(*s)?.get("reason")?.as_str());
        let reason = reason.into_iter().next()?;
        Some(format!("container {}: {reason}", status.name))
    });
    let condition = || {
        let mut conditions = pod.status.conditions.iter();
        let bad = conditions.find(|c| c.kind == "Ready" && c.status != "True")?;
        Some(format!("{} {}", bad.reason, bad.message).trim().to_owned())
    };
    let phase = || format!("phase {}", pod.status.phase);
    let why = waiting.or_else(condition).filter(|w| !w.is_empty());
    format!("{}: {}", pod.metadata.name, why.unwrap_or_else(phase))
}

fn selector(service: &Service) -> String {
    let terms = service
        .spec
        .selector
        .iter()
        .map(|(k, v)| format!("{k}={v}"));
    terms.collect::<Vec<_>>().join(",")
}

/// Policy Local without an endpoint here: not every client of this node is served.
pub(super) fn local(facts: &Facts, report: &mut Report) {
    let mut told = Vec::new();
    for (service, frontend) in facts.frontends() {
        let ready = |e: &crate::observe::view::EndpointView| e.state == EndpointState::Ready;
        let elsewhere = frontend.endpoints.iter().filter(|e| ready(e)).count();
        let unused = frontend.endpoints.iter().all(|e| e.used.is_none());
        let key = (name(service), frontend.kind == FrontendKind::ClusterIP);
        if frontend.policy != Policy::Local || elsewhere == 0 || !unused || told.contains(&key) {
            continue;
        }
        let (field, whom) = match key.1 {
            true => ("internalTrafficPolicy", ""),
            false => ("externalTrafficPolicy", " clients from outside"),
        };
        report.add(Finding::new(
            Kind::NoLocalEndpoints,
            format!(
                "{} does not answer{whom} on this node: packets to it are dropped",
                key.0
            ),
            format!("{field}: Local, and its {elsewhere} ready endpoints are on other nodes"),
            "that is what the policy says: send clients to nodes with endpoints (a load balancer's \
             health check does), or set the policy to Cluster",
        ));
        told.push(key);
    }
}
