// SPDX-License-Identifier: Apache-2.0
//! The schemas in docs/schema: what `-o json` and `-o yaml` print. They are made from the types
//! that are printed, and real output is held against them.

use std::path::PathBuf;

use schemars::{JsonSchema, schema_for};
use serde_json::Value;

use crate::ingress::explain::{Everything, Explained};
use crate::ingress::lint::Lint;
use crate::observe::accounting::AccountingView;
use crate::observe::view::ServiceView;

/// The schema of each command's output, by the command's name.
fn all() -> Vec<(&'static str, Value)> {
    fn of<T: JsonSchema>() -> Value {
        schema_for!(T).to_value()
    }
    vec![
        ("services", of::<Vec<ServiceView>>()),
        ("explain", of::<super::explain::view::Explanation>()),
        ("trace", of::<super::trace::TraceView>()),
        ("diff", of::<super::diff::Comparison>()),
        ("render", of::<Vec<super::render::Rendered>>()),
        ("rules", of::<super::rules::Listing>()),
        ("doctor", of::<super::doctor::Report>()),
        ("conntrack", of::<super::conntrack::View>()),
        ("top", of::<AccountingView>()),
        ("ingress", of::<Everything>()),
        ("lint", of::<Lint>()),
        ("route", of::<Explained>()),
    ]
}

fn path(name: &str) -> PathBuf {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/schema");
    PathBuf::from(directory).join(format!("debug-{name}.json"))
}

/// Fails if what a command has printed does not obey its schema in docs/schema.
pub(super) fn obeys(name: &str, printed: &Value) {
    let schema = std::fs::read_to_string(path(name)).expect("a schema");
    let schema = serde_json::from_str(&schema).expect("JSON");
    if let Err(error) = jsonschema::validate(&schema, printed) {
        panic!("debug {name}: {error} at {}", error.instance_path());
    }
}

/// `UPDATE_GOLDEN=1 cargo test schema` rewrites the files.
#[test]
fn files_are_current() {
    for (name, schema) in all() {
        let text = serde_json::to_string_pretty(&schema).expect("JSON") + "\n";
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(path(name), &text).expect("a writable file");
        }
        let file = std::fs::read_to_string(path(name)).unwrap_or_default();
        assert_eq!(text, file, "debug-{name}.json differs: UPDATE_GOLDEN=1");
    }
}

/// The check can fail.
#[test]
#[should_panic(expected = "namespace")]
fn a_missing_field_is_found() {
    obeys(
        "services",
        &serde_json::json!([{"name": "web", "frontends": []}]),
    );
}
