// SPDX-License-Identifier: Apache-2.0
//! Values as Go's flag package writes them.

use std::convert::Infallible;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::{Serialize, Serializer};

/// A span of time in nanoseconds, possibly negative, as Go's `time.Duration`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Period(pub i64);

impl Period {
    /// A span of whole seconds.
    pub const fn seconds(seconds: i64) -> Self {
        Self(seconds * 1_000_000_000)
    }

    /// As a duration of the standard library; nothing for a negative span.
    pub fn to_duration(self) -> Option<Duration> {
        u64::try_from(self.0).ok().map(Duration::from_nanos)
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_period(&text).map_err(D::Error::custom)
    }
}

impl Serialize for Period {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// As Go's `Duration.String` writes it: `30s`, `1h0m0s`, `1.5s`, `20ms`.
impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let nanoseconds = self.0.unsigned_abs();
        match nanoseconds {
            0 => return f.write_str("0s"),
            1..1_000 => return write!(f, "{sign}{nanoseconds}ns"),
            1_000..1_000_000 => return write!(f, "{sign}{}\u{b5}s", decimal(nanoseconds, 1_000)),
            1_000_000..1_000_000_000 => {
                return write!(f, "{sign}{}ms", decimal(nanoseconds, 1_000_000));
            }
            _ => {}
        }
        f.write_str(sign)?;
        let minutes = nanoseconds / 60_000_000_000;
        if minutes >= 60 {
            write!(f, "{}h", minutes / 60)?;
        }
        if minutes > 0 {
            write!(f, "{}m", minutes % 60)?;
        }
        write!(
            f,
            "{}s",
            decimal(nanoseconds % 60_000_000_000, 1_000_000_000)
        )
    }
}

/// A number of units with as many decimals as it needs.
fn decimal(value: u64, unit: u64) -> String {
    let digits = unit.ilog10() as usize;
    let text = format!("{}.{:0digits$}", value / unit, value % unit);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Why a text is no span of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadPeriod(String);

impl fmt::Display for BadPeriod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "must be a duration as 30s or 1h15m, is {:?}", self.0)
    }
}

impl std::error::Error for BadPeriod {}

/// Parses what Go's `time.ParseDuration` takes: `30s`, `1h15m`, `1.5s`, `-2ms`, `0`.
///
/// # Errors
/// Anything else, and more than 292 years.
pub fn parse_period(text: &str) -> Result<Period, BadPeriod> {
    nanoseconds(text)
        .map(Period)
        .ok_or_else(|| BadPeriod(text.to_owned()))
}

fn nanoseconds(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut total = (!rest.is_empty()).then_some(0_i64)?;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        total = total.checked_add(scaled(number, unit_length(unit)?)?)?;
        rest = tail;
    }
    Some(sign * total)
}

/// Nanoseconds of a unit.
fn unit_length(unit: &str) -> Option<i64> {
    Some(match unit {
        "ns" => 1,
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

fn scaled(number: &str, unit: i64) -> Option<i64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    let whole = if whole.is_empty() {
        0
    } else {
        whole.parse::<i64>().ok()?
    };
    let part = format!("0.{fraction}0").parse::<f64>().ok()? * unit as f64;
    whole.checked_mul(unit)?.checked_add(part as i64)
}

/// Parses what Go's `strconv.ParseBool` takes.
pub(super) fn parse_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("must be true or false".to_owned()),
    }
}

/// `--version`, `--version=raw` and a boolean all ask for the same; `=false` asks for nothing.
pub(super) fn parse_version(text: &str) -> Result<bool, String> {
    if text == "raw" {
        Ok(true)
    } else {
        parse_bool(text)
    }
}

/// A path, possibly empty: kube-proxy takes an empty one for none.
pub(super) fn parse_path(text: &str) -> Result<PathBuf, Infallible> {
    Ok(PathBuf::from(text))
}
