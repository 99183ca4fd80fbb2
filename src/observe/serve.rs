// SPDX-License-Identifier: Apache-2.0
//! All listeners together.

use std::future::ready;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::{Request, StatusCode};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::sync::{mpsc, watch};

use super::admin::{AdminRequest, serve_admin};
use super::checks::serve_checks;
use super::http::{JSON, Reply, TEXT, answer, bind_any, code, not_found, reply};
use super::pages::{Pages, Port};
use super::status::Status;
use crate::config::Listen;

/// How long to wait before an address that could not be bound is tried again, as upstream.
const RETRY: Duration = Duration::from_secs(5);

const HEALTHZ: &str = "--healthz-bind-address";
const METRICS: &str = "--metrics-bind-address";

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

impl Error {
    /// kube-proxy's reason of the Event on the Node that says the same.
    pub fn event_reason(&self) -> &'static str {
        match self {
            Self::Bind { setting, .. } if *setting == HEALTHZ => "FailedToStartProxierHealthcheck",
            Self::Bind { .. } => "FailedToStartMetricServer",
        }
    }
}

/// Answers all requests; ends only with an error. Dropping it closes everything and removes the
/// unix socket. `pages` may change at any time.
///
/// # Errors
/// Only with `hard_fail`: an address cannot be bound.
pub async fn serve(
    listen: &Listen,
    pages: watch::Receiver<Arc<Pages>>,
    status: Status,
    requests: mpsc::Sender<AdminRequest>,
) -> Result<(), Error> {
    raise_file_limit();
    let hard_fail = listen.hard_fail;
    let health = status.clone();
    let healthz = keep(HEALTHZ, listen.healthz, hard_fail, move |request| {
        ready(health_reply(&health, &request))
    });
    let port = Arc::new(Port::new(status.clone(), pages));
    let metrics = keep(METRICS, listen.metrics, hard_fail, move |request| {
        Arc::clone(&port).answer(request)
    });
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

/// Lets this process open as many files as it is allowed to, as a Go program does when it starts.
/// Container runtimes often set 1024, which 500 Services with health check node ports use up, and
/// 200 NodePorts on loopback with a connection each.
pub(super) fn raise_file_limit() {
    let raise = || match getrlimit(Resource::RLIMIT_NOFILE)? {
        (soft, hard) if soft < hard => setrlimit(Resource::RLIMIT_NOFILE, hard, hard),
        _ => Ok(()),
    };
    if let Err(error) = raise() {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}

/// Binds, again and again if need be, and answers.
async fn keep<A: Future<Output = Reply> + Send + 'static>(
    setting: &'static str,
    address: Option<SocketAddr>,
    hard_fail: bool,
    handler: impl Fn(Request<Incoming>) -> A + Clone + Send + 'static,
) -> Result<(), Error> {
    let Some(address) = address else {
        return Ok(());
    };
    let mut reported = false;
    loop {
        match bind_any(address) {
            Ok(listener) => match answer(listener, handler.clone()).await {},
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
