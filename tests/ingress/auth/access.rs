// SPDX-License-Identifier: Apache-2.0
use super::World;
use crate::rig::eventually;

#[test]
fn addresses_decide_and_lists_that_cannot_be_read_let_nobody_in() {
    let Some(mut world) = World::new() else {
        return;
    };
    for (name, annotations) in [
        (
            "allowed",
            &[("whitelist-source-range", "10.0.0.0/8,127.0.0.1")][..],
        ),
        ("other", &[("allowlist-source-range", "10.0.0.0/8")]),
        ("denied", &[("denylist-source-range", "127.0.0.0/8")]),
        ("notdenied", &[("denylist-source-range", "10.0.0.0/8")]),
        (
            "both",
            &[
                ("denylist-source-range", "127.0.0.1"),
                ("whitelist-source-range", "127.0.0.0/8"),
            ],
        ),
        ("malformed", &[("whitelist-source-range", "everybody")]),
        ("empty", &[("whitelist-source-range", "")]),
        ("open", &[]),
    ] {
        world.ingress(name, annotations);
    }
    world.start();
    for (name, expected) in [
        ("allowed", 200),
        ("other", 403),
        ("denied", 403),
        ("notdenied", 200),
        ("both", 403),
        ("malformed", 503),
        ("empty", 503),
        ("open", 200),
    ] {
        assert_eq!(world.status(name), expected, "{name}");
    }
    // What a client says of itself does not count.
    let faked = ["X-Forwarded-For: 10.0.0.1", "X-Real-IP: 10.0.0.1"];
    assert_eq!(world.get("other", "/", &faked).status, 403);
}

#[test]
fn the_client_is_who_a_trusted_proxy_says() {
    let Some(mut world) = World::new() else {
        return;
    };
    world.settings(&[
        ("use-forwarded-headers", "true"),
        ("proxy-real-ip-cidr", "127.0.0.0/8"),
    ]);
    world.ingress("a", &[("whitelist-source-range", "192.0.2.0/24")]);
    world.start();
    let status = |chain: &str| {
        world
            .get("a", "/", &[&format!("X-Forwarded-For: {chain}")])
            .status
    };
    assert_eq!(world.status("a"), 403);
    assert_eq!(status("192.0.2.1"), 200);
    assert_eq!(status("198.51.100.1"), 403);
    assert_eq!(status("192.0.2.1, 198.51.100.1"), 403);
}

#[test]
fn a_config_map_decides_where_no_annotation_does() {
    let Some(mut world) = World::new() else {
        return;
    };
    let lists = [
        ("whitelist-source-range", "10.0.0.0/8"),
        ("block-user-agents", "~*evil,Old/1.0"),
        ("block-referers", "~spam"),
    ];
    world.settings(&lists);
    world.ingress("bare", &[]);
    world.ingress("own", &[("whitelist-source-range", "127.0.0.1")]);
    world.start();
    assert_eq!(world.status("bare"), 403);
    assert_eq!(world.status("own"), 200);
    let with = |line: &str| world.get("own", "/", &[line]).status;
    assert_eq!(with("User-Agent: Very Evil Bot"), 403);
    assert_eq!(with("User-Agent: old/1.0"), 403);
    assert_eq!(with("Referer: http://spam.example/"), 403);
    assert_eq!(with("User-Agent: curl/8"), 200);
    world.settings(&[("block-cidrs", "127.0.0.0/8")]);
    eventually("everybody is blocked", || world.status("own") == 403);
    assert_eq!(world.status("nobody"), 404, "no route is no secret");
    world.settings(&[]);
    eventually("nobody is", || world.status("bare") == 200);
    world.settings(&[("whitelist-source-range", "nonsense")]);
    eventually("what cannot be read lets nobody in", || {
        world.status("bare") == 403
    });
    assert_eq!(world.status("own"), 200);
}

/// An Ingress without rules answers what no other does; what it keeps out stays out.
#[test]
fn a_default_backend_has_the_annotations_of_its_ingress() {
    let Some(mut world) = World::new() else {
        return;
    };
    let put = |world: &World, list: &str| {
        world.put(
            "default",
            &format!(
                "apiVersion: networking.k8s.io/v1\nkind: Ingress\n\
                 metadata:\n  name: all\n  namespace: default\n  annotations:\n    \
                 nginx.ingress.kubernetes.io/whitelist-source-range: {list:?}\n\
                 spec:\n  ingressClassName: f\n  \
                 defaultBackend: {{service: {{name: web, port: {{number: 80}}}}}}\n"
            ),
        );
    };
    put(&world, "10.0.0.0/8");
    world.start();
    assert_eq!(world.status("any"), 403);
    put(&world, "127.0.0.1");
    eventually("it is let in", || world.status("any") == 200);
    put(&world, "nonsense");
    eventually("it is closed", || world.status("any") == 503);
}
