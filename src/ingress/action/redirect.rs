// SPDX-License-Identifier: Apache-2.0
//! Answers that send the client elsewhere.

use std::sync::Arc;

use hyper::StatusCode;
use hyper::header::HeaderValue;

use super::pattern::Pattern;
use super::template::{Context, Template, escape, without_port};
use crate::ingress::annotation::value::Wrong;

/// A redirect for all requests of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    status: StatusCode,
    to: To,
    /// Of the path, if what its groups match is asked for.
    pattern: Option<Arc<Pattern>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum To {
    /// Wherever it says.
    Location(Template),
    /// The same place with this path, as it is written in a URL.
    Path(String),
    /// The same place on another host; with the port, though it is the usual one.
    Host { name: Arc<str>, port: bool },
}

impl Redirect {
    fn new(status: StatusCode, to: To) -> Self {
        Self {
            status,
            to,
            pattern: None,
        }
    }

    /// To a URL, or to a path of the same host.
    ///
    /// # Errors
    ///
    /// Names a variable that is not known.
    pub fn to(status: StatusCode, location: &str) -> Result<Self, Wrong> {
        let to = To::Location(Template::parse(location)?);
        Ok(Self::new(status, to))
    }

    /// `app-root`: to a path of the same host as the client wrote it, whatever it asked for.
    ///
    /// # Errors
    ///
    /// Names a variable that is not known.
    pub fn to_root(root: &str) -> Result<Self, Wrong> {
        Self::to(StatusCode::FOUND, &format!("$scheme://$http_host{root}"))
    }

    /// To a path that only has another end, as nginx adds a slash; the query is kept.
    pub fn to_path(path: &str) -> Self {
        let path = escape(path.as_bytes(), |byte| {
            byte <= b' ' || byte >= 0x7f || b"\"#%<>?\\^`{|}".contains(&byte)
        });
        let to = To::Path(String::from_utf8_lossy(&path).into_owned());
        Self::new(StatusCode::MOVED_PERMANENTLY, to)
    }

    /// To the same place on another host, as ingress-nginx does it: one slash at the end is lost.
    /// It also writes the port, always; `port` is whether we do.
    pub fn to_host(status: StatusCode, name: Arc<str>, port: bool) -> Self {
        let to = To::Host { name, port };
        Self::new(status, to)
    }

    /// The status and where to, as `301 https://$host/`.
    pub fn describe(&self) -> String {
        let to = match &self.to {
            To::Location(template) => template.text().to_owned(),
            To::Path(path) => path.clone(),
            To::Host { name, .. } => format!("the same place on {name}"),
        };
        format!("{} {to}", self.status.as_u16())
    }

    /// With which status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The same for a path with this pattern, if what its groups match makes a difference.
    pub fn with_pattern(&self, pattern: &Arc<Pattern>) -> Option<Self> {
        let groups = matches!(&self.to, To::Location(template) if template.has_groups());
        groups.then(|| Self {
            pattern: Some(pattern.clone()),
            ..self.clone()
        })
    }

    /// Where a request is sent.
    pub fn location(&self, context: &Context<'_>, form: Form) -> HeaderValue {
        let pattern = self.pattern.as_ref();
        let groups = pattern.and_then(|pattern| pattern.groups(context.path.as_bytes()));
        let path = match &self.to {
            To::Location(template) => template.render(&Context {
                groups: groups.as_deref().unwrap_or_default(),
                ..context.clone()
            }),
            To::Path(path) => match context.uri.query().filter(|query| !query.is_empty()) {
                Some(query) => format!("{path}?{query}"),
                None => path.clone(),
            },
            To::Host { name, port } => same_place(context, name, *port),
        };
        match form.relative {
            false => header(&absolute(path, context, form.port)),
            true => header(&path),
        }
    }
}

/// How the location of a redirect to the same host is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Form {
    /// It stays a path: nginx's `absolute_redirect off`.
    pub relative: bool,
    /// It names the port, if that is not the usual one: nginx's `port_in_redirect on`.
    pub port: bool,
}

/// A path of the same host as a URL, as nginx does it unless `absolute_redirect` is off.
pub(crate) fn absolute(path: String, context: &Context<'_>, with_port: bool) -> String {
    if !path.starts_with('/') {
        return path;
    }
    let (scheme, host, port) = (context.scheme, context.host, context.server_port);
    let usual = matches!((scheme, port), ("http", 80) | ("https", 443));
    match with_port && !usual {
        true => format!("{scheme}://{host}:{port}{path}"),
        false => format!("{scheme}://{host}{path}"),
    }
}

fn same_place(context: &Context<'_>, host: &str, always_port: bool) -> String {
    let (scheme, port) = (context.access_scheme, context.access_port);
    let usual = matches!((scheme, port), ("http", 80) | ("https", 443));
    let uri = without_last_slash(context.request_uri());
    match usual && !always_port {
        true => format!("{scheme}://{host}{uri}"),
        false => format!("{scheme}://{host}:{port}{uri}"),
    }
}

/// To the same place over TLS, as ingress-nginx does it, which names the port always or never.
pub(crate) fn to_https(context: &Context<'_>, keeps_slash: bool, port: bool) -> HeaderValue {
    let host = without_port(context.best_http_host);
    let uri = context.request_uri();
    let uri = match keeps_slash {
        true => uri,
        false => without_last_slash(uri),
    };
    match port {
        true => header(&format!("https://{host}:{}{uri}", context.https_port)),
        false => header(&format!("https://{host}{uri}")),
    }
}

/// One slash at the end is lost, of the query if there is one.
fn without_last_slash(uri: &str) -> &str {
    uri.strip_suffix('/').unwrap_or(uri)
}

/// What no header may hold is escaped.
fn header(location: &str) -> HeaderValue {
    let escaped = escape(location.as_bytes(), |byte| byte < b' ' || byte == 0x7f);
    HeaderValue::from_bytes(&escaped).unwrap_or(HeaderValue::from_static("/"))
}

#[cfg(test)]
mod tests {
    use hyper::Request;
    use hyper::http::request::Parts;

    use super::*;

    const RELATIVE: Form = Form {
        relative: true,
        port: false,
    };

    fn parts(uri: &str) -> Parts {
        let request = Request::builder().uri(uri);
        let request = request.header("host", "A.example:8080").body(());
        request.expect("a request").into_parts().0
    }

    fn context(parts: &Parts) -> Context<'_> {
        Context {
            host: "a.example",
            ..Context::of(parts)
        }
    }

    fn text(value: &HeaderValue) -> &str {
        value.to_str().expect("text")
    }

    #[test]
    fn locations_are_absolute_unless_told_not_to_be() {
        let parts = parts("/a/?x=1");
        let context = context(&parts);
        let location = |to: &str, relative| {
            let redirect = Redirect::to(StatusCode::FOUND, to).expect(to);
            text(&redirect.location(
                &context,
                Form {
                    relative,
                    port: false,
                },
            ))
            .to_owned()
        };
        assert_eq!(
            location("https://b.example/c", false),
            "https://b.example/c"
        );
        assert_eq!(
            location("https://b.example$request_uri", true),
            "https://b.example/a/?x=1"
        );
        assert_eq!(location("/c", false), "http://a.example/c");
        assert_eq!(location("/c", true), "/c");
        assert_eq!(location("/c\n$host", true), "/c%0Aa.example");
        let slash = Redirect::to_path("/a b/");
        assert_eq!(slash.status(), 301);
        assert_eq!(
            text(&slash.location(&context, Form::default())),
            "http://a.example/a%20b/?x=1"
        );
        assert_eq!(text(&slash.location(&context, RELATIVE)), "/a%20b/?x=1");
        let root = Redirect::to_root("/app").expect("a path");
        assert_eq!(root.status(), 302);
        assert_eq!(
            text(&root.location(&context, RELATIVE)),
            "http://A.example:8080/app"
        );
        assert!(Redirect::to_root("/$nonsense").is_err());
        let groups = Redirect::to(StatusCode::FOUND, "https://b.example/$1").expect("a URL");
        let pattern = Arc::new(Pattern::location("/(a)").expect("a pattern"));
        let groups = groups.with_pattern(&pattern).expect("it has groups");
        assert_eq!(
            text(&groups.location(&context, Form::default())),
            "https://b.example/a"
        );
        assert_eq!(root.with_pattern(&pattern), None);
        assert_eq!(root.describe(), "302 $scheme://$http_host/app");
    }

    #[test]
    fn another_host_keeps_the_place() {
        let parts = parts("/a/");
        let context = context(&parts);
        let to = |port| Redirect::to_host(StatusCode::PERMANENT_REDIRECT, "www.a".into(), port);
        assert_eq!(
            text(&to(true).location(&context, Form::default())),
            "http://www.a:80/a"
        );
        assert_eq!(
            text(&to(false).location(&context, Form::default())),
            "http://www.a/a"
        );
        assert_eq!(to(true).describe(), "308 the same place on www.a");
        let told = Context {
            access_scheme: "https",
            access_port: 8443,
            ..context
        };
        assert_eq!(
            text(&to(false).location(&told, Form::default())),
            "https://www.a:8443/a"
        );
    }

    #[test]
    fn https_has_the_host_without_port() {
        for (uri, keeps, expected) in [
            ("/", false, "https://A.example"),
            ("/", true, "https://A.example/"),
            ("/a//", false, "https://A.example/a/"),
            ("/a?b=/", false, "https://A.example/a?b="),
            ("/a?b", false, "https://A.example/a?b"),
        ] {
            let parts = parts(uri);
            assert_eq!(text(&to_https(&context(&parts), keeps, false)), expected);
        }
    }

    #[test]
    fn the_port_is_named_if_it_is_wanted_and_not_the_usual_one() {
        let parts = parts("/a");
        let form = Form {
            relative: false,
            port: true,
        };
        let slash = Redirect::to_path("/a/");
        for (scheme, port, to) in [
            ("http", 80, "http://a.example/a/"),
            ("https", 443, "https://a.example/a/"),
            ("http", 8080, "http://a.example:8080/a/"),
        ] {
            let context = Context {
                scheme,
                server_port: port,
                ..context(&parts)
            };
            assert_eq!(text(&slash.location(&context, form)), to);
        }
    }
}
