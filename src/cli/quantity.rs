// SPDX-License-Identifier: Apache-2.0
//! Sizes as Kubernetes writes them (apimachinery: `resource.Quantity`).

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::{Serialize, Serializer};
use serde_json::Value;

/// A whole number of bytes, 0 and up, in its canonical form: `1500`, `2k`, `64Mi`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quantity {
    bytes: u64,
    binary: bool,
}

const DECIMAL: [&str; 7] = ["", "k", "M", "G", "T", "P", "E"];
const BINARY: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

impl Quantity {
    /// Parses a number with or without a suffix.
    ///
    /// # Errors
    /// Anything else, also what is no whole number of bytes.
    pub fn parse(text: &str) -> Result<Self, String> {
        let digits = text
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len());
        let (number, suffix) = text.split_at(digits);
        let find = |list: &[&str]| list.iter().position(|unit| *unit == suffix);
        let (binary, power) = match (find(&DECIMAL), find(&BINARY)) {
            (Some(power), _) => (false, power),
            (None, Some(power)) => (true, power),
            (None, None) => return Err(wrong(text)),
        };
        let unit = step(binary).pow(power as u32);
        let number: u64 = number.parse().map_err(|_| wrong(text))?;
        let bytes = number.checked_mul(unit).ok_or_else(|| wrong(text))?;
        Ok(Self { bytes, binary })
    }

    /// The number of bytes.
    pub fn bytes(self) -> u64 {
        self.bytes
    }
}

fn step(binary: bool) -> u64 {
    if binary { 1024 } else { 1000 }
}

fn wrong(text: &str) -> String {
    format!("must be a size as 512, 1k or 2Mi, is {text:?}")
}

/// With the largest suffix that leaves a whole number.
impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (step, units) = match self.binary {
            true => (1024, BINARY),
            false => (1000, DECIMAL),
        };
        let (mut number, mut power) = (self.bytes, 0);
        while number > 0 && number % step == 0 && power + 1 < units.len() {
            number /= step;
            power += 1;
        }
        write!(f, "{number}{}", units[power])
    }
}

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(text) => Self::parse(&text),
            other => Self::parse(&other.to_string()),
        }
        .map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_written_in_their_canonical_form() {
        for (text, bytes, canonical) in [
            ("0", 0, "0"),
            ("0Ki", 0, "0"),
            ("1500", 1500, "1500"),
            ("64000", 64_000, "64k"),
            ("64k", 64_000, "64k"),
            ("65536", 65_536, "65536"),
            ("2048Ki", 2 << 20, "2Mi"),
        ] {
            let size = Quantity::parse(text).expect(text);
            assert_eq!(size.bytes(), bytes, "{text}");
            assert_eq!(size.to_string(), canonical, "{text}");
        }
        for text in [
            "",
            "k",
            "1K",
            "-1",
            "1.5k",
            "99999999999999999999",
            "99E",
            "1 k",
        ] {
            assert!(Quantity::parse(text).is_err(), "{text}");
        }
    }
}
