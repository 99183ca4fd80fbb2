// SPDX-License-Identifier: Apache-2.0
//! Endpoints objects, for manifests only: in a cluster the EndpointSliceMirroring controller turns
//! them into slices.

use k8s_openapi::api::core::v1 as core;

use super::{Skipped, address, name_of, port_number, protocol, shared};
use crate::model::{
    Conditions, EndpointPort, EndpointSlice, Observed, ServiceName, SliceEndpoint, SliceName,
};

/// Converts an Endpoints object: one slice a subset, as `endpoints/NAME/NUMBER` (no object can
/// have a name with slashes).
pub fn endpoints(object: &core::Endpoints) -> Vec<(SliceName, Observed<EndpointSlice>)> {
    let name = name_of(&object.metadata);
    let subsets = object.subsets.iter().flatten().enumerate();
    subsets
        .map(|(i, subset)| one_subset(i, subset, &name))
        .collect()
}

fn one_subset(
    i: usize,
    subset: &core::EndpointSubset,
    service: &ServiceName,
) -> (SliceName, Observed<EndpointSlice>) {
    let mut skipped = Skipped::default();
    let mut ports = Vec::new();
    for (j, port) in subset.ports.iter().flatten().enumerate() {
        let number = port_number(port.port);
        match (number, protocol(port.protocol.as_deref())) {
            (Ok(port_number), Ok(protocol)) => {
                let name = port.name.as_deref().unwrap_or_default().into();
                ports.push(EndpointPort {
                    name,
                    protocol,
                    port: port_number,
                });
            }
            (Err(reason), _) => {
                skipped.field(format_args!("subsets[{i}].ports[{j}].port"), reason);
            }
            (_, Err(reason)) => {
                skipped.field(format_args!("subsets[{i}].ports[{j}].protocol"), reason);
            }
        }
    }
    let ready = subset.addresses.iter().flatten().map(|a| (a, true));
    let not_ready = subset
        .not_ready_addresses
        .iter()
        .flatten()
        .map(|a| (a, false));
    let mut endpoints = Vec::new();
    for (given, ready) in ready.chain(not_ready) {
        match address(&given.ip) {
            Ok(address) => endpoints.push(SliceEndpoint {
                address,
                conditions: Conditions {
                    ready,
                    serving: ready,
                    terminating: false,
                },
                node: shared(&given.node_name),
                zone: None,
                hints: None,
            }),
            Err(reason) => skipped.field(format_args!("subsets[{i}].addresses"), reason),
        }
    }
    let name = format!("endpoints/{}/{i}", service.name);
    let name = SliceName::new(service.namespace.clone(), name);
    let service = service.clone();
    let slice = EndpointSlice {
        name: name.clone(),
        service,
        ports,
        endpoints,
        triggered_at: None,
    };
    (
        name,
        Observed {
            object: Some(slice),
            skipped: skipped.0,
        },
    )
}
