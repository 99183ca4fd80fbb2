// SPDX-License-Identifier: Apache-2.0
//! Which service is asked whether a request may come in.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hyper::Method;
use hyper::header::HeaderName;

use super::auth::{gate_allows_others, may_name, without};
use super::value::{Wrong, number, seconds, switch};
use super::{Draft, Reader, gate};
use crate::ingress::action::external::{Caching, External, Keep, KeepAlive, signin_text};
use crate::ingress::action::template::Template;
use crate::ingress::table::RouteSettings;

/// The parameter of a sign-in page that says where to go back to.
const BACK: &str = "rd";
/// For how long answers are kept, unless an annotation says otherwise.
const TIMES: &str = "200 202 401 5m";

/// What means nothing without `auth-url`.
const NEEDS_URL: &[&str] = &[
    "auth-method",
    "auth-signin",
    "auth-signin-redirect-param",
    "auth-response-headers",
    "auth-request-redirect",
    "auth-proxy-set-headers",
    "auth-cache-key",
    "auth-cache-duration",
    "auth-always-set-cookie",
    "auth-keepalive",
    "auth-keepalive-share-vars",
    "auth-keepalive-requests",
    "auth-keepalive-timeout",
    "auth-snippet",
];

pub(super) fn read(reader: &mut Reader<'_>, draft: &mut Draft) {
    if reader.value("enable-global-auth", switch) == Some(false)
        && draft
            .route
            .gate
            .as_ref()
            .is_some_and(|gate| gate.external.is_some())
    {
        gate(&mut draft.route).external = None;
    }
    if !reader.ingress().annotations.contains_key("auth-url") {
        NEEDS_URL
            .iter()
            .for_each(|name| without(reader, name, "auth-url"));
        return;
    }
    let cross = gate_allows_others(draft);
    match own(reader, cross) {
        Some(external) => gate(&mut draft.route).external = Some(Arc::new(external)),
        // Some reader has closed the paths.
        None => reader.deny_if_open("auth-url", "cannot be asked"),
    }
}

/// None if something is wrong that would let in who must not come in.
fn own(reader: &mut Reader<'_>, cross: bool) -> Option<External> {
    if reader.text("auth-url").is_none() {
        reader.deny("auth-url", "must be a URL, is empty");
    }
    let url = reader.guard("auth-url", url);
    let method = reader.guard("auth-method", method);
    let parameter = reader.value("auth-signin-redirect-param", parameter);
    let parameter = parameter.unwrap_or(BACK);
    let signin = reader.value("auth-signin", |text| signin(text, parameter));
    let response_headers = reader.guard("auth-response-headers", header_names);
    let request_redirect = reader.value("auth-request-redirect", Template::parse);
    let mut set_headers = set_headers(reader, cross)?;
    if let Some(text) = reader.text("auth-snippet") {
        match snippet(text) {
            Ok(lines) => set_headers.extend(lines),
            Err(wrong) => {
                reader.refuse("auth-snippet", wrong);
                return None;
            }
        }
    }
    let times = reader.guard("auth-cache-duration", times);
    let key = reader.guard("auth-cache-key", cache_key);
    for (name, there, missing) in [
        ("auth-cache-duration", key.is_some(), "auth-cache-key"),
        (
            "auth-signin-redirect-param",
            signin.is_some(),
            "auth-signin",
        ),
    ] {
        if !there {
            without(reader, name, missing);
        }
    }
    let always_set_cookie = reader.value("auth-always-set-cookie", switch);
    let (url, host) = url?;
    Some(External {
        url,
        host,
        method,
        signin,
        response_headers: response_headers.unwrap_or_default(),
        request_redirect,
        set_headers,
        cache: key.map(|key| Caching {
            key,
            times: times.unwrap_or_else(default_times),
        }),
        always_set_cookie: always_set_cookie.unwrap_or(false),
        keep_alive: keep_alive(reader),
    })
}

fn default_times() -> Vec<Keep> {
    times(TIMES).unwrap_or_default()
}

/// A URL with variables, and the host in it.
fn url(text: &str) -> Result<(Template, Template), Wrong> {
    let wrong = || format!("must be http://HOST or https://HOST with a path, is {text:?}");
    let (scheme, rest) = text.split_once("://").ok_or_else(wrong)?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return Err(wrong());
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let authority = &rest[..end];
    let odd = |c: char| c.is_whitespace() || matches!(c, '@' | '"' | '\\' | ';');
    if authority.is_empty() || authority.contains("..") || text.contains(odd) {
        return Err(wrong());
    }
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => {
            let number = port.parse::<u16>().is_ok_and(|port| port > 0);
            if host.is_empty() || !(number || port.starts_with('$')) {
                return Err(wrong());
            }
            host
        }
        _ => authority,
    };
    Ok((Template::parse(text)?, Template::parse(host)?))
}

fn method(text: &str) -> Result<Method, Wrong> {
    const METHODS: [&str; 9] = [
        "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE",
    ];
    let known = METHODS.contains(&text).then(|| text.parse().ok()).flatten();
    known.ok_or_else(|| format!("must be one of {}, is {text:?}", METHODS.join(" ")))
}

fn parameter(text: &str) -> Result<&str, Wrong> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '~');
    match text.chars().all(good) {
        true => Ok(text),
        false => Err(format!("must be the name of a parameter, is {text:?}")),
    }
}

fn signin(text: &str, parameter: &str) -> Result<Template, Wrong> {
    if text.contains(|c: char| c.is_whitespace() || matches!(c, '"' | ';' | '\\')) {
        return Err(format!("must be a URL, is {text:?}"));
    }
    Template::parse(&signin_text(text, parameter))
}

fn header_names(text: &str) -> Result<Vec<HeaderName>, Wrong> {
    let words = text
        .split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty());
    words.map(header_name).collect()
}

fn header_name(text: &str) -> Result<HeaderName, Wrong> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let name = text.chars().all(good).then(|| text.parse().ok()).flatten();
    name.ok_or_else(|| format!("must be names of headers, is {text:?}"))
}

/// Every answer to the same key is the same. `$remote_user` is part of `Authorization`, which tells
/// requests apart at least as well.
fn cache_key(text: &str) -> Result<Template, Wrong> {
    let text = text.replace("${remote_user}", "${http_authorization}");
    Template::parse(&text.replace("$remote_user", "$http_authorization"))
}

/// `200 202 10m, 401 5m`: statuses and a time each, as nginx's `proxy_cache_valid`.
fn times(text: &str) -> Result<Vec<Keep>, Wrong> {
    let parts = text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty());
    parts.map(keep).collect()
}

fn keep(text: &str) -> Result<Keep, Wrong> {
    let wrong = || format!("must be statuses and times as 200 202 10m, is {text:?}");
    let (mut statuses, mut time, mut any) = (Vec::new(), None, false);
    for word in text.split_whitespace() {
        match (word.parse::<u16>(), time) {
            (Ok(status @ 100..=999), None) => statuses.push(status),
            _ if word == "any" && time.is_none() => any = true,
            _ => {
                let more = duration(word).ok_or_else(wrong)?;
                time = Some(time.unwrap_or(Duration::ZERO) + more);
            }
        }
    }
    if any {
        statuses.clear();
    } else if statuses.is_empty() {
        statuses = vec![200, 301, 302];
    }
    let time = time.ok_or_else(wrong)?;
    Ok(Keep { statuses, time })
}

/// A time of nginx's, with a unit.
fn duration(text: &str) -> Option<Duration> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().ok()?;
    let day = 86_400_000;
    let milliseconds = match &text[digits.len()..] {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => day,
        "w" => 7 * day,
        "M" => 30 * day,
        "y" => 365 * day,
        _ => return None,
    };
    number.checked_mul(milliseconds).map(Duration::from_millis)
}

fn keep_alive(reader: &mut Reader<'_>) -> KeepAlive {
    let default = KeepAlive::default();
    let connections = reader.value("auth-keepalive", |text| number(0, text));
    let requests = reader.value("auth-keepalive-requests", |text| number(1, text));
    let idle = reader.value("auth-keepalive-timeout", |text| seconds(1, text));
    // The service is always told the id of the request that it is asked about.
    reader.value("auth-keepalive-share-vars", switch);
    KeepAlive {
        connections: connections.map_or(0, |count| count as usize),
        requests: requests.unwrap_or(default.requests),
        idle: idle.unwrap_or(default.idle),
    }
}

type Lines = Vec<(HeaderName, Template)>;

/// What a ConfigMap tells the service; none if it cannot be had.
fn set_headers(reader: &mut Reader<'_>, cross: bool) -> Option<Lines> {
    const NAME: &str = "auth-proxy-set-headers";
    let Some(text) = reader.text(NAME) else {
        return Some(Vec::new());
    };
    let name = reader.object_name(text);
    if let Err(why) = may_name(reader, &name, cross) {
        reader.deny(NAME, why);
        return None;
    }
    let Some(map) = reader.config_map(&name) else {
        reader.deny(NAME, format!("ConfigMap {name} is not there"));
        return None;
    };
    let line = |(name, value): (&Arc<str>, &Arc<str>)| -> Result<_, Wrong> {
        Ok((header_name(name)?, Template::parse(value)?))
    };
    match map.data.iter().map(line).collect() {
        Ok(lines) => Some(lines),
        Err(wrong) => {
            reader.deny(NAME, format!("ConfigMap {name}: {wrong}"));
            None
        }
    }
}

/// Lines of `proxy_set_header NAME VALUE;`, and nothing else.
fn snippet(text: &str) -> Result<Lines, Wrong> {
    let without_comments: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with('#'))
        .collect();
    let text = without_comments.join("\n");
    let mut lines = Lines::new();
    for directive in text.split(';').map(str::trim).filter(|d| !d.is_empty()) {
        let mut words = directive.splitn(3, char::is_whitespace);
        let (name, header) = (words.next().unwrap_or_default(), words.next());
        if name != "proxy_set_header" {
            return Err(format!("only proxy_set_header is served, not {name:?}"));
        }
        let unquoted = |text: &str| {
            let text = text.trim();
            let inner = |q| text.strip_prefix(q).and_then(|t| t.strip_suffix(q));
            inner('"').or(inner('\'')).unwrap_or(text).to_owned()
        };
        let (Some(header), Some(value)) = (header, words.next()) else {
            return Err(format!(
                "must be proxy_set_header NAME VALUE;, is {directive:?}"
            ));
        };
        let value = unquoted(value);
        if value.contains(['"', '\'']) {
            return Err(format!("quotes inside of {directive:?} are not served"));
        }
        lines.push((header_name(&unquoted(header))?, Template::parse(&value)?));
    }
    Ok(lines)
}

/// What `global-auth-*` of the ConfigMap asks for all Ingresses, and what is wrong with it: then
/// nobody comes in, as nobody would be asked.
pub(crate) fn global(
    route: &mut RouteSettings,
    data: &BTreeMap<Arc<str>, Arc<str>>,
) -> Vec<String> {
    let of = |name: &str| {
        let value = data.get(format!("global-auth-{name}").as_str());
        value
            .map(|value| value.trim())
            .filter(|value| !value.is_empty())
    };
    let Some(text) = of("url") else {
        return Vec::new();
    };
    let mut notes = Vec::new();
    let mut wrong = |name: &str, wrong: Wrong| {
        notes.push(format!("data[global-auth-{name}]: {wrong}"));
    };
    let url = url(text)
        .map_err(|why| wrong("url", format!("{why}; nobody comes in")))
        .ok();
    let mut take = |name: &str, put: &mut dyn FnMut(&str) -> Result<(), Wrong>| {
        if let Some(Err(why)) = of(name).map(put) {
            wrong(name, format!("{why}; the default holds"));
        }
    };
    let (url, host) = url.unwrap_or_default();
    let mut external = External {
        url,
        host,
        method: None,
        signin: None,
        response_headers: Vec::new(),
        request_redirect: None,
        set_headers: Vec::new(),
        cache: None,
        always_set_cookie: false,
        keep_alive: KeepAlive::default(),
    };
    let (mut back, mut kept) = (BACK.to_owned(), default_times());
    take("method", &mut |t| {
        method(t).map(|m| external.method = Some(m))
    });
    take("signin-redirect-param", &mut |t| {
        parameter(t).map(|p| back = p.to_owned())
    });
    take("signin", &mut |t| {
        signin(t, &back).map(|s| external.signin = Some(s))
    });
    take("response-headers", &mut |t| {
        header_names(t).map(|h| external.response_headers = h)
    });
    take("request-redirect", &mut |t| {
        Template::parse(t).map(|t| external.request_redirect = Some(t))
    });
    take("snippet", &mut |t| {
        snippet(t).map(|lines| external.set_headers = lines)
    });
    take("cache-duration", &mut |t| {
        times(t).map(|times| kept = times)
    });
    take("always-set-cookie", &mut |t| {
        switch(t).map(|on| external.always_set_cookie = on)
    });
    take("cache-key", &mut |t| {
        let times = std::mem::take(&mut kept);
        cache_key(t).map(|key| external.cache = Some(Caching { key, times }))
    });
    gate(route).external = Some(Arc::new(external));
    notes
}

#[cfg(test)]
#[path = "external_tests.rs"]
mod tests;
