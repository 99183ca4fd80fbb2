// SPDX-License-Identifier: Apache-2.0
//! Which endpoint is asked, and which next: the whole program, real sockets.

use std::collections::BTreeSet;
use std::time::Duration;

use super::rig::{Endpoint, eventually, header};
use super::world::World;

/// A Service `web` of these endpoints, and an Ingress with these annotations.
fn world(
    make: impl FnOnce(&World) -> Vec<Endpoint>,
    annotations: &[(&str, &str)],
) -> Option<(World, Vec<Endpoint>)> {
    let mut world = World::new()?;
    let endpoints = make(&world);
    let addresses: Vec<_> = endpoints.iter().map(|e| e.address).collect();
    world.service("web", &addresses);
    world.ingress("web", "web", annotations);
    world.start(&[]);
    eventually("it serves", || world.get("/", &[]).status != 0);
    Some((world, endpoints))
}

fn named(world: &World) -> Vec<Endpoint> {
    let names = ["one", "two", "three", "four", "five", "six"];
    names.map(|name| world.named(name)).into()
}

#[test]
fn a_hash_keeps_what_is_the_same_together() {
    for by in [
        "$request_uri",
        "${arg_user}-x",
        "$http_x_user",
        "$cookie_user",
    ] {
        let Some((world, _)) = world(named, &[("upstream-hash-by", by)]) else {
            return;
        };
        let mut all = BTreeSet::new();
        for user in 0..20 {
            let path = format!("/?user={user}");
            let lines = [format!("X-User: {user}"), format!("Cookie: user={user}")];
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            let ask = || world.get(&path, &lines).body;
            let of_user: BTreeSet<_> = (0..4).map(|_| ask()).collect();
            assert_eq!(of_user.len(), 1, "{by}: {of_user:?}");
            all.extend(of_user);
        }
        assert!(all.len() > 2, "{by}: {all:?}");
    }
}

#[test]
fn a_subset_is_as_large_as_it_should_be() {
    let subset = [
        ("upstream-hash-by", "$request_uri"),
        ("upstream-hash-by-subset", "true"),
        ("upstream-hash-by-subset-size", "2"),
    ];
    let Some((world, _)) = world(named, &subset) else {
        return;
    };
    for n in 0..5 {
        let path = format!("/{n}");
        let seen: BTreeSet<_> = (0..30).map(|_| world.get(&path, &[]).body).collect();
        assert_eq!(seen.len(), 2, "{path}: {seen:?}");
    }
}

#[test]
fn ewma_goes_to_whom_answers_fast() {
    let Some((world, _)) = world(
        |world| {
            let slow = Endpoint::serving_at(world.own(), |mut served, _| {
                while served.request().is_some() {
                    std::thread::sleep(Duration::from_millis(150));
                    served.answer("slow");
                }
            });
            vec![slow, world.named("fast")]
        },
        &[("load-balance", "ewma")],
    ) else {
        return;
    };
    // Each thread has to see both first.
    let mut client = world.connect();
    let request = "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";
    let bodies: Vec<String> = (0..60).map(|_| client.ask(request).body).collect();
    let slow = bodies.iter().filter(|body| *body == "slow").count();
    assert!(slow < 10, "{slow} of 60 were slow");
}

const BUSY: &str = "HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy";

#[test]
fn a_status_is_retried_if_it_is_wanted() {
    let endpoints = |world: &World| vec![world.saying(BUSY), world.named("free")];
    let Some((plain, _)) = world(endpoints, &[]) else {
        return;
    };
    let seen: BTreeSet<u16> = (0..10).map(|_| plain.get("/", &[]).status).collect();
    assert_eq!(seen, BTreeSet::from([200, 503]));
    let retry = [("proxy-next-upstream", "error http_503")];
    let Some((world, _)) = world(endpoints, &retry) else {
        return;
    };
    let head = ["Content-Length: 0"];
    for _ in 0..10 {
        assert_eq!(world.body(&[]), "free");
    }
    // Not what may have been done already.
    let seen: BTreeSet<u16> = (0..10)
        .map(|_| world.send("POST", "/", &head, "").status)
        .collect();
    assert_eq!(seen, BTreeSet::from([200, 503]));
    let again = [("proxy-next-upstream", "http_503 non_idempotent")];
    let Some((world, _)) = self::world(endpoints, &again) else {
        return;
    };
    let mut all = (0..10).map(|_| world.send("POST", "/", &head, ""));
    assert!(all.all(|answer| answer.body == "free"));
}

#[test]
fn the_last_answer_is_the_client_s() {
    let retry = [
        ("proxy-next-upstream", "http_503"),
        ("proxy-next-upstream-tries", "2"),
    ];
    let all = |world: &World| (0..3).map(|_| world.saying(BUSY)).collect();
    let Some((world, endpoints)) = world(all, &retry) else {
        return;
    };
    let before: usize = endpoints.iter().map(|e| e.requests().len()).sum();
    let answer = world.get("/", &[]);
    assert_eq!((answer.status, &*answer.body), (503, "busy"));
    let after: usize = endpoints.iter().map(|e| e.requests().len()).sum();
    assert_eq!(after - before, 2);
}

#[test]
fn nothing_is_retried_when_it_is_off() {
    for (value, tried) in [("off", 1), ("error", 3)] {
        let Some(mut world) = World::new() else {
            return;
        };
        let breaks = || {
            Endpoint::serving_at(world.own(), |mut served, _| {
                served.request();
                served.close();
            })
        };
        let endpoints: Vec<Endpoint> = (0..3).map(|_| breaks()).collect();
        let addresses: Vec<_> = endpoints.iter().map(|e| e.address).collect();
        world.service("web", &addresses);
        world.ingress("web", "web", &[("proxy-next-upstream", value)]);
        world.start(&[]);
        let count = || -> usize { endpoints.iter().map(|e| e.requests().len()).sum() };
        eventually("it serves", || world.get("/", &[]).status == 502);
        let before = count();
        assert_eq!(world.get("/", &[]).status, 502);
        assert_eq!(count() - before, tried, "{value}");
    }
}

#[test]
fn retries_end_in_time() {
    let silent = |world: &World| -> Vec<Endpoint> {
        let silent = || {
            Endpoint::serving_at(
                world.own(),
                |mut served, _| while served.request().is_some() {},
            )
        };
        (0..3).map(|_| silent()).collect()
    };
    let limits = [
        ("proxy-read-timeout", "1"),
        ("proxy-next-upstream-timeout", "1"),
    ];
    let Some(mut world) = World::new() else {
        return;
    };
    let endpoints = silent(&world);
    let addresses: Vec<_> = endpoints.iter().map(|e| e.address).collect();
    world.service("web", &addresses);
    world.ingress("web", "web", &limits);
    world.path("other", "/other", "web", &limits[..1]);
    world.start(&[]);
    let count = || -> usize { endpoints.iter().map(|e| e.requests().len()).sum() };
    eventually("it serves", || world.get("/none", &[]).status == 504);
    let before = count();
    assert_eq!(world.get("/", &[]).status, 504);
    assert_eq!(count() - before, 1);
    assert_eq!(world.get("/other", &[]).status, 504);
    assert_eq!(count() - before, 4);
}

#[test]
fn a_service_may_be_asked_as_a_whole() {
    let Some(mut world) = World::new() else {
        return;
    };
    let (service, pod) = (world.named("service"), world.named("pod"));
    let own = world.own().to_string();
    let by_service = ("service-upstream", "true");
    let port = service.address.port();
    world.service_at("web", &own, port, &[pod.address]);
    world.service("headless", &[pod.address]);
    world.path("headless", "/headless", "headless", &[by_service]);
    world.path_to(
        "web",
        "/",
        ("web", port),
        &[by_service, ("affinity", "cookie")],
    );
    world.path_to("pod", "/pod", ("web", port), &[]);
    world.start(&[]);
    eventually("it serves", || world.get("/pod", &[]).status == 200);
    let answer = world.get("/", &[]);
    assert_eq!(
        (&*answer.body, answer.header("set-cookie")),
        ("service", None)
    );
    assert_eq!(world.get("/pod", &[]).body, "pod");
    assert_eq!(world.get("/headless", &[]).body, "pod");
}

#[test]
fn too_large_a_head_is_a_bad_gateway() {
    let large = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Large: 0123456789012345678901234567890\
                 1234567890123456789012345678901234567890123456789\r\n\r\nok";
    let endpoints = |world: &World| vec![world.saying(large)];
    for (size, expected) in [("64", 502), ("1k", 200)] {
        let Some((world, _)) = world(endpoints, &[("proxy-buffer-size", size)]) else {
            return;
        };
        assert_eq!(world.get("/", &[]).status, expected, "{size}");
    }
}

#[test]
fn the_size_of_a_head_without_annotation_is_that_of_the_behaviour() {
    let large = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Large: {}\r\n\r\nok",
        "x".repeat(6000)
    );
    let large: &'static str = large.leak();
    for (nginx, annotations, expected) in [
        (true, &[][..], 502),
        (true, &[("proxy-buffer-size", "8k")], 200),
        (false, &[], 200),
    ] {
        let Some(mut world) = World::new() else {
            return;
        };
        if nginx {
            world.behaves_as_ingress_nginx();
        }
        let (large, small) = (world.saying(large), world.named("small"));
        world.service("web", &[large.address]);
        world.service("small", &[small.address]);
        world.ingress("web", "web", annotations);
        world.path("small", "/small", "small", annotations);
        world.start(&[]);
        eventually("it serves", || world.get("/small", &[]).status == 200);
        assert_eq!(
            world.get("/", &[]).status,
            expected,
            "{nginx} {annotations:?}"
        );
    }
}

#[test]
fn endpoints_are_given_a_host_of_their_own() {
    for (host, seen) in [
        ("other.example:81", "other.example:81"),
        ("$host.more", "a.example.more"),
        (
            "${service_name}.$namespace-$http_x_own$request_uri",
            "web.default-b/x?y",
        ),
        // As it would be without the annotation: nginx would not start with the one, and would
        // send none with the other.
        ("$nonsense", "a.example"),
        ("$http_x_none", "a.example"),
    ] {
        let echo = |world: &World| vec![world.echo()];
        let annotations = [("upstream-vhost", host), ("rewrite-target", "/z")];
        let Some((world, _)) = world(echo, &annotations) else {
            return;
        };
        let answer = world.get("/x?y", &["X-Own: b"]);
        assert_eq!(header(&answer.body, "host"), Some(seen), "{answer:?}");
    }
}

#[test]
fn endpoints_may_be_spoken_to_in_http_1_0() {
    let echo = |world: &World| vec![world.echo()];
    let Some((world, _)) = world(echo, &[("proxy-http-version", "1.0")]) else {
        return;
    };
    let answer = world.get("/x", &[]);
    assert!(answer.body.starts_with("GET /x HTTP/1.0\r\n"), "{answer:?}");
    let sent = world.send("POST", "/x", &["Content-Length: 3"], "abc");
    assert!(sent.body.ends_with("\r\n\r\nabc"), "{sent:?}");
    let chunked = ["Transfer-Encoding: chunked"];
    let chunked = world.send("POST", "/x", &chunked, "3\r\nabc\r\n0\r\n\r\n");
    assert_eq!(chunked.status, 411);
}
