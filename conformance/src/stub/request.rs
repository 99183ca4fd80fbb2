// SPDX-License-Identifier: Apache-2.0
//! A request of HTTP/1.1, as far as clients of an API server make them.

use std::io::{BufRead, Read};

use anyhow::{Context, Result};

/// A request: method, path, query and body.
pub(super) struct Request {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) query: String,
    pub(super) body: Vec<u8>,
}

impl Request {
    /// None at the end of the connection.
    pub(super) fn read(reader: &mut impl BufRead) -> Result<Option<Self>> {
        let mut first = String::new();
        if reader.read_line(&mut first)? == 0 {
            return Ok(None);
        }
        let mut words = first.split_whitespace();
        let method = words.next().context("no method")?.to_owned();
        let (path, query) = words
            .next()
            .map(|t| t.split_once('?').unwrap_or((t, "")))
            .context("no target")?;
        let (path, query) = (path.to_owned(), query.to_owned());
        let mut length = 0;
        loop {
            let mut header = String::new();
            reader.read_line(&mut header)?;
            let Some((name, value)) = header.trim_end().split_once(':') else {
                break;
            };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().context("content-length")?;
            }
        }
        let mut body = Vec::new();
        reader.take(length).read_to_end(&mut body)?;
        Ok(Some(Self {
            method,
            path,
            query,
            body,
        }))
    }

    /// Whether a parameter is set.
    pub(super) fn asks(&self, word: &str) -> bool {
        let yes = |part: &str| {
            part.strip_prefix(word)
                .is_some_and(|v| matches!(v, "=true" | "=1"))
        };
        self.query.split('&').any(yes)
    }

    /// The number that a parameter is.
    pub(super) fn number(&self, word: &str) -> Option<u64> {
        let mut parts = self
            .query
            .split('&')
            .filter_map(|part| part.split_once('='));
        parts.find(|(name, _)| *name == word)?.1.parse().ok()
    }
}
