// SPDX-License-Identifier: Apache-2.0
//! What comes first of a request, as in nginx's rewrite phase: the host's `rewrite` and `return`, a
//! browser's question whether it may ask from another origin, then those of the route.

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::http::request::Parts;
use hyper::http::uri;
use hyper::{Method, Response, StatusCode, Uri};

use super::check::{self, Subject};
use super::context::context;
use super::{End, Found, seek};
use crate::ingress::action::snippet::{Outcome, Seen, Step, run};
use crate::ingress::errors::{Refusal, page};
use crate::ingress::serve::Client;

/// How often a request may be looked up anew, as in nginx.
const ROUNDS: usize = 10;

/// What marks a request that `break` has kept where it is: nothing else rewrites it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settled;

/// The URI of a request that was rewritten, as it came.
#[derive(Debug, Clone)]
pub(super) struct Original(pub(super) Uri);

impl Found {
    /// Where a request goes after all directives, and its answer, if that is known by now.
    pub(super) fn directives(mut self, client: &Client, parts: &mut Parts) -> (Self, Option<End>) {
        let settings = self.route_settings();
        let idle = settings.host_steps.is_none() && settings.steps.is_none();
        if (idle && settings.cors.is_none()) || settings.denied.is_some() {
            return (self, None);
        }
        if let Some(steps) = self.route_settings().host_steps.clone() {
            match self.step(client, parts, &steps) {
                Ok(Some(found)) => self = found,
                Ok(None) => {}
                Err(end) => return (self, Some(end)),
            }
        }
        for _ in 0..ROUNDS {
            if self.is_preflight(parts) {
                return (self, Some(End::Ready(Box::new(preflight()))));
            }
            let Some(steps) = self.route_settings().steps.clone() else {
                return (self, None);
            };
            match self.step(client, parts, &steps) {
                Ok(Some(found)) => self = found,
                Ok(None) => return (self, None),
                Err(end) => return (self, Some(end)),
            }
        }
        let looped = Refusal::new(StatusCode::INTERNAL_SERVER_ERROR);
        (self, Some(looped.into()))
    }

    fn is_preflight(&self, parts: &Parts) -> bool {
        let cors = self.route_settings().cors.as_ref();
        let asks = |_: &_| parts.method == Method::OPTIONS;
        cors.filter(asks)
            .is_some_and(|cors| cors.allowed(&parts.headers).is_some())
    }

    /// Runs directives: where the request goes, if it is looked up anew.
    fn step(
        &self,
        client: &Client,
        parts: &mut Parts,
        steps: &[Step],
    ) -> Result<Option<Self>, End> {
        let subject = check::subject_of(parts)?;
        let seen = Seen {
            path: subject.path.to_string(),
            query: parts.uri.query().unwrap_or_default().to_owned(),
        };
        let route = self.route().map(|route| &**route);
        let context = context(client, &self.settings, route, (parts, &subject));
        let (seen, again) = match run(steps, seen, &context) {
            Outcome::Same => return Ok(None),
            Outcome::Break(seen) => (seen, false),
            Outcome::Last(seen) => (seen, true),
            Outcome::Redirect(status, place) => {
                return Err(redirect(client, &subject, status, &place));
            }
            Outcome::Answer(status, text) => return Err(answer(status, text)),
        };
        change(parts, &seen)?;
        if !again {
            parts.extensions.insert(Settled);
            return Ok(None);
        }
        let subject = check::subject_of(parts)?;
        let found = seek(&self.worker, &subject)?;
        Ok(Some(found))
    }
}

/// Puts a new path and query in place of those that came, which are kept aside.
fn change(parts: &mut Parts, seen: &Seen) -> Result<(), Refusal> {
    let broken = Refusal::new(StatusCode::INTERNAL_SERVER_ERROR);
    let path = seen.uri().parse().map_err(|_| broken)?;
    if parts.extensions.get::<Original>().is_none() {
        parts.extensions.insert(Original(parts.uri.clone()));
    }
    let mut uri = uri::Parts::from(std::mem::take(&mut parts.uri));
    uri.path_and_query = Some(path);
    parts.uri = Uri::from_parts(uri).map_err(|_| broken)?;
    Ok(())
}

/// What a browser is told, in the headers, before it asks from another origin.
fn preflight() -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// To a place, which is one of this host if it begins with a slash.
fn redirect(client: &Client, subject: &Subject<'_>, status: u16, place: &str) -> End {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::FOUND);
    let place = match place.starts_with('/') && !subject.host.is_empty() {
        true => format!("{}://{}{place}", client.scheme(), subject.host),
        false => place.to_owned(),
    };
    match HeaderValue::from_str(&place) {
        Ok(place) => End::Redirect(status, place),
        Err(_) => Refusal::new(StatusCode::INTERNAL_SERVER_ERROR).into(),
    }
}

fn answer(status: u16, text: String) -> End {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    if text.is_empty() && (status.is_client_error() || status.is_server_error()) {
        return Refusal::new(status).into();
    }
    let body = match text.is_empty() && !status.is_success() {
        true => page(status),
        false => Bytes::from(text),
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    if status != StatusCode::NO_CONTENT {
        let html = HeaderValue::from_static("text/html");
        response.headers_mut().insert(CONTENT_TYPE, html);
    }
    End::Ready(Box::new(response))
}
