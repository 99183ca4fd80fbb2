// SPDX-License-Identifier: Apache-2.0
//! All objects of a directory of manifests, of kinds that the agent does not read, too.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

/// Reads every file; lists become their items, and a namespace that is left out is `default`, as for
/// kubectl. A document that is no object is left out, as the agent tells those.
///
/// # Errors
/// The directory or a file in it cannot be read.
pub(super) fn read(directory: &Path) -> Result<Vec<Value>> {
    let named = || format!("--manifests {}", directory.display());
    let mut objects = Vec::new();
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
            add(&mut objects, value);
        }
    }
    Ok(objects)
}

fn documents(text: &str, json: bool) -> Vec<Value> {
    if json {
        let values = serde_json::Deserializer::from_str(text).into_iter();
        return values.map_while(Result::ok).collect();
    }
    serde_saphyr::from_multiple(text).unwrap_or_default()
}

fn add(objects: &mut Vec<Value>, mut value: Value) {
    if let Some(items) = value.get_mut("items").map(Value::take) {
        if let Value::Array(items) = items {
            items.into_iter().for_each(|item| add(objects, item));
        }
        return;
    }
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata
            .entry("namespace")
            .or_insert_with(|| "default".into());
    }
    objects.push(value);
}
