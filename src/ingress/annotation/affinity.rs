// SPDX-License-Identifier: Apache-2.0
//! Cookies that keep a session at its endpoint.

use std::sync::Arc;

use super::value::{Wrong, switch};
use super::{Draft, Kind, Reader};
use crate::ingress::action::affinity::{Affinity, SameSite};
use crate::ingress::balance::Mode;

/// All that mean nothing without `affinity`.
const OTHERS: [&str; 10] = [
    "affinity-mode",
    "session-cookie-change-on-failure",
    "session-cookie-conditional-samesite-none",
    "session-cookie-domain",
    "session-cookie-expires",
    "session-cookie-max-age",
    "session-cookie-name",
    "session-cookie-path",
    "session-cookie-samesite",
    "session-cookie-secure",
];

pub(super) fn read(reader: &mut Reader<'_>, draft: &mut Draft) {
    let on = reader.value("affinity", |value| match value {
        "cookie" => Ok(()),
        _ => Err(format!("must be cookie, is {value:?}")),
    });
    if on.is_none() {
        for name in OTHERS {
            if reader.text(name).is_some() {
                let text = "means nothing without affinity: cookie";
                reader.note(name, Kind::Invalid, text);
            }
        }
        return;
    }
    let mut affinity = Affinity::default();
    if let Some(mode) = reader.value("affinity-mode", mode) {
        affinity.mode = mode;
    }
    if let Some(name) = reader.value("session-cookie-name", name) {
        affinity.name = name;
    }
    affinity.path = reader.value("session-cookie-path", |value| part("-._~/:,?&=", value));
    affinity.domain = reader.value("session-cookie-domain", |value| part("-._~/:", value));
    affinity.expires = reader.value("session-cookie-expires", seconds);
    affinity.max_age = reader.value("session-cookie-max-age", seconds);
    affinity.same_site = reader.value("session-cookie-samesite", same_site);
    for (name, flag) in [
        (
            "session-cookie-conditional-samesite-none",
            &mut affinity.conditional_none,
        ),
        ("session-cookie-secure", &mut affinity.secure),
        (
            "session-cookie-change-on-failure",
            &mut affinity.change_on_failure,
        ),
    ] {
        *flag = reader.value(name, switch).unwrap_or(false);
    }
    let regex = reader
        .text("use-regex")
        .is_some_and(|value| switch(value) == Ok(true));
    if regex && affinity.path.is_none() {
        let text = "should be set beside use-regex: the cookie's path is the pattern as written";
        reader.note("session-cookie-path", Kind::Approximated, text);
    }
    draft.route.affinity = Some(Arc::new(affinity));
}

/// Whether sessions that a canary served go on there.
pub(super) fn stays_with_canary(reader: &mut Reader<'_>) -> Option<bool> {
    reader.value("affinity-canary-behavior", |value| match value {
        "sticky" => Ok(true),
        "legacy" => Ok(false),
        _ => Err(format!("must be sticky or legacy, is {value:?}")),
    })
}

fn mode(value: &str) -> Result<Mode, Wrong> {
    match value {
        "balanced" => Ok(Mode::Balanced),
        "persistent" => Ok(Mode::Persistent),
        _ => Err(format!("must be balanced or persistent, is {value:?}")),
    }
}

/// A token of RFC 6265.
fn name(value: &str) -> Result<Arc<str>, Wrong> {
    part("-._~", value)
}

/// Letters, digits and more.
fn part(more: &str, value: &str) -> Result<Arc<str>, Wrong> {
    let known = |c: char| c.is_ascii_alphanumeric() || more.contains(c);
    match value.chars().all(known) {
        true => Ok(value.into()),
        false => Err(format!(
            "must be made of letters, digits and {more}, is {value:?}"
        )),
    }
}

fn seconds(value: &str) -> Result<i64, Wrong> {
    let parsed = value.parse();
    parsed.map_err(|_| format!("must be a number of seconds, is {value:?}"))
}

fn same_site(value: &str) -> Result<SameSite, Wrong> {
    match value.to_ascii_lowercase().as_str() {
        "none" => Ok(SameSite::None),
        "lax" => Ok(SameSite::Lax),
        "strict" => Ok(SameSite::Strict),
        _ => Err(format!("must be None, Lax or Strict, is {value:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingress::annotation::tests::{notes, read_all};

    #[test]
    fn all_annotations_of_a_session() {
        let annotated = read_all(&[
            ("affinity", "cookie"),
            ("affinity-mode", "persistent"),
            ("session-cookie-name", "route"),
            ("session-cookie-path", "/a"),
            ("session-cookie-domain", ".a.example"),
            ("session-cookie-expires", "172800"),
            ("session-cookie-max-age", "-1"),
            ("session-cookie-samesite", "none"),
            ("session-cookie-secure", "true"),
            ("session-cookie-conditional-samesite-none", "true"),
            ("session-cookie-change-on-failure", "true"),
        ]);
        assert_eq!(notes(&annotated), [""; 0]);
        let expected = Affinity {
            mode: Mode::Persistent,
            name: "route".into(),
            path: Some("/a".into()),
            domain: Some(".a.example".into()),
            expires: Some(172_800),
            max_age: Some(-1),
            same_site: Some(SameSite::None),
            secure: true,
            conditional_none: true,
            change_on_failure: true,
        };
        assert_eq!(annotated.plain.affinity.as_deref(), Some(&expected));
    }

    #[test]
    fn wrong_values_are_told_and_the_default_holds() {
        let wrong = [
            ("affinity-mode", "sticky"),
            ("session-cookie-name", "a;b"),
            ("session-cookie-path", "/a b"),
            ("session-cookie-domain", "a;b"),
            ("session-cookie-expires", "1h"),
            ("session-cookie-max-age", ""),
            ("session-cookie-samesite", "weak"),
            ("session-cookie-secure", "maybe"),
        ];
        let all = [&[("affinity", "cookie")][..], &wrong].concat();
        let annotated = read_all(&all);
        assert_eq!(annotated.notes.len(), 7, "{:?}", annotated.notes);
        let default = Affinity::default();
        assert_eq!(annotated.plain.affinity.as_deref(), Some(&default));
        // Without a cookie they mean nothing at all.
        let annotated = read_all(&wrong);
        assert_eq!(annotated.notes.len(), 7, "{:?}", annotated.notes);
        assert_eq!(annotated.plain.affinity, None);
        assert!(read_all(&[("affinity", "ip")]).plain.affinity.is_none());
        let regex = read_all(&[("affinity", "cookie"), ("use-regex", "true")]);
        let told = notes(&regex).concat();
        assert!(told.contains("should be set beside use-regex"), "{told}");
    }
}
