// SPDX-License-Identifier: Apache-2.0
//! Who may read answers from other origins.

use std::sync::Arc;

use super::value::{Wrong, switch};
use super::{Draft, Kind, Reader};
use crate::ingress::action::cors::{Cors, Words};

const METHODS: &str = "GET, PUT, POST, DELETE, PATCH, OPTIONS";
const HEADERS: &str = "DNT,Keep-Alive,User-Agent,X-Requested-With,If-Modified-Since,\
     Cache-Control,Content-Type,Range,Authorization";
/// Seconds.
const MAX_AGE: i64 = 1_728_000;

pub(super) fn read(reader: &mut Reader<'_>, draft: &mut Draft) {
    let enabled = reader.value("enable-cors", switch);
    let words = Words {
        origins: origins(reader),
        methods: reader
            .value("cors-allow-methods", |v| {
                list(v, |c| c.is_ascii_alphabetic())
            })
            .unwrap_or(METHODS),
        headers: reader
            .value("cors-allow-headers", |v| list(v, is_name))
            .unwrap_or(HEADERS),
        expose: reader
            .value("cors-expose-headers", |v| {
                list(v, |c| is_name(c) || c == '*')
            })
            .unwrap_or_default(),
        credentials: reader.value("cors-allow-credentials", switch) != Some(false),
        max_age: reader.value("cors-max-age", seconds).unwrap_or(MAX_AGE),
    };
    if enabled == Some(true) {
        draft.route.cors = Cors::new(&words).map(Arc::new);
    }
}

/// Those that can be read. What cannot lets nobody in: ingress-nginx would let in everybody.
fn origins<'a>(reader: &mut Reader<'a>) -> Vec<&'a str> {
    let Some(text) = reader.text("cors-allow-origin") else {
        return vec!["*"];
    };
    let words = text
        .split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty());
    let words: Vec<&str> = words.collect();
    if words.contains(&"*") {
        return vec!["*"];
    }
    let (good, bad): (Vec<_>, Vec<_>) = words.into_iter().partition(|word| is_origin(word));
    for word in bad {
        reader.note(
            "cors-allow-origin",
            Kind::Invalid,
            format!("must be origins as https://*.a.example:8443, {word:?} is left out"),
        );
    }
    good
}

/// `scheme://name[:port]`, where a name may begin with `*.`, or `null`.
fn is_origin(word: &str) -> bool {
    if word == "null" {
        return true;
    }
    let Some((scheme, rest)) = word.split_once("://") else {
        return false;
    };
    let (name, port) = rest.split_once(':').unwrap_or((rest, "0"));
    let name = name.strip_prefix("*.").unwrap_or(name);
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    !scheme.is_empty()
        && scheme.bytes().all(|byte| byte.is_ascii_lowercase())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.'))
        && digits(port)
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_')
}

/// A list between commas or blanks, as it is.
fn list(value: &str, good: impl Fn(char) -> bool) -> Result<&str, Wrong> {
    match value.chars().all(|c| good(c) || matches!(c, ',' | ' ')) {
        true => Ok(value),
        false => Err(format!("must be words between commas, is {value:?}")),
    }
}

fn seconds(value: &str) -> Result<i64, Wrong> {
    let parsed = value.parse::<i64>();
    parsed.map_err(|_| format!("must be a number of seconds, is {value:?}"))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{notes, read_all};
    use super::*;

    fn expected(origins: &[&str]) -> Option<Arc<Cors>> {
        let words = Words {
            origins: origins.to_vec(),
            methods: METHODS,
            headers: HEADERS,
            expose: "",
            credentials: true,
            max_age: MAX_AGE,
        };
        Cors::new(&words).map(Arc::new)
    }

    #[test]
    fn nothing_is_said_unless_it_is_enabled() {
        for on in [None, Some("false"), Some("nonsense")] {
            let mut all = vec![("cors-allow-origin", "https://a.example")];
            all.extend(on.map(|on| ("enable-cors", on)));
            assert_eq!(read_all(&all).plain.cors, None);
        }
        let annotated = read_all(&[("enable-cors", "true")]);
        assert_eq!(annotated.plain.cors, expected(&["*"]));
        assert!(annotated.notes.is_empty());
    }

    #[test]
    fn all_of_it_may_be_said() {
        let annotated = read_all(&[
            ("enable-cors", "true"),
            (
                "cors-allow-origin",
                "https://*.a.example:8443, http://b.example,null,app://x",
            ),
            ("cors-allow-methods", "GET, POST"),
            ("cors-allow-headers", "X-A,X_B"),
            ("cors-expose-headers", "*, X-C"),
            ("cors-allow-credentials", "false"),
            ("cors-max-age", "600"),
        ]);
        let words = Words {
            origins: vec![
                "https://*.a.example:8443",
                "http://b.example",
                "null",
                "app://x",
            ],
            methods: "GET, POST",
            headers: "X-A,X_B",
            expose: "*, X-C",
            credentials: false,
            max_age: 600,
        };
        assert_eq!(annotated.plain.cors, Cors::new(&words).map(Arc::new));
        assert!(annotated.notes.is_empty());
        let all = [
            ("enable-cors", "true"),
            ("cors-allow-origin", "https://a.example, *"),
        ];
        assert_eq!(read_all(&all).plain.cors, expected(&["*"]));
    }

    #[test]
    fn what_cannot_be_read_lets_nobody_in() {
        let annotated = read_all(&[
            ("enable-cors", "true"),
            (
                "cors-allow-origin",
                "a.example, https://b.example, http://c.example/d",
            ),
            ("cors-allow-methods", "GET; POST"),
            ("cors-max-age", "long"),
        ]);
        assert_eq!(annotated.plain.cors, expected(&["https://b.example"]));
        let notes = notes(&annotated);
        assert_eq!(notes.len(), 4, "{notes:?}");
        assert!(notes[1].contains("\"a.example\" is left out"), "{notes:?}");
        let all = [("enable-cors", "true"), ("cors-allow-origin", "a.example")];
        assert_eq!(read_all(&all).plain.cors, expected(&[]));
    }
}
