// SPDX-License-Identifier: Apache-2.0
//! What happens to a request before it is handed on, in a fixed order. Each action is a variant,
//! decided by the route's settings; the first that answers ends the request. PURE.

use hyper::StatusCode;
use hyper::header::HeaderValue;
use hyper::http::uri::PathAndQuery;

use super::table::RouteSettings;

/// Where ACME's challenges are: certificate authorities ask over plain HTTP.
const CHALLENGES: &str = "/.well-known/acme-challenge/";

/// What is known of a request when its route has been found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen<'a> {
    /// `https`, or what a trusted proxy says that the client spoke to it.
    pub(crate) tls: bool,
    /// Without port.
    pub(crate) host: &'a str,
    /// As the client wrote it.
    pub(crate) uri: &'a PathAndQuery,
}

/// What to do with a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Hand it on.
    Proceed,
    /// Answer with this status and Location.
    Redirect(StatusCode, HeaderValue),
}

/// Runs all actions of a route.
pub(crate) fn before(settings: &RouteSettings, seen: Seen<'_>) -> Action {
    to_https(settings, seen).unwrap_or(Action::Proceed)
}

/// To the same place over TLS, on port 443, as ingress-nginx does it.
fn to_https(settings: &RouteSettings, seen: Seen<'_>) -> Option<Action> {
    let status = StatusCode::from_u16(settings.https_redirect?).ok()?;
    if seen.tls || seen.host.is_empty() || seen.uri.path().starts_with(CHALLENGES) {
        return None;
    }
    let location = format!("https://{}{}", seen.host, seen.uri);
    Some(Action::Redirect(
        status,
        HeaderValue::from_str(&location).ok()?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_requests_are_redirected_but_for_challenges() {
        let settings = RouteSettings {
            https_redirect: Some(308),
            ..RouteSettings::default()
        };
        for (tls, uri, expected) in [
            (false, "/a?b=c", Some("https://a.example/a?b=c")),
            (true, "/a?b=c", None),
            (false, "/.well-known/acme-challenge/x", None),
        ] {
            let uri = PathAndQuery::from_static(uri);
            let seen = Seen {
                tls,
                host: "a.example",
                uri: &uri,
            };
            let expected = expected.map_or(Action::Proceed, |location| {
                let location = HeaderValue::from_static(location);
                Action::Redirect(StatusCode::PERMANENT_REDIRECT, location)
            });
            assert_eq!(before(&settings, seen), expected);
            assert_eq!(before(&RouteSettings::default(), seen), Action::Proceed);
        }
    }
}
