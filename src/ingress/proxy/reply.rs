// SPDX-License-Identifier: Apache-2.0
//! What a route does with the answer to a request, whoever gives it: changes of headers, word to
//! browsers of other origins, compression, a rate.

use std::sync::Arc;

use hyper::body::Body as _;
use hyper::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};

use super::check;
use super::context::context;
use super::directives::Original;
use super::headers::{X_REQUEST_ID, request_id};
use super::intercept::Asked;
use super::{Found, Way};
use crate::ingress::action::compress::Taken;
use crate::ingress::action::headers::Ready;
use crate::ingress::body::Body;
use crate::ingress::serve::Client;
use crate::ingress::serve::worker::Worker;
use crate::ingress::table::RouteSettings;

/// Of one request.
pub(super) struct Reply {
    settings: Arc<RouteSettings>,
    cors: Option<HeaderValue>,
    ready: Ready,
    onward: Vec<(HeaderName, HeaderValue)>,
    taken: Option<Taken>,
    /// Only the head of the answer was asked for.
    head: bool,
    /// Kept for who answers in place of an error.
    pub(super) asked: Option<Asked>,
    /// It is one in place of an error, or of a route that is closed.
    pub(super) replaced: bool,
}

impl Reply {
    /// None for most routes. The request has its final URI, and gets its id.
    pub(super) fn of(found: &Found, client: &Client, parts: &mut Parts) -> Option<Box<Self>> {
        let settings = match &found.way {
            Way::Route(route) => &route.settings,
            Way::Default(settings) => settings,
        };
        if !settings.shapes_answers() {
            return None;
        }
        let id = parts.headers.entry(X_REQUEST_ID);
        id.or_insert_with(request_id);
        // A route that is closed does nothing else.
        let denied = settings.denied.is_some();
        let errors = settings.errors.is_some() && !denied;
        let asked = errors.then(|| Asked::of(found, parts));
        let mut reply = Self {
            settings: settings.clone(),
            cors: None,
            ready: Ready::default(),
            onward: Vec::new(),
            taken: None,
            head: parts.method == Method::HEAD,
            asked,
            replaced: denied,
        };
        reply.cors = settings
            .cors
            .as_ref()
            .and_then(|cors| cors.allowed(&parts.headers));
        if let Some(compress) = &settings.compress
            && compress.is_on()
        {
            reply.taken = Taken::of(parts.version, &parts.headers);
        }
        if settings.headers.is_some() {
            reply.render(found, client, parts);
        }
        Some(Box::new(reply))
    }

    /// Values with variables, as the request came.
    fn render(&mut self, found: &Found, client: &Client, parts: &Parts) {
        let (Some(headers), Ok(subject)) = (&self.settings.headers, check::subject_of(parts))
        else {
            return;
        };
        let route = found.route().map(|route| &**route);
        let mut context = context(client, &found.settings, route, (parts, &subject));
        if let Some(Original(uri)) = parts.extensions.get() {
            context.uri = uri;
        }
        self.ready = headers.ready(&context);
        self.onward = headers.onward(&context);
    }

    /// Changes what the endpoint is sent.
    pub(super) fn onward(&self, parts: &mut Parts, upgrades: bool, h2: bool) {
        for (name, value) in &self.onward {
            match value.is_empty() {
                true => drop(parts.headers.remove(name)),
                false if *name == HOST && h2 => {}
                false => drop(parts.headers.insert(name.clone(), value.clone())),
            }
        }
        let headers = self.settings.headers.as_ref();
        let connection = headers.and_then(|headers| headers.connection.clone());
        if let Some(value) = connection.filter(|_| !upgrades && !h2) {
            parts.headers.insert(CONNECTION, value);
        }
    }

    /// Changes what the client is sent; `endpoint` if an endpoint has answered.
    fn finish(&self, response: &mut Response<Body>, endpoint: bool) {
        let status = response.status();
        let headers = self.settings.headers.as_ref();
        if let Some(headers) = headers {
            if endpoint {
                headers.hide(response.headers_mut());
            }
            headers.edit(&self.ready, status, response.headers_mut(), self.replaced);
        }
        if !self.replaced {
            if let (Some(cors), Some(allowed)) = (&self.settings.cors, &self.cors) {
                cors.tell(allowed.clone(), response.headers_mut());
            }
            if let Some(headers) = headers {
                headers.add(&self.ready, status, response.headers_mut());
            }
        }
        if status != StatusCode::SWITCHING_PROTOCOLS {
            self.shape(response);
        }
    }

    fn shape(&self, response: &mut Response<Body>) {
        let length = match self.head {
            true => length(response.headers()),
            false => response.body().size_hint().exact(),
        };
        let seen = (response.status(), length);
        let compress = self.settings.compress.as_ref().zip(self.taken);
        let coding = compress
            .and_then(|(compress, taken)| compress.choose(taken, seen, response.headers_mut()));
        // A head is that of the answer to GET (RFC 9110, 9.3.2), but there is nothing to encode.
        let coding = coding.filter(|_| !self.head);
        response.body_mut().shape(coding, self.settings.rate);
    }
}

/// What a head says of the length of its body.
fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Makes an answer that of its route; without one, what holds for all routes.
pub(super) fn finish(
    reply: Option<&Reply>,
    worker: &Worker,
    response: &mut Response<Body>,
    endpoint: bool,
) {
    if let Some(reply) = reply {
        return reply.finish(response, endpoint);
    }
    if endpoint {
        return;
    }
    // A request that is nobody's: there is nothing for variables to stand for.
    let headers = worker.table(|table| table.defaults.headers.clone());
    if let Some(headers) = headers {
        let empty = hyper::Request::new(()).into_parts().0;
        let ready = headers.ready(&crate::ingress::action::template::Context::of(&empty));
        headers.edit(&ready, response.status(), response.headers_mut(), true);
    }
}
