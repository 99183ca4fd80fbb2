// SPDX-License-Identifier: Apache-2.0
//! Ginkgo's JUnit reports.

use anyhow::{Context, Result, bail};
use roxmltree::{Document, Node};

use super::results::{Outcome, Spec};

/// Characters of a reason, at most.
const REASON: usize = 300;

/// The specs of a report that ran, or that looked around and skipped themselves. Those that were
/// not chosen are in the report, too, as skipped without a word of why; so are the suite's own
/// steps, whose names do not begin with `[It]`.
///
/// # Errors
/// If the text is no XML, or a case says neither how it ended nor how long it took.
pub fn specs(xml: &str) -> Result<Vec<Spec>> {
    let document = Document::parse(xml)?;
    let cases = document
        .descendants()
        .filter(|n| n.has_tag_name("testcase"));
    cases.filter_map(|case| spec(case).transpose()).collect()
}

fn spec(case: Node) -> Result<Option<Spec>> {
    let name = case.attribute("name").context("a testcase without name")?;
    let Some(name) = name.strip_prefix("[It] ") else {
        return Ok(None);
    };
    let status = case
        .attribute("status")
        .with_context(|| format!("{name}: no status"))?;
    let seconds: f64 = case
        .attribute("time")
        .and_then(|t| t.parse().ok())
        .with_context(|| format!("{name}: no time"))?;
    let (result, reason) = match status {
        "passed" => (Outcome::Passed, String::new()),
        "skipped" | "pending" => match why(case, "skipped") {
            Some(reason) => (Outcome::Skipped, reason),
            None => return Ok(None),
        },
        "failed" | "panicked" | "timedout" | "interrupted" | "aborted" => {
            let reason = why(case, "failure").or_else(|| why(case, "error"));
            (Outcome::Failed, reason.unwrap_or_else(|| status.to_owned()))
        }
        other => bail!("{name}: unknown status {other:?}"),
    };
    Ok(Some(Spec {
        name: name.to_owned(),
        result,
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "rounded and clamped"
        )]
        seconds: seconds.round().clamp(0.0, 1e9) as u64,
        reason,
    }))
}

/// The message or text of the case's child. A spec that was not chosen has the message "skipped"
/// at most.
fn why(case: Node, tag: &str) -> Option<String> {
    let child = case.children().find(|n| n.has_tag_name(tag))?;
    let message = child.attribute("message").filter(|m| !m.is_empty());
    let text = message.or(child.text()).unwrap_or_default();
    let text = text.strip_prefix("skipped - ").unwrap_or(text);
    (text != "skipped" && !text.is_empty()).then(|| one_line(text))
}

/// One line, at most [`REASON`] characters, and of paths the last part only: where a machine
/// keeps its files concerns nobody.
fn one_line(text: &str) -> String {
    let words: Vec<String> = text.split_whitespace().map(without_path).collect();
    words.join(" ").chars().take(REASON).collect()
}

/// A word that is an absolute path, or has one behind a quote or an equals sign.
fn without_path(word: &str) -> String {
    let start = word.find('/').filter(|at| {
        word[..*at]
            .chars()
            .last()
            .is_none_or(|c| "='\"(".contains(c))
    });
    match (start, word.trim_end_matches('/').rfind('/')) {
        (Some(start), Some(last)) => format!("{}{}", &word[..start], &word[last + 1..]),
        _ => word.to_owned(),
    }
}

#[cfg(test)]
#[path = "junit_tests.rs"]
mod tests;
