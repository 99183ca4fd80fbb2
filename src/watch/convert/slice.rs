// SPDX-License-Identifier: Apache-2.0
//! EndpointSlice objects (kube-proxy: `pkg/proxy/endpointslicecache.go`).

use std::sync::Arc;

use k8s_openapi::api::discovery::v1 as discovery;

use super::{Skipped, address, name_of, port_number, protocol, shared};
use crate::model::{
    Conditions, EndpointPort, EndpointSlice, Hints, Observed, ServiceName, SliceEndpoint, SliceName,
};

/// Names the Service that a slice belongs to.
const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// Slices of headless Services carry it: no proxy needs them.
const HEADLESS: &str = "service.kubernetes.io/headless";
/// When the change that led to this slice happened.
const TRIGGER_TIME: &str = "endpoints.kubernetes.io/last-change-trigger-time";

/// Converts an EndpointSlice. Those of headless Services, of host names and of no Service are gone
/// to us.
pub fn slice(object: &discovery::EndpointSlice) -> Observed<EndpointSlice> {
    let meta = &object.metadata;
    let label = |key: &str| meta.labels.as_ref().and_then(|l| l.get(key));
    let Some(service) = label(SERVICE_NAME).filter(|s| !s.is_empty()) else {
        return Observed::gone();
    };
    if label(HEADLESS).is_some() || object.address_type == "FQDN" {
        return Observed::gone();
    }
    let name = name_of(meta);
    let mut skipped = Skipped::default();
    let ports = object.ports.iter().flatten().enumerate();
    let ports = ports
        .filter_map(|(i, port)| one_port(i, port, &mut skipped))
        .collect();
    let endpoints = object.endpoints.iter().flatten().enumerate();
    let endpoints = endpoints
        .filter_map(|(i, e)| one_endpoint(i, e, &mut skipped))
        .collect();
    let triggered = meta.annotations.as_ref().and_then(|a| a.get(TRIGGER_TIME));
    let slice = EndpointSlice {
        service: ServiceName::new(name.namespace.clone(), service.as_str()),
        name: SliceName::new(name.namespace, name.name),
        ports,
        endpoints,
        triggered_at: triggered
            .and_then(|t| t.parse::<jiff::Timestamp>().ok())
            .map(jiff::Timestamp::as_millisecond),
    };
    Observed {
        object: Some(slice),
        skipped: skipped.0,
    }
}

/// A port without a number means all ports, which no Service can use.
fn one_port(
    i: usize,
    port: &discovery::EndpointPort,
    skipped: &mut Skipped,
) -> Option<EndpointPort> {
    let number = port.port.filter(|n| *n != 0)?;
    let mut field = |name: &str, reason: String| {
        skipped.field(format_args!("ports[{i}].{name}"), reason);
    };
    let number = port_number(number).map_err(|e| field("port", e)).ok()?;
    let protocol = protocol(port.protocol.as_deref())
        .map_err(|e| field("protocol", e))
        .ok()?;
    let name = port.name.as_deref().unwrap_or_default().into();
    Some(EndpointPort {
        name,
        protocol,
        port: number,
    })
}

fn one_endpoint(
    i: usize,
    endpoint: &discovery::Endpoint,
    skipped: &mut Skipped,
) -> Option<SliceEndpoint> {
    let text = endpoint
        .addresses
        .first()
        .map(String::as_str)
        .unwrap_or_default();
    let address = address(text)
        .map_err(|reason| skipped.field(format_args!("endpoints[{i}].addresses[0]"), reason))
        .ok()?;
    let given = endpoint.conditions.as_ref();
    let conditions = Conditions {
        ready: given.and_then(|c| c.ready).unwrap_or(true),
        serving: given.and_then(|c| c.serving).unwrap_or(true),
        terminating: given.and_then(|c| c.terminating).unwrap_or(false),
    };
    Some(SliceEndpoint {
        address,
        conditions,
        node: shared(&endpoint.node_name),
        zone: shared(&endpoint.zone),
        hints: endpoint.hints.as_ref().and_then(hints),
    })
}

fn hints(given: &discovery::EndpointHints) -> Option<Box<Hints>> {
    let zones: Vec<Arc<str>> = given
        .for_zones
        .iter()
        .flatten()
        .map(|z| z.name.as_str().into())
        .collect();
    let nodes: Vec<Arc<str>> = given
        .for_nodes
        .iter()
        .flatten()
        .map(|n| n.name.as_str().into())
        .collect();
    (!zones.is_empty() || !nodes.is_empty()).then(|| Box::new(Hints { zones, nodes }))
}
