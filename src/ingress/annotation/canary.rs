// SPDX-License-Identifier: Apache-2.0
//! An Ingress that takes part of another's requests.

use std::sync::Arc;

use hyper::header::HeaderName;

use super::value::{Wrong, number, switch};
use super::{Draft, Kind, Reader, affinity};
use crate::ingress::action::canary::{Header, Pattern, Rules, Test};

pub(super) fn read(reader: &mut Reader<'_>, draft: &mut Draft) {
    let on = reader.value("canary", switch).unwrap_or(false);
    let weight = reader.value("canary-weight", |value| number(0, value));
    let total = reader.value("canary-weight-total", |value| number(0, value));
    let header = header(reader);
    let cookie = reader.value("canary-by-cookie", word);
    let behaviour = affinity::stays_with_canary(reader);
    if !on {
        let asked = weight.is_some_and(|weight| weight > 0) || header.is_some() || cookie.is_some();
        if asked {
            let text = "the other canary annotations are set, but this is not true: the Ingress is \
                        served as any other";
            reader.note("canary", Kind::Invalid, text);
        }
        return;
    }
    draft.route.canary = Some(Arc::new(Rules {
        header,
        cookie,
        weight: weight.unwrap_or(0),
        total: total.unwrap_or(100),
        sticky: behaviour.unwrap_or(true),
    }));
}

/// The characters that ingress-nginx takes in names and values.
fn word(value: &str) -> Result<Arc<str>, Wrong> {
    let known = |c: char| c.is_ascii_alphanumeric() || "-._~/:".contains(c);
    match value.chars().all(known) {
        true => Ok(value.into()),
        false => Err(format!(
            "must be made of letters, digits and -._~/:, is {value:?}"
        )),
    }
}

fn header(reader: &mut Reader<'_>) -> Option<Header> {
    let name = reader.value("canary-by-header", |value| {
        let name = word(value)?.replace('_', "-");
        HeaderName::try_from(name).map_err(|_| format!("must be a header, is {value:?}"))
    });
    let value = reader.value("canary-by-header-value", word);
    let pattern = reader.text("canary-by-header-pattern");
    let name = match name {
        Some(name) => name,
        None => {
            let alone = [
                ("canary-by-header-value", value.is_some()),
                ("canary-by-header-pattern", pattern.is_some()),
            ];
            for (name, _) in alone.into_iter().filter(|(_, there)| *there) {
                let text = "means nothing without canary-by-header";
                reader.note(name, Kind::Invalid, text);
            }
            return None;
        }
    };
    let test = match (value, pattern) {
        (Some(value), Some(_)) => {
            let text = "means nothing beside canary-by-header-value";
            reader.note("canary-by-header-pattern", Kind::Invalid, text);
            Test::Equal(value)
        }
        (Some(value), None) => Test::Equal(value),
        (None, Some(pattern)) => test(reader, pattern),
        (None, None) => Test::Word,
    };
    Some(Header { name, test })
}

fn test(reader: &mut Reader<'_>, pattern: &str) -> Test {
    match Pattern::new(pattern) {
        Ok(pattern) => Test::Match(pattern),
        Err(error) => {
            // Its own text draws a picture of the place, over several lines.
            let error = error.to_string();
            let why = error.lines().last().unwrap_or_default();
            let why = why.trim().trim_start_matches("error: ");
            let text = format!(
                "{pattern:?} is not matched, and no request with the header goes to the canary by \
                 it: {why}"
            );
            reader.note("canary-by-header-pattern", Kind::Refused, text);
            Test::Nothing
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingress::annotation::tests::{notes, read_all};

    fn read_rules(annotations: &[(&str, &str)]) -> (Option<Rules>, Vec<String>) {
        let annotated = read_all(annotations);
        let rules = annotated.plain.canary.as_deref().cloned();
        (rules, notes(&annotated))
    }

    #[test]
    fn all_annotations_of_a_canary() {
        let (rules, notes) = read_rules(&[
            ("canary", "true"),
            ("canary-weight", "10"),
            ("canary-weight-total", "1000"),
            ("canary-by-header", "X_Canary"),
            ("canary-by-header-value", "beta"),
            ("canary-by-cookie", "users"),
            ("affinity-canary-behavior", "legacy"),
        ]);
        assert_eq!(notes, [""; 0]);
        let header = Header {
            name: HeaderName::from_static("x-canary"),
            test: Test::Equal("beta".into()),
        };
        let expected = Rules {
            header: Some(header),
            cookie: Some("users".into()),
            weight: 10,
            total: 1000,
            sticky: false,
        };
        assert_eq!(rules, Some(expected));
    }

    #[test]
    fn without_more_a_canary_takes_nothing() {
        let (rules, notes) = read_rules(&[("canary", "true")]);
        let expected = Rules {
            total: 100,
            sticky: true,
            ..Rules::default()
        };
        assert_eq!((rules, notes), (Some(expected), vec![]));
        for off in [&[("canary", "false"), ("canary-weight", "0")][..], &[]] {
            assert_eq!(read_rules(off), (None, vec![]));
        }
    }

    #[test]
    fn rules_that_are_not_enabled_are_told() {
        let (rules, notes) = read_rules(&[("canary-weight", "10")]);
        assert_eq!(rules, None);
        assert!(notes[0].starts_with("annotation canary: "), "{notes:?}");
    }

    #[test]
    fn patterns_are_compiled_or_refused() {
        let pattern = |pattern: &str| {
            let all = [
                ("canary", "true"),
                ("canary-by-header", "h"),
                ("canary-by-header-pattern", pattern),
            ];
            let (rules, notes) = read_rules(&all);
            let header = rules.and_then(|rules| rules.header);
            (header.expect("a header").test, notes)
        };
        let (test, told) = pattern("^be(ta)?$");
        assert_eq!(test, Test::Match(Pattern::new("^be(ta)?$").unwrap()));
        assert_eq!(told, [""; 0]);
        for refused in ["a(?!b)", r"(a)\1", "("] {
            let (test, told) = pattern(refused);
            assert_eq!(test, Test::Nothing);
            assert_eq!(told.len(), 1, "{told:?}");
            assert!(!told[0].contains('\n'), "{told:?}");
        }
        assert!(pattern("a(?!b)").1[0].contains("look-around"));
        assert!(pattern(r"(a)\1").1[0].contains("backreferences"));
    }

    #[test]
    fn what_is_wrong_or_means_nothing_is_told() {
        let (rules, notes) = read_rules(&[
            ("canary", "true"),
            ("canary-weight", "many"),
            ("canary-by-cookie", "a b"),
            ("canary-by-header-value", "x"),
            ("canary-by-header-pattern", "y"),
            ("affinity-canary-behavior", "none"),
        ]);
        assert!(rules.is_some_and(|rules| rules.header.is_none() && rules.sticky));
        assert_eq!(notes.len(), 5, "{notes:?}");
    }
}
