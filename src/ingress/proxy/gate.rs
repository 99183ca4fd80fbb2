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
pub(super) struct Denial {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// None for the page of the status.
    pub(super) page: Option<Bytes>,
    /// Whether the connection ends with it.
    pub(super) close: bool,
}

impl Denial {
    pub(super) fn new(status: StatusCode) -> Self {
        Self {
            status,
            headers: HeaderMap::new(),
            page: None,
            close: false,
        }
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

/// What those have said who keep somebody out.
struct SoFar {
    satisfy: Satisfy,
    /// What an answer of 401 asks for.
    challenges: Vec<HeaderValue>,
    /// `Authorization` is for us, not for the endpoint.
    secret: bool,
}

impl SoFar {
    fn new(any: bool) -> Self {
        Self {
            satisfy: Satisfy::new(any),
            challenges: Vec::new(),
            secret: false,
        }
    }
}

impl From<Denial> for End {
    fn from(reply: Denial) -> Self {
        Self::Denied(Box::new(reply))
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
        let mut so_far = SoFar::new(gate.satisfy_any);
        let ruling = gate.access.of(address);
        so_far.satisfy.take(ruling, StatusCode::FORBIDDEN);
        if let Some(basic) = gate.basic.as_deref().filter(|_| !open) {
            self.log_in(basic, &parts.headers, &mut so_far).await?;
            so_far.secret = true;
        }
        if let Some(external) = gate.external.as_deref() {
            if open || so_far.satisfy.is_settled() {
                // What nobody has vouched for does not reach the endpoint.
                let names = external.response_headers.iter();
                names.for_each(|name| drop(parts.headers.remove(name)));
            } else {
                let asked = (external, gate.certificate.as_deref());
                let (ruling, status, challenges) =
                    self.ask_service(asked, client, parts, exchange).await?;
                so_far.satisfy.take(ruling, status);
                so_far.challenges.extend(challenges);
            }
        }
        if let Some(status) = so_far.satisfy.refusal() {
            return Err(self.refused(gate, (status, so_far.challenges), (client, parts)));
        }
        if so_far.secret {
            parts.headers.remove(AUTHORIZATION);
        }
        if let Some(asked) = &gate.certificate {
            let shown = client.greeting.shown.as_deref();
            asked.tell(client.tls, shown, &mut parts.headers);
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

    /// Asks for a name and a password, unless nobody needs them any more.
    async fn log_in(
        &self,
        basic: &Basic,
        headers: &HeaderMap,
        so_far: &mut SoFar,
    ) -> Result<(), End> {
        if so_far.satisfy.is_settled() {
            return Ok(());
        }
        let given = headers.get(AUTHORIZATION).and_then(Credentials::read);
        let ruling = match given {
            Some(given) => self.verify(basic, &given).await?,
            None => Ruling::Refused,
        };
        so_far.satisfy.take(ruling, StatusCode::UNAUTHORIZED);
        if ruling == Ruling::Refused {
            so_far.challenges.push(basic.challenge.clone());
        }
        Ok(())
    }

    /// Whether the name and the password are good.
    async fn verify(&self, basic: &Basic, given: &Credentials) -> Result<Ruling, End> {
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
        (status, challenges): (StatusCode, Vec<HeaderValue>),
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
            None => {
                let mut reply = Denial::new(status);
                for challenge in challenges {
                    reply.headers.append(WWW_AUTHENTICATE, challenge);
                }
                reply.into()
            }
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
    let bad = |why| Denial {
        page: Some(errors::bad_request(why)),
        close: true,
        ..Denial::new(StatusCode::BAD_REQUEST)
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
        (Refused::Subject, _) => Denial {
            page: Some(Bytes::from_static(b"client certificate unauthorized")),
            ..Denial::new(StatusCode::FORBIDDEN)
        }
        .into(),
    })
}
