// SPDX-License-Identifier: Apache-2.0
//! EndpointSlice.

use std::net::IpAddr;
use std::sync::Arc;

use super::{Skipped, field};
use crate::model::{
    Conditions, EndpointPort, EndpointSlice, Hints, IpFamily, Observed, ServiceName, SliceEndpoint,
    SliceName,
};
use crate::watch::wire;

/// Converts an EndpointSlice.
///
/// Those of headless Services (label `service.kubernetes.io/headless`), of no Service (no label
/// `kubernetes.io/service-name`) and of address type FQDN are gone.
pub fn slice(name: &SliceName, object: &wire::EndpointSlice) -> Observed<EndpointSlice> {
    match object.metadata.labels.headless {
        None => any_slice(name, object),
        Some(_) => Observed::gone(),
    }
}

/// Converts an EndpointSlice, also one of a headless Service.
pub fn any_slice(name: &SliceName, object: &wire::EndpointSlice) -> Observed<EndpointSlice> {
    let labels = &object.metadata.labels;
    let Some(service) = labels.service_name.as_deref().filter(|n| !n.is_empty()) else {
        return Observed::gone();
    };
    let family = match object.address_type.as_deref() {
        Some("IPv4") => IpFamily::V4,
        Some("IPv6") => IpFamily::V6,
        Some("FQDN") => return Observed::gone(),
        other => {
            let other = field::quoted(other.unwrap_or_default());
            return Observed::rejected(format!(
                "addressType: must be IPv4, IPv6 or FQDN, is {other}"
            ));
        }
    };
    if let Err(reason) = checked(name, service) {
        return Observed::rejected(reason);
    }
    let mut skipped = Skipped::default();
    let slice = EndpointSlice {
        name: name.clone(),
        service: ServiceName::new(name.namespace.clone(), service),
        ports: ports("ports", &object.ports, &mut skipped),
        endpoints: endpoints(&object.endpoints, family, &mut skipped),
        triggered_at: triggered_at(&object.metadata.annotations, &mut skipped),
    };
    skipped.observed(slice)
}

fn checked(name: &SliceName, service: &str) -> Result<(), String> {
    field::label(&name.namespace).map_err(|e| format!("metadata.namespace: {e}"))?;
    field::subdomain(&name.name).map_err(|e| format!("metadata.name: {e}"))?;
    field::label(service).map_err(|e| format!("metadata.labels[kubernetes.io/service-name]: {e}"))
}

/// Ports, without those that have no number: these mean all ports, which is nothing to a proxy.
pub(super) fn ports(
    path: &str,
    objects: &[wire::EndpointPort],
    skipped: &mut Skipped,
) -> Vec<EndpointPort> {
    let mut ports: Vec<EndpointPort> = Vec::with_capacity(objects.len());
    let mut taken = std::collections::HashSet::with_capacity(objects.len());
    for (i, object) in objects.iter().enumerate() {
        if object.port.is_none() {
            continue;
        }
        let path = format!("{path}[{i}]");
        let protocol = field::protocol(object.protocol.as_deref());
        let protocol = skipped.keep(format_args!("{path}.protocol"), protocol);
        let port = skipped.keep(
            format_args!("{path}.port"),
            field::port(object.port.as_ref()),
        );
        let (Some(protocol), Some(port)) = (protocol, port) else {
            continue;
        };
        let name = object.name.as_deref().unwrap_or_default();
        match taken.insert((name, protocol)) {
            true => ports.push(EndpointPort {
                name: name.into(),
                protocol,
                port,
            }),
            false => {
                let name = field::quoted(name);
                skipped.note(
                    format_args!("{path}.name"),
                    format_args!("is there already: {name}"),
                );
            }
        }
    }
    ports
}

fn endpoints(
    objects: &[wire::Endpoint],
    family: IpFamily,
    skipped: &mut Skipped,
) -> Vec<SliceEndpoint> {
    let mut endpoints = Vec::with_capacity(objects.len());
    for (i, object) in objects.iter().enumerate() {
        let address = endpoint_address(&object.addresses, family);
        let path = format_args!("endpoints[{i}].addresses[0]");
        let Some(address) = skipped.keep(path, address) else {
            continue;
        };
        endpoints.push(SliceEndpoint {
            address,
            conditions: conditions(&object.conditions),
            node: some_name(object.node_name.as_deref()),
            zone: some_name(object.zone.as_deref()),
            hints: object.hints.as_ref().and_then(hints),
        });
    }
    endpoints
}

fn endpoint_address(texts: &[String], family: IpFamily) -> Result<IpAddr, String> {
    let address = field::endpoint(texts.first().ok_or("is missing")?)?;
    match IpFamily::of(address) == family {
        true => Ok(address),
        false => Err(format!("not an {family} address: {address}")),
    }
}

fn conditions(object: &wire::Conditions) -> Conditions {
    let default = Conditions::default();
    Conditions {
        ready: object.ready.unwrap_or(default.ready),
        serving: object.serving.unwrap_or(default.serving),
        terminating: object.terminating.unwrap_or(default.terminating),
    }
}

pub(super) fn some_name(text: Option<&str>) -> Option<Arc<str>> {
    text.filter(|t| !t.is_empty()).map(Arc::from)
}

fn hints(object: &wire::Hints) -> Option<Box<Hints>> {
    let names = |targets: &[wire::Target]| -> Vec<Arc<str>> {
        targets
            .iter()
            .filter_map(|t| some_name(t.name.as_deref()))
            .collect()
    };
    let hints = Hints {
        zones: names(&object.for_zones),
        nodes: names(&object.for_nodes),
    };
    (hints != Hints::default()).then(|| Box::new(hints))
}

pub(super) fn triggered_at(annotations: &wire::Annotations, skipped: &mut Skipped) -> Option<i64> {
    let text = annotations.triggered_at.as_deref()?;
    let path = "metadata.annotations[endpoints.kubernetes.io/last-change-trigger-time]";
    skipped
        .keep(path, field::timestamp(text))
        .map(|t| t.as_millisecond())
}
