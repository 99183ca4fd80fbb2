// SPDX-License-Identifier: Apache-2.0
//! One request: checked, looked up, handed on, answered.

mod check;
mod choose;
mod context;
mod directives;
mod elsewhere;
mod exchange;
mod external;
mod forward;
mod found;
mod gate;
mod headers;
mod intercept;
pub(crate) mod mirror;
mod onward;
mod proceed;
mod reply;
mod spare;
mod tunnel;
mod upgrade;
mod whole;

use std::convert::Infallible;
use std::rc::Rc;

use hyper::body::{Body as _, Incoming};
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue, LOCATION, STRICT_TRANSPORT_SECURITY};
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response, StatusCode, Version};

use self::check::Raw;
use self::found::{Found, Way, find, seek};
use self::gate::Denial;
use super::body::Body;
use super::errors::{self, Refusal, page};
use super::serve::Client;
use super::serve::worker::Worker;
use super::upstream::Lease;

pub(crate) use self::exchange::Exchange;

/// Answers a request.
pub(crate) async fn handle(
    worker: Rc<Worker>,
    client: Rc<Client>,
    mut request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let look = |bytes: Option<&[u8]>| bytes.and_then(|bytes| Raw::look(bytes, &request));
    let (raw, last) = client.state.begin(look);
    let mut exchange = Exchange::begin(worker.clone(), client.clone(), &request);
    let upgrading = upgrade::wanted(&mut request, client.h2);
    let unread = !request.body().is_end_stream();
    let old = request.version() < Version::HTTP_11;
    let grpc = client.h2 && errors::is_grpc(request.headers());
    let found = find(&worker, &request, raw);
    let hsts = client.tls.then(|| hsts(&worker, &found)).flatten();
    let mut reply = None;
    let answer = match found {
        Ok(found) => {
            found
                .answer(&client, request, upgrading, (&mut exchange, &mut reply))
                .await
        }
        Err(refusal) => Err(refusal.into()),
    };
    let cookies = exchange.take_cookies();
    if unread && answer.is_err() {
        client.state.set_linger();
    }
    let closes = matches!(&answer, Err(End::Refusal(refusal)) if refusal.close);
    // Who shows no good certificate is answered before there is a route, as in nginx.
    let hsts = hsts.filter(|_| !exchange.is_stranger());
    let answer = intercept::replace(reply.as_deref_mut(), &client, answer, &mut exchange).await;
    let endpoint = answer.is_ok();
    let mut response = match answer {
        Ok(Answer::Upstream(response, lease, found)) => {
            let limit = found.route_settings().read_timeout;
            exchange.answered(response.status());
            response.map(|incoming| Body::upstream(incoming, lease, limit, exchange))
        }
        Ok(Answer::Tunnel(response, found, (ours, theirs))) => {
            let limit = found.route_settings().read_timeout;
            exchange.answered(response.status());
            tunnel::begin((ours, theirs), limit, exchange);
            response.map(|()| Body::page(bytes::Bytes::new(), None))
        }
        Err(End::Redirect(status, location)) => {
            let mut response = refuse(Refusal::new(status), exchange);
            response.headers_mut().insert(LOCATION, location);
            response
        }
        Err(End::Ready(response)) => {
            exchange.answered(response.status());
            response.map(|page| Body::page(page, Some(exchange)))
        }
        Err(End::Denied(denial)) if grpc => refuse_grpc(Refusal::new(denial.status), exchange),
        Err(End::Denied(denial)) => denial.response(exchange),
        Err(End::Refusal(refusal)) if grpc => refuse_grpc(refusal, exchange),
        Err(End::Refusal(refusal)) => refuse(refusal, exchange),
    };
    reply::finish(reply.as_deref(), &worker, &mut response, endpoint);
    if let Some(cookies) = cookies {
        cookies.add(&mut response);
    }
    if let Some(hsts) = hsts {
        let headers = response.headers_mut();
        headers.insert(STRICT_TRANSPORT_SECURITY, hsts);
    }
    if (last || closes) && !client.h2 {
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    // Of an answer of HTTP/1.1 to such a client hyper says "keep-alive" as well.
    if old && response.headers().contains_key(CONNECTION) {
        *response.version_mut() = Version::HTTP_10;
    }
    Ok(response)
}

/// That of the route; of what has none, that of the default backend.
fn hsts(worker: &Worker, found: &Result<Found, Refusal>) -> Option<HeaderValue> {
    match found {
        Ok(found) => found.route_settings().hsts.clone(),
        Err(_) => worker.table(|table| table.defaults.hsts.clone()),
    }
}

/// What comes of a request that is handed on.
enum Answer {
    Upstream(Response<Incoming>, Lease, Found),
    Tunnel(Response<()>, Found, (OnUpgrade, OnUpgrade)),
}

/// What else comes of a request.
enum End {
    Refusal(Refusal),
    Redirect(StatusCode, HeaderValue),
    /// An answer that is made already.
    Ready(Box<Response<bytes::Bytes>>),
    /// An answer with more than a page.
    Denied(Box<Denial>),
}

impl From<Refusal> for End {
    fn from(refusal: Refusal) -> Self {
        Self::Refusal(refusal)
    }
}

/// A page of our own.
fn refuse(refusal: Refusal, mut exchange: Box<Exchange>) -> Response<Body> {
    exchange.answered(refusal.status);
    let closes = refusal.close && !exchange.is_h2();
    let body = Body::page(page(refusal.status), Some(exchange));
    let mut response = Response::new(body);
    *response.status_mut() = refusal.status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
    if closes {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// The same to a client of gRPC, which reads no pages.
fn refuse_grpc(refusal: Refusal, mut exchange: Box<Exchange>) -> Response<Body> {
    exchange.answered(refusal.status);
    let body = Body::page(bytes::Bytes::new(), Some(exchange));
    let mut response = Response::new(body);
    *response.headers_mut() = errors::grpc(refusal.status);
    response
}
