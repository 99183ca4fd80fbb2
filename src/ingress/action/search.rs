// SPDX-License-Identifier: Apache-2.0
//! Patterns that annotations and ConfigMaps hold, in linear time.

use regex::Regex;

/// A compiled pattern, which is the same as another with the same text.
#[derive(Debug, Clone)]
pub struct Search(Regex);

impl Search {
    /// Compiles one; it may be found anywhere in a text.
    ///
    /// # Errors
    ///
    /// Says what is wrong, or not to be had in linear time.
    pub fn new(pattern: &str) -> Result<Self, String> {
        let compiled = Regex::new(pattern);
        compiled.map(Self).map_err(|error| {
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default();
            format!("cannot be compiled: {}", last.trim_start_matches("error: "))
        })
    }

    /// Whether a text has it.
    pub fn is_in(&self, text: &str) -> bool {
        self.0.is_match(text)
    }
}

impl PartialEq for Search {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Search {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_found_anywhere_and_told_when_they_cannot_be_had() {
        let search = Search::new("CN=(a|b)").expect("a pattern");
        assert!(search.is_in("O=x,CN=b") && !search.is_in("CN=c"));
        assert_eq!(search, Search::new("CN=(a|b)").expect("a pattern"));
        assert_ne!(search, Search::new("CN=(a|c)").expect("a pattern"));
        for bad in ["(", "(?=a)", r"(a)\1"] {
            let reason = Search::new(bad).expect_err(bad);
            assert!(reason.starts_with("cannot be compiled: "), "{reason}");
            assert!(!reason.contains('\n'), "{reason}");
        }
    }
}
