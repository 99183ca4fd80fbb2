// SPDX-License-Identifier: Apache-2.0
//! What a request has to pass before it is handed on, in nginx's order: what its client showed when
//! TLS began, limits, addresses, a name and a password, another service.

use std::net::IpAddr;

use bytes::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use hyper::http::request::Parts;
use hyper::{Response, StatusCode};

use super::{End, Exchange, Found, check, headers};
use crate::ingress::action::access::Ruling;
use crate::ingress::action::basic::{Basic, Credentials};
use crate::ingress::action::client_certificate::{ClientCertificate, Refused};
use crate::ingress::action::gate::{Gate, Satisfy};
use crate::ingress::body::Body;
use crate::ingress::errors::{self, Refusal};
use crate::ingress::guard::{Checked, Over};
use crate::ingress::serve::Client;

/// An answer of our own with headers.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// None for the page of the status.
    pub(super) page: Option<Bytes>,
    /// Whether the connection ends with it.
    pub(super) close: bool,
}

impl Reply {
    pub(super) fn new(status: StatusCode) -> Self {
        Self {
            status,
            headers: HeaderMap::new(),
            page: None,
            close: false,
        }
    }

    pub(super) fn with(mut self, name: hyper::header::HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }

    pub(super) fn response(self, mut exchange: Box<Exchange>) -> Response<Body> {
        exchange.answered(self.status);
        let closes = self.close && !exchange.is_h2();
        let page = self.page.unwrap_or_else(|| errors::page(self.status));
        let mut response = Response::new(Body::page(page, Some(exchange)));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
        if closes {
            let close = HeaderValue::from_static("close");
            headers.insert(hyper::header::CONNECTION, close);
        }
        response
    }
}

impl From<Reply> for End {
    fn from(reply: Reply) -> Self {
        Self::Reply(Box::new(reply))
    }
}

impl Found {
    /// Who is it: blocked, or without the certificate that its host asks for? This goes before
    /// everything else, redirects too.
    pub(super) fn greet(&self, client: &Client, parts: &Parts) -> Result<(), End> {
        if let Some(blocks) = &self.settings.blocks
            && blocks.has(self.address(client, parts), &parts.headers)
        {
            return Err(Refusal::new(StatusCode::FORBIDDEN).into());
        }
        let gate = self.route_settings().gate.as_deref();
        match gate.and_then(|gate| gate.certificate.as_deref()) {
            Some(asked) => certified(asked, client, parts),
            None => Ok(()),
        }
    }

    /// The client, behind the proxies that are trusted.
    pub(super) fn address(&self, client: &Client, parts: &Parts) -> IpAddr {
        headers::address(client, &self.settings, &parts.headers)
    }

    /// Lets a request in, or says why not.
    pub(super) async fn enter(
        &self,
        client: &Client,
        parts: &mut Parts,
        exchange: &mut Exchange,
    ) -> Result<(), End> {
        match &self.route_settings().gate {
            // Seldom, and large: in a box it makes no request's future larger.
            Some(gate) => Box::pin(self.pass(gate, client, parts, exchange)).await,
            None => Ok(()),
        }
    }

    async fn pass(
        &self,
        gate: &Gate,
        client: &Client,
        parts: &mut Parts,
        exchange: &mut Exchange,
    ) -> Result<(), End> {
        let address = self.address(client, parts);
        self.limit(gate, address, exchange)?;
        let path = self.route().map_or("/", |route| &route.path);
        let open = (gate.basic.is_some() || gate.external.is_some()) && gate.is_open(path);
        let mut satisfy = Satisfy::new(gate.satisfy_any);
        satisfy.take(gate.access.of(address), StatusCode::FORBIDDEN);
        let mut denied = Reply::new(StatusCode::UNAUTHORIZED);
        if let Some(basic) = gate.basic.as_deref().filter(|_| !open) {
            if !satisfy.is_settled() {
                let ruling = self.log_in(basic, &parts.headers).await?;
                satisfy.take(ruling, StatusCode::UNAUTHORIZED);
                if ruling == Ruling::Refused {
                    denied = denied.with(WWW_AUTHENTICATE, basic.challenge.clone());
                }
            }
        }
        if let Some(external) = gate.external.as_deref().filter(|_| !open) {
            if satisfy.is_settled() {
                // What nobody has vouched for does not reach the endpoint.
                let names = external.response_headers.iter();
                names.for_each(|name| drop(parts.headers.remove(name)));
            } else {
                let asked = (external, gate.certificate.as_deref());
                let (ruling, status, challenges) =
                    self.ask_service(asked, client, parts, exchange).await?;
                satisfy.take(ruling, status);
                for challenge in challenges {
                    denied = denied.with(WWW_AUTHENTICATE, challenge);
                }
            }
        }
        if let Some(status) = satisfy.refusal() {
            return Err(self.refused(gate, status, denied, (client, parts)));
        }
        if gate.basic.is_some() && !open {
            parts.headers.remove(AUTHORIZATION);
        }
        if let Some(asked) = &gate.certificate {
            asked.tell(
                client.tls,
                client.greeting.shown.as_deref(),
                &mut parts.headers,
            );
        }
        Ok(())
    }

    fn limit(&self, gate: &Gate, address: IpAddr, exchange: &mut Exchange) -> Result<(), End> {
        let Some(limit) = &gate.limit else {
            return Ok(());
        };
        let zones = &self.worker.guard().zones;
        match zones.admit(limit, address, exchange.begun()) {
            Ok(slot) => {
                slot.into_iter().for_each(|slot| exchange.hold(slot));
                Ok(())
            }
            Err(Over::Rate) => Err(Refusal::new(gate.statuses.0).into()),
            Err(Over::Connections) => Err(Refusal::new(gate.statuses.1).into()),
        }
    }

    /// Whether the name and the password are good.
    async fn log_in(&self, basic: &Basic, headers: &HeaderMap) -> Result<Ruling, End> {
        let given = headers.get(AUTHORIZATION).and_then(Credentials::read);
        let Some(given) = given else {
            return Ok(Ruling::Refused);
        };
        let Some((hash, real)) = basic.users.find(&given.name) else {
            return Ok(Ruling::Refused);
        };
        let hashing = &self.worker.guard().hashing;
        let good = match hashing.check(hash, &given.name, &given.password, real) {
            Checked::Known(good) => Some(good),
            Checked::Wait(answer) => answer.await.ok(),
            Checked::Full => None,
        };
        match good {
            Some(true) => Ok(Ruling::Granted),
            Some(false) => Ok(Ruling::Refused),
            None => Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE).into()),
        }
    }

    /// The answer to who is kept out. ingress-nginx sends whoever is answered 401 to sign in, by
    /// whomever.
    fn refused(
        &self,
        gate: &Gate,
        status: StatusCode,
        denied: Reply,
        (client, parts): (&Client, &Parts),
    ) -> End {
        if status != StatusCode::UNAUTHORIZED {
            return Refusal::new(status).into();
        }
        let signin = gate
            .external
            .as_deref()
            .and_then(|external| external.signin.as_ref());
        match signin {
            Some(signin) => self.sent_to(signin, client, parts),
            None => denied.into(),
        }
    }
}

/// Whether the client has shown what its host asks for.
fn certified(asked: &ClientCertificate, client: &Client, parts: &Parts) -> Result<(), End> {
    if client.tls && asked.asks() {
        let subject = check::subject_of(parts)?;
        // It was asked for what another host wants to see.
        let named = client.greeting.host.as_deref();
        if named.is_some_and(|named| named != subject.host) {
            return Err(Refusal::last(StatusCode::MISDIRECTED_REQUEST).into());
        }
    }
    let bad = |why| Reply {
        page: Some(errors::bad_request(why)),
        close: true,
        ..Reply::new(StatusCode::BAD_REQUEST)
    };
    let refused = match asked.admit(client.tls, client.greeting.shown.as_deref()) {
        Ok(()) => return Ok(()),
        Err(refused) => refused,
    };
    Err(match (refused, &asked.error_page) {
        (Refused::None | Refused::Bad, Some(page)) => {
            End::Redirect(StatusCode::FOUND, page.clone())
        }
        (Refused::None, None) => bad("No required SSL certificate was sent").into(),
        (Refused::Bad, None) => bad("The SSL certificate error").into(),
        (Refused::Closed, _) => Refusal::new(StatusCode::FORBIDDEN).into(),
        (Refused::Subject, _) => Reply {
            page: Some(Bytes::from_static(b"client certificate unauthorized")),
            ..Reply::new(StatusCode::FORBIDDEN)
        }
        .into(),
    })
}
