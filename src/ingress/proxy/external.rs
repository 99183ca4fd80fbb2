// SPDX-License-Identifier: Apache-2.0
//! Asks another service whether a request may come in, and passes on what it says.

use std::sync::Arc;
use std::time::Instant;

use hyper::header::{HeaderMap, HeaderValue, SET_COOKIE};
use hyper::http::request::Parts;
use hyper::{Response, StatusCode};

use super::headers::Forwarded;
use super::{End, Exchange, Found, check, headers};
use crate::ingress::action::access::Ruling;
use crate::ingress::action::client_certificate::ClientCertificate;
use crate::ingress::action::external::{Answer, Asked, External, Verdict, is_added_to};
use crate::ingress::action::template::{Context, Place, Template};
use crate::ingress::body::Body;
use crate::ingress::errors::Refusal;
use crate::ingress::serve::Client;
use crate::ingress::services::{Limits, Question};

/// What a service wants the client to keep.
#[derive(Debug)]
pub(super) struct Cookies {
    values: Vec<HeaderValue>,
    /// Whatever the client is answered.
    always: bool,
}

impl Cookies {
    /// Adds them to the answer.
    pub(super) fn add(self, response: &mut Response<Body>) {
        if self.always || is_added_to(response.status()) {
            for value in self.values {
                response.headers_mut().append(SET_COOKIE, value);
            }
        }
    }
}

/// What is known of a request beside its head.
struct Facts {
    host: String,
    path: String,
    scheme: String,
    request_id: String,
    real: HeaderValue,
    chain: HeaderValue,
    best_host: Option<String>,
    port: u16,
    access_port: u16,
}

fn text(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

impl Facts {
    fn context<'a>(
        &'a self,
        found: &'a Found,
        client: &'a Client,
        parts: &'a Parts,
    ) -> Context<'a> {
        let bare = Context::of(parts);
        Context {
            scheme: client.scheme(),
            access_scheme: &self.scheme,
            host: &self.host,
            best_http_host: self.best_host.as_deref().unwrap_or(bare.http_host),
            path: &self.path,
            remote_addr: found.address(client, parts),
            server_port: self.port,
            access_port: self.access_port,
            request_id: &self.request_id,
            place: found
                .route()
                .map(|route| Place::of(route))
                .unwrap_or_default(),
            ..bare
        }
    }
}

impl Found {
    fn facts(&self, client: &Client, parts: &Parts) -> Result<Facts, Refusal> {
        let subject = check::subject_of(parts)?;
        let told = Forwarded::of(client, &self.settings, &parts.headers, None);
        let real = told.real.unwrap_or_else(|| client.address_value.clone());
        let id = parts.headers.get(headers::X_REQUEST_ID);
        let number = |value: &HeaderValue| value.to_str().ok()?.parse().ok();
        let port = number(&client.port_value).unwrap_or(0);
        Ok(Facts {
            host: subject.host.into_owned(),
            path: subject.path.into_owned(),
            scheme: text(&told.scheme),
            request_id: id.map(text).unwrap_or_default(),
            chain: told.chain.unwrap_or_else(|| real.clone()),
            real,
            best_host: told.host.as_ref().map(text),
            port,
            access_port: number(&told.port).unwrap_or(port),
        })
    }

    /// Asks a service, or remembers what it has said. What the endpoint is to be told is put into
    /// the request. Gives what is to be made of it, with the challenges of an answer of 401.
    pub(super) async fn ask_service(
        &self,
        (external, certificate): (&External, Option<&ClientCertificate>),
        client: &Client,
        parts: &mut Parts,
        exchange: &mut Exchange,
    ) -> Result<(Ruling, StatusCode, Vec<HeaderValue>), End> {
        headers::identify(&mut parts.headers);
        let facts = self.facts(client, parts)?;
        let context = facts.context(self, client, parts);
        let mut sent = parts.headers.clone();
        headers::without_hop(&mut sent, self.settings.underscores);
        if let Some(asked) = certificate {
            asked.tell(client.tls, client.greeting.shown.as_deref(), &mut sent);
        }
        let asked = Asked {
            context: &context,
            real: &facts.real,
            chain: &facts.chain,
        };
        external.edit(&asked, &mut sent);
        let answer = self.answer_of(external, &context, sent).await;
        let answer = answer.ok_or(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR))?;
        if !answer.cookies.is_empty() {
            exchange.set_cookies(Cookies {
                values: answer.cookies.clone(),
                always: external.always_set_cookie,
            });
        }
        answer.copy(external, &mut parts.headers);
        match answer.verdict() {
            Verdict::Pass => Ok((Ruling::Granted, answer.status, Vec::new())),
            Verdict::Denied(status) => Ok((Ruling::Refused, status, answer.challenges.clone())),
            Verdict::Broken => {
                let status = answer.status;
                tracing::debug!(%status, "a service does not say who may come in");
                Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR).into())
            }
        }
    }

    /// None if the service cannot be asked.
    async fn answer_of(
        &self,
        external: &External,
        context: &Context<'_>,
        headers: HeaderMap,
    ) -> Option<Arc<Answer>> {
        let url = external.url.render(context);
        let answers = &self.worker.guard().answers;
        let kept = external.cache.as_ref().map(|caching| {
            let place = context.place;
            let key = caching.key.render(context);
            let question = answers.question(place.server_name, place.location_path, &url, &key);
            (caching, question)
        });
        if let Some((_, question)) = &kept
            && let Some(answer) = answers.find(question, Instant::now())
        {
            return Some(answer);
        }
        let settings = self.route_settings();
        let question = Question {
            url: &url,
            method: external.method.clone().unwrap_or_default(),
            headers,
            limits: Limits {
                connect: settings.connect_timeout,
                answer: settings.read_timeout,
            },
            keep_alive: external.keep_alive,
        };
        let (status, headers) = match self.worker.services().ask(question).await {
            Ok(answered) => answered,
            Err(error) => {
                tracing::debug!(%error, url, "a service that says who may come in");
                return None;
            }
        };
        let answer = Arc::new(external.answer(status, &headers));
        if let Some((caching, question)) = kept
            && let Some(time) = caching.keeps(&answer, &headers)
        {
            answers.keep(&question, answer.clone(), (Instant::now(), time));
        }
        Some(answer)
    }

    /// Sends a client elsewhere to sign in.
    pub(super) fn sent_to(&self, signin: &Template, client: &Client, parts: &Parts) -> End {
        let rendered = self.facts(client, parts).map(|facts| {
            let context = facts.context(self, client, parts);
            signin.render(&context)
        });
        let location = match rendered {
            Ok(text) => HeaderValue::from_str(&text).map_err(|_| StatusCode::BAD_REQUEST.into()),
            Err(refusal) => Err(refusal),
        };
        match location {
            Ok(location) => End::Redirect(StatusCode::FOUND, location),
            Err(refusal) => End::Refusal(refusal),
        }
    }
}
