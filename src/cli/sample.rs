// SPDX-License-Identifier: Apache-2.0
//! The value of `--accounting-sample`.

use std::num::NonZeroU32;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// How many connections are counted (`--accounting-sample`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sample {
    /// All, and on a busy node one in 16.
    #[default]
    Auto,
    /// One in so many, always.
    OneIn(NonZeroU32),
}

impl FromStr for Sample {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            number => number
                .parse()
                .map(Self::OneIn)
                .map_err(|_| "must be auto or a number from 1 on"),
        }
    }
}

impl Serialize for Sample {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::OneIn(number) => serializer.serialize_u32(number.get()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_auto_or_a_number() {
        assert_eq!("auto".parse(), Ok(Sample::Auto));
        let sixteen = NonZeroU32::new(16).unwrap();
        assert_eq!("16".parse(), Ok(Sample::OneIn(sixteen)));
        for wrong in ["", "0", "-1", "1/16", "all"] {
            assert!(wrong.parse::<Sample>().is_err(), "{wrong}");
        }
    }
}
