// SPDX-License-Identifier: Apache-2.0
//! A connection that has become something else, such as a WebSocket: bytes are passed on as they
//! come, until a side ends or nothing has come for too long.

use std::rc::Rc;
use std::time::Duration;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional;
use tokio::time::sleep;

use super::exchange::Exchange;
use crate::ingress::serve::Client;

/// Begins a tunnel between a client's and an endpoint's connection.
pub(super) fn begin(
    client: Rc<Client>,
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
        let (mut ours, mut theirs) = (TokioIo::new(ours), TokioIo::new(theirs));
        tokio::select! {
            // However it ends, both connections are closed.
            _ = copy_bidirectional(&mut ours, &mut theirs) => {}
            () = quiet(&client, idle) => {}
        }
    });
}

/// Returns once nothing has come or gone for so long.
async fn quiet(client: &Client, limit: Duration) {
    loop {
        let left = limit.saturating_sub(client.state.quiet());
        if left.is_zero() {
            return;
        }
        sleep(left).await;
    }
}
