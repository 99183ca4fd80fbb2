// SPDX-License-Identifier: Apache-2.0
//! Objects of a directory of manifests; Pods too, which the agent does not read.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use super::objects::Objects;

/// Reads every file. A document that is no object is left out, as the agent tells those.
pub(super) fn read(directory: &Path) -> Result<Objects> {
    let named = || format!("--manifests {}", directory.display());
    let mut objects = Objects::default();
    let mut nodes = Vec::new();
    for entry in fs::read_dir(directory).with_context(named)? {
        let path = entry.with_context(named)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let known = [".yaml", ".yml", ".json"]
            .iter()
            .any(|end| name.ends_with(end));
        if !known || name.starts_with('.') {
            continue;
        }
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        for value in documents(&text, name.ends_with(".json")) {
            add(&mut objects, &mut nodes, value);
        }
    }
    objects.nodes_of_directory = Some(nodes);
    Ok(objects)
}

fn documents(text: &str, json: bool) -> Vec<Value> {
    if json {
        let values = serde_json::Deserializer::from_str(text).into_iter();
        return values.map_while(Result::ok).collect();
    }
    serde_saphyr::from_multiple(text).unwrap_or_default()
}

fn add(objects: &mut Objects, nodes: &mut Vec<super::objects::Node>, mut value: Value) {
    if let Some(items) = value.get_mut("items").map(Value::take) {
        if let Value::Array(items) = items {
            items.into_iter().for_each(|item| add(objects, nodes, item));
        }
        return;
    }
    let kind = value["kind"].as_str().unwrap_or_default().to_owned();
    // A namespace that is left out is `default`, as for kubectl.
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata
            .entry("namespace")
            .or_insert_with(|| "default".into());
    }
    match kind.as_str() {
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
