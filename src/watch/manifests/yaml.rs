// SPDX-License-Identifier: Apache-2.0
//! YAML manifests.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error as _, IgnoredAny};
use serde_json::Value;
use serde_saphyr::{Localizer, Location, MessageFormatter};

use super::object::{Content, Kind, Reading};
use super::parse::{Failure, Format, Head, Objects, Source, Unit, read};

/// apiVersion and kind; none of a document without content.
pub(super) fn head(unit: &Unit<'_>) -> Result<Option<Head>, Failure> {
    let column = match unit.format {
        Format::YamlItem(column) => column,
        Format::Yaml | Format::Json => 0,
    };
    if let Some(head) = sniff(unit.text, column) {
        return Ok(Some(head));
    }
    if unit.text.lines().all(is_blank) {
        return Ok(None);
    }
    match unit.format {
        Format::YamlItem(_) => parse(unit).map(|(head,)| Some(head)),
        Format::Yaml | Format::Json => parse(unit),
    }
}

/// Whether a line holds nothing but what stands before a document.
pub(super) fn is_blank(line: &str) -> bool {
    let line = line.trim();
    line.is_empty() || line.starts_with(['#', '%']) || line == "---" || line.starts_with("--- #")
}

/// apiVersion and kind of a mapping in block style, without parsing it: what stands at the column
/// of its keys is a key of its own. None if that is not plain to see.
fn sniff(text: &str, column: usize) -> Option<Head> {
    let mut head = Head::default();
    for line in text.lines() {
        let Some((before, key)) = line.split_at_checked(column) else {
            continue;
        };
        if !before.bytes().all(|b| b == b' ' || b == b'-') {
            continue;
        }
        if let Some(kind) = key.strip_prefix("kind:") {
            head.kind = plain(kind)?.to_owned();
        } else if let Some(version) = key.strip_prefix("apiVersion:") {
            head.api_version = plain(version)?.to_owned();
        }
    }
    (!head.kind.is_empty()).then_some(head)
}

fn plain(value: &str) -> Option<&str> {
    let value = value.split('#').next()?.trim().trim_matches(['"', '\'']);
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"./-".contains(&b);
    (!value.is_empty() && value.bytes().all(plain)).then_some(value)
}

/// Cuts a list in block style into its items, without parsing them. None if it is none, or not
/// plain to see. If all items are valid YAML each for itself, they are what the list holds; an
/// anchor of one item that is used in another makes the other invalid.
pub(super) fn items<'a>(whole: &Unit<'a>) -> Option<Vec<Unit<'a>>> {
    let Content::List(default) = sniff(whole.text, 0)?.content() else {
        return None;
    };
    let mut lines = Lines::new(whole);
    lines.find(|line| line.text.trim_end() == "items:")?;
    let first = lines.start;
    let mut begins = Vec::new();
    let mut end = whole.text.len();
    let mut column = None;
    for line in lines {
        let content = line.text.trim_start_matches(' ');
        let indent = line.text.len() - content.len();
        if content.starts_with(['#', '\r', '\n']) || content.is_empty() {
            continue;
        } else if end < whole.text.len() {
            // Behind the items nothing may look like one more.
            if line.text.starts_with(['-', ' ']) && indent <= column? {
                return None;
            }
        } else if content.starts_with("- ") && *column.get_or_insert(indent) == indent {
            begins.push((line.start, line.number, keys(line.text)?));
        } else if indent == 0 && !content.starts_with('-') {
            end = line.start;
        } else if indent <= column? {
            return None;
        }
    }
    is_valid_without(whole.text, first..end).then_some(())?;
    let ends = begins.iter().skip(1).map(|(start, ..)| *start).chain([end]);
    let unit = |((start, line, keys), end): (&(usize, usize, usize), usize)| Unit {
        text: &whole.text[*start..end],
        line: *line,
        column: 1,
        format: Format::YamlItem(*keys),
        default,
    };
    let units: Vec<_> = begins.iter().zip(ends).map(unit).collect();
    (!units.is_empty()).then_some(units)
}

/// The column of the first key of an item.
fn keys(line: &str) -> Option<usize> {
    line.find(|c| c != ' ' && c != '-')
}

/// Whether what stands around the items is valid.
fn is_valid_without(text: &str, items: std::ops::Range<usize>) -> bool {
    let around = format!("{}{}", &text[..items.start], &text[items.end..]);
    serde_saphyr::from_str::<IgnoredAny>(&around).is_ok()
}

/// The lines of a unit with their places.
struct Lines<'a> {
    rest: &'a str,
    start: usize,
    number: usize,
}

struct Line<'a> {
    text: &'a str,
    /// Offset in the unit.
    start: usize,
    /// In the file, from 1.
    number: usize,
}

impl<'a> Lines<'a> {
    fn new(unit: &Unit<'a>) -> Self {
        Self {
            rest: unit.text,
            start: 0,
            number: unit.line,
        }
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = Line<'a>;

    fn next(&mut self) -> Option<Line<'a>> {
        if self.rest.is_empty() {
            return None;
        }
        let length = self.rest.find('\n').map_or(self.rest.len(), |n| n + 1);
        let (text, rest) = self.rest.split_at(length);
        let line = Line {
            text,
            start: self.start,
            number: self.number,
        };
        self.rest = rest;
        self.start += length;
        self.number += 1;
        Some(line)
    }
}

#[derive(Deserialize)]
struct List {
    items: Option<Vec<Item>>,
}

/// An item goes through a tree of its own, for its kind may stand at its end.
struct Item(Value);

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        if !value.is_object() {
            return Err(D::Error::custom("an item of a list must be an object"));
        }
        Ok(Self(value))
    }
}

impl Source for Item {
    type Error = serde_json::Error;
    fn object<T: DeserializeOwned>(self) -> Result<T, serde_json::Error> {
        serde_json::from_value(self.0)
    }
}

/// Reads a list as a whole.
pub(super) fn read_list(
    unit: &Unit<'_>,
    default: Option<Kind>,
    reading: Reading<'_>,
    objects: &mut Objects,
) -> Result<(), Failure> {
    let list: List = parse(unit)?;
    for (i, item) in list.items.into_iter().flatten().enumerate() {
        let failed = |reason: String| Failure::at(unit.line, 1, format!("items[{i}]: {reason}"));
        let text = |key: &str| item.0.get(key).and_then(Value::as_str).unwrap_or_default();
        let content = match (text("kind"), default) {
            ("", Some(kind)) => Content::One(kind),
            ("", None) => return Err(failed("no kind".into())),
            (kind, _) => Content::of(text("apiVersion"), kind),
        };
        if let Content::One(kind) = content {
            objects.add(
                kind,
                read(kind, reading, item).map_err(|e| failed(e.to_string()))?,
            );
        }
    }
    Ok(())
}

/// Reads a unit.
pub(super) fn parse<T: DeserializeOwned>(unit: &Unit<'_>) -> Result<T, Failure> {
    // A list may be as long as a file; depth and aliases stay bounded.
    let budget = serde_saphyr::budget! {
        max_events: usize::MAX / 2,
        max_nodes: usize::MAX / 2,
        max_total_scalar_bytes: usize::MAX / 2,
    };
    let options = serde_saphyr::options! { budget: budget, with_snippet: false };
    serde_saphyr::from_str_with_options(unit.text, options).map_err(|error| {
        let reason = error.without_snippet().render_with_formatter(&Bare);
        let location = error.location().unwrap_or(Location::UNKNOWN);
        let number = |n: u64| usize::try_from(n).unwrap_or(1).max(1);
        let line = unit.line + number(location.line()) - 1;
        Failure::at(line, number(location.column()), reason)
    })
}

/// Messages without a location: the parser's counts from the document, not from the file.
struct Bare;

impl MessageFormatter for Bare {
    fn localizer(&self) -> &dyn Localizer {
        &Bare
    }

    fn format_message<'a>(&self, error: &'a serde_saphyr::Error) -> Cow<'a, str> {
        serde_saphyr::DefaultMessageFormatter.format_message(error)
    }
}

impl Localizer for Bare {
    fn attach_location<'a>(&self, base: Cow<'a, str>, _: Location) -> Cow<'a, str> {
        base
    }
}
