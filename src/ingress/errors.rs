// SPDX-License-Identifier: Apache-2.0
//! Answers of our own: small pages in the shape of nginx's.

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// Why a request is not handed on, or what came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The status of the answer.
    pub(crate) status: StatusCode,
    /// Whether the connection ends with it.
    pub(crate) close: bool,
}

impl Refusal {
    /// An answer after which the connection goes on.
    pub(crate) const fn new(status: StatusCode) -> Self {
        Self {
            status,
            close: false,
        }
    }

    /// An answer that ends the connection: what else the client sent is in doubt.
    pub(crate) const fn last(status: StatusCode) -> Self {
        Self {
            status,
            close: true,
        }
    }
}

impl From<StatusCode> for Refusal {
    fn from(status: StatusCode) -> Self {
        Self::new(status)
    }
}

/// A status and its page.
macro_rules! page {
    ($status:ident, $title:literal) => {
        (
            StatusCode::$status,
            concat!(
                "<html>\r\n<head><title>",
                $title,
                "</title></head>\r\n<body>\r\n<center><h1>",
                $title,
                "</h1></center>\r\n</body>\r\n</html>\r\n"
            ),
        )
    };
}

/// The body of an answer.
pub(crate) fn page(status: StatusCode) -> Bytes {
    const KNOWN: &[(StatusCode, &str)] = &[
        page!(BAD_REQUEST, "400 Bad Request"),
        page!(UNAUTHORIZED, "401 Authorization Required"),
        page!(FORBIDDEN, "403 Forbidden"),
        page!(NOT_FOUND, "404 Not Found"),
        page!(METHOD_NOT_ALLOWED, "405 Not Allowed"),
        page!(REQUEST_TIMEOUT, "408 Request Time-out"),
        page!(PAYLOAD_TOO_LARGE, "413 Request Entity Too Large"),
        page!(URI_TOO_LONG, "414 Request-URI Too Large"),
        page!(MISDIRECTED_REQUEST, "421 Misdirected Request"),
        page!(TOO_MANY_REQUESTS, "429 Too Many Requests"),
        page!(
            REQUEST_HEADER_FIELDS_TOO_LARGE,
            "431 Request Header Fields Too Large"
        ),
        page!(INTERNAL_SERVER_ERROR, "500 Internal Server Error"),
        page!(BAD_GATEWAY, "502 Bad Gateway"),
        page!(SERVICE_UNAVAILABLE, "503 Service Temporarily Unavailable"),
        page!(GATEWAY_TIMEOUT, "504 Gateway Time-out"),
        page!(PERMANENT_REDIRECT, "308 Permanent Redirect"),
    ];
    if status == StatusCode::OK {
        return Bytes::new();
    }
    match KNOWN.iter().find(|(known, _)| *known == status) {
        Some((_, text)) => Bytes::from_static(text.as_bytes()),
        None => Bytes::from(text(status)),
    }
}

/// The body of a 400 that says more than its status, as nginx writes it.
pub(crate) fn bad_request(why: &str) -> Bytes {
    Bytes::from(format!(
        "<html>\r\n<head><title>400 {why}</title></head>\r\n<body>\r\n<center><h1>400 Bad Request\
         </h1></center>\r\n<center>{why}</center>\r\n</body>\r\n</html>\r\n"
    ))
}

fn text(status: StatusCode) -> String {
    format!(
        "<html>\r\n<head><title>{status}</title></head>\r\n<body>\r\n<center><h1>{status}</h1>\
         </center>\r\n</body>\r\n</html>\r\n"
    )
}

/// Whether a request is one of gRPC.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// The head of an answer of our own to gRPC, as gRPC's "HTTP to gRPC status code mapping" has it.
pub(crate) fn grpc(status: StatusCode) -> HeaderMap {
    let code = match status.as_u16() {
        400 | 431 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502..=504 => 14,
        // ResourceExhausted, as gRPC's own servers answer what is too large for them.
        413 => 8,
        _ => 2,
    };
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(GRPC_STATUS, code.into());
    if let Ok(text) = HeaderValue::from_str(status.as_str()) {
        headers.insert(GRPC_MESSAGE, text);
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_has_a_page_of_the_same_shape() {
        for status in [StatusCode::BAD_GATEWAY, StatusCode::IM_A_TEAPOT] {
            let page = String::from_utf8(page(status).to_vec()).unwrap();
            assert!(page.contains(status.as_str()), "{page}");
            assert!(page.starts_with("<html>\r\n") && page.ends_with("</html>\r\n"));
        }
    }
}
