// SPDX-License-Identifier: Apache-2.0
//! How patient the tests are and how much they do at once. The defaults are for a machine of its
//! own kind; an emulated one needs more time, which `PACKET_...` variables in the environment give.
//!
//! | variable | is | default |
//! |---|---|---|
//! | `PACKET_SILENCE_MS` | how long nobody must answer what is to be dropped | 1300 |
//! | `PACKET_ANSWER_MS` | how long an answer or a refusal may take that has to come | 5000 |
//! | `PACKET_AT_ONCE_MS` | how long a refusal may take that has to come at once | 200 |
//! | `PACKET_THREADS` | rows that run at the same time | 16 |
//! | `PACKET_MANY` | connections of a row that asks for an even spread | 1200 |
//! | `PACKET_ONE_IN` | each row in every so manieth combination of family and protocol, 1 to 6 | 1 |

use std::sync::LazyLock;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::client::PATIENCE;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// How long nobody must answer.
    ///
    /// It is more than the second after which TCP sends its SYN again: what answers only the
    /// second SYN is no drop.
    pub silence: Duration,
    /// How long an answer may take. Only a failure costs it.
    pub answer: Duration,
    /// How long a refusal may take.
    pub at_once: Duration,
    /// Rows that run at the same time. Most wait for time-outs.
    pub threads: usize,
    /// Connections of a row that asks for an even spread.
    pub many: usize,
    /// Each row in every so manieth combination of family and protocol.
    pub one_in: usize,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            silence: PATIENCE,
            answer: Duration::from_secs(5),
            at_once: Duration::from_millis(200),
            threads: 16,
            many: 1_200,
            one_in: 1,
        }
    }
}

/// What the environment asked for when it was first needed; the defaults, if it was unusable.
pub fn pace() -> Pace {
    static PACE: LazyLock<Pace> = LazyLock::new(|| Pace::from_env().unwrap_or_default());
    *PACE
}

impl Pace {
    /// How many times slower than a machine of its own kind; at least 1.
    pub fn slowness(&self) -> f64 {
        let usual = Self::default().answer.as_secs_f64();
        (self.answer.as_secs_f64() / usual).max(1.0)
    }

    /// Reads the environment.
    ///
    /// # Errors
    /// If a variable is not a number that it can be.
    pub fn from_env() -> Result<Self> {
        Self::new(|name| std::env::var(name).ok())
    }

    fn new(variable: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let number = |name: &str, default: usize, most: usize| {
            let Some(text) = variable(name) else {
                return Ok(default);
            };
            match text.parse() {
                Ok(n) if (1..=most).contains(&n) => Ok(n),
                _ => bail!("{name}={text}: not a number from 1 to {most}"),
            }
        };
        let time = |name: &str, default: Duration| {
            let ms = number(name, default.as_millis() as usize, 600_000)?;
            Ok::<_, anyhow::Error>(Duration::from_millis(ms as u64))
        };
        let usual = Self::default();
        Ok(Self {
            silence: time("PACKET_SILENCE_MS", usual.silence)?,
            answer: time("PACKET_ANSWER_MS", usual.answer)?,
            at_once: time("PACKET_AT_ONCE_MS", usual.at_once)?,
            threads: number("PACKET_THREADS", usual.threads, 64)?,
            many: number("PACKET_MANY", usual.many, 10_000)?,
            one_in: number("PACKET_ONE_IN", usual.one_in, 6)?,
        })
    }

    /// Whether a row runs in a combination; both are numbers from 0, combinations as
    /// [`COMBINATIONS`](crate::judge::COMBINATIONS) has them. Each row runs in one of so many that follow each
    /// other, and the next row in the next.
    pub fn chooses(&self, row: usize, combination: usize) -> bool {
        (row + combination).is_multiple_of(self.one_in)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_replace_what_they_name() {
        let some = |name: &str| (name == "PACKET_THREADS").then(|| "3".to_owned());
        let pace = Pace::new(some).expect("a number");
        let usual = Pace::default();
        assert_eq!(
            pace,
            Pace {
                threads: 3,
                ..usual
            }
        );
    }

    #[test]
    fn bad_numbers_are_named() {
        for bad in ["0", "-1", "many", "", "7"] {
            let one = |name: &str| (name == "PACKET_ONE_IN").then(|| bad.to_owned());
            let error = Pace::new(one).expect_err(bad).to_string();
            assert_eq!(
                error,
                format!("PACKET_ONE_IN={bad}: not a number from 1 to 6")
            );
        }
    }

    #[test]
    fn every_row_is_in_every_share_and_every_combination_has_rows() {
        for one_in in 1..=6 {
            let pace = Pace {
                one_in,
                ..Pace::default()
            };
            for row in 0..12 {
                let chosen = (0..6).filter(|c| pace.chooses(row, *c)).count();
                assert!(chosen >= 6 / one_in, "row {row} in 1 of {one_in}");
            }
            for combination in 0..6 {
                assert!((0..6).any(|row| pace.chooses(row, combination)));
            }
        }
    }
}
