// SPDX-License-Identifier: Apache-2.0
//! Asks a default backend for an answer in place of an error, as ingress-nginx's `custom-http-errors`
//! does: for `/`, by the method of the request, without its body.

use std::rc::Rc;
use std::sync::Arc;

use hyper::header::{CONTENT_LENGTH, HOST, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use hyper::http::request::Parts;
use hyper::http::uri::PathAndQuery;
use hyper::{Method, Request, StatusCode, Uri, Version};

use super::directives::Original;
use super::exchange::Exchange;
use super::forward::Call;
use super::reply::Reply;
use super::{Answer, End, Found, headers};
use crate::ingress::action::errors::{self, Instead};
use crate::ingress::action::template::Place;
use crate::ingress::body::RequestBody;
use crate::ingress::errors::{Refusal, is_grpc};
use crate::ingress::serve::Client;
use crate::ingress::upstream::Spoken;

/// A request as it came.
pub(super) struct Asked {
    found: Found,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
}

impl Asked {
    pub(super) fn of(found: &Found, parts: &Parts) -> Self {
        let original = parts.extensions.get::<Original>();
        Self {
            found: found.again(),
            method: parts.method.clone(),
            uri: original.map_or(&parts.uri, |original| &original.0).clone(),
            headers: parts.headers.clone(),
        }
    }

    fn original_uri(&self) -> &str {
        self.uri.path_and_query().map_or("/", PathAndQuery::as_str)
    }

    /// `/`, with the query.
    fn root(&self) -> Uri {
        let query = self.uri.query();
        let root = query.map(|query| format!("/?{query}").parse());
        root.and_then(Result::ok).unwrap_or_default()
    }
}

/// Whether an answer is an error that somebody else answers.
fn instead(reply: &Reply, answer: &Result<Answer, End>) -> Option<(StatusCode, Instead)> {
    let asked = reply.asked.as_ref()?;
    // Clients of gRPC read no pages.
    let errors = asked.found.route_settings().errors.as_ref()?;
    let errors = Some(errors).filter(|_| !is_grpc(&asked.headers))?;
    let (status, ours) = match answer {
        Ok(Answer::Upstream(response, ..)) => (response.status(), false),
        Ok(Answer::Tunnel(..)) | Err(End::Redirect(..)) => return None,
        Err(End::Refusal(refusal)) => (refusal.status, true),
        Err(End::Ready(response)) => (response.status(), true),
        Err(End::Denied(denial)) => (denial.status, true),
    };
    Some((status, errors.instead(status, ours)?))
}

/// The answer, or that of a default backend in its place.
pub(super) async fn replace(
    reply: Option<&mut Reply>,
    client: &Client,
    answer: Result<Answer, End>,
    exchange: &mut Exchange,
) -> Result<Answer, End> {
    let Some(reply) = reply else { return answer };
    let Some((status, instead)) = instead(reply, &answer) else {
        return answer;
    };
    let challenges = challenges(&answer);
    // It may be large, and its endpoint's connection is not needed any more.
    drop(answer);
    let Some(asked) = reply.asked.take() else {
        return Err(Refusal::new(status).into());
    };
    reply.replaced = true;
    let mut answer = Box::pin(asked.ask(client, status, instead, exchange)).await;
    if let Ok(Answer::Upstream(response, ..)) = &mut answer {
        challenge(response.headers_mut(), challenges);
    }
    answer
}

/// How a client may say who it is: a browser that is not told asks nobody for a password. As in
/// nginx, whoever answers in place of a 401.
fn challenges(answer: &Result<Answer, End>) -> Vec<HeaderValue> {
    let (status, headers) = match answer {
        Ok(Answer::Upstream(response, ..)) => (response.status(), response.headers()),
        Err(End::Denied(denial)) => (denial.status, &denial.headers),
        _ => return Vec::new(),
    };
    let all = headers.get_all(WWW_AUTHENTICATE).iter();
    let counts = status == StatusCode::UNAUTHORIZED;
    all.filter(|_| counts).cloned().collect()
}

fn challenge(headers: &mut HeaderMap, challenges: Vec<HeaderValue>) {
    if headers.contains_key(WWW_AUTHENTICATE) {
        return;
    }
    for challenge in challenges {
        headers.append(WWW_AUTHENTICATE, challenge);
    }
}

impl Asked {
    async fn ask(
        mut self,
        client: &Client,
        status: StatusCode,
        instead: Instead,
        exchange: &mut Exchange,
    ) -> Result<Answer, End> {
        self.found.upstream = match instead {
            Instead::Own(backend) => backend,
            Instead::Everybody => {
                let backend = self
                    .found
                    .worker
                    .table(|table| table.default_backend.clone());
                // What ingress-nginx's own default backend says.
                backend.ok_or(Refusal::new(StatusCode::NOT_FOUND))?
            }
        };
        let mut parts = Request::new(()).into_parts().0;
        parts.method = self.method.clone();
        parts.uri = self.root();
        parts.headers = self.headers.clone();
        parts.headers.remove(CONTENT_LENGTH);
        let host = parts.headers.get(HOST).cloned();
        let mut parts = self.found.onward(client, parts, (None, None));
        if let Some(host) = host.filter(|_| !self.found.speaks_h2()) {
            parts.headers.insert(HOST, host);
        }
        headers::remove_forwarded(&mut parts.headers);
        let uri = self.original_uri().to_owned();
        self.found.tell(status, Some(&uri), &mut parts.headers);
        let call = Call {
            worker: &self.found.worker,
            upstream: &self.found.upstream,
            settings: self.found.route_settings(),
            most_idle: self.found.settings.idle_upstream_connections,
            key: 0,
            session: None,
            speech: Spoken {
                protocol: self.found.upstream.protocol.for_client(client.tls),
                tls: self.found.upstream.tls.clone(),
            },
            progress: None,
        };
        let request = Request::from_parts(parts, RequestBody::empty());
        let (mut response, lease) = call.forward(request, exchange).await?;
        *response.version_mut() = Version::HTTP_11;
        if response.status().is_informational() {
            return Err(Refusal::new(StatusCode::BAD_GATEWAY).into());
        }
        headers::edit_response(response.headers_mut(), false);
        Ok(Answer::Upstream(response, lease, self.found))
    }
}

impl Found {
    /// The same once more.
    fn again(&self) -> Self {
        Self {
            worker: Rc::clone(&self.worker),
            settings: Arc::clone(&self.settings),
            way: self.way.clone(),
            upstream: Arc::clone(&self.upstream),
            key: 0,
            session: None,
            refusal: None,
        }
    }

    /// Takes the default backend where there is no endpoint. Whether it does.
    pub(super) fn fall_back(&mut self) -> bool {
        if !self.upstream.endpoints.is_empty() || self.refusal.is_some() {
            return false;
        }
        let errors = self.route_settings().errors.as_ref();
        let backend = errors.and_then(|errors| errors.usable()).cloned();
        backend.is_some_and(|backend| {
            self.upstream = backend;
            true
        })
    }

    /// Tells a default backend what it answers for.
    pub(super) fn tell(&self, status: StatusCode, uri: Option<&str>, headers: &mut HeaderMap) {
        let place = self.route().map(|route| Place::of(route));
        errors::tell(status, &place.unwrap_or_default(), uri, headers);
    }
}
