// SPDX-License-Identifier: Apache-2.0
//! Snippets of nginx's configuration.

use super::{Cluster, all, endpoint};
use crate::rig::header;

const ALLOWED: [(&str, &str); 1] = [("allow-snippet-annotations", "true")];

#[test]
fn snippets_change_headers_both_ways() {
    let Some(cluster) = Cluster::new() else {
        return;
    };
    let endpoint = endpoint(cluster.own());
    let snippet = "more_set_headers \"X-One: own\" 'X-Host: $host$request_uri';\n\
                   more_clear_headers X-Two;\n\
                   more_set_headers -s 404 'X-Missing: 1';\n\
                   add_header X-Added \"a; b\";\n\
                   add_header X-Always c always;\n\
                   proxy_hide_header X-Hidden; # not for clients\n\
                   proxy_set_header X-Sent ${request_method}-$http_x_in;\n\
                   proxy_set_header X-Real-IP '';";
    let running = cluster
        .service("web", Some(endpoint.address))
        .config_map("settings", &ALLOWED)
        .ingress("a.example", &[("configuration-snippet", snippet)])
        .start();
    let answer = running.get("a.example", "/headers");
    for (name, values) in [
        ("X-One", &["own"][..]),
        ("X-Host", &["a.example/headers"]),
        ("X-Two", &[]),
        ("X-Missing", &[]),
        ("X-Added", &["a; b"]),
        ("X-Always", &["c"]),
        ("X-Hidden", &[]),
    ] {
        assert_eq!(all(&answer, name), values, "{}", answer.head);
    }
    let answer = running.get("a.example", "/status/404");
    assert_eq!(all(&answer, "X-Missing"), ["1"], "{}", answer.head);
    assert_eq!(all(&answer, "X-Always"), ["c"], "{}", answer.head);
    assert!(all(&answer, "X-Added").is_empty(), "{}", answer.head);
    let seen = running
        .ask(
            "PUT",
            "a.example",
            "/echo",
            &["X-In: in", "Content-Length: 0"],
        )
        .body;
    assert_eq!(header(&seen, "X-Sent"), Some("PUT-in"), "{seen}");
    assert_eq!(header(&seen, "X-Real-IP"), None, "{seen}");
}

#[test]
fn snippets_rewrite_redirect_and_answer() {
    let Some(cluster) = Cluster::new() else {
        return;
    };
    let endpoint = endpoint(cluster.own());
    let snippet = "rewrite ^(/app1)$ $1/ permanent;\n\
                   rewrite ^/old/(.*)$ https://b.example/$1? redirect;\n\
                   rewrite ^/in/(.*)$ /echo/$1 break;\n\
                   rewrite ^/loop$ /loop last;\n\
                   rewrite ^/go$ /teapot last;\n\
                   rewrite ^/teapot$ /go-on break;\n";
    let running = cluster
        .service("web", Some(endpoint.address))
        .config_map("settings", &ALLOWED)
        .ingress("a.example", &[("configuration-snippet", snippet)])
        .ingress(
            "text.example",
            &[("configuration-snippet", "return 200 'hi $remote_addr';")],
        )
        .ingress("gone.example", &[("configuration-snippet", "return 410;")])
        .ingress(
            "away.example",
            &[("configuration-snippet", "return 303 /there;")],
        )
        .start();
    for (path, status, location) in [
        ("/app1?x=1", 301, "http://a.example/app1/?x=1"),
        ("/old/a%20b?x=1", 302, "https://b.example/a%20b"),
    ] {
        let answer = running.get("a.example", path);
        assert_eq!(
            (answer.status, answer.header("location")),
            (status, Some(location))
        );
    }
    assert!(endpoint.requests().is_empty());
    let seen = running.get("a.example", "/in/a%20b/../c?x=1").body;
    assert!(seen.starts_with("GET /echo/c?x=1 HTTP/1.1\r\n"), "{seen}");
    let seen = running.get("a.example", "/go?x=1").body;
    assert!(seen.starts_with("GET /go-on?x=1 HTTP/1.1\r\n"), "{seen}");
    // What is not rewritten goes on as it came.
    let seen = running.get("a.example", "/x%2F../y").body;
    assert!(seen.starts_with("GET /x%2F../y HTTP/1.1\r\n"), "{seen}");
    assert_eq!(running.get("a.example", "/loop").status, 500);
    let answer = running.get("text.example", "/");
    assert_eq!((answer.status, answer.body.as_str()), (200, "hi 127.0.0.1"));
    assert_eq!(answer.header("content-type"), Some("text/html"));
    assert_eq!(running.get("gone.example", "/").status, 410);
    let answer = running.get("away.example", "/");
    assert_eq!(answer.header("location"), Some("http://away.example/there"));
}

#[test]
fn a_server_snippet_is_that_of_the_oldest_ingress() {
    let Some(cluster) = Cluster::new() else {
        return;
    };
    let endpoint = endpoint(cluster.own());
    let first = [(
        "server-snippet",
        "more_set_headers 'X-Server: first'; rewrite ^/a$ /echo last;",
    )];
    let second = [("server-snippet", "more_set_headers 'X-Server: second';")];
    let running = cluster
        .service("web", Some(endpoint.address))
        .service("other", Some(endpoint.address))
        .config_map("settings", &ALLOWED)
        .ingress_to("one", "a.example", "web", &first)
        .ingress_to("two", "a.example", "other", &second)
        .ingress_to("three", "b.example", "other", &[])
        .start();
    let answer = running.get("a.example", "/a");
    assert_eq!(all(&answer, "X-Server"), ["first"], "{}", answer.head);
    assert!(
        answer.body.starts_with("GET /echo HTTP/1.1\r\n"),
        "{}",
        answer.body
    );
    assert!(all(&running.get("b.example", "/a"), "X-Server").is_empty());
}

#[test]
fn what_is_not_known_closes_the_paths_and_what_is_not_allowed_is_dropped() {
    let Some(cluster) = Cluster::new() else {
        return;
    };
    let endpoint = endpoint(cluster.own());
    let bad = "more_set_headers 'X-A: b';\naccess_by_lua 'ngx.exit(200)';";
    let running = cluster
        .service("web", Some(endpoint.address))
        .config_map("settings", &ALLOWED)
        .ingress("bad.example", &[("configuration-snippet", bad)])
        .ingress(
            "if.example",
            &[("server-snippet", "if ($host) { return 200; }")],
        )
        .start();
    for host in ["bad.example", "if.example"] {
        let answer = running.get(host, "/echo");
        assert_eq!(
            (answer.status, all(&answer, "X-A")),
            (503, vec![]),
            "{host}"
        );
    }
    assert!(endpoint.requests().is_empty());
    drop(running);

    let Some(cluster) = Cluster::new() else {
        return;
    };
    let running = cluster
        .service("web", Some(endpoint.address))
        .ingress("bad.example", &[("configuration-snippet", bad)])
        .start();
    let answer = running.get("bad.example", "/echo");
    assert_eq!((answer.status, all(&answer, "X-A")), (200, vec![]));
}

#[test]
fn nothing_rewrites_what_a_snippet_has_settled() {
    let Some(cluster) = Cluster::new() else {
        return;
    };
    let endpoint = endpoint(cluster.own());
    let both = [
        (
            "configuration-snippet",
            "rewrite ^/in/(.*)$ /echo/$1 break;",
        ),
        ("rewrite-target", "/target"),
    ];
    let away = [
        ("configuration-snippet", "rewrite ^/in$ /echo break;"),
        ("permanent-redirect", "https://b.example"),
    ];
    let running = cluster
        .service("web", Some(endpoint.address))
        .config_map("settings", &ALLOWED)
        .ingress("a.example", &both)
        .ingress("away.example", &away)
        .start();
    for (host, path, line) in [
        ("a.example", "/in/x?y", "GET /echo/x?y HTTP/1.1\r\n"),
        ("a.example", "/else?y", "GET /target?y HTTP/1.1\r\n"),
        ("away.example", "/in", "GET /echo HTTP/1.1\r\n"),
    ] {
        let seen = running.get(host, path).body;
        assert!(seen.starts_with(line), "{host}{path}: {seen}");
    }
    assert_eq!(running.get("away.example", "/else").status, 301);
}
