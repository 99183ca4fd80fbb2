// SPDX-License-Identifier: Apache-2.0
//! The pages of the metrics port: what is expected was recorded from kube-proxy 1.36.3.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

pub(super) fn everything() -> Pages {
    Pages {
        mode: "nftables",
        config: json!({
            "kind": "KubeProxyConfiguration",
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "mode": "nftables",
        }),
        flags: [("v", "2"), ("bind-address", "0.0.0.0"), ("config", "")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        profiling: true,
        flagz: true,
        statusz: true,
    }
}

pub(super) fn metrics_port(pages: Pages) -> (SocketAddr, Served, watch::Sender<Arc<Pages>>) {
    let address = free("127.0.0.1");
    let listen = Listen {
        metrics: Some(address),
        ..nowhere()
    };
    let (served, pages) = start_with(listen, &Clock::default().status(), pages);
    (address, served, pages)
}

pub(super) async fn by(method: &str, address: SocketAddr, path: &str) -> Answer {
    let request = Request::builder().method(method).uri(path);
    send(connect(address).await, request, "").await
}

/// All that comes back for these bytes.
async fn raw(address: SocketAddr, bytes: &str) -> String {
    let mut stream = connect(address).await;
    stream.write_all(bytes.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

const PLAIN: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";

/// Path, code, content type, whether `nosniff` is said, body or None for any.
type Case = (&'static str, u16, &'static str, bool, Option<&'static str>);

const CASES: [Case; 18] = [
    ("/healthz", 200, PLAIN, true, Some("ok")),
    ("/healthz?exclude=ping", 200, PLAIN, true, Some("ok")),
    (
        "/healthz?verbose",
        200,
        PLAIN,
        true,
        Some("[+]ping ok\nhealthz check passed\n"),
    ),
    (
        "/healthz?verbose=0",
        200,
        PLAIN,
        true,
        Some("[+]ping ok\nhealthz check passed\n"),
    ),
    (
        "/healthz?exclude=ping&verbose",
        200,
        PLAIN,
        true,
        Some("[+]ping excluded: ok\nhealthz check passed\n"),
    ),
    (
        "/healthz?exclude=foo&verbose",
        200,
        PLAIN,
        true,
        Some(
            "[+]ping ok\nwarn: some health checks cannot be excluded: no matches for \"foo\"\n\
             healthz check passed\n",
        ),
    ),
    ("/healthz/ping", 200, PLAIN, false, Some("ok")),
    ("/healthz/", 404, PLAIN, true, Some("404 page not found\n")),
    ("/livez", 404, PLAIN, true, Some("404 page not found\n")),
    ("/", 404, PLAIN, true, Some("404 page not found\n")),
    ("/proxyMode", 200, PLAIN, true, Some("nftables")),
    (
        "/debug/pprof/nosuch",
        404,
        PLAIN,
        true,
        Some("Unknown profile\n"),
    ),
    (
        "/debug/pprof/cmdline",
        404,
        PLAIN,
        true,
        Some("Unknown profile\n"),
    ),
    ("/debug/pprof/profile?seconds=1", 501, PLAIN, true, None),
    ("/debug/pprof/heap", 501, PLAIN, true, None),
    (
        "/debug/pprof/symbol",
        200,
        PLAIN,
        true,
        Some("num_symbols: 0\n"),
    ),
    ("/debug/flags/x", 200, HTML, false, None),
    (
        "/debug/flags/v",
        406,
        "text/plain",
        true,
        Some("unsupported http method\n"),
    ),
];

#[tokio::test]
async fn pages_answer_as_kube_proxys_whatever_the_method() {
    let (address, _served, _) = metrics_port(everything());
    for (path, code, kind, nosniff, body) in CASES {
        for method in ["GET", "POST", "OPTIONS"] {
            let answer = by(method, address, path).await;
            assert_eq!(answer.code, code, "{method} {path}");
            assert_eq!(answer.header("content-type"), kind, "{method} {path}");
            let sniff = answer.header("x-content-type-options");
            assert_eq!(sniff == "nosniff", nosniff, "{method} {path}");
            if let Some(body) = body {
                assert_eq!(answer.body, body, "{method} {path}");
            }
        }
        let full = get(address, path).await;
        let head = by("HEAD", address, path).await;
        assert_eq!((head.code, head.body.as_str()), (code, ""), "HEAD {path}");
        assert_eq!(head.header("content-length"), full.body.len().to_string());
    }
    let answer = get(address, "/debug/pprof").await;
    assert_eq!(
        (answer.code, answer.header("location")),
        (302, "/debug/pprof/")
    );
    let answer = get(address, "/debug/pprof/profile").await;
    assert_eq!(answer.header("x-go-pprof"), "1", "the tool shows the text");
    assert!(answer.body.contains("perf record"), "{}", answer.body);
}

#[tokio::test]
async fn headers_are_written_as_go_writes_them() {
    let (address, _served, _) = metrics_port(everything());
    let request = "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answer = raw(address, request).await;
    let mut lines: Vec<_> = answer
        .lines()
        .filter(|l| !l.starts_with("Date: "))
        .collect();
    lines[1..5].sort_unstable();
    let expected = [
        "HTTP/1.1 200 OK",
        "Connection: close",
        "Content-Length: 2",
        "Content-Type: text/plain; charset=utf-8",
        "X-Content-Type-Options: nosniff",
        "",
        "ok",
    ];
    assert_eq!(lines, expected, "{answer}");
    let answer = raw(address, "GET /healthz HTTP/1.0\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.0 200 OK\r\n"), "{answer}");
    let answer = raw(address, "garbage\r\n\r\n").await;
    assert!(
        answer.starts_with("HTTP/1.1 400 Bad Request\r\n"),
        "{answer}"
    );
}

#[tokio::test]
async fn configz_holds_the_configuration_under_its_group() {
    let (address, _served, pages) = metrics_port(everything());
    let answer = get(address, "/configz").await;
    assert_eq!(answer.code, 200);
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert_eq!(
        answer.json(),
        json!({"kubeproxy.config.k8s.io": everything().config})
    );
    let changed = Pages {
        config: json!({"mode": "x"}),
        ..everything()
    };
    pages.send(Arc::new(changed)).unwrap();
    let answer = get(address, "/configz").await;
    assert_eq!(answer.json()["kubeproxy.config.k8s.io"]["mode"], "x");
}

#[tokio::test]
async fn pages_that_are_off_are_not_there() {
    let off = Pages {
        profiling: false,
        flagz: false,
        statusz: false,
        ..everything()
    };
    let (address, _served, pages) = metrics_port(off.clone());
    let paths = [
        "/flagz",
        "/statusz",
        "/debug/pprof/",
        "/debug/pprof/profile",
        "/debug/flags/v",
    ];
    for path in paths {
        let answer = get(address, path).await;
        assert_eq!(
            (answer.code, answer.body.as_str()),
            (404, "404 page not found\n"),
            "{path}"
        );
    }
    let statusz = Pages {
        statusz: true,
        ..off
    };
    pages.send(Arc::new(statusz)).unwrap();
    let body = get(address, "/statusz").await.body;
    assert!(
        body.ends_with("\nPaths: /configz /healthz /metrics /proxyMode\n"),
        "{body}"
    );
    pages.send(Arc::new(everything())).unwrap();
    for path in paths {
        assert_ne!(
            get(address, path).await.code,
            404,
            "{path} comes without a restart"
        );
    }
}
