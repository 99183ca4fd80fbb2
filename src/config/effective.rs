// SPDX-License-Identifier: Apache-2.0
//! The configuration as a value, with all defaults.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Config;
use super::file::KubeProxyConfiguration;

impl Config {
    /// The KubeProxyConfiguration that holds, with its defaults: what kube-proxy shows on
    /// `/configz` and writes by `--write-config-to`. The sync periods and masqueradeAll of modes
    /// that are not used are zero, as there.
    pub fn effective(&self) -> &Value {
        &self.effective
    }

    /// The same as YAML, keys in order.
    pub fn effective_yaml(&self) -> String {
        // A value of ours has neither other keys than text, nor numbers that YAML lacks.
        serde_saphyr::to_string(&self.effective).unwrap_or_default()
    }
}

pub(super) fn value(file: &KubeProxyConfiguration) -> Value {
    serde_json::to_value(file).unwrap_or_default()
}

/// The leaves of a value by their paths; lists and empty objects are leaves.
pub(super) fn leaves(value: &Value) -> BTreeMap<String, &Value> {
    let mut all = BTreeMap::new();
    gather("", value, &mut all);
    all
}

fn gather<'a>(path: &str, value: &'a Value, all: &mut BTreeMap<String, &'a Value>) {
    match value {
        Value::Object(map) if !map.is_empty() && path != "featureGates" => {
            for (key, value) in map {
                let path = match path {
                    "" => key.clone(),
                    above => format!("{above}.{key}"),
                };
                gather(&path, value, all);
            }
        }
        leaf => {
            all.insert(path.to_owned(), leaf);
        }
    }
}
