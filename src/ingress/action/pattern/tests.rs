// SPDX-License-Identifier: Apache-2.0
use proptest::prelude::*;

use super::*;
use crate::ingress::action::template::Template;

fn search(text: &str) -> Pattern {
    Pattern::search(text).unwrap_or_else(|wrong| panic!("{text}: {wrong}"))
}

fn finds(text: &str, subject: &str) -> bool {
    search(text).is_match(subject.as_bytes())
}

#[test]
fn locations_have_no_case_and_an_open_end() {
    let location = |text: &str| Pattern::location(text).expect(text);
    for (text, yes, no) in [
        ("/foo", "/FOObar", "/fo"),
        ("/foo/.*", "/foo/", "/foo"),
        ("/v1.0", "/v1x0", "/v10"),
        ("/foo(/|$)(.*)", "/Foo", "/foobar"),
        ("/[a-z]{3}$", "/ABC", "/abcd"),
        // As nginx reads it: the second way begins anywhere.
        ("/a|/b", "/x/b", "/x/a"),
        ("", "/", "\n-"),
    ] {
        let pattern = location(text);
        assert!(pattern.is_match(yes.as_bytes()), "{text} {yes}");
        let empty = text.is_empty();
        assert_eq!(pattern.is_match(no.as_bytes()), empty, "{text} {no}");
    }
    assert_eq!(location("/foo"), location("/foo"));
    assert_ne!(location("/foo"), location("/Foo"));
}

#[test]
fn all_that_matches_begins_with_the_prefix() {
    for (text, prefix) in [
        ("/Foo", "/foo"),
        ("/foo(/|$)(.*)", "/foo"),
        ("/foo/?", "/foo"),
        ("/fo{2}/a", "/foo/a"),
        ("/v1.0/", "/v1"),
        ("/v1\\.0/", "/v1.0/"),
        ("/(?:a|b)/", "/"),
        ("/api/(one|oneself)", "/api/one"),
        ("/a|/b", ""),
        ("(/a|/b)", "/"),
        (".*", ""),
    ] {
        let pattern = Pattern::location(text).expect(text);
        let found = String::from_utf8_lossy(pattern.prefix());
        assert_eq!(found, prefix, "{text}");
    }
}

#[test]
fn groups_are_as_nginx_numbers_them() {
    let groups = |text: &str, subject: &str| {
        let pattern = search(text);
        let found = pattern.groups(subject.as_bytes())?;
        let text = found.iter().map(|group| String::from_utf8_lossy(group));
        Some(text.collect::<Vec<_>>().join(","))
    };
    let of = |text, subject, expected: &str| {
        assert_eq!(groups(text, subject).as_deref(), Some(expected), "{text}");
    };
    of("/foo(/|$)(.*)", "/FOO/Bar", "/,Bar");
    of("/foo(/|$)(.*)", "/foo", ",");
    of("/(a)?(b)", "/b", ",b");
    of(
        "/(?<year>\\d{4})-(?P<month>\\d\\d)",
        "/x/2026-11",
        "2026,11",
    );
    assert_eq!(groups("/foo", "/bar"), None);
    let literal = Pattern::location("/foo").expect("a pattern");
    assert_eq!(literal.groups(b"/foobar"), Some(Vec::new()));
    assert_eq!(literal.groups(b"/f"), None);
}

#[test]
fn what_pcre_writes_otherwise_is_translated() {
    for (pcre, ours) in [
        ("a{b}", "a\\{b\\}"),
        ("a{2,}b{,3}", "a{2,}b\\{,3\\}"),
        ("\\h\\H\\v\\V", "[ \\t][^ \\t][\\n-\\r][^\\n-\\r]"),
        ("\\Qa.b\\E.", "a\\.b."),
        ("\\<a\\>", "<a>"),
        ("\\/\\-\\_", "\\/\\-\\_"),
        ("\\0a\\012", "\\x00a\\x0A"),
        ("(?'n'a)(?#what)b", "(?P<n>a)b"),
        ("[[a]", "[\\[a]"),
        ("[]a]", "[\\]a]"),
        ("[^]a]", "[^\\]a]"),
        ("[a&&b~~c]", "[a\\&\\&b\\~\\~c]"),
        ("[\\w-.]", "[\\w\\-.]"),
        ("[+--]", "[+-\\-]"),
        ("[--a]", "[\\--a]"),
        ("[[:alpha:]-.]", "[[:alpha:]\\-.]"),
        ("[\\b\\101]", "[\\x08\\x41]"),
        ("a\\Z", "a\\z"),
    ] {
        assert_eq!(translate(pcre).as_deref(), Ok(ours), "{pcre}");
        search(pcre);
    }
    assert!(finds("^/[\\w-.]+$", "/a-b.c"));
    assert!(finds("^/\\R$", "/\r\n"));
    assert!(finds("[[:digit:]]", "5"));
    assert!(!finds("[[:digit:]]", "d"));
}

#[test]
fn what_is_not_linear_is_refused_by_name() {
    for (pattern, what) in [
        ("/(?!internal)", "has look-ahead"),
        ("/a(?=b)", "has look-ahead"),
        ("(?<=a)b", "has look-behind"),
        ("(?<!a)b", "has look-behind"),
        ("(a)\\1", "has a back-reference"),
        ("(?<n>a)\\k<n>", "has a back-reference"),
        ("(?P<n>a)(?P=n)", "has a back-reference"),
        ("a++", "has a possessive quantifier"),
        ("a{2}+", "has a possessive quantifier"),
        ("(?>a)", "has an atomic group"),
        ("(?R)", "has a recursion"),
        ("(a)(?1)", "has a recursion"),
        ("(?(1)a)", "has a condition"),
        ("(*UTF8)a", "has a verb"),
        ("\\K", "has an escape of PCRE's own"),
        ("(a", "is no pattern that can be served: unclosed group"),
        (
            "[a",
            "is no pattern that can be served: unclosed character class",
        ),
        ("(?:a{1000}){1000}", "is too large a pattern"),
    ] {
        let wrong = Pattern::search(pattern).expect_err(pattern);
        assert!(wrong.starts_with(what), "{pattern}: {wrong}");
        assert!(wrong.contains(&format!("{pattern:?}")), "{wrong}");
    }
}

#[test]
fn a_stand_in_matches_what_begins_alike() {
    let pattern = Pattern::instead_of("/api/(?!x).*");
    assert!(pattern.is_match(b"/API/y"));
    assert!(!pattern.is_match(b"/apx"));
    assert!(Pattern::instead_of("(?!x)").is_match(b"/any"));
    assert!(Pattern::instead_of("/a|(?!x)").is_match(b"/any"));
    assert_eq!(literal_prefix("/ab*c"), "/a");
}

proptest! {
    /// Whatever is written, it is a pattern or refused, and its prefix is one.
    #[test]
    fn nothing_that_is_written_is_the_end(
        text in "[ab/.*+?(){}|^$0-9<>:=!&~ -\\[\\]\\\\QEhRvxP]{0,12}",
        subject in "[ab/]{0,6}",
    ) {
        if let Ok(pattern) = Pattern::location(&text) {
            let (all, begins) = (pattern.is_match(subject.as_bytes()), {
                let lower = subject.to_ascii_lowercase();
                lower.as_bytes().starts_with(pattern.prefix())
            });
            prop_assert!(begins || !all, "{:?} {:?}", text, subject);
            prop_assert_eq!(pattern.groups(subject.as_bytes()).is_some(), all);
        }
        let _ = Template::parse(&text);
    }
}
