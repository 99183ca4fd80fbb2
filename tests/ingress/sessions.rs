// SPDX-License-Identifier: Apache-2.0
//! Sessions that keep to an endpoint by a cookie: the whole program, real sockets.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use ferrule::ingress::balance::{Mode, Sessions};

use super::rig::{Endpoint, eventually, target};
use super::world::World;

const COOKIE: (&str, &str) = ("affinity", "cookie");
const PERSISTENT: (&str, &str) = ("affinity-mode", "persistent");

const NAMES: [&str; 4] = ["one", "two", "three", "four"];

/// A Service `web` of four endpoints, of which each tells its name.
fn world(annotations: &[(&str, &str)]) -> Option<(World, Vec<Endpoint>)> {
    let mut world = World::new()?;
    let endpoints: Vec<_> = NAMES.iter().map(|name| world.named(name)).collect();
    let addresses: Vec<SocketAddr> = endpoints.iter().map(|e| e.address).collect();
    world.service("web", &addresses);
    world.ingress("web", "web", annotations);
    world.start(&[]);
    eventually("it serves", || world.get("/", &[]).status == 200);
    Some((world, endpoints))
}

/// What ingress-nginx's formulas make of the same endpoints.
fn sessions(mode: Mode, endpoints: &[Endpoint]) -> Sessions {
    let targets = endpoints.iter().map(|e| target(&e.address)).collect();
    Sessions::new(mode, "default-web-80", &targets)
}

/// Name and value of a cookie that is set.
fn pair(set: &str) -> &str {
    set.split(';').next().unwrap_or_default()
}

#[test]
fn a_session_keeps_to_its_endpoint() {
    for mode in [&[COOKIE][..], &[COOKIE, PERSISTENT]] {
        let Some((world, _)) = world(mode) else {
            return;
        };
        let mut seen = BTreeSet::new();
        for _ in 0..30 {
            let first = world.get("/", &[]);
            let set = first.header("set-cookie").expect("a cookie");
            assert!(set.ends_with("; Path=/; HttpOnly"), "{set}");
            let cookie = format!("Cookie: {}", pair(set));
            assert!(cookie.starts_with("Cookie: INGRESSCOOKIE="), "{cookie}");
            for _ in 0..3 {
                let again = world.get("/", &[&cookie]);
                assert_eq!(again.body, first.body);
                assert_eq!(again.header("set-cookie"), None);
            }
            seen.insert(first.body);
        }
        assert!(seen.len() > 1, "{seen:?}");
    }
}

#[test]
fn cookies_of_ingress_nginx_are_valid() {
    // As lua makes them: time, process and a random number; or a digest of the endpoint.
    let Some((world, endpoints)) = world(&[COOKIE]) else {
        return;
    };
    let balanced = sessions(Mode::Balanced, &endpoints);
    for n in 0..20 {
        let key = format!("17600001{n:02}.123.{n}.424242");
        let cookie = format!("Cookie: INGRESSCOOKIE={key}|{}", balanced.upstream());
        let answer = world.get("/", &[&cookie]);
        let owner = balanced.find(&key).expect("an endpoint");
        let place = endpoints.iter().position(|e| target(&e.address) == owner);
        assert_eq!(answer.body, NAMES[place.expect("one of ours")]);
        assert_eq!(answer.header("set-cookie"), None);
    }
    let Some((world, endpoints)) = self::world(&[COOKIE, PERSISTENT]) else {
        return;
    };
    let persistent = sessions(Mode::Persistent, &endpoints);
    for (endpoint, name) in endpoints.iter().zip(NAMES) {
        let others: Vec<_> = endpoints
            .iter()
            .filter(|other| other.address != endpoint.address)
            .map(|other| target(&other.address))
            .collect();
        let (_, key) = persistent.begin(&others, || 7).expect("one is left");
        let cookie = format!("Cookie: INGRESSCOOKIE={key}|{}", persistent.upstream());
        let answer = world.get("/", &[&cookie]);
        assert_eq!((&*answer.body, answer.header("set-cookie")), (name, None));
    }
    let gone = world.get("/", &["Cookie: INGRESSCOOKIE=0123|4567"]);
    assert!(gone.header("set-cookie").is_some(), "{gone:?}");
}

#[test]
fn the_cookie_is_as_annotations_want_it() {
    let Some((world, _)) = world(&[
        COOKIE,
        ("session-cookie-name", "route"),
        ("session-cookie-path", "/shop"),
        ("session-cookie-domain", "a.example"),
        ("session-cookie-expires", "3600"),
        ("session-cookie-max-age", "7200"),
        ("session-cookie-samesite", "None"),
        ("session-cookie-secure", "true"),
        ("session-cookie-conditional-samesite-none", "true"),
    ]) else {
        return;
    };
    let answer = world.get("/", &["User-Agent: new"]);
    let set = answer.header("set-cookie").expect("a cookie");
    let (start, rest) = set.split_once("; Expires=").expect("a date");
    let (date, rest) = rest.split_once("; ").expect("more");
    assert!(
        start.starts_with("route=") && date.ends_with(" GMT"),
        "{set}"
    );
    assert_eq!(
        rest,
        "Max-Age=7200; Domain=a.example; Path=/shop; Secure; HttpOnly; SameSite=None"
    );
    let old = world.get("/", &["User-Agent: Mozilla/5.0 Chrome/51.0"]);
    assert!(
        old.header("set-cookie")
            .is_some_and(|set| set.ends_with("; HttpOnly"))
    );
}

#[test]
fn a_session_moves_on_failure_only_if_it_may() {
    for (may, expected) in [("false", 502), ("true", 200)] {
        let Some(mut world) = World::new() else {
            return;
        };
        let (alive, dead) = (world.named("alive"), world.nobody());
        world.service("web", &[alive.address, dead]);
        let change = ("session-cookie-change-on-failure", may);
        world.ingress("web", "web", &[COOKIE, PERSISTENT, change]);
        world.start(&[]);
        eventually("it serves", || world.get("/", &[]).status == 200);
        let all = [alive.address, dead].iter().map(target).collect();
        let sessions = Sessions::new(Mode::Persistent, "default-web-80", &all);
        let tried = [target(&alive.address)];
        let (at, key) = sessions.begin(&tried, || 7).expect("the dead one");
        assert_eq!(at, target(&dead));
        let cookie = format!("Cookie: INGRESSCOOKIE={key}|{}", sessions.upstream());
        let answer = world.get("/", &[&cookie]);
        assert_eq!(answer.status, expected, "{answer:?}");
        // The one that answered is remembered from now on.
        assert_eq!(answer.header("set-cookie").is_some(), expected == 200);
        // A new session goes to whom answers in any case.
        for _ in 0..10 {
            assert_eq!(world.get("/", &[]).status, 200);
        }
    }
}

/// A route and its canary, with these annotations each.
fn with_canary(canary: &[(&str, &str)]) -> Option<World> {
    let mut world = World::new()?;
    let (main, other) = (world.named("main"), world.named("canary"));
    world.service("main", &[main.address]);
    world.service("other", &[other.address]);
    world.ingress("main", "main", &[COOKIE]);
    let all = [
        &[("canary", "true"), ("canary-by-header", "x-canary")],
        canary,
    ]
    .concat();
    world.ingress("other", "other", &all);
    world.start(&[]);
    eventually("it serves", || world.get("/", &[]).status == 200);
    Some(world)
}

#[test]
fn a_session_stays_with_the_canary() {
    let Some(world) = with_canary(&[]) else {
        return;
    };
    let begun = world.get("/", &["x-canary: always"]);
    assert_eq!(begun.body, "canary");
    let cookie = format!(
        "Cookie: {}",
        pair(begun.header("set-cookie").expect("a cookie"))
    );
    assert_eq!(world.body(&[&cookie, "x-canary: never"]), "canary");
    let begun = world.get("/", &[]);
    assert_eq!(begun.body, "main");
    let cookie = format!(
        "Cookie: {}",
        pair(begun.header("set-cookie").expect("a cookie"))
    );
    assert_eq!(world.body(&[&cookie, "x-canary: always"]), "main");
}

#[test]
fn or_it_does_not() {
    let Some(world) = with_canary(&[("affinity-canary-behavior", "legacy")]) else {
        return;
    };
    let canary = world.get("/", &["x-canary: always"]);
    assert_eq!(
        (&*canary.body, canary.header("set-cookie")),
        ("canary", None)
    );
}
