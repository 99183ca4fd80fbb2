// SPDX-License-Identifier: Apache-2.0
//! Colours. They are always written; [`anstream`] takes them out again where the output is no
//! terminal or `NO_COLOR` is set.

use anstyle::{AnsiColor, Effects, Style};

/// As it should be.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// Worth a look.
pub(crate) const WARN: Style = AnsiColor::Yellow.on_default();
/// Broken.
pub(crate) const BAD: Style = AnsiColor::Red.on_default();
/// A heading.
pub(crate) const HEAD: Style = Style::new().effects(Effects::BOLD);
/// Evidence and asides.
pub(crate) const DIM: Style = Style::new().effects(Effects::DIMMED);

/// The text in a style.
pub(crate) fn paint(text: impl std::fmt::Display, style: Style) -> String {
    format!("{style}{text}{style:#}")
}

/// Paints the first line of an aligned table as its heading, and of the others those cells that
/// `style` gives a style for. Cells end at two spaces, so widths are counted before any colour.
pub(super) fn cells(table: &str, style: impl Fn(&str) -> Option<Style>) -> String {
    let mut lines = table.lines();
    let head = lines.next().map(|line| paint(line, HEAD));
    let line = |line: &str| {
        let cell = |cell: &str| match style(cell.trim()) {
            Some(style) => paint(cell, style),
            None => cell.to_owned(),
        };
        let cells: Vec<String> = line.split("  ").map(cell).collect();
        cells.join("  ")
    };
    head.into_iter()
        .chain(lines.map(line))
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_cells_are_painted() {
        let style = |cell: &str| (cell == "ready").then_some(GOOD);
        let painted = cells("A      B\nready  not ready\n-      ready", style);
        let text = "\u{1b}[1mA      B\u{1b}[0m\n\u{1b}[32mready\u{1b}[0m  not ready\n\
                    -      \u{1b}[32mready\u{1b}[0m";
        assert_eq!(painted, text);
        assert_eq!(
            anstream::adapter::strip_str(&painted)
                .to_string()
                .lines()
                .count(),
            3
        );
    }
}
