// SPDX-License-Identifier: Apache-2.0
//! Which requests of a route go to a canary: by header, then by cookie, then by weight, in
//! ingress-nginx's order (`route_to_alternative_balancer` of its balancer.lua).

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use hyper::header::{HeaderMap, HeaderName};
use regex::bytes::{Regex, RegexBuilder};

use super::cookies;

/// What a canary Ingress says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rules {
    /// A header that decides.
    pub header: Option<Header>,
    /// A cookie that decides.
    pub cookie: Option<Arc<str>>,
    /// So many requests,
    pub weight: u32,
    /// of so many. Fewer than 100 count as 100.
    pub total: u32,
    /// Whether sessions of the route that were served by the canary go on there.
    pub sticky: bool,
}

/// A header that decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Its name.
    pub name: HeaderName,
    /// For which values.
    pub test: Test,
}

/// For which values of a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Test {
    /// `always` and `never`.
    Word,
    /// This one goes to the canary.
    Equal(Arc<str>),
    /// Those that match go to the canary.
    Match(Pattern),
    /// A pattern that cannot be matched: whoever has the header stays.
    Nothing,
}

/// A compiled pattern, which is the same as another of the same text.
#[derive(Clone)]
pub struct Pattern(Regex);

impl Pattern {
    /// # Errors
    ///
    /// Why it cannot be matched in linear time, or at all.
    pub fn new(text: &str) -> Result<Self, regex::Error> {
        // Of bytes, as PCRE has it unless it is told otherwise.
        let pattern = RegexBuilder::new(text).unicode(false).build();
        pattern.map(Self)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Pattern {}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({:?})", self.0.as_str())
    }
}

impl Rules {
    /// Whether a request that no session keeps goes to the canary.
    pub fn take(&self, headers: &HeaderMap, random: u64) -> bool {
        self.by_header(headers)
            .or_else(|| self.by_cookie(headers))
            .unwrap_or_else(|| self.by_weight(random))
    }

    /// None if the header does not decide.
    fn by_header(&self, headers: &HeaderMap) -> Option<bool> {
        let header = self.header.as_ref()?;
        let value = value(headers, &header.name)?;
        match &header.test {
            Test::Word => word(&value),
            Test::Equal(wanted) => (*value == *wanted.as_bytes()).then_some(true),
            Test::Match(Pattern(pattern)) => pattern.is_match(&value).then_some(true),
            Test::Nothing => Some(false),
        }
    }

    fn by_cookie(&self, headers: &HeaderMap) -> Option<bool> {
        word(cookies::first(headers, self.cookie.as_deref()?)?)
    }

    fn by_weight(&self, random: u64) -> bool {
        random % u64::from(self.total.max(100)) < u64::from(self.weight)
    }
}

fn word(value: &[u8]) -> Option<bool> {
    match value {
        b"always" => Some(true),
        b"never" => Some(false),
        _ => None,
    }
}

/// All values of a header, as nginx's `$http_NAME` has them.
fn value<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<Cow<'a, [u8]>> {
    let mut values = headers.get_all(name).iter().map(|value| value.as_bytes());
    let mut all = Cow::Borrowed(values.next()?);
    for more in values {
        let all = all.to_mut();
        all.extend_from_slice(b", ");
        all.extend_from_slice(more);
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(all: &[(&'static str, &str)]) -> HeaderMap {
        let all = all.iter();
        all.map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
            .collect()
    }

    fn header(test: Test) -> Option<Header> {
        Some(Header {
            name: HeaderName::from_static("x-canary"),
            test,
        })
    }

    /// With these rules, and a weight that takes nothing or everything.
    fn takes(rules: &Rules, all: &[(&'static str, &str)]) -> [bool; 2] {
        [0, 100].map(|weight| {
            let rules = Rules {
                weight,
                ..rules.clone()
            };
            rules.take(&headers(all), 99)
        })
    }

    const NO: [bool; 2] = [false, false];
    const YES: [bool; 2] = [true, true];
    const BY_WEIGHT: [bool; 2] = [false, true];

    #[test]
    fn a_header_decides_by_two_words() {
        let rules = Rules {
            header: header(Test::Word),
            ..Rules::default()
        };
        assert_eq!(takes(&rules, &[("x-canary", "always")]), YES);
        assert_eq!(takes(&rules, &[("x-canary", "never")]), NO);
        assert_eq!(takes(&rules, &[("x-canary", "Always")]), BY_WEIGHT);
        assert_eq!(takes(&rules, &[]), BY_WEIGHT);
    }

    #[test]
    fn a_value_decides_only_if_it_is_equal() {
        let rules = Rules {
            header: header(Test::Equal("beta".into())),
            cookie: Some("c".into()),
            ..Rules::default()
        };
        assert_eq!(takes(&rules, &[("x-canary", "beta")]), YES);
        assert_eq!(takes(&rules, &[("x-canary", "never")]), BY_WEIGHT);
        let both = [("x-canary", "x"), ("cookie", "c=never")];
        assert_eq!(takes(&rules, &both), NO);
        let twice = [("x-canary", "beta"), ("x-canary", "beta")];
        assert_eq!(takes(&rules, &twice), BY_WEIGHT);
    }

    #[test]
    fn a_pattern_is_searched_for() {
        let of = |test| Rules {
            header: header(test),
            cookie: Some("c".into()),
            ..Rules::default()
        };
        let rules = of(Test::Match(Pattern::new("b[e]ta$").unwrap()));
        assert_eq!(takes(&rules, &[("x-canary", "my-beta")]), YES);
        let words = of(Test::Match(Pattern::new(r"^\w+.\d$").unwrap()));
        assert_eq!(takes(&words, &[("x-canary", "group \u{e4}7")]), BY_WEIGHT);
        assert_eq!(takes(&words, &[("x-canary", "group-7")]), YES);
        let both = [("x-canary", "beta-"), ("cookie", "c=always")];
        assert_eq!(takes(&rules, &both), YES);
        assert_eq!(takes(&rules, &[("x-canary", "beta-")]), BY_WEIGHT);
        // As in ingress-nginx, an error while matching ends the search.
        assert_eq!(takes(&of(Test::Nothing), &both), NO);
        assert_eq!(takes(&of(Test::Nothing), &both[1..]), YES);
    }

    #[test]
    fn a_cookie_decides_after_the_header() {
        let rules = Rules {
            header: header(Test::Word),
            cookie: Some("Users".into()),
            ..Rules::default()
        };
        assert_eq!(takes(&rules, &[("cookie", "a=b; users=always")]), YES);
        assert_eq!(takes(&rules, &[("cookie", "Users=never")]), NO);
        assert_eq!(takes(&rules, &[("cookie", "Users=maybe")]), BY_WEIGHT);
        let both = [("x-canary", "never"), ("cookie", "Users=always")];
        assert_eq!(takes(&rules, &both), NO);
    }

    #[test]
    fn weights_are_of_a_hundred_at_least() {
        let taken = |weight, total| {
            let rules = Rules {
                weight,
                total,
                ..Rules::default()
            };
            let all = (0..1000).filter(|random| rules.take(&HeaderMap::new(), *random));
            all.count()
        };
        assert_eq!(taken(0, 100), 0);
        assert_eq!(taken(25, 100), 250);
        assert_eq!(taken(25, 50), 250);
        assert_eq!(taken(25, 1000), 25);
        assert_eq!(taken(1000, 1000), 1000);
        assert_eq!(taken(101, 100), 1000);
    }
}
