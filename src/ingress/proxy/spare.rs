// SPDX-License-Identifier: Apache-2.0
//! A request that may have to be sent a second time: without body, or with one that is kept.
//!
//! Every idempotent request needs one and hardly any uses it, so making it has to be cheap: names
//! and values one after the other in one piece of memory, where a copy of the map would count
//! references to each value.

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Uri, Version};

use crate::ingress::body::RequestBody;

/// What a request consists of.
pub(super) struct Spare {
    method: Method,
    uri: Uri,
    version: Version,
    headers: usize,
    /// For each header the lengths of name and value, whether it is sensitive, and both.
    packed: Vec<u8>,
    body: RequestBody,
}

/// Bytes before each name: two lengths and a flag.
const PREFIX: usize = 9;

impl Spare {
    /// Keeps what is needed of a request; none if its body cannot be sent again.
    pub(super) fn of(request: &Request<RequestBody>) -> Option<Self> {
        let body = request.body().again()?;
        let headers = request.headers();
        let lengths = headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len());
        let mut packed = Vec::with_capacity(lengths.sum::<usize>() + PREFIX * headers.len());
        for (name, value) in headers {
            for part in [name.as_str().as_bytes(), value.as_bytes()] {
                // A head has 32 KiB at most.
                packed.extend_from_slice(&u32::try_from(part.len()).unwrap_or(0).to_le_bytes());
            }
            packed.push(u8::from(value.is_sensitive()));
            packed.extend_from_slice(name.as_str().as_bytes());
            packed.extend_from_slice(value.as_bytes());
        }
        Some(Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            version: request.version(),
            headers: headers.len(),
            packed,
            body,
        })
    }

    /// The request again. None is not to be expected: it was one before.
    pub(super) fn request(self) -> Option<Request<RequestBody>> {
        let headers = self.unpack()?;
        let mut request = Request::new(self.body);
        *request.method_mut() = self.method;
        *request.uri_mut() = self.uri;
        *request.version_mut() = self.version;
        *request.headers_mut() = headers;
        Some(request)
    }

    fn unpack(&self) -> Option<HeaderMap> {
        let mut headers = HeaderMap::with_capacity(self.headers);
        let mut rest = &self.packed[..];
        while let Some((prefix, after)) = rest.split_first_chunk::<PREFIX>() {
            let (name, after) = after.split_at_checked(length(&prefix[..4])?)?;
            let (value, after) = after.split_at_checked(length(&prefix[4..8])?)?;
            let mut value = HeaderValue::from_bytes(value).ok()?;
            value.set_sensitive(prefix[8] != 0);
            headers.append(HeaderName::from_bytes(name).ok()?, value);
            rest = after;
        }
        Some(headers)
    }
}

fn length(bytes: &[u8]) -> Option<usize> {
    let length = u32::from_le_bytes(bytes.try_into().ok()?);
    usize::try_from(length).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_comes_back_as_it_was() {
        let mut secret = HeaderValue::from_static("s");
        secret.set_sensitive(true);
        let request = Request::put("/a?b")
            .version(Version::HTTP_2)
            .header("host", "a.example")
            .header("x-many", "1")
            .header("x-empty", "")
            .header("x-many", "2")
            .header("x-bytes", HeaderValue::from_bytes(b"\xe4\xff").unwrap())
            .header("authorization", secret)
            .body(RequestBody::empty())
            .unwrap();
        let again = Spare::of(&request).and_then(Spare::request).unwrap();
        assert_eq!(again.method(), request.method());
        assert_eq!(again.uri(), request.uri());
        assert_eq!(again.version(), request.version());
        assert_eq!(again.headers(), request.headers());
        assert!(again.headers()["authorization"].is_sensitive());
        assert!(!again.headers()["host"].is_sensitive());
    }
}
