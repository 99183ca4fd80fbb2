// SPDX-License-Identifier: Apache-2.0
//! What endpoints say of where they are.

use std::sync::Arc;

use super::value::Wrong;
use super::{Draft, Kind, Reader};
use crate::ingress::action::origin::{Origin, Replacement};

pub(super) fn read(reader: &mut Reader<'_>, draft: &mut Draft) {
    let origin = Origin {
        cookie_domain: reader.value("proxy-cookie-domain", pair).flatten(),
        cookie_path: reader.value("proxy-cookie-path", pair).flatten(),
        redirect: redirect(reader),
    };
    if !origin.is_empty() {
        draft.route.origin = Some(Arc::new(origin));
    }
}

fn redirect(reader: &mut Reader<'_>) -> Option<Replacement> {
    let from = reader.text("proxy-redirect-from").unwrap_or("off");
    let to = reader.text("proxy-redirect-to").unwrap_or("off");
    match (from, to) {
        // The default of nginx stands for an address that no endpoint knows.
        ("off" | "default", _) => None,
        (_, "off") => {
            let text = "has no effect without proxy-redirect-to";
            reader.note("proxy-redirect-from", Kind::Invalid, text);
            None
        }
        (from, to) if from.starts_with('~') || from.contains('$') || to.contains('$') => {
            let text = "must be two texts, and no pattern and no variables; nothing is replaced";
            let name = match to.contains('$') {
                true => "proxy-redirect-to",
                false => "proxy-redirect-from",
            };
            reader.note(name, Kind::Refused, text);
            None
        }
        (from, to) => Some((from.into(), to.into())),
    }
}

/// Two words, or `off`.
fn pair(value: &str) -> Result<Option<Replacement>, Wrong> {
    let words: Vec<&str> = value.split_whitespace().collect();
    match words[..] {
        ["off"] => Ok(None),
        [from, to] if !from.starts_with('~') => Ok(Some((from.into(), to.into()))),
        _ => Err(format!("must be two texts, and no pattern, is {value:?}")),
    }
}

#[cfg(test)]
mod tests {
    use crate::ingress::annotation::tests::{notes, read_all};

    #[test]
    fn replacements_are_read() {
        let read = read_all(&[
            ("proxy-cookie-domain", "a.internal example.com"),
            ("proxy-cookie-path", "off"),
            ("proxy-redirect-from", "http://a.internal/"),
            ("proxy-redirect-to", "https://example.com/"),
        ]);
        assert_eq!(notes(&read), [""; 0]);
        let origin = read.plain.origin.clone().expect("some");
        let pair = |a: &str, b: &str| Some((a.into(), b.into()));
        assert_eq!(origin.cookie_domain, pair("a.internal", "example.com"));
        assert_eq!(origin.cookie_path, None);
        let redirect = pair("http://a.internal/", "https://example.com/");
        assert_eq!(origin.redirect, redirect);
    }

    #[test]
    fn what_is_nothing_is_none() {
        for annotations in [
            &[
                ("proxy-redirect-from", "default"),
                ("proxy-redirect-to", "/"),
            ][..],
            &[("proxy-redirect-to", "/")],
            &[("proxy-cookie-domain", "off")],
        ] {
            let read = read_all(annotations);
            assert_eq!((notes(&read), read.plain.origin.clone()), (vec![], None));
        }
        for wrong in [
            ("proxy-redirect-from", "http://a.internal/"),
            ("proxy-cookie-domain", "a.internal"),
            ("proxy-cookie-path", "~^/a(.*) /b"),
        ] {
            let read = read_all(&[wrong]);
            assert_eq!(notes(&read).len(), 1);
            assert_eq!(read.plain.origin, None);
        }
        for (from, to, told) in [
            ("~^http://([^/]+)/", "/x", "proxy-redirect-from"),
            ("http://$proxy_host/", "/", "proxy-redirect-from"),
            ("http://a.internal/", "https://$host/", "proxy-redirect-to"),
        ] {
            let read = read_all(&[("proxy-redirect-from", from), ("proxy-redirect-to", to)]);
            let notes = notes(&read);
            assert!(notes[0].contains(told) && notes.len() == 1, "{notes:?}");
            assert_eq!(read.plain.origin, None);
        }
        let path = [
            ("proxy-redirect-from", "http://a/"),
            ("proxy-redirect-to", "/"),
        ];
        let read = read_all(&path);
        assert_eq!(notes(&read), [""; 0]);
        assert!(read.plain.origin.as_ref().expect("some").makes_paths());
    }
}
