// SPDX-License-Identifier: Apache-2.0
//! A connection, or an HTTP/2 stream, that has become something else, such as a WebSocket.

use std::time::Duration;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use super::exchange::Exchange;
use crate::ingress::idle;

/// Begins a tunnel between a client and an endpoint.
pub(super) fn begin(
    (ours, theirs): (OnUpgrade, OnUpgrade),
    limit: Duration,
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
        let (mut ours, mut theirs) = (TokioIo::new(ours), TokioIo::new(theirs));
        idle::copy(&mut ours, &mut theirs, limit).await;
    });
}
