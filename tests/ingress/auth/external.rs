// SPDX-License-Identifier: Apache-2.0
use std::sync::Arc;

use ferrule::ingress::table::{Backend, Table, Upstream};

use super::{World, all, basic};
use crate::rig::{Endpoint, Plan, Served, eventually, header};

/// A service that answers what its path says: `/STATUS`, with `extra` lines.
fn service(extra: &'static str) -> Endpoint {
    Endpoint::serving(move |mut served: Served, _| {
        while let Some(request) = served.request() {
            let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
            let status = path.trim_start_matches('/').split('?').next().unwrap();
            served.client.send(format!(
                "HTTP/1.1 {status} X\r\nContent-Length: 6\r\n{extra}\r\ntheirs"
            ));
        }
    })
}

/// The endpoints of the only host of a rig.
fn upstream(table: &Table) -> Arc<Upstream> {
    match &table.router.find("a.example", "/").unwrap().backend {
        Backend::Upstream(upstream) => upstream.clone(),
        other => panic!("{other:?}"),
    }
}

fn url(service: &Endpoint, path: &str) -> String {
    format!("http://{}/{path}", service.address)
}

#[test]
fn what_the_service_says_is_done() {
    let Some(mut world) = World::new() else {
        return;
    };
    let service = service(
        "X-User: anna\r\nSet-Cookie: s=1\r\nSet-Cookie: t=2\r\nWWW-Authenticate: Custom x\r\n",
    );
    let headers = ("auth-response-headers", "X-User, X-None");
    for status in ["200", "204", "401", "403", "302", "404", "500"] {
        let url = url(&service, &format!("{status}?host=$host"));
        world.ingress(&format!("s{status}"), &[("auth-url", &url), headers]);
    }
    let nobody = format!("http://{}/", Endpoint::nobody());
    world.ingress("nobody", &[("auth-url", &nobody)]);
    world.ingress("unknown", &[("auth-url", "http://no.such.name.invalid/")]);
    world.ingress("bad", &[("auth-url", "auth.example")]);
    let refused = url(&service, "401");
    world.ingress(
        "always",
        &[("auth-url", &refused), ("auth-always-set-cookie", "true")],
    );
    world.start();
    for (name, expected) in [
        ("s200", 200),
        ("s204", 200),
        ("s401", 401),
        ("s403", 403),
        ("s302", 500),
        ("s404", 500),
        ("s500", 500),
        ("nobody", 500),
        ("unknown", 500),
        ("bad", 503),
    ] {
        assert_eq!(world.status(name), expected, "{name}");
    }
    let faked = ["X-User: root", "X-None: root", "X-Kept: 1"];
    let answer = world.get("s200", "/a?b=c", &faked);
    assert_eq!(all(&answer.head, "set-cookie"), ["s=1", "t=2"]);
    let seen = answer.body;
    assert_eq!(header(&seen, "x-user"), Some("anna"), "{seen}");
    assert_eq!(
        (header(&seen, "x-none"), header(&seen, "x-kept")),
        (None, Some("1"))
    );
    let answer = world.get("s401", "/", &[]);
    assert_eq!(answer.header("www-authenticate"), Some("Custom x"));
    assert_eq!(all(&answer.head, "set-cookie"), [""; 0]);
    assert!(
        !answer.body.contains("theirs"),
        "the page is ours: {answer:?}"
    );
    assert_eq!(
        all(&world.get("always", "/", &[]).head, "set-cookie"),
        ["s=1", "t=2"]
    );
}

#[test]
fn the_service_is_told_of_the_request() {
    let Some(mut world) = World::new() else {
        return;
    };
    let service = service("");
    world.object(
        "ConfigMap",
        "headers",
        &[("X-From-Map", "$request_method $uri")],
    );
    let target = url(&service, "200?x=$arg_x");
    world.ingress("bare", &[("auth-url", &target)]);
    world.ingress(
        "full",
        &[
            ("auth-url", &target),
            ("auth-method", "POST"),
            ("auth-request-redirect", "https://$host/back"),
            ("auth-proxy-set-headers", "default/headers"),
            ("auth-snippet", "proxy_set_header X-From-Snippet \"it is\";"),
        ],
    );
    world.start();
    let lines = [
        "Cookie: s=1",
        "Content-Length: 3",
        "X-Forwarded-Proto: gopher",
        "X-Request-ID: abc",
        "Connection: keep-alive, X-Hop",
        "X-Hop: 1",
    ];
    let head = |name: &str| {
        let before = service.requests().len();
        let mut client = world.connect();
        client.send(super::request(name, "/a%20b?x=y", &lines) + "123");
        assert_eq!(client.answer(false).status, 200);
        let requests = service.requests();
        assert_eq!(requests.len(), before + 1);
        requests[before].clone()
    };
    let bare = head("bare");
    assert!(bare.starts_with("GET /200?x=y HTTP/1.1\r\n"), "{bare}");
    for (name, expected) in [
        ("host", Some("127.0.0.1")),
        ("cookie", Some("s=1")),
        ("content-length", None),
        ("x-forwarded-proto", None),
        ("x-hop", None),
        ("x-request-id", Some("abc")),
        ("x-original-url", Some("http://bare.example/a%20b?x=y")),
        ("x-original-method", Some("GET")),
        ("x-original-uri", None),
        ("x-sent-from", Some("nginx-ingress-controller")),
        ("x-real-ip", Some("127.0.0.1")),
        ("x-forwarded-for", Some("127.0.0.1")),
        ("x-auth-request-redirect", Some("/a%20b?x=y")),
        ("connection", Some("close")),
    ] {
        assert_eq!(header(&bare, name), expected, "{name}");
    }
    let full = head("full");
    assert!(full.starts_with("POST /200?x=y HTTP/1.1\r\n"), "{full}");
    for (name, expected) in [
        ("x-original-uri", "/a%20b?x=y"),
        ("x-scheme", "http"),
        ("x-auth-request-redirect", "https://full.example/back"),
        ("x-from-map", "GET /a b"),
        ("x-from-snippet", "it is"),
    ] {
        assert_eq!(header(&full, name), Some(expected), "{name}");
    }
    // Its other headers are another's.
    world.object("ConfigMap", "headers", &[("X-From-Map", "new")]);
    eventually("the ConfigMap is another", || {
        header(&head("full"), "x-from-map") == Some("new")
    });
}

#[test]
fn who_may_not_come_in_is_sent_to_sign_in() {
    let Some(mut world) = World::new() else {
        return;
    };
    let service = service("Set-Cookie: state=1\r\n");
    world.object("Secret", "users", &[("auth", "anna:{PLAIN}secret")]);
    let (refused, forbidden) = (url(&service, "401"), url(&service, "403"));
    let signin = ("auth-signin", "https://in.example/start");
    world.ingress("a", &[("auth-url", &refused), signin]);
    world.ingress(
        "named",
        &[
            ("auth-url", &refused),
            ("auth-signin", "https://in.example/start?x=$host"),
            ("auth-signin-redirect-param", "next"),
        ],
    );
    world.ingress(
        "own",
        &[
            ("auth-url", &refused),
            ("auth-signin", "https://in.example/?rd=https://own.example"),
        ],
    );
    world.ingress("forbidden", &[("auth-url", &forbidden), signin]);
    world.ingress(
        "login",
        &[
            ("auth-url", &refused),
            signin,
            ("auth-type", "basic"),
            ("auth-secret", "users"),
        ],
    );
    world.start();
    let back = |host: &str| format!("http://{host}.example%2Fa%3Fb%3Dc%26d");
    for (name, expected) in [
        ("a", format!("https://in.example/start?rd={}", back("a"))),
        (
            "named",
            format!(
                "https://in.example/start?x=named.example&next={}",
                back("named")
            ),
        ),
        (
            "own",
            "https://in.example/?rd=https://own.example".to_owned(),
        ),
        (
            "login",
            format!("https://in.example/start?rd={}", back("login")),
        ),
    ] {
        let answer = world.get(name, "/a?b=c&d", &[]);
        assert_eq!(answer.status, 302, "{name}");
        assert_eq!(answer.header("location"), Some(&*expected), "{name}");
        // nginx adds to answers of 302.
        let cookies = all(&answer.head, "set-cookie");
        assert_eq!(cookies.len(), usize::from(name != "login"), "{name}");
    }
    assert_eq!(world.status("forbidden"), 403);
}

#[test]
fn answers_are_kept_by_their_key() {
    let Some(mut world) = World::new() else {
        return;
    };
    let (kept, denied) = (service("X-User: anna\r\n"), service(""));
    let key = ("auth-cache-key", "$remote_user$http_authorization$cookie_s");
    world.ingress(
        "a",
        &[
            ("auth-url", &url(&kept, "200")),
            key,
            ("auth-response-headers", "X-User"),
        ],
    );
    world.ingress(
        "short",
        &[
            ("auth-url", &url(&denied, "401")),
            key,
            ("auth-cache-duration", "401 300ms"),
        ],
    );
    world.start();
    let ask = |name: &str, line: &str| world.get(name, "/", &[line]);
    for _ in 0..5 {
        let answer = ask("a", "Cookie: s=1");
        assert_eq!(answer.status, 200);
        assert_eq!(header(&answer.body, "x-user"), Some("anna"));
    }
    assert_eq!(kept.requests().len(), 1);
    ask("a", "Cookie: s=2");
    ask("a", &basic("anna:secret"));
    assert_eq!(kept.requests().len(), 3);
    for _ in 0..3 {
        assert_eq!(ask("short", "Cookie: s=1").status, 401);
    }
    let before = denied.requests().len();
    eventually("it is asked again", || {
        ask("short", "Cookie: s=1");
        denied.requests().len() > before
    });
}

#[test]
fn connections_are_kept_if_that_is_wanted() {
    let Some(mut world) = World::new() else {
        return;
    };
    let (kept, fresh) = (service(""), service("Connection: close\r\n"));
    let target = url(&kept, "200");
    world.ingress(
        "a",
        &[
            ("auth-url", &target),
            ("auth-keepalive", "10"),
            ("auth-keepalive-requests", "4"),
        ],
    );
    world.ingress("b", &[("auth-url", &url(&fresh, "200"))]);
    world.start();
    // One connection: always the same thread.
    let mut client = world.connect();
    for n in 0..12 {
        assert_eq!(client.ask(super::request("a", "/", &[])).status, 200, "{n}");
        assert_eq!(client.ask(super::request("b", "/", &[])).status, 200, "{n}");
    }
    assert_eq!(fresh.connections(), 12);
    // Four questions each; one more where the answer had not been read to its end.
    assert!(
        (3..12).contains(&kept.connections()),
        "{}",
        kept.connections()
    );
}

#[test]
fn the_service_may_speak_tls() {
    let Some(mut world) = World::new() else {
        return;
    };
    let service = service("X-User: anna\r\n");
    let rig = Plan::to(&[service.address]).start();
    let mut table = Table::clone(&rig.table.load());
    table.default_backend = Some(upstream(&rig.table.load()));
    rig.table.store(Arc::new(table));
    let target = format!("https://{}/200", rig.https);
    world.ingress(
        "a",
        &[("auth-url", &target), ("auth-response-headers", "X-User")],
    );
    world.start();
    let answer = world.get("a", "/", &[]);
    assert_eq!(answer.status, 200);
    assert_eq!(header(&answer.body, "x-user"), Some("anna"));
}

#[test]
fn a_config_map_asks_for_all() {
    let Some(mut world) = World::new() else {
        return;
    };
    let service = service("X-User: anna\r\n");
    let (refused, passed) = (url(&service, "401"), url(&service, "200"));
    world.settings(&[
        ("global-auth-url", &refused),
        ("global-auth-signin", "https://in.example/"),
        ("no-auth-locations", "/.well-known/acme-challenge, /open"),
    ]);
    world.ingress("bare", &[]);
    world.ingress("own", &[("auth-url", &passed)]);
    world.ingress("off", &[("enable-global-auth", "false")]);
    world.ingress_at("bare-open", "/open", &[]);
    world.start();
    let answer = world.get("bare", "/", &[]);
    assert_eq!(answer.status, 302);
    let expected = "https://in.example/?rd=http://bare.example%2F";
    assert_eq!(answer.header("location"), Some(expected));
    assert_eq!((world.status("own"), world.status("off")), (200, 200));
    assert_eq!(world.get("bare", "/open/x", &[]).status, 200);
    assert_eq!(world.status("nobody"), 404);
}
