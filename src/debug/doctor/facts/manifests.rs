// SPDX-License-Identifier: Apache-2.0
//! Objects of a directory of manifests; Pods too, which the agent does not read.

use std::path::Path;

use anyhow::Result;
use serde_json::Value;

use super::objects::Objects;
use crate::debug::values;

/// Reads every file.
pub(super) fn read(directory: &Path) -> Result<Objects> {
    let mut objects = Objects::default();
    let mut nodes = Vec::new();
    for value in values::read(directory)? {
        add(&mut objects, &mut nodes, value);
    }
    objects.nodes_of_directory = Some(nodes);
    Ok(objects)
}

fn add(objects: &mut Objects, nodes: &mut Vec<super::objects::Node>, value: Value) {
    match value["kind"].as_str().unwrap_or_default() {
        "Service" => push(&mut objects.services, value),
        "EndpointSlice" => push(&mut objects.slices, value),
        "Pod" => push(&mut objects.pods, value),
        "Node" => nodes.extend(serde_json::from_value(value)),
        _ => {}
    }
}

fn push<T: serde::de::DeserializeOwned>(list: &mut super::Fact<Vec<T>>, value: Value) {
    if let (Ok(list), Ok(object)) = (list, serde_json::from_value(value)) {
        list.push(object);
    }
}
