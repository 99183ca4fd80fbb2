// SPDX-License-Identifier: Apache-2.0
//! The keys that are served, and what each sets.

use std::sync::Arc;

use super::super::gate_keys;
use super::{Draft, Key};
use crate::ingress::action::errors;
use crate::ingress::action::headers::{self, Headers};
use crate::ingress::action::retry::Retry;
use crate::ingress::annotation::balance::{self, Algorithm};
use crate::ingress::annotation::known::Risk;
use crate::ingress::annotation::value::{self, Wrong};
use crate::ingress::annotation::{PlainPaths, backend, compress, gate, handshake};
use crate::ingress::table::Choice;
use crate::model::ServiceName;

pub(super) const KEYS: &[(&str, Key)] = &[
    ("add-headers", Key::Text(|d, t| link(&mut d.linked.add, t))),
    (
        "allow-snippet-annotations",
        Key::Switch(|d, on| d.policy.snippets = on),
    ),
    ("annotations-risk-level", Key::Text(risk_level)),
    (
        "brotli-level",
        Key::Text(|d, t| compression(d, "brotli-level", t)),
    ),
    (
        "brotli-min-length",
        Key::Text(|d, t| compression(d, "brotli-min-length", t)),
    ),
    (
        "brotli-types",
        Key::Text(|d, t| compression(d, "brotli-types", t)),
    ),
    (
        "client-body-buffer-size",
        Key::Text(|_, t| backend::in_memory(t).map(drop)),
    ),
    (
        "client-body-timeout",
        Key::Seconds(1, |d, t| d.settings.body_timeout = t),
    ),
    (
        "client-header-timeout",
        Key::Seconds(1, |d, t| d.settings.header_timeout = t),
    ),
    (
        "compute-full-forwarded-for",
        Key::Switch(|d, on| d.settings.full_forwarded_for = on),
    ),
    ("custom-http-errors", Key::Text(custom_errors)),
    (
        "disable-access-log",
        Key::Switch(|d, on| d.route.access_log = !on),
    ),
    (
        "disable-proxy-intercept-errors",
        Key::Switch(|d, on| errors_of(d).everywhere.intercepts = !on),
    ),
    (
        "enable-brotli",
        Key::Text(|d, t| compression(d, "enable-brotli", t)),
    ),
    (
        "force-ssl-redirect",
        Key::Switch(|d, on| d.https.forced = on),
    ),
    ("hsts", Key::Switch(|d, on| d.hsts.on = on)),
    (
        "global-allowed-response-headers",
        Key::Text(allowed_headers),
    ),
    (
        "gzip-level",
        Key::Text(|d, t| compression(d, "gzip-level", t)),
    ),
    (
        "gzip-min-length",
        Key::Text(|d, t| compression(d, "gzip-min-length", t)),
    ),
    (
        "gzip-types",
        Key::Text(|d, t| compression(d, "gzip-types", t)),
    ),
    ("hide-headers", Key::Text(hidden_headers)),
    (
        "hsts-include-subdomains",
        Key::Switch(|d, on| d.hsts.subdomains = on),
    ),
    ("hsts-max-age", Key::Number(|d, age| d.hsts.max_age = age)),
    ("hsts-preload", Key::Switch(|d, on| d.hsts.preload = on)),
    ("http-redirect-code", Key::Text(redirect_status)),
    (
        "http2-max-concurrent-streams",
        Key::Number(|d, n| d.settings.streams = n.max(1)),
    ),
    (
        "keep-alive",
        Key::Seconds(0, |d, t| d.settings.keep_alive = t),
    ),
    (
        "keep-alive-requests",
        Key::Number(|d, n| d.settings.keep_alive_requests = n.max(1)),
    ),
    ("no-tls-redirect-locations", Key::Text(plain_paths)),
    (
        "preserve-trailing-slash",
        Key::Switch(|d, on| d.route.keeps_slash = Some(on)),
    ),
    ("limit-rate", Key::Number(|d, n| d.rate.0 = n.into())),
    ("limit-rate-after", Key::Number(|d, n| d.rate.1 = n.into())),
    ("load-balance", Key::Text(load_balance)),
    ("proxy-body-size", Key::Text(body_size)),
    ("proxy-buffer-size", Key::Text(response_head)),
    (
        "proxy-connect-timeout",
        Key::Seconds(1, |d, t| d.route.connect_timeout = t),
    ),
    ("proxy-http-version", Key::Text(http_version)),
    ("proxy-next-upstream", Key::Text(next_upstream)),
    (
        "proxy-next-upstream-timeout",
        Key::Number(|d, n| d.route.retry.within = backend::within_seconds(n)),
    ),
    (
        "proxy-next-upstream-tries",
        Key::Number(|d, n| d.route.tries = n as usize),
    ),
    (
        "proxy-read-timeout",
        Key::Seconds(1, |d, t| d.route.read_timeout = t),
    ),
    ("proxy-real-ip-cidr", Key::Text(trusted)),
    (
        "proxy-send-timeout",
        Key::Seconds(1, |d, t| d.route.send_timeout = t),
    ),
    (
        "proxy-set-headers",
        Key::Text(|d, t| link(&mut d.linked.set, t)),
    ),
    (
        "proxy-stream-timeout",
        Key::Time(|d, t| d.settings.stream_timeout = t),
    ),
    (
        "relative-redirects",
        Key::Switch(|d, on| d.route.relative_redirects = on),
    ),
    (
        "retry-non-idempotent",
        Key::Switch(|d, on| d.route.retry_non_idempotent = on),
    ),
    (
        "server-tokens",
        Key::Switch(|d, on| headers_of(d).server = on),
    ),
    ("service-upstream", Key::Switch(service_upstream)),
    ("ssl-redirect", Key::Switch(|d, on| d.https.secured = on)),
    (
        "upstream-keepalive-connections",
        Key::Number(|d, n| d.settings.idle_upstream_connections = n as usize),
    ),
    (
        "upstream-keepalive-timeout",
        Key::Seconds(1, |d, t| d.settings.idle_upstream_timeout = t),
    ),
    (
        "use-forwarded-headers",
        Key::Switch(|d, on| d.settings.use_forwarded_headers = on),
    ),
    ("use-gzip", Key::Text(|d, t| compression(d, "use-gzip", t))),
    (
        "use-port-in-redirects",
        Key::Switch(|d, on| d.route.port_in_redirects = on),
    ),
    (
        "use-proxy-protocol",
        Key::Switch(|d, on| d.settings.proxy_protocol = on),
    ),
    (
        "worker-shutdown-timeout",
        Key::Time(|d, t| d.settings.shutdown_grace = Some(t)),
    ),
    (
        "allow-cross-namespace-resources",
        Key::Switch(|d, on| gate(&mut d.route).cross_namespace = on),
    ),
    (
        "block-cidrs",
        Key::Text(|d, text| gate_keys::block_networks(&mut d.settings, text)),
    ),
    (
        "block-referers",
        Key::Text(|d, text| gate_keys::block_referers(&mut d.settings, text)),
    ),
    (
        "block-user-agents",
        Key::Text(|d, text| gate_keys::block_agents(&mut d.settings, text)),
    ),
    (
        "denylist-source-range",
        Key::Text(|d, text| gate_keys::deny(&mut d.route, text)),
    ),
    ("global-auth-always-set-cookie", Key::Together),
    ("global-auth-cache-duration", Key::Together),
    ("global-auth-cache-key", Key::Together),
    ("global-auth-method", Key::Together),
    ("global-auth-request-redirect", Key::Together),
    ("global-auth-response-headers", Key::Together),
    ("global-auth-signin", Key::Together),
    ("global-auth-signin-redirect-param", Key::Together),
    ("global-auth-snippet", Key::Together),
    ("global-auth-url", Key::Together),
    (
        "limit-conn-status-code",
        Key::Text(|d, text| gate_keys::connection_status(&mut d.route, text)),
    ),
    (
        "limit-conn-zone-variable",
        Key::Always("$binary_remote_addr"),
    ),
    (
        "limit-req-status-code",
        Key::Text(|d, text| gate_keys::request_status(&mut d.route, text)),
    ),
    (
        "no-auth-locations",
        Key::Text(|d, text| gate_keys::open(&mut d.route, text)),
    ),
    (
        "whitelist-source-range",
        Key::Text(|d, text| gate_keys::allow(&mut d.route, text)),
    ),
    (
        "enable-underscores-in-headers",
        Key::Switch(|d, on| d.settings.underscores = on),
    ),
    ("generate-request-id", Key::Always("true")),
    ("ignore-invalid-headers", Key::Always("true")),
    ("proxy-buffering", Key::Always("off")),
    ("proxy-max-temp-file-size", Key::Always("1024m")),
    (
        "proxy-request-buffering",
        Key::Text(|d, t| backend::on_off(t).map(|on| d.route.keeps_bodies = on)),
    ),
    ("proxy-ssl-location-only", Key::Always("true")),
    (
        "proxy-add-original-uri-header",
        Key::Switch(|d, on| d.settings.original_uri = on),
    ),
    (
        "ssl-ciphers",
        Key::Text(|d, text| handshake::ciphers(&mut d.settings.handshake, text)),
    ),
    (
        "ssl-protocols",
        Key::Text(|d, text| handshake::protocols(&mut d.settings.handshake, text)),
    ),
    ("use-http2", Key::Always("true")),
];

/// The highest risk of annotations that is taken.
fn risk_level(draft: &mut Draft, text: &str) -> Result<(), Wrong> {
    draft.policy.risk = Some(Risk::parse(text));
    let known = ["low", "medium", "high", "critical"];
    match known.iter().any(|known| text.eq_ignore_ascii_case(known)) {
        true => Ok(()),
        false => Err(format!(
            "must be Low, Medium, High or Critical, is {text:?}: Low holds, as in ingress-nginx"
        )),
    }
}

fn compression(draft: &mut Draft, name: &str, text: &str) -> Result<(), Wrong> {
    let compress = draft.route.compress.get_or_insert_default();
    compress::set(Arc::make_mut(compress), name, text)
}

fn headers_of(draft: &mut Draft) -> &mut Headers {
    Arc::make_mut(draft.route.headers.get_or_insert_default())
}

/// Answers of endpoints are replaced, too, unless it is said otherwise.
fn errors_of(draft: &mut Draft) -> &mut errors::Errors {
    let new = || {
        let mut errors = errors::Errors::default();
        errors.everywhere.intercepts = true;
        Arc::new(errors)
    };
    Arc::make_mut(draft.route.errors.get_or_insert_with(new))
}

fn custom_errors(draft: &mut Draft, text: &str) -> Result<(), Wrong> {
    errors_of(draft).everywhere.statuses = errors::statuses(text)?;
    Ok(())
}

fn hidden_headers(draft: &mut Draft, text: &str) -> Result<(), Wrong> {
    let names = value::words(text).map(headers::name);
    let names = names.collect::<Result<Vec<_>, Wrong>>()?;
    headers_of(draft).everywhere.hidden = names;
    Ok(())
}

fn allowed_headers(draft: &mut Draft, text: &str) -> Result<(), Wrong> {
    let names = value::words(text).map(|word| {
        let name = headers::name(word)?;
        Ok(name.as_str().into())
    });
    draft.policy.response_headers = Arc::new(names.collect::<Result<_, Wrong>>()?);
    Ok(())
}

fn link(linked: &mut Option<ServiceName>, text: &str) -> Result<(), Wrong> {
    let parts = text.split_once('/');
    let parts = parts.filter(|(namespace, name)| !namespace.is_empty() && !name.is_empty());
    let wrong = || format!("must be NAMESPACE/NAME of a ConfigMap, is {text:?}");
    let (namespace, name) = parts.ok_or_else(wrong)?;
    *linked = Some(ServiceName::new(namespace, name));
    Ok(())
}

fn body_size(draft: &mut Draft, text: &str) -> Result<(), Wrong> {
    draft.route.body_limit = value::size(text)?;
    Ok(())
}

fn plain_paths(draft: &mut Draft, text: &str) -> Result<(), Wrong> {
    draft.plain_paths = PlainPaths::new(text);
    Ok(())
}

fn change(draft: &mut Draft, change: impl FnOnce(&mut Choice)) {
    let mut choice = draft.route.choice.as_deref().cloned().unwrap_or_default();
    change(&mut choice);
    let differs = choice != Choice::default();
    draft.route.choice = differs.then(|| Arc::new(choice));
}

fn load_balance(draft: &mut Draft, text: &str) -> Result<(), Wrong> {
    match balance::algorithm(text)? {
        Algorithm::Is(how) => change(draft, |choice| choice.how = how),
        Algorithm::Follows(from) => return Err(format!("{text:?} follows from {from}")),
    }
    Ok(())
}

fn service_upstream(draft: &mut Draft, on: bool) {
    change(draft, |choice| choice.by_service = on);
}

fn next_upstream(draft: &mut Draft, text: &str) -> Result<(), Wrong> {
    let (retry, non_idempotent) = Retry::parse(text)?;
    let within = draft.route.retry.within;
    draft.route.retry = Retry { within, ..retry };
    draft.route.retry_non_idempotent |= non_idempotent;
    Ok(())
}

fn http_version(draft: &mut Draft, text: &str) -> Result<(), Wrong> {
    draft.route.http10 = backend::http_version(text)?;
    Ok(())
}

fn response_head(draft: &mut Draft, text: &str) -> Result<(), Wrong> {
    draft.route.response_head = Some(value::size(text)?);
    Ok(())
}

fn redirect_status(draft: &mut Draft, text: &str) -> Result<(), Wrong> {
    draft.https.status = match text {
        "301" => 301,
        "302" => 302,
        "307" => 307,
        "308" => 308,
        _ => return Err(format!("must be 301, 302, 307 or 308, is {text:?}")),
    };
    Ok(())
}

fn trusted(draft: &mut Draft, text: &str) -> Result<(), Wrong> {
    draft.settings.trusted = value::networks(text)?;
    Ok(())
}
