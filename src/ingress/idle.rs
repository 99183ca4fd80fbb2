// SPDX-License-Identifier: Apache-2.0
//! Passes bytes on both ways, until a side ends or nothing has come for too long.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional};
use tokio::time::{Instant, sleep_until};

/// Returns once both sides have ended, one has broken, or nothing has come or gone for so long.
pub(crate) async fn copy<A, B>(ours: &mut A, theirs: &mut B, idle: Duration)
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let moved = Cell::new(Instant::now());
    let mut theirs = Watched {
        stream: theirs,
        moved: &moved,
    };
    tokio::select! {
        // However it ends, both sides are closed.
        _ = copy_bidirectional(ours, &mut theirs) => {}
        () = quiet(&moved, idle) => {}
    }
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

/// One side, which all bytes pass.
struct Watched<'a, S> {
    stream: &'a mut S,
    /// When some did last.
    moved: &'a Cell<Instant>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<'_, S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = ready!(Pin::new(&mut *self.stream).poll_read(cx, buf));
        self.moved.set(Instant::now());
        Poll::Ready(read)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<'_, S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let wrote = ready!(Pin::new(&mut *self.stream).poll_write(cx, bytes));
        self.moved.set(Instant::now());
        Poll::Ready(wrote)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_shutdown(cx)
    }
}
