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
mod gate;
mod headers;
mod intercept;
pub(crate) mod mirror;
mod reply;
mod spare;
mod tunnel;
mod upgrade;
mod whole;

use std::convert::Infallible;
use std::rc::Rc;
use std::sync::{Arc, LazyLock};

use hyper::body::{Body as _, Incoming};
use hyper::header::{
    CONNECTION, CONTENT_TYPE, HOST, HeaderValue, LOCATION, STRICT_TRANSPORT_SECURITY,
};
use hyper::http::request::Parts;
use hyper::http::uri::{self, Authority, Scheme};
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response, StatusCode, Uri, Version};

use self::check::Raw;
use self::check::Subject;
use self::forward::Call;
use self::gate::Denial;
use self::headers::Onward;
use self::reply::Reply;
use self::upgrade::Upgrade;
use super::body::Body;
use super::errors::{self, Refusal, page};
use super::serve::Client;
use super::serve::worker::Worker;
use super::table::{
    Backend, Balance, Behaviour, Route, RouteSettings, Settings, Table, Upstream, UpstreamId,
    UpstreamProtocol,
};
use super::upstream::{Lease, Spoken};
use crate::model::ServiceName;

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

/// How a request came to where it goes.
#[derive(Clone)]
enum Way {
    Route(Arc<Route>),
    /// To the default backend, in this way.
    Default(Arc<RouteSettings>),
}

/// Where a request goes.
pub(super) struct Found {
    worker: Rc<Worker>,
    settings: Arc<Settings>,
    way: Way,
    upstream: Arc<Upstream>,
    /// What answers when nothing else has, in place of the upstream.
    refusal: Option<Refusal>,
    key: u32,
    session: Option<Box<choose::Session>>,
}

/// The upstream of routes that have none.
static NOBODY: LazyLock<Arc<Upstream>> = LazyLock::new(|| {
    Arc::new(Upstream {
        id: UpstreamId {
            service: ServiceName::new("", ""),
            port: "".into(),
            protocol: UpstreamProtocol::default(),
            variant: "".into(),
        },
        endpoints: Arc::default(),
        protocol: UpstreamProtocol::default(),
        balance: Balance::default(),
        sessions: None,
        tls: None,
    })
});

/// Checks a request and finds where it goes.
fn find(
    worker: &Rc<Worker>,
    request: &Request<Incoming>,
    raw: Option<Raw>,
) -> Result<Found, Refusal> {
    let subject = check::subject(request, raw)?;
    seek(worker, &subject)
}

/// Finds where a request goes.
fn seek(worker: &Rc<Worker>, subject: &Subject<'_>) -> Result<Found, Refusal> {
    worker.table(|table| {
        let route = table.router.find(&subject.host, &subject.path).cloned();
        if is_health(&table.settings, route.as_deref(), subject) {
            return Err(Refusal::new(StatusCode::OK));
        }
        let (upstream, refusal) = match upstream(table, route.as_deref()) {
            Ok(upstream) => (upstream.clone(), None),
            Err(refusal) if route.is_some() => (NOBODY.clone(), Some(refusal)),
            Err(refusal) => return Err(refusal),
        };
        Ok(Found {
            worker: worker.clone(),
            settings: table.settings.clone(),
            way: match route {
                Some(route) => Way::Route(route),
                None => Way::Default(table.defaults.clone()),
            },
            upstream,
            refusal,
            key: 0,
            session: None,
        })
    })
}

/// Whether somebody looks whether we are alive. As in ingress-nginx's server for all other names, a
/// longer path of an Ingress goes before.
fn is_health(settings: &Settings, route: Option<&Route>, subject: &Subject<'_>) -> bool {
    settings.health.as_deref().is_some_and(|health| {
        let own = |route: &Route| !route.host.is_empty() || route.path.starts_with(health);
        subject.path.starts_with(health) && !route.is_some_and(own)
    })
}

fn upstream<'a>(table: &'a Table, route: Option<&'a Route>) -> Result<&'a Arc<Upstream>, Refusal> {
    match route.map(|route| &route.backend) {
        Some(Backend::Upstream(upstream)) => Ok(upstream),
        Some(Backend::Status(status)) => {
            let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
            Err(Refusal::new(status))
        }
        None if table.defaults.denied.is_some() && !table.defaults.left_out => {
            Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE))
        }
        Some(Backend::Default) | None => table
            .default_backend
            .as_ref()
            .ok_or(Refusal::new(StatusCode::NOT_FOUND)),
    }
}

impl Found {
    fn route_settings(&self) -> &RouteSettings {
        match &self.way {
            Way::Route(route) => &route.settings,
            Way::Default(settings) => settings,
        }
    }

    fn route(&self) -> Option<&Arc<Route>> {
        match &self.way {
            Way::Route(route) => Some(route),
            Way::Default(_) => None,
        }
    }

    /// Runs the route's actions and hands the request on.
    async fn answer(
        self,
        client: &Client,
        request: Request<Incoming>,
        upgrading: Option<Upgrade>,
        (exchange, reply): (&mut Exchange, &mut Option<Box<Reply>>),
    ) -> Result<Answer, End> {
        let (mut parts, incoming) = request.into_parts();
        if let Err(end) = self.greet(client, &parts) {
            exchange.stranger();
            return Err(end);
        }
        let (mut found, end) = self.directives(client, &mut parts);
        *reply = Reply::of(&found, client, &mut parts);
        let falls_back = found.fall_back();
        if found.refusal.is_none() {
            exchange.goes_to(found.route(), &found.upstream);
        }
        if let Some(end) = end {
            return Err(end);
        }
        let reply = reply.as_deref().map(|reply| (reply, falls_back));
        found
            .proceed(client, (parts, incoming), upgrading, (exchange, reply))
            .await
    }

    /// The same, when it is known where it goes.
    async fn proceed(
        mut self,
        client: &Client,
        (mut parts, incoming): (Parts, Incoming),
        upgrading: Option<Upgrade>,
        (exchange, reply): (&mut Exchange, Option<(&Reply, bool)>),
    ) -> Result<Answer, End> {
        let limit = match self.route_settings().body_limit {
            0 => u64::MAX,
            limit => limit,
        };
        if incoming.size_hint().lower() > limit {
            return Err(Refusal::last(StatusCode::PAYLOAD_TOO_LARGE).into());
        }
        self.redirect(client, &parts)?;
        if let Some(refusal) = self.refusal {
            return Err(refusal.into());
        }
        self.enter(client, &mut parts, exchange).await?;
        self.choose(client, &parts, exchange);
        let settings = self.route_settings();
        let http10 = settings.http10 && !self.speaks_h2();
        let (mut body, progress) = self.body(incoming, limit, exchange);
        if progress.is_some() && upgrading.is_none() && self.waits() {
            // In a box it makes the future of requests without body no larger.
            body = Box::pin(self.whole(body)).await?;
        }
        if http10 && body.size_hint().exact().is_none() {
            return Err(Refusal::last(StatusCode::LENGTH_REQUIRED).into());
        }
        if client.h2 && upgrading.is_some() && self.speaks_h2() {
            return Err(Refusal::new(StatusCode::NOT_IMPLEMENTED).into());
        }
        if let Some(copy) = mirror::begin(&self, client, &parts, progress.is_some()) {
            body.copy_to(copy);
        }
        let upgrading = upgrading.filter(|_| !self.speaks_h2() && !http10);
        let (protocol, ours) = upgrading.map(|u| (u.protocol, u.ours)).unzip();
        let named = self.named(client, &parts);
        let place = self.place(client, &parts);
        self.rewrite(client, &mut parts)?;
        let mut parts = self.onward(client, parts, (protocol, named));
        if let Some((reply, falls_back)) = reply {
            reply.onward(&mut parts, ours.is_some(), self.speaks_h2());
            if falls_back {
                self.tell(StatusCode::SERVICE_UNAVAILABLE, None, &mut parts.headers);
            }
        }
        let call = Call {
            worker: &self.worker,
            upstream: &self.upstream,
            settings,
            most_idle: settings
                .idle_upstream_connections
                .unwrap_or(self.settings.idle_upstream_connections),
            key: self.key,
            session: self.session.as_deref(),
            speech: Spoken {
                protocol: self.upstream.protocol.for_client(client.tls),
                tls: self.upstream.tls.clone(),
            },
            progress,
        };
        let request = Request::from_parts(parts, body);
        let (mut response, lease) = call.forward(request, exchange).await?;
        *response.version_mut() = Version::HTTP_11;
        self.remember(client, response.headers_mut());
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return self.upgraded(response, ours, client.h2);
        }
        if client.h2 && ours.is_some() && response.status().is_success() {
            // To the client it would mean that there is a WebSocket.
            return Err(Refusal::new(StatusCode::BAD_GATEWAY).into());
        }
        headers::edit_response(response.headers_mut(), false);
        if settings.behaviour == Behaviour::IngressNginx {
            headers::remove_accel(response.headers_mut());
        }
        if let Some(origin) = &self.route_settings().origin {
            origin.apply(response.headers_mut(), place.as_deref());
        }
        Ok(Answer::Upstream(response, lease, self))
    }

    fn speaks_h2(&self) -> bool {
        use UpstreamProtocol::{H2Tls, H2c};
        matches!(self.upstream.protocol, H2c | H2Tls)
    }

    /// The head that the endpoint is sent.
    fn onward(
        &self,
        client: &Client,
        mut parts: Parts,
        (upgrade, named): (Option<HeaderValue>, Option<HeaderValue>),
    ) -> Parts {
        let host = parts.headers.get(HOST).cloned();
        let host = host.or_else(|| HeaderValue::from_str(parts.uri.authority()?.as_str()).ok());
        let host = match self.route_settings().behaviour {
            Behaviour::IngressNginx => headers::best_host(client, &parts.headers).or(host),
            Behaviour::Spec => host,
        };
        let upstream_host = named.or_else(|| host.clone());
        let h2 = self.speaks_h2();
        if h2 || parts.uri.authority().is_some() {
            parts.uri = self.uri(&parts.uri, upstream_host.as_ref().filter(|_| h2));
        }
        parts.version = match self.route_settings().http10 {
            _ if h2 => Version::HTTP_2,
            true => Version::HTTP_10,
            false => Version::HTTP_11,
        };
        parts.extensions.clear();
        let onward = Onward {
            client,
            settings: &self.settings,
            host,
            upstream_host: upstream_host.or(Some(HeaderValue::from_static("_"))),
            upgrade,
            h2,
        };
        onward.edit(&mut parts.headers);
        parts
    }

    /// The path with the query, and for HTTP/2 scheme and authority too.
    fn uri(&self, uri: &Uri, authority: Option<&HeaderValue>) -> Uri {
        let mut parts = uri::Parts::default();
        parts.path_and_query = uri.path_and_query().cloned();
        if self.speaks_h2() {
            let tls = self.upstream.protocol == UpstreamProtocol::H2Tls;
            let authority = authority.and_then(|host| Authority::try_from(host.as_bytes()).ok());
            parts.scheme = Some(if tls { Scheme::HTTPS } else { Scheme::HTTP });
            parts.authority = authority.or(Some(Authority::from_static("_")));
        }
        Uri::from_parts(parts).unwrap_or_default()
    }

    /// The endpoint wants the connection to become a tunnel. Not before this is a byte of either
    /// side passed on as it is.
    fn upgraded(
        self,
        mut response: Response<Incoming>,
        ours: Option<OnUpgrade>,
        h2: bool,
    ) -> Result<Answer, End> {
        let ours = ours.ok_or(Refusal::new(StatusCode::BAD_GATEWAY))?;
        let theirs = hyper::upgrade::on(&mut response);
        let mut response = response.map(drop);
        match h2 {
            true => upgrade::agree_over_h2(&mut response),
            false => headers::edit_response(response.headers_mut(), true),
        }
        Ok(Answer::Tunnel(response, self, (ours, theirs)))
    }
}
