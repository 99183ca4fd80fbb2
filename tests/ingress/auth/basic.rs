// SPDX-License-Identifier: Apache-2.0
use super::{World, basic};
use crate::rig::{eventually, header};

/// Ingresses with users of all kinds.
fn world_of_users() -> Option<World> {
    let mut world = World::new()?;
    let bcrypt = bcrypt::hash("secret", 5).unwrap();
    let file = format!(
        "# staff\nanna:{bcrypt}\nbert:$apr1$salt1234$k3J5yKYW6TlGmTytnkXbQ0\n\
         carl:{{SHA}}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\n\
         dora:$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1\n"
    );
    world.object("Secret", "users", &[("auth", &file)]);
    world.object(
        "Secret",
        "map",
        &[("anna", "{PLAIN}mapped"), ("auth", "{PLAIN}x")],
    );
    world.ingress(
        "a",
        &[
            ("auth-type", "basic"),
            ("auth-secret", "users"),
            ("auth-realm", "Staff only"),
        ],
    );
    world.ingress(
        "map",
        &[
            ("auth-type", "basic"),
            ("auth-secret", "default/map"),
            ("auth-secret-type", "auth-map"),
        ],
    );
    world.ingress(
        "digest",
        &[("auth-type", "digest"), ("auth-secret", "users")],
    );
    world.ingress(
        "far",
        &[("auth-type", "basic"), ("auth-secret", "kube-system/users")],
    );
    world.ingress_at(
        "a-acme",
        "/.well-known/acme-challenge/token",
        &[("auth-type", "basic"), ("auth-secret", "users")],
    );
    world.start();
    Some(world)
}

#[test]
fn names_and_passwords_are_asked_for() {
    let Some(world) = world_of_users() else {
        return;
    };
    let bare = world.get("a", "/", &[]);
    assert_eq!(bare.status, 401);
    assert_eq!(
        bare.header("www-authenticate"),
        Some("Basic realm=\"Staff only\"")
    );
    assert!(bare.body.contains("401 Authorization Required"), "{bare:?}");
    let status = |name: &str, pair: &str| world.get(name, "/", &[&basic(pair)]).status;
    for (pair, expected) in [
        ("anna:secret", 200),
        ("anna:secret", 200),
        ("bert:password", 200),
        ("carl:password", 200),
        ("dora:Hello world!", 200),
        ("anna:Secret", 401),
        ("anna:", 401),
        ("eve:secret", 401),
        ("bert:secret", 401),
    ] {
        assert_eq!(status("a", pair), expected, "{pair}");
    }
    assert_eq!(
        world.get("a", "/", &["Authorization: Bearer x"]).status,
        401
    );
    assert_eq!(
        (status("map", "anna:mapped"), status("map", "auth:x")),
        (200, 200)
    );
    assert_eq!(status("map", "anna:x"), 401);
    assert_eq!((world.status("digest"), world.status("far")), (503, 503));
    let challenge = world.get("a", "/.well-known/acme-challenge/token", &[]);
    assert_eq!(challenge.status, 200, "authorities have no password");
    // The endpoint does not learn the password.
    let seen = world.echo.requests();
    assert!(
        seen.iter()
            .all(|head| header(head, "authorization").is_none()),
        "{seen:?}"
    );
}

#[test]
fn a_secret_holds_as_soon_as_it_is_there_and_changes_at_once() {
    let Some(mut world) = World::new() else {
        return;
    };
    world.ingress("a", &[("auth-type", "basic"), ("auth-secret", "users")]);
    world.start();
    let status = |pair: &str| world.get("a", "/", &[&basic(pair)]).status;
    assert_eq!(status("anna:one"), 503, "there is no Secret");
    let hash = |password: &str| format!("anna:{}", bcrypt::hash(password, 4).unwrap());
    world.object("Secret", "users", &[("auth", &hash("one"))]);
    eventually("the Secret is there", || status("anna:one") == 200);
    assert_eq!(status("anna:one"), 200);
    world.object("Secret", "users", &[("auth", &hash("two"))]);
    eventually("the password is another", || status("anna:one") == 401);
    assert_eq!(status("anna:two"), 200);
    world.object("Secret", "users", &[("other", "x")]);
    eventually("there are no users", || status("anna:two") == 503);
}

#[test]
fn one_of_several_ways_may_be_enough() {
    let Some(mut world) = World::new() else {
        return;
    };
    world.object("Secret", "users", &[("auth", "anna:{PLAIN}secret")]);
    let login = [("auth-type", "basic"), ("auth-secret", "users")];
    for (name, list, satisfy) in [
        ("inany", "127.0.0.1", "any"),
        ("outany", "10.0.0.0/8", "any"),
        ("inall", "127.0.0.1", "all"),
        ("outall", "10.0.0.0/8", "all"),
    ] {
        let more = [("whitelist-source-range", list), ("satisfy", satisfy)];
        world.ingress(name, &[login, more].concat());
    }
    world.start();
    for (name, without, with) in [
        ("inany", 200, 200),
        ("outany", 401, 200),
        ("inall", 401, 200),
        ("outall", 403, 403),
    ] {
        assert_eq!(world.status(name), without, "{name}");
        let answer = world.get(name, "/", &[&basic("anna:secret")]);
        assert_eq!(answer.status, with, "{name}");
    }
    let answer = world.get("inall", "/", &[]);
    assert_eq!(answer.header("www-authenticate"), Some("Basic realm=\"\""));
}
