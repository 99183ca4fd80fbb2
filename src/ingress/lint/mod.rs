// SPDX-License-Identifier: Apache-2.0
//! What `ferrule debug ingress --lint` tells: everything of the Ingresses that is not served as it is
//! written, and what to look at before ingress-nginx is replaced. PURE.
//!
//! | module | looks for |
//! |---|---|
//! | `webhook` | what ingress-nginx's admission webhook would have refused |
//! | [`policy`] | NetworkPolicies that let in ingress-nginx, but no node |

pub mod policy;
mod webhook;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::annotation::Kind;
use super::catalog::{Catalog, Verdict};
use crate::model::{Ingress, ServiceName};

/// All that was found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Lint {
    /// How many Ingresses are served, and were looked at.
    pub ingresses: usize,
    /// What differs, by object.
    pub findings: Vec<Finding>,
    /// What could not be looked at, and what to do about it.
    pub not_checked: Vec<String>,
}

/// One thing that differs.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// Kind and name: `Ingress default/web`.
    pub object: String,
    /// The annotation, without its prefix; empty if it is about something else.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub annotation: String,
    /// What is wrong.
    pub kind: FindingKind,
    /// Why, and what holds instead.
    pub text: String,
}

/// What is wrong.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum FindingKind {
    /// ingress-nginx does not know the annotation either.
    Unknown,
    /// A value cannot be read.
    Invalid,
    /// It is served, but not exactly as in ingress-nginx.
    Approximated,
    /// It is not served.
    Refused,
    /// Two Ingresses ask for the same.
    Conflict,
    /// An object that is named is not there.
    Missing,
    /// Another part of the object is not served.
    Unserved,
    /// ingress-nginx's admission webhook would have refused it; it is served here.
    Webhook,
    /// A NetworkPolicy would keep the sidecar out.
    Policy,
}

impl FindingKind {
    /// As it is written: one word in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            FindingKind::Unknown => "unknown",
            FindingKind::Invalid => "invalid",
            FindingKind::Approximated => "approximated",
            FindingKind::Refused => "refused",
            FindingKind::Conflict => "conflict",
            FindingKind::Missing => "missing",
            FindingKind::Unserved => "unserved",
            FindingKind::Webhook => "webhook",
            FindingKind::Policy => "policy",
        }
    }
}

impl fmt::Display for FindingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<Kind> for FindingKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Unknown => Self::Unknown,
            Kind::Invalid => Self::Invalid,
            Kind::Approximated => Self::Approximated,
            Kind::Refused => Self::Refused,
        }
    }
}

impl Finding {
    /// Of an Ingress, about no annotation.
    fn of(name: &ServiceName, kind: FindingKind, text: impl Into<String>) -> Self {
        Self {
            object: format!("Ingress {name}"),
            annotation: String::new(),
            kind,
            text: text.into(),
        }
    }
}

impl Lint {
    /// Adds findings. All are in the order of their objects, and none is there twice.
    pub fn extend(&mut self, more: impl IntoIterator<Item = Finding>) {
        let all = std::mem::take(&mut self.findings).into_iter().chain(more);
        self.findings = all.collect::<BTreeSet<_>>().into_iter().collect();
    }
}

/// Looks at all Ingresses that are served.
pub fn lint(catalog: &Catalog) -> Lint {
    let mut lint = Lint {
        ingresses: catalog.served().count(),
        ..Lint::default()
    };
    for ingress in catalog.served() {
        lint.extend(annotations(catalog, ingress));
        lint.extend(named(catalog, ingress));
        let reasons = catalog.reasons(&ingress.name).into_iter();
        lint.extend(reasons.map(|text| Finding::of(&ingress.name, kind(&text), text)));
    }
    lint.extend(classes(catalog));
    lint.extend(certificates(catalog));
    lint.extend(config_maps(catalog));
    lint.extend(webhook::findings(catalog));
    lint
}

fn annotations(catalog: &Catalog, ingress: &Ingress) -> Vec<Finding> {
    let notes = catalog.annotated(&ingress.name).notes.iter();
    let finding = |note: &super::annotation::Note| Finding {
        annotation: note.annotation.to_string(),
        ..Finding::of(&ingress.name, note.kind.into(), note.text.clone())
    };
    notes.map(finding).collect()
}

/// Objects that annotations name and that are not there, unless that was noted already.
fn named(catalog: &Catalog, ingress: &Ingress) -> Vec<Finding> {
    let annotated = catalog.annotated(&ingress.name);
    let noted = |name: &ServiceName| {
        let mut notes = annotated.notes.iter();
        notes.any(|note| note.text.contains(&*name.name))
    };
    let secrets = annotated.named.secrets.iter();
    let secrets = secrets.filter(|name| catalog.secret(name).is_none());
    let maps = annotated.named.config_maps.iter();
    let maps = maps.filter(|name| catalog.config_map(name).is_none());
    let missing = secrets
        .map(|name| ("Secret", name))
        .chain(maps.map(|name| ("ConfigMap", name)));
    missing
        .filter(|(_, name)| !noted(name))
        .map(|(kind, name)| {
            let text = format!("{kind} {name}, which an annotation names, is not there");
            Finding::of(&ingress.name, FindingKind::Missing, text)
        })
        .collect()
}

/// The words are the catalog's own.
fn kind(reason: &str) -> FindingKind {
    if reason.contains("the older Ingress ") {
        FindingKind::Conflict
    } else if reason.ends_with(" is not there") || reason.contains(" has no TCP port ") {
        FindingKind::Missing
    } else {
        FindingKind::Unserved
    }
}

/// Ingresses that nobody serves, as their class is not there.
fn classes(catalog: &Catalog) -> Vec<Finding> {
    let verdicts = catalog.verdicts().filter_map(|(ingress, verdict)| {
        let Verdict::Other(reason) = verdict else {
            return None;
        };
        let missing = reason.ends_with(" is not there");
        missing.then(|| Finding::of(&ingress.name, FindingKind::Missing, reason))
    });
    verdicts.collect()
}

/// Hosts for which two Ingresses name certificates.
fn certificates(catalog: &Catalog) -> Vec<Finding> {
    let rival = |(host, owner, other): (Arc<str>, ServiceName, ServiceName)| {
        let text = format!("spec.tls: {host} has its certificate from the older Ingress {owner}");
        Finding::of(&other, FindingKind::Conflict, text)
    };
    catalog
        .certificate_rivals()
        .into_iter()
        .map(rival)
        .collect()
}

fn config_maps(catalog: &Catalog) -> Vec<Finding> {
    let maps = catalog.config_maps().flat_map(|(name, notes)| {
        let object = format!("ConfigMap {name}");
        // What the webhook was told to check is checked here.
        let notes = notes.into_iter().filter(|text| !text.contains("--lint"));
        notes.map(move |text| Finding {
            object: object.clone(),
            annotation: String::new(),
            kind: match text.ends_with("is not there") {
                true => FindingKind::Missing,
                false => FindingKind::Unserved,
            },
            text,
        })
    });
    maps.collect()
}
