// SPDX-License-Identifier: Apache-2.0
//! The rows, and what each must do.

use std::collections::BTreeSet;

use super::site::Site;
use crate::tls::has;

/// One shape of YAML.
pub(super) struct Row {
    /// That of its file.
    pub(super) name: &'static str,
    /// The articles that have it.
    pub(super) articles: &'static str,
    pub(super) yaml: &'static str,
    /// Panics if it does not work.
    pub(super) check: fn(&Site),
}

macro_rules! row {
    ($name:literal, $articles:literal, $check:expr) => {
        Row {
            name: $name,
            articles: $articles,
            yaml: include_str!(concat!($name, ".yaml")),
            check: $check,
        }
    };
}

pub(super) const ROWS: &[Row] = &[
    row!("hosts-and-paths", "000 001 002 003 004", hosts_and_paths),
    row!("path-types", "000 001 002 003", path_types),
    row!("wildcard-and-default", "000 003", wildcard_and_default),
    row!("classes", "000 002 003", classes),
    row!("tls", "000 001 002 003 004", tls),
    row!("acme", "000 001 002 003 004", acme),
    row!("config-map", "000", config_map),
    row!("forwarded-headers", "002", forwarded_headers),
    row!("rewrite-target", "000 002 003 004", rewrite_target),
    row!("use-regex", "002", use_regex),
    row!("ssl-redirect", "000 001 002", ssl_redirect),
    row!("force-ssl-redirect", "002", force_ssl_redirect),
    row!("hsts", "000", hsts),
    row!("tls-settings", "000 002", tls_settings),
    row!("proxy-body-size", "000 001 002", proxy_body_size),
    row!("proxy-timeouts", "000", proxy_timeouts),
    row!("proxy-buffers", "000", proxy_buffers),
    row!("upstream-keepalive", "000 002", upstream_keepalive),
    row!("load-balance", "000", load_balance),
    row!("affinity", "000", affinity),
    row!("canary", "000 002", canary),
    row!("auth-basic", "002", auth_basic),
    row!("auth-url", "002", auth_url),
    row!("limits", "000 002", limits),
    row!("rate-limit", "002", rate_limit),
    row!("whitelist-source-range", "002", whitelist_source_range),
    row!("cors", "002", cors),
    row!("configuration-snippet", "001 002", configuration_snippet),
    row!("gzip", "000", gzip),
];

fn hosts_and_paths(site: &Site) {
    let by = |host, uri| site.get(host, uri).by().to_owned();
    assert_eq!(by("fan-out.example", "/web"), "web");
    assert_eq!(by("fan-out.example", "/other/x?y"), "other");
    assert_eq!(by("second.example", "/web"), "other");
    assert_eq!(by("whoever.example", "/no-host"), "other");
    assert_eq!(by("second.example:8080", "/"), "other");
}

fn path_types(site: &Site) {
    for (uri, by) in [
        ("/foo", "other"),
        ("/foo/", "web"),
        ("/bar", "web"),
        ("/aaa/bbb", "other"),
        ("/aaa/bbb/ccc", "other"),
        ("/aaa/bbbxyz", "web"),
        ("/aaa", "web"),
        ("/api/*", "other"),
        ("/api/*/x", "other"),
        ("/api/x", "web"),
    ] {
        assert_eq!(site.get("path-types.example", uri).by(), by, "{uri}");
    }
}

fn wildcard_and_default(site: &Site) {
    let by = |host, uri| site.get(host, uri).by().to_owned();
    assert_eq!(by("a.wild.example", "/web"), "web");
    assert_eq!(by("a.wild.example", "/nothing"), "other");
    assert_eq!(by("a.b.wild.example", "/web"), "other");
    assert_eq!(by("wild.example", "/web"), "other");
    assert_eq!(site.get("a.wild.example", "/icons").status(), 503);
    assert!(site.lint("Ingress default/wildcard").contains("resource"));
}

fn classes(site: &Site) {
    let by = |host| site.get(host, "/").by().to_owned();
    assert_eq!(by("by-annotation.example"), "web");
    assert_eq!(by("by-default.example"), "web");
    assert_eq!(by("elsewhere.example"), "other", "the catch-all");
}

fn tls(site: &Site) {
    let plain = site.get("tls.example", "/a?b=c");
    assert_eq!(plain.status(), 308);
    assert_eq!(plain.header("location"), Some("https://tls.example/a?b=c"));
    if has("curl") {
        for host in ["tls.example", "other-tls.example"] {
            let text = site.curl(host, true);
            assert!(text.contains(" 200"), "{host} {text}");
            assert!(text.contains("x-forwarded-proto: https"), "{text}");
        }
    }
}

fn acme(site: &Site) {
    let found = site.get("acme.example", "/.well-known/acme-challenge/token");
    assert_eq!((found.status(), found.by()), (200, "other"));
    assert_eq!(found.line(), "GET /.well-known/acme-challenge/token");
    assert_ne!(site.get("acme.example", "/").status(), 200);
}

fn config_map(site: &Site) {
    let body = "x".repeat(1_500_000);
    let sent = site.send("POST /", "config-map.example", "", &body);
    assert_eq!(sent.status(), 200);
    assert_eq!(sent.header("server"), None);
    let told = site.lint("ConfigMap default/settings");
    assert!(told.contains("log-format-upstream"), "{told}");
    assert!(told.contains("not known: http2"), "{told}");
    assert!(!told.contains("server-tokens"), "{told}");
}

fn forwarded_headers(site: &Site) {
    let claimed = "X-Forwarded-For: 192.0.2.66\r\nX-Real-IP: 192.0.2.66\r\n";
    let found = site.ask("GET /", "forwarded.example", claimed);
    // As in ingress-nginx everybody is believed, unless proxy-real-ip-cidr says whom.
    assert_eq!(found.sent("x-real-ip"), Some("192.0.2.66"));
    assert_eq!(found.sent("x-forwarded-for"), Some("192.0.2.66"));
    assert_eq!(found.sent("x-forwarded-host"), Some("forwarded.example"));
    assert_eq!(found.sent("x-forwarded-proto"), Some("http"));
    assert_eq!(found.sent("x-original-forwarded-for"), Some("192.0.2.66"));
    assert_eq!(found.sent("x-request-id").map(str::len), Some(32));
}

fn rewrite_target(site: &Site) {
    let line = |host, uri| site.get(host, uri).line().to_owned();
    assert_eq!(line("rewrite.example", "/testpath"), "GET /");
    assert_eq!(line("rewrite.example", "/testpath/x?a=b"), "GET /?a=b");
    assert_eq!(
        line("capture.example", "/something/new?a=b"),
        "GET /new?a=b"
    );
    assert_eq!(line("capture.example", "/something"), "GET /");
    assert_eq!(line("same.example", "/y"), "GET /y");
}

fn use_regex(site: &Site) {
    let by = |uri| site.get("regex.example", uri).by().to_owned();
    assert_eq!(by("/api/v2/users"), "web");
    assert_eq!(by("/API/v17/Users/7"), "web");
    assert_ne!(by("/api/vx/users"), "web");
}

fn ssl_redirect(site: &Site) {
    let found = site.get("ssl-redirect.example:8080", "/a?b=c");
    assert_eq!(found.status(), 308);
    let location = Some("https://ssl-redirect.example/a?b=c");
    assert_eq!(found.header("location"), location);
    assert_eq!(site.get("no-ssl-redirect.example", "/").status(), 200);
}

fn force_ssl_redirect(site: &Site) {
    let found = site.get("force.example", "/a");
    assert_eq!(found.status(), 308);
    assert_eq!(found.header("location"), Some("https://force.example/a"));
}

fn hsts(site: &Site) {
    if has("curl") {
        let text = site.curl("hsts.example", false);
        let header = "strict-transport-security: max-age=31536000; includesubdomains\r\n";
        assert!(text.contains(header), "{text}");
    }
    let plain = site.get("hsts.example", "/");
    assert_eq!(plain.header("strict-transport-security"), None);
}

fn tls_settings(site: &Site) {
    assert_eq!(site.get("tls-settings.example", "/").status(), 200);
    if has("curl") {
        assert!(site.curl("tls-settings.example", false).contains(" 200"));
    }
    let told = site.lint("Ingress default/tls-settings");
    assert!(!told.contains("ssl-ciphers"), "it is so: {told}");
    assert!(told.contains("ssl-session-tickets"), "{told}");
    assert!(!told.contains("ssl-protocols"), "it is so: {told}");
}

fn proxy_body_size(site: &Site) {
    let status = |length| {
        let body = "x".repeat(length);
        site.send("POST /", "body.example", "", &body).status()
    };
    assert_eq!(status(1_024), 200);
    assert_eq!(status(1_025), 413);
}

fn proxy_timeouts(site: &Site) {
    assert_eq!(site.get("timeouts.example", "/").status(), 504);
}

fn proxy_buffers(site: &Site) {
    assert_eq!(site.get("buffers.example", "/").status(), 200);
    let told = site.lint("Ingress default/buffers");
    assert!(told.contains("proxy-buffers-number"), "{told}");
    assert!(!told.contains("refused"), "{told}");
}

fn upstream_keepalive(site: &Site) {
    assert_eq!(site.get("keepalive.example", "/").status(), 200);
    let told = site.lint("Ingress default/keepalive");
    assert!(told.contains("upstream-keepalive-timeout"), "{told}");
    assert!(!told.contains("upstream-keepalive-connections"), "{told}");
}

fn load_balance(site: &Site) {
    let all = |host| -> BTreeSet<String> {
        let answers = (0..60).map(|_| site.get(host, "/").by().to_owned());
        answers.collect()
    };
    assert!(all("ewma.example").len() > 1);
    // No algorithm of ingress-nginx: the default serves, and it is told.
    assert_eq!(all("least-conn.example").len(), 3);
    let told = site.lint("Ingress default/least-conn");
    assert!(told.contains("invalid"), "{told}");
}

fn affinity(site: &Site) {
    let first = site.get("sticky.example", "/");
    let cookie = first.header("set-cookie").expect("a cookie").to_owned();
    assert!(cookie.starts_with("route="), "{cookie}");
    for part in ["Max-Age=172800", "Path=/", "HttpOnly", "Expires="] {
        assert!(cookie.contains(part), "{cookie}");
    }
    let pair = cookie.split(';').next().unwrap_or_default();
    for _ in 0..20 {
        let headers = format!("Cookie: {pair}\r\n");
        let again = site.ask("GET /", "sticky.example", &headers);
        assert_eq!(again.by(), first.by());
        assert_eq!(again.header("set-cookie"), None);
    }
}

fn canary(site: &Site) {
    let by = |_: &i32| site.get("canary.example", "/").by() == "other";
    let new = (0..200).filter(by).count();
    // 60 are expected, six standard deviations away it ends.
    assert!((21..=99).contains(&new), "{new} of 200");
    let chosen = |value: &str| {
        let headers = format!("X-Canary: {value}\r\n");
        let found = site.ask("GET /", "canary-header.example", &headers);
        found.by().to_owned()
    };
    assert_eq!(chosen("always-new"), "other");
    assert_eq!(chosen("always"), "web", "only the value counts");
    assert_eq!(site.get("canary-header.example", "/").by(), "web");
}

fn auth_basic(site: &Site) {
    let ask = |headers| site.ask("GET /", "basic.example", headers);
    let none = ask("");
    assert_eq!(none.status(), 401);
    let realm = Some("Basic realm=\"Authentication Required\"");
    assert_eq!(none.header("www-authenticate"), realm);
    assert_eq!(
        ask("Authorization: Basic dXNlcjpzZWNyZXQ=\r\n").status(),
        200
    );
    assert_eq!(
        ask("Authorization: Basic dXNlcjp3cm9uZw==\r\n").status(),
        401
    );
}

fn auth_url(site: &Site) {
    let good = site.ask("GET /x", "external.example", "X-Password: secret\r\n");
    assert_eq!((good.status(), good.by()), (200, "web"));
    let bad = site.get("external.example", "/x");
    assert_eq!(bad.status(), 302);
    let location = bad.header("location").expect("where to sign in");
    let begin = "https://login.example/start?rd=http://external.example";
    assert!(location.starts_with(begin), "{location}");
}

fn limits(site: &Site) {
    let statuses = |host| -> Vec<u16> {
        let all = (0..12).map(|_| site.get(host, "/").status());
        all.collect()
    };
    let limited = statuses("limits.example");
    assert_eq!(limited[..3], [200; 3], "the burst");
    assert!(limited.contains(&503), "{limited:?}");
    assert_eq!(statuses("limits-free.example"), [200; 12]);
}

fn rate_limit(site: &Site) {
    assert_eq!(site.get("rate.example", "/").status(), 200);
    let told = site.lint("Ingress default/rate");
    assert!(told.contains("limit-rps"), "what is meant: {told}");
}

fn whitelist_source_range(site: &Site) {
    assert_eq!(site.get("range.example", "/").status(), 403);
    assert_eq!(site.get("range-open.example", "/").status(), 200);
}

fn cors(site: &Site) {
    let origin = |origin: &str| format!("Origin: https://{origin}\r\n");
    let ask = |line, from| site.ask(line, "cors.example", &origin(from));
    let preflight = ask("OPTIONS /", "front.example");
    assert_eq!(preflight.status(), 204);
    let allowed = Some("https://front.example");
    let methods = preflight.header("access-control-allow-methods");
    assert_eq!(methods, Some("GET, POST, OPTIONS"));
    for found in [preflight, ask("GET /", "front.example")] {
        assert_eq!(found.header("access-control-allow-origin"), allowed);
    }
    let other = ask("GET /", "other.example");
    assert_eq!(other.status(), 200);
    assert_eq!(other.header("access-control-allow-origin"), None);
}

fn configuration_snippet(site: &Site) {
    let found = site.get("snippet.example", "/");
    assert_eq!(found.header("x-frame-options"), Some("DENY"));
    assert_eq!(found.header("x-content-type-options"), Some("nosniff"));
    let moved = site.get("snippet.example", "/app1");
    assert_eq!(moved.status(), 301);
    let location = moved.header("location").expect("a place");
    assert!(location.ends_with("/app1/"), "{location}");
}

fn gzip(site: &Site) {
    let found = site.ask("GET /", "gzip.example", "Accept-Encoding: gzip\r\n");
    assert_eq!(found.header("content-encoding"), Some("gzip"));
    let plain = site.get("gzip.example", "/");
    assert_eq!(plain.header("content-encoding"), None);
}
