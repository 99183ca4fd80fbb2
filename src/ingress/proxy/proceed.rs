// SPDX-License-Identifier: Apache-2.0
//! Hands a request on, and what comes back.

use std::rc::Rc;

use hyper::body::{Body as _, Incoming};
use hyper::http::request::Parts;
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response, StatusCode, Version};

use super::forward::Call;
use super::reply::Reply;
use super::upgrade::{self, Upgrade};
use super::{Answer, End, Exchange, Found, headers, mirror};
use crate::ingress::body::{Progress, RequestBody};
use crate::ingress::errors::Refusal;
use crate::ingress::serve::Client;
use crate::ingress::table::Behaviour;
use crate::ingress::upstream::{Lease, Spoken};

impl Found {
    /// Runs the route's actions and hands the request on.
    pub(super) async fn answer(
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
        let limit = self.admit(client, &parts, &incoming)?;
        self.enter(client, &mut parts, exchange).await?;
        self.choose(client, &parts, exchange);
        let (mut body, progress) = self.body(incoming, limit, exchange);
        if progress.is_some() && upgrading.is_none() && self.waits() {
            // In a box it makes the future of requests without body no larger.
            body = Box::pin(self.whole(body)).await?;
        }
        self.can_carry(&body, client.h2 && upgrading.is_some())?;
        if let Some(copy) = mirror::begin(&self, client, &parts, progress.is_some()) {
            body.copy_to(copy);
        }
        let upgrading = upgrading.filter(|_| !self.speaks_h2() && !self.speaks_http10());
        let (protocol, ours) = upgrading.map(|u| (u.protocol, u.ours)).unzip();
        let place = self.place(client, &parts);
        let parts = self.head(client, parts, protocol, reply)?;
        let call = self.call(client, progress);
        let request = Request::from_parts(parts, body);
        let (response, lease) = call.forward(request, exchange).await?;
        self.returned(client, (response, lease), ours, place.as_deref())
    }

    /// What needs no look at gates. How many bytes the body may have.
    fn admit(&self, client: &Client, parts: &Parts, incoming: &Incoming) -> Result<u64, End> {
        let limit = match self.route_settings().body_limit {
            0 => u64::MAX,
            limit => limit,
        };
        if incoming.size_hint().lower() > limit {
            return Err(Refusal::last(StatusCode::PAYLOAD_TOO_LARGE).into());
        }
        self.redirect(client, parts)?;
        match self.refusal {
            Some(refusal) => Err(refusal.into()),
            None => Ok(limit),
        }
    }

    fn speaks_http10(&self) -> bool {
        self.route_settings().http10 && !self.speaks_h2()
    }

    /// Whether the upstream's protocol has a way to say it; a tunnel is asked for over HTTP/2.
    fn can_carry(&self, body: &RequestBody, tunnel: bool) -> Result<(), End> {
        if self.speaks_http10() && body.size_hint().exact().is_none() {
            return Err(Refusal::last(StatusCode::LENGTH_REQUIRED).into());
        }
        match tunnel && self.speaks_h2() {
            true => Err(Refusal::new(StatusCode::NOT_IMPLEMENTED).into()),
            false => Ok(()),
        }
    }

    fn call(&self, client: &Client, progress: Option<Rc<Progress>>) -> Call<'_> {
        let settings = self.route_settings();
        Call {
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
        }
    }

    /// An endpoint has answered. `place`: the URL that its redirects are seen from.
    fn returned(
        self,
        client: &Client,
        (mut response, lease): (Response<Incoming>, Lease),
        ours: Option<OnUpgrade>,
        place: Option<&str>,
    ) -> Result<Answer, End> {
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
        if self.route_settings().behaviour == Behaviour::IngressNginx {
            headers::remove_accel(response.headers_mut());
        }
        if let Some(origin) = &self.route_settings().origin {
            origin.apply(response.headers_mut(), place);
        }
        Ok(Answer::Upstream(response, lease, self))
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
