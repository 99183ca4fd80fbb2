// SPDX-License-Identifier: Apache-2.0
//! The first of many patterns that matches a path.
//!
//! Only those are tried whose beginning, as far as it is always the same, is that of the path: of
//! `/a(/|$)(.*)` this is `/a`. They are found as prefixes are, by one binary search.

use std::borrow::Cow;
use std::sync::Arc;

use super::PathRoute;
use super::paths::{End, Paths};
use crate::ingress::action::pattern::Pattern;

/// A path that is a pattern.
#[derive(Debug, Clone)]
pub struct PatternRoute {
    /// What is compared.
    pub pattern: Arc<Pattern>,
    /// Where it leads.
    pub entry: PathRoute,
}

/// In the order in which they are tried.
#[derive(Debug, Clone, Default)]
pub(super) struct Patterns {
    all: Box<[PatternRoute]>,
    /// Places in that order, by what the patterns begin with.
    by_prefix: Paths<Vec<usize>>,
}

impl Patterns {
    pub(super) fn new(all: Vec<PatternRoute>) -> Self {
        let mut places: Vec<(Vec<u8>, usize)> = Vec::with_capacity(all.len());
        for (place, route) in all.iter().enumerate() {
            places.push((route.pattern.prefix().to_vec(), place));
        }
        places.sort();
        let mut groups: Vec<(Vec<u8>, Vec<usize>)> = Vec::new();
        for (prefix, place) in places {
            match groups.last_mut() {
                Some((last, group)) if *last == prefix => group.push(place),
                _ => groups.push((prefix, vec![place])),
            }
        }
        Self {
            all: all.into(),
            by_prefix: Paths::new(groups),
        }
    }

    pub(super) fn find(&self, path: &str) -> Option<&PatternRoute> {
        let lower: Cow<'_, [u8]> = match path.bytes().any(|byte| byte.is_ascii_uppercase()) {
            true => path.to_ascii_lowercase().into_bytes().into(),
            false => path.as_bytes().into(),
        };
        let mut first = self.all.len();
        for (_, group) in self.by_prefix.all(&lower, End::Open) {
            let before = group.iter().take_while(|place| **place < first);
            let mut before = before.copied();
            let matches = |place: &usize| {
                let pattern = &self.all[*place].pattern;
                pattern.is_match_after_prefix(path.as_bytes())
            };
            first = before.find(matches).unwrap_or(first);
        }
        self.all.get(first)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &PatternRoute> {
        self.all.iter()
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }
}
