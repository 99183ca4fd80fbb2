// SPDX-License-Identifier: Apache-2.0
//! Sends copies of requests to mirrors, and throws their answers away. A request never waits for its
//! copy; a copy that cannot be sent is lost.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::BodyExt as _;
use hyper::Request;
use hyper::header::{CONTENT_LENGTH, HOST, HeaderMap, HeaderName};
use hyper::http::request::Parts;
use tokio::time::timeout;

use super::Found;
use super::check;
use super::context::context;
use super::directives::Original;
use super::headers::remove_hop_and_odd;
use crate::ingress::action::mirror::Mirror;
use crate::ingress::body::RequestBody;
use crate::ingress::catalog::is_elsewhere;
use crate::ingress::copy;
use crate::ingress::resolve;
use crate::ingress::serve::Client;
use crate::ingress::serve::worker::Worker;
use crate::ingress::table::{RouteSettings, UpstreamProtocol};
use crate::model::Target;

/// Bytes of a body that may wait for its mirror.
const WAITING: usize = 1 << 20;
/// Copies under way, on each thread.
const COPIES: usize = 256;
/// The most of an answer that is read, in bytes, so that its connection may be used again.
const ANSWER: usize = 1 << 20;
/// How long one copy may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a name's addresses are taken as they were.
const FRESH: Duration = resolve::AGAIN;
/// Names that are remembered, at most.
const NAMES: usize = 1024;

/// What a thread knows of mirrors.
#[derive(Debug, Default)]
pub(crate) struct Mirrors {
    under_way: Cell<usize>,
    names: RefCell<HashMap<Arc<str>, Known>>,
}

#[derive(Debug)]
struct Known {
    addresses: Rc<[IpAddr]>,
    since: Instant,
}

/// Counts as a copy for as long as it is kept.
struct Slot(Rc<Worker>);

impl Drop for Slot {
    fn drop(&mut self) {
        let under_way = &self.0.mirrors().under_way;
        under_way.set(under_way.get() - 1);
    }
}

/// Begins to copy a request. Where its body is to be copied to, if it is.
pub(super) fn begin(
    found: &Found,
    client: &Client,
    parts: &Parts,
    has_body: bool,
) -> Option<copy::Writer> {
    let mirror = found.route_settings().mirror.clone()?;
    let under_way = &found.worker.mirrors().under_way;
    if under_way.get() >= COPIES {
        tracing::debug!(host = %mirror.host, "too many copies are under way");
        return None;
    }
    let request = head(&mirror, found, client, parts)?;
    under_way.set(under_way.get() + 1);
    let slot = Slot(found.worker.clone());
    let (writer, body) = match has_body && mirror.body {
        true => {
            let (writer, reader) = copy::channel(WAITING);
            (Some(writer), RequestBody::copied(reader))
        }
        false => (None, RequestBody::empty()),
    };
    let request = request.map(|()| body);
    tokio::task::spawn_local(async move {
        if timeout(PATIENCE, send(&slot.0, &mirror, request)).await != Ok(Some(())) {
            tracing::debug!(host = %mirror.host, "a copy of a request is lost");
        }
    });
    writer
}

/// The client's head, without what is of its connection.
fn head(mirror: &Mirror, found: &Found, client: &Client, parts: &Parts) -> Option<Request<()>> {
    let subject = check::subject_of(parts).ok()?;
    let route = found.route().map(|route| &**route);
    let mut context = context(client, &found.settings, route, (parts, &subject));
    if let Some(Original(uri)) = parts.extensions.get() {
        context.uri = uri;
    }
    let mut request = Request::new(());
    *request.method_mut() = parts.method.clone();
    *request.uri_mut() = mirror.uri(&context)?;
    let mut headers: HeaderMap = parts.headers.clone();
    remove_hop_and_odd(&mut headers, found.settings.underscores);
    headers.insert(HOST, mirror.named.clone());
    if !mirror.body {
        headers.remove(CONTENT_LENGTH);
        headers.remove(HeaderName::from_static("trailer"));
    }
    *request.headers_mut() = headers;
    Some(request)
}

async fn send(worker: &Rc<Worker>, mirror: &Mirror, request: Request<RequestBody>) -> Option<()> {
    let addresses = addresses(worker, &mirror.host).await?;
    let target = Target {
        address: *addresses.get(fastrand::usize(..addresses.len().max(1)))?,
        port: mirror.port,
    };
    let protocol = match mirror.tls {
        true => UpstreamProtocol::Tls,
        false => UpstreamProtocol::Http1,
    };
    let settings = RouteSettings::default();
    let mut request = Some(request);
    // A connection that was used before may have been closed by now.
    for fresh in [false, true] {
        let upstreams = worker.upstreams();
        let connection = upstreams.connection(target, protocol, &settings, fresh);
        let mut lease = connection.await.ok()?;
        lease.set_most(worker.table(|table| table.settings.idle_upstream_connections));
        match lease.send(request.take()?).await {
            Ok(response) => {
                let mut body = response.into_body();
                let mut read = 0;
                while let Some(frame) = body.frame().await {
                    read += frame.ok()?.data_ref().map_or(0, bytes::Bytes::len);
                    if read > ANSWER {
                        return Some(());
                    }
                }
                lease.finish();
                return Some(());
            }
            Err(mut error) => request = error.take_message(),
        }
    }
    None
}

/// The addresses of a name, asked for off the thread. Those of before hold until there are new ones.
async fn addresses(worker: &Rc<Worker>, name: &Arc<str>) -> Option<Rc<[IpAddr]>> {
    if let Ok(address) = name.parse::<IpAddr>() {
        return is_elsewhere(&address).then(|| Rc::from([address]));
    }
    let now = Instant::now();
    let mut old = None;
    if let Some(known) = worker.mirrors().names.borrow_mut().get_mut(name) {
        if now.duration_since(known.since) < FRESH {
            return Some(known.addresses.clone());
        }
        // Others go on with these while one asks.
        known.since = now;
        old = Some(known.addresses.clone());
    }
    let found = resolve::look_up(name).await;
    let found: Option<Rc<[IpAddr]>> =
        found.map(|found| found.into_iter().filter(is_elsewhere).collect());
    let found = found.or(old)?;
    let mut names = worker.mirrors().names.borrow_mut();
    if names.len() >= NAMES {
        names.clear();
    }
    let known = Known {
        addresses: found.clone(),
        since: now,
    };
    names.insert(name.clone(), known);
    Some(found)
}
