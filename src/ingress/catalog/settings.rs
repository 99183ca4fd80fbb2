// SPDX-License-Identifier: Apache-2.0
//! Settings from a ConfigMap, by the names that they have in ingress-nginx's. PURE.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::ingress::table::{RouteSettings, Settings};

/// Data of a ConfigMap.
pub(super) type Data = BTreeMap<Arc<str>, Arc<str>>;

/// What a ConfigMap says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Configured {
    pub(super) settings: Settings,
    /// For hosts without a certificate.
    pub(super) plain: RouteSettings,
    /// For hosts that an Ingress lists under `tls`.
    pub(super) secured: RouteSettings,
    /// Keys and values that are not served, with the reasons.
    pub(super) notes: Vec<String>,
}

/// Why a value is not taken.
type Wrong = String;

/// What a key means.
enum Key {
    /// Whole seconds, at least so many.
    Seconds(u64, fn(&mut Draft, Duration)),
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
    redirect_secured: bool,
    redirect_all: bool,
    redirect_status: u16,
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
        Key::Switch(|d, on| d.redirect_all = on),
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
    ("proxy-body-size", Key::Text(body_size)),
    (
        "proxy-connect-timeout",
        Key::Seconds(1, |d, t| d.route.connect_timeout = t),
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
    ("ssl-redirect", Key::Switch(|d, on| d.redirect_secured = on)),
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
    ("proxy-request-buffering", Key::Always("off")),
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
        redirect_secured: false,
        redirect_all: false,
        redirect_status: 308,
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
        let redirects = |on: bool| {
            on.then_some(self.redirect_status)
                .or(self.route.https_redirect)
        };
        let (all, secured) = (self.redirect_all, self.redirect_secured);
        let with = |on| RouteSettings {
            https_redirect: redirects(on),
            ..self.route.clone()
        };
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
            plain: with(all),
            secured: with(all || secured),
            settings: Settings {
                hsts: hsts.filter(|_| self.hsts),
                ..self.settings
            },
            notes,
        }
    }
}

fn set(draft: &mut Draft, key: &Key, value: &str) -> Result<(), Wrong> {
    let number = |what: &str| {
        let parsed = value.parse::<u32>();
        parsed.map_err(|_| format!("must be {what}, is {value:?}"))
    };
    match key {
        Key::Seconds(least, put) => {
            let seconds = u64::from(number("a number of seconds")?);
            if seconds < *least {
                return Err(format!("must be at least {least}, is {value:?}"));
            }
            put(draft, Duration::from_secs(seconds));
        }
        Key::Time(put) => put(draft, time(value)?),
        Key::Number(put) => put(draft, number("a number")?),
        Key::Switch(put) => put(draft, switch(value)?),
        Key::Text(put) => put(draft, value)?,
        Key::Always(only) if value.eq_ignore_ascii_case(only) => {}
        Key::Always(only) => return Err(format!("only {only:?} is served, is {value:?}")),
    }
    Ok(())
}

fn switch(value: &str) -> Result<bool, Wrong> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "on" | "1" | "t" => Ok(true),
        "false" | "off" | "0" | "f" => Ok(false),
        _ => Err(format!("must be true or false, is {value:?}")),
    }
}

/// nginx's times.
fn time(value: &str) -> Result<Duration, Wrong> {
    let wrong = || format!("must be a time as 240s or 4m, is {value:?}");
    let digits = value.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &value[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    let number: u32 = digits.parse().map_err(|_| wrong())?;
    let seconds = u64::from(number) * unit;
    match seconds {
        0 => Err(wrong()),
        seconds => Ok(Duration::from_secs(seconds)),
    }
}

/// nginx's sizes: bytes, or with `k`, `m` or `g`.
fn body_size(draft: &mut Draft, value: &str) -> Result<(), Wrong> {
    let wrong = || format!("must be a size as 8m, is {value:?}");
    let digits = value.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match value[digits.len()..].to_ascii_lowercase().as_str() {
        "" => 1,
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        _ => return Err(wrong()),
    };
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    draft.route.body_limit = number.checked_mul(unit).ok_or_else(wrong)?;
    Ok(())
}

fn redirect_status(draft: &mut Draft, value: &str) -> Result<(), Wrong> {
    draft.redirect_status = match value {
        "301" => 301,
        "302" => 302,
        "307" => 307,
        "308" => 308,
        _ => return Err(format!("must be 301, 302, 307 or 308, is {value:?}")),
    };
    Ok(())
}

fn trusted(draft: &mut Draft, value: &str) -> Result<(), Wrong> {
    let words = value.split([',', ' ']).filter(|word| !word.is_empty());
    let parse = |word: &str| {
        let net = word
            .parse()
            .or_else(|_| word.parse::<std::net::IpAddr>().map(ipnet::IpNet::from));
        net.map_err(|_| format!("must be CIDRs, is {word:?}"))
    };
    draft.settings.trusted = words.map(parse).collect::<Result<_, _>>()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(all.plain.body_limit, 8 << 20);
        assert_eq!(all.plain.read_timeout, Duration::from_secs(61));
        assert_eq!(all.plain, all.secured);
    }

    #[test]
    fn redirects_and_hsts_are_made_of_several_keys() {
        let all = read_all(&[("ssl-redirect", "true"), ("http-redirect-code", "301")]);
        assert_eq!(all.plain.https_redirect, None);
        assert_eq!(all.secured.https_redirect, Some(301));
        let all = read_all(&[("force-ssl-redirect", "true")]);
        assert_eq!(all.plain.https_redirect, Some(308));
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
        assert_eq!(all.plain, RouteSettings::default());
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
