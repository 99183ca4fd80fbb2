// SPDX-License-Identifier: Apache-2.0
//! A request from its head to the end of its response: measured, and logged when it is over.

use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::body::{Frame, Incoming};
use hyper::header::{HOST, HeaderMap, REFERER, USER_AGENT};
use hyper::{Method, Request, StatusCode};

use super::external::Cookies;
use super::headers::X_REQUEST_ID;
use crate::ingress::access_log::{Attempt, Entry};
use crate::ingress::body::{Broken, Progress};
use crate::ingress::guard::Slot;
use crate::ingress::nginx_metrics;
use crate::ingress::serve::Client;
use crate::ingress::serve::worker::Worker;
use crate::ingress::table::{Route, Upstream};
use crate::model::Target;

/// One request and its response. It is over when it is dropped.
#[derive(Debug)]
pub(crate) struct Exchange {
    worker: Rc<Worker>,
    client: Rc<Client>,
    begun: Instant,
    number: u64,
    status: Option<StatusCode>,
    bytes: u64,
    entry: Option<Box<Entry>>,
    counted: Option<Box<Counted>>,
    /// A place among the requests that may be under way.
    slot: Option<Slot>,
    cookies: Option<Box<Cookies>>,
    stranger: bool,
}

/// What metrics by ingress-nginx's names want to know.
#[derive(Debug)]
struct Counted {
    method: Method,
    head: u64,
    way: Option<(Arc<Route>, Arc<Upstream>)>,
    canary: Option<Arc<Upstream>>,
    progress: Option<Rc<Progress>>,
}

impl Counted {
    fn new(request: &Request<Incoming>) -> Box<Self> {
        let fields = request.headers().iter();
        let fields = fields.map(|(name, value)| name.as_str().len() + value.len() + 4);
        let uri = request
            .uri()
            .path_and_query()
            .map_or(0, |uri| uri.as_str().len());
        // `GET /path HTTP/1.1`, an empty line, and line ends.
        let head = request.method().as_str().len() + uri + 14 + fields.sum::<usize>();
        Box::new(Self {
            method: request.method().clone(),
            head: head as u64,
            way: None,
            canary: None,
            progress: None,
        })
    }
}

impl Exchange {
    /// A request has come.
    pub(super) fn begin(
        worker: Rc<Worker>,
        client: Rc<Client>,
        request: &Request<Incoming>,
    ) -> Box<Self> {
        let entry = worker.log().map(|_| {
            let header = |name| request.headers().get(name).cloned();
            Box::new(Entry {
                client: client.address,
                tls: client.tls,
                method: request.method().clone(),
                uri: request.uri().clone(),
                version: request.version(),
                host: header(HOST),
                agent: header(USER_AGENT),
                referer: header(REFERER),
                ..Entry::default()
            })
        });
        let counted = worker.nginx().map(|_| Counted::new(request));
        Box::new(Self {
            counted,
            begun: Instant::now(),
            number: worker.number(),
            status: None,
            bytes: 0,
            stranger: false,
            worker,
            client,
            entry,
            slot: None,
            cookies: None,
        })
    }

    /// Keeps a place among the requests that may be under way until the exchange is over.
    pub(super) fn hold(&mut self, slot: Slot) {
        self.slot = Some(slot);
    }

    /// What is to be added to the answer, whoever gives it.
    pub(super) fn set_cookies(&mut self, cookies: Cookies) {
        self.cookies = Some(Box::new(cookies));
    }

    /// The same; nothing is left.
    pub(super) fn take_cookies(&mut self) -> Option<Box<Cookies>> {
        self.cookies.take()
    }

    /// Its client has not shown what its host asks for.
    pub(super) fn stranger(&mut self) {
        self.stranger = true;
    }

    pub(super) fn is_stranger(&self) -> bool {
        self.stranger
    }

    /// When it came.
    pub(super) fn begun(&self) -> Instant {
        self.begun
    }

    pub(super) fn is_h2(&self) -> bool {
        self.client.h2
    }

    /// Where it goes.
    pub(super) fn goes_to(&mut self, route: Option<&Arc<Route>>, upstream: &Arc<Upstream>) {
        if route.is_some_and(|route| !route.settings.access_log) {
            self.entry = None;
        }
        if let Some(counted) = &mut self.counted {
            counted.way = route.cloned().map(|route| (route, upstream.clone()));
        }
        if let Some(entry) = &mut self.entry {
            entry.route = route.cloned();
            entry.upstream = Some(upstream.clone());
        }
    }

    /// It goes to a canary instead.
    pub(super) fn diverted(&mut self, canary: &Arc<Upstream>) {
        if let Some(counted) = &mut self.counted {
            counted.canary = Some(canary.clone());
        }
        if let Some(entry) = &mut self.entry {
            entry.upstream = Some(canary.clone());
        }
    }

    /// Its body, of which bytes are counted.
    pub(super) fn has_body(&mut self, progress: &Rc<Progress>) {
        if let Some(counted) = &mut self.counted {
            counted.progress = Some(progress.clone());
        }
    }

    fn count(&mut self, took: Duration) {
        let (Some(counted), Some(nginx)) = (self.counted.take(), self.worker.nginx()) else {
            return;
        };
        let (Some((route, upstream)), Some(status)) = (&counted.way, self.status) else {
            return;
        };
        let body = counted
            .progress
            .as_ref()
            .map_or(0, |progress| progress.bytes.get());
        nginx.borrow_mut().count(&nginx_metrics::Request {
            route,
            upstream,
            canary: counted.canary.as_deref(),
            method: &counted.method,
            status,
            took,
            received: counted.head + body,
            sent: self.bytes,
        });
    }

    /// What the endpoint is sent.
    pub(super) fn sends(&mut self, headers: &HeaderMap) {
        if let Some(entry) = &mut self.entry {
            entry.request_id = headers.get(X_REQUEST_ID).cloned();
        }
    }

    /// An endpoint has answered, or not.
    pub(super) fn attempted(&mut self, target: Target, status: Option<StatusCode>, begun: Instant) {
        if let Some(entry) = &mut self.entry {
            entry.attempts.push(Attempt {
                target,
                status,
                took: begun.elapsed(),
            });
        }
    }

    /// What the client is answered.
    pub(super) fn answered(&mut self, status: StatusCode) {
        self.status = Some(status);
    }

    /// It has become a tunnel, for as long as what is returned is kept.
    pub(super) fn tunnel(self: Box<Self>) -> Tunnel {
        self.worker.meters().tunnels(1);
        Tunnel(self)
    }

    /// The client's side has asked for more of the response.
    pub(crate) fn polled(&mut self, polled: &Poll<Option<Result<Frame<Bytes>, Broken>>>) {
        let frame = match polled {
            Poll::Ready(Some(Ok(frame))) => frame,
            Poll::Ready(Some(Err(broken))) => {
                self.worker.meters().upstream_failed(match broken {
                    Broken::UpstreamTimedOut => "body_timeout",
                    _ => "body",
                });
                return;
            }
            Poll::Pending | Poll::Ready(None) => {
                if self.client.h2 {
                    self.client.state.flows(self.number);
                }
                return;
            }
        };
        self.bytes += frame.data_ref().map_or(0, Bytes::len) as u64;
        if self.client.h2 {
            self.client.state.flows(self.number);
            self.client.state.stalls(self.number);
        }
    }
}

/// Counts as a tunnel.
pub(super) struct Tunnel(Box<Exchange>);

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.0.worker.meters().tunnels(-1);
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if self.client.h2 {
            self.client.state.flows(self.number);
        }
        self.client.state.end();
        let took = self.begun.elapsed();
        let meters = self.worker.meters();
        meters.answered(self.status, took);
        self.count(took);
        let meters = self.worker.meters();
        if let (Some(mut entry), Some(log)) = (self.entry.take(), self.worker.log()) {
            entry.status = self.status;
            entry.bytes = self.bytes;
            entry.took = took;
            if !log.write(entry) {
                meters.log_dropped();
            }
        }
    }
}
