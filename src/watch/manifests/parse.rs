// SPDX-License-Identifier: Apache-2.0
//! The text of a document becomes objects.
//!
//! A file is cut into units: YAML and JSON documents, and the items of lists. A unit whose text is
//! known need not be parsed again, which makes the change of one object in a file of twenty
//! thousand cheap.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer};

use super::object::{self, Audience, Content, Fresh, Kind, Reading, Unusable};
use super::{json, yaml};

/// Why a file can't be read, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    /// Line and column, from 1, where there are some.
    at: Option<(usize, usize)>,
    reason: String,
}

impl Failure {
    /// A failure of the file as a whole.
    pub(super) fn new(reason: impl Into<String>) -> Self {
        Self {
            at: None,
            reason: reason.into(),
        }
    }

    /// A failure at a line and column.
    pub(super) fn at(line: usize, column: usize, reason: impl Into<String>) -> Self {
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

/// How the text of a unit is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// A JSON object.
    Json,
    /// A YAML document.
    Yaml,
    /// A YAML list of one item, whose keys begin at this column, from 0.
    YamlItem(usize),
}

/// A piece of a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unit<'a> {
    pub(super) text: &'a str,
    /// Where the text begins, from 1.
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) format: Format,
    /// The kind of an item that does not name its own.
    pub(super) default: Option<Kind>,
}

/// What a unit holds.
#[derive(Debug, Default)]
pub(super) struct Objects {
    pub(super) fresh: Vec<Fresh>,
    pub(super) nameless: Vec<Kind>,
}

/// Cuts a text into units: any number of JSON documents, or one YAML document. YAML lists are cut
/// into their items only if `split` is set.
pub(super) fn units(
    text: &str,
    line: usize,
    json_only: bool,
    split: bool,
) -> Result<Vec<Unit<'_>>, Failure> {
    if json_only {
        return json::units(text, line);
    }
    // What is no JSON after all is YAML in braces.
    if text.trim_start().starts_with('{')
        && let Ok(units) = json::units(text, line)
    {
        return Ok(units);
    }
    let whole = Unit {
        text,
        line,
        column: 1,
        format: Format::Yaml,
        default: None,
    };
    let items = split.then(|| yaml::items(&whole)).flatten();
    Ok(items.unwrap_or_else(|| vec![whole]))
}

impl Unit<'_> {
    /// Tells units apart whose objects may differ.
    pub(super) fn hash(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.default.map(|kind| kind as u8).hash(&mut hasher);
        self.text.trim().hash(&mut hasher);
        hasher.finish()
    }

    /// Reads the objects.
    pub(super) fn parse(&self, reading: Reading<'_>) -> Result<Objects, Failure> {
        let mut objects = Objects::default();
        match self.content()? {
            Content::Other => {}
            Content::One(kind) => objects.add(kind, read(kind, reading, self)?),
            Content::List(default) => yaml::read_list(self, default, reading, &mut objects)?,
        }
        Ok(objects)
    }

    fn content(&self) -> Result<Content, Failure> {
        let head = match self.format {
            Format::Json => json::head(self)?,
            Format::Yaml | Format::YamlItem(_) => match yaml::head(self)? {
                Some(head) => head,
                None => return Ok(Content::Other),
            },
        };
        match (head.kind.is_empty(), self.default) {
            (false, _) => Ok(head.content()),
            (true, Some(kind)) => Ok(Content::One(kind)),
            (true, None) => {
                let blank = self.text.lines().take_while(|l| yaml::is_blank(l)).count();
                let column = if blank == 0 { self.column } else { 1 };
                Err(Failure::at(self.line + blank, column, "no kind"))
            }
        }
    }
}

impl Objects {
    pub(super) fn add(&mut self, kind: Kind, result: Result<Fresh, Unusable>) {
        match result {
            Ok(fresh) => self.fresh.push(fresh),
            Err(Unusable::Nameless) => self.nameless.push(kind),
            Err(Unusable::Unread) => {}
        }
    }
}

/// What tells the kind of an object.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Head {
    #[serde(deserialize_with = "text_or_null")]
    pub(super) api_version: String,
    #[serde(deserialize_with = "text_or_null")]
    pub(super) kind: String,
}

fn text_or_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl Head {
    pub(super) fn content(&self) -> Content {
        Content::of(&self.api_version, &self.kind)
    }
}

/// Something that one object can be read from.
pub(super) trait Source {
    type Error;
    fn object<T: DeserializeOwned>(self) -> Result<T, Self::Error>;
}

impl Source for &Unit<'_> {
    type Error = Failure;
    fn object<T: DeserializeOwned>(self) -> Result<T, Failure> {
        match self.format {
            Format::Json => json::parse(self),
            Format::Yaml => yaml::parse(self),
            Format::YamlItem(_) => yaml::parse(self).map(|(object,)| object),
        }
    }
}

/// Reads an object of a known kind.
pub(super) fn read<S: Source>(
    kind: Kind,
    reading: Reading<'_>,
    source: S,
) -> Result<Result<Fresh, Unusable>, S::Error> {
    if !reading.wants(kind) {
        return Ok(Err(Unusable::Unread));
    }
    Ok(match kind {
        Kind::Service if reading.audience == Audience::Ingress => {
            object::upstream(&source.object()?)
        }
        Kind::Service => object::service(&source.object()?),
        Kind::EndpointSlice => object::slice(&source.object()?, reading.audience),
        Kind::Endpoints => object::endpoints(&source.object()?),
        Kind::Node => object::node(&source.object()?, reading.own),
        Kind::ServiceCidr => object::service_cidr(&source.object()?),
        Kind::Ingress => object::ingress(&source.object()?),
        Kind::IngressClass => object::ingress_class(&source.object()?),
        Kind::Secret => object::secret(&source.object()?),
        Kind::ConfigMap => object::config_map(&source.object()?),
    })
}
