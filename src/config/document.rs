// SPDX-License-Identifier: Apache-2.0
//! Text -> a JSON value, with the fields that are given twice.

use std::cell::RefCell;
use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use serde_saphyr::DuplicateKeyPolicy;

/// How deep values may lie in each other; a configuration has four levels.
const DEPTH: usize = 64;

/// Reads YAML or JSON.
///
/// Returns the value, in which the last of several fields of a name counts, and the paths of these.
///
/// # Errors
/// The text is neither; in one line.
pub(super) fn read(text: &str) -> Result<(Value, Vec<String>), String> {
    let options = serde_saphyr::options! {
        duplicate_keys: DuplicateKeyPolicy::LastWins,
        with_snippet: false,
        legacy_octal_numbers: true,
    };
    let doubled = RefCell::default();
    let place = Place {
        path: "",
        depth: 0,
        doubled: &doubled,
    };
    let first = first_document(text);
    let yaml = serde_saphyr::with_deserializer_from_str_with_options(first, options, |from| {
        place.deserialize(from)
    });
    let value = yaml.or_else(|error| {
        // What JSON allows and YAML does not: tabs between tokens.
        doubled.borrow_mut().clear();
        let mut from = serde_json::Deserializer::from_str(text);
        let value = place
            .deserialize(&mut from)
            .and_then(|v| from.end().map(|()| v));
        value.map_err(|_| one_line(&error.to_string()))
    })?;
    Ok((value, doubled.into_inner()))
}

/// What comes before the second document of a stream: kube-proxy reads no further.
fn first_document(text: &str) -> &str {
    let mut begun = false;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let marker = line
            .strip_prefix("---")
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace));
        if marker && begun {
            return &text[..at];
        }
        let idle = line.trim().is_empty() || line.starts_with(['#', '%']);
        begun |= marker || !idle;
        at += line.len();
    }
    text
}

/// The first line of a message: parsers append an excerpt of the text.
pub(super) fn one_line(message: &str) -> String {
    let line = message
        .lines()
        .find(|line| !line.trim().is_empty())
        .unwrap_or("unreadable");
    line.trim().trim_start_matches("error: ").to_owned()
}

/// Where in the document a value is.
#[derive(Clone, Copy)]
struct Place<'a> {
    path: &'a str,
    depth: usize,
    doubled: &'a RefCell<Vec<String>>,
}

impl<'de> DeserializeSeed<'de> for Place<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        if self.depth > DEPTH {
            return Err(D::Error::custom("values lie too deep in each other"));
        }
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Place<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        self.deserialize(from)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        loop {
            let path = format!("{}[{}]", self.path, items.len());
            match from.next_element_seed(self.below(&path))? {
                Some(item) => items.push(item),
                None => return Ok(Value::Array(items)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(Key(key)) = from.next_key()? {
            let path = match self.path {
                "" => key.clone(),
                above => format!("{above}.{key}"),
            };
            let value = from.next_value_seed(self.below(&path))?;
            if map.insert(key, value).is_some() {
                self.doubled.borrow_mut().push(path);
            }
        }
        Ok(Value::Object(map))
    }
}

impl<'a> Place<'a> {
    fn below<'b>(self, path: &'b str) -> Place<'b>
    where
        'a: 'b,
    {
        Place {
            path,
            depth: self.depth + 1,
            doubled: self.doubled,
        }
    }
}

/// A key as text: YAML allows others, which then name no field.
struct Key(String);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(match Value::deserialize(from)? {
            Value::String(text) => Key(text),
            other => Key(other.to_string()),
        })
    }
}
