// SPDX-License-Identifier: Apache-2.0
//! What kube-proxy's own tests expect (`pkg/proxy/healthcheck/healthcheck_test.go`,
//! `cmd/kube-proxy/app/server_test.go` of v1.36.3), asked from listeners of ours.
//!
//! How a Node with taints or a deletion time becomes "leaving" is tested where it is read
//! (`watch`); here is what follows from it.

use super::pages::{everything, metrics_port};
use super::*;

const LATE: Duration = Duration::from_secs(10);

/// One address with health checks of several Services.
struct Checked {
    status: Status,
    ports: [u16; 5],
    _served: Served,
}

impl Checked {
    fn new() -> Self {
        let status = Clock::default().status();
        let served = start(nowhere(), &status);
        let held = [(); 5].map(|()| StdTcp::bind("127.0.0.1:0").unwrap());
        let ports = held.map(|listener| listener.local_addr().unwrap().port());
        Self {
            status,
            ports,
            _served: served,
        }
    }

    /// Services by name, place of the port, and endpoints.
    fn sync(&self, services: &[(&str, usize, usize)]) {
        let checks = services
            .iter()
            .map(|(name, port, count)| check(name, self.ports[*port], *count));
        let here = "127.0.0.1".parse().unwrap();
        self.status.health_checks(vec![here], checks.collect());
    }

    fn at(&self, port: usize) -> SocketAddr {
        ([127, 0, 0, 1], self.ports[port]).into()
    }

    /// Upstream's `tHandler`, once the listener has changed hands.
    async fn expect(&self, (name, port, count): (&str, usize, usize), code: u16, healthy: bool) {
        let answer = get(self.at(port), "/healthz").await;
        assert_eq!(answer.code, code, "{name}");
        assert_eq!(
            answer.json(),
            json!({
                "service": {"namespace": "ns", "name": name},
                "localEndpoints": count,
                "serviceProxyHealthy": healthy,
            })
        );
        assert_eq!(answer.header("content-type"), "application/json");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(
            answer.header("x-load-balancing-endpoint-weight"),
            count.to_string()
        );
    }
}

#[tokio::test]
async fn test_server_one_service() {
    let all = Checked::new();
    all.sync(&[]);
    closed(all.at(0)).await;
    for count in [0, 18, 0, 11, 0, 18] {
        let service = ("b", 0, count);
        all.sync(&[service]);
        all.expect(service, if count == 0 { 503 } else { 200 }, true)
            .await;
    }
    all.sync(&[]);
    closed(all.at(0)).await;
}

#[tokio::test]
async fn test_server_several_services() {
    let all = Checked::new();
    let good = |count| if count == 0 { 503 } else { 200 };
    let rounds: [&[(&str, usize, usize)]; 5] = [
        &[("b", 0, 0), ("d", 1, 0), ("f", 2, 0)],
        &[("b", 0, 9), ("d", 1, 3), ("f", 2, 7)],
        // One is removed, one stays, one moves to another port, one is new.
        &[("d", 1, 3), ("f", 3, 0), ("h", 4, 0)],
        &[("d", 1, 3), ("f", 3, 7), ("h", 4, 6)],
        &[("d", 1, 0), ("f", 3, 7), ("h", 4, 6)],
    ];
    for services in rounds {
        all.sync(services);
        for service in services {
            all.expect(*service, good(service.2), true).await;
        }
    }
    closed(all.at(0)).await;
    closed(all.at(2)).await;
}

#[tokio::test]
async fn test_server_unhealthy_proxy() {
    let clock = Clock::default();
    let all = Checked {
        status: clock.status(),
        ..Checked::new()
    };
    let _served = start(nowhere(), &all.status);
    let services = [("d", 1, 0), ("f", 3, 7), ("h", 4, 6)];
    all.sync(&services);
    all.status.queued(IpFamily::V4);
    clock.set(TIMEOUT.as_secs());
    for service in services {
        all.expect(service, 503, false).await;
    }
    all.status.applied(IpFamily::V4);
    for service in services {
        all.expect(service, if service.2 == 0 { 503 } else { 200 }, true)
            .await;
    }
}

#[tokio::test]
async fn test_server_with_selective_listening_address() {
    let all = Checked::new();
    all.sync(&[("b", 0, 0)]);
    all.expect(("b", 0, 0), 503, true).await;
    let elsewhere = SocketAddr::from(([127, 0, 0, 2], all.ports[0]));
    assert!(
        TcpStream::connect(elsewhere).await.is_err(),
        "only the address that was given"
    );
}

/// /healthz or /livez, with the answers counted as upstream's `serverTest` does.
struct Proxy {
    clock: Clock,
    status: Status,
    address: SocketAddr,
    path: &'static str,
    now: u64,
    counted: [u32; 2],
    _served: Served,
}

/// Expected: the code, the last update, and of both families whether they are healthy and since
/// when.
type Expected = (u16, u64, Option<[(bool, u64); 2]>);

impl Proxy {
    fn new(path: &'static str) -> Self {
        let (clock, address) = (Clock::default(), free("127.0.0.1"));
        let status = clock.status_late_after(LATE);
        let listen = Listen {
            healthz: Some(address),
            ..nowhere()
        };
        let served = start(listen, &status);
        Self {
            clock,
            status,
            address,
            path,
            now: 0,
            counted: [0, 0],
            _served: served,
        }
    }

    fn step(&mut self, seconds: u64) {
        self.now += seconds;
        self.clock.set(self.now);
    }

    fn updated(&self) {
        for family in IpFamily::ALL {
            self.status.applied(family);
        }
    }

    async fn expect(&mut self, (code, last, families): Expected, eligible: bool) {
        let answer = get(self.address, self.path).await;
        assert_eq!(answer.code, code, "at {} s", self.now);
        let healthy = families.is_none_or(|both| both.iter().all(|(healthy, _)| *healthy));
        let mut expected = json!({
            "lastUpdated": at(last), "currentTime": at(self.now), "healthy": healthy,
        });
        if self.path == "/healthz" {
            expected["nodeEligible"] = json!(eligible);
        }
        if let Some([v4, v6]) = families {
            let family = |(healthy, last)| json!({"lastUpdated": at(last), "healthy": healthy});
            expected["status"] = json!({"IPv4": family(v4), "IPv6": family(v6)});
        }
        assert_eq!(answer.json(), expected, "at {} s", self.now);
        self.counted[usize::from(code != 200)] += 1;
        let text = self.status.metrics();
        for (code, count) in [("200", self.counted[0]), ("503", self.counted[1])] {
            let name = format!("kubeproxy_proxy_{}_total", &self.path[1..]);
            let line = format!("{name}{{code=\"{code}\"}} {count}");
            let found = text.lines().any(|found| found == line);
            assert!(found || count == 0, "{line}\nis not in\n{text}");
        }
    }
}

fn at(seconds: u64) -> String {
    let start: jiff::Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    (start + Duration::from_secs(seconds)).to_string()
}

/// Upstream's `testProxyHealthUpdater`.
async fn follow_updates(proxy: &mut Proxy) {
    let good = [(true, 0), (true, 0)];
    proxy.expect((200, 0, None), true).await;
    proxy.updated();
    proxy.expect((200, 0, Some(good)), true).await;
    proxy.step(25);
    proxy.expect((200, 25, Some(good)), true).await;
    // One family after the other exceeds the time, then both.
    let mut last = 0;
    for late in [[true, false], [false, true], [true, true]] {
        for (family, _) in IpFamily::ALL
            .into_iter()
            .zip(late)
            .filter(|(_, late)| *late)
        {
            proxy.status.queued(family);
        }
        proxy.step(25);
        let bad = late.map(|late| (!late, last));
        proxy.expect((503, last, Some(bad)), true).await;
        proxy.updated();
        last = proxy.now;
        proxy.step(5);
        let good = [(true, last), (true, last)];
        proxy.expect((200, proxy.now, Some(good)), true).await;
    }
    // Only one of two late families recovers; then one is queued in time.
    proxy.status.queued(IpFamily::V4);
    proxy.status.queued(IpFamily::V6);
    proxy.step(25);
    proxy.status.applied(IpFamily::V4);
    let updated = proxy.now;
    proxy
        .expect((503, updated, Some([(true, updated), (false, last)])), true)
        .await;
    proxy.updated();
    proxy.status.queued(IpFamily::V4);
    proxy.step(LATE.as_secs() - 1);
    let good = [(true, updated), (true, updated)];
    proxy.expect((200, proxy.now, Some(good)), true).await;
    proxy.updated();
}

#[tokio::test]
async fn test_healthz_server() {
    let mut proxy = Proxy::new("/healthz");
    proxy.status.node(Some(false));
    follow_updates(&mut proxy).await;
    let good = Some([(true, proxy.now), (true, proxy.now)]);
    let now = proxy.now;
    // As it is, leaving by a taint, as it was, being deleted, and gone.
    for (leaving, code, eligible) in [
        (Some(false), 200, true),
        (Some(true), 503, false),
        (Some(false), 200, true),
        (Some(true), 503, false),
        (None, 503, false),
    ] {
        proxy.status.node(leaving);
        proxy.expect((code, now, good), eligible).await;
    }
}

#[tokio::test]
async fn test_livez_server() {
    let mut proxy = Proxy::new("/livez");
    proxy.status.node(Some(false));
    follow_updates(&mut proxy).await;
    let (now, good) = (proxy.now, Some([(true, proxy.now), (true, proxy.now)]));
    for leaving in [Some(false), Some(true), Some(false), Some(true), None] {
        proxy.status.node(leaving);
        proxy.expect((200, now, good), false).await;
    }
}

#[tokio::test]
async fn test_statusz_lists_paths() {
    let (address, _served, _) = metrics_port(everything());
    let request = Request::get("/statusz").header("accept", "text/plain");
    let answer = send(connect(address).await, request, "").await;
    assert_eq!(answer.code, 200);
    let paths = answer
        .body
        .lines()
        .find(|line| line.trim().starts_with("Paths"))
        .unwrap();
    let paths: Vec<_> = paths.split_whitespace().skip(1).collect();
    assert_eq!(
        paths,
        ["/configz", "/flagz", "/healthz", "/metrics", "/proxyMode"]
    );
    for path in paths {
        assert_eq!(get(address, path).await.code, 200, "{path}");
    }
}

#[tokio::test]
async fn test_configz() {
    let (address, _served, _) = metrics_port(everything());
    let answer = get(address, "/configz").await;
    assert_eq!(answer.code, 200);
    let config = &answer.json()["kubeproxy.config.k8s.io"];
    assert_eq!(config["apiVersion"], "kubeproxy.config.k8s.io/v1alpha1");
    assert_eq!(config["kind"], "KubeProxyConfiguration");
}
