// SPDX-License-Identifier: Apache-2.0
//! Differences that are intended, and annotations that are not compared: each entered by hand, with
//! its reason, in ingress-nginx/harness/allowed.yaml.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::case::folder;

/// The file.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Allowed {
    /// Intended differences.
    pub differences: Vec<Entry>,
    /// Annotations without a case, and why.
    pub uncovered: BTreeMap<String, String>,
}

/// Cases that may differ, and why they do.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Names of cases; `*` at the end stands for anything.
    pub cases: Vec<String>,
    /// Each difference must have one of these in it.
    #[serde(default)]
    pub only: Vec<String>,
    /// Why ferrule does otherwise: a sentence.
    pub reason: String,
}

/// Reads the file.
///
/// # Errors
/// If it cannot be read, or something has no reason.
pub fn load() -> Result<Allowed> {
    let text = fs::read_to_string(folder().join("harness/allowed.yaml"))?;
    let allowed: Allowed = serde_saphyr::from_str(&text).context("allowed.yaml")?;
    let reasons = allowed.differences.iter().map(|entry| &entry.reason);
    for reason in reasons.chain(allowed.uncovered.values()) {
        ensure!(
            reason.len() > 20 && reason.ends_with('.'),
            "no sentence: {reason:?}"
        );
    }
    Ok(allowed)
}

impl Entry {
    /// Whether it is about a case.
    #[must_use]
    pub fn names(&self, case: &str) -> bool {
        self.cases.iter().any(|name| match name.strip_suffix('*') {
            Some(start) => case.starts_with(start),
            None => case == name,
        })
    }
}

impl Allowed {
    /// The reason for all of a case's differences, if they are intended.
    #[must_use]
    pub fn reason(&self, case: &str, differences: &[String]) -> Option<&str> {
        let fits = |difference: &String, entry: &Entry| {
            entry.only.is_empty()
                || entry
                    .only
                    .iter()
                    .any(|part| difference.contains(part.as_str()))
        };
        let entries: Vec<&Entry> = self.differences.iter().filter(|e| e.names(case)).collect();
        let all = differences
            .iter()
            .all(|d| entries.iter().any(|entry| fits(d, entry)));
        entries.first().filter(|_| all).map(|entry| &*entry.reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_named_is_allowed() {
        let entry = Entry {
            cases: vec!["tls-*".to_owned()],
            only: vec!["status".to_owned()],
            reason: "Because it is so.".to_owned(),
        };
        let allowed = Allowed {
            differences: vec![entry],
            ..Allowed::default()
        };
        let one = ["request 1: status: nginx \"200\"".to_owned()];
        assert_eq!(allowed.reason("tls-1", &one), Some("Because it is so."));
        assert_eq!(allowed.reason("auth-1", &one), None);
        let two = [one[0].clone(), "request 1: answer's body".to_owned()];
        assert_eq!(allowed.reason("tls-1", &two), None);
    }

    #[test]
    fn the_file_can_be_read() {
        load().unwrap();
    }
}
