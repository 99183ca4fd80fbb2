// SPDX-License-Identifier: Apache-2.0

use std::net::{SocketAddr, TcpListener as StdTcp};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::{HeaderMap, Request};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::mpsc;
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
        let clock = self.clone();
        Status::with_clock(TIMEOUT, move || {
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
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    let request = Request::get(path)
        .header("host", "x")
        .body(Empty::<Bytes>::new())
        .unwrap();
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
    let (sender, requests) = mpsc::channel(4);
    let status = status.clone();
    let task = tokio::spawn(async move { serve(&listen, status, sender).await });
    Served { task, requests }
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

#[tokio::test]
async fn healthz_and_livez_follow_updates_and_node() {
    let (clock, address) = (Clock::default(), free("127.0.0.1"));
    let status = clock.status();
    let _served = start(
        Listen {
            healthz: Some(address),
            ..nowhere()
        },
        &status,
    );

    let answer = get(address, "/healthz").await;
    assert_eq!(answer.code, 503, "no Node is known yet");
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert_eq!(
        answer.body,
        "{\"lastUpdated\":\"0001-01-01T00:00:00Z\",\"currentTime\":\"2026-01-01T00:00:00Z\",\
         \"nodeEligible\":false,\"healthy\":true}"
    );
    assert_eq!(get(address, "/livez").await.code, 200);

    status.node(Some(false));
    IpFamily::ALL
        .iter()
        .for_each(|family| status.applied(*family, Duration::ZERO));
    clock.set(100);
    status.queued(IpFamily::V6);
    clock.set(159);
    status.queued(IpFamily::V6);
    let answer = get(address, "/healthz").await;
    assert_eq!(answer.code, 200, "59 s are not too long");
    assert_eq!(
        answer.body,
        "{\"lastUpdated\":\"2026-01-01T00:02:39Z\",\"currentTime\":\"2026-01-01T00:02:39Z\",\
         \"nodeEligible\":true,\"healthy\":true,\
         \"status\":{\"IPv4\":{\"lastUpdated\":\"2026-01-01T00:00:00Z\",\"healthy\":true},\
         \"IPv6\":{\"lastUpdated\":\"2026-01-01T00:00:00Z\",\"healthy\":true}}}"
    );

    clock.set(160);
    for path in ["/healthz", "/livez"] {
        let answer = get(address, path).await;
        assert_eq!(answer.code, 503, "{path} after 60 s");
        assert_eq!(answer.json()["lastUpdated"], "2026-01-01T00:00:00Z");
        assert_eq!(answer.json()["healthy"], false);
        assert_eq!(answer.json()["status"]["IPv4"]["healthy"], true);
        assert_eq!(answer.json()["status"]["IPv6"]["healthy"], false);
    }
    status.applied(IpFamily::V6, Duration::ZERO);
    assert_eq!(get(address, "/healthz").await.code, 200);

    for leaving in [Some(true), None] {
        status.node(leaving);
        assert_eq!(get(address, "/healthz").await.code, 503, "{leaving:?}");
        let answer = get(address, "/livez").await;
        assert_eq!(answer.code, 200, "{leaving:?}");
        assert_eq!(answer.json().get("nodeEligible"), None);
    }
    assert_eq!(get(address, "/").await.code, 404);
}

#[test]
fn a_family_that_is_never_applied_is_unhealthy() {
    let clock = Clock::default();
    let status = clock.status();
    status.failed(IpFamily::V4, "no such feature");
    assert!(status.healthy());
    clock.set(60);
    assert!(!status.healthy());
    let report = serde_json::to_value(status.livez()).unwrap();
    assert_eq!(
        report["status"]["IPv4"]["lastUpdated"],
        "0001-01-01T00:00:00Z"
    );
}

#[tokio::test]
async fn metrics_port_answers_as_kube_proxys() {
    let (clock, address) = (Clock::default(), free("127.0.0.1"));
    let status = clock.status();
    let _served = start(
        Listen {
            metrics: Some(address),
            ..nowhere()
        },
        &status,
    );
    assert_eq!(get(address, "/healthz").await.body, "ok");
    let answer = get(address, "/proxyMode").await;
    assert_eq!((answer.code, answer.body.as_str()), (200, "nftables"));
    assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");

    status.queued(IpFamily::V4);
    clock.set(1);
    status.applied(IpFamily::V4, Duration::from_millis(3));
    status.failed(IpFamily::V6, "reason");
    let _ = status.healthz();
    let text = get(address, "/metrics").await.body;
    for line in [
        "# TYPE kubeproxy_sync_proxy_rules_duration_seconds histogram",
        "kubeproxy_sync_proxy_rules_duration_seconds_bucket{le=\"0.002\",ip_family=\"IPv4\"} 0",
        "kubeproxy_sync_proxy_rules_duration_seconds_bucket{le=\"0.004\",ip_family=\"IPv4\"} 1",
        "kubeproxy_sync_proxy_rules_duration_seconds_bucket{le=\"16.384\",ip_family=\"IPv4\"} 1",
        "kubeproxy_sync_proxy_rules_last_timestamp_seconds{ip_family=\"IPv4\"} 1767225601.0",
        "kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds{ip_family=\"IPv4\"} 1767225600.0",
        "kubeproxy_sync_proxy_rules_nftables_sync_failures_total{ip_family=\"IPv6\"} 1",
        "kubeproxy_proxy_healthz_total{code=\"503\"} 1",
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "{line}\nis not in\n{text}"
        );
    }
}

#[tokio::test]
async fn an_address_in_use_is_tried_again_or_fatal() {
    let taken = StdTcp::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let status = Clock::default().status();
    let listen = Listen {
        healthz: Some(address),
        hard_fail: true,
        ..nowhere()
    };
    let mut served = start(listen.clone(), &status);
    let error = (&mut served.task).await.unwrap().unwrap_err().to_string();
    assert!(
        error.starts_with(&format!("--healthz-bind-address {address}: ")),
        "{error}"
    );

    tokio::time::pause();
    let _served = start(
        Listen {
            hard_fail: false,
            ..listen
        },
        &status,
    );
    tokio::time::sleep(Duration::from_secs(1)).await;
    drop(taken);
    tokio::time::sleep(Duration::from_secs(5)).await;
    tokio::time::resume();
    assert_eq!(get(address, "/livez").await.code, 200);
}

#[tokio::test]
async fn an_unspecified_address_serves_both_families() {
    if StdTcp::bind("[::1]:0").is_err() {
        assert!(
            std::env::var_os("REQUIRE_ROOT").is_none(),
            "no IPv6 on loopback"
        );
        println!("SKIP: no IPv6 on loopback");
        return;
    }
    let port = free("127.0.0.1").port();
    let status = Clock::default().status();
    let listen = Listen {
        healthz: Some(([0, 0, 0, 0], port).into()),
        ..nowhere()
    };
    let _served = start(listen, &status);
    for ip in ["127.0.0.1", "::1"] {
        let address = SocketAddr::new(ip.parse().unwrap(), port);
        assert_eq!(get(address, "/livez").await.code, 200, "{ip}");
    }
}

#[tokio::test]
async fn health_check_ports_open_answer_and_close() {
    let (clock, address, other) = (Clock::default(), free("127.0.0.1"), free("127.0.0.1"));
    let status = clock.status();
    let _served = start(nowhere(), &status);
    let on = |services| status.health_checks(vec![address.ip(), address.ip()], services);

    on(vec![check("web", address.port(), 2)]);
    let answer = get(address, "/any/path").await;
    assert_eq!(answer.code, 200, "whatever the state of the Node");
    assert_eq!(answer.header("x-load-balancing-endpoint-weight"), "2");
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert_eq!(
        answer.body,
        "{\n\t\"service\": {\n\t\t\"namespace\": \"ns\",\n\t\t\"name\": \"web\"\n\t},\n\
         \t\"localEndpoints\": 2,\n\t\"serviceProxyHealthy\": true\n}"
    );

    on(vec![check("web", address.port(), 0)]);
    let answer = get(address, "/").await;
    assert_eq!(answer.code, 503, "no endpoint here");
    assert_eq!(answer.header("x-load-balancing-endpoint-weight"), "0");

    on(vec![
        check("web", address.port(), 1),
        check("api", other.port(), 1),
    ]);
    status.queued(IpFamily::V4);
    clock.set(60);
    for address in [address, other] {
        let answer = get(address, "/").await;
        assert_eq!(answer.code, 503, "rules are late");
        assert_eq!(answer.json()["serviceProxyHealthy"], false);
        assert_eq!(answer.json()["localEndpoints"], 1);
    }

    status.applied(IpFamily::V4, Duration::ZERO);
    on(vec![check("next", address.port(), 3)]);
    closed(other).await;
    assert_eq!(
        get(address, "/").await.json()["service"]["name"],
        "next",
        "the port moved on"
    );
    on(vec![]);
    closed(address).await;
}

#[tokio::test]
async fn a_health_check_port_in_use_is_taken_when_it_is_free() {
    let taken = StdTcp::bind("127.0.0.1:0").unwrap();
    let (address, other) = (taken.local_addr().unwrap(), free("127.0.0.1"));
    let status = Clock::default().status();
    let _served = start(nowhere(), &status);
    let checks = vec![
        check("web", address.port(), 1),
        check("api", other.port(), 1),
    ];
    status.health_checks(vec![address.ip()], checks);
    assert_eq!(get(other, "/").await.code, 200, "others are not held up");
    tokio::time::pause();
    drop(taken);
    tokio::time::sleep(Duration::from_secs(6)).await;
    tokio::time::resume();
    assert_eq!(get(address, "/").await.json()["service"]["name"], "web");
}

async fn get_unix(path: &Path, target: &str) -> Answer {
    for _ in 0..200 {
        match UnixStream::connect(path).await {
            Ok(stream) => return ask(stream, target).await,
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
    panic!("{} does not open", path.display());
}

fn view(namespace: &str, name: &str) -> ServiceView {
    serde_json::from_value(json!({
        "namespace": namespace,
        "name": name,
        "frontends": [{
            "kind": "LoadBalancer", "address": "192.0.2.1", "family": "IPv4", "port": 80,
            "protocol": "TCP", "portName": "http", "policy": "Local", "affinitySeconds": 10,
            "sourceRanges": ["10.0.0.0/8"],
            "endpoints": [{"address": "10.1.0.1", "port": 8080, "node": "n1", "zone": "z1",
                           "state": "serving-terminating", "used": null, "reason": "other node"}],
        }],
    }))
    .unwrap()
}

#[tokio::test]
async fn admin_socket_asks_the_loop_and_cleans_up() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("new/ferrule.sock");
    std::fs::create_dir(path.parent().unwrap()).unwrap();
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "the file of a killed agent");

    let status = Clock::default().status();
    let mut served = start(
        Listen {
            admin: Some(path.clone()),
            ..nowhere()
        },
        &status,
    );
    let answer = tokio::spawn({
        let path = path.clone();
        async move { get_unix(&path, "/services?namespace=ns&name=web").await }
    });
    let AdminRequest::Services { selection, reply } = served.requests.recv().await.unwrap();
    assert!(selection.matches(&ServiceName::new("ns", "web")));
    assert!(!selection.matches(&ServiceName::new("ns", "api")));
    assert!(Selection::default().matches(&ServiceName::new("any", "thing")));
    reply.send(vec![view("ns", "web")]).unwrap();
    let answer = answer.await.unwrap();
    assert_eq!(answer.code, 200);
    let views: Vec<ServiceView> = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(views, [view("ns", "web")]);

    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(get_unix(&path, "/nothing").await.code, 404);
    served.task.abort();
    let _ = (&mut served.task).await;
    assert!(!path.exists(), "removed at exit");
}

#[tokio::test]
async fn admin_socket_takes_nothing_away_from_others() {
    let directory = tempfile::tempdir().unwrap();
    let (live, file) = (directory.path().join("live"), directory.path().join("file"));
    let _agent = std::os::unix::net::UnixListener::bind(&live).unwrap();
    std::fs::write(&file, "precious").unwrap();
    let status = Clock::default().status();
    tokio::time::pause();
    for path in [&live, &file] {
        let before = std::fs::symlink_metadata(path).unwrap().modified().unwrap();
        let served = start(
            Listen {
                admin: Some(path.clone()),
                ..nowhere()
            },
            &status,
        );
        tokio::time::sleep(Duration::from_secs(12)).await;
        drop(served);
        tokio::task::yield_now().await;
        assert_eq!(
            std::fs::symlink_metadata(path).unwrap().modified().unwrap(),
            before
        );
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
}

#[tokio::test]
async fn admin_socket_says_when_the_loop_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let status = Clock::default().status();
    let mut served = start(
        Listen {
            admin: Some(path.clone()),
            ..nowhere()
        },
        &status,
    );
    served.requests.close();
    assert_eq!(get_unix(&path, "/services").await.code, 503);
}
