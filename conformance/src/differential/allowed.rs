// SPDX-License-Identifier: Apache-2.0
//! Differences that are intended: a short list, entered by hand, each with its reason.

use anyhow::{Result, bail};
use serde::Deserialize;

use super::probe::{From, Frontend};
use super::rig::Difference;

/// The list itself.
const LIST: &str = include_str!("../../differential-allowed.json");
/// More than so many would be a second specification.
const MOST: usize = 10;

/// An intended difference. Fields that are not there match anything.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Allowed {
    /// Short name.
    pub name: String,
    /// Why ferrule does otherwise.
    pub reason: String,
    /// Thread of kube-proxy's repository, where there is one.
    #[serde(default)]
    pub issue: Option<String>,
    /// `pod`, `node` or `outside`.
    #[serde(default)]
    from: Option<String>,
    /// Kinds of frontends.
    #[serde(default)]
    frontend: Vec<Frontend>,
    /// Protocols.
    #[serde(default)]
    protocol: Vec<String>,
    /// All that was seen in kube-proxy's world, one of these; `*` at the end stands for the rest.
    #[serde(default)]
    kube_proxy: Vec<String>,
    /// All that was seen in ours, one of these; `*` at the end stands for the rest.
    #[serde(default)]
    ferrule: Vec<String>,
}

/// Reads the list.
///
/// # Errors
/// If it cannot be read, or has grown too long.
pub fn list() -> Result<Vec<Allowed>> {
    let list: Vec<Allowed> = serde_json::from_str(LIST)?;
    if list.len() > MOST {
        bail!("{} intended differences: {MOST} are the most", list.len());
    }
    Ok(list)
}

impl Allowed {
    /// Whether this is such a difference.
    pub fn covers(&self, difference: &Difference) -> bool {
        let probe = &difference.probe;
        let from = match probe.from {
            From::Pod(_) => "pod",
            From::Node(_) => "node",
            From::Outside(_) => "outside",
        };
        let one_of = |list: &[String], word: &String| {
            list.is_empty() || list.iter().any(|pattern| fits(pattern, word))
        };
        self.from.as_deref().is_none_or(|f| f == from)
            && (self.frontend.is_empty() || self.frontend.contains(&probe.frontend))
            && one_of(&self.protocol, &probe.protocol)
            && difference
                .kube_proxy
                .seen
                .iter()
                .all(|w| one_of(&self.kube_proxy, w))
            && difference
                .ferrule
                .seen
                .iter()
                .all(|w| one_of(&self.ferrule, w))
    }
}

/// Whether a word is the pattern, or begins as one that ends with a star.
fn fits(pattern: &str, word: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(head) => word.starts_with(head),
        None => word == pattern,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_entry_says_what_and_why() {
        for entry in super::list().expect("readable") {
            assert!(entry.reason.len() > 40, "{}", entry.name);
            assert!(
                !entry.kube_proxy.is_empty() && !entry.ferrule.is_empty(),
                "{}",
                entry.name
            );
        }
    }
}
