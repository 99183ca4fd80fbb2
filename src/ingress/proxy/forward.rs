// SPDX-License-Identifier: Apache-2.0
//! Gets a response from one of the endpoints of an upstream, as nginx does with
//! `proxy_next_upstream error timeout`.

use std::cell::RefCell;
use std::error::Error as _;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, ready};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode, Version};
use tokio::time::{Instant, sleep_until};

use super::choose::Session;
use super::exchange::Exchange;
use super::spare::Spare;
use crate::ingress::balance::{self, Balancer};
use crate::ingress::body::{Broken, Progress, RequestBody};
use crate::ingress::errors::Refusal;
use crate::ingress::serve::worker::Worker;
use crate::ingress::table::{Behaviour, RouteSettings, Upstream};
use crate::ingress::upstream::{ConnectError, Lease, Load, Sent, Spoken};
use crate::model::Target;

/// A request that is to be handed on.
pub(super) struct Call<'a> {
    pub(super) worker: &'a Rc<Worker>,
    pub(super) upstream: &'a Upstream,
    pub(super) settings: &'a RouteSettings,
    pub(super) most_idle: usize,
    pub(super) key: u32,
    pub(super) session: Option<&'a Session>,
    pub(super) speech: Spoken,
    /// Of the request's body, if it has one.
    pub(super) progress: Option<Rc<Progress>>,
}

/// What went wrong, as far as it decides whether another endpoint is asked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cause {
    Error,
    Timeout,
    /// The answer is no HTTP, or its head is too long.
    Invalid,
    Client,
}

/// An endpoint did not answer.
struct Failed {
    status: StatusCode,
    cause: Cause,
    /// For the metric.
    reason: &'static str,
    /// The request, if it may be sent again.
    request: Option<Box<Request<RequestBody>>>,
}

/// After so many attempts none goes to an endpoint that was tried before, whatever an Ingress says.
const ROUND: usize = 16;

/// Which endpoints have been tried.
#[derive(Default)]
struct Tried {
    /// In this round.
    endpoints: Vec<Target>,
    /// Of all rounds.
    attempts: usize,
}

impl Tried {
    fn add(&mut self, target: Target) {
        self.endpoints.push(target);
        self.attempts += 1;
    }
}

type Answered = (Response<Incoming>, Lease);

/// An answer, with the request if the answer is one that makes it be sent again.
type Asked = (Answered, Option<Box<Spare>>);

impl Call<'_> {
    /// Tries endpoints until one answers, or the request may not be sent again.
    pub(super) async fn forward(
        &self,
        mut request: Request<RequestBody>,
        exchange: &mut Exchange,
    ) -> Result<Answered, Refusal> {
        exchange.sends(request.headers());
        // A clock is read anew only where time has passed: a body may have taken its time.
        let first = match self.progress {
            Some(_) => std::time::Instant::now(),
            None => exchange.begun(),
        };
        let mut begun = first;
        let balancer = self.worker.upstreams().balancer(self.upstream, begun);
        let mut status = StatusCode::SERVICE_UNAVAILABLE;
        let mut tried = Tried::default();
        while tried.attempts < self.most() {
            let now = self.worker.elapsed(begun);
            let Some(target) = self.next(&balancer, &mut tried, now) else {
                break;
            };
            if tried.attempts > 0 {
                self.worker.meters().retried();
            }
            let load = Balancer::measures(&self.upstream.balance)
                .then(|| Load::begin(balancer.clone(), target, now));
            let asked = self.ask(target, request, load, begun).await;
            let answer = asked
                .as_ref()
                .ok()
                .map(|((response, _), _)| response.status());
            exchange.attempted(target, answer, begun);
            let again = match asked {
                Ok((answered, None)) => return Ok(answered),
                Ok((answered, Some(spare))) => {
                    tried.add(target);
                    let another = self.is_another(&tried) && self.has_time(first);
                    let Some(again) = spare.request().filter(|_| another) else {
                        return Ok(answered);
                    };
                    self.worker.meters().upstream_failed("status");
                    Some(Box::new(again))
                }
                Err(failed) => {
                    tried.add(target);
                    self.worker.meters().upstream_failed(failed.reason);
                    status = failed.status;
                    let retries = self.retries(failed.cause) && self.has_time(first);
                    failed.request.filter(|_| retries)
                }
            };
            let Some(again) = again else { break };
            request = *again;
            begun = std::time::Instant::now();
        }
        Err(refusal(status))
    }

    /// The most endpoints that are tried.
    fn most(&self) -> usize {
        match self.settings.tries {
            0 => self.upstream.endpoints.len(),
            tries => tries,
        }
    }

    /// The endpoint of an attempt: one that was not tried, or one of all once more.
    fn next(
        &self,
        balancer: &RefCell<Balancer>,
        tried: &mut Tried,
        now: Duration,
    ) -> Option<Target> {
        let found = self.pick(balancer, &tried.endpoints, now);
        if found.is_some() || !self.goes_round(tried) {
            return found;
        }
        tried.endpoints.clear();
        self.pick(balancer, &tried.endpoints, now)
    }

    /// Whether endpoints that were tried are tried once more: in ingress-nginx, whose tries are
    /// attempts and not endpoints.
    fn goes_round(&self, tried: &Tried) -> bool {
        self.settings.behaviour == Behaviour::IngressNginx && tried.attempts < ROUND
    }

    fn pick(
        &self,
        balancer: &RefCell<Balancer>,
        tried: &[Target],
        now: Duration,
    ) -> Option<Target> {
        if let Some(session) = self.session {
            return session.pick(tried);
        }
        let wish = balance::Request {
            tried,
            key: self.key,
            random: fastrand::u64(..),
            now,
        };
        let endpoints = &self.upstream.endpoints;
        balancer
            .borrow_mut()
            .pick(&self.upstream.balance, endpoints, &wish)
    }

    /// Whether there is an endpoint for one more attempt.
    fn is_another(&self, tried: &Tried) -> bool {
        let same = self.session.is_some_and(Session::stays) || self.goes_round(tried);
        let mut endpoints = self.upstream.endpoints.iter();
        let is_new = |target: &Target| !tried.endpoints.contains(target);
        tried.attempts < self.most() && (same || endpoints.any(is_new))
    }

    /// Whether endpoints may still be tried.
    fn has_time(&self, since: std::time::Instant) -> bool {
        let within = self.settings.retry.within;
        within.is_none_or(|within| since.elapsed() < within)
    }

    fn retries(&self, cause: Cause) -> bool {
        let retry = &self.settings.retry;
        match cause {
            Cause::Error => retry.error,
            Cause::Timeout => retry.timeout,
            Cause::Invalid => retry.invalid_header,
            Cause::Client => false,
        }
    }

    /// Asks one endpoint. A connection that has been used before may have been closed by the
    /// endpoint just now; then a new one is tried, which is no second try.
    async fn ask(
        &self,
        target: Target,
        mut request: Request<RequestBody>,
        mut load: Option<Load>,
        begun: std::time::Instant,
    ) -> Result<Asked, Failed> {
        let mut fresh = false;
        loop {
            let mut lease = match self.connection(target, fresh).await {
                Ok(lease) => lease,
                Err(error) => return Err(unreachable(&error, request)),
            };
            lease.set_most(self.most_idle);
            let spare = self.may_repeat(&request).then(|| Spare::of(&request));
            let spare = spare.flatten();
            let reused = lease.reused();
            let since = match reused && !fresh {
                true => begun.into(),
                // Connecting has taken a while.
                false => Instant::now(),
            };
            let sent = self.send(&mut lease, request, since).await;
            let mut failed = match sent.and_then(|response| self.measure(response)) {
                Ok(response) => {
                    if let Some(load) = &mut load {
                        load.answered();
                    }
                    lease.set_load(load);
                    let kept = self.settings.retry.on_status(response.status());
                    let spare = spare.filter(|_| kept).map(Box::new);
                    return Ok(((response, lease), spare));
                }
                Err(failed) => failed,
            };
            failed.request = failed.request.or_else(|| Some(Box::new(spare?.request()?)));
            match failed.request {
                Some(again) if reused && !fresh && failed.cause == Cause::Error => {
                    request = *again;
                    fresh = true;
                }
                _ => return Err(failed),
            }
        }
    }

    async fn connection(&self, target: Target, fresh: bool) -> Result<Lease, ConnectError> {
        let upstreams = self.worker.upstreams();
        let speech = self.speech.clone();
        upstreams
            .connection(target, speech, self.settings, fresh)
            .await
    }

    /// Whether a request may be sent again that the endpoint may have seen, if its body can be.
    fn may_repeat(&self, request: &Request<RequestBody>) -> bool {
        let once = matches!(*request.method(), Method::POST | Method::PATCH)
            || request.method().as_str() == "LOCK";
        !once || self.settings.retry_non_idempotent
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

    /// Takes a response unless its head is too long.
    fn measure(&self, response: Response<Incoming>) -> Result<Response<Incoming>, Failed> {
        let most = self.settings.response_head;
        if most.is_none_or(|most| head(&response) <= most) || response.version() == Version::HTTP_2
        {
            return Ok(response);
        }
        tracing::debug!("the head of an answer is longer than proxy-buffer-size");
        let mut failed = self.failed("broken");
        failed.cause = Cause::Invalid;
        Err(failed)
    }

    fn judge(&self, sent: Sent) -> Result<Response<Incoming>, Failed> {
        sent.map_err(|mut error| {
            let reason = if timed_out(error.error()) {
                "timeout"
            } else {
                "broken"
            };
            let mut failed = self.failed(reason);
            if error.error().is_parse() && failed.cause == Cause::Error {
                failed.cause = Cause::Invalid;
            }
            let started = self.progress.as_ref().is_some_and(|p| p.started.get());
            failed.request = error.take_message().filter(|_| !started).map(Box::new);
            failed
        })
    }

    /// What a failure is to the client. If its own body broke off, that is why.
    fn failed(&self, reason: &'static str) -> Failed {
        let broken = self.progress.as_ref().and_then(|p| p.broken.get());
        let (status, reason, cause) = match (broken, reason) {
            (Some(broken), _) => (client_at_fault(broken), "client", Cause::Client),
            (None, "timeout") => (StatusCode::GATEWAY_TIMEOUT, reason, Cause::Timeout),
            (None, _) => (StatusCode::BAD_GATEWAY, reason, Cause::Error),
        };
        Failed {
            status,
            cause,
            reason,
            request: None,
        }
    }
}

/// What a client is answered whose body ended early.
pub(super) fn client_at_fault(broken: Broken) -> StatusCode {
    match broken {
        Broken::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Broken::TimedOut => StatusCode::REQUEST_TIMEOUT,
        _ => StatusCode::BAD_REQUEST,
    }
}

fn refusal(status: StatusCode) -> Refusal {
    match status {
        StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT | StatusCode::SERVICE_UNAVAILABLE => {
            Refusal::new(status)
        }
        // The client is at fault, and what it sends next is the rest of this request.
        status => Refusal::last(status),
    }
}

fn unreachable(error: &ConnectError, request: Request<RequestBody>) -> Failed {
    let (status, reason, cause) = match error {
        ConnectError::TimedOut => (
            StatusCode::GATEWAY_TIMEOUT,
            "connect_timeout",
            Cause::Timeout,
        ),
        _ => (StatusCode::BAD_GATEWAY, "connect", Cause::Error),
    };
    tracing::debug!(%error, "an endpoint cannot be reached");
    Failed {
        status,
        cause,
        reason,
        request: Some(Box::new(request)),
    }
}

/// The bytes of a response's head, as it is usually written.
fn head(response: &Response<Incoming>) -> u64 {
    let fields = response.headers().iter();
    let fields = fields.map(|(name, value)| name.as_str().len() + value.len() + 4);
    let reason = response.status().canonical_reason().map_or(0, str::len);
    // `HTTP/1.1 200 OK`, an empty line, and line ends.
    (fields.sum::<usize>() + reason + 17) as u64
}

/// Whether the endpoint did not read what it was sent for too long.
fn timed_out(error: &hyper::Error) -> bool {
    let cause = error.source().and_then(|e| e.downcast_ref::<io::Error>());
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::TimedOut)
}
