// SPDX-License-Identifier: Apache-2.0
//! Where copies of requests go. PURE.

use std::sync::Arc;

use hyper::Uri;
use hyper::header::HeaderValue;

use super::super::annotation::value::Wrong;
use super::template::{Context, Template};

/// A place that is sent a copy of each request; what it answers is thrown away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// Whether it is spoken to over TLS.
    pub tls: bool,
    /// Its name, or its address.
    pub host: Arc<str>,
    /// Its port.
    pub port: u16,
    /// `Host` of the copies.
    pub named: HeaderValue,
    /// The path with the query; none is that of the request.
    pub uri: Option<Template>,
    /// Whether the query of the request follows.
    pub keeps_query: bool,
    /// Whether bodies are copied.
    pub body: bool,
}

impl Mirror {
    /// Reads a target as `https://host:8443$request_uri`. Host and port must be without variables.
    ///
    /// # Errors
    ///
    /// Says what is wrong with it.
    pub fn parse(target: &str) -> Result<Self, Wrong> {
        let wrong = |what: &str| format!("{what}, is {target:?}");
        let (tls, rest) = match target.split_once("://") {
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            _ => return Err(wrong("must begin with http:// or https://")),
        };
        let end = rest.find(['/', '$', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let bad = || wrong("must have a host without variables");
        if path.starts_with('$') && path.len() > 1 && !path.starts_with("$request_uri") {
            return Err(wrong("must go on with a path after its host"));
        }
        let parsed: hyper::http::uri::Authority = authority.parse().map_err(|_| bad())?;
        if parsed.as_str().contains('@') || parsed.host().is_empty() {
            return Err(bad());
        }
        let host = parsed.host();
        if host.len() < authority.len() && parsed.port_u16().is_none() {
            return Err(wrong("must have a number as its port"));
        }
        let named = HeaderValue::from_str(host).map_err(|_| bad())?;
        let template = Template::parse(path)?;
        let fixed = template.constant().is_some();
        Ok(Self {
            tls,
            host: host.trim_start_matches('[').trim_end_matches(']').into(),
            port: parsed.port_u16().unwrap_or(if tls { 443 } else { 80 }),
            named,
            uri: Some(template).filter(|_| !path.is_empty()),
            keeps_query: fixed,
            body: true,
        })
    }

    /// The path with the query of a copy; none if it cannot be one.
    pub fn uri(&self, context: &Context<'_>) -> Option<Uri> {
        let original = || context.uri.path_and_query().map_or("/", |uri| uri.as_str());
        let Some(template) = &self.uri else {
            return original().parse().ok();
        };
        let mut uri = template.render(context);
        if !uri.starts_with('/') {
            uri.insert(0, '/');
        }
        let query = context.uri.query().filter(|_| self.keeps_query);
        if let Some(query) = query {
            uri.push(if uri.contains('?') { '&' } else { '?' });
            uri.push_str(query);
        }
        uri.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    #[test]
    fn targets_say_where_and_how() {
        for (target, expected) in [
            ("http://m.example", (false, "m.example", 80, "/a%20b?c=d")),
            ("http://m.example/", (false, "m.example", 80, "/?c=d")),
            (
                "https://m.example/x?y=1",
                (true, "m.example", 443, "/x?y=1&c=d"),
            ),
            (
                "https://m.example:8443$request_uri",
                (true, "m.example", 8443, "/a%20b?c=d"),
            ),
            (
                "http://10.0.0.1:81/p$request_uri",
                (false, "10.0.0.1", 81, "/p/a%20b?c=d"),
            ),
            (
                "http://[2001:db8::1]:81/$host",
                (false, "2001:db8::1", 81, "/h.example"),
            ),
        ] {
            let mirror = Mirror::parse(target).unwrap();
            let request = Request::get("/a%20b?c=d").header("host", "h.example");
            let parts = request.body(()).unwrap().into_parts().0;
            let uri = mirror.uri(&Context::of(&parts)).unwrap().to_string();
            let (tls, host, port, path) = expected;
            assert_eq!(
                (mirror.tls, &*mirror.host, mirror.port),
                (tls, host, port),
                "{target}"
            );
            assert_eq!(uri, path, "{target}");
        }
    }

    #[test]
    fn what_leads_nowhere_is_refused() {
        for target in [
            "",
            "m.example",
            "ftp://m.example",
            "http://",
            "http://$host/",
            "http://a$host/",
            "http://user@m.example/",
            "http://m.example:x/",
            "http://m.example/$nonsense",
        ] {
            assert!(Mirror::parse(target).is_err(), "{target}");
        }
    }
}
