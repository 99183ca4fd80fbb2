// SPDX-License-Identifier: Apache-2.0
//! What is not served as it is written.

use std::fmt;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is wrong with an annotation.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// ingress-nginx does not know it either.
    Unknown,
    /// Its value cannot be read; the default holds, or the path answers 503.
    Invalid,
    /// It is served, but not exactly as in ingress-nginx.
    Approximated,
    /// It is not served.
    Refused,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Kind::Unknown,
        Kind::Invalid,
        Kind::Approximated,
        Kind::Refused,
    ];

    /// As in metrics: one word in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Unknown => "unknown",
            Kind::Invalid => "invalid",
            Kind::Approximated => "approximated",
            Kind::Refused => "refused",
        }
    }
}

/// One thing that is not served as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The annotation, without its prefix.
    pub annotation: Arc<str>,
    /// What is wrong.
    pub kind: Kind,
    /// Why, and what holds instead.
    pub text: String,
}

impl fmt::Display for Note {
    /// `annotation proxy-read-timeout: must be a number of seconds, is "soon"`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "annotation {}: {}", self.annotation, self.text)
    }
}
