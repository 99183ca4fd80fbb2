// SPDX-License-Identifier: Apache-2.0
//! The pages of the metrics port (upstream: `serveMetrics` in `cmd/kube-proxy/app/server.go`).
//!
//! Nothing is served by method: like kube-proxy, all but `/debug/flags/v` and `/metrics/slis`
//! answer any method alike.

mod debug;
mod negotiate;
mod slis;
mod zpages;

use std::collections::BTreeMap;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Request, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::watch;

use self::slis::Slis;
use super::http::{JSON, Reply, TEXT, not_found, plain, reply};
use super::metrics;
use super::status::Status;

/// Where kube-proxy's `/configz` has the configuration.
const GROUP: &str = "kubeproxy.config.k8s.io";
/// kube-proxy's metrics carry it, so that a reader need not look for the metric.
const STARTED: HeaderName = HeaderName::from_static("process-start-time-unix");

/// What the pages show that the loop does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pages {
    /// The configuration in effect: a KubeProxyConfiguration with `kind` and `apiVersion`.
    pub config: Value,
    /// What serves: `nftables` or `ipvs`.
    pub mode: &'static str,
    /// All flags by name, without dashes, as text.
    pub flags: BTreeMap<String, String>,
    /// `enableProfiling`: whether `/debug` is there.
    pub profiling: bool,
    /// The feature gate `ComponentFlagz`.
    pub flagz: bool,
    /// The feature gate `ComponentStatusz`.
    pub statusz: bool,
}

impl Default for Pages {
    /// Nothing to show, and the gates as in Kubernetes 1.36: both on.
    fn default() -> Self {
        Self {
            config: json!({}),
            mode: "nftables",
            flags: BTreeMap::new(),
            profiling: false,
            flagz: true,
            statusz: true,
        }
    }
}

/// What answers on the metrics port.
pub(super) struct Port {
    status: Status,
    pages: watch::Receiver<Arc<Pages>>,
    slis: Slis,
    started: Timestamp,
}

impl Port {
    pub(super) fn new(status: Status, pages: watch::Receiver<Arc<Pages>>) -> Self {
        let started = Timestamp::now();
        let slis = Slis::new(started);
        Self {
            status,
            pages,
            slis,
            started,
        }
    }

    pub(super) async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Reply {
        let pages = self.pages.borrow().clone();
        match request.uri().path() {
            "/healthz" => self.slis.healthz(request.uri().query()),
            "/healthz/ping" => plain(StatusCode::OK, TEXT, "ok"),
            "/proxyMode" => reply(StatusCode::OK, TEXT, pages.mode),
            "/metrics" => self.dated(plain(StatusCode::OK, metrics::TEXT, self.status.metrics())),
            "/metrics/slis" => match self.slis.answer(request.method()) {
                slis::Answer::Metrics(reply) => self.dated(reply),
                slis::Answer::Reset(reply) => reply,
            },
            "/configz" => reply(StatusCode::OK, JSON, configz(&pages)),
            "/flagz" if pages.flagz => zpages::flagz(&request, &pages.flags),
            "/statusz" if pages.statusz => zpages::statusz(&request, self.started, &listed(&pages)),
            path if pages.profiling && path.starts_with("/debug/") => debug::answer(request).await,
            _ => not_found(),
        }
    }

    fn dated(&self, mut reply: Reply) -> Reply {
        let seconds = HeaderValue::from(self.started.as_second());
        reply.headers_mut().insert(STARTED, seconds);
        reply
    }
}

fn configz(pages: &Pages) -> String {
    json!({ GROUP: pages.config }).to_string()
}

/// The pages that `/statusz` names: kube-proxy's `/statusz` does not name itself, nor `/debug`.
fn listed(pages: &Pages) -> Vec<&'static str> {
    let all = ["/configz", "/flagz", "/healthz", "/metrics", "/proxyMode"];
    all.into_iter()
        .filter(|path| pages.flagz || *path != "/flagz")
        .collect()
}
