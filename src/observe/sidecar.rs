// SPDX-License-Identifier: Apache-2.0
//! What others see of the Ingress sidecar.
//!
//! | where | path | answers |
//! |---|---|---|
//! | TCP | /healthz | 200 while the process answers at all |
//! | TCP | /readyz | 200 once a complete table is served, 503 before and while the end is near |
//! | TCP | /metrics | all that is counted |
//! | unix socket | whatever the caller answers | `ferrule debug` |

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode};
use prometheus::Registry;
use prometheus::core::Collector;
use serde_json::Value;
use tokio::sync::watch;

use super::admin;
use super::http::{Reply, TEXT, answer, bind_any, code, not_found, plain, reply};
use super::metrics;

/// How long to wait before what could not be opened is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// Where to answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listen {
    /// Health and metrics; none: nowhere.
    pub status: Option<SocketAddr>,
    /// Unix socket for `ferrule debug`; none: nowhere.
    pub admin: Option<PathBuf>,
}

/// What is counted, together with what the process itself costs.
#[derive(Debug, Clone)]
pub struct Counted(Registry);

impl Default for Counted {
    fn default() -> Self {
        Self(metrics::registry_of_process())
    }
}

impl Counted {
    /// Adds metrics. Those of a name that is there already are left out, with a warning.
    pub fn register(&self, collector: Box<dyn Collector>) {
        if let Err(error) = self.0.register(collector) {
            tracing::warn!(%error, "metrics");
        }
    }
}

/// Answers for ever. Dropping it closes everything and removes the unix socket. `ask` answers
/// `ferrule debug`: path and query in, JSON or the reason why not out.
pub async fn serve<A>(
    listen: &Listen,
    ready: watch::Receiver<bool>,
    counted: Counted,
    ask: impl Fn(String) -> A + Clone + Send + 'static,
) -> Infallible
where
    A: Future<Output = Result<Value, (u16, String)>> + Send + 'static,
{
    super::serve::raise_file_limit();
    let status = async {
        if let Some(address) = listen.status {
            serve_status(address, ready, counted).await;
        }
    };
    let admin = async {
        if let Some(path) = &listen.admin {
            serve_admin(path, ask).await;
        }
    };
    tokio::join!(status, admin);
    // Nothing to answer is no reason to end.
    std::future::pending().await
}

async fn serve_status(address: SocketAddr, ready: watch::Receiver<bool>, counted: Counted) {
    let handler = move |request: Request<Incoming>| {
        let good = *ready.borrow();
        std::future::ready(match request.uri().path() {
            "/healthz" => reply(StatusCode::OK, TEXT, "ok\n"),
            "/readyz" if good => reply(StatusCode::OK, TEXT, "ok\n"),
            "/readyz" => reply(code(false), TEXT, "no complete table is served\n"),
            "/metrics" => plain(StatusCode::OK, metrics::TEXT, metrics::text(&counted.0)),
            _ => not_found(),
        })
    };
    let mut reported = false;
    loop {
        match bind_any(address) {
            Ok(listener) => match answer(listener, handler.clone()).await {},
            Err(error) if !reported => {
                tracing::error!(%address, %error, "--healthz-port cannot be bound, trying again");
                reported = true;
            }
            Err(_) => {}
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn serve_admin<A>(path: &Path, ask: impl Fn(String) -> A + Clone + Send + 'static)
where
    A: Future<Output = Result<Value, (u16, String)>> + Send + 'static,
{
    let mut reported = false;
    loop {
        match admin::open(path) {
            Ok((listener, _guard)) => {
                let handler = move |request| route(request, ask.clone());
                match answer(listener, handler).await {}
            }
            Err(error) if !reported => {
                let path = path.display();
                tracing::warn!(%path, %error, "--admin-socket cannot be opened, trying again");
                reported = true;
            }
            Err(_) => {}
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn route<A>(request: Request<Incoming>, ask: impl Fn(String) -> A) -> Reply
where
    A: Future<Output = Result<Value, (u16, String)>>,
{
    if request.method() != Method::GET {
        return reply(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET\n");
    }
    let uri = request.uri();
    let place = uri.path_and_query().map_or(uri.path(), |p| p.as_str());
    match ask(place.to_owned()).await {
        Ok(value) => admin::json(&value),
        Err((status, reason)) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            reply(status, TEXT, format!("{reason}\n"))
        }
    }
}
