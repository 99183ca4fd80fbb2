// SPDX-License-Identifier: Apache-2.0
//! A connection for the time of one request.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::{Request, Response};

use super::{Idle, Link, Pool, Shared};
use crate::ingress::balance::Balancer;
use crate::ingress::body::RequestBody;
use crate::model::Target;

/// What became of a request: its response, or an error, with the request if it was not sent.
pub(crate) type Sent = Result<Response<Incoming>, TrySendError<Request<RequestBody>>>;

/// A connection that is lent to a request. Dropping it closes an HTTP/1.1 connection: what is
/// under way on it cannot be told from the next response.
pub(crate) struct Lease {
    connection: Connection,
    reused: bool,
    /// Idle connections that are kept, at most.
    most: usize,
    _load: Option<Load>,
}

enum Connection {
    Own(Rc<Pool>, Idle),
    Shared(Busy),
}

/// Counts as a request on a shared connection.
struct Busy(Shared);

impl Lease {
    pub(super) fn own(pool: Rc<Pool>, idle: Idle, reused: bool) -> Self {
        Self::new(Connection::Own(pool, idle), reused)
    }

    pub(super) fn shared(shared: Shared, reused: bool) -> Self {
        shared.requests.set(shared.requests.get() + 1);
        Self::new(Connection::Shared(Busy(shared)), reused)
    }

    fn new(connection: Connection, reused: bool) -> Self {
        Self {
            connection,
            reused,
            most: 0,
            _load: None,
        }
    }

    pub(super) fn link(&self) -> &Link {
        match &self.connection {
            Connection::Own(_, idle) => &idle.link,
            Connection::Shared(Busy(shared)) => &shared.link,
        }
    }

    /// Whether it has served another request before: the endpoint may have closed it just now.
    pub(crate) fn reused(&self) -> bool {
        self.reused
    }

    /// Keeps it afterwards, unless so many wait already.
    pub(crate) fn set_most(&mut self, most: usize) {
        self.most = most;
    }

    /// Counts as load of the endpoint for as long as the request lasts.
    pub(crate) fn set_load(&mut self, load: Option<Load>) {
        self._load = load;
    }

    /// Sends a request.
    pub(crate) async fn send(&mut self, request: Request<RequestBody>) -> Sent {
        match &mut self.connection {
            Connection::Own(_, idle) => idle.sender.try_send_request(request).await,
            Connection::Shared(Busy(shared)) => shared.sender.try_send_request(request).await,
        }
    }

    /// The response has been read to its end: the connection may serve the next request.
    pub(crate) fn finish(self) {
        let most = self.most;
        let Connection::Own(pool, mut idle) = self.connection else {
            return;
        };
        if most == 0 || idle.sender.is_closed() {
            return;
        }
        idle.since = None;
        if idle.sender.is_ready() {
            pool.keep(idle, most);
            return;
        }
        // It may still be sending the request.
        tokio::task::spawn_local(async move {
            if idle.sender.ready().await.is_ok() {
                pool.keep(idle, most);
            }
        });
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.requests.set(self.0.requests.get().saturating_sub(1));
        self.0.used.set(Instant::now());
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").finish_non_exhaustive()
    }
}

/// One request under way to an endpoint, as a balancer counts it.
#[derive(Debug)]
pub(crate) struct Load {
    balancer: Rc<RefCell<Balancer>>,
    target: Target,
    begun: Instant,
    took: Option<Duration>,
    /// Of the worker, when the request began.
    now: Duration,
}

impl Load {
    /// Begins.
    pub(crate) fn begin(balancer: Rc<RefCell<Balancer>>, target: Target, now: Duration) -> Self {
        balancer.borrow_mut().begin(target);
        Self {
            balancer,
            target,
            begun: Instant::now(),
            took: None,
            now,
        }
    }

    /// The head of the response has come.
    pub(crate) fn answered(&mut self) {
        self.took = Some(self.begun.elapsed());
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let now = self.now + self.begun.elapsed();
        let mut balancer = self.balancer.borrow_mut();
        balancer.end(self.target, self.took, now);
    }
}
