// SPDX-License-Identifier: Apache-2.0
//! Which answers are compressed, as nginx's gzip and brotli filters decide it. PURE.

use std::sync::Arc;

use hyper::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, VARY,
};
use hyper::{StatusCode, Version};

/// What ingress-nginx compresses by gzip: `gzip-types`, next to `text/html`.
pub const GZIP_TYPES: &str = "application/atom+xml application/javascript \
     application/x-javascript application/json application/rss+xml application/vnd.ms-fontobject \
     application/x-font-ttf application/x-web-app-manifest+json application/xhtml+xml \
     application/xml font/opentype image/svg+xml image/x-icon text/css text/javascript text/plain \
     text/x-component";

/// How answers are compressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compress {
    /// By gzip.
    pub gzip: Means,
    /// By brotli, which goes before gzip.
    pub brotli: Means,
}

/// One way to compress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Means {
    /// Whether it is used.
    pub on: bool,
    /// The level: 1 to 9 for gzip, 0 to 11 for brotli.
    pub level: u32,
    /// Shorter bodies, in bytes, stay as they are, if their length is known.
    pub least: u64,
    /// Media types; `*` is all. `text/html` is always among them.
    pub types: Arc<[Box<str>]>,
}

/// How a body is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// RFC 1952, with the level.
    Gzip(u32),
    /// RFC 7932, with the level.
    Brotli(u32),
}

impl Default for Compress {
    /// Off, with ingress-nginx's defaults for when it is turned on.
    fn default() -> Self {
        let gzip = Means {
            on: false,
            level: 1,
            least: 256,
            types: types(GZIP_TYPES),
        };
        let more = format!("application/xml+rss {GZIP_TYPES}");
        let brotli = Means {
            on: false,
            level: 4,
            least: 20,
            types: types(&more),
        };
        Self { gzip, brotli }
    }
}

/// Media types between blanks.
pub fn types(text: &str) -> Arc<[Box<str>]> {
    let words = text.split_ascii_whitespace();
    words
        .map(|word| word.to_ascii_lowercase().into_boxed_str())
        .collect()
}

/// What a client takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Taken {
    gzip: bool,
    brotli: bool,
}

impl Taken {
    /// None for clients of HTTP/1.0, which need a length.
    pub fn of(version: Version, request: &HeaderMap) -> Option<Self> {
        if version < Version::HTTP_11 {
            return None;
        }
        let mut taken = Self::default();
        for value in request.get_all(ACCEPT_ENCODING) {
            for item in value.to_str().unwrap_or_default().split(',') {
                let (coding, weight) = item.split_once(';').unwrap_or((item, ""));
                let takes = !is_zero(weight);
                match coding.trim() {
                    coding if coding.eq_ignore_ascii_case("gzip") => taken.gzip = takes,
                    coding if coding.eq_ignore_ascii_case("br") => taken.brotli = takes,
                    _ => {}
                }
            }
        }
        Some(taken)
    }
}

/// Whether a weight as `q=0.5` is nothing.
fn is_zero(weight: &str) -> bool {
    let weight = weight.trim();
    let number = weight.strip_prefix(['q', 'Q']).and_then(|w| {
        let number = w.trim_start().strip_prefix('=')?;
        number.trim().parse::<f32>().ok()
    });
    number.is_some_and(|number| number <= 0.0)
}

impl Compress {
    /// Whether any means is used.
    pub fn is_on(&self) -> bool {
        self.gzip.on || self.brotli.on
    }

    /// Makes the head of an answer that of an encoded one, if it is to be encoded. Its body has
    /// `length` bytes, if that is known.
    pub fn choose(
        &self,
        taken: Taken,
        (status, length): (StatusCode, Option<u64>),
        response: &mut HeaderMap,
    ) -> Option<Coding> {
        let fits = |means: &Means| means.fits(status, response);
        let long = |means: &Means| length.is_none_or(|length| length >= means.least);
        let fit = |means: &Means| means.on && long(means) && fits(means);
        let (gzip, brotli) = (fit(&self.gzip), fit(&self.brotli));
        if !gzip && !brotli {
            return None;
        }
        vary(response);
        let coding = match taken {
            Taken { brotli: true, .. } if brotli => Coding::Brotli(self.brotli.level),
            Taken { gzip: true, .. } if gzip => Coding::Gzip(self.gzip.level),
            _ => return None,
        };
        encoded(coding, response);
        Some(coding)
    }
}

impl Means {
    fn fits(&self, status: StatusCode, headers: &HeaderMap) -> bool {
        // As in nginx: nothing else has a body that is worth it.
        let statuses = [StatusCode::OK, StatusCode::FORBIDDEN, StatusCode::NOT_FOUND];
        let text = |name| {
            headers
                .get(name)
                .and_then(|v: &HeaderValue| v.to_str().ok())
        };
        let kind = text(CONTENT_TYPE).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        let has = |name| headers.contains_key(name);
        // RFC 9110, 7.7: what must not be transformed. nginx does it all the same.
        let fixed = text(CACHE_CONTROL).is_some_and(|control| {
            let mut words = control.split(',');
            words.any(|word| word.trim().eq_ignore_ascii_case("no-transform"))
        });
        statuses.contains(&status)
            && !has(CONTENT_ENCODING)
            && !has(CONTENT_RANGE)
            && !fixed
            && self.has(kind)
    }

    fn has(&self, kind: &str) -> bool {
        let is = |word: &str| word.eq_ignore_ascii_case(kind);
        let begins = |word: &str| {
            let start = kind.get(..word.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(word))
        };
        // Their frames and events have to arrive one by one, with bounds of their own.
        if begins("application/grpc") || is("text/event-stream") {
            return false;
        }
        let mut listed = self.types.iter().map(|word| &**word);
        !kind.is_empty() && (is("text/html") || listed.any(|word| word == "*" || is(word)))
    }
}

fn vary(headers: &mut HeaderMap) {
    let told = headers.get_all(VARY).iter().any(|value| {
        let mut words = value.to_str().unwrap_or_default().split(',').map(str::trim);
        words.any(|word| word == "*" || word.eq_ignore_ascii_case("accept-encoding"))
    });
    if !told {
        headers.append(VARY, HeaderValue::from_static("Accept-Encoding"));
    }
}

fn encoded(coding: Coding, headers: &mut HeaderMap) {
    let name = match coding {
        Coding::Gzip(_) => "gzip",
        Coding::Brotli(_) => "br",
    };
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static(name));
    headers.remove(CONTENT_LENGTH);
    headers.remove(ACCEPT_RANGES);
    let Some(tag) = headers.remove(ETAG) else {
        return;
    };
    // RFC 9110, 8.8.1: other bytes must not have the same strong validator.
    if tag.as_bytes().starts_with(b"W/") {
        headers.insert(ETAG, tag);
    } else if tag.as_bytes().starts_with(b"\"") {
        let weak = [b"W/", tag.as_bytes()].concat();
        if let Ok(weak) = HeaderValue::from_bytes(&weak) {
            headers.insert(ETAG, weak);
        }
    }
}

#[cfg(test)]
mod tests {
    use hyper::http::response::Parts;

    use super::*;

    fn on() -> Compress {
        let mut compress = Compress::default();
        (compress.gzip.on, compress.brotli.on) = (true, true);
        compress
    }

    fn parts(status: u16, headers: &[(&str, &str)]) -> Parts {
        let mut response = hyper::Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        response.body(()).unwrap().into_parts().0
    }

    fn choose(compress: &Compress, taken: Taken, response: &mut Parts) -> Option<Coding> {
        let length = response.headers.get(CONTENT_LENGTH);
        let length = length.map(|length| length.to_str().unwrap().parse().unwrap());
        compress.choose(taken, (response.status, length), &mut response.headers)
    }

    fn taken(accept: &str) -> Taken {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_ENCODING, accept.parse().unwrap());
        Taken::of(Version::HTTP_11, &headers).unwrap()
    }

    #[test]
    fn weights_decide_what_a_client_takes() {
        for (accept, gzip, brotli) in [
            ("gzip, deflate, br", true, true),
            ("GZIP;q=0.1", true, false),
            ("gzip;q=0", false, false),
            ("gzip; q=0.000, br;q=1", false, true),
            ("identity", false, false),
            ("*", false, false),
            ("xgzip", false, false),
            ("", false, false),
        ] {
            assert_eq!(taken(accept), Taken { gzip, brotli }, "{accept}");
        }
        let headers = HeaderMap::new();
        assert_eq!(Taken::of(Version::HTTP_10, &headers), None);
    }

    #[test]
    fn what_is_long_enough_and_of_a_known_type_is_compressed() {
        let html = [("content-type", "text/html; charset=utf-8")];
        let long = [
            ("content-type", "application/json"),
            ("content-length", "256"),
        ];
        for (status, headers, expected) in [
            (200, &html[..], Some(Coding::Gzip(1))),
            (404, &html, Some(Coding::Gzip(1))),
            (206, &html, None),
            (500, &html, None),
            (200, &long, Some(Coding::Gzip(1))),
            (200, &[("content-type", "image/png")], None),
            (200, &[("content-type", "text/event-stream")], None),
            (200, &[("content-type", "application/grpc+proto")], None),
            (200, &[], None),
            (200, &[html[0], ("content-length", "255")], None),
            (200, &[html[0], ("content-encoding", "x")], None),
            (
                200,
                &[html[0], ("cache-control", "max-age=1, No-Transform")],
                None,
            ),
        ] {
            let mut compress = on();
            compress.brotli.on = false;
            let mut response = parts(status, headers);
            let chosen = choose(&compress, taken("gzip, br"), &mut response);
            assert_eq!(chosen, expected, "{status} {headers:?}");
            let vary = response.headers.contains_key(VARY);
            assert_eq!(vary, expected.is_some(), "{status} {headers:?}");
        }
    }

    #[test]
    fn all_types_may_be_meant_but_for_streams_of_messages() {
        let mut compress = on();
        compress.gzip.types = types("*");
        let kind = |kind| [("content-type", kind)];
        let chosen = |kind: [(&str, &str); 1]| {
            let mut response = parts(200, &kind);
            choose(&compress, taken("gzip"), &mut response)
        };
        assert_eq!(chosen(kind("image/png")), Some(Coding::Gzip(1)));
        assert_eq!(chosen(kind("application/grpc")), None);
        assert_eq!(chosen(kind("text/event-stream")), None);
    }

    #[test]
    fn the_head_says_what_was_done() {
        let mut response = parts(
            200,
            &[
                ("content-type", "text/css"),
                ("content-length", "1000"),
                ("accept-ranges", "bytes"),
                ("etag", "\"x\""),
                ("vary", "Origin"),
            ],
        );
        let chosen = choose(&on(), taken("gzip, br"), &mut response);
        assert_eq!(chosen, Some(Coding::Brotli(4)));
        let headers = &response.headers;
        assert_eq!(headers[CONTENT_ENCODING], "br");
        assert_eq!(headers[ETAG], "W/\"x\"");
        assert!(!headers.contains_key(CONTENT_LENGTH) && !headers.contains_key(ACCEPT_RANGES));
        let vary: Vec<_> = headers.get_all(VARY).iter().collect();
        assert_eq!(vary, ["Origin", "Accept-Encoding"]);
        for (tag, expected) in [("W/\"x\"", Some("W/\"x\"")), ("x", None)] {
            let mut response = parts(200, &[("content-type", "text/css"), ("etag", tag)]);
            choose(&on(), taken("gzip"), &mut response);
            let tag = response.headers.get(ETAG).map(|tag| tag.to_str().unwrap());
            assert_eq!(tag, expected);
        }
        let mut response = parts(200, &[("content-type", "text/css")]);
        assert_eq!(choose(&on(), Taken::default(), &mut response), None);
        assert_eq!(response.headers[VARY], "Accept-Encoding");
    }
}
