// SPDX-License-Identifier: Apache-2.0
//! JSON manifests.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::object::{Content, Kind};
use super::parse::{Failure, Format, Head, Unit};

#[derive(Deserialize)]
struct List<'a> {
    #[serde(borrow)]
    items: Option<Vec<&'a RawValue>>,
}

/// Cuts a text into its documents, and lists among these into their items.
pub(super) fn units(text: &str, first_line: usize) -> Result<Vec<Unit<'_>>, Failure> {
    let mut units = Vec::new();
    let mut cutter = Cutter {
        text,
        offset: 0,
        line: first_line,
        column: 1,
    };
    for document in serde_json::Deserializer::from_str(text).into_iter::<&RawValue>() {
        let document = document.map_err(|e| failure(&e, first_line, 1))?;
        let unit = cutter.cut(document.get(), None);
        match head(&unit)?.content() {
            Content::List(default) => {
                let items = parse::<List<'_>>(&unit)?.items.unwrap_or_default();
                units.extend(items.iter().map(|item| cutter.cut(item.get(), default)));
            }
            _ => units.push(unit),
        }
    }
    Ok(units)
}

/// Finds the places of pieces of a text. Counting lines goes on from the piece before, so that a
/// long list costs one pass.
struct Cutter<'a> {
    text: &'a str,
    offset: usize,
    line: usize,
    column: usize,
}

impl Cutter<'_> {
    /// `piece` is a slice of the text, not before the last one.
    fn cut<'a>(&mut self, piece: &'a str, default: Option<Kind>) -> Unit<'a> {
        let offset = piece.as_ptr().addr() - self.text.as_ptr().addr();
        let between = &self.text.as_bytes()[self.offset..offset];
        self.line += between.iter().filter(|b| **b == b'\n').count();
        self.column = match between.iter().rposition(|b| *b == b'\n') {
            Some(last) => between.len() - last,
            None => self.column + between.len(),
        };
        self.offset = offset;
        Unit {
            text: piece,
            line: self.line,
            column: self.column,
            format: Format::Json,
            default,
        }
    }
}

/// apiVersion and kind.
pub(super) fn head(unit: &Unit<'_>) -> Result<Head, Failure> {
    parse(unit)
}

/// Reads a unit.
pub(super) fn parse<'a, T: Deserialize<'a>>(unit: &Unit<'a>) -> Result<T, Failure> {
    // serde would read a list as the fields of a struct in their order.
    if !unit.text.starts_with('{') {
        return Err(Failure::at(unit.line, unit.column, "expected an object"));
    }
    serde_json::from_str(unit.text).map_err(|e| failure(&e, unit.line, unit.column))
}

/// `line` and `column` are where the text began in its file.
fn failure(error: &serde_json::Error, line: usize, column: usize) -> Failure {
    let text = error.to_string();
    let reason = match text.rsplit_once(" at line ") {
        Some((reason, _)) => reason,
        None => &text,
    };
    let column = match error.line() {
        0 | 1 => column + error.column().saturating_sub(1),
        _ => error.column(),
    };
    Failure::at(line + error.line().saturating_sub(1), column.max(1), reason)
}
