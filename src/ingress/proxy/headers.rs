// SPDX-License-Identifier: Apache-2.0
//! Headers on their way: those of one hop end here, those that tell of the client are set as
//! ingress-nginx sets them.

use std::net::IpAddr;

use hyper::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, Entry, HOST, HeaderMap, HeaderName, HeaderValue,
    SERVER, TE, TRANSFER_ENCODING, UPGRADE,
};

use crate::ingress::serve::{Client, trusted};
use crate::ingress::table::Settings;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY: HeaderName = HeaderName::from_static("proxy");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
pub(super) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(super) const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub(super) const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
pub(super) const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_SCHEME: HeaderName = HeaderName::from_static("x-forwarded-scheme");
const X_ORIGINAL_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-original-forwarded-for");
const X_ORIGINAL_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-original-forwarded-host");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const X_SCHEME: HeaderName = HeaderName::from_static("x-scheme");
pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What a request's headers are to become.
pub(super) struct Onward<'a> {
    pub(super) client: &'a Client,
    pub(super) settings: &'a Settings,
    /// The Host that the client named, none if it named none.
    pub(super) host: Option<HeaderValue>,
    /// The Host that the endpoint is given.
    pub(super) upstream_host: Option<HeaderValue>,
    /// The connection becomes something else.
    pub(super) upgrade: Option<HeaderValue>,
    /// The endpoint is spoken to in HTTP/2.
    pub(super) h2: bool,
}

impl Onward<'_> {
    /// Makes a client's headers those that an endpoint is sent.
    pub(super) fn edit(self, headers: &mut HeaderMap) {
        let trailers = self.h2 && wants_trailers(headers);
        remove_hop_and_odd(headers, self.settings.underscores);
        if !self.h2 {
            join_cookies(headers);
        }
        if let Some(protocol) = self.upgrade {
            headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(UPGRADE, protocol);
        }
        if trailers {
            headers.insert(TE, HeaderValue::from_static("trailers"));
        }
        let forwarded = Forwarded::of(self.client, self.settings, headers, self.host);
        forwarded.set(headers, self.client);
        if let Some(host) = self.upstream_host.filter(|_| !self.h2) {
            headers.insert(HOST, host);
        } else {
            headers.remove(HOST);
        }
        if let Entry::Vacant(entry) = headers.entry(X_REQUEST_ID) {
            entry.insert(request_id());
        }
    }
}

/// Makes a client's headers those of a question about it: without what is for one hop.
pub(super) fn without_hop(headers: &mut HeaderMap, underscores: bool) {
    remove_hop(headers);
    for name in [EXPECT, PROXY, HTTP2_SETTINGS] {
        headers.remove(name);
    }
    remove_odd(headers, underscores);
    join_cookies(headers);
}

/// The client's address, behind the proxies that are trusted: what endpoints are told as
/// `X-Real-IP`.
pub(super) fn address(client: &Client, settings: &Settings, headers: &HeaderMap) -> IpAddr {
    if !client.trusted {
        return client.address;
    }
    let real = real(settings, &chain(headers));
    real.unwrap_or(client.address).to_canonical()
}

/// Whom `X-Forwarded-For` names, all its lines as one.
fn chain(headers: &HeaderMap) -> String {
    let lines = headers.get_all(X_FORWARDED_FOR).iter();
    let lines: Vec<&str> = lines.filter_map(|line| line.to_str().ok()).collect();
    lines.join(", ")
}

/// The id of a request: the client's, or a new one.
pub(super) fn identify(headers: &mut HeaderMap) -> HeaderValue {
    headers
        .entry(X_REQUEST_ID)
        .or_insert_with(request_id)
        .clone()
}

/// Who and where the client is, as endpoints are told.
pub(super) struct Forwarded {
    pub(super) real: Option<HeaderValue>,
    pub(super) chain: Option<HeaderValue>,
    pub(super) host: Option<HeaderValue>,
    pub(super) port: HeaderValue,
    pub(super) scheme: HeaderValue,
}

impl Forwarded {
    pub(super) fn of(
        client: &Client,
        settings: &Settings,
        headers: &HeaderMap,
        host: Option<HeaderValue>,
    ) -> Self {
        let mut forwarded = Self {
            real: None,
            chain: None,
            host,
            port: client.port_value.clone(),
            scheme: HeaderValue::from_static(client.scheme()),
        };
        if client.trusted {
            forwarded.believe(client, settings, headers);
        }
        forwarded
    }

    /// Takes what a trusted proxy says.
    fn believe(&mut self, client: &Client, settings: &Settings, headers: &HeaderMap) {
        let given = |name: HeaderName| headers.get(name).cloned();
        let chain = chain(headers);
        self.real = real(settings, &chain).and_then(|real| value(&real.to_string()));
        if settings.full_forwarded_for && !chain.is_empty() {
            self.chain = value(&format!("{chain}, {}", client.address));
        }
        self.host = best_host(client, headers).or(self.host.take());
        if let Some(port) = given(X_FORWARDED_PORT) {
            self.port = port;
        }
        if let Some(scheme) = given(X_FORWARDED_PROTO) {
            self.scheme = scheme;
        }
    }

    fn set(self, headers: &mut HeaderMap, client: &Client) {
        let real = self.real.unwrap_or_else(|| client.address_value.clone());
        let chain = self.chain.unwrap_or_else(|| real.clone());
        if let Some(before) = headers.insert(X_FORWARDED_FOR, chain) {
            headers.insert(X_ORIGINAL_FORWARDED_FOR, before);
        }
        headers.insert(X_REAL_IP, real);
        if let Some(host) = self.host
            && let Some(before) = headers.insert(X_FORWARDED_HOST, host)
        {
            headers.insert(X_ORIGINAL_FORWARDED_HOST, before);
        }
        headers.insert(X_FORWARDED_PORT, self.port);
        headers.insert(X_FORWARDED_PROTO, self.scheme.clone());
        headers.insert(X_FORWARDED_SCHEME, self.scheme.clone());
        headers.insert(X_SCHEME, self.scheme);
    }
}

/// The last address of a chain of proxies that is not trusted, else the first.
pub(super) fn real(settings: &Settings, chain: &str) -> Option<IpAddr> {
    let mut real = None;
    for hop in chain.rsplit(',') {
        let Ok(address) = hop.trim().parse() else {
            break;
        };
        real = Some(address);
        if !trusted(settings, address) {
            break;
        }
    }
    real
}

/// Makes a response's headers those that a client is sent; `upgraded` if it is a 101.
pub(super) fn edit_response(headers: &mut HeaderMap, upgraded: bool) {
    let protocol = headers.get(UPGRADE).filter(|_| upgraded).cloned();
    if headers.keys().any(is_hop) {
        remove_hop(headers);
    }
    headers.remove(SERVER);
    if let Some(protocol) = protocol {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocol);
    }
}

/// Removes what endpoints tell nginx itself, as nginx does.
pub(super) fn remove_accel(headers: &mut HeaderMap) {
    let is_accel = |name: &HeaderName| name.as_str().starts_with("x-accel-");
    while let Some(name) = headers.keys().find(|name| is_accel(name)).cloned() {
        headers.remove(name);
    }
}

/// Removes how a client came: ingress-nginx tells those who answer in place of an error its address
/// only (its template, `CUSTOM_ERRORS`).
pub(super) fn remove_forwarded(headers: &mut HeaderMap) {
    for name in [
        X_REAL_IP,
        X_FORWARDED_HOST,
        X_FORWARDED_PORT,
        X_FORWARDED_PROTO,
        X_FORWARDED_SCHEME,
        X_SCHEME,
    ] {
        headers.remove(name);
    }
}

/// The host that a trusted proxy names, the first of several: ingress-nginx takes it for the Host.
pub(super) fn best_host(client: &Client, headers: &HeaderMap) -> Option<HeaderValue> {
    let told = headers.get(X_FORWARDED_HOST).filter(|_| client.trusted)?;
    let first = told.to_str().ok()?.split(',').next()?.trim();
    value(first).filter(|_| !first.is_empty())
}

/// The protocol that a client wants the connection to become.
pub(super) fn upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let protocol = headers.get(UPGRADE)?;
    // HTTP/2 is spoken from the start or not at all.
    let other = !protocol.as_bytes().eq_ignore_ascii_case(b"h2c");
    let asked = tokens(headers, CONNECTION).any(|token| token.eq_ignore_ascii_case("upgrade"));
    (other && asked).then(|| protocol.clone())
}

fn wants_trailers(headers: &HeaderMap) -> bool {
    tokens(headers, TE).any(|token| token.eq_ignore_ascii_case("trailers"))
}

/// The words of a header that is a list.
fn tokens(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let values = headers.get_all(name).into_iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

/// Whether it is a header that ends here. Looking at all names once costs less than asking for each
/// of these.
fn is_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "te"
            | "transfer-encoding"
            | "upgrade"
            | "expect"
            | "proxy"
            | "http2-settings"
    )
}

/// Removes of a client's headers what no endpoint is sent.
pub(super) fn remove_hop_and_odd(headers: &mut HeaderMap, underscores: bool) {
    let odd = |name: &HeaderName| is_odd(name, underscores);
    if headers.keys().any(|name| is_hop(name) || odd(name)) {
        remove_hop(headers);
        for name in [EXPECT, PROXY, HTTP2_SETTINGS] {
            headers.remove(name);
        }
        remove_odd(headers, underscores);
    }
}

/// Removes what is between us and the other side of a connection only.
fn remove_hop(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        remove_named(headers);
        headers.remove(CONNECTION);
    }
    for name in [KEEP_ALIVE, PROXY_CONNECTION, TE, TRANSFER_ENCODING, UPGRADE] {
        headers.remove(name);
    }
}

/// Removes what Connection names, but for what says where a message goes and how long it is.
fn remove_named(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = tokens(headers, CONNECTION)
        .filter(|token| {
            let usual = ["close", "keep-alive", "upgrade"];
            !usual.iter().any(|usual| token.eq_ignore_ascii_case(usual))
        })
        .filter_map(|token| HeaderName::try_from(token).ok())
        .filter(|name| ![HOST, CONTENT_LENGTH, TRANSFER_ENCODING].contains(name))
        .collect();
    for name in named {
        headers.remove(name);
    }
}

/// Removes what many servers take for another name: `X_Real_IP` becomes `HTTP_X_REAL_IP` in CGI
/// as `X-Real-IP` does. Names with underscores stay if `enable-underscores-in-headers` says so.
fn remove_odd(headers: &mut HeaderMap, underscores: bool) {
    let is_odd = |name: &&HeaderName| is_odd(name, underscores);
    if headers.keys().any(|name| is_odd(&name)) {
        let odd: Vec<HeaderName> = headers.keys().filter(is_odd).cloned().collect();
        for name in odd {
            headers.remove(name);
        }
    }
}

fn is_odd(name: &HeaderName, underscores: bool) -> bool {
    let good =
        |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || (underscores && byte == b'_');
    !name.as_str().bytes().all(good)
}

/// HTTP/2 may send one cookie a line, HTTP/1.1 may not.
fn join_cookies(headers: &mut HeaderMap) {
    let mut cookies = headers.get_all(COOKIE).iter();
    if cookies.next().is_none() || cookies.next().is_none() {
        return;
    }
    let cookies: Vec<&[u8]> = headers
        .get_all(COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if let Ok(joined) = HeaderValue::from_bytes(&cookies.join(&b"; "[..])) {
        headers.insert(COOKIE, joined);
    }
}

/// 32 hexadecimal digits, as nginx's `$request_id`.
pub(super) fn request_id() -> HeaderValue {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut number = fastrand::u128(..);
    let mut text = [0; 32];
    for digit in &mut text {
        *digit = DIGITS[(number & 0xf) as usize];
        number >>= 4;
    }
    HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static("-"))
}

fn value(text: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(*name, HeaderValue::from_static(value));
        }
        map
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn headers_of_one_hop_end_here() {
        let mut map = headers(&[
            ("connection", "close, X-Secret"),
            ("connection", "content-length, host"),
            ("keep-alive", "5"),
            ("te", "trailers"),
            ("upgrade", "h2c"),
            ("proxy-connection", "close"),
            ("x-secret", "1"),
            ("content-length", "2"),
            ("host", "a"),
            ("x", "y"),
        ]);
        remove_hop(&mut map);
        assert_eq!(names(&map), ["content-length", "host", "x"]);
    }

    #[test]
    fn names_that_others_read_differently_are_dropped() {
        let mut map = headers(&[("x_real_ip", "1"), ("x.y", "2"), ("x-y", "3")]);
        remove_odd(&mut map, false);
        assert_eq!(names(&map), ["x-y"]);
    }

    #[test]
    fn cookies_are_one_line() {
        let mut map = headers(&[("cookie", "a=1"), ("cookie", "b=2")]);
        join_cookies(&mut map);
        let all: Vec<_> = map.get_all(COOKIE).iter().collect();
        assert_eq!(all, ["a=1; b=2"]);
    }

    #[test]
    fn an_upgrade_needs_both_headers() {
        for (lines, expected) in [
            (
                &[("upgrade", "websocket"), ("connection", "Upgrade")][..],
                true,
            ),
            (
                &[
                    ("upgrade", "websocket"),
                    ("connection", "keep-alive, upgrade"),
                ],
                true,
            ),
            (&[("upgrade", "websocket")], false),
            (&[("connection", "upgrade")], false),
            (
                &[
                    ("upgrade", "h2c"),
                    ("connection", "upgrade, http2-settings"),
                ],
                false,
            ),
        ] {
            assert_eq!(upgrade(&headers(lines)).is_some(), expected, "{lines:?}");
        }
    }

    #[test]
    fn the_client_is_who_a_trusted_proxy_does_not_trust() {
        let settings = Settings {
            trusted: vec!["10.0.0.0/8".parse().unwrap()],
            ..Settings::default()
        };
        for (chain, expected) in [
            ("192.0.2.1", Some("192.0.2.1")),
            ("192.0.2.1, 10.0.0.1", Some("192.0.2.1")),
            ("192.0.2.9, 192.0.2.1, 10.0.0.1", Some("192.0.2.1")),
            ("10.0.0.2, 10.0.0.1", Some("10.0.0.2")),
            ("nonsense, 10.0.0.1", Some("10.0.0.1")),
            ("", None),
        ] {
            let expected = expected.map(|address| address.parse().unwrap());
            assert_eq!(real(&settings, chain), expected, "{chain}");
        }
    }

    #[test]
    fn request_ids_differ() {
        let (one, two) = (request_id(), request_id());
        assert_eq!(one.len(), 32);
        assert_ne!(one, two);
    }
}
