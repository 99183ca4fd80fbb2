// SPDX-License-Identifier: Apache-2.0
//! Canaries: the whole program, real sockets.

use super::rig::eventually;
use super::world::World;

const ON: (&str, &str) = ("canary", "true");

/// `main` and its canary with these annotations, each of which tells its name.
fn world(canary: &[(&str, &str)]) -> Option<World> {
    let mut world = World::new()?;
    let (main, other) = (world.named("main"), world.named("canary"));
    world.service("main", &[main.address]);
    world.service("other", &[other.address]);
    world.ingress("main", "main", &[]);
    world.ingress("other", "other", &[&[ON], canary].concat());
    world.start(&["--nginx-metrics", "--enable-metrics"]);
    eventually("it serves", || world.get("/", &[]).status == 200);
    Some(world)
}

#[test]
fn headers_and_cookies_decide_in_order() {
    let Some(world) = world(&[
        ("canary-by-header", "X-Canary"),
        ("canary-by-cookie", "beta"),
        ("canary-weight", "100"),
    ]) else {
        return;
    };
    for (lines, expected) in [
        (&[][..], "canary"),
        (&["X-Canary: never"], "main"),
        (&["X-Canary: always"], "canary"),
        (&["Cookie: a=b; beta=never"], "main"),
        (&["Cookie: beta=always"], "canary"),
        (&["X-Canary: never", "Cookie: beta=always"], "main"),
        (&["X-Canary: always", "Cookie: beta=never"], "canary"),
        (&["X-Canary: else", "Cookie: beta=never"], "main"),
    ] {
        assert_eq!(world.body(lines), expected, "{lines:?}");
    }
    let metrics = world.metrics();
    for canary in ["", "default-other-80"] {
        let label = format!("canary=\"{canary}\"");
        let mut lines = metrics.lines().filter(|line| line.contains(&label));
        let counted = lines.any(|line| {
            line.starts_with("nginx_ingress_controller_requests{")
                && line.contains("service=\"main\"")
                && line.contains("ingress=\"main\"")
        });
        assert!(counted, "{canary:?}: {metrics}");
    }
}

#[test]
fn a_value_or_a_pattern_replaces_the_words() {
    let header = ("canary-by-header", "X-Canary");
    let Some(world) = world(&[header, ("canary-by-header-value", "beta")]) else {
        return;
    };
    assert_eq!(world.body(&["X-Canary: beta"]), "canary");
    assert_eq!(world.body(&["X-Canary: always"]), "main");
    let Some(world) = self::world(&[header, ("canary-by-header-pattern", "^be.a$")]) else {
        return;
    };
    assert_eq!(world.body(&["X-Canary: beta"]), "canary");
    assert_eq!(world.body(&["X-Canary: betas"]), "main");
    let refused = [
        header,
        ("canary-by-header-pattern", "a(?=b)"),
        ("canary-weight", "100"),
    ];
    let Some(world) = self::world(&refused) else {
        return;
    };
    assert_eq!(world.body(&["X-Canary: ab"]), "main");
    assert_eq!(world.body(&[]), "canary");
}

#[test]
fn weights_split_requests() {
    for (weight, total, least, most) in [
        ("0", "100", 0, 0),
        ("20", "100", 30, 170),
        ("5", "5", 0, 50),
    ] {
        let weights = [("canary-weight", weight), ("canary-weight-total", total)];
        let Some(world) = world(&weights) else { return };
        let mut client = world.connect();
        let request = "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";
        let bodies = (0..500).map(|_| client.ask(request).body);
        let canary = bodies.filter(|body| body == "canary").count();
        // 500 requests; 20 % are 100, with a standard deviation of 9.
        assert!(
            (least..=most).contains(&canary),
            "{weight} of {total}: {canary}"
        );
    }
}

#[test]
fn a_canary_has_all_else_from_the_ingress_that_it_belongs_to() {
    let Some(mut world) = World::new() else {
        return;
    };
    let (main, other) = (world.named("main"), world.echo());
    world.service("main", &[main.address]);
    world.service("other", &[other.address]);
    world.service("none", &[]);
    let of_main = [("upstream-vhost", "main.example"), ("proxy-body-size", "5")];
    world.ingress("main", "main", &of_main);
    let weight = ("canary-weight", "100");
    let own = [
        ON,
        weight,
        ("upstream-vhost", "x"),
        ("proxy-body-size", "0"),
    ];
    world.ingress("other", "other", &own);
    // Only the first counts; without endpoints, or an Ingress that it belongs to, it is nothing.
    world.ingress("third", "main", &[ON, weight]);
    world.path("empty-main", "/empty", "main", &[]);
    world.path("empty", "/empty", "none", &[ON, weight]);
    world.path("gone", "/gone", "none", &[]);
    world.path("gone-canary", "/gone", "other", &[ON, weight]);
    world.start(&[]);
    eventually("it serves", || world.get("/", &[]).status == 200);
    let answer = world.get("/", &[]);
    assert!(
        answer.body.contains("\r\nhost: main.example\r\n"),
        "{answer:?}"
    );
    let large = world.send("POST", "/", &["Content-Length: 6"], "123456");
    assert_eq!(large.status, 413);
    assert_eq!(world.get("/empty", &[]).body, "main");
    assert_eq!(world.get("/gone", &[]).status, 503);
}

#[test]
fn a_canary_alone_serves_nothing() {
    let Some(mut world) = World::new() else {
        return;
    };
    let (main, other) = (world.named("main"), world.named("canary"));
    world.service("main", &[main.address]);
    world.service("other", &[other.address]);
    let canary = [ON, ("canary-weight", "100")];
    world.path("alone", "/alone", "other", &canary);
    world.path("main", "/main", "main", &[]);
    world.path("same", "/main", "main", &canary);
    world.start(&[]);
    eventually("it serves", || world.get("/main", &[]).status == 200);
    assert_eq!(world.get("/main", &[]).body, "main");
    assert_eq!(world.get("/alone", &[]).status, 404);
}
