// SPDX-License-Identifier: Apache-2.0
//! What comes out: findings, and what could not be looked at.

use std::fmt::Write;

use schemars::JsonSchema;
use serde::Serialize;

use super::facts::Unread;
use super::kind::{Kind, Severity};
use crate::debug::paint;

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// Its kind.
    #[serde(serialize_with = "id")]
    #[schemars(with = "String")]
    pub kind: Kind,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, in a sentence.
    pub what: String,
    /// What says so, as it was read.
    pub evidence: String,
    /// What to do.
    pub advice: String,
}

impl Finding {
    /// A finding as bad as its kind is.
    pub fn new(
        kind: Kind,
        what: impl Into<String>,
        evidence: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self {
            kind,
            severity: kind.severity(),
            what: what.into(),
            evidence: evidence.into(),
            advice: advice.into(),
        }
    }
}

fn id<S: serde::Serializer>(kind: &Kind, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(kind.id())
}

/// Something that could not be looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NotChecked {
    /// What, as `pods of default`.
    pub what: String,
    /// Why, as `forbidden: 403`.
    pub why: String,
}

/// All of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// What was found, the worst first.
    pub findings: Vec<Finding>,
    /// What could not be looked at.
    pub not_checked: Vec<NotChecked>,
    /// How many checks ran to their end.
    pub checks: usize,
}

impl Report {
    /// Whether anything needs somebody to act: notes do not.
    pub fn is_healthy(&self) -> bool {
        let bad = |f: &Finding| f.severity != Severity::Note;
        !self.findings.iter().any(bad)
    }

    /// Adds a finding.
    pub(super) fn add(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    /// Notes what could not be read; each thing once.
    pub(super) fn unread(&mut self, what: impl Into<String>, why: &Unread) {
        let (what, why) = (what.into(), why.to_string());
        let note = NotChecked { what, why };
        if !self.not_checked.contains(&note) {
            self.not_checked.push(note);
        }
    }

    /// Puts the worst first.
    pub(super) fn sort(&mut self) {
        self.findings
            .sort_by(|a, b| (a.severity, a.kind, &a.what).cmp(&(b.severity, b.kind, &b.what)));
    }

    /// For people, with colours.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for finding in &self.findings {
            let (severity, kind) = (finding.severity.word(), finding.kind.id());
            let style = match finding.severity {
                Severity::Error => paint::BAD,
                Severity::Warning => paint::WARN,
                Severity::Note => paint::DIM,
            };
            let severity = paint::paint(severity, style);
            let _ = writeln!(text, "{severity}: {} [{kind}]", finding.what);
            let _ = writeln!(text, "  seen: {}", finding.evidence);
            let _ = writeln!(text, "  do:   {}", finding.advice);
        }
        for missed in &self.not_checked {
            let _ = writeln!(text, "not checked: {}: {}", missed.why, missed.what);
        }
        let count = |severity| {
            self.findings
                .iter()
                .filter(|f| f.severity == severity)
                .count()
        };
        let _ = write!(
            text,
            "{} checks: {} errors, {} warnings, {} notes, {} not checked",
            self.checks,
            count(Severity::Error),
            count(Severity::Warning),
            count(Severity::Note),
            self.not_checked.len()
        );
        text
    }
}
