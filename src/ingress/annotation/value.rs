// SPDX-License-Identifier: Apache-2.0
//! The shapes that values have, in annotations and in ingress-nginx's ConfigMap.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

/// Why a value is not taken.
pub(crate) type Wrong = String;

/// As Go's `strconv.ParseBool` has it, and `on` and `off`.
pub(crate) fn switch(value: &str) -> Result<bool, Wrong> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "on" | "1" | "t" => Ok(true),
        "false" | "off" | "0" | "f" => Ok(false),
        _ => Err(format!("must be true or false, is {value:?}")),
    }
}

/// A whole number of at least so much.
pub(crate) fn number(least: u32, value: &str) -> Result<u32, Wrong> {
    let parsed = value.parse::<u32>();
    let number = parsed.map_err(|_| format!("must be a number, is {value:?}"))?;
    match number >= least {
        true => Ok(number),
        false => Err(format!("must be at least {least}, is {value:?}")),
    }
}

/// Whole seconds, of at least so many.
pub(crate) fn seconds(least: u32, value: &str) -> Result<Duration, Wrong> {
    let parsed = value.parse::<u32>();
    let seconds = parsed.map_err(|_| format!("must be a number of seconds, is {value:?}"))?;
    match seconds >= least {
        true => Ok(Duration::from_secs(seconds.into())),
        false => Err(format!("must be at least {least}, is {value:?}")),
    }
}

/// nginx's times: seconds, or a number with a unit: `240s`, `4m`, `1h`, `2d`. None is not allowed.
pub(crate) fn time(value: &str) -> Result<Duration, Wrong> {
    let wrong = || format!("must be a time as 240s or 4m, is {value:?}");
    let digits = value.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &value[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    let number: u32 = digits.parse().map_err(|_| wrong())?;
    match u64::from(number) * unit {
        0 => Err(wrong()),
        seconds => Ok(Duration::from_secs(seconds)),
    }
}

/// nginx's sizes, in bytes: a number alone, or with `k`, `m` or `g`.
pub(crate) fn size(value: &str) -> Result<u64, Wrong> {
    let wrong = || format!("must be a size as 8m, is {value:?}");
    let digits = value.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match value[digits.len()..].to_ascii_lowercase().as_str() {
        "" => 1,
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        _ => return Err(wrong()),
    };
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    number.checked_mul(unit).ok_or_else(wrong)
}

/// Words between commas or blanks.
pub(crate) fn words(value: &str) -> impl Iterator<Item = &str> {
    let words = value.split(|c: char| c == ',' || c.is_whitespace());
    words.filter(|word| !word.is_empty())
}

/// Addresses and CIDRs.
pub(crate) fn networks(value: &str) -> Result<Vec<IpNet>, Wrong> {
    let parse = |word: &str| network(word).ok_or_else(|| format!("must be CIDRs, is {word:?}"));
    words(value).map(parse).collect()
}

/// An address or a CIDR.
pub(crate) fn network(word: &str) -> Option<IpNet> {
    let address = || word.parse::<IpAddr>().map(IpNet::from);
    word.parse().or_else(|_| address()).ok()
}

/// A status between two.
pub(crate) fn status(least: u16, most: u16, value: &str) -> Result<u16, Wrong> {
    let parsed = value.parse::<u16>().ok();
    let status = parsed.filter(|status| (least..=most).contains(status));
    status.ok_or_else(|| format!("must be a status from {least} to {most}, is {value:?}"))
}
