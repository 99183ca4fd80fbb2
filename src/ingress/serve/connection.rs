// SPDX-License-Identifier: Apache-2.0
//! One client's connection: who it is, which protocol it speaks, and its requests.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::server::Acceptor;
use rustls_pki_types::UnixTime;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{LazyConfigAcceptor, TlsAcceptor};

use super::client::{Client, Greeting, Origin, trusted};
use super::io::{Io, Prefixed, Stream};
use super::proxy_protocol::{self, more};
use super::state::{HEAD_LIMIT, Limits, State, Verdict};
use super::worker::{Place, Worker};
use crate::ingress::action::client_certificate::Shown;
use crate::ingress::local::LocalExecutor;
use crate::ingress::proxy::handle;
use crate::ingress::table::{Settings, Table};
use crate::ingress::tls;

/// What an HTTP/2 connection begins with.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How long a connection on which nothing has come goes on when the server ends.
const GRACE: Duration = Duration::from_secs(1);
/// Until a load balancer has said who the client is.
const PROXY_PATIENCE: Duration = Duration::from_secs(5);
/// The most that is read ahead of a request, and kept of a response, in bytes.
const BUFFER: usize = 64 * 1024;

/// Serves a connection until its end.
pub(super) async fn serve(
    worker: Rc<Worker>,
    place: Place,
    stream: TcpStream,
    peer: SocketAddr,
    tls: bool,
) {
    let settings = worker.table(|table| table.settings.clone());
    let begun = begin(&worker, &settings, stream, peer, tls);
    let begun = tokio::select! {
        begun = timeout(settings.header_timeout, begun) => begun,
        () = late(&worker) => return,
    };
    let Ok(Ok((stream, origin, greeting))) = begun else {
        worker.meters().unbegun();
        return;
    };
    let limits = Limits {
        header: settings.header_timeout,
        keep_alive: settings.keep_alive,
        send: settings.send_timeout,
        requests: settings.keep_alive_requests,
    };
    let state = Arc::new(State::new(limits, !origin.h2));
    place.register(state.clone());
    let client = Rc::new(Client::new(
        origin,
        &settings,
        state.clone(),
        (place, greeting),
    ));
    let io = TokioIo::new(Io::new(stream, state.clone()));
    let served = worker.clone();
    let service = service_fn(move |request| handle(served.clone(), client.clone(), request));
    if origin.h2 {
        let connection = h2(&settings).serve_connection(io, service);
        // What was wrong with frames is nobody's request.
        let _ = drive(&state, connection, http2::Connection::graceful_shutdown).await;
    } else {
        let connection = h1().serve_connection(io, service).with_upgrades();
        let part = http1::UpgradeableConnection::graceful_shutdown;
        if let Some(Err(error)) = drive(&state, connection, part).await
            && error.is_parse()
        {
            worker.meters().malformed();
        }
    }
}

/// Returns once a connection that has not begun holds up the end of the worker.
async fn late(worker: &Worker) {
    worker.drains().await;
    sleep(GRACE).await;
}

/// Polls a connection until it has ended, or is to be ended.
async fn drive<C: Future>(
    state: &State,
    connection: C,
    part: impl Fn(Pin<&mut C>),
) -> Option<C::Output> {
    let mut connection = pin!(connection);
    let mut timer = pin!(sleep(Duration::ZERO));
    let (mut registered, mut parted) = (false, false);
    let end = poll_fn(|cx| {
        if !registered {
            state.waker.register(cx.waker());
            registered = true;
        }
        loop {
            if let Poll::Ready(end) = connection.as_mut().poll(cx) {
                return Poll::Ready(Some(end));
            }
            if state.parts() && !parted {
                parted = true;
                part(connection.as_mut());
                continue;
            }
            ready!(timer.as_mut().poll(cx));
            match state.verdict() {
                Verdict::Wait(pause) => timer.as_mut().reset(Instant::now() + pause),
                Verdict::Part => state.part(),
                Verdict::End => return Poll::Ready(None),
            }
        }
    });
    end.await
}

/// Not with `pipeline_flush`: it buffers responses without limit, and loses the answers to heads
/// that do not parse.
fn h1() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .max_header_size(HEAD_LIMIT)
        .max_buf_size(BUFFER)
        // The connection's own timer does it.
        .header_read_timeout(None);
    builder
}

fn h2(settings: &Settings) -> http2::Builder<LocalExecutor> {
    let mut builder = http2::Builder::new(LocalExecutor);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(settings.streams)
        .max_header_list_size(HEAD_LIMIT as u32)
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(100)
        .initial_stream_window_size(256 * 1024)
        .initial_connection_window_size(1024 * 1024)
        .max_send_buf_size(BUFFER)
        // WebSockets (RFC 8441).
        .enable_connect_protocol()
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20));
    builder
}

/// All that comes before the first request.
async fn begin(
    worker: &Worker,
    settings: &Settings,
    stream: TcpStream,
    peer: SocketAddr,
    over_tls: bool,
) -> io::Result<(Stream, Origin, Greeting)> {
    let mut first = BytesMut::new();
    let mut origin = Origin {
        peer,
        told: None,
        port: stream.local_addr()?.port(),
        tls: over_tls,
        h2: false,
    };
    if settings.proxy_protocol && trusted(settings, peer.ip()) {
        let told = timeout(PROXY_PATIENCE, proxy_protocol::read(&stream, &mut first)).await;
        origin.told = told.map_err(io::Error::other)??;
    }
    if !over_tls {
        origin.h2 = preface(&stream, &mut first).await?;
    }
    let stream = Prefixed {
        first: first.freeze(),
        stream,
    };
    if !over_tls {
        return Ok((Stream::Plain(stream), origin, Greeting::default()));
    }
    let (stream, shown) = match worker.table(Table::greets_all_alike) {
        true => (TlsAcceptor::from(worker.tls()).accept(stream).await?, None),
        // Seldom, and large.
        false => Box::pin(ask(worker, stream)).await?,
    };
    let session = stream.get_ref().1;
    origin.h2 = session.alpn_protocol() == Some(b"h2");
    let greeting = Greeting {
        host: session
            .server_name()
            .map(|name| name.to_ascii_lowercase().into()),
        shown,
    };
    Ok((Stream::Tls(Box::new(stream)), origin, greeting))
}

/// Begins TLS as the host has it, and asks for a certificate if it wants one.
async fn ask(
    worker: &Worker,
    stream: Prefixed,
) -> io::Result<(TlsStream<Prefixed>, Option<Box<Shown>>)> {
    let started = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
    let host = started
        .client_hello()
        .server_name()
        .map(str::to_ascii_lowercase);
    let host = host.as_deref();
    let (asked, handshake) = worker.table(|table| {
        let asked = host.and_then(|host| table.asks(host));
        (asked.cloned(), table.handshake(host))
    });
    let config = worker.tls_for(&handshake).map_err(io::Error::other)?;
    let Some(asked) = asked else {
        return Ok((started.into_stream(config).await?, None));
    };
    let config = tls::asking(&config, &handshake, &asked).map_err(io::Error::other)?;
    let stream = started.into_stream(config).await?;
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let shown = tls::shown(&asked, chain, UnixTime::now());
    Ok((stream, shown.map(Box::new)))
}

/// Whether HTTP/2 is spoken.
async fn preface(stream: &TcpStream, first: &mut BytesMut) -> io::Result<bool> {
    loop {
        let seen = first.len().min(PREFACE.len());
        if first[..seen] != PREFACE[..seen] {
            return Ok(false);
        }
        if seen == PREFACE.len() {
            return Ok(true);
        }
        more(stream, first).await?;
    }
}
