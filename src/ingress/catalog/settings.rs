// SPDX-License-Identifier: Apache-2.0
//! Settings from a ConfigMap, by the names that they have in ingress-nginx's. PURE.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::ingress::action::retry::Retry;
use crate::ingress::annotation::balance::{self, Algorithm};
use crate::ingress::annotation::value::{self, Wrong};
use crate::ingress::annotation::{Defaults, Https, backend};
use crate::ingress::table::{Choice, RouteSettings, Settings};

/// Data of a ConfigMap.
pub(super) type Data = BTreeMap<Arc<str>, Arc<str>>;

/// What a ConfigMap says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Configured {
    pub(super) settings: Settings,
    /// What holds for an Ingress whose annotations do not say otherwise.
    pub(super) defaults: Defaults,
    /// Keys and values that are not served, with the reasons.
    pub(super) notes: Vec<String>,
}

/// What a key means.
enum Key {
    /// Whole seconds, at least so many.
    Seconds(u32, fn(&mut Draft, Duration)),
    /// Seconds, or a number with a unit: `240s`, `4m`, `1h`.
    Time(fn(&mut Draft, Duration)),
    Number(fn(&mut Draft, u32)),
    Switch(fn(&mut Draft, bool)),
    Text(fn(&mut Draft, &str) -> Result<(), Wrong>),
    /// Served with this value, and with no other.
    Always(&'static str),
}

/// Settings, and what they are made of when all keys have been read.
struct Draft {
    settings: Settings,
    route: RouteSettings,
    https: Https,
    hsts: bool,
    hsts_age: u32,
    hsts_subdomains: bool,
    hsts_preload: bool,
}

const KEYS: &[(&str, Key)] = &[
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
    (
        "force-ssl-redirect",
        Key::Switch(|d, on| d.https.forced = on),
    ),
    ("hsts", Key::Switch(|d, on| d.hsts = on)),
    (
        "hsts-include-subdomains",
        Key::Switch(|d, on| d.hsts_subdomains = on),
    ),
    ("hsts-max-age", Key::Number(|d, age| d.hsts_age = age)),
    ("hsts-preload", Key::Switch(|d, on| d.hsts_preload = on)),
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
        "proxy-stream-timeout",
        Key::Time(|d, t| d.settings.stream_timeout = t),
    ),
    (
        "retry-non-idempotent",
        Key::Switch(|d, on| d.route.retry_non_idempotent = on),
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
    (
        "use-proxy-protocol",
        Key::Switch(|d, on| d.settings.proxy_protocol = on),
    ),
    (
        "worker-shutdown-timeout",
        Key::Time(|d, t| d.settings.shutdown_grace = Some(t)),
    ),
    ("allow-snippet-annotations", Key::Always("false")),
    ("enable-brotli", Key::Always("false")),
    ("enable-underscores-in-headers", Key::Always("false")),
    ("generate-request-id", Key::Always("true")),
    ("ignore-invalid-headers", Key::Always("true")),
    ("proxy-buffering", Key::Always("off")),
    ("proxy-max-temp-file-size", Key::Always("1024m")),
    ("proxy-request-buffering", Key::Always("off")),
    ("proxy-ssl-location-only", Key::Always("true")),
    ("server-tokens", Key::Always("false")),
    ("ssl-protocols", Key::Always("TLSv1.2 TLSv1.3")),
    ("use-gzip", Key::Always("false")),
    ("use-http2", Key::Always("true")),
];

/// Reads a ConfigMap's data; what it does not say, or says wrongly, is as in `settings` and `route`.
pub(super) fn read(settings: &Settings, route: &RouteSettings, data: &Data) -> Configured {
    let mut draft = Draft {
        settings: settings.clone(),
        route: route.clone(),
        https: Https::default(),
        hsts: false,
        hsts_age: 31_536_000,
        hsts_subdomains: true,
        hsts_preload: false,
    };
    let (mut unknown, mut notes) = (Vec::new(), Vec::new());
    for (name, value) in data {
        match KEYS.iter().find(|(known, _)| **known == **name) {
            None => unknown.push(&**name),
            Some((_, key)) => notes.extend(
                set(&mut draft, key, value.trim())
                    .err()
                    .map(|wrong| format!("data[{name}]: {wrong}")),
            ),
        }
    }
    if !unknown.is_empty() {
        notes.push(format!("not served: {}", unknown.join(", ")));
    }
    let asks = draft.settings.use_forwarded_headers || draft.settings.proxy_protocol;
    if asks && draft.settings.trusted.is_empty() {
        notes.push("nobody is believed before proxy-real-ip-cidr names the proxies".to_owned());
    }
    draft.finish(notes)
}

impl Draft {
    fn finish(self, notes: Vec<String>) -> Configured {
        let hsts = [
            format!("max-age={}", self.hsts_age),
            if self.hsts_subdomains {
                "; includeSubDomains"
            } else {
                ""
            }
            .to_owned(),
            if self.hsts_preload { "; preload" } else { "" }.to_owned(),
        ];
        let hsts = Some(hsts.concat().into());
        Configured {
            defaults: Defaults {
                route: self.route,
                https: self.https,
            },
            settings: Settings {
                hsts: hsts.filter(|_| self.hsts),
                ..self.settings
            },
            notes,
        }
    }
}

fn set(draft: &mut Draft, key: &Key, text: &str) -> Result<(), Wrong> {
    match key {
        Key::Seconds(least, put) => put(draft, value::seconds(*least, text)?),
        Key::Time(put) => put(draft, value::time(text)?),
        Key::Number(put) => put(draft, value::number(0, text)?),
        Key::Switch(put) => put(draft, value::switch(text)?),
        Key::Text(put) => put(draft, text)?,
        Key::Always(only) if text.eq_ignore_ascii_case(only) => {}
        Key::Always(only) => return Err(format!("only {only:?} is served, is {text:?}")),
    }
    Ok(())
}

fn body_size(draft: &mut Draft, text: &str) -> Result<(), Wrong> {
    draft.route.body_limit = value::size(text)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingress::table::How;

    fn read_all(data: &[(&str, &str)]) -> Configured {
        let data = data
            .iter()
            .map(|(k, v)| ((*k).into(), (*v).into()))
            .collect();
        read(&Settings::default(), &RouteSettings::default(), &data)
    }

    #[test]
    fn keys_of_ingress_nginx_mean_the_same() {
        let all = read_all(&[
            ("client-header-timeout", "7"),
            ("keep-alive", "0"),
            ("keep-alive-requests", "10"),
            ("proxy-body-size", "8m"),
            ("proxy-read-timeout", " 61 "),
            ("proxy-real-ip-cidr", "10.0.0.0/8, 192.0.2.1 2001:db8::/32"),
            ("use-forwarded-headers", "true"),
            ("worker-shutdown-timeout", "4m"),
            ("server-tokens", "false"),
            ("enable-brotli", "False"),
        ]);
        assert_eq!(all.notes, [""; 0]);
        let settings = all.settings;
        assert_eq!(settings.header_timeout, Duration::from_secs(7));
        assert_eq!(settings.keep_alive, Duration::ZERO);
        assert_eq!(settings.keep_alive_requests, 10);
        assert_eq!(settings.trusted.len(), 3);
        assert!(settings.use_forwarded_headers);
        assert_eq!(settings.shutdown_grace, Some(Duration::from_secs(240)));
        assert_eq!(all.defaults.route.body_limit, 8 << 20);
        assert_eq!(all.defaults.route.read_timeout, Duration::from_secs(61));
        assert_eq!(all.defaults.https, Https::default());
    }

    #[test]
    fn endpoints_are_chosen_and_asked_again_as_annotations_have_it() {
        let all = read_all(&[
            ("load-balance", "ewma"),
            ("service-upstream", "true"),
            ("proxy-next-upstream", "error http_503 non_idempotent"),
            ("proxy-next-upstream-timeout", "9"),
            ("proxy-http-version", "1.0"),
            ("proxy-buffer-size", "16k"),
            ("proxy-max-temp-file-size", "1024m"),
        ]);
        assert_eq!(all.notes, [""; 0]);
        let route = all.defaults.route;
        let choice = route.choice.as_deref().expect("a choice");
        assert_eq!((&choice.how, choice.by_service), (&How::PeakEwma, true));
        assert!(
            route
                .retry
                .on_status(hyper::StatusCode::SERVICE_UNAVAILABLE)
        );
        assert!(route.retry_non_idempotent && !route.retry.timeout && route.http10);
        assert_eq!(route.retry.within, Some(Duration::from_secs(9)));
        assert_eq!(route.response_head, Some(16 << 10));
        let plain = read_all(&[
            ("load-balance", "round_robin"),
            ("service-upstream", "false"),
        ]);
        assert_eq!((plain.defaults.route.choice, plain.notes), (None, vec![]));
        for key in ["load-balance", "proxy-next-upstream", "proxy-http-version"] {
            assert_eq!(read_all(&[(key, "chash")]).notes.len(), 1, "{key}");
        }
    }

    #[test]
    fn redirects_and_hsts_are_made_of_several_keys() {
        let all = read_all(&[("ssl-redirect", "true"), ("http-redirect-code", "301")]);
        let https = all.defaults.https;
        assert!(https.secured && !https.forced);
        assert_eq!(https.status, 301);
        let all = read_all(&[("force-ssl-redirect", "true")]);
        assert!(all.defaults.https.forced);
        let hsts = |data| read_all(data).settings.hsts;
        assert_eq!(hsts(&[("hsts-max-age", "5")]), None);
        let long = "max-age=31536000; includeSubDomains";
        assert_eq!(hsts(&[("hsts", "true")]).as_deref(), Some(long));
        let short = hsts(&[
            ("hsts", "true"),
            ("hsts-max-age", "5"),
            ("hsts-include-subdomains", "false"),
            ("hsts-preload", "true"),
        ]);
        assert_eq!(short.as_deref(), Some("max-age=5; preload"));
    }

    #[test]
    fn what_is_wrong_or_not_served_is_told_by_name() {
        let all = read_all(&[
            ("proxy-read-timeout", "60s"),
            ("proxy-connect-timeout", "0"),
            ("proxy-body-size", "8x"),
            ("use-proxy-protocol", "yes"),
            ("proxy-real-ip-cidr", "here"),
            ("http-redirect-code", "200"),
            ("worker-shutdown-timeout", "soon"),
            ("use-gzip", "true"),
            ("custom-http-errors", "404"),
            ("zzz", ""),
        ]);
        assert_eq!(all.settings, Settings::default());
        assert_eq!(all.defaults, Defaults::default());
        assert_eq!(
            all.notes,
            [
                "data[http-redirect-code]: must be 301, 302, 307 or 308, is \"200\"",
                "data[proxy-body-size]: must be a size as 8m, is \"8x\"",
                "data[proxy-connect-timeout]: must be at least 1, is \"0\"",
                "data[proxy-read-timeout]: must be a number of seconds, is \"60s\"",
                "data[proxy-real-ip-cidr]: must be CIDRs, is \"here\"",
                "data[use-gzip]: only \"false\" is served, is \"true\"",
                "data[use-proxy-protocol]: must be true or false, is \"yes\"",
                "data[worker-shutdown-timeout]: must be a time as 240s or 4m, is \"soon\"",
                "not served: custom-http-errors, zzz",
            ]
        );
        let alone = read_all(&[("use-forwarded-headers", "true")]);
        assert!(alone.notes[0].contains("proxy-real-ip-cidr"));
    }
}
