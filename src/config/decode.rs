// SPDX-License-Identifier: Apache-2.0
//! Text of a configuration file -> [`KubeProxyConfiguration`].
//!
//! Strict first, lenient after: a field that is unknown or given twice costs a warning, as with
//! kube-proxy; a value of the wrong type is an error, and all of them are found in one run.

use std::fmt::Write as _;

use serde_json::Value;
use serde_path_to_error::{Path, Segment, Track};

use super::document::{one_line, read};
use super::error::FieldError;
use super::file::KubeProxyConfiguration;

/// The API that the file must name.
pub(super) const API_VERSION: &str = "kubeproxy.config.k8s.io/v1alpha1";

/// A decoded file.
#[derive(Debug, Default)]
pub(super) struct Decoded {
    pub(super) file: KubeProxyConfiguration,
    /// Unknown and doubled fields.
    pub(super) warnings: Vec<String>,
    /// Values of the wrong type; their fields are at their defaults in `file`.
    pub(super) errors: Vec<FieldError>,
}

/// Decodes a file.
///
/// # Errors
/// The text is neither YAML nor JSON, or another kind of object; in one line.
pub(super) fn decode(text: &str) -> Result<Decoded, String> {
    let mut decoded = Decoded::default();
    let (mut value, doubled) = read(text)?;
    let warning = |path| format!("{path}: given twice, the last one counts");
    decoded.warnings = doubled.into_iter().map(warning).collect();
    drop_nulls(&mut value);
    check_kind(&value)?;
    // Each round either succeeds or takes one bad value out, so this ends.
    loop {
        let mut unknown = Vec::new();
        let mut track = Track::new();
        let deserializer = serde_path_to_error::Deserializer::new(&value, &mut track);
        let result =
            serde_ignored::deserialize(deserializer, |path| unknown.push(path.to_string()));
        match result {
            Ok(file) => {
                decoded.file = file;
                decoded
                    .warnings
                    .extend(unknown.iter().map(|path| unknown_field(path)));
                return Ok(decoded);
            }
            Err(error) => {
                let path = track.path();
                decoded.errors.push(wrong_type(&path, &error));
                if !remove(&mut value, &path) {
                    return Ok(decoded);
                }
            }
        }
    }
}

fn check_kind(value: &Value) -> Result<(), String> {
    if !value.is_object() {
        return Err("must hold a KubeProxyConfiguration object".to_owned());
    }
    let word = |key: &str| {
        value
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    match (word("apiVersion").as_str(), word("kind").as_str()) {
        (API_VERSION, "KubeProxyConfiguration") => Ok(()),
        (version, "KubeProxyConfiguration") => {
            Err(format!("apiVersion: must be {API_VERSION}, is {version:?}"))
        }
        (_, kind) => Err(format!("kind: must be KubeProxyConfiguration, is {kind:?}")),
    }
}

/// A null field is as good as none in Kubernetes' objects.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

fn unknown_field(path: &str) -> String {
    format!("{}: unknown field, ignored", path.replace(".?", ""))
}

fn wrong_type(path: &Path, error: &serde_json::Error) -> FieldError {
    FieldError {
        field: display(path),
        reason: one_line(&error.to_string()),
    }
}

fn display(path: &Path) -> String {
    let mut text = String::new();
    for segment in path {
        let _ = match segment {
            Segment::Seq { index } => write!(text, "[{index}]"),
            Segment::Map { key } if text.is_empty() => write!(text, "{key}"),
            Segment::Map { key } => write!(text, ".{key}"),
            Segment::Enum { .. } | Segment::Unknown => Ok(()),
        };
    }
    text
}

/// Takes the value at a path out; false if there is none to take.
fn remove(value: &mut Value, path: &Path) -> bool {
    let steps: Vec<&Segment> = path
        .iter()
        .filter(|step| matches!(step, Segment::Seq { .. } | Segment::Map { .. }))
        .collect();
    let Some((last, way)) = steps.split_last() else {
        return false;
    };
    let mut place = Some(value);
    for step in way {
        place = place.and_then(|value| match step {
            Segment::Map { key } => value.get_mut(key.as_str()),
            Segment::Seq { index } => value.get_mut(*index),
            _ => None,
        });
    }
    match (last, place) {
        (Segment::Map { key }, Some(Value::Object(map))) => map.remove(key.as_str()).is_some(),
        (Segment::Seq { index }, Some(Value::Array(items))) if *index < items.len() => {
            items.remove(*index);
            true
        }
        _ => false,
    }
}
