// SPDX-License-Identifier: Apache-2.0
//! What a request is about, and whether it is one that every server would read the same way.

use std::borrow::Cow;

use hyper::header::{HOST, HeaderMap, TRANSFER_ENCODING};
use hyper::http::request::Parts;
use hyper::{Method, Request, StatusCode, Uri, Version};

use super::upgrade;
use crate::ingress::errors::Refusal;

/// The most headers, of HTTP/2 too.
const HEADERS: usize = 100;
/// The longest path with its query, in bytes: a buffer of nginx's.
const URI: usize = 8 * 1024;

/// Host and path that routes are looked up by.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Subject<'a> {
    /// In lower case, without port and final dot; empty if an HTTP/1.0 client names none.
    pub(super) host: Cow<'a, str>,
    /// Decoded once, with `.`, `..` and empty segments resolved.
    pub(super) path: Cow<'a, str>,
}

/// Looks at a request's head; `raw` is the same as it came, if it is known (HTTP/1).
pub(super) fn subject<B>(request: &Request<B>, raw: Option<Raw>) -> Result<Subject<'_>, Refusal> {
    if raw.is_some_and(|raw| raw.bare_newline || raw.length_and_chunks) {
        return Err(BAD);
    }
    let head = Head {
        uri: request.uri(),
        headers: request.headers(),
        version: request.version(),
    };
    if head.headers.len() > HEADERS {
        return Err(Refusal::last(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE));
    }
    if !encoding_is_plain(head.headers) {
        return Err(BAD);
    }
    match *request.method() {
        Method::TRACE => return Err(Refusal::last(StatusCode::METHOD_NOT_ALLOWED)),
        Method::CONNECT => return Err(upgrade::refused(request)),
        _ => {}
    }
    head.subject()
}

/// The same of a head that has been looked at before.
pub(super) fn subject_of(parts: &Parts) -> Result<Subject<'_>, Refusal> {
    let head = Head {
        uri: &parts.uri,
        headers: &parts.headers,
        version: parts.version,
    };
    head.subject()
}

pub(super) const BAD: Refusal = Refusal::last(StatusCode::BAD_REQUEST);

#[derive(Clone, Copy)]
struct Head<'a> {
    uri: &'a Uri,
    headers: &'a HeaderMap,
    version: Version,
}

impl<'a> Head<'a> {
    fn subject(self) -> Result<Subject<'a>, Refusal> {
        let uri = self.uri.path_and_query().ok_or(BAD)?;
        if uri.as_str().len() > URI {
            return Err(Refusal::last(StatusCode::URI_TOO_LONG));
        }
        if !uri.path().starts_with('/') {
            return Err(BAD);
        }
        Ok(Subject {
            host: self.host().ok_or(BAD)?,
            path: path(uri.path()).ok_or(BAD)?,
        })
    }

    /// None if there are two, or none where one must be, or if it is malformed.
    fn host(self) -> Option<Cow<'a, str>> {
        let mut hosts = self.headers.get_all(HOST).iter();
        let header = match (hosts.next(), hosts.next()) {
            (Some(host), None) => Some(host.to_str().ok()?),
            (None, None) => None,
            _ => return None,
        };
        let authority = self.uri.authority().map(|authority| authority.as_str());
        if let (Some(header), Some(authority)) = (header, authority)
            && !header.eq_ignore_ascii_case(authority)
        {
            return None;
        }
        match authority.or(header) {
            Some(named) => name(named),
            None => (self.version < Version::HTTP_11).then_some(Cow::Borrowed("")),
        }
    }
}

/// What a parsed head no longer shows.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Raw {
    /// A line ends without a carriage return.
    bare_newline: bool,
    /// Both Content-Length and Transfer-Encoding were given.
    length_and_chunks: bool,
}

impl Raw {
    /// Looks at a head, and at what follows it. None if what is there does not begin with it:
    /// the beginning came while the request before was under way.
    pub(super) fn look<B>(bytes: &[u8], request: &Request<B>) -> Option<Self> {
        let blank = |byte: &&u8| matches!(**byte, b'\r' | b'\n');
        let bytes = &bytes[bytes.iter().take_while(blank).count()..];
        let rest = bytes.strip_prefix(request.method().as_str().as_bytes())?;
        rest.strip_prefix(b" ")?;
        let mut raw = Self::default();
        let chunked = request.headers().contains_key(TRANSFER_ENCODING);
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', bytes) {
            let line = &bytes[start..end];
            start = end + 1;
            raw.bare_newline |= line.last() != Some(&b'\r');
            if matches!(line, b"" | b"\r") {
                break;
            }
            raw.length_and_chunks |= chunked && is_length(line);
        }
        Some(raw)
    }
}

/// Whether the body comes as it is, or in chunks and in no other way: what else it was encoded
/// with would be lost.
fn encoding_is_plain(headers: &HeaderMap) -> bool {
    let mut encodings = headers.get_all(TRANSFER_ENCODING).iter();
    match (encodings.next(), encodings.next()) {
        (None, _) => true,
        (Some(only), None) => only.as_bytes().eq_ignore_ascii_case(b"chunked"),
        (Some(_), Some(_)) => false,
    }
}

fn is_length(line: &[u8]) -> bool {
    const NAME: &[u8] = b"content-length:";
    line.get(..NAME.len())
        .is_some_and(|name| name.eq_ignore_ascii_case(NAME))
}

/// The name of `name`, `name:port` or `[address]:port`.
fn name(named: &str) -> Option<Cow<'_, str>> {
    let (name, port) = match named.strip_prefix('[') {
        Some(rest) => {
            let (address, rest) = rest.split_once(']')?;
            let address: std::net::Ipv6Addr = address.parse().ok()?;
            // In brackets as nobody writes a route, and in one spelling.
            return port_is_good(rest.strip_prefix(':').or(rest.is_empty().then_some(""))?)
                .then(|| Cow::Owned(format!("[{address}]")));
        }
        None => named.split_once(':').unwrap_or((named, "")),
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if name.is_empty() || !name.bytes().all(good) || name.starts_with('.') || !port_is_good(port) {
        return None;
    }
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Some(Cow::Owned(name.to_ascii_lowercase()));
    }
    Some(Cow::Borrowed(name))
}

fn port_is_good(port: &str) -> bool {
    port.is_empty()
        || (port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok())
}

/// Decodes and resolves a path as nginx does: once, and nothing may lead above the root. None for
/// what is malformed. The endpoint is sent the path as the client wrote it.
fn path(raw: &str) -> Option<Cow<'_, str>> {
    let plain = |bytes: &[u8]| {
        memchr::memchr(b'%', bytes).is_none()
            && !bytes
                .windows(2)
                .any(|pair| pair[0] == b'/' && matches!(pair[1], b'/' | b'.'))
    };
    if plain(raw.as_bytes()) {
        return Some(Cow::Borrowed(raw));
    }
    let resolved = decoded_path(raw)?;
    Some(Cow::Owned(String::from_utf8_lossy(&resolved).into_owned()))
}

/// The same as bytes, which need not be text.
pub(super) fn decoded_path(raw: &str) -> Option<Vec<u8>> {
    resolve(&decode(raw.as_bytes())?)
}

fn decode(raw: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(raw.len());
    let mut bytes = raw.iter();
    while let Some(&byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let mut digit = || char::from(*bytes.next()?).to_digit(16);
        let byte = u8::try_from(digit()? * 16 + digit()?).ok()?;
        if byte == 0 {
            return None;
        }
        decoded.push(byte);
    }
    Some(decoded)
}

/// Without `.`, `..` and empty segments; a slash at the end stays.
fn resolve(path: &[u8]) -> Option<Vec<u8>> {
    let mut resolved: Vec<&[u8]> = Vec::new();
    let mut folder = false;
    for segment in path.split(|byte| *byte == b'/') {
        folder = matches!(segment, b"" | b"." | b"..");
        match segment {
            b"" | b"." => {}
            b".." => drop(resolved.pop()?),
            segment => resolved.push(segment),
        }
    }
    let mut joined = vec![b'/'];
    joined.extend(resolved.join(&b'/'));
    if folder && joined.len() > 1 {
        joined.push(b'/');
    }
    Some(joined)
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    #[test]
    fn paths_are_resolved_once() {
        for (raw, expected) in [
            ("/", Some("/")),
            ("/a/b", Some("/a/b")),
            ("/a/b/", Some("/a/b/")),
            ("/a//b", Some("/a/b")),
            ("//", Some("/")),
            ("/a/./b", Some("/a/b")),
            ("/a/b/..", Some("/a/")),
            ("/a/../b", Some("/b")),
            ("/a/..", Some("/")),
            ("/a/.b/..c", Some("/a/.b/..c")),
            ("/%61%2fb", Some("/a/b")),
            ("/a/%2e%2E/b", Some("/b")),
            ("/a%252fb", Some("/a%2fb")),
            ("/a%20b", Some("/a b")),
            ("/a;x/..;/b", Some("/a;x/..;/b")),
            ("/%ff", Some("/\u{fffd}")),
            ("/..", None),
            ("/a/../..", None),
            ("/%2e%2e/", None),
            ("/%00", None),
            ("/%", None),
            ("/%4", None),
            ("/%zz", None),
            ("/%+1", None),
        ] {
            assert_eq!(path(raw).as_deref(), expected, "{raw}");
        }
    }

    #[test]
    fn hosts_are_read() {
        for (named, expected) in [
            ("example.com", Some("example.com")),
            ("EXAMPLE.com.", Some("example.com")),
            ("example.com:8080", Some("example.com")),
            ("example.com:", Some("example.com")),
            ("a_b.example", Some("a_b.example")),
            ("10.0.0.1:80", Some("10.0.0.1")),
            ("[2001:DB8::1]:80", Some("[2001:db8::1]")),
            ("[::1]", Some("[::1]")),
            ("", None),
            (".", None),
            (".example.com", None),
            (":80", None),
            ("a b", None),
            ("a/b", None),
            ("a@b", None),
            ("a,b", None),
            ("a:b", None),
            ("a:80:80", None),
            ("a:+80", None),
            ("a:65536", None),
            ("[::1", None),
            ("[::1]x", None),
            ("[a]", None),
            ("*", None),
        ] {
            assert_eq!(name(named).as_deref(), expected, "{named}");
        }
    }

    fn host_of(uri: &str, version: Version, hosts: &[&str]) -> Option<String> {
        let mut request = Request::builder().uri(uri).version(version);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let head = Head {
            uri: &parts.uri,
            headers: &parts.headers,
            version: parts.version,
        };
        head.host().map(Cow::into_owned)
    }

    #[test]
    fn a_request_names_one_host() {
        let h1 = Version::HTTP_11;
        assert_eq!(host_of("/", h1, &["a"]).as_deref(), Some("a"));
        assert_eq!(host_of("/", h1, &["a", "a"]), None);
        assert_eq!(host_of("/", h1, &[]), None);
        assert_eq!(host_of("/", Version::HTTP_10, &[]).as_deref(), Some(""));
        assert_eq!(host_of("http://A/", h1, &["a"]).as_deref(), Some("a"));
        assert_eq!(host_of("http://b/", h1, &["a"]), None);
        assert_eq!(host_of("http://u@a/", h1, &["a"]), None);
        assert_eq!(
            host_of("http://a/", Version::HTTP_2, &[]).as_deref(),
            Some("a")
        );
        assert_eq!(host_of("http://a:80/", h1, &["a"]), None);
    }

    #[test]
    fn what_parsing_hides_is_seen() {
        let look = |bytes: &str, chunked: bool| {
            let mut request = Request::new(());
            *request.method_mut() = bytes.trim_start()[..4].trim().parse().unwrap();
            if chunked {
                let value = "chunked".parse().unwrap();
                request.headers_mut().insert(TRANSFER_ENCODING, value);
            }
            let raw = Raw::look(bytes.as_bytes(), &request);
            raw.map(|raw| (raw.bare_newline, raw.length_and_chunks))
        };
        let good = "GET / HTTP/1.1\r\nHost: a\r\n\r\nbo\ndy";
        assert_eq!(look(good, false), Some((false, false)));
        let both = "POST / HTTP/1.1\r\ncontent-LENGTH: 1\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(look(both, true), Some((false, true)));
        assert_eq!(
            look("GET / HTTP/1.1\nHost: a\r\n\r\n", false),
            Some((true, false))
        );
        assert_eq!(
            look("GET / HTTP/1.1\r\nHost: a\n\n", false),
            Some((true, false))
        );
        assert_eq!(
            look("\r\nGET / HTTP/1.1\r\nA: b\n\r\n", false),
            Some((true, false))
        );
        let length_in_body = "POST / HTTP/1.1\r\nA: b\r\n\r\nContent-Length: 1\r\n\r\n";
        assert_eq!(look(length_in_body, true), Some((false, false)));
    }
}
