// SPDX-License-Identifier: Apache-2.0
//! All annotations of ingress-nginx, and what becomes of each.
//!
//! Names and risks are those of its `annotations-risk.md`, version 1.15.1. A test holds the table
//! against what is really read.

use Risk::{Critical, High, Low, Medium};

/// What ingress-nginx thinks of an annotation in the hands of somebody who may write Ingresses. Its
/// admission webhook refuses those above `annotations-risk-level`, High unless set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Risk {
    /// A switch, or one of a few words.
    Low,
    /// A text of a certain shape.
    Medium,
    /// A text that reaches the configuration.
    High,
    /// A piece of the configuration.
    Critical,
}

impl Risk {
    /// As ingress-nginx reads it, upper or lower case; what it does not know is low.
    pub fn parse(text: &str) -> Self {
        match text.to_ascii_lowercase().as_str() {
            "critical" => Critical,
            "high" => High,
            "medium" => Medium,
            _ => Low,
        }
    }
}

/// What becomes of an annotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It means what it means in ingress-nginx.
    Served,
    /// It is served but for this.
    Approximated(&'static str),
    /// It is not served: why, and what to do instead.
    Refused(&'static str),
}

/// One annotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// Without the prefix.
    pub name: &'static str,
    /// As ingress-nginx has it.
    pub risk: Risk,
    /// What becomes of it.
    pub fate: Fate,
    /// The module of [`annotation`](super) that reads it; empty if none does.
    pub reader: &'static str,
}

const fn served(name: &'static str, risk: Risk, reader: &'static str) -> Known {
    Known {
        name,
        risk,
        fate: Fate::Served,
        reader,
    }
}

const fn approximated(
    name: &'static str,
    risk: Risk,
    reader: &'static str,
    how: &'static str,
) -> Known {
    Known {
        name,
        risk,
        fate: Fate::Approximated(how),
        reader,
    }
}

const fn refused(name: &'static str, risk: Risk, why: &'static str) -> Known {
    Known {
        name,
        risk,
        fate: Fate::Refused(why),
        reader: "",
    }
}

const BUFFER: &str = "answers are passed on as they come, and not buffered in full";
const KEPT: &str = "bodies of more than 1 MiB are passed on as they come";
const PLAIN_REDIRECT: &str = "no patterns, and no variables";
const LINEAR: &str = "patterns that need look-around or back-references close the path";
const SNIPPET: &str = "a few directives are understood, all others close the path";
const FASTCGI: &str = "FastCGI is not spoken: put an HTTP server before the application";
const FIREWALL: &str = "there is no ModSecurity: put a web application firewall in front, or keep \
                        ingress-nginx for this host";
const TRACING: &str = "requests are not traced: let the application or a mesh do it";

/// All of them, by name.
pub const ALL: &[Known] = &[
    served("affinity", Low, "affinity"),
    served("affinity-canary-behavior", Low, "affinity"),
    served("affinity-mode", Medium, "affinity"),
    served("allowlist-source-range", Medium, "access"),
    served("app-root", Medium, "redirect"),
    served("auth-always-set-cookie", Low, "external"),
    served("auth-cache-duration", Medium, "external"),
    served("auth-cache-key", Medium, "external"),
    served("auth-keepalive", Low, "external"),
    served("auth-keepalive-requests", Low, "external"),
    served("auth-keepalive-share-vars", Low, "external"),
    served("auth-keepalive-timeout", Low, "external"),
    served("auth-method", Low, "external"),
    served("auth-proxy-set-headers", Medium, "external"),
    served("auth-realm", Medium, "auth"),
    served("auth-request-redirect", Medium, "external"),
    served("auth-response-headers", Medium, "external"),
    served("auth-secret", Medium, "auth"),
    served("auth-secret-type", Low, "auth"),
    served("auth-signin", High, "external"),
    served("auth-signin-redirect-param", Medium, "external"),
    approximated("auth-snippet", Critical, "external", SNIPPET),
    served("auth-tls-error-page", High, "client_certificate"),
    served("auth-tls-match-cn", High, "client_certificate"),
    served(
        "auth-tls-pass-certificate-to-upstream",
        Low,
        "client_certificate",
    ),
    served("auth-tls-secret", Medium, "client_certificate"),
    served("auth-tls-verify-client", Medium, "client_certificate"),
    served("auth-tls-verify-depth", Low, "client_certificate"),
    approximated("auth-type", Low, "auth", "basic; digest closes the path"),
    served("auth-url", High, "external"),
    approximated("backend-protocol", Low, "backend", "FCGI closes the path"),
    served("canary", Low, "canary"),
    served("canary-by-cookie", Medium, "canary"),
    served("canary-by-header", Medium, "canary"),
    approximated("canary-by-header-pattern", Medium, "canary", LINEAR),
    served("canary-by-header-value", Medium, "canary"),
    served("canary-weight", Low, "canary"),
    served("canary-weight-total", Low, "canary"),
    approximated("client-body-buffer-size", Low, "backend", KEPT),
    approximated("configuration-snippet", Critical, "snippet", SNIPPET),
    served("connection-proxy-header", Low, "headers"),
    served("cors-allow-credentials", Low, "cors"),
    served("cors-allow-headers", Medium, "cors"),
    served("cors-allow-methods", Medium, "cors"),
    served("cors-allow-origin", Medium, "cors"),
    served("cors-expose-headers", Medium, "cors"),
    served("cors-max-age", Low, "cors"),
    served("custom-headers", Medium, "headers"),
    served("custom-http-errors", Low, "errors"),
    served("default-backend", Low, "errors"),
    served("denylist-source-range", Medium, "access"),
    served("disable-proxy-intercept-errors", Low, "errors"),
    served("enable-access-log", Low, "headers"),
    served("enable-cors", Low, "cors"),
    served("enable-global-auth", Low, "external"),
    refused("enable-modsecurity", Low, FIREWALL),
    refused("enable-opentelemetry", Low, TRACING),
    refused("enable-owasp-core-rules", Low, FIREWALL),
    approximated("enable-rewrite-log", Low, "headers", "there is no such log"),
    refused("fastcgi-index", Medium, FASTCGI),
    refused("fastcgi-params-configmap", Medium, FASTCGI),
    served("force-ssl-redirect", Medium, "tls"),
    served("from-to-www-redirect", Low, "redirect"),
    refused(
        "http2-push-preload",
        Low,
        "browsers take no HTTP/2 push any more: remove it",
    ),
    served("limit-allowlist", Low, "limit"),
    served("limit-burst-multiplier", Low, "limit"),
    served("limit-connections", Low, "limit"),
    served("limit-rate", Low, "rate"),
    served("limit-rate-after", Low, "rate"),
    served("limit-rpm", Low, "limit"),
    served("limit-rps", Low, "limit"),
    served("load-balance", Low, "balance"),
    served("mirror-host", High, "mirror"),
    served("mirror-request-body", Low, "mirror"),
    approximated(
        "mirror-target",
        High,
        "mirror",
        "a mirror that is too slow misses requests, and slows none down",
    ),
    refused("modsecurity-snippet", Critical, FIREWALL),
    refused("modsecurity-transaction-id", High, FIREWALL),
    refused("opentelemetry-operation-name", Medium, TRACING),
    refused("opentelemetry-trust-incoming-span", Low, TRACING),
    served("permanent-redirect", Medium, "redirect"),
    served("permanent-redirect-code", Low, "redirect"),
    served("preserve-trailing-slash", Medium, "redirect"),
    served("proxy-body-size", Medium, "proxy"),
    served("proxy-buffer-size", Low, "backend"),
    approximated("proxy-buffering", Low, "backend", BUFFER),
    approximated("proxy-buffers-number", Low, "backend", BUFFER),
    approximated("proxy-busy-buffers-size", Low, "backend", BUFFER),
    served("proxy-connect-timeout", Low, "proxy"),
    served("proxy-cookie-domain", Medium, "origin"),
    served("proxy-cookie-path", Medium, "origin"),
    served("proxy-http-version", Low, "backend"),
    approximated("proxy-max-temp-file-size", Low, "backend", BUFFER),
    served("proxy-next-upstream", Medium, "backend"),
    served("proxy-next-upstream-timeout", Low, "backend"),
    served("proxy-next-upstream-tries", Low, "proxy"),
    served("proxy-read-timeout", Low, "proxy"),
    approximated("proxy-redirect-from", Medium, "origin", PLAIN_REDIRECT),
    approximated("proxy-redirect-to", Medium, "origin", PLAIN_REDIRECT),
    approximated("proxy-request-buffering", Low, "backend", KEPT),
    served("proxy-send-timeout", Low, "proxy"),
    approximated(
        "proxy-ssl-ciphers",
        Medium,
        "backend",
        "the suites of rustls",
    ),
    served("proxy-ssl-name", High, "backend"),
    approximated("proxy-ssl-protocols", Low, "backend", "TLS 1.2 and 1.3"),
    served("proxy-ssl-secret", Medium, "backend"),
    served("proxy-ssl-server-name", Low, "backend"),
    served("proxy-ssl-verify", Low, "backend"),
    served("proxy-ssl-verify-depth", Low, "backend"),
    served("relative-redirects", Low, "redirect"),
    approximated("rewrite-target", Medium, "rewrite", LINEAR),
    served("satisfy", Low, "auth"),
    approximated("server-alias", High, "rewrite", LINEAR),
    approximated("server-snippet", Critical, "snippet", SNIPPET),
    served("service-upstream", Low, "backend"),
    served("session-cookie-change-on-failure", Low, "affinity"),
    served("session-cookie-conditional-samesite-none", Low, "affinity"),
    served("session-cookie-domain", Medium, "affinity"),
    served("session-cookie-expires", Medium, "affinity"),
    served("session-cookie-max-age", Medium, "affinity"),
    served("session-cookie-name", Medium, "affinity"),
    served("session-cookie-path", Medium, "affinity"),
    served("session-cookie-samesite", Low, "affinity"),
    served("session-cookie-secure", Low, "affinity"),
    approximated(
        "ssl-ciphers",
        Low,
        "handshake",
        "there are the six suites of TLS 1.2 with ECDHE and an AEAD; others are told",
    ),
    refused(
        "ssl-passthrough",
        Low,
        "TLS is ended here: pass the port on with --tcp-services-configmap",
    ),
    served("ssl-prefer-server-ciphers", Low, "handshake"),
    served("ssl-redirect", Low, "tls"),
    refused(
        "stream-snippet",
        Critical,
        "no configuration of nginx is executed: pass ports on with --tcp-services-configmap",
    ),
    served("temporal-redirect", Medium, "redirect"),
    served("temporal-redirect-code", Low, "redirect"),
    served("upstream-hash-by", High, "balance"),
    served("upstream-hash-by-subset", Low, "balance"),
    served("upstream-hash-by-subset-size", Low, "balance"),
    served("upstream-vhost", Low, "proxy"),
    served("use-port-in-redirects", Low, "redirect"),
    approximated("use-regex", Low, "rewrite", LINEAR),
    served("x-forwarded-prefix", Medium, "rewrite"),
];

/// Other names for the same.
pub const ALIASES: &[(&str, &str)] = &[
    ("limit-whitelist", "limit-allowlist"),
    ("whitelist-source-range", "allowlist-source-range"),
];

/// What people write though ingress-nginx has never known it, and what they mean.
const MISTAKEN: &[(&str, &str)] = &[
    ("global-rate-limit", "limit-rps, which counts on each node"),
    ("rate-limit", "limit-rps or limit-rpm"),
    ("rate-limit-burst", "limit-burst-multiplier"),
    ("rewrite", "rewrite-target"),
    ("secure-backends", "backend-protocol"),
    ("timeout", "proxy-read-timeout"),
];

/// An annotation by its name, or by another name for it.
pub fn find(name: &str) -> Option<&'static Known> {
    let alias = ALIASES.iter().find(|(alias, _)| *alias == name);
    let name = alias.map_or(name, |(_, name)| name);
    ALL.iter().find(|known| known.name == name)
}

/// What was probably meant by a name that is none.
pub fn meant(name: &str) -> Option<&'static str> {
    let mistaken = MISTAKEN.iter().find(|(wrong, _)| *wrong == name);
    if let Some((_, meant)) = mistaken {
        return Some(meant);
    }
    let away = ALL
        .iter()
        .map(|known| (distance(known.name, name), known.name));
    let (away, name) = away.min_by_key(|(away, _)| *away)?;
    (away <= 2).then_some(name)
}

/// How many letters have to be changed, put in or left out to make one of the other.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut corner = i;
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let changed = corner + usize::from(x != y);
            corner = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(corner + 1);
        }
    }
    row[b.len()]
}
