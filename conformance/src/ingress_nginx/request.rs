// SPDX-License-Identifier: Apache-2.0
//! What a case asks, and what nginx must answer for the rendered configuration to be believed.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::echo::Behaviour;

/// One request, or the same several times.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Request {
    /// GET this.
    pub get: Option<String>,
    /// POST to this.
    pub post: Option<String>,
    /// Another method, to `path`.
    pub method: Option<String>,
    /// Where to, for `method`.
    pub path: Option<String>,
    /// The Host header, if not the case's host.
    pub host: Option<String>,
    /// Further headers.
    pub headers: BTreeMap<String, Values>,
    /// The body.
    pub body: Option<String>,
    /// A body of so many bytes.
    pub size: Option<usize>,
    /// The body is sent in chunks.
    pub chunked: bool,
    /// Over TLS.
    pub https: bool,
    /// By HTTP/2; over TLS only.
    pub http2: bool,
    /// The certificate that the client shows: `good`, `stranger` or `other-name`.
    pub certificate: Option<String>,
    /// The only cipher suite that the client has, by rustls's name.
    pub cipher: Option<String>,
    /// The only version of TLS that the client has: `1.2` or `1.3`.
    pub tls: Option<String>,
    /// What endpoints shall answer.
    pub echo: Option<Behaviour>,
    /// What the server for external authentication shall answer.
    pub auth: Option<Behaviour>,
    /// `other`: from the case's other address.
    pub from: Option<String>,
    /// So many times, one after the other.
    pub repeat: Option<usize>,
    /// All of them at the same time.
    pub parallel: bool,
    /// Milliseconds to wait before.
    pub pause: u64,
    /// Requests that servers see besides the endpoint's: to the mirror, to authentication.
    pub others: usize,
    /// Only which services answered with which status counts, not how often.
    pub share: bool,
    /// The body counts, too, although no endpoint has written it.
    pub whole: bool,
    /// Only the status counts.
    pub status_only: bool,
    /// Headers that do not count, in either direction; `version`: the version of HTTP.
    pub ignore: Vec<String>,
    /// What nginx answers.
    pub expect: Option<Expect>,
}

/// One value or several.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Values {
    /// One.
    One(String),
    /// Several headers of this name.
    Many(Vec<String>),
}

/// What nginx answers.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Expect {
    /// With this status.
    Status(u16),
    /// `6x200 2x503`: one after the other; `6x200, 2x503`: in any order; `closed`: not at all.
    Counts(String),
    /// More.
    Full(Box<Full>),
}

/// What nginx answers, in more words.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Full {
    /// The status.
    pub status: u16,
    /// Which service's endpoint has answered; empty: none.
    pub to: Option<String>,
    /// The path and query that the endpoint saw.
    pub uri: Option<String>,
    /// Headers of the answer; empty: not there.
    pub headers: BTreeMap<String, String>,
    /// Headers that the endpoint saw; empty: not there.
    pub seen: BTreeMap<String, String>,
    /// The body.
    pub body: Option<String>,
    /// How many requests all servers together saw.
    pub requests: Option<usize>,
}

impl Values {
    /// All of them.
    #[must_use]
    pub fn all(&self) -> Vec<&str> {
        match self {
            Self::One(one) => vec![one],
            Self::Many(many) => many.iter().map(String::as_str).collect(),
        }
    }
}

impl Request {
    /// Method and path.
    ///
    /// # Errors
    /// If it says neither or both.
    pub fn line(&self) -> Result<(&str, &str)> {
        Ok(match (&self.get, &self.post, &self.method) {
            (Some(path), None, None) => ("GET", path),
            (None, Some(path), None) => ("POST", path),
            (None, None, Some(method)) => (method, self.path.as_deref().unwrap_or("/")),
            _ => bail!("a request needs one of get, post and method"),
        })
    }

    /// The body, if there is one.
    #[must_use]
    pub fn bytes(&self) -> Option<Vec<u8>> {
        match (&self.body, self.size) {
            (Some(text), _) => Some(text.clone().into_bytes()),
            (None, Some(size)) => Some(vec![b'x'; size]),
            (None, None) => None,
        }
    }
}

/// Reads `6x200 2x503`.
///
/// # Errors
/// If it is something else.
pub fn counts(text: &str) -> Result<Vec<u16>> {
    let mut all = Vec::new();
    for part in text.split([' ', ',']).filter(|part| !part.is_empty()) {
        let (count, status) = part
            .split_once('x')
            .with_context(|| format!("{part} is not COUNTxSTATUS"))?;
        all.extend(std::iter::repeat_n(
            status.parse::<u16>()?,
            count.parse::<usize>()?,
        ));
    }
    Ok(all)
}
