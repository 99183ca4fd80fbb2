// SPDX-License-Identifier: Apache-2.0
//! The values of variables.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr};

use hyper::header::{COOKIE, HOST, HeaderMap};
use hyper::http::request::Parts;
use hyper::{Method, Uri, Version};

use super::Variable;
use crate::ingress::table::{Backend, Route};

/// What is known of a request. [`Context::of`] fills in what its head says, all else is empty until
/// it is set.
#[derive(Debug, Clone)]
pub struct Context<'a> {
    /// `$scheme`: what the connection speaks, `http` or `https`.
    pub scheme: &'a str,
    /// `$pass_access_scheme`: the same, or what a trusted proxy says that the client spoke to it.
    pub access_scheme: &'a str,
    /// `$host`: in lower case, without port.
    pub host: &'a str,
    /// `$http_host`: as the client wrote it.
    pub http_host: &'a str,
    /// `$best_http_host`: the same, or what a trusted proxy says.
    pub best_http_host: &'a str,
    /// As the client wrote it, of which `$request_uri` and `$args` are parts.
    pub uri: &'a Uri,
    /// `$uri`: decoded, without `.`, `..` and empty segments.
    pub path: &'a str,
    /// `$request_method`.
    pub method: &'a Method,
    /// `$server_protocol`.
    pub version: Version,
    /// `$http_NAME`, `$cookie_NAME`.
    pub headers: &'a HeaderMap,
    /// `$remote_addr`: the client, behind the proxies that are trusted.
    pub remote_addr: IpAddr,
    /// `$server_port`: that the client connected to.
    pub server_port: u16,
    /// Where this program speaks HTTPS.
    pub https_port: u16,
    /// `$pass_server_port`: the same, or what a trusted proxy says.
    pub access_port: u16,
    /// `$request_id`, `$req_id`.
    pub request_id: &'a str,
    /// Where the request goes.
    pub place: Place<'a>,
    /// What the groups of the path's pattern matched: `$1` is the first.
    pub groups: &'a [&'a [u8]],
}

/// Where a request goes: what ingress-nginx's template sets for each location.
#[derive(Debug, Clone, Copy, Default)]
pub struct Place<'a> {
    /// `$namespace`, of the Ingress.
    pub namespace: &'a str,
    /// `$ingress_name`.
    pub ingress_name: &'a str,
    /// `$service_name`.
    pub service_name: &'a str,
    /// `$service_port`, as the Ingress has it.
    pub service_port: &'a str,
    /// `$location_path`, as the Ingress has it.
    pub location_path: &'a str,
    /// `$server_name`: the rule's host, `_` for none.
    pub server_name: &'a str,
}

impl<'a> Place<'a> {
    /// That of a route.
    pub fn of(route: &'a Route) -> Self {
        let (service_name, service_port) = match &route.backend {
            Backend::Upstream(upstream) => (&*upstream.id.service.name, &*upstream.id.port),
            _ => ("", ""),
        };
        Self {
            namespace: &route.ingress.namespace,
            ingress_name: &route.ingress.name,
            service_name,
            service_port,
            location_path: &route.path,
            server_name: match &*route.host {
                "" => "_",
                host => host,
            },
        }
    }
}

impl<'a> Context<'a> {
    /// What a request's head says, as if it came in plain text on port 80.
    pub fn of(parts: &'a Parts) -> Self {
        let named = parts.headers.get(HOST).and_then(|host| host.to_str().ok());
        let authority = parts.uri.authority().map(|authority| authority.as_str());
        let http_host = named.or(authority).unwrap_or_default();
        Self {
            scheme: "http",
            access_scheme: "http",
            host: without_port(http_host),
            http_host,
            best_http_host: http_host,
            uri: &parts.uri,
            path: parts.uri.path(),
            method: &parts.method,
            version: parts.version,
            headers: &parts.headers,
            remote_addr: Ipv4Addr::UNSPECIFIED.into(),
            server_port: 80,
            access_port: 80,
            https_port: 443,
            request_id: "",
            place: Place::default(),
            groups: &[],
        }
    }

    pub(crate) fn request_uri(&self) -> &'a str {
        self.uri.path_and_query().map_or("/", |uri| uri.as_str())
    }

    fn args(&self) -> &'a str {
        self.uri.query().unwrap_or_default()
    }
}

/// A host of which its port is cut off.
pub(crate) fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => name,
        _ => host,
    }
}

/// Appends the value of a variable.
pub(super) fn push(variable: &Variable, context: &Context<'_>, bytes: &mut Vec<u8>) {
    let place = &context.place;
    let plain = match variable {
        Variable::Scheme => context.scheme,
        Variable::AccessScheme => context.access_scheme,
        Variable::Https if context.scheme == "https" => "on",
        Variable::Https => "",
        Variable::Host => context.host,
        Variable::BestHttpHost => context.best_http_host,
        Variable::RequestUri => context.request_uri(),
        Variable::Uri => context.path,
        Variable::Args => context.args(),
        Variable::IsArgs if context.args().is_empty() => "",
        Variable::IsArgs => "?",
        Variable::Arg(name) => parameter(context.args(), name),
        Variable::RequestMethod => context.method.as_str(),
        Variable::ServerProtocol => protocol(context.version),
        Variable::RequestId => context.request_id,
        Variable::Namespace => place.namespace,
        Variable::IngressName => place.ingress_name,
        Variable::ServiceName => place.service_name,
        Variable::ServicePort => place.service_port,
        Variable::LocationPath => place.location_path,
        Variable::ServerName => place.server_name,
        Variable::Header(name) if name == "host" => context.http_host,
        _ => return push_made(variable, context, bytes),
    };
    bytes.extend_from_slice(plain.as_bytes());
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "HTTP/2.0",
        Version::HTTP_10 => "HTTP/1.0",
        _ => "HTTP/1.1",
    }
}

/// Those that are not a part of something.
fn push_made(variable: &Variable, context: &Context<'_>, bytes: &mut Vec<u8>) {
    let made: Cow<'_, [u8]> = match variable {
        Variable::RemoteAddr => context.remote_addr.to_string().into_bytes().into(),
        Variable::ServerPort => context.server_port.to_string().into_bytes().into(),
        Variable::AccessPort => context.access_port.to_string().into_bytes().into(),
        Variable::Header(name) => header(context.headers, name),
        Variable::Cookie(name) => cookie(context.headers, name).into(),
        Variable::EscapedRequestUri => escape_component(context.request_uri()).into(),
        Variable::Group(number) => {
            let group = context.groups.get(number - 1).copied();
            group.unwrap_or_default().into()
        }
        _ => Cow::Borrowed(b""),
    };
    bytes.extend_from_slice(&made);
}

/// The value of a parameter as it is written, whose name has no case.
fn parameter<'a>(args: &'a str, name: &str) -> &'a str {
    let mut pairs = args.split('&').filter_map(|pair| pair.split_once('='));
    let found = pairs.find(|(key, _)| key.eq_ignore_ascii_case(name));
    found.map_or("", |(_, value)| value)
}

/// All values of a header, as one line.
fn header<'a>(headers: &'a HeaderMap, name: &str) -> Cow<'a, [u8]> {
    let between: &[u8] = if name == "cookie" { b"; " } else { b", " };
    let mut values = headers.get_all(name).iter();
    let first = values.next().map(|value| value.as_bytes());
    let mut all = Cow::Borrowed(first.unwrap_or_default());
    for value in values {
        let all = all.to_mut();
        all.extend_from_slice(between);
        all.extend_from_slice(value.as_bytes());
    }
    all
}

/// The value of the first cookie of a name, which has no case.
fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> &'a [u8] {
    for line in headers.get_all(COOKIE) {
        for pair in line.as_bytes().split(|byte| *byte == b';') {
            let pair = pair.trim_ascii_start();
            let Some(equals) = pair.iter().position(|byte| *byte == b'=') else {
                continue;
            };
            if pair[..equals].eq_ignore_ascii_case(name.as_bytes()) {
                return &pair[equals + 1..];
            }
        }
    }
    b""
}

/// As nginx's `set_escape_uri`: all but letters, digits and `-._~` as `%XX`.
pub(crate) fn escape_component(plain: &str) -> Vec<u8> {
    escape(plain.as_bytes(), |byte| {
        !(byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~'))
    })
}

/// Writes some bytes as `%XX`.
pub(crate) fn escape(plain: &[u8], special: impl Fn(u8) -> bool) -> Vec<u8> {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut escaped = Vec::with_capacity(plain.len());
    for &byte in plain {
        if special(byte) {
            let digit = |bits: u8| DIGITS[usize::from(bits)];
            escaped.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte & 0xf)]);
        } else {
            escaped.push(byte);
        }
    }
    escaped
}
