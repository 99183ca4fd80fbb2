// SPDX-License-Identifier: Apache-2.0
//! The text of one manifest file to objects. PURE.

use std::fmt;
use std::sync::Arc;

use ipnet::IpNet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::model::{EndpointSlice, Node, Observed, Service, ServiceName, SliceName};
use crate::watch::convert;

/// One object of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Item {
    /// A Service, and whether it has a selector.
    Service(ServiceName, Observed<Service>, bool),
    /// An EndpointSlice.
    Slice(SliceName, Observed<EndpointSlice>),
    /// Endpoints, as the slices that they stand for.
    Endpoints(ServiceName, Vec<(SliceName, Observed<EndpointSlice>)>),
    /// A Node, by name.
    Node(Arc<str>, Observed<Node>),
    /// A ServiceCIDR, by name.
    ServiceCidr(Arc<str>, Observed<Vec<IpNet>>),
}

/// Why a file can't be read, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Broken {
    /// Line, from 1; 0 if it is not known.
    pub(super) line: usize,
    /// Column, from 1.
    pub(super) column: usize,
    /// What is wrong there.
    pub(super) reason: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.reason),
            line => write!(f, "line {line}, column {}: {}", self.column, self.reason),
        }
    }
}

/// Reads JSON (one document or several, one after the other) or YAML, by the file's name.
pub(super) fn parse(file: &str, text: &str) -> Result<Vec<Item>, Broken> {
    let mut items = Vec::new();
    if file.ends_with(".json") {
        for document in serde_json::Deserializer::from_str(text).into_iter::<Value>() {
            let document = document.map_err(|e| Broken {
                line: e.line(),
                column: e.column(),
                reason: reason_of(&e),
            })?;
            read(document, &mut items);
        }
        return Ok(items);
    }
    for (line, document) in documents(text) {
        if let Some(value) = yaml(line, document)? {
            read(value, &mut items);
        }
    }
    Ok(items)
}

/// serde_json ends its messages with the place, which is told apart here.
fn reason_of(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or(&text).to_owned()
}

/// The documents of a YAML text, each with the number of its first line. A line that begins with
/// `---` separates documents wherever it stands (YAML 1.2, 9.1.2), so no parser is needed for it.
fn documents(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let separates = |line: &str| line.strip_prefix("---").is_some_and(ends_word);
    let mut rest = Some(text);
    let mut line = 1;
    std::iter::from_fn(move || {
        let document = rest.take()?;
        let begin = line;
        let mut length = 0;
        for (i, each) in document.split_inclusive('\n').enumerate() {
            if i > 0 && separates(each) {
                rest = Some(&document[length..]);
                break;
            }
            line += 1;
            length += each.len();
        }
        Some((begin, &document[..length]))
    })
}

fn ends_word(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n'])
}

fn yaml(first_line: usize, document: &str) -> Result<Option<Value>, Broken> {
    let empty = |line: &str| {
        let line = line.trim();
        line.is_empty() || line.starts_with('#') || line == "---"
    };
    if document.lines().all(empty) {
        return Ok(None);
    }
    // The budget is meant for text of strangers; a List of 10,000 Services exceeds it.
    let options = serde_saphyr::options! { budget: None };
    serde_saphyr::from_str_with_options(document, options)
        .map(Some)
        .map_err(|e| {
            let (line, column) = e.location().map_or((0, 0), |l| (l.line(), l.column()));
            let text = e.without_snippet().to_string();
            Broken {
                line: (first_line + line as usize).saturating_sub(1),
                column: column as usize,
                reason: text.lines().next().unwrap_or_default().to_owned(),
            }
        })
}

/// Takes in an object, or all of a list of any kind.
fn read(value: Value, items: &mut Vec<Item>) {
    let Value::Object(mut object) = value else {
        return;
    };
    let kind = object
        .get("kind")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    if kind.ends_with("List")
        && let Some(Value::Array(list)) = object.remove("items")
    {
        for mut item in list {
            // Typed lists, as ServiceList, leave out their items' kind.
            if let Value::Object(fields) = &mut item
                && !fields.contains_key("kind")
            {
                fields.insert("kind".into(), kind.trim_end_matches("List").into());
            }
            read(item, items);
        }
        return;
    }
    items.extend(one(&kind, Value::Object(object)));
}

fn one(kind: &str, value: Value) -> Option<Item> {
    let meta = value.get("metadata").cloned().unwrap_or_default();
    let meta: ObjectMeta = serde_json::from_value(meta).unwrap_or_default();
    let name = convert::name_of(&meta);
    let own: Arc<str> = name.name.clone();
    let item = match kind {
        "Service" => {
            let selector = value.pointer("/spec/selector").and_then(Value::as_object);
            let selects = selector.is_some_and(|s| !s.is_empty());
            Item::Service(name, typed(value, convert::service), selects)
        }
        "EndpointSlice" => Item::Slice(
            SliceName::new(name.namespace, own),
            typed(value, convert::slice),
        ),
        "Endpoints" => match decode(value) {
            Ok(object) => Item::Endpoints(name, convert::endpoints(&object)),
            Err(reason) => {
                let slice = SliceName::new(name.namespace.clone(), format!("endpoints/{own}/0"));
                Item::Endpoints(name, vec![(slice, Observed::rejected(reason))])
            }
        },
        "Node" => Item::Node(own, typed(value, convert::node)),
        "ServiceCIDR" => Item::ServiceCidr(own, typed(value, convert::service_cidr)),
        _ => return None,
    };
    Some(item)
}

fn typed<K: DeserializeOwned, T>(value: Value, convert: fn(&K) -> Observed<T>) -> Observed<T> {
    match decode(value) {
        Ok(object) => convert(&object),
        Err(reason) => Observed::rejected(reason),
    }
}

/// Decodes an object; the error names the field.
fn decode<K: DeserializeOwned>(value: Value) -> Result<K, String> {
    serde_path_to_error::deserialize(value).map_err(|e| {
        let path = e.path().to_string();
        format!("{path}: {}", e.into_inner())
    })
}
