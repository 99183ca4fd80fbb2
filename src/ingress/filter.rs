// SPDX-License-Identifier: Apache-2.0
//! What happens to a request before it is handed on, in a fixed order. Each action is a variant,
//! decided by the route's settings; the first that answers ends the request. PURE.

use hyper::StatusCode;
use hyper::header::HeaderValue;

use super::action::redirect::{self, Form};
use super::action::template::Context;
use super::table::{Behaviour, RouteSettings};

/// Where ACME's challenges are: certificate authorities ask over plain HTTP.
const CHALLENGES: &str = "/.well-known/acme-challenge/";

/// What to do with a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Hand it on.
    Proceed,
    /// Answer with this status and Location.
    Redirect(StatusCode, HeaderValue),
}

/// Whether requests of a route have to be looked at at all. One that is closed does nothing else.
pub(crate) fn acts(settings: &RouteSettings) -> bool {
    let redirects = settings.redirect.is_some() || settings.https_redirect.is_some();
    redirects && settings.denied.is_none()
}

/// Runs all actions of a route. As in nginx, where a route redirects goes before how.
pub(crate) fn before(settings: &RouteSettings, context: &Context<'_>) -> Action {
    if let Some(redirect) = &settings.redirect {
        let location = redirect.location(context, form(settings));
        return Action::Redirect(redirect.status(), location);
    }
    to_https(settings, context).unwrap_or(Action::Proceed)
}

fn form(settings: &RouteSettings) -> Form {
    Form {
        relative: settings.relative_redirects,
        port: settings.port_in_redirects,
    }
}

fn to_https(settings: &RouteSettings, context: &Context<'_>) -> Option<Action> {
    let status = StatusCode::from_u16(settings.https_redirect?).ok()?;
    let spec = settings.behaviour == Behaviour::Spec;
    // ingress-nginx goes by the route's path, which is known when there are routes.
    let challenge = spec && context.uri.path().starts_with(CHALLENGES);
    if context.access_scheme != "http" || context.best_http_host.is_empty() || challenge {
        return None;
    }
    let keeps_slash = settings.keeps_slash.unwrap_or(spec);
    let location = redirect::to_https(context, keeps_slash, settings.port_in_redirects);
    Some(Action::Redirect(status, location))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use hyper::Request;

    use super::*;
    use crate::ingress::action::redirect::Redirect;

    /// Where a request is sent.
    fn sent(settings: &RouteSettings, scheme: &'static str, uri: &str) -> Option<String> {
        let request = Request::builder().uri(uri).header("host", "a.example");
        let parts = request.body(()).expect("a request").into_parts().0;
        let context = Context {
            access_scheme: scheme,
            ..Context::of(&parts)
        };
        match before(settings, &context) {
            Action::Proceed => None,
            Action::Redirect(status, location) => {
                let location = location.to_str().expect("text");
                Some(format!("{} {location}", status.as_u16()))
            }
        }
    }

    #[test]
    fn plain_requests_are_redirected_but_for_challenges() {
        let settings = RouteSettings {
            https_redirect: Some(308),
            ..RouteSettings::default()
        };
        let nginx = RouteSettings {
            behaviour: Behaviour::IngressNginx,
            ..settings.clone()
        };
        let kept = RouteSettings {
            keeps_slash: Some(true),
            ..nginx.clone()
        };
        let challenge = "/.well-known/acme-challenge/x";
        let port = RouteSettings {
            port_in_redirects: true,
            ..nginx.clone()
        };
        for (settings, scheme, uri, expected) in [
            (&port, "http", "/a/", Some("308 https://a.example:443/a")),
            (
                &settings,
                "http",
                "/a?b=c",
                Some("308 https://a.example/a?b=c"),
            ),
            (&settings, "http", "/a/", Some("308 https://a.example/a/")),
            (&settings, "https", "/a?b=c", None),
            (&settings, "http", challenge, None),
            (&nginx, "http", "/a/", Some("308 https://a.example/a")),
            (
                &nginx,
                "http",
                challenge,
                Some("308 https://a.example/.well-known/acme-challenge/x"),
            ),
            (&nginx, "https", "/a/", None),
            (&kept, "http", "/a/", Some("308 https://a.example/a/")),
        ] {
            assert_eq!(
                sent(settings, scheme, uri).as_deref(),
                expected,
                "{scheme} {uri}"
            );
            assert_eq!(sent(&RouteSettings::default(), scheme, uri), None);
        }
    }

    #[test]
    fn where_goes_before_how() {
        let redirect = Redirect::to(StatusCode::FOUND, "https://b.example").expect("a URL");
        let settings = RouteSettings {
            https_redirect: Some(308),
            redirect: Some(Arc::new(redirect)),
            ..RouteSettings::default()
        };
        assert!(acts(&settings));
        assert!(!acts(&RouteSettings::default()));
        let sent = sent(&settings, "http", "/");
        assert_eq!(sent.as_deref(), Some("302 https://b.example"));
    }
}
