// SPDX-License-Identifier: Apache-2.0
//! What became of a probe, in words: they are compared as they are, and kept in data files.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::client::Answer;

/// Everything that a probe met, over all its connections.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Outcome {
    /// As `1a:8080 saw 10.244.1.1`, `refused: reset`, `silence`.
    pub seen: BTreeSet<String>,
    /// Whether each client got the same endpoint again, where that was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sticky: Option<bool>,
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let all: Vec<_> = self.seen.iter().map(String::as_str).collect();
        f.write_str(&all.join(" | "))?;
        match self.sticky {
            Some(true) => f.write_str(", sticky"),
            Some(false) => f.write_str(", NOT sticky"),
            None => Ok(()),
        }
    }
}

/// One answer in words. `source` is the address that the client connected from, if it chose one:
/// a server that sees just that one says so without naming it, as clients of sticky Services come
/// from many.
pub fn word(answer: &Answer, source: Option<IpAddr>) -> String {
    match answer {
        Answer::From {
            endpoint,
            port,
            source: seen,
        } if Some(*seen) == source => {
            format!("{endpoint}:{port} saw the client")
        }
        Answer::From {
            endpoint,
            port,
            source,
        } => format!("{endpoint}:{port} saw {source}"),
        Answer::Refused(_, how) => format!("refused: {}", how.word()),
        Answer::Timeout => "silence".to_owned(),
        Answer::Broken(reason) => format!("broken: {reason}"),
    }
}

/// Who answered, without what was seen.
pub fn endpoint(word: &str) -> &str {
    word.split(' ').next().unwrap_or(word)
}

/// Whether a word is an endpoint's answer.
pub fn answered(word: &str) -> bool {
    word.contains(" saw ")
}
