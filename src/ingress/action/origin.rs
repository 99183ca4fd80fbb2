// SPDX-License-Identifier: Apache-2.0
//! What endpoints say of where they are, in cookies and redirects, put into the clients' terms. As
//! nginx's `proxy_cookie_domain`, `proxy_cookie_path` and `proxy_redirect` without patterns. PURE.

use std::sync::Arc;

use hyper::header::{HeaderMap, HeaderName, HeaderValue, LOCATION, REFRESH, SET_COOKIE};

/// A text, and what stands in its place.
pub type Replacement = (Arc<str>, Arc<str>);

/// What is replaced.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// All of a cookie's Domain, but for a dot in front and without regard to case.
    pub cookie_domain: Option<Replacement>,
    /// The beginning of a cookie's Path.
    pub cookie_path: Option<Replacement>,
    /// The beginning of Location, and of the URL in Refresh.
    pub redirect: Option<Replacement>,
}

impl Origin {
    /// Whether nothing is replaced.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a Location may become a path.
    pub(crate) fn makes_paths(&self) -> bool {
        let redirect = self.redirect.as_ref();
        redirect.is_some_and(|(_, to)| to.starts_with('/'))
    }

    /// Puts an endpoint's answer into the clients' terms. A Location that becomes a path follows
    /// `place`, a scheme with a host, if there is one.
    pub(crate) fn apply(&self, headers: &mut HeaderMap, place: Option<&str>) {
        if self.cookie_domain.is_some() || self.cookie_path.is_some() {
            edit(headers, &SET_COOKIE, |text| self.cookie(text));
        }
        if let Some(redirect) = &self.redirect {
            edit(headers, &LOCATION, |text| {
                let new = begin(text, redirect)?;
                Some(match place.filter(|_| new.starts_with('/')) {
                    Some(place) => format!("{place}{new}"),
                    None => new,
                })
            });
            edit(headers, &REFRESH, |text| {
                let at = text.to_ascii_lowercase().find("url=")? + "url=".len();
                let (head, url) = text.split_at(at);
                Some(format!("{head}{}", begin(url, redirect)?))
            });
        }
    }

    /// A cookie with other attributes, if any is another.
    fn cookie(&self, text: &str) -> Option<String> {
        let mut changed = false;
        // Name and value come first, whatever they look like.
        let parts = text.split(';').enumerate().map(|(n, part)| {
            let other = (n > 0).then(|| self.attribute(part)).flatten();
            changed |= other.is_some();
            other.unwrap_or_else(|| part.to_owned())
        });
        let text = parts.collect::<Vec<_>>().join(";");
        changed.then_some(text)
    }

    fn attribute(&self, part: &str) -> Option<String> {
        let (name, value) = part.split_once('=')?;
        let value = match name.trim().to_ascii_lowercase().as_str() {
            "domain" => domain(value, self.cookie_domain.as_ref()?)?,
            "path" => begin(value, self.cookie_path.as_ref()?)?,
            _ => return None,
        };
        Some(format!("{name}={value}"))
    }
}

fn domain(value: &str, (from, to): &Replacement) -> Option<String> {
    let (dot, name) = match value.strip_prefix('.') {
        Some(name) => (".", name),
        None => ("", value),
    };
    let from = from.strip_prefix('.').unwrap_or(from);
    let to = to.strip_prefix('.').unwrap_or(to);
    name.eq_ignore_ascii_case(from)
        .then(|| format!("{dot}{to}"))
}

fn begin(value: &str, (from, to): &Replacement) -> Option<String> {
    let rest = value.strip_prefix(&**from)?;
    Some(format!("{to}{rest}"))
}

/// Replaces the values of a header that can be read and that are to be others.
fn edit(headers: &mut HeaderMap, name: &HeaderName, other: impl Fn(&str) -> Option<String>) {
    // Only a header that is there.
    let hyper::header::Entry::Occupied(mut entry) = headers.entry(name) else {
        return;
    };
    for value in entry.iter_mut() {
        let text = value.to_str().ok().and_then(&other);
        if let Some(new) = text.and_then(|text| HeaderValue::from_str(&text).ok()) {
            *value = new;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(from: &str, to: &str) -> Option<Replacement> {
        Some((from.into(), to.into()))
    }

    fn applied(origin: &Origin, name: HeaderName, value: &'static str) -> String {
        let mut headers = HeaderMap::new();
        headers.append(name.clone(), HeaderValue::from_static(value));
        headers.append(name.clone(), HeaderValue::from_static("other"));
        origin.apply(&mut headers, None);
        let values: Vec<_> = headers.get_all(&name).iter().collect();
        assert_eq!(values[1], "other");
        values[0].to_str().unwrap().to_owned()
    }

    #[test]
    fn cookies_are_put_into_the_clients_terms() {
        let origin = Origin {
            cookie_domain: pair("app.internal", "example.com"),
            cookie_path: pair("/two/", "/"),
            redirect: None,
        };
        for (cookie, expected) in [
            ("a=b; Domain=app.internal", "a=b; Domain=example.com"),
            ("a=b; domain=.APP.internal", "a=b; domain=.example.com"),
            ("a=b; Domain=x.app.internal", "a=b; Domain=x.app.internal"),
            (
                "a=b; Path=/two/some/uri; Secure",
                "a=b; Path=/some/uri; Secure",
            ),
            ("a=b; Path=/twofold", "a=b; Path=/twofold"),
            ("path=/two/; HttpOnly", "path=/two/; HttpOnly"),
        ] {
            assert_eq!(applied(&origin, SET_COOKIE, cookie), expected);
        }
        assert_eq!(applied(&origin, LOCATION, "/two/x"), "/two/x");
    }

    #[test]
    fn a_path_follows_the_place_where_clients_are() {
        let origin = |from: &str, to: &str| Origin {
            redirect: pair(from, to),
            ..Origin::default()
        };
        let (path, url) = (origin("http://in/", "/"), origin("http://in/", "http://b/"));
        assert!(path.makes_paths() && !url.makes_paths());
        assert!(!Origin::default().makes_paths());
        for (origin, place, given, expected) in [
            (&path, Some("https://a"), "http://in/x", "https://a/x"),
            (&path, None, "http://in/x", "/x"),
            // What the endpoint itself made a path stays one.
            (&path, Some("https://a"), "/x", "/x"),
            (&url, Some("https://a"), "http://in/x", "http://b/x"),
        ] {
            for (name, expected) in [(LOCATION, expected), (REFRESH, "5")] {
                let given = if name == REFRESH { "5" } else { given };
                let mut headers = HeaderMap::new();
                headers.insert(&name, HeaderValue::from_static(given));
                origin.apply(&mut headers, place);
                assert_eq!(headers[&name], expected, "{given}");
            }
        }
        let mut headers = HeaderMap::new();
        headers.insert(REFRESH, HeaderValue::from_static("5; url=http://in/x"));
        path.apply(&mut headers, Some("https://a"));
        assert_eq!(
            headers[REFRESH], "5; url=/x",
            "nginx makes only Location a URL"
        );
    }

    #[test]
    fn redirects_are_put_into_the_clients_terms() {
        let origin = Origin {
            redirect: pair("http://app.internal:8080/", "https://example.com/app/"),
            ..Origin::default()
        };
        for (name, value, expected) in [
            (
                LOCATION,
                "http://app.internal:8080/x?y",
                "https://example.com/app/x?y",
            ),
            (LOCATION, "http://app.internal/x", "http://app.internal/x"),
            (
                REFRESH,
                "5; URL=http://app.internal:8080/x",
                "5; URL=https://example.com/app/x",
            ),
            (REFRESH, "5", "5"),
        ] {
            assert_eq!(applied(&origin, name, value), expected);
        }
    }
}
