// SPDX-License-Identifier: Apache-2.0
//! Regular expressions as nginx has them, by an engine whose time is linear in what is searched.
//!
//! nginx uses PCRE without Unicode: letters have case in ASCII only, and `.` is any byte but a line
//! feed. What PCRE writes in another way than the engine is translated, what the engine cannot do
//! in linear time (look-around, back-references, recursion and the like) is refused.

mod translate;

use std::sync::Arc;

use regex::bytes::{Captures, Regex, RegexBuilder};
use regex_syntax::hir::Look;
use regex_syntax::hir::literal::Extractor;

use crate::ingress::annotation::value::Wrong;
pub(crate) use translate::has_alternatives;
use translate::{literal_prefix, translate};

/// The most bytes that a compiled pattern may have.
const SIZE: usize = 1 << 20;

/// A pattern without case. Two are the same if they are written alike.
#[derive(Debug, Clone)]
pub struct Pattern {
    text: Arc<str>,
    /// In lower case, what all that matches begins with.
    prefix: Box<[u8]>,
    /// None: whatever begins with the prefix matches.
    regex: Option<Regex>,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

impl Pattern {
    /// nginx's `location ~* "^TEXT"`: the end is open.
    ///
    /// # Errors
    ///
    /// Says what of it cannot be served.
    pub fn location(text: &str) -> Result<Self, Wrong> {
        let whole: Arc<str> = format!("^{text}").into();
        if literal_prefix(text) == text {
            return Ok(Self {
                text: whole,
                prefix: text.to_ascii_lowercase().as_bytes().into(),
                regex: None,
            });
        }
        Self::search(&whole)
    }

    /// What is found anywhere.
    ///
    /// # Errors
    ///
    /// Says what of it cannot be served.
    pub fn search(text: &str) -> Result<Self, Wrong> {
        let translated = translate(text)?;
        let mut builder = RegexBuilder::new(&translated);
        builder.unicode(false).case_insensitive(true);
        builder.size_limit(SIZE).dfa_size_limit(SIZE);
        let regex = builder.build().map_err(|error| wrong(text, &error))?;
        Ok(Self {
            text: text.into(),
            prefix: prefix(&translated).into(),
            regex: Some(regex),
        })
    }

    /// A pattern that matches what begins with the part of a text that has no syntax in it. It
    /// stands in for a pattern that cannot be served.
    pub fn instead_of(text: &str) -> Self {
        let prefix = literal_prefix(text).to_ascii_lowercase();
        Self {
            text: format!("^{text}").into(),
            prefix: prefix.as_bytes().into(),
            regex: None,
        }
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What all that matches begins with, in lower case.
    pub fn prefix(&self) -> &[u8] {
        &self.prefix
    }

    /// Whether it is found.
    pub fn is_match(&self, subject: &[u8]) -> bool {
        match &self.regex {
            Some(regex) => regex.is_match(subject),
            None => self.begins(subject),
        }
    }

    /// The same of a subject that is known to begin with the prefix.
    pub(crate) fn is_match_after_prefix(&self, subject: &[u8]) -> bool {
        let regex = self.regex.as_ref();
        regex.is_none_or(|regex| regex.is_match(subject))
    }

    /// What its groups match, from `$1` on; those that take no part are empty. None if it is not
    /// found.
    pub fn groups<'a>(&self, subject: &'a [u8]) -> Option<Vec<&'a [u8]>> {
        let Some(regex) = &self.regex else {
            return self.begins(subject).then(Vec::new);
        };
        let captures: Captures<'a> = regex.captures(subject)?;
        let groups = captures.iter().skip(1);
        Some(
            groups
                .map(|group| group.map_or(&b""[..], |group| group.as_bytes()))
                .collect(),
        )
    }

    fn begins(&self, subject: &[u8]) -> bool {
        let head = subject.get(..self.prefix.len());
        head.is_some_and(|head| head.eq_ignore_ascii_case(&self.prefix))
    }
}

fn wrong(text: &str, error: &regex::Error) -> Wrong {
    match error {
        regex::Error::CompiledTooBig(_) => format!("is too large a pattern: {text:?}"),
        // The last line says what is wrong, those before it show where.
        error => {
            let told = error.to_string();
            let last = told.lines().last().unwrap_or_default();
            let last = last.strip_prefix("error: ").unwrap_or(last);
            format!("is no pattern that can be served: {last}: {text:?}")
        }
    }
}

/// The longest text that all matches begin with, if they begin where the subject does.
fn prefix(translated: &str) -> Vec<u8> {
    let mut parser = regex_syntax::ParserBuilder::new();
    let parsed = parser.unicode(false).utf8(false).build().parse(translated);
    let Ok(hir) = parsed else { return Vec::new() };
    if !hir.properties().look_set_prefix().contains(Look::Start) {
        return Vec::new();
    }
    let sequence = Extractor::new().extract(&hir);
    let common = sequence.longest_common_prefix();
    common.unwrap_or_default().to_ascii_lowercase()
}

#[cfg(test)]
mod tests;
