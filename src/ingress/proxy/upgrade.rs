// SPDX-License-Identifier: Apache-2.0
//! What a client wants its connection to become, or one stream of it: anything over HTTP/1.1
//! (RFC 9110, 7.8), or a WebSocket over HTTP/2 (extended CONNECT, RFC 8441).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::body::Incoming;
use hyper::ext::Protocol;
use hyper::header::{HeaderMap, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY};
use hyper::upgrade::OnUpgrade;
use hyper::{Method, Request, Response, StatusCode, Version};

use super::headers;
use crate::ingress::errors::Refusal;

/// A client's wish.
pub(super) struct Upgrade {
    /// As the endpoint is asked for it.
    pub(super) protocol: HeaderValue,
    pub(super) ours: OnUpgrade,
}

/// What a request wants to become. One for a WebSocket over HTTP/2 is made the request that asks
/// for one over HTTP/1.1.
pub(super) fn wanted(request: &mut Request<Incoming>, h2: bool) -> Option<Upgrade> {
    let protocol = if !h2 {
        let wanted = headers::upgrade(request.headers());
        wanted.filter(|_| request.version() == Version::HTTP_11)?
    } else if is_websocket(request) {
        // The endpoint answers to a key that only HTTP/1.1 has.
        let key = STANDARD.encode(fastrand::u128(..).to_ne_bytes());
        let key = HeaderValue::try_from(key).ok()?;
        *request.method_mut() = Method::GET;
        request.headers_mut().insert(SEC_WEBSOCKET_KEY, key);
        HeaderValue::from_static("websocket")
    } else {
        return None;
    };
    let ours = hyper::upgrade::on(request);
    Some(Upgrade { protocol, ours })
}

fn is_websocket<B>(request: &Request<B>) -> bool {
    let protocol = request.extensions().get::<Protocol>();
    *request.method() == Method::CONNECT && protocol.is_some_and(|p| p.as_str() == "websocket")
}

/// What a CONNECT is answered that does not become a WebSocket.
pub(super) fn refused<B>(request: &Request<B>) -> Refusal {
    match request.extensions().get::<Protocol>() {
        Some(_) => Refusal::new(StatusCode::NOT_IMPLEMENTED),
        None => Refusal::last(StatusCode::METHOD_NOT_ALLOWED),
    }
}

/// Makes the endpoint's agreement one over HTTP/2.
pub(super) fn agree_over_h2(response: &mut Response<()>) {
    *response.status_mut() = StatusCode::OK;
    let headers: &mut HeaderMap = response.headers_mut();
    headers::edit_response(headers, false);
    headers.remove(SEC_WEBSOCKET_ACCEPT);
}
