// SPDX-License-Identifier: Apache-2.0
//! Answers in place of errors.

use super::{Cluster, all, endpoint};
use crate::rig::{Endpoint, header};

/// What a default backend answers: with status 418, and what it has received.
fn default_backend(cluster: &Cluster) -> Endpoint {
    Endpoint::serving_at(cluster.own(), |mut served, _| {
        while let Some(request) = served.request() {
            let length = request.len();
            served.client.send(format!(
                "HTTP/1.1 418 Instead\r\nX-Instead: 1\r\nContent-Length: {length}\r\n\r\n{request}"
            ));
        }
    })
}

#[test]
fn the_ingress_s_default_backend_answers_in_place_of_errors() {
    let Some(cluster) = Cluster::new() else {
        return;
    };
    let (endpoint, errors) = (endpoint(cluster.own()), default_backend(&cluster));
    let both = [
        ("custom-http-errors", "404,413,502"),
        ("default-backend", "errors"),
    ];
    let left = [both[0], both[1], ("disable-proxy-intercept-errors", "true")];
    let cors = [
        both[0],
        both[1],
        ("enable-cors", "true"),
        ("proxy-body-size", "5"),
    ];
    let running = cluster
        .service("web", Some(endpoint.address))
        .service("errors", Some(errors.address))
        .service("empty", None)
        .service("dead", Some(Endpoint::nobody()))
        .config_map("settings", &[("add-headers", "sys/add")])
        .config_map("add", &[("X-All", "1")])
        .ingress("a.example", &both)
        .ingress("left.example", &left)
        .ingress("cors.example", &cors)
        .ingress_to("empty", "empty.example", "empty", &both)
        .ingress_to("dead", "dead.example", "dead", &both)
        .start();
    let headers = ["Accept: text/x", "X-Request-ID: mine", "X-Code: 200"];
    let answer = running.ask("GET", "a.example", "/status/404?a=b", &headers);
    assert_eq!(
        (answer.status, answer.header("x-instead")),
        (418, Some("1")),
        "{answer:?}"
    );
    assert_eq!(answer.header("x-endpoint"), None);
    let seen = answer.body;
    assert!(seen.starts_with("GET /?a=b HTTP/1.1\r\n"), "{seen}");
    for (name, value) in [
        ("Host", "a.example"),
        ("X-Code", "404"),
        ("X-Format", "text/x"),
        ("X-Original-URI", "/status/404?a=b"),
        ("X-Namespace", "default"),
        ("X-Ingress-Name", "a"),
        ("X-Service-Name", "web"),
        ("X-Service-Port", "80"),
        ("X-Request-ID", "mine"),
        ("X-Forwarded-For", "127.0.0.1"),
    ] {
        assert_eq!(header(&seen, name), Some(value), "{name}: {seen}");
    }
    // Other statuses stay, and so do the endpoint's where they are not to be touched.
    let answer = running.get("a.example", "/status/500");
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (500, "the endpoint says 500")
    );
    assert_eq!(running.get("left.example", "/status/404").status, 404);
    // Of our own, all are replaced, and only headers of all routes are changed.
    for host in ["dead.example", "cors.example"] {
        let post = ["Content-Length: 6"];
        let answer = match host {
            "dead.example" => running.get(host, "/echo"),
            _ => running.ask("POST", host, "/echo", &post),
        };
        assert_eq!(answer.status, 418, "{host}: {answer:?}");
        assert_eq!(all(&answer, "X-All"), ["1"], "{host}");
        assert!(
            all(&answer, "Access-Control-Allow-Origin").is_empty(),
            "{host}"
        );
    }
}

#[test]
fn a_default_backend_answers_where_there_is_no_endpoint() {
    let Some(cluster) = Cluster::new() else {
        return;
    };
    let errors = default_backend(&cluster);
    let running = cluster
        .service("errors", Some(errors.address))
        .service("empty", None)
        .ingress_to("a", "a.example", "empty", &[("default-backend", "errors")])
        .ingress_to(
            "b",
            "b.example",
            "missing",
            &[("default-backend", "errors")],
        )
        .ingress_to("c", "c.example", "empty", &[("default-backend", "empty")])
        .ingress_to("d", "d.example", "empty", &[])
        .start();
    for host in ["a.example", "b.example"] {
        let mut client = running.client();
        let head = super::head("POST", host, "/x?y", &["Content-Length: 3"]);
        let answer = client.ask(head + "abc");
        assert_eq!(answer.status, 418, "{host}");
        let seen = answer.body;
        assert!(
            seen.starts_with("POST /x?y HTTP/1.1\r\n") && seen.ends_with("abc"),
            "{seen}"
        );
        assert_eq!(header(&seen, "X-Code"), Some("503"), "{seen}");
        assert_eq!(header(&seen, "X-Original-URI"), None, "{seen}");
    }
    for host in ["c.example", "d.example"] {
        assert_eq!(running.get(host, "/").status, 503, "{host}");
    }
}

#[test]
fn the_default_backend_of_all_answers_for_the_config_map() {
    let settings = [("custom-http-errors", "404,503")];
    let start = |flag: bool| {
        let cluster = Cluster::new()?;
        let (endpoint, errors) = (endpoint(cluster.own()), default_backend(&cluster));
        let mut cluster = cluster
            .service("web", Some(endpoint.address))
            .service("errors", Some(errors.address))
            .config_map("settings", &settings)
            .ingress("a.example", &[])
            .ingress("own.example", &[("custom-http-errors", "500")]);
        if flag {
            cluster = cluster.flag("--default-backend-service=default/errors");
        }
        Some(cluster.start())
    };
    let Some(with) = start(true) else { return };
    assert_eq!(with.get("a.example", "/status/404").status, 418);
    assert_eq!(with.get("a.example", "/status/500").status, 500);
    assert_eq!(with.get("own.example", "/status/500").status, 418);
    assert_eq!(
        with.get("own.example", "/status/404").body,
        "the endpoint says 404"
    );
    drop(with);
    // Without one, it is as ingress-nginx's own, which says 404 to everything.
    let Some(without) = start(false) else { return };
    let answer = without.get("a.example", "/status/503");
    assert_eq!(answer.status, 404);
    assert!(answer.body.contains("404 Not Found"), "{}", answer.body);
}
