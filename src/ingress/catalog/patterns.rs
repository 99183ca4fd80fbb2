// SPDX-License-Identifier: Apache-2.0
//! Compiled patterns that are still used: a host is built again whenever an endpoint of it changes.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use crate::ingress::action::pattern::{Pattern, has_alternatives};

/// From text to pattern.
#[derive(Debug, Default)]
pub(super) struct PatternCache {
    locations: Texts,
    searches: Texts,
}

#[derive(Debug, Default)]
struct Texts {
    by_text: HashMap<Box<str>, Weak<Pattern>>,
    /// When this many are known, those that nobody uses any more are forgotten.
    most: usize,
}

/// A pattern, or why there is none.
type Found = Result<Arc<Pattern>, String>;
type Compiled = Result<Pattern, String>;

impl PatternCache {
    /// nginx's `location ~* "^TEXT"`.
    pub(super) fn location(&mut self, text: &str) -> Found {
        self.locations.get(text, Pattern::location)
    }

    /// What is found anywhere.
    pub(super) fn search(&mut self, text: &str) -> Found {
        self.searches.get(text, Pattern::search)
    }

    /// Whether a path is found at the beginning of all that its location matches.
    pub(super) fn begins_alike(path: &str) -> bool {
        !has_alternatives(path)
    }
}

impl Texts {
    fn get(&mut self, text: &str, compile: fn(&str) -> Compiled) -> Found {
        if let Some(found) = self.by_text.get(text).and_then(Weak::upgrade) {
            return Ok(found);
        }
        let new = Arc::new(compile(text)?);
        if self.by_text.len() >= self.most {
            self.by_text.retain(|_, pattern| pattern.strong_count() > 0);
            self.most = (2 * self.by_text.len()).max(64);
        }
        self.by_text.insert(text.into(), Arc::downgrade(&new));
        Ok(new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_is_compiled_once_and_what_is_not_is_forgotten() {
        let mut cache = PatternCache::default();
        let used = cache.location("/a(.*)").expect("a pattern");
        for number in 0..1000 {
            let again = cache.location("/a(.*)").expect("a pattern");
            assert!(Arc::ptr_eq(&used, &again));
            cache.location(&format!("/{number}/(.*)")).expect("one");
        }
        assert!(cache.locations.by_text.len() <= 64);
        assert!(cache.location("(?!a)").is_err());
        let search = cache.search("/a(.*)").expect("a pattern");
        assert_ne!(*search, *used);
    }
}
