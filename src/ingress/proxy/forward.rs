// SPDX-License-Identifier: Apache-2.0
//! Gets a response from one of the endpoints of an upstream, as nginx does with
//! `proxy_next_upstream error timeout`.

use std::error::Error as _;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, ready};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use tokio::time::{Instant, sleep_until};

use super::exchange::Exchange;
use super::spare::Spare;
use crate::ingress::balance::{self, Balancer};
use crate::ingress::body::{Broken, Progress, RequestBody};
use crate::ingress::errors::Refusal;
use crate::ingress::serve::worker::Worker;
use crate::ingress::table::{RouteSettings, Upstream};
use crate::ingress::upstream::{ConnectError, Lease, Load, Sent};
use crate::model::Target;

/// A request that is to be handed on.
pub(super) struct Call<'a> {
    pub(super) worker: &'a Rc<Worker>,
    pub(super) upstream: &'a Upstream,
    pub(super) settings: &'a RouteSettings,
    pub(super) most_idle: usize,
    pub(super) key: Option<u64>,
    /// Of the request's body, if it has one.
    pub(super) progress: Option<Rc<Progress>>,
}

/// An endpoint did not answer.
struct Failed {
    status: StatusCode,
    /// For the metric.
    reason: &'static str,
    /// The request, if it may be sent again.
    request: Option<Box<Request<RequestBody>>>,
}

type Answered = (Response<Incoming>, Lease);

impl Call<'_> {
    /// Tries endpoints until one answers, or the request may not be sent again.
    pub(super) async fn forward(
        &self,
        mut request: Request<RequestBody>,
        exchange: &mut Exchange,
    ) -> Result<Answered, Refusal> {
        exchange.sends(request.headers());
        // A clock is read anew only where time has passed.
        let mut begun = exchange.begun();
        let balancer = self.worker.upstreams().balancer(self.upstream, begun);
        let most = match self.settings.tries {
            0 => usize::MAX,
            tries => tries,
        };
        let mut status = StatusCode::SERVICE_UNAVAILABLE;
        let mut tried: Vec<Target> = Vec::new();
        while tried.len() < most {
            let wish = balance::Request {
                tried: &tried,
                key: self.key,
                random: fastrand::u64(..),
                now: self.worker.elapsed(begun),
            };
            let endpoints = &self.upstream.endpoints;
            let picked = balancer
                .borrow_mut()
                .pick(&self.upstream.balance, endpoints, &wish);
            let Some(target) = picked else { break };
            if !tried.is_empty() {
                self.worker.meters().retried();
            }
            let load = Balancer::measures(&self.upstream.balance)
                .then(|| Load::begin(balancer.clone(), target, wish.now));
            let failed = match self.ask(target, request, load, begun).await {
                Ok(answered) => {
                    exchange.attempted(target, Some(answered.0.status()), begun);
                    return Ok(answered);
                }
                Err(failed) => failed,
            };
            exchange.attempted(target, None, begun);
            self.worker.meters().upstream_failed(failed.reason);
            status = failed.status;
            match failed.request {
                Some(again) => request = *again,
                None => break,
            }
            tried.push(target);
            begun = std::time::Instant::now();
        }
        Err(match status {
            StatusCode::BAD_GATEWAY
            | StatusCode::GATEWAY_TIMEOUT
            | StatusCode::SERVICE_UNAVAILABLE => Refusal::new(status),
            // The client is at fault, and what it sends next is the rest of this request.
            status => Refusal::last(status),
        })
    }

    /// Asks one endpoint. A connection that has been used before may have been closed by the
    /// endpoint just now; then a new one is tried, which is no second try.
    async fn ask(
        &self,
        target: Target,
        mut request: Request<RequestBody>,
        mut load: Option<Load>,
        begun: std::time::Instant,
    ) -> Result<Answered, Failed> {
        let mut fresh = false;
        loop {
            let mut lease = match self.connection(target, fresh).await {
                Ok(lease) => lease,
                Err(error) => return Err(unreachable(&error, request)),
            };
            lease.set_most(self.most_idle);
            let spare = self.may_repeat(&request).then(|| Spare::of(&request));
            let reused = lease.reused();
            let since = match reused && !fresh {
                true => begun.into(),
                // Connecting has taken a while.
                false => Instant::now(),
            };
            let sent = self.send(&mut lease, request, since).await;
            let mut failed = match sent {
                Ok(response) => {
                    if let Some(load) = &mut load {
                        load.answered();
                    }
                    lease.set_load(load);
                    return Ok((response, lease));
                }
                Err(failed) => failed,
            };
            failed.request = failed.request.or_else(|| Some(Box::new(spare?.request()?)));
            match failed.request {
                Some(again) if reused && !fresh && failed.reason == "broken" => {
                    request = *again;
                    fresh = true;
                }
                _ => return Err(failed),
            }
        }
    }

    async fn connection(&self, target: Target, fresh: bool) -> Result<Lease, ConnectError> {
        let protocol = self.upstream.protocol;
        let upstreams = self.worker.upstreams();
        upstreams
            .connection(target, protocol, self.settings, fresh)
            .await
    }

    /// Whether a request may be sent again that the endpoint may have seen.
    fn may_repeat(&self, request: &Request<RequestBody>) -> bool {
        let once = matches!(*request.method(), Method::POST | Method::PATCH)
            || request.method().as_str() == "LOCK";
        request.body().is_empty() && (!once || self.settings.retry_non_idempotent)
    }

    /// Sends a request and waits for the head of the response. An upload may take its time; from
    /// its end on the endpoint has `read_timeout`.
    async fn send(
        &self,
        lease: &mut Lease,
        request: Request<RequestBody>,
        since: Instant,
    ) -> Result<Response<Incoming>, Failed> {
        let limit = self.settings.read_timeout;
        let mut sending = pin!(lease.send(request));
        let mut timer = pin!(sleep_until(since + limit));
        poll_fn(|cx| {
            loop {
                if let Poll::Ready(sent) = sending.as_mut().poll(cx) {
                    return Poll::Ready(self.judge(sent));
                }
                ready!(timer.as_mut().poll(cx));
                match self.deadline(limit) {
                    Some(deadline) => timer.as_mut().reset(deadline),
                    None => return Poll::Ready(Err(self.failed("timeout"))),
                }
            }
        })
        .await
    }

    /// Until when an endpoint that has not answered yet is waited for, if any longer.
    fn deadline(&self, limit: Duration) -> Option<Instant> {
        let progress = self.progress.as_ref()?;
        let now = Instant::now();
        let since = if progress.done.get() {
            progress.moved.get()?
        } else {
            now
        };
        Some(since + limit).filter(|deadline| *deadline > now)
    }

    fn judge(&self, sent: Sent) -> Result<Response<Incoming>, Failed> {
        sent.map_err(|mut error| {
            let reason = if timed_out(error.error()) {
                "timeout"
            } else {
                "broken"
            };
            let mut failed = self.failed(reason);
            let started = self.progress.as_ref().is_some_and(|p| p.started.get());
            failed.request = error.take_message().filter(|_| !started).map(Box::new);
            failed
        })
    }

    /// What a failure is to the client. If its own body broke off, that is why.
    fn failed(&self, reason: &'static str) -> Failed {
        let broken = self.progress.as_ref().and_then(|p| p.broken.get());
        let (status, reason) = match (broken, reason) {
            (Some(Broken::TooLarge), _) => (StatusCode::PAYLOAD_TOO_LARGE, "client"),
            (Some(Broken::TimedOut), _) => (StatusCode::REQUEST_TIMEOUT, "client"),
            (Some(_), _) => (StatusCode::BAD_REQUEST, "client"),
            (None, "timeout") => (StatusCode::GATEWAY_TIMEOUT, reason),
            (None, _) => (StatusCode::BAD_GATEWAY, reason),
        };
        Failed {
            status,
            reason,
            request: None,
        }
    }
}

fn unreachable(error: &ConnectError, request: Request<RequestBody>) -> Failed {
    let (status, reason) = match error {
        ConnectError::TimedOut => (StatusCode::GATEWAY_TIMEOUT, "connect_timeout"),
        _ => (StatusCode::BAD_GATEWAY, "connect"),
    };
    tracing::debug!(%error, "an endpoint cannot be reached");
    Failed {
        status,
        reason,
        request: Some(Box::new(request)),
    }
}

/// Whether the endpoint did not read what it was sent for too long.
fn timed_out(error: &hyper::Error) -> bool {
    let cause = error.source().and_then(|e| e.downcast_ref::<io::Error>());
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::TimedOut)
}
