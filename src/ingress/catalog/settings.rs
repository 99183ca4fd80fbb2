// SPDX-License-Identifier: Apache-2.0
//! Settings from a ConfigMap, by the names that they have in ingress-nginx's. PURE.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use super::gate_keys;
use crate::ingress::action::compress::Compress;
use crate::ingress::action::errors;
use crate::ingress::action::headers::{self, Headers, Text};
use crate::ingress::action::rate::Rate;
use crate::ingress::action::retry::Retry;
use crate::ingress::annotation::balance::{self, Algorithm};
use crate::ingress::annotation::value::{self, Wrong};
use crate::ingress::annotation::{
    ByBehaviour, Defaults, Hsts, Https, PlainPaths, Policy, backend, compress, external, gate, keys,
};
use crate::ingress::table::{Behaviour, Choice, RouteSettings, Settings};
use crate::model::ServiceName;

/// Data of a ConfigMap.
pub(super) type Data = BTreeMap<Arc<str>, Arc<str>>;

/// What a ConfigMap says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Configured {
    pub(super) settings: Settings,
    /// What holds for an Ingress whose annotations do not say otherwise.
    pub(super) defaults: ByBehaviour<Defaults>,
    /// Keys and values that are not served, with the reasons.
    pub(super) notes: Vec<String>,
    /// ConfigMaps that hold more of it.
    pub(super) linked: Linked,
}

/// ConfigMaps of headers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Linked {
    /// Of all answers.
    pub(super) add: Option<ServiceName>,
    /// Of all requests on their way to endpoints.
    pub(super) set: Option<ServiceName>,
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
    /// One of `global-auth-*`, which are read together.
    Together,
    /// Served with this value, and with no other.
    Always(&'static str),
}

/// Settings, and what they are made of when all keys have been read.
struct Draft {
    settings: Settings,
    route: RouteSettings,
    https: Https,
    plain_paths: PlainPaths,
    hsts: Hsts,
    policy: Policy,
    linked: Linked,
    rate: (u64, u64),
}

const KEYS: &[(&str, Key)] = &[
    ("add-headers", Key::Text(|d, t| link(&mut d.linked.add, t))),
    (
        "allow-snippet-annotations",
        Key::Switch(|d, on| d.policy.snippets = on),
    ),
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
        Key::Text(|_, _| Err("has no meaning: bodies are passed on as they come".to_owned())),
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
    ("use-port-in-redirects", Key::Always("false")),
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
    ("enable-underscores-in-headers", Key::Always("false")),
    ("generate-request-id", Key::Always("true")),
    ("ignore-invalid-headers", Key::Always("true")),
    ("proxy-buffering", Key::Always("off")),
    ("proxy-max-temp-file-size", Key::Always("1024m")),
    ("proxy-request-buffering", Key::Always("off")),
    ("proxy-ssl-location-only", Key::Always("true")),
    ("proxy-ssl-location-only", Key::Always("true")),
    ("ssl-protocols", Key::Always("TLSv1.2 TLSv1.3")),
    ("use-http2", Key::Always("true")),
    ("use-port-in-redirects", Key::Always("false")),
];

/// Reads a ConfigMap's data; what it does not say, or says wrongly, is as in `settings` and `route`.
pub(super) fn read(settings: &Settings, route: &RouteSettings, data: &Data) -> Configured {
    // The same in both but for what holds without a word.
    let read = |behaviour| read_for(Defaults::of(behaviour, route), settings, data);
    let (draft, notes) = read(Behaviour::default());
    Configured {
        settings: draft.settings,
        defaults: ByBehaviour::new(|behaviour| {
            let draft = read(behaviour).0;
            Defaults {
                behaviour,
                route: draft.route,
                https: draft.https,
                plain_paths: draft.plain_paths,
                hsts: draft.hsts,
                policy: draft.policy,
            }
        }),
        linked: draft.linked,
        notes,
    }
}

fn read_for(defaults: Defaults, settings: &Settings, data: &Data) -> (Draft, Vec<String>) {
    let mut draft = Draft {
        settings: settings.clone(),
        route: defaults.route,
        https: defaults.https,
        plain_paths: defaults.plain_paths,
        hsts: defaults.hsts,
        policy: defaults.policy,
        linked: Linked::default(),
        rate: (0, 0),
    };
    let (mut unknown, mut notes) = (Vec::new(), Vec::new());
    for (name, value) in data {
        match KEYS.iter().find(|(known, _)| **known == **name) {
            None => match keys::why_not(name) {
                Some(why) => notes.push(format!("data[{name}]: {why}")),
                None => unknown.push(&**name),
            },
            Some((_, key)) => notes.extend(
                set(&mut draft, key, value.trim())
                    .err()
                    .map(|wrong| format!("data[{name}]: {wrong}")),
            ),
        }
    }
    notes.extend(external::global(&mut draft.route, data));
    if !unknown.is_empty() {
        notes.push(format!("not known: {}", unknown.join(", ")));
    }
    let asks = draft.settings.use_forwarded_headers || draft.settings.proxy_protocol;
    if asks && draft.settings.trusted.is_empty() {
        notes.push("nobody is believed before proxy-real-ip-cidr names the proxies".to_owned());
    }
    draft.finish_route();
    (draft, notes)
}

/// Whether a key is served, with any value or only with one.
#[cfg(test)]
pub(super) fn serves(name: &str) -> bool {
    KEYS.iter().any(|(known, _)| *known == name)
}

impl Draft {
    /// What several keys make together.
    fn finish_route(&mut self) {
        let (rate, after) = self.rate;
        // In kilobytes, as in annotations.
        self.route.rate = NonZeroU64::new(rate * 1024).map(|bytes| Rate {
            bytes,
            after: after * 1024,
        });
        if self.route.compress.as_deref() == Some(&Compress::default()) {
            self.route.compress = None;
        }
        let idle = |errors: &Arc<errors::Errors>| errors.everywhere.statuses.is_empty();
        if self.route.errors.as_ref().is_some_and(idle) {
            self.route.errors = None;
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
        Key::Together => {}
        Key::Always(only) if text.eq_ignore_ascii_case(only) => {}
        Key::Always(only) => return Err(format!("only {only:?} is served, is {text:?}")),
    }
    Ok(())
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

impl Linked {
    pub(super) fn names(&self) -> impl Iterator<Item = &ServiceName> {
        self.add.iter().chain(&self.set)
    }
}

/// Takes over the headers that linked ConfigMaps hold. Those that are not served, with the reasons.
pub(super) fn follow<'a>(
    configured: &mut Configured,
    find: impl Fn(&ServiceName) -> Option<&'a Data>,
) -> Vec<String> {
    let mut notes = Vec::new();
    let Linked { add, set } = configured.linked.clone();
    let links = [("add-headers", add), ("proxy-set-headers", set)];
    for (key, name) in links {
        let Some(name) = name else { continue };
        let Some(data) = find(&name) else {
            notes.push(format!("data[{key}]: ConfigMap {name} is not there"));
            continue;
        };
        for (header, text) in data {
            let wrong = configured
                .defaults
                .each_mut()
                .into_iter()
                .find_map(|defaults| add_header(&mut defaults.route, key, header, text).err());
            notes.extend(wrong.map(|wrong| format!("data[{key}]: {name}: {header}: {wrong}")));
        }
    }
    notes
}

/// One header of all answers, or of all requests on their way.
fn add_header(route: &mut RouteSettings, key: &str, name: &str, text: &str) -> Result<(), Wrong> {
    let text = Text::parse(text.trim())?;
    let headers = route.headers.get_or_insert_default();
    let everywhere = &mut Arc::make_mut(headers).everywhere;
    match key {
        "add-headers" => everywhere.set(headers::name(name)?, text),
        _ => everywhere.onward.push((headers::onward_name(name)?, text)),
    }
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

    impl Configured {
        pub(in crate::ingress::catalog) fn spec(&self) -> Defaults {
            self.defaults.of(Behaviour::Spec).clone()
        }
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
        let settings = &all.settings;
        assert_eq!(settings.header_timeout, Duration::from_secs(7));
        assert_eq!(settings.keep_alive, Duration::ZERO);
        assert_eq!(settings.keep_alive_requests, 10);
        assert_eq!(settings.trusted.len(), 3);
        assert!(settings.use_forwarded_headers);
        assert_eq!(settings.shutdown_grace, Some(Duration::from_secs(240)));
        assert_eq!(all.spec().route.body_limit, 8 << 20);
        assert_eq!(all.spec().route.read_timeout, Duration::from_secs(61));
        assert_eq!(all.spec().https, Https::default());
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
        let route = all.spec().route;
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
        assert_eq!((plain.spec().route.choice, plain.notes), (None, vec![]));
        for key in ["load-balance", "proxy-next-upstream", "proxy-http-version"] {
            assert_eq!(read_all(&[(key, "chash")]).notes.len(), 1, "{key}");
        }
    }

    #[test]
    fn redirects_and_hsts_are_made_of_several_keys() {
        let all = read_all(&[("ssl-redirect", "true"), ("http-redirect-code", "301")]);
        let https = all.spec().https;
        assert!(https.secured && !https.forced);
        assert_eq!(https.status, 301);
        let all = read_all(&[("force-ssl-redirect", "true")]);
        assert!(all.spec().https.forced);
        let all = read_all(&[
            ("no-tls-redirect-locations", "/a, /b"),
            ("preserve-trailing-slash", "true"),
            ("relative-redirects", "true"),
        ]);
        let spec = all.spec();
        assert!(spec.plain_paths.cover("/bc"));
        assert!(!spec.plain_paths.cover("/.well-known/acme-challenge/x"));
        assert_eq!(spec.route.keeps_slash, Some(true));
        assert!(spec.route.relative_redirects);
        let hsts = |data| read_all(data).spec().hsts.header();
        assert_eq!(hsts(&[("hsts-max-age", "5")]), None);
        let long = "max-age=31536000; includeSubDomains";
        assert_eq!(hsts(&[("hsts", "true")]).expect("a header"), long);
        let short = hsts(&[
            ("hsts", "true"),
            ("hsts-max-age", "5"),
            ("hsts-include-subdomains", "false"),
            ("hsts-preload", "true"),
        ]);
        assert_eq!(short.expect("a header"), "max-age=5; preload");
    }

    #[test]
    fn each_behaviour_has_defaults_of_its_own_and_the_config_map_goes_before_them() {
        let of = |data: &[(&str, &str)], behaviour| {
            let defaults = read_all(data).defaults.of(behaviour).clone();
            (defaults.https.secured, defaults.hsts.on)
        };
        let (spec, nginx) = (Behaviour::Spec, Behaviour::IngressNginx);
        assert_eq!(of(&[], spec), (false, false));
        assert_eq!(of(&[], nginx), (true, true));
        let off = [("ssl-redirect", "false"), ("hsts", "false")];
        assert_eq!(of(&off, nginx), (false, false));
        let on = [("ssl-redirect", "true"), ("hsts", "true")];
        assert_eq!(of(&on, spec), (true, true));
    }

    /// No key of ingress-nginx is without an answer, and none has two.
    #[test]
    fn every_key_of_ingress_nginx_is_served_or_says_why_not() {
        let explained: Vec<&str> = keys::not_served().flat_map(|(_, names)| names).collect();
        let wrong: Vec<_> = keys::all()
            .filter(|name| serves(name) == explained.contains(name))
            .collect();
        assert_eq!(wrong, [""; 0], "served and not, or neither");
        for (known, _) in KEYS {
            assert!(
                keys::is_known(known),
                "{known}: ingress-nginx has no such key"
            );
        }
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
            ("use-gzip", "always"),
            ("custom-http-errors", "404,200"),
            ("enable-ocsp", "true"),
            ("yyy", ""),
            ("zzz", ""),
        ]);
        assert_eq!(all.settings, Settings::default());
        assert_eq!(all.spec(), Defaults::default());
        assert_eq!(
            all.notes,
            [
                "data[custom-http-errors]: must be statuses from 400 to 599, is \"200\"",
                "data[enable-ocsp]: no OCSP answers are stapled",
                "data[http-redirect-code]: must be 301, 302, 307 or 308, is \"200\"",
                "data[proxy-body-size]: must be a size as 8m, is \"8x\"",
                "data[proxy-connect-timeout]: must be at least 1, is \"0\"",
                "data[proxy-read-timeout]: must be a number of seconds, is \"60s\"",
                "data[proxy-real-ip-cidr]: must be CIDRs, is \"here\"",
                "data[use-gzip]: must be true or false, is \"always\"",
                "data[use-proxy-protocol]: must be true or false, is \"yes\"",
                "data[worker-shutdown-timeout]: must be a time as 240s or 4m, is \"soon\"",
                "not known: yyy, zzz",
            ]
        );
        let alone = read_all(&[("use-forwarded-headers", "true")]);
        assert!(alone.notes[0].contains("proxy-real-ip-cidr"));
    }
}
