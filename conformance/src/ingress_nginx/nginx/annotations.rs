// SPDX-License-Identifier: Apache-2.0
//! Annotations as ingress-nginx reads them: what shape a value must have, and what happens if it
//! has another. From internal/ingress/annotations of v1.15.1, a folder a group.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::LazyLock;

use ipnet::IpNet;
use regex::Regex;

use super::super::case::{Case, Secret};

/// The shape of a value.
#[derive(Debug, Clone, Copy)]
enum Shape {
    Switch,
    Number,
    /// All of it matches.
    Like(&'static str),
    /// The same, blanks apart.
    Loosely(&'static str),
    /// One of these.
    OneOf(&'static [&'static str]),
    Ranges,
    Any,
}

/// What a value of another shape leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrong {
    /// The default holds.
    Default,
    /// The Ingress's locations answer 503.
    Deny,
    /// The whole Ingress is not taken.
    Skip,
    /// The group of annotations does not count.
    Drop(&'static str),
}

const SIZE: Shape = Shape::Loosely("(?i)[0-9]+[bkmg]?");
const BASIC: Shape = Shape::Loosely(r"[/\-._~a-zA-Z0-9:]*");
const URL: &str = r"[\-._~a-zA-Z0-9/:,?&=]*";
const URL_VARIABLES: Shape = Shape::Loosely(r"[\-._~a-zA-Z0-9/:, ?&=$]*");
const CAPTURES: &str = r"/?[\-._~a-zA-Z0-9/:$]*";
const HEADERS: Shape = Shape::Loosely("[A-Za-z0-9-_, ]*");
const VARIABLE: Shape = Shape::Loosely(r"[A-Za-z0-9\-_${}]*");
const SERVER_NAME: &str = r"[/\-._~a-zA-Z0-9:^$\[\](){}*+?|&=\\, ]*";
const ON_OFF: Shape = Shape::OneOf(&["on", "off"]);

use Shape::{Any, Like, Loosely, Number, OneOf, Ranges, Switch};
use Wrong::{Default as Usual, Deny, Drop, Skip};

/// The annotations that are rendered.
#[rustfmt::skip]
const RULES: &[(&str, Shape, Wrong)] = &[
    ("affinity", OneOf(&["cookie"]), Usual),
    ("affinity-canary-behavior", OneOf(&["sticky", "legacy"]), Usual),
    ("affinity-mode", OneOf(&["balanced", "persistent"]), Usual),
    ("app-root", Like(CAPTURES), Usual),
    ("auth-always-set-cookie", Switch, Skip),
    ("auth-cache-duration", Like(r"[/\-._~a-zA-Z0-9:, ]*"), Drop("auth-url")),
    ("auth-cache-key", VARIABLE, Usual),
    ("auth-keepalive", Number, Usual),
    ("auth-keepalive-requests", Number, Usual),
    ("auth-keepalive-share-vars", Switch, Usual),
    ("auth-keepalive-timeout", Number, Usual),
    ("auth-method", Loosely("GET|HEAD|POST|PUT|PATCH|DELETE|CONNECT|OPTIONS|TRACE"), Deny),
    ("auth-proxy-set-headers", BASIC, Usual),
    ("auth-realm", Like(r"[/\-._~a-zA-Z0-9: ]*"), Skip),
    ("auth-request-redirect", Loosely(URL), Skip),
    ("auth-response-headers", HEADERS, Deny),
    ("auth-secret", BASIC, Deny),
    ("auth-secret-type", Loosely(".*(auth-file|auth-map).*"), Skip),
    ("auth-signin", URL_VARIABLES, Usual),
    ("auth-signin-redirect-param", Loosely(URL), Usual),
    ("auth-snippet", Any, Usual),
    ("auth-tls-error-page", Loosely(r"(@[A-Za-z0-9_-]+|((https?://)?[A-Za-z0-9\-.]+(:\d+)?)?(/[A-Za-z0-9\-_.]+)*/?)"), Skip),
    ("auth-tls-match-cn", Like("CN=.*"), Skip),
    ("auth-tls-pass-certificate-to-upstream", Switch, Skip),
    ("auth-tls-secret", BASIC, Skip),
    ("auth-tls-verify-client", Loosely("on|off|optional|optional_no_ca"), Usual),
    ("auth-tls-verify-depth", Number, Usual),
    ("auth-type", Loosely(".*(basic|digest).*"), Skip),
    ("auth-url", URL_VARIABLES, Skip),
    ("backend-protocol", OneOf(&["auto_http", "http", "https", "grpc", "grpcs", "fcgi"]), Usual),
    ("canary", Switch, Usual),
    ("canary-by-cookie", BASIC, Usual),
    ("canary-by-header", BASIC, Usual),
    ("canary-by-header-pattern", Like(SERVER_NAME), Usual),
    ("canary-by-header-value", BASIC, Usual),
    ("canary-weight", Number, Usual),
    ("canary-weight-total", Number, Usual),
    ("client-body-buffer-size", SIZE, Usual),
    ("configuration-snippet", Any, Usual),
    ("connection-proxy-header", Loosely("close|keep-alive"), Skip),
    ("cors-allow-credentials", Switch, Usual),
    ("cors-allow-headers", HEADERS, Usual),
    ("cors-allow-methods", Loosely(r"([A-Za-z]+,?\s?)+"), Usual),
    ("cors-allow-origin", Loosely(r"((((([a-z]+://)?(\*\.)?[A-Za-z0-9\-.]*(:\d+)?,?)|null)+)|\*)?"), Usual),
    ("cors-expose-headers", Loosely(r"(([A-Za-z0-9\-_]+|\*),?\s?)+"), Usual),
    ("cors-max-age", Number, Usual),
    ("custom-headers", BASIC, Usual),
    ("custom-http-errors", Loosely(r"([4,5]\d{2},?)*"), Skip),
    ("default-backend", Like("[a-z]([-a-z0-9]*[a-z0-9])?"), Skip),
    ("denylist-source-range", Ranges, Deny),
    ("disable-proxy-intercept-errors", Switch, Usual),
    ("enable-access-log", Switch, Usual),
    ("enable-cors", Switch, Usual),
    ("enable-rewrite-log", Switch, Usual),
    ("force-ssl-redirect", Switch, Usual),
    ("from-to-www-redirect", Switch, Skip),
    ("http2-push-preload", Switch, Usual),
    ("limit-allowlist", Ranges, Skip),
    ("limit-burst-multiplier", Number, Usual),
    ("limit-connections", Number, Skip),
    ("limit-rate", Number, Usual),
    ("limit-rate-after", Number, Usual),
    ("limit-rpm", Number, Skip),
    ("limit-rps", Number, Skip),
    ("load-balance", OneOf(&["round_robin", "chash", "chashsubset", "sticky_balanced", "sticky_persistent", "ewma"]), Skip),
    ("mirror-host", Like(SERVER_NAME), Usual),
    ("mirror-request-body", ON_OFF, Usual),
    ("mirror-target", Like(SERVER_NAME), Usual),
    ("permanent-redirect", Like(URL), Skip),
    ("permanent-redirect-code", Number, Skip),
    ("preserve-trailing-slash", Switch, Usual),
    ("proxy-body-size", SIZE, Usual),
    ("proxy-buffer-size", SIZE, Usual),
    ("proxy-buffering", ON_OFF, Usual),
    ("proxy-buffers-number", Number, Usual),
    ("proxy-busy-buffers-size", SIZE, Usual),
    ("proxy-connect-timeout", Number, Usual),
    ("proxy-cookie-domain", Any, Usual),
    ("proxy-cookie-path", Loosely(URL), Usual),
    ("proxy-http-version", OneOf(&["1.0", "1.1"]), Usual),
    ("proxy-max-temp-file-size", SIZE, Usual),
    ("proxy-next-upstream", Like(r"((error|timeout|invalid_header|http_500|http_502|http_503|http_504|http_403|http_404|http_429|non_idempotent|off)\s?)+"), Usual),
    ("proxy-next-upstream-timeout", Number, Usual),
    ("proxy-next-upstream-tries", Number, Usual),
    ("proxy-read-timeout", Number, Usual),
    ("proxy-redirect-from", Loosely(URL), Usual),
    ("proxy-redirect-to", Loosely(URL), Usual),
    ("proxy-request-buffering", ON_OFF, Usual),
    ("proxy-send-timeout", Number, Usual),
    ("proxy-ssl-ciphers", Loosely(r"[A-Za-z0-9+:_\-!]*"), Usual),
    ("proxy-ssl-name", Like(SERVER_NAME), Usual),
    ("proxy-ssl-protocols", Loosely(r"(TLSv1\.2|TLSv1\.3| )*"), Usual),
    ("proxy-ssl-secret", BASIC, Skip),
    ("proxy-ssl-server-name", ON_OFF, Usual),
    ("proxy-ssl-verify", ON_OFF, Usual),
    ("proxy-ssl-verify-depth", Number, Usual),
    ("relative-redirects", Switch, Skip),
    ("rewrite-target", Like(CAPTURES), Usual),
    ("satisfy", OneOf(&["any", "all"]), Usual),
    ("server-alias", Like(SERVER_NAME), Skip),
    ("server-snippet", Any, Usual),
    ("service-upstream", Switch, Usual),
    ("session-cookie-change-on-failure", Switch, Usual),
    ("session-cookie-conditional-samesite-none", Switch, Usual),
    ("session-cookie-domain", BASIC, Usual),
    ("session-cookie-expires", Loosely(r".*(^0|-?[1-9]\d*)"), Usual),
    ("session-cookie-max-age", Like(r".*(^0|-?[1-9]\d*)"), Usual),
    ("session-cookie-name", BASIC, Usual),
    ("session-cookie-path", Loosely(URL), Usual),
    ("session-cookie-samesite", OneOf(&["none", "lax", "strict"]), Usual),
    ("session-cookie-secure", Switch, Usual),
    ("ssl-ciphers", Loosely(r"[A-Za-z0-9+:_\-!@=.]*"), Usual),
    ("ssl-prefer-server-ciphers", Switch, Usual),
    ("ssl-redirect", Switch, Usual),
    ("temporal-redirect", Like(URL), Skip),
    ("temporal-redirect-code", Number, Skip),
    ("upstream-hash-by", Loosely(r"[A-Za-z0-9\-_{}$]*"), Skip),
    ("upstream-hash-by-subset", Switch, Skip),
    ("upstream-hash-by-subset-size", Number, Skip),
    ("upstream-vhost", Like(SERVER_NAME), Skip),
    ("use-port-in-redirects", Switch, Usual),
    ("use-regex", Switch, Usual),
    ("whitelist-source-range", Ranges, Deny),
    ("x-forwarded-prefix", Loosely(CAPTURES), Skip),
];

/// Other names of the same.
const ALIASES: &[(&str, &str)] = &[
    ("allowlist-source-range", "whitelist-source-range"),
    ("limit-whitelist", "limit-allowlist"),
];

static PATTERNS: LazyLock<BTreeMap<&'static str, Regex>> = LazyLock::new(|| {
    let all = RULES.iter().filter_map(|(name, shape, _)| match shape {
        Like(pattern) | Loosely(pattern) => {
            let regex = Regex::new(&format!("^(?:{pattern})$"));
            Some((*name, regex.ok()?))
        }
        _ => None,
    });
    all.collect()
});

/// The annotations of one Ingress.
#[derive(Debug, Clone, Default)]
pub struct Annotations {
    values: BTreeMap<String, String>,
    /// Why its locations answer 503.
    pub denied: Option<String>,
    /// Why it is not taken at all.
    pub skipped: Option<String>,
}

impl Annotations {
    /// Reads them, and looks up what they name.
    #[must_use]
    pub fn read(raw: &BTreeMap<String, String>, case: &Case, allowed_headers: &str) -> Self {
        let mut read = Self::default();
        for (name, value) in raw {
            read.take(name, value);
        }
        if !read.on("canary") && read.has_canary_settings() {
            read.values.retain(|name, _| !name.starts_with("canary"));
        }
        read.look_up(case, allowed_headers);
        read
    }

    fn take(&mut self, name: &str, value: &str) {
        let alias = ALIASES.iter().find(|(alias, _)| *alias == name);
        let name = alias.map_or(name, |(_, name)| name);
        let value: Vec<&str> = value.split('\n').map(str::trim).collect();
        let value = value.join("\n");
        let Some((name, shape, wrong)) = RULES.iter().find(|(known, _, _)| *known == name) else {
            return;
        };
        if value.is_empty() {
            return;
        }
        if fits(name, *shape, &value) {
            self.values.insert((*name).to_owned(), value);
            return;
        }
        let why = format!("{name}: {value}");
        match wrong {
            Wrong::Default => {}
            Wrong::Deny => self.denied = Some(why),
            Wrong::Skip => self.skipped = Some(why),
            Wrong::Drop(group) => {
                self.values.remove(*group);
            }
        }
    }

    fn has_canary_settings(&self) -> bool {
        self.number("canary-weight").unwrap_or(0) > 0
            || [
                "canary-by-header",
                "canary-by-header-value",
                "canary-by-cookie",
            ]
            .iter()
            .any(|name| self.text(name).is_some())
    }

    fn look_up(&mut self, case: &Case, allowed_headers: &str) {
        let own = |name: &str| match name.split_once('/') {
            None => Some(name.to_owned()),
            Some((namespace, name)) => (namespace == case.name).then(|| name.to_owned()),
        };
        let mut why = None;
        if self.text("auth-type").is_some() {
            let secret = self.text("auth-secret").and_then(own);
            let secret = secret.and_then(|name| case.secrets.get(&name));
            let map = self.text("auth-secret-type") == Some("auth-map");
            let good =
                matches!(secret, Some(Secret::Data(data)) if map || data.contains_key("auth"));
            why = why.or((!good).then_some("auth-secret"));
        }
        if let Some(url) = self.text("auth-url") {
            let host = url.split_once("://").map(|(_, rest)| rest);
            let host = host.and_then(|rest| rest.split(['/', '?']).next());
            let good = host.is_some_and(|host| !host.is_empty() && !host.contains(".."));
            why = why.or((!good).then_some("auth-url"));
        }
        for name in ["auth-tls-secret", "proxy-ssl-secret"] {
            if let Some(secret) = self.text(name) {
                let full = secret.contains('/').then(|| own(secret)).flatten();
                let good = full.is_some_and(|name| case.secrets.contains_key(&name));
                why = why.or((!good).then_some(name));
            }
        }
        for name in ["auth-proxy-set-headers", "custom-headers"] {
            let Some(map) = self.text(name) else { continue };
            let map = map.contains('/').then(|| own(map)).flatten();
            let good = map
                .and_then(|map| case.config_maps.get(&map))
                .is_some_and(|map| {
                    let mut names = map.keys();
                    name != "custom-headers"
                        || names.all(|name| allowed_headers.split(',').any(|a| a.trim() == name))
                });
            why = why.or((!good).then_some(name));
        }
        if let Some(why) = why {
            self.denied = Some(why.to_owned());
        }
    }

    /// A value.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        debug_assert!(RULES.iter().any(|(known, _, _)| *known == name), "{name}");
        self.values.get(name).map(String::as_str)
    }

    /// A switch, off unless it says on.
    #[must_use]
    pub fn on(&self, name: &str) -> bool {
        self.switch(name) == Some(true)
    }

    /// A switch.
    #[must_use]
    pub fn switch(&self, name: &str) -> Option<bool> {
        self.text(name)
            .map(|value| value.starts_with(['1', 't', 'T']))
    }

    /// A number.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<i64> {
        self.text(name)?.parse().ok()
    }

    /// Addresses and ranges.
    #[must_use]
    pub fn ranges(&self, name: &str) -> Vec<&str> {
        let all = self.text(name).unwrap_or_default().split(',');
        let trimmed = all.map(str::trim).filter(|range| !range.is_empty());
        trimmed.collect()
    }

    /// Whether the whole host is matched by regular expressions because of it.
    #[must_use]
    pub fn regex(&self, path: &str) -> bool {
        self.on("use-regex") || self.rewrites(path)
    }

    /// Whether a path is rewritten.
    #[must_use]
    pub fn rewrites(&self, path: &str) -> bool {
        self.text("rewrite-target")
            .is_some_and(|target| target != path)
    }
}

fn fits(name: &str, shape: Shape, value: &str) -> bool {
    let like = |value: &str| PATTERNS.get(name).is_none_or(|regex| regex.is_match(value));
    match shape {
        Any => true,
        Number => value.parse::<i64>().is_ok(),
        Switch => matches!(
            value,
            "1" | "t"
                | "T"
                | "true"
                | "TRUE"
                | "True"
                | "0"
                | "f"
                | "F"
                | "false"
                | "FALSE"
                | "False"
        ),
        Like(_) => like(value),
        Loosely(_) => like(&value.replace(' ', "")),
        OneOf(all) if name == "backend-protocol" || name == "session-cookie-samesite" => {
            all.contains(&&*value.trim().to_lowercase())
        }
        OneOf(all) => all.contains(&value.trim()),
        Ranges => value.split(',').map(str::trim).all(|range| {
            range.is_empty() || range.parse::<IpNet>().is_ok() || range.parse::<IpAddr>().is_ok()
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_can_be_read() {
        let shapes = RULES
            .iter()
            .filter(|(_, shape, _)| matches!(shape, Like(_) | Loosely(_)));
        assert_eq!(shapes.count(), PATTERNS.len());
        assert!(RULES.is_sorted_by_key(|(name, _, _)| name));
    }

    #[test]
    fn values_of_another_shape_deny_skip_or_leave_the_default() {
        let read = |name: &str, value: &str| {
            let mut annotations = Annotations::default();
            annotations.take(name, value);
            annotations
        };
        assert!(read("limit-rps", "many").skipped.is_some());
        assert!(
            read("allowlist-source-range", "10.0.0.0/33")
                .denied
                .is_some()
        );
        let usual = read("proxy-body-size", "much");
        assert!(usual.skipped.is_none() && usual.denied.is_none());
        assert_eq!(usual.text("proxy-body-size"), None);
        assert_eq!(
            read("proxy-body-size", "8m").text("proxy-body-size"),
            Some("8m")
        );
    }
}
