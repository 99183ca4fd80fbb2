// SPDX-License-Identifier: Apache-2.0
//! A connection, or an HTTP/2 stream, that has become something else, such as a WebSocket: bytes
//! are passed on as they come, until a side ends or nothing has come for too long.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional};
use tokio::time::{Instant, sleep_until};

use super::exchange::Exchange;

/// Begins a tunnel between a client and an endpoint.
pub(super) fn begin(
    (ours, theirs): (OnUpgrade, OnUpgrade),
    idle: Duration,
    exchange: Box<Exchange>,
) {
    tokio::task::spawn_local(async move {
        let _counted = exchange.tunnel();
        let (ours, theirs) = match tokio::try_join!(ours, theirs) {
            Ok(both) => both,
            Err(error) => {
                tracing::debug!(%error, "a connection was not upgraded");
                return;
            }
        };
        let moved = Cell::new(Instant::now());
        let mut ours = TokioIo::new(ours);
        let mut theirs = Watched {
            stream: TokioIo::new(theirs),
            moved: &moved,
        };
        tokio::select! {
            // However it ends, both sides are closed.
            _ = copy_bidirectional(&mut ours, &mut theirs) => {}
            () = quiet(&moved, idle) => {}
        }
    });
}

/// Returns once nothing has come or gone for so long.
async fn quiet(moved: &Cell<Instant>, limit: Duration) {
    loop {
        let end = moved.get() + limit;
        if end <= Instant::now() {
            return;
        }
        sleep_until(end).await;
    }
}

/// The endpoint's side, which all bytes pass.
struct Watched<'a> {
    stream: TokioIo<Upgraded>,
    /// When some did last.
    moved: &'a Cell<Instant>,
}

impl AsyncRead for Watched<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, buf));
        self.moved.set(Instant::now());
        Poll::Ready(read)
    }
}

impl AsyncWrite for Watched<'_> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let wrote = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes));
        self.moved.set(Instant::now());
        Poll::Ready(wrote)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
