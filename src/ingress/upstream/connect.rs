// SPDX-License-Identifier: Apache-2.0
//! Opens connections to endpoints.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::Link;
use super::io::{Io, Stream};
use crate::ingress::body::RequestBody;
use crate::ingress::local::LocalExecutor;
use crate::model::Target;

/// The longest head of a response, in bytes, and how much of a body is read ahead.
const BUFFER: usize = 64 * 1024;

/// How a connection is secured, and whom it must lead to.
pub(super) struct Secured {
    pub(super) config: Arc<ClientConfig>,
    pub(super) name: ServerName<'static>,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// It took too long.
    #[error("timed out")]
    TimedOut,
    /// The endpoint refused, or is no TLS server.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The endpoint does not speak HTTP.
    #[error(transparent)]
    Http(#[from] hyper::Error),
    /// No TLS.
    #[error(transparent)]
    Tls(rustls::Error),
}

/// A connection for one request at a time.
pub(super) async fn own(
    tls: Option<Secured>,
    target: Target,
    limit: Duration,
) -> Result<(http1::SendRequest<RequestBody>, Arc<Link>), ConnectError> {
    let (io, link) = open(tls, target, limit).await?;
    let mut builder = http1::Builder::new();
    builder.max_buf_size(BUFFER);
    let (sender, connection) = builder.handshake(io).await?;
    tokio::task::spawn_local(async move {
        // Requests learn of errors by themselves.
        let _ = connection.with_upgrades().await;
    });
    Ok((sender, link))
}

/// A connection for many requests at a time.
pub(super) async fn shared(
    tls: Option<Secured>,
    target: Target,
    limit: Duration,
) -> Result<(http2::SendRequest<RequestBody>, Arc<Link>), ConnectError> {
    let (io, link) = open(tls, target, limit).await?;
    let mut builder = http2::Builder::new(LocalExecutor);
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(256 * 1024)
        .initial_connection_window_size(1024 * 1024)
        .max_send_buf_size(BUFFER)
        .max_header_list_size(BUFFER as u32)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20));
    let handshake = timeout(limit, builder.handshake(io)).await;
    let (sender, connection) = handshake.map_err(|_| ConnectError::TimedOut)??;
    tokio::task::spawn_local(async move {
        let _ = connection.await;
    });
    Ok((sender, link))
}

async fn open(
    tls: Option<Secured>,
    target: Target,
    limit: Duration,
) -> Result<(TokioIo<Io>, Arc<Link>), ConnectError> {
    let opened = timeout(limit, stream(tls, target)).await;
    let stream = opened.map_err(|_| ConnectError::TimedOut)??;
    let link = Arc::new(Link {
        send: AtomicU64::new(u64::MAX),
    });
    Ok((TokioIo::new(Io::new(stream, link.clone())), link))
}

async fn stream(tls: Option<Secured>, target: Target) -> io::Result<Stream> {
    let stream = TcpStream::connect(SocketAddr::new(target.address, target.port)).await?;
    stream.set_nodelay(true)?;
    let Some(Secured { config, name }) = tls else {
        return Ok(Stream::Plain(stream));
    };
    let stream = TlsConnector::from(config).connect(name, stream).await?;
    Ok(Stream::Tls(Box::new(stream)))
}
