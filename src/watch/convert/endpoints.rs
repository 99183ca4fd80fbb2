// SPDX-License-Identifier: Apache-2.0
//! Endpoints, as the mirroring controller of a cluster would turn them into EndpointSlices.

use super::{Skipped, field, slice};
use crate::model::{
    Conditions, EndpointSlice, IpFamily, Observed, ServiceName, SliceEndpoint, SliceName,
};
use crate::watch::wire;

/// Converts Endpoints to slices, one for each subset and family that has addresses. The first is
/// called `endpoints/NAME`, the next `endpoints/NAME/2` and so on: no EndpointSlice can be.
///
/// As in a cluster, the label `endpointslice.kubernetes.io/skip-mirror: "true"` and the annotation
/// of leader election make for none. Reasons for skipped fields stand with the first slice, or with
/// a gone `endpoints/NAME` if there is no slice.
pub fn endpoints(
    name: &SliceName,
    object: &wire::Endpoints,
) -> Vec<(SliceName, Observed<EndpointSlice>)> {
    let meta = &object.metadata;
    if meta.labels.skip_mirror.as_deref() == Some("true") || meta.annotations.leader.is_some() {
        return Vec::new();
    }
    let checked = field::label(&name.namespace)
        .map_err(|e| format!("metadata.namespace: {e}"))
        .and_then(|()| field::label(&name.name).map_err(|e| format!("metadata.name: {e}")));
    if let Err(reason) = checked {
        return vec![(mirror_name(name, 0), Observed::rejected(reason))];
    }
    let mut skipped = Skipped::default();
    let mut slices = Vec::new();
    for (i, subset) in object.subsets.iter().enumerate() {
        let ports = slice::ports(&format!("subsets[{i}].ports"), &subset.ports, &mut skipped);
        let all = addresses(i, subset, &mut skipped);
        for family in IpFamily::ALL {
            let of_family = |e: &&SliceEndpoint| IpFamily::of(e.address) == family;
            let endpoints: Vec<_> = all.iter().filter(of_family).cloned().collect();
            if !endpoints.is_empty() {
                let name = mirror_name(name, slices.len());
                slices.push(EndpointSlice {
                    service: ServiceName::new(name.namespace.clone(), meta_name(object)),
                    name,
                    ports: ports.clone(),
                    endpoints,
                    triggered_at: slice::triggered_at(&meta.annotations, &mut skipped),
                });
            }
        }
    }
    observed(name, slices, skipped)
}

fn observed(
    name: &SliceName,
    slices: Vec<EndpointSlice>,
    skipped: Skipped,
) -> Vec<(SliceName, Observed<EndpointSlice>)> {
    let reasons = skipped.into_reasons();
    if slices.is_empty() && !reasons.is_empty() {
        let nothing = Observed {
            object: None,
            skipped: reasons,
        };
        return vec![(mirror_name(name, 0), nothing)];
    }
    let mut all: Vec<_> = slices
        .into_iter()
        .map(|s| (s.name.clone(), Observed::new(s)))
        .collect();
    if let Some((_, first)) = all.first_mut() {
        first.skipped = reasons;
    }
    all
}

fn meta_name(object: &wire::Endpoints) -> &str {
    object.metadata.name.as_deref().unwrap_or_default()
}

/// The name of the slice number `index`, from 0, that Endpoints become.
pub(in crate::watch) fn mirror_name(name: &SliceName, index: usize) -> SliceName {
    let mirror = match index {
        0 => format!("endpoints/{}", name.name),
        _ => format!("endpoints/{}/{}", name.name, index + 1),
    };
    SliceName::new(name.namespace.clone(), mirror)
}

fn addresses(i: usize, subset: &wire::Subset, skipped: &mut Skipped) -> Vec<SliceEndpoint> {
    let ready = subset
        .addresses
        .iter()
        .enumerate()
        .map(|(j, a)| ("addresses", j, a, true));
    let unready = subset.not_ready_addresses.iter().enumerate();
    let unready = unready.map(|(j, a)| ("notReadyAddresses", j, a, false));
    let mut endpoints = Vec::new();
    for (list, j, object, ready) in ready.chain(unready) {
        let path = format_args!("subsets[{i}].{list}[{j}].ip");
        let address = field::endpoint(object.ip.as_deref().unwrap_or_default());
        let Some(address) = skipped.keep(path, address) else {
            continue;
        };
        endpoints.push(SliceEndpoint {
            address,
            conditions: Conditions {
                ready,
                serving: ready,
                terminating: false,
            },
            node: slice::some_name(object.node_name.as_deref()),
            zone: None,
            hints: None,
        });
    }
    endpoints
}
