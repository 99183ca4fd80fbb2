// SPDX-License-Identifier: Apache-2.0
//! Connections to endpoints, kept for the next request. Each serving thread has its own.

mod connect;
mod io;
mod lease;

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use hyper::client::conn::{http1, http2};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::sync::Notify;

use super::balance::Balancer;
use super::body::RequestBody;
use super::table::{RouteSettings, Upstream, UpstreamId, UpstreamProtocol};
use super::tls::UpstreamTls;
use crate::model::Target;

pub(crate) use self::connect::ConnectError;
use self::connect::Secured;
pub(crate) use self::lease::{Lease, Load, Sent};

/// Requests at a time on an HTTP/2 connection; one more opens another.
const STREAMS: usize = 100;

/// All connections of a thread, and what its balancers know.
#[derive(Default)]
pub(crate) struct Upstreams {
    pools: RefCell<HashMap<Key, Rc<Pool>>>,
    balancers: RefCell<HashMap<UpstreamId, Known>>,
    tls: OnceCell<Arc<ClientConfig>>,
    h2_tls: OnceCell<Arc<ClientConfig>>,
}

/// What makes two connections fit for the same request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    target: Target,
    speech: Spoken,
}

/// What is spoken to an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Spoken {
    /// Never [`UpstreamProtocol::Auto`], which counts as HTTP/1.1.
    pub(crate) protocol: UpstreamProtocol,
    /// How TLS is, where it is not as it is without annotations.
    pub(crate) tls: Option<Arc<UpstreamTls>>,
}

impl From<UpstreamProtocol> for Spoken {
    fn from(protocol: UpstreamProtocol) -> Self {
        let tls = None;
        Self { protocol, tls }
    }
}

struct Known {
    balancer: Rc<RefCell<Balancer>>,
    used: Instant,
}

/// The connections to one endpoint.
#[derive(Default)]
struct Pool {
    idle: RefCell<Vec<Idle>>,
    shared: RefCell<Vec<Shared>>,
    /// Somebody is opening a shared connection.
    opening: Cell<bool>,
    opened: Notify,
}

/// An HTTP/1.1 connection that waits.
struct Idle {
    sender: http1::SendRequest<RequestBody>,
    link: Arc<Link>,
    /// When it was first seen to wait: requests read no clock for it.
    since: Option<Instant>,
}

/// An HTTP/2 connection.
#[derive(Clone)]
struct Shared {
    sender: http2::SendRequest<RequestBody>,
    link: Arc<Link>,
    requests: Rc<Cell<usize>>,
    used: Rc<Cell<Instant>>,
}

/// What a connection is told by its requests.
#[derive(Debug)]
struct Link {
    /// The most milliseconds between two writes.
    send: AtomicU64,
}

impl Link {
    fn set_send(&self, limit: Duration) {
        let limit = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        self.send.store(limit, Relaxed);
    }
}

impl Upstreams {
    /// What is known of an upstream's endpoints, for a request at the time `now`.
    pub(crate) fn balancer(&self, upstream: &Upstream, now: Instant) -> Rc<RefCell<Balancer>> {
        let mut balancers = self.balancers.borrow_mut();
        if let Some(known) = balancers.get_mut(&upstream.id) {
            known.used = now;
            return known.balancer.clone();
        }
        let balancer = Rc::new(RefCell::new(Balancer::new(fastrand::u64(..))));
        let known = Known {
            balancer: balancer.clone(),
            used: now,
        };
        balancers.insert(upstream.id.clone(), known);
        balancer
    }

    /// A connection to an endpoint: one that waits, unless a `fresh` one is wanted.
    pub(crate) async fn connection(
        &self,
        target: Target,
        speech: impl Into<Spoken>,
        settings: &RouteSettings,
        fresh: bool,
    ) -> Result<Lease, ConnectError> {
        let key = Key {
            target,
            speech: speech.into(),
        };
        let pool = self.pool(&key);
        let lease = match key.speech.protocol {
            UpstreamProtocol::Http1 | UpstreamProtocol::Tls | UpstreamProtocol::Auto => {
                match pool.idle(fresh) {
                    Some(idle) => Lease::own(pool, idle, true),
                    None => {
                        // Seldom, and large: in a box it makes no request's future larger.
                        let opening = Box::pin(self.open_own(&key, settings.connect_timeout));
                        Lease::own(pool, opening.await?, false)
                    }
                }
            }
            UpstreamProtocol::H2c | UpstreamProtocol::H2Tls => {
                let (shared, reused) = match pool.with_room().filter(|_| !fresh) {
                    Some(shared) => (shared, true),
                    None => Box::pin(self.shared(&pool, &key, settings, fresh)).await?,
                };
                Lease::shared(shared, reused)
            }
        };
        lease.link().set_send(settings.send_timeout);
        Ok(lease)
    }

    fn pool(&self, key: &Key) -> Rc<Pool> {
        let mut pools = self.pools.borrow_mut();
        match pools.get(key) {
            Some(pool) => pool.clone(),
            None => pools.entry(key.clone()).or_default().clone(),
        }
    }

    async fn open_own(&self, key: &Key, limit: Duration) -> Result<Idle, ConnectError> {
        let (sender, link) = connect::own(self.tls(key)?, key.target, limit).await?;
        Ok(Idle {
            sender,
            link,
            since: None,
        })
    }

    /// An HTTP/2 connection with room for a request. Only one is opened at a time.
    async fn shared(
        &self,
        pool: &Rc<Pool>,
        key: &Key,
        settings: &RouteSettings,
        fresh: bool,
    ) -> Result<(Shared, bool), ConnectError> {
        loop {
            if let Some(shared) = pool.with_room().filter(|_| !fresh) {
                return Ok((shared, true));
            }
            if !pool.opening.get() {
                break;
            }
            pool.opened.notified().await;
        }
        let _opening = Opening::begin(pool);
        let tls = self.tls(key)?;
        let (sender, link) = connect::shared(tls, key.target, settings.connect_timeout).await?;
        let shared = Shared {
            sender,
            link,
            requests: Rc::default(),
            used: Rc::new(Cell::new(Instant::now())),
        };
        pool.shared.borrow_mut().push(shared.clone());
        Ok((shared, false))
    }

    fn tls(&self, key: &Key) -> Result<Option<Secured>, ConnectError> {
        let (kept, alpn): (_, &[u8]) = match key.speech.protocol {
            UpstreamProtocol::Http1 | UpstreamProtocol::H2c | UpstreamProtocol::Auto => {
                return Ok(None);
            }
            UpstreamProtocol::Tls => (&self.tls, b"http/1.1"),
            UpstreamProtocol::H2Tls => (&self.h2_tls, b"h2"),
        };
        if let Some(tls) = &key.speech.tls {
            let h2 = key.speech.protocol == UpstreamProtocol::H2Tls;
            return Ok(Some(Secured {
                config: tls.config(h2).clone(),
                name: tls.name.clone(),
            }));
        }
        let config = match kept.get() {
            Some(config) => config.clone(),
            None => {
                let config = super::tls::client_config(alpn).map_err(ConnectError::Tls)?;
                kept.get_or_init(|| config).clone()
            }
        };
        // By address: no name is sent, as nginx does.
        let name = ServerName::IpAddress(key.target.address.into());
        Ok(Some(Secured { config, name }))
    }

    /// Closes what has waited for longer than `keep`, and forgets balancers that nobody uses.
    pub(crate) fn sweep(&self, keep: Duration) {
        let now = Instant::now();
        self.pools.borrow_mut().retain(|_, pool| {
            pool.idle.borrow_mut().retain_mut(|idle| {
                let since = *idle.since.get_or_insert(now);
                !idle.sender.is_closed() && now.duration_since(since) < keep
            });
            pool.shared.borrow_mut().retain(|shared| {
                let used = shared.requests.get() > 0 || shared.used.get().elapsed() < keep;
                used && !shared.sender.is_closed()
            });
            Rc::strong_count(pool) > 1
                || !pool.idle.borrow().is_empty()
                || !pool.shared.borrow().is_empty()
        });
        self.balancers.borrow_mut().retain(|_, known| {
            Rc::strong_count(&known.balancer) > 1 || known.used.elapsed() < keep
        });
    }
}

impl Pool {
    /// The connection that has waited for the shortest time. `fresh` closes all that wait: what
    /// has just broken one has probably broken the others.
    fn idle(&self, fresh: bool) -> Option<Idle> {
        let mut idle = self.idle.borrow_mut();
        if fresh {
            idle.clear();
        }
        std::iter::from_fn(|| idle.pop()).find(|idle| idle.sender.is_ready())
    }

    /// Keeps a connection, and closes the one that has waited longest if there are too many.
    fn keep(&self, kept: Idle, most: usize) {
        let mut idle = self.idle.borrow_mut();
        idle.push(kept);
        if idle.len() > most {
            idle.remove(0);
        }
    }

    fn with_room(&self) -> Option<Shared> {
        let mut shared = self.shared.borrow_mut();
        shared.retain(|shared| !shared.sender.is_closed());
        let room = |shared: &&Shared| shared.requests.get() < STREAMS;
        shared.iter().find(room).cloned()
    }
}

/// Held by who opens a shared connection.
struct Opening<'a>(&'a Pool);

impl<'a> Opening<'a> {
    fn begin(pool: &'a Pool) -> Self {
        pool.opening.set(true);
        Self(pool)
    }
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        self.0.opening.set(false);
        self.0.opened.notify_waiters();
    }
}

impl fmt::Debug for Upstreams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstreams").finish_non_exhaustive()
    }
}
