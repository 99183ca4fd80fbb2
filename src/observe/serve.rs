// SPDX-License-Identifier: Apache-2.0
//! All listeners together.

use std::future::ready;
use std::net::SocketAddr;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::{Request, StatusCode};
use tokio::sync::mpsc;

use super::admin::{AdminRequest, serve_admin};
use super::checks::serve_checks;
use super::http::{JSON, Reply, TEXT, answer, bind_any, code, not_found, reply};
use super::metrics;
use super::status::Status;
use crate::config::Listen;

/// How long to wait before an address that could not be bound is tried again, as upstream.
const RETRY: Duration = Duration::from_secs(5);

/// Why the listeners end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address cannot be bound, and the user wants that to be fatal.
    #[error("{setting} {address}: {source}")]
    Bind {
        /// The flag that gives the address.
        setting: &'static str,
        /// The address.
        address: SocketAddr,
        /// The error.
        source: std::io::Error,
    },
}

/// Answers all requests; ends only with an error. Dropping it closes everything and removes the
/// unix socket.
///
/// # Errors
/// Only with `hard_fail`: an address cannot be bound.
pub async fn serve(
    listen: &Listen,
    status: Status,
    requests: mpsc::Sender<AdminRequest>,
) -> Result<(), Error> {
    let (health, metrics) = (status.clone(), status.clone());
    let healthz = keep(
        "--healthz-bind-address",
        listen.healthz,
        listen.hard_fail,
        move |request| health_reply(&health, &request),
    );
    let metrics = keep(
        "--metrics-bind-address",
        listen.metrics,
        listen.hard_fail,
        move |request| metrics_reply(&metrics, &request),
    );
    let checks = async {
        serve_checks(status.clone()).await;
        Ok(())
    };
    let admin = async {
        if let Some(path) = &listen.admin {
            serve_admin(path, &status, requests).await;
        }
        Ok(())
    };
    tokio::try_join!(healthz, metrics, checks, admin).map(|_| ())
}

/// Binds, again and again if need be, and answers.
async fn keep(
    setting: &'static str,
    address: Option<SocketAddr>,
    hard_fail: bool,
    handler: impl Fn(Request<Incoming>) -> Reply + Clone + Send + 'static,
) -> Result<(), Error> {
    let Some(address) = address else {
        return Ok(());
    };
    let mut reported = false;
    loop {
        match bind_any(address) {
            Ok(listener) => {
                let handler = handler.clone();
                match answer(listener, move |request| ready(handler(request))).await {}
            }
            Err(source) if hard_fail => {
                return Err(Error::Bind {
                    setting,
                    address,
                    source,
                });
            }
            Err(error) => {
                if !reported {
                    tracing::error!(%address, %error, "{setting} cannot be bound, trying again");
                }
                reported = true;
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

fn health_reply(status: &Status, request: &Request<Incoming>) -> Reply {
    let report = match request.uri().path() {
        "/healthz" => status.healthz(),
        "/livez" => status.livez(),
        _ => return not_found(),
    };
    match serde_json::to_string(&report) {
        Ok(body) => reply(code(report.good), JSON, body),
        Err(error) => reply(StatusCode::INTERNAL_SERVER_ERROR, TEXT, error.to_string()),
    }
}

fn metrics_reply(status: &Status, request: &Request<Incoming>) -> Reply {
    match request.uri().path() {
        "/healthz" => reply(StatusCode::OK, TEXT, "ok"),
        "/proxyMode" => reply(StatusCode::OK, TEXT, "nftables"),
        "/metrics" => reply(StatusCode::OK, metrics::TEXT, status.metrics()),
        _ => not_found(),
    }
}
