// SPDX-License-Identifier: Apache-2.0
//! `--feature-gates`.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Serialize, Serializer};

use super::value::parse_bool;

/// Feature gates by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gates(pub BTreeMap<String, bool>);

impl fmt::Display for Gates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, on)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{name}={on}")?;
        }
        Ok(())
    }
}

impl Serialize for Gates {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Parses `A=true,B=false` (Kubernetes: `MapStringBool`).
///
/// # Errors
/// A part that is no name with a boolean.
pub fn parse_gates(text: &str) -> Result<Gates, String> {
    let mut gates = BTreeMap::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (name, value) = part
            .split_once('=')
            .ok_or_else(|| format!("{part:?} is no NAME=BOOL"))?;
        let value = parse_bool(value.trim()).map_err(|e| format!("{}: {e}", name.trim()))?;
        gates.insert(name.trim().to_owned(), value);
    }
    Ok(Gates(gates))
}
