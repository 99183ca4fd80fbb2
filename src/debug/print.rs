// SPDX-License-Identifier: Apache-2.0
//! How every debug command prints: a table for people, JSON or YAML for programs.

use std::io::Write;

use anstyle::Style;
use anyhow::Result;
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use super::paint;
use crate::cli::Output;

/// Prints a value: as JSON or YAML of one schema (docs/schema), or by `page`, which is told
/// whether it may be wide.
///
/// # Errors
/// Those of `out`.
pub(crate) fn print<T: Serialize, W: Write>(
    out: &mut W,
    output: Output,
    value: &T,
    page: impl FnOnce(&mut W, bool) -> std::io::Result<()>,
) -> Result<()> {
    match output {
        Output::Table => page(out, false)?,
        Output::Wide => page(out, true)?,
        Output::Json => writeln!(out, "{}", serde_json::to_string_pretty(value)?)?,
        Output::Yaml => write!(out, "{}", yaml(value)?)?,
    }
    Ok(())
}

/// By way of JSON, so that both say the same.
fn yaml(value: &impl Serialize) -> Result<String> {
    let mut text = serde_saphyr::to_string(&serde_json::to_value(value)?)?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

/// A table with aligned columns and no lines, whose rows are complete, for eyes, grep and awk.
pub(crate) struct Grid {
    table: Table,
}

impl Grid {
    /// A table with these headings.
    pub(crate) fn new<T: ToString>(head: impl IntoIterator<Item = T>) -> Self {
        let mut table = Table::new();
        table
            .load_style(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(head.into_iter().map(|cell| cell.to_string()));
        Self { table }
    }

    /// Adds a row. An empty cell shows as `-`.
    pub(crate) fn row<T: ToString>(&mut self, cells: impl IntoIterator<Item = T>) {
        let cell = |cell: T| match cell.to_string() {
            empty if empty.is_empty() => "-".to_owned(),
            text => text,
        };
        self.table.add_row(cells.into_iter().map(cell));
    }

    /// The text without a line end, with the cells painted that `style` gives a style for.
    pub(crate) fn text(mut self, style: impl Fn(&str) -> Option<Style>) -> String {
        for column in self.table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        paint::cells(&self.table.trim_fmt(), style)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn printed(output: Output) -> String {
        let value = json!({"name": "web", "port": 80, "yes": "no", "list": ["1", null]});
        let mut out = Vec::new();
        print(&mut out, output, &value, |out, wide| {
            writeln!(out, "{wide}")
        })
        .unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_format() {
        assert_eq!(printed(Output::Table), "false\n");
        assert_eq!(printed(Output::Wide), "true\n");
        let json: serde_json::Value = serde_json::from_str(&printed(Output::Json)).unwrap();
        let yaml: serde_json::Value = serde_saphyr::from_str(&printed(Output::Yaml)).unwrap();
        assert_eq!(json, yaml);
    }
}
