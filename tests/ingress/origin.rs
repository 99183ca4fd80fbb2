// SPDX-License-Identifier: Apache-2.0
//! What endpoints say of where they are reaches clients in their own terms.

use std::sync::Arc;

use ferrule::ingress::action::origin::Origin;

use super::rig::{Endpoint, Plan, eventually};
use super::world::World;

const GET: &str = "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";

#[test]
fn cookies_and_redirects_are_rewritten() {
    let endpoint = Endpoint::serving(|mut served, _| {
        while served.request().is_some() {
            served.client.send(
                "HTTP/1.1 302 Found\r\nLocation: http://app.internal/login\r\n\
                 Set-Cookie: a=b; Domain=app.internal; Path=/app/x\r\nContent-Length: 0\r\n\r\n",
            );
        }
    });
    let mut plan = Plan::to(&[endpoint.address]);
    let plain = plan.start().ask(GET);
    assert_eq!(plain.header("location"), Some("http://app.internal/login"));
    let pair = |from: &str, to: &str| Some((from.into(), to.into()));
    plan.route.origin = Some(Arc::new(Origin {
        cookie_domain: pair("app.internal", "a.example"),
        cookie_path: pair("/app/", "/"),
        redirect: pair("http://app.internal/", "https://a.example/app/"),
    }));
    let answer = plan.start().ask(GET);
    assert_eq!(answer.status, 302);
    let location = answer.header("location");
    assert_eq!(location, Some("https://a.example/app/login"));
    let cookie = answer.header("set-cookie");
    assert_eq!(cookie, Some("a=b; Domain=a.example; Path=/x"));
}

#[test]
fn a_redirect_to_a_path_names_the_host_unless_redirects_are_relative() {
    let from = ("proxy-redirect-from", "http://app.internal/");
    let to = ("proxy-redirect-to", "/app/");
    let relative = ("relative-redirects", "true");
    for (annotations, given, expected) in [
        (
            &[from, to][..],
            "http://app.internal/x",
            "http://a.example/app/x",
        ),
        (&[from, to, relative], "http://app.internal/x", "/app/x"),
        (&[from, to], "/own", "/own"),
        (&[from, to], "http://other/x", "http://other/x"),
    ] {
        let Some(mut world) = World::new() else {
            return;
        };
        let answer =
            format!("HTTP/1.1 302 Found\r\nLocation: {given}\r\nContent-Length: 0\r\n\r\n");
        let endpoint = world.saying(answer.leak());
        world.service("web", &[endpoint.address]);
        world.ingress("web", "web", annotations);
        world.start(&[]);
        eventually("it serves", || world.get("/", &[]).status == 302);
        let answer = world.get("/", &[]);
        assert_eq!(answer.header("location"), Some(expected), "{annotations:?}");
    }
}
