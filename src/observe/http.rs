// SPDX-License-Identifier: Apache-2.0
//! A small HTTP/1.1 server: bind, accept, answer.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use nix::sys::socket::{setsockopt, sockopt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, UnixListener};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};

/// A whole answer.
pub(super) type Reply = Response<Full<Bytes>>;

/// Content types.
pub(super) const JSON: &str = "application/json";
pub(super) const TEXT: &str = "text/plain; charset=utf-8";

/// Connections that one listener serves at a time; one more ends the oldest.
pub(super) const CONNECTIONS: usize = 256;
/// How long a client may take to send a request, also the next one of a connection, and to read
/// the answer at the end of a connection's [`LIFETIME`].
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// How long a connection takes requests. It bounds what a client costs that never reads an answer.
pub(super) const LIFETIME: Duration = Duration::from_secs(300);
/// Connections waiting to be accepted; `net.core.somaxconn` may allow less.
const BACKLOG: u32 = 1024;
/// Pause after a failed accept, say for lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// An answer with the header that kube-proxy puts on most of its own.
pub(super) fn reply(code: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Reply {
    let mut reply = plain(code, kind, body);
    reply
        .headers_mut()
        .insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    reply
}

/// An answer without that header, as kube-proxy gives where other libraries answer for it.
pub(super) fn plain(code: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Full::new(body.into()));
    *reply.status_mut() = code;
    reply
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    reply
}

/// The answer to a path that does not exist.
pub(super) fn not_found() -> Reply {
    reply(StatusCode::NOT_FOUND, TEXT, "404 page not found\n")
}

/// 200 or 503.
pub(super) fn code(good: bool) -> StatusCode {
    if good {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    }
}

/// Listens on a TCP address of one family only.
pub(super) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    listen(socket, address, true)
}

/// Listens as a Go program does: an unspecified address of either family stands for both, unless
/// the kernel has no IPv6.
pub(super) fn bind_any(address: SocketAddr) -> io::Result<TcpListener> {
    if !address.ip().is_unspecified() {
        return bind(address);
    }
    let both = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), address.port());
    match TcpSocket::new_v6().and_then(|socket| listen(socket, both, false)) {
        Err(error) if error.kind() != io::ErrorKind::AddrInUse && address.is_ipv4() => {
            bind(address)
        }
        result => result,
    }
}

fn listen(socket: TcpSocket, address: SocketAddr, one_family: bool) -> io::Result<TcpListener> {
    socket.set_reuseaddr(true)?;
    if address.is_ipv6() {
        setsockopt(&socket, sockopt::Ipv6V6Only, &one_family)?;
    }
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// TCP and unix listeners alike.
pub(super) trait Accept {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Waits for the next connection.
    fn next(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

impl Accept for TcpListener {
    type Stream = tokio::net::TcpStream;

    async fn next(&self) -> io::Result<Self::Stream> {
        self.accept().await.map(|(stream, _)| stream)
    }
}

impl Accept for UnixListener {
    type Stream = tokio::net::UnixStream;

    async fn next(&self) -> io::Result<Self::Stream> {
        self.accept().await.map(|(stream, _)| stream)
    }
}

/// Answers requests for ever. Dropping it closes the listener and all its connections.
///
/// At the limit the oldest connection goes, so that idle ones keep no health check out.
pub(super) async fn answer<L, F, A>(listener: L, handler: F) -> Infallible
where
    L: Accept,
    F: Fn(Request<Incoming>) -> A + Clone + Send + 'static,
    A: Future<Output = Reply> + Send + 'static,
{
    let mut connections = JoinSet::new();
    let mut by_age = VecDeque::new();
    loop {
        tokio::select! {
            stream = listener.next() => match stream {
                Ok(stream) => {
                    make_room(&mut by_age);
                    by_age.push_back(connections.spawn(converse(stream, handler.clone())));
                }
                Err(error) => {
                    tracing::debug!(%error, "accept");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Leaves fewer than [`CONNECTIONS`].
fn make_room(by_age: &mut VecDeque<AbortHandle>) {
    if by_age.len() < CONNECTIONS {
        return;
    }
    by_age.retain(|connection| !connection.is_finished());
    while by_age.len() >= CONNECTIONS {
        if let Some(oldest) = by_age.pop_front() {
            tracing::debug!("too many connections, the oldest is closed");
            oldest.abort();
        }
    }
}

async fn converse<S, F, A>(stream: S, handler: F)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Fn(Request<Incoming>) -> A + Send + 'static,
    A: Future<Output = Reply> + Send + 'static,
{
    let service = service_fn(move |request| {
        let reply = handler(request);
        async { Ok::<_, Infallible>(reply.await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .title_case_headers(true)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = sleep(LIFETIME) => {
            connection.as_mut().graceful_shutdown();
            let Ok(result) = timeout(PATIENCE, connection).await else {
                tracing::debug!("an answer was not read in time");
                return;
            };
            result
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "connection");
    }
}
