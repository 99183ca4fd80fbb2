// SPDX-License-Identifier: Apache-2.0
//! Asks another service whether a request may come in: what it is sent, and what its answer means,
//! as ingress-nginx's `auth-url` has it.

use std::time::Duration;

use hyper::header::{CACHE_CONTROL, EXPIRES, VARY, WWW_AUTHENTICATE};
use hyper::header::{CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, SET_COOKIE};
use hyper::{Method, StatusCode};

use super::template::{Context, Template};

/// The most bytes of headers that are kept of an answer for other requests.
const KEPT: usize = 8 * 1024;

/// How to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct External {
    /// `http://HOST[:PORT][/PATH]`, or https.
    pub url: Template,
    /// The host of it, without port.
    pub host: Template,
    /// None for GET.
    pub method: Option<Method>,
    /// Where who has no permission is sent, complete with the way back.
    pub signin: Option<Template>,
    /// Headers of the answer that the endpoint is sent, in place of the client's.
    pub response_headers: Vec<HeaderName>,
    /// `X-Auth-Request-Redirect`, in place of the path with the query.
    pub request_redirect: Option<Template>,
    /// More headers for the service.
    pub set_headers: Vec<(HeaderName, Template)>,
    /// How answers are kept; none: they are not.
    pub cache: Option<Caching>,
    /// Whether the service's cookies are set with whatever status the client is answered.
    pub always_set_cookie: bool,
    /// How connections to the service are kept.
    pub keep_alive: KeepAlive,
}

/// How answers are kept for other requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caching {
    /// Requests with the same text get the same answer.
    pub key: Template,
    /// For how long, by status; the first that fits holds.
    pub times: Vec<Keep>,
}

/// For how long answers of some statuses are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keep {
    /// Statuses; none for all.
    pub statuses: Vec<u16>,
    /// For how long.
    pub time: Duration,
}

/// Connections that are kept for the next question, on each thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeepAlive {
    /// The most; 0: each question has its own.
    pub connections: usize,
    /// Questions on one of them.
    pub requests: u32,
    /// How long one waits.
    pub idle: Duration,
}

impl Default for KeepAlive {
    fn default() -> Self {
        Self {
            connections: 0,
            requests: 1000,
            idle: Duration::from_secs(60),
        }
    }
}

/// What a service has answered, as far as it matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// What the endpoint is sent, in the order of [`External::response_headers`].
    pub copied: Vec<Option<HeaderValue>>,
    /// `WWW-Authenticate`.
    pub challenges: Vec<HeaderValue>,
    /// `Set-Cookie`.
    pub cookies: Vec<HeaderValue>,
}

/// What an answer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The request may come in.
    Pass,
    /// The client is answered this: 401 or 403.
    Denied(StatusCode),
    /// The service answers what nobody understands.
    Broken,
}

/// What the service is told beside the client's own headers.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The request.
    pub context: &'a Context<'a>,
    /// The client's address.
    pub real: &'a HeaderValue,
    /// `X-Forwarded-For`.
    pub chain: &'a HeaderValue,
}

impl External {
    /// Makes the client's headers those that the service is sent; `headers` has none any more that
    /// are for one hop.
    pub fn edit(&self, asked: &Asked<'_>, headers: &mut HeaderMap) {
        let context = asked.context;
        headers.remove(CONTENT_LENGTH);
        headers.remove("x-forwarded-proto");
        let mut set =
            |name: &'static str, value: &str| put(headers, HeaderName::from_static(name), value);
        let uri = context.uri.path_and_query().map_or("/", |uri| uri.as_str());
        set("x-request-id", context.request_id);
        if self.method.is_some() {
            set("x-original-uri", uri);
            set("x-scheme", context.access_scheme);
        }
        set(
            "x-original-url",
            &format!("{}://{}{uri}", context.scheme, context.http_host),
        );
        set("x-original-method", context.method.as_str());
        set("x-sent-from", "nginx-ingress-controller");
        let redirect = self.request_redirect.as_ref().map(|t| t.render(context));
        set(
            "x-auth-request-redirect",
            redirect.as_deref().unwrap_or(uri),
        );
        headers.insert("x-real-ip", asked.real.clone());
        headers.insert("x-forwarded-for", asked.chain.clone());
        put(headers, HOST, &self.host.render(context));
        for (name, value) in &self.set_headers {
            put(headers, name.clone(), &value.render(context));
        }
    }

    /// What matters of an answer.
    pub fn answer(&self, status: StatusCode, headers: &HeaderMap) -> Answer {
        let all = |name: HeaderName| headers.get_all(name).iter().cloned().collect();
        let copied = self
            .response_headers
            .iter()
            .map(|name| joined(headers, name));
        Answer {
            status,
            copied: copied.collect(),
            challenges: all(WWW_AUTHENTICATE),
            cookies: all(SET_COOKIE),
        }
    }
}

/// An empty value takes a header away, as nginx's `proxy_set_header` does.
fn put(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    match HeaderValue::from_str(value) {
        Ok(value) if !value.is_empty() => drop(headers.insert(name, value)),
        _ => drop(headers.remove(name)),
    }
}

/// All values of a header as one; none if there is none or it is empty.
fn joined(headers: &HeaderMap, name: &HeaderName) -> Option<HeaderValue> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    let rest: Vec<&[u8]> = values.map(HeaderValue::as_bytes).collect();
    let all = match rest.is_empty() {
        true => Some(first.clone()),
        false => {
            let all = [&[first.as_bytes()], &rest[..]].concat().join(&b", "[..]);
            HeaderValue::from_bytes(&all).ok()
        }
    };
    all.filter(|value| !value.is_empty())
}

impl Answer {
    /// What it means.
    pub fn verdict(&self) -> Verdict {
        match self.status {
            status if status.is_success() => Verdict::Pass,
            status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => Verdict::Denied(status),
            _ => Verdict::Broken,
        }
    }

    /// Gives the endpoint what it is to be told; a client's own copies are taken away.
    pub fn copy(&self, external: &External, headers: &mut HeaderMap) {
        for (name, value) in external.response_headers.iter().zip(&self.copied) {
            match value {
                Some(value) => drop(headers.insert(name, value.clone())),
                None => drop(headers.remove(name)),
            }
        }
    }
}

impl Caching {
    /// For how long an answer is kept; none if it is not, or if its service does not want it.
    pub fn keeps(&self, answer: &Answer, headers: &HeaderMap) -> Option<Duration> {
        let size = headers.iter().map(|(n, v)| n.as_str().len() + v.len());
        if !answer.cookies.is_empty() || headers.contains_key(VARY) || size.sum::<usize>() > KEPT {
            return None;
        }
        if let Some(told) = told(headers) {
            return told;
        }
        let status = answer.status.as_u16();
        let fits = |keep: &&Keep| keep.statuses.is_empty() || keep.statuses.contains(&status);
        self.times.iter().find(fits).map(|keep| keep.time)
    }
}

/// What the service itself says of keeping its answer: for how long, or that it is not to be kept.
fn told(headers: &HeaderMap) -> Option<Option<Duration>> {
    let accel = headers.get("x-accel-expires");
    if let Some(seconds) = accel.and_then(|value| value.to_str().ok()?.parse().ok()) {
        return Some(positive(seconds));
    }
    let lines = headers.get_all(CACHE_CONTROL).iter();
    let words: Vec<String> = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(|word| word.trim().to_ascii_lowercase())
        .collect();
    let refused = |word: &String| matches!(word.as_str(), "no-cache" | "no-store" | "private");
    if words.iter().any(refused) {
        return Some(None);
    }
    for name in ["s-maxage=", "max-age="] {
        let seconds = words.iter().find_map(|word| word.strip_prefix(name));
        if let Some(seconds) = seconds {
            return Some(seconds.parse().ok().and_then(positive));
        }
    }
    // Dates are not compared: an answer that names one is asked for again.
    headers.contains_key(EXPIRES).then_some(None)
}

fn positive(seconds: u64) -> Option<Duration> {
    (seconds > 0).then(|| Duration::from_secs(seconds))
}

/// Whether nginx's `add_header` adds to an answer of this status without `always`.
pub fn is_added_to(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200 | 201 | 204 | 206 | 301 | 302 | 303 | 304 | 307 | 308
    )
}

/// Where who has no permission is sent: the sign-in page, with the way back as a parameter unless
/// it has one already.
pub fn signin_text(url: &str, parameter: &str) -> String {
    let back = "$pass_access_scheme://$http_host$escaped_request_uri";
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let query = query.split('#').next().unwrap_or_default();
    let mut pairs = query.split('&').filter(|pair| !pair.is_empty());
    let named = |pair: &str| {
        let value = pair.strip_prefix(parameter)?.strip_prefix('=')?;
        (!value.is_empty()).then_some(())
    };
    if query.is_empty() {
        format!("{url}?{parameter}={back}")
    } else if pairs.any(|pair| named(pair).is_some()) {
        url.to_owned()
    } else {
        format!("{url}&{parameter}={back}")
    }
}

#[cfg(test)]
#[path = "external_tests.rs"]
mod tests;
