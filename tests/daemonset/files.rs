// SPDX-License-Identifier: Apache-2.0
//! The files of daemonset/, and objects in them.

use std::fs;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::Value;

/// Where the plain manifests are.
pub(crate) const MANIFESTS: &str = "daemonset/base/manifests";

/// A file or directory of this package.
pub(crate) fn path(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(relative)
}

pub(crate) fn text(relative: &str) -> String {
    fs::read_to_string(path(relative)).unwrap_or_else(|error| panic!("{relative}: {error}"))
}

/// Names of what is in a directory, sorted.
pub(crate) fn names(directory: &str) -> Vec<String> {
    let entries = fs::read_dir(path(directory)).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// All documents of a file.
pub(crate) fn documents(yaml: &str) -> Vec<Value> {
    let all: Vec<Value> = serde_saphyr::from_str_multiple(yaml).unwrap();
    all.into_iter().filter(|object| !object.is_null()).collect()
}

/// The only object of a kind among `all`; every field of it must be known to the type.
pub(crate) fn only<T: DeserializeOwned>(all: &[Value], kind: &str) -> T {
    let found: Vec<&Value> = all.iter().filter(|o| o["kind"] == kind).collect();
    assert_eq!(found.len(), 1, "{kind}");
    let mut unknown = Vec::new();
    let object = serde_ignored::deserialize(found[0], |path| unknown.push(path.to_string()));
    let object = object.unwrap_or_else(|error| panic!("{kind}: {error}"));
    assert!(unknown.is_empty(), "{kind}: {unknown:?}");
    object
}

/// All objects of the plain manifests.
pub(crate) fn manifests() -> Vec<Value> {
    let files = names(MANIFESTS);
    let texts = files
        .iter()
        .map(|name| text(&format!("{MANIFESTS}/{name}")));
    texts.flat_map(|text| documents(&text)).collect()
}
