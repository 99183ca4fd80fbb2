// SPDX-License-Identifier: Apache-2.0
//! Answers that send the client elsewhere.

use std::sync::Arc;

use hyper::StatusCode;

use super::rewrite::taken;
use super::value::{status, switch};
use super::{Draft, Kind, Reader};
use crate::ingress::action::redirect::Redirect;

/// A redirect, and the annotations that make it.
struct Names {
    location: &'static str,
    code: &'static str,
    usual: u16,
    /// The highest code that ingress-nginx takes; the lowest is 300.
    highest: u16,
}

const TEMPORAL: Names = Names {
    location: "temporal-redirect",
    code: "temporal-redirect-code",
    usual: 302,
    highest: 307,
};

const PERMANENT: Names = Names {
    location: "permanent-redirect",
    code: "permanent-redirect-code",
    usual: 301,
    highest: 308,
};

pub(super) fn read(reader: &mut Reader<'_>, draft: &mut Draft) {
    let temporal = one(reader, &TEMPORAL);
    let permanent = one(reader, &PERMANENT);
    draft.route.redirect = temporal.or(permanent).map(Arc::new);
    if let Some(on) = reader.value("relative-redirects", switch) {
        draft.route.relative_redirects = on;
    }
    if let Some(on) = reader.value("preserve-trailing-slash", switch) {
        draft.route.keeps_slash = Some(on);
    }
    let taken = taken(reader.behaviour());
    if let Some(root) = reader.value("app-root", |text| taken(text).and_then(root)) {
        draft.routing.root = Some(Arc::new(root));
    }
    if let Some(on) = reader.value("from-to-www-redirect", switch) {
        draft.routing.www = on;
    }
    if let Some(on) = reader.value("use-port-in-redirects", switch) {
        draft.route.port_in_redirects = on;
    }
}

fn root(text: &str) -> Result<Redirect, String> {
    match text.starts_with('/') {
        true => Redirect::to_root(text),
        false => Err(format!("must be a path, is {text:?}")),
    }
}

fn one(reader: &mut Reader<'_>, names: &Names) -> Option<Redirect> {
    let code = reader.value(names.code, |text| status(300, names.highest, text));
    let code = code.unwrap_or(names.usual);
    let status = StatusCode::from_u16(code).ok()?;
    let redirect = reader.value(names.location, |text| location(status, names, text))?;
    if !matches!(code, 301 | 302 | 303 | 307 | 308) {
        let text = "nginx answers this status with the URL as text; it is sent as Location";
        reader.note(names.code, Kind::Approximated, text);
    }
    Some(redirect)
}

fn location(status: StatusCode, names: &Names, text: &str) -> Result<Redirect, String> {
    // Only this one is checked by ingress-nginx.
    let needs_scheme = names.location == TEMPORAL.location;
    if needs_scheme && !(text.starts_with("http") || text.starts_with("$scheme")) {
        return Err(format!("must be a URL of http or https, is {text:?}"));
    }
    Redirect::to(status, text)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{notes, read_all};
    use super::*;

    fn to(code: u16, location: &str) -> Option<Arc<Redirect>> {
        let status = StatusCode::from_u16(code).expect("a status");
        Some(Arc::new(Redirect::to(status, location).expect(location)))
    }

    #[test]
    fn temporal_wins_and_both_have_codes() {
        let (a, b) = ("https://a.example", "https://b.example$request_uri");
        for (annotations, expected) in [
            (&[][..], None),
            (&[("permanent-redirect", a)], to(301, a)),
            (&[("permanent-redirect", "/a")], to(301, "/a")),
            (
                &[
                    ("permanent-redirect", a),
                    ("permanent-redirect-code", "308"),
                ],
                to(308, a),
            ),
            (&[("temporal-redirect", b)], to(302, b)),
            (
                &[("temporal-redirect", b), ("permanent-redirect", a)],
                to(302, b),
            ),
            (
                &[("temporal-redirect", b), ("temporal-redirect-code", "307")],
                to(307, b),
            ),
        ] {
            let all = read_all(annotations);
            assert_eq!(all.plain.redirect, expected, "{annotations:?}");
            assert_eq!(notes(&all), [""; 0]);
        }
    }

    #[test]
    fn switches_are_read() {
        let all = read_all(&[
            ("relative-redirects", "true"),
            ("preserve-trailing-slash", "false"),
            ("use-port-in-redirects", "true"),
        ]);
        assert!(all.plain.relative_redirects && all.plain.port_in_redirects);
        assert_eq!(all.plain.keeps_slash, Some(false));
        assert_eq!(read_all(&[]).plain.keeps_slash, None);
    }

    #[test]
    fn what_is_wrong_is_told_and_the_default_holds() {
        let all = read_all(&[
            ("temporal-redirect", "/a"),
            ("temporal-redirect-code", "308"),
            ("permanent-redirect", "https://a.example/$nonsense"),
            ("permanent-redirect-code", "soon"),
            ("preserve-trailing-slash", "2"),
        ]);
        assert_eq!(all.plain.redirect, None);
        let notes = notes(&all);
        for (note, begin) in notes.iter().zip([
            "annotation permanent-redirect: has no variable $nonsense",
            "annotation permanent-redirect-code: must be a status from 300 to 308, is \"soon\"",
            "annotation preserve-trailing-slash: must be true or false",
            "annotation temporal-redirect: must be a URL of http or https, is \"/a\"",
            "annotation temporal-redirect-code: must be a status from 300 to 307, is \"308\"",
        ]) {
            assert!(note.starts_with(begin), "{note}");
        }
        assert_eq!(notes.len(), 5);
    }

    #[test]
    fn a_status_that_nginx_answers_with_text_is_told() {
        let all = read_all(&[
            ("permanent-redirect", "https://a.example"),
            ("permanent-redirect-code", "300"),
        ]);
        assert_eq!(all.plain.redirect, to(300, "https://a.example"));
        assert_eq!(all.notes[0].kind, Kind::Approximated);
    }
}
