// SPDX-License-Identifier: Apache-2.0
//! One connection: bytes both ways until both ends have closed.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Bytes that wait in each direction; when they do, no more are read, so that the sender waits.
pub(super) const BUFFER: usize = 32 << 10;
/// How long an endpoint may take to accept. The client has been accepted already and would wait
/// for as long as the kernel sends SYNs, two minutes.
const CONNECT: Duration = Duration::from_secs(30);
/// An endpoint that is silent for so long is asked whether it is still there, and again each
/// interval: a node that vanished closes nothing. Seconds.
const KEEPALIVE_IDLE: u32 = 120;
const KEEPALIVE_INTERVAL: u32 = 30;

/// Connects to the target and carries bytes until both sides have ended. One side that ends is
/// told to the other alone (half-close). An error of one side resets the other, as it would be
/// without a proxy between them.
pub(super) async fn relay(mut client: TcpStream, target: SocketAddr) {
    let mut endpoint = match timeout(CONNECT, connect(target)).await {
        Ok(Ok(endpoint)) => endpoint,
        Ok(Err(error)) => {
            tracing::debug!(%target, %error, "localhost NodePort");
            return reset(&client);
        }
        Err(_) => {
            tracing::debug!(%target, "localhost NodePort: no endpoint answers");
            return reset(&client);
        }
    };
    // Without effect on a socket that is closed already.
    let _ = client.set_nodelay(true);
    let done = copy_bidirectional_with_sizes(&mut client, &mut endpoint, BUFFER, BUFFER).await;
    if let Err(error) = done {
        tracing::debug!(%target, %error, "localhost NodePort");
        reset(&client);
        reset(&endpoint);
    }
}

async fn connect(target: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(target).await?;
    stream.set_nodelay(true)?;
    setsockopt(&stream, sockopt::KeepAlive, &true)?;
    setsockopt(&stream, sockopt::TcpKeepIdle, &KEEPALIVE_IDLE)?;
    setsockopt(&stream, sockopt::TcpKeepInterval, &KEEPALIVE_INTERVAL)?;
    Ok(stream)
}

/// Makes the stream's end a reset.
pub(super) fn reset(stream: &TcpStream) {
    // Fails on a socket that has an end already.
    let _ = stream.set_zero_linger();
}
