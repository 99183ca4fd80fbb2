// SPDX-License-Identifier: Apache-2.0
//! Real listeners on loopback, asked by a real client; the clock is set by hand.

mod admin;
mod checks;
mod limits;
mod pages;
mod ports;
mod slis;
mod upstream;
mod zpages;

use std::net::{SocketAddr, TcpListener as StdTcp};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::http::request::Builder;
use hyper::{HeaderMap, Request};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::view::ServiceView;
use super::*;
use crate::config::Listen;
use crate::model::{IpFamily, ServiceName};

const TIMEOUT: Duration = Duration::from_secs(60);

/// A clock that is set by hand: seconds since 2026-01-01.
#[derive(Clone, Default)]
struct Clock(Arc<AtomicU64>);

impl Clock {
    fn status(&self) -> Status {
        self.status_late_after(TIMEOUT)
    }

    fn status_late_after(&self, timeout: Duration) -> Status {
        let clock = self.clone();
        Status::with_clock(timeout, move || {
            let seconds = clock.0.load(Ordering::Relaxed);
            let start: jiff::Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
            let elapsed = Duration::from_secs(seconds);
            Moment {
                wall: start + elapsed,
                elapsed,
            }
        })
    }

    fn set(&self, seconds: u64) {
        self.0.store(seconds, Ordering::Relaxed);
    }
}

struct Answer {
    code: u16,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }
}

async fn ask(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, path: &str) -> Answer {
    send(stream, Request::get(path), "").await
}

async fn send(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Builder,
    body: &str,
) -> Answer {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    let body = Full::<Bytes>::from(body.to_owned());
    let request = request.header("host", "x").body(body).unwrap();
    let (parts, body) = sender.send_request(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let body = String::from_utf8(body.to_vec()).unwrap();
    Answer {
        code: parts.status.as_u16(),
        headers: parts.headers,
        body,
    }
}

async fn get(address: SocketAddr, path: &str) -> Answer {
    ask(connect(address).await, path).await
}

/// Waits for a listener to open.
async fn connect(address: SocketAddr) -> TcpStream {
    for _ in 0..200 {
        match TcpStream::connect(address).await {
            Ok(stream) => return stream,
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
    panic!("{address} does not open");
}

async fn closed(address: SocketAddr) {
    for _ in 0..200 {
        if TcpStream::connect(address).await.is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{address} does not close");
}

/// A port that nothing listens on now.
fn free(ip: &str) -> SocketAddr {
    StdTcp::bind((ip, 0)).unwrap().local_addr().unwrap()
}

struct Served {
    task: JoinHandle<Result<(), Error>>,
    requests: mpsc::Receiver<AdminRequest>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn start(listen: Listen, status: &Status) -> Served {
    start_with(listen, status, Pages::default()).0
}

fn start_with(
    listen: Listen,
    status: &Status,
    pages: Pages,
) -> (Served, watch::Sender<Arc<Pages>>) {
    let (sender, requests) = mpsc::channel(4);
    let (pages, shown) = watch::channel(Arc::new(pages));
    let status = status.clone();
    let task = tokio::spawn(async move { serve(&listen, shown, status, sender).await });
    (Served { task, requests }, pages)
}

fn nowhere() -> Listen {
    Listen {
        healthz: None,
        metrics: None,
        hard_fail: false,
        admin: None,
    }
}

fn check(name: &str, port: u16, local_endpoints: usize) -> HealthCheck {
    HealthCheck {
        service: ServiceName::new("ns", name),
        port,
        local_endpoints,
    }
}
