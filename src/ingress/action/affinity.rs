// SPDX-License-Identifier: Apache-2.0
//! Cookies that keep a session at its endpoint, in ingress-nginx's form: `KEY|UPSTREAM`.

use std::sync::Arc;

use hyper::header::{HeaderMap, HeaderValue};
use jiff::Timestamp;

use super::cookies;
use crate::ingress::balance::Mode;

/// What the cookie of an Ingress's sessions is like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Affinity {
    /// What keys stand for.
    pub mode: Mode,
    /// The cookie's name.
    pub name: Arc<str>,
    /// `Path`; none: the route's.
    pub path: Option<Arc<str>>,
    /// `Domain`.
    pub domain: Option<Arc<str>>,
    /// `Expires`, as seconds from now.
    pub expires: Option<i64>,
    /// `Max-Age`, in seconds.
    pub max_age: Option<i64>,
    /// `SameSite`.
    pub same_site: Option<SameSite>,
    /// `SameSite=None` is left out for browsers that take it for `Strict`.
    pub conditional_none: bool,
    /// `Secure` even in plain text.
    pub secure: bool,
    /// The session moves to another endpoint when its own fails.
    pub change_on_failure: bool,
}

impl Default for Affinity {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            name: "INGRESSCOOKIE".into(),
            path: None,
            domain: None,
            expires: None,
            max_age: None,
            same_site: None,
            conditional_none: false,
            secure: false,
            change_on_failure: false,
        }
    }
}

/// `SameSite`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SameSite {
    /// `None`.
    None,
    /// `Lax`.
    Lax,
    /// `Strict`.
    Strict,
}

/// What a request's cookie says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept<'a> {
    /// Stands for an endpoint.
    pub key: &'a str,
    /// Stands for an upstream, if it says so.
    pub upstream: Option<&'a str>,
}

/// A request whose session begins.
#[derive(Debug, Clone, Copy)]
pub struct Begun<'a> {
    /// What is to stand in the cookie.
    pub kept: Kept<'a>,
    /// The route's path.
    pub path: &'a str,
    /// Whether the client speaks TLS.
    pub tls: bool,
    /// The request's `User-Agent`.
    pub agent: Option<&'a HeaderValue>,
    /// When it came.
    pub now: Timestamp,
}

impl Affinity {
    /// The session that a request belongs to.
    pub fn kept<'a>(&self, headers: &'a HeaderMap) -> Option<Kept<'a>> {
        let value = cookies::last(headers, &self.name)?;
        let mut parts = value.split(|byte| *byte == b'|').filter(|p| !p.is_empty());
        let key = std::str::from_utf8(parts.next()?).ok()?;
        let upstream = parts.next().and_then(|part| std::str::from_utf8(part).ok());
        Some(Kept { key, upstream })
    }

    /// `Set-Cookie` for a session that begins. None if the cookie would not be a header.
    pub fn cookie(&self, begun: Begun<'_>) -> Option<HeaderValue> {
        let Kept { key, upstream } = begun.kept;
        let mut text = format!("{}={key}|{}", self.name, upstream.unwrap_or_default());
        let mut add = |part: String| {
            text.push_str("; ");
            text.push_str(&part);
        };
        if let Some(seconds) = self.expires {
            add(format!("Expires={}", expires(begun.now, seconds)));
        }
        if let Some(seconds) = self.max_age {
            add(format!("Max-Age={seconds}"));
        }
        if let Some(domain) = &self.domain {
            add(format!("Domain={domain}"));
        }
        add(format!(
            "Path={}",
            self.path.as_deref().unwrap_or(begun.path)
        ));
        if self.secure || begun.tls {
            add("Secure".to_owned());
        }
        add("HttpOnly".to_owned());
        match self.same_site {
            Some(SameSite::None) if !self.takes_none(begun.agent) => {}
            Some(same_site) => add(format!("SameSite={same_site:?}")),
            None => {}
        }
        HeaderValue::from_str(&text).ok()
    }

    fn takes_none(&self, agent: Option<&HeaderValue>) -> bool {
        let agent = agent.map(HeaderValue::as_bytes).unwrap_or_default();
        !self.conditional_none || knows_none(&String::from_utf8_lossy(agent))
    }
}

/// Whether a browser knows `SameSite=None`
/// (<https://www.chromium.org/updates/same-site/incompatible-clients>), by the same rule as in
/// ingress-nginx.
fn knows_none(agent: &str) -> bool {
    const OLD: [&str; 5] = [
        "Chrome/4",
        "Chrome/5",
        "Chrome/6",
        "CPU iPhone OS 12",
        "iPad; CPU OS 12",
    ];
    let has = |part: &str| agent.contains(part);
    let mojave = has("Macintosh") && has("Intel Mac OS X 10_14") && has("Safari");
    !(OLD.into_iter().any(has) || mojave && !has("Chrome"))
}

/// As nginx writes it in cookies: years after 2037 with four digits, others with two.
fn expires(now: Timestamp, seconds: i64) -> String {
    let farthest = if seconds < 0 {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    };
    let at = now.as_second().checked_add(seconds);
    let at = at
        .and_then(|at| Timestamp::from_second(at).ok())
        .unwrap_or(farthest);
    let long = at
        .strftime("%Y")
        .to_string()
        .parse()
        .is_ok_and(|year: i64| year > 2037);
    let year = if long { "%Y" } else { "%y" };
    at.strftime(&format!("%a, %d-%b-{year} %H:%M:%S GMT"))
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEPT: Kept<'_> = Kept {
        key: "k",
        upstream: Some("u"),
    };

    fn cookie(affinity: &Affinity, tls: bool, agent: &str) -> String {
        let agent = HeaderValue::from_str(agent).unwrap();
        let begun = Begun {
            kept: KEPT,
            path: "/shop",
            tls,
            agent: Some(&agent),
            now: Timestamp::from_second(1_290_079_655).unwrap(),
        };
        let cookie = affinity.cookie(begun).expect("a cookie");
        cookie.to_str().unwrap().to_owned()
    }

    #[test]
    fn cookies_have_ingress_nginx_s_form() {
        let plain = Affinity::default();
        assert_eq!(
            cookie(&plain, false, ""),
            "INGRESSCOOKIE=k|u; Path=/shop; HttpOnly"
        );
        assert!(cookie(&plain, true, "").ends_with("; Path=/shop; Secure; HttpOnly"));
        let full = Affinity {
            name: "route".into(),
            path: Some("/".into()),
            domain: Some("a.example".into()),
            expires: Some(3600),
            max_age: Some(7200),
            same_site: Some(SameSite::Lax),
            secure: true,
            ..Affinity::default()
        };
        assert_eq!(
            cookie(&full, false, ""),
            "route=k|u; Expires=Thu, 18-Nov-10 12:27:35 GMT; Max-Age=7200; Domain=a.example; \
             Path=/; Secure; HttpOnly; SameSite=Lax"
        );
    }

    #[test]
    fn far_and_past_dates_are_nginx_s() {
        let now = Timestamp::from_second(1_290_079_655).unwrap();
        assert_eq!(expires(now, 0), "Thu, 18-Nov-10 11:27:35 GMT");
        assert_eq!(expires(now, -1), "Thu, 18-Nov-10 11:27:34 GMT");
        assert_eq!(expires(now, 1_000_000_000), "Sun, 27-Jul-2042 13:14:15 GMT");
        assert!(expires(now, i64::MAX).contains("9999"));
        assert!(expires(now, i64::MIN).ends_with("GMT"));
    }

    #[test]
    fn old_browsers_are_not_told_none() {
        let mut affinity = Affinity {
            same_site: Some(SameSite::None),
            ..Affinity::default()
        };
        let told = |affinity: &Affinity, agent| cookie(affinity, false, agent).contains("=None");
        assert!(told(&affinity, "Chrome/50"));
        affinity.conditional_none = true;
        for (agent, expected) in [
            ("", true),
            ("Mozilla/5.0 Chrome/50.0", false),
            ("Mozilla/5.0 Chrome/80.0", true),
            ("Mozilla/5.0 (iPhone; CPU iPhone OS 12_4)", false),
            ("(iPad; CPU OS 12_4)", false),
            (
                "(Macintosh; Intel Mac OS X 10_14_1) Version/12 Safari/605",
                false,
            ),
            (
                "(Macintosh; Intel Mac OS X 10_14_1) Chrome/80 Safari/605",
                true,
            ),
            ("(Macintosh; Intel Mac OS X 10_15) Safari/605", true),
        ] {
            assert_eq!(told(&affinity, agent), expected, "{agent}");
        }
    }

    #[test]
    fn a_cookie_may_say_less() {
        let kept = |cookie: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("cookie", cookie.parse().unwrap());
            let kept = Affinity::default().kept(&headers);
            kept.map(|kept| (kept.key.to_owned(), kept.upstream.map(str::to_owned)))
        };
        let some =
            |key: &str, upstream: Option<&str>| Some((key.to_owned(), upstream.map(str::to_owned)));
        assert_eq!(kept("INGRESSCOOKIE=k|u"), some("k", Some("u")));
        assert_eq!(
            kept("INGRESSCOOKIE=a|b; INGRESSCOOKIE=k|u|v"),
            some("k", Some("u"))
        );
        assert_eq!(kept("INGRESSCOOKIE=|k"), some("k", None));
        assert_eq!(kept("INGRESSCOOKIE=k"), some("k", None));
        assert_eq!(kept("INGRESSCOOKIE=|"), None);
        assert_eq!(kept("ingresscookie=k|u"), None);
        assert_eq!(kept("other=k|u"), None);
    }
}
