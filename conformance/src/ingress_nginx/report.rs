// SPDX-License-Identifier: Apache-2.0
//! n of m by annotation.

use std::collections::BTreeMap;

use comfy_table::{CellAlignment, Table, presets};
use serde::{Deserialize, Serialize};

use super::allowed::Allowed;
use super::case::Case;
use super::run::Outcome;

/// At least so many of 100 cases must agree.
pub const LEAST: f64 = 98.0;
/// Lines that are kept of a case that differs.
const LINES: usize = 4;

/// Results of a run.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// The version of nginx.
    pub nginx: String,
    /// Cases.
    pub cases: usize,
    /// Cases in which both do the same.
    pub agree: usize,
    /// By annotation, and by rule of ingress-nginx.
    pub subjects: BTreeMap<String, Count>,
    /// Cases that differ.
    pub disagreements: Vec<Disagreement>,
    /// Annotations without a case, and why.
    pub uncovered: BTreeMap<String, String>,
    /// Cases in which nginx does not do what its documentation says: empty, or nothing counts.
    pub unexpected: BTreeMap<String, Vec<String>>,
    /// Entries of the list that no case needs any more.
    pub stale: Vec<String>,
}

/// As much as tells what it is about.
fn shortened(differences: &[String]) -> Vec<String> {
    let short = |line: &String| line.chars().take(200).collect();
    differences.iter().take(LINES).map(short).collect()
}

/// Cases of one subject.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Count {
    /// All.
    pub cases: usize,
    /// Those in which both do the same.
    pub agree: usize,
    /// Those in which they are meant to differ.
    pub listed: usize,
}

/// A case that differs.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disagreement {
    /// The case.
    pub case: String,
    /// Why, if that is intended.
    pub reason: Option<String>,
    /// What differs.
    pub differences: Vec<String>,
}

impl Report {
    /// Counts.
    #[must_use]
    pub fn new(cases: &[Case], outcomes: &[Outcome], allowed: &Allowed, nginx: String) -> Self {
        let mut report = Self {
            nginx,
            cases: cases.len(),
            uncovered: allowed.uncovered.clone(),
            ..Self::default()
        };
        for (case, outcome) in cases.iter().zip(outcomes) {
            let agrees = outcome.differences.is_empty();
            let reason = allowed.reason(&case.name, &outcome.differences);
            let listed = !agrees && reason.is_some();
            for subject in case.subjects() {
                let count = report.subjects.entry(subject.to_owned()).or_default();
                count.cases += 1;
                count.agree += usize::from(agrees);
                count.listed += usize::from(listed);
            }
            report.agree += usize::from(agrees);
            if !agrees {
                report.disagreements.push(Disagreement {
                    case: case.name.clone(),
                    reason: reason.map(str::to_owned),
                    differences: shortened(&outcome.differences),
                });
            }
            if !outcome.unexpected.is_empty() {
                let lines = outcome.unexpected.clone();
                report.unexpected.insert(case.name.clone(), lines);
            }
        }
        let differs = |case: &str| report.disagreements.iter().any(|d| d.case == case);
        let needed = |entry: &&super::allowed::Entry| {
            cases
                .iter()
                .any(|case| entry.names(&case.name) && differs(&case.name))
        };
        let stale = allowed.differences.iter().filter(|entry| !needed(entry));
        report.stale = stale.map(|entry| entry.cases.join(", ")).collect();
        report
    }

    /// Cases that differ, are not listed, and did not differ in earlier results.
    #[must_use]
    pub fn new_since(&self, known: &Self) -> Vec<&str> {
        let before = |case: &str| known.disagreements.iter().any(|d| d.case == case);
        let cases = self.unlisted().map(|found| &*found.case);
        cases.filter(|case| !before(case)).collect()
    }

    /// Of 100 cases.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "there are not 2^52 cases")]
    pub fn percent(&self) -> f64 {
        100.0 * self.agree as f64 / self.cases.max(1) as f64
    }

    /// Disagreements that nobody has listed.
    pub fn unlisted(&self) -> impl Iterator<Item = &Disagreement> {
        self.disagreements.iter().filter(|d| d.reason.is_none())
    }

    /// Whether ferrule does as nginx does, but for what is listed.
    #[must_use]
    pub fn good(&self) -> bool {
        self.unexpected.is_empty() && self.unlisted().next().is_none() && self.percent() >= LEAST
    }

    /// An aligned table for terminals.
    #[must_use]
    pub fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(["annotation or rule", "agree", "of", "listed", "differ"]);
        for (subject, count) in &self.subjects {
            let differ = count.cases - count.agree - count.listed;
            let number = |n: usize| {
                if n == 0 {
                    "-".to_owned()
                } else {
                    n.to_string()
                }
            };
            table.add_row([
                subject.clone(),
                count.agree.to_string(),
                count.cases.to_string(),
                number(count.listed),
                number(differ),
            ]);
        }
        for column in 1..5 {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table.to_string()
    }

    /// One line.
    #[must_use]
    pub fn summary(&self) -> String {
        let unlisted = self.unlisted().count();
        let listed = self.disagreements.len() - unlisted;
        format!(
            "{} of {} cases agree ({:.1} %), {listed} differ as listed, {unlisted} otherwise",
            self.agree,
            self.cases,
            self.percent()
        )
    }
}
