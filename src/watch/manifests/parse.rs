// SPDX-License-Identifier: Apache-2.0
//! The text of a document becomes objects.
//!
//! A file is cut into units: YAML documents, JSON documents and the items of JSON lists. A unit
//! whose text is known need not be parsed again, which makes the change of one object in a file of
//! twenty thousand cheap.

use std::borrow::Cow;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error as _};
use serde_json::Value;
use serde_json::value::RawValue;
use serde_saphyr::{Localizer, Location, MessageFormatter};

use super::object::{self, Content, Fresh, Kind, Unusable};

/// Why a file can't be read, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    /// Line and column, from 1, where there are some.
    pub(super) at: Option<(usize, usize)>,
    pub(super) reason: String,
}

impl Failure {
    pub(super) fn new(reason: impl Into<String>) -> Self {
        Self {
            at: None,
            reason: reason.into(),
        }
    }

    fn at(line: usize, column: usize, reason: impl Into<String>) -> Self {
        Self {
            at: Some((line, column)),
            reason: reason.into(),
        }
    }
}

impl fmt::Display for Failure {
    /// `12:3: reason`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((line, column)) = self.at {
            write!(f, "{line}:{column}: ")?;
        }
        f.write_str(&self.reason)
    }
}

/// A piece of a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unit<'a> {
    text: &'a str,
    /// Where the text begins, from 1.
    pub(super) line: usize,
    column: usize,
    json: bool,
    /// The kind of an item that does not name its own.
    default: Option<Kind>,
}

/// What a unit holds.
#[derive(Debug, Default)]
pub(super) struct Objects {
    pub(super) fresh: Vec<Fresh>,
    pub(super) nameless: Vec<Kind>,
}

/// Cuts a text into units: `text` is one YAML document, or any number of JSON ones.
pub(super) fn units(
    text: &str,
    first_line: usize,
    json_only: bool,
) -> Result<Vec<Unit<'_>>, Failure> {
    let json = json_only || text.trim_start().starts_with('{');
    if json {
        match json_units(text, first_line) {
            Err(failure) if json_only => return Err(failure),
            Ok(units) => return Ok(units),
            // YAML in braces, then.
            Err(_) => {}
        }
    }
    Ok(vec![Unit {
        text,
        line: first_line,
        column: 1,
        json: false,
        default: None,
    }])
}

fn json_units(text: &str, first_line: usize) -> Result<Vec<Unit<'_>>, Failure> {
    let mut units = Vec::new();
    let documents = serde_json::Deserializer::from_str(text).into_iter::<&RawValue>();
    // Counting lines goes on from the unit before, so that a long list costs one pass.
    let mut place = (0, first_line, 1);
    for document in documents {
        let document = document.map_err(|e| json_failure(&e, first_line, 1))?.get();
        let unit = unit(text, document, None, &mut place);
        let head: JsonHead = from_json(&unit)?;
        match head.content() {
            Content::List(default) => {
                let list: JsonList<'_> = from_json(&unit)?;
                let items = list.items.unwrap_or_default();
                units.extend(
                    items
                        .iter()
                        .map(|item| self::unit(text, item.get(), default, &mut place)),
                );
            }
            _ => units.push(unit),
        }
    }
    Ok(units)
}

/// `part` is a slice of `text`; `place` a known (offset, line, column) not behind it.
fn unit<'a>(
    text: &str,
    part: &'a str,
    default: Option<Kind>,
    place: &mut (usize, usize, usize),
) -> Unit<'a> {
    let offset = part.as_ptr().addr() - text.as_ptr().addr();
    let (from, line, column) = *place;
    let between = &text.as_bytes()[from..offset];
    let newlines = between.iter().filter(|b| **b == b'\n').count();
    let column = match between.iter().rposition(|b| *b == b'\n') {
        Some(last) => between.len() - last,
        None => column + between.len(),
    };
    *place = (offset, line + newlines, column);
    Unit {
        text: part,
        line: line + newlines,
        column,
        json: true,
        default,
    }
}

impl Unit<'_> {
    /// Tells units apart whose objects may differ.
    pub(super) fn hash(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.default.map(|kind| kind as u8).hash(&mut hasher);
        self.text.trim().hash(&mut hasher);
        hasher.finish()
    }

    /// Reads the objects. `own` is the name of the own Node.
    pub(super) fn parse(&self, own: &str) -> Result<Objects, Failure> {
        let mut objects = Objects::default();
        let content = if self.json {
            self.json_content()?
        } else {
            self.yaml_content()?
        };
        match content {
            Content::Other => {}
            Content::One(kind) if self.json => objects.add(kind, read(kind, own, self)?),
            Content::One(kind) => objects.add(kind, read(kind, own, &Yaml(self))?),
            Content::List(default) => {
                let list: YamlList = from_yaml(self)?;
                for (i, item) in list.items.into_iter().flatten().enumerate() {
                    item.read(default, own, &mut objects).map_err(|reason| {
                        Failure::at(self.line, 1, format!("items[{i}]: {reason}"))
                    })?;
                }
            }
        }
        Ok(objects)
    }

    fn json_content(&self) -> Result<Content, Failure> {
        let head: JsonHead = from_json(self)?;
        match (head.kind.is_empty(), self.default) {
            (true, Some(kind)) => Ok(Content::One(kind)),
            (true, None) => Err(Failure::at(self.line, self.column, "no kind")),
            (false, _) => Ok(head.content()),
        }
    }

    fn yaml_content(&self) -> Result<Content, Failure> {
        if let Some((api_version, kind)) = sniff(self.text) {
            return Ok(Content::of(api_version, kind));
        }
        if self.text.lines().all(is_empty) {
            return Ok(Content::Other);
        }
        let head: Option<JsonHead> = from_yaml(self)?;
        match head {
            None => Ok(Content::Other),
            Some(head) if head.kind.is_empty() => {
                let blank = self.text.lines().take_while(|l| is_empty(l)).count();
                Err(Failure::at(self.line + blank, 1, "no kind"))
            }
            Some(head) => Ok(head.content()),
        }
    }
}

impl Objects {
    fn add(&mut self, kind: Kind, result: Result<Fresh, Unusable>) {
        match result {
            Ok(fresh) => self.fresh.push(fresh),
            Err(Unusable::Nameless) => self.nameless.push(kind),
            Err(Unusable::OtherNode) => {}
        }
    }
}

fn is_empty(line: &str) -> bool {
    let line = line.trim();
    line.is_empty() || line.starts_with(['#', '%']) || line == "---" || line.starts_with("--- #")
}

/// apiVersion and kind of a document in block style, without parsing it: what stands at the
/// beginning of a line is a key of the document itself. None if that is not plain to see.
fn sniff(text: &str) -> Option<(&str, &str)> {
    let value = |line: &'_ str, key| -> Option<(usize, usize)> {
        let rest = line.strip_prefix(key)?;
        let value = rest.split('#').next()?.trim().trim_matches(['"', '\'']);
        let start = value.as_ptr().addr() - line.as_ptr().addr();
        Some((start, start + value.len()))
    };
    let (mut api_version, mut kind) = ("", None);
    for line in text.lines() {
        if let Some((start, end)) = value(line, "kind:") {
            kind = Some(&line[start..end]);
        } else if let Some((start, end)) = value(line, "apiVersion:") {
            api_version = &line[start..end];
        }
    }
    let plain = |text: &str| {
        text.bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"./-".contains(&b))
    };
    let kind = kind.filter(|kind| !kind.is_empty() && plain(kind) && plain(api_version))?;
    Some((api_version, kind))
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct JsonHead {
    api_version: Option<String>,
    #[serde(deserialize_with = "text_or_null")]
    kind: String,
}

fn text_or_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl JsonHead {
    fn content(&self) -> Content {
        Content::of(self.api_version.as_deref().unwrap_or_default(), &self.kind)
    }
}

#[derive(Deserialize)]
struct JsonList<'a> {
    #[serde(borrow)]
    items: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize)]
struct YamlList {
    items: Option<Vec<Item>>,
}

/// An item of a YAML list. It goes through a tree of its own, for its kind may stand at its end.
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

impl Item {
    fn read(self, default: Option<Kind>, own: &str, objects: &mut Objects) -> Result<(), String> {
        let text = |key: &str| self.0.get(key).and_then(Value::as_str).unwrap_or_default();
        let content = match (text("kind"), default) {
            ("", Some(kind)) => Content::One(kind),
            ("", None) => return Err("no kind".into()),
            (kind, _) => Content::of(text("apiVersion"), kind),
        };
        if let Content::One(kind) = content {
            objects.add(
                kind,
                read(kind, own, Tree(self.0)).map_err(|e| e.to_string())?,
            );
        }
        Ok(())
    }
}

/// Something that one object can be read from.
trait Source {
    type Error;
    fn object<T: DeserializeOwned>(self) -> Result<T, Self::Error>;
}

fn read<S: Source>(kind: Kind, own: &str, source: S) -> Result<Result<Fresh, Unusable>, S::Error> {
    Ok(match kind {
        Kind::Service => object::service(&source.object()?),
        Kind::EndpointSlice => object::slice(&source.object()?),
        Kind::Endpoints => object::endpoints(&source.object()?),
        Kind::Node => object::node(&source.object()?, own),
        Kind::ServiceCidr => object::service_cidr(&source.object()?),
    })
}

struct Tree(Value);

impl Source for Tree {
    type Error = serde_json::Error;
    fn object<T: DeserializeOwned>(self) -> Result<T, serde_json::Error> {
        serde_json::from_value(self.0)
    }
}

impl Source for &Unit<'_> {
    type Error = Failure;
    fn object<T: DeserializeOwned>(self) -> Result<T, Failure> {
        from_json(self)
    }
}

struct Yaml<'a>(&'a Unit<'a>);

impl Source for &Yaml<'_> {
    type Error = Failure;
    fn object<T: DeserializeOwned>(self) -> Result<T, Failure> {
        from_yaml(self.0)
    }
}

fn from_json<'a, T: Deserialize<'a>>(unit: &Unit<'a>) -> Result<T, Failure> {
    // serde would read a list as the fields of a struct in their order.
    if !unit.text.starts_with('{') {
        return Err(Failure::at(unit.line, unit.column, "expected an object"));
    }
    serde_json::from_str(unit.text).map_err(|e| json_failure(&e, unit.line, unit.column))
}

fn json_failure(error: &serde_json::Error, line: usize, column: usize) -> Failure {
    let text = error.to_string();
    let reason = text
        .rsplit_once(" at line ")
        .map_or(text.as_str(), |(reason, _)| reason);
    let column = match error.line() {
        0 | 1 => column + error.column().saturating_sub(1),
        _ => error.column(),
    };
    Failure::at(line + error.line().saturating_sub(1), column.max(1), reason)
}

fn from_yaml<T: DeserializeOwned>(unit: &Unit<'_>) -> Result<T, Failure> {
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
        Failure::at(
            unit.line + number(location.line()) - 1,
            number(location.column()),
            reason,
        )
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
