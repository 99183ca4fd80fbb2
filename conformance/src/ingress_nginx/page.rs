// SPDX-License-Identifier: Apache-2.0
//! The page docs/ingress-nginx-differential.md.

use std::fmt::Write;

use super::report::Report;

const HEAD: &str = include_str!("head.md");

/// Writes the page.
#[must_use]
pub fn page(report: &Report) -> String {
    let mut page = HEAD.to_owned();
    // Writing to a text does not fail.
    let _ = write_page(report, &mut page);
    page
}

fn write_page(report: &Report, page: &mut String) -> std::fmt::Result {
    writeln!(
        page,
        "\n## Results\n\n{}; nginx {}.\n",
        report.summary(),
        report.nginx
    )?;
    writeln!(
        page,
        "| annotation or rule | agree | of | differ as listed | differ |"
    )?;
    writeln!(page, "|---|--:|--:|--:|--:|")?;
    for (subject, count) in &report.subjects {
        let differ = count.cases - count.agree - count.listed;
        writeln!(
            page,
            "| {subject} | {} | {} | {} | {differ} |",
            count.agree, count.cases, count.listed
        )?;
    }
    writeln!(page, "\n## What differs\n")?;
    if report.disagreements.is_empty() {
        writeln!(page, "Nothing.")?;
    }
    for found in &report.disagreements {
        let reason = found.reason.as_deref().unwrap_or("Not intended.");
        writeln!(page, "- `{}`: {reason}", found.case)?;
    }
    writeln!(page, "\n## What is not compared\n")?;
    for (name, reason) in &report.uncovered {
        writeln!(page, "- `{name}`: {reason}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_says_what_differs_and_why() {
        let report: Report = serde_json::from_str(
            r#"{"nginx": "1.22.1", "cases": 2, "agree": 1, "subjects": {"use-regex":
            {"cases": 2, "agree": 1, "listed": 1}}, "disagreements": [{"case": "a", "reason":
            "So it is.", "differences": ["x"]}], "uncovered": {"b": "No module."},
            "unexpected": {}, "stale": []}"#,
        )
        .unwrap();
        let page = page(&report);
        for line in [
            "1 of 2 cases agree (50.0 %), 1 differ as listed, 0 otherwise; nginx 1.22.1.",
            "| use-regex | 1 | 2 | 1 | 0 |",
            "- `a`: So it is.",
            "- `b`: No module.",
        ] {
            assert!(page.contains(line), "{line} is not in\n{page}");
        }
        assert!(!report.good());
    }
}
