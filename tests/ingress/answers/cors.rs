// SPDX-License-Identifier: Apache-2.0
//! Cross-origin requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Cluster, Running, all, endpoint, head};
use crate::rig::{Answer, Endpoint};

const ORIGIN: &str = "Access-Control-Allow-Origin";

fn start() -> Option<(Running, Endpoint)> {
    let cluster = Cluster::new()?;
    let endpoint = endpoint(cluster.own());
    let some = [
        ("enable-cors", "true"),
        (
            "cors-allow-origin",
            "https://*.a.example:8443, http://b.example",
        ),
        ("cors-allow-methods", "GET"),
        ("cors-allow-headers", "X-A"),
        ("cors-expose-headers", "X-E"),
        ("cors-allow-credentials", "false"),
        ("cors-max-age", "5"),
    ];
    let bad = [("enable-cors", "true"), ("cors-allow-origin", "b.example")];
    let redirects = [("enable-cors", "true"), ("force-ssl-redirect", "true")];
    let running = cluster
        .service("web", Some(endpoint.address))
        .ingress("all.example", &[("enable-cors", "true")])
        .ingress("some.example", &some)
        .ingress("off.example", &[("cors-allow-origin", "*")])
        .ingress("bad.example", &bad)
        .ingress("redirects.example", &redirects)
        .start();
    Some((running, endpoint))
}

fn ask(running: &Running, method: &str, host: &str, origin: &str) -> Answer {
    let line = format!("Origin: {origin}");
    let headers = if origin.is_empty() {
        vec![]
    } else {
        vec![line.as_str()]
    };
    running.ask(method, host, "/headers", &headers)
}

#[test]
fn browsers_are_told_who_may_ask() {
    let Some((running, endpoint)) = start() else {
        return;
    };
    let answer = ask(&running, "GET", "all.example", "https://x");
    assert_eq!(all(&answer, ORIGIN), ["*"], "{}", answer.head);
    let defaults = [
        ("Access-Control-Allow-Credentials", "true"),
        (
            "Access-Control-Allow-Methods",
            "GET, PUT, POST, DELETE, PATCH, OPTIONS",
        ),
        (
            "Access-Control-Allow-Headers",
            "DNT,Keep-Alive,User-Agent,X-Requested-With,If-Modified-Since,Cache-Control,\
             Content-Type,Range,Authorization",
        ),
        ("Access-Control-Max-Age", "1728000"),
        // Not said by annotations: the endpoint's own stays.
        ("Access-Control-Expose-Headers", "e"),
    ];
    for (name, value) in defaults {
        assert_eq!(all(&answer, name), [value], "{}", answer.head);
    }
    let allowed = "https://x.a.example:8443";
    let answer = ask(&running, "GET", "some.example", allowed);
    for (name, value) in [
        (ORIGIN, allowed),
        ("Access-Control-Allow-Methods", "GET"),
        ("Access-Control-Allow-Headers", "X-A"),
        ("Access-Control-Expose-Headers", "X-E"),
        ("Access-Control-Max-Age", "5"),
    ] {
        assert_eq!(all(&answer, name), [value], "{}", answer.head);
    }
    assert!(all(&answer, "Access-Control-Allow-Credentials").is_empty());
    // Who is not allowed gets what the endpoint says.
    for (host, origin) in [
        ("some.example", "https://a.example:8443"),
        ("some.example", "https://x.y.a.example:8443"),
        ("some.example", "http://b.example.evil"),
        ("some.example", ""),
        ("bad.example", "http://b.example"),
        ("off.example", "https://x"),
    ] {
        let answer = ask(&running, "GET", host, origin);
        assert_eq!(all(&answer, ORIGIN), ["endpoint"], "{host} {origin}");
        assert!(
            all(&answer, "Access-Control-Max-Age").is_empty(),
            "{host} {origin}"
        );
    }
    assert_eq!(endpoint.requests().len(), 8);
}

#[test]
fn a_preflight_is_answered_at_once_where_it_is_allowed() {
    let Some((running, endpoint)) = start() else {
        return;
    };
    for (host, origin, value) in [
        ("all.example", "", "*"),
        ("some.example", "http://b.example", "http://b.example"),
        // Before it is sent to HTTPS.
        ("redirects.example", "https://x", "*"),
    ] {
        let answer = ask(&running, "OPTIONS", host, origin);
        assert_eq!(answer.status, 204, "{host}: {}", answer.head);
        assert_eq!(all(&answer, ORIGIN), [value], "{host}");
        for name in ["Content-Type", "Content-Length"] {
            assert!(all(&answer, name).is_empty(), "{}", answer.head);
        }
    }
    assert!(endpoint.requests().is_empty());
    assert_eq!(ask(&running, "GET", "redirects.example", "").status, 308);
    for (host, origin) in [
        ("some.example", "http://c.example"),
        ("some.example", ""),
        ("off.example", "https://x"),
    ] {
        assert_eq!(ask(&running, "OPTIONS", host, origin).status, 200, "{host}");
    }
    assert_eq!(endpoint.requests().len(), 3);
}

/// With authentication on and off: a browser sends no credentials with its question.
#[test]
fn no_preflight_reaches_the_endpoint_under_load() {
    let Some(cluster) = Cluster::new() else {
        return;
    };
    let endpoint = endpoint(cluster.own());
    let annotations = [
        ("enable-cors", "true"),
        ("cors-allow-origin", "https://a.example"),
        ("auth-type", "basic"),
        ("auth-secret", "users"),
    ];
    let running = cluster
        .secret(
            "users",
            "auth",
            "dTp7U0hBfTRxMk9QRlJ4bXByMDBJMXJ6VnFxbkl4eVJyZz0K",
        )
        .service("web", Some(endpoint.address))
        .ingress("auth.example", &annotations)
        .ingress("open.example", &annotations[..2])
        .start();
    let good = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let (http, good) = (running.http, good.clone());
            std::thread::spawn(move || {
                let mut client = crate::rig::Client::connect(http);
                for number in 0..250 {
                    let host = ["open.example", "auth.example"][number % 2];
                    let origin = ["Origin: https://a.example"];
                    client.send(head("OPTIONS", host, "/", &origin));
                    if client.answer(false).status == 204 {
                        good.fetch_add(1, Ordering::SeqCst);
                    }
                }
            })
        })
        .collect();
    clients
        .into_iter()
        .for_each(|client| client.join().unwrap());
    assert_eq!(good.load(Ordering::SeqCst), 2000);
    assert!(endpoint.requests().is_empty());
}
