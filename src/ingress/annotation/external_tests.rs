// SPDX-License-Identifier: Apache-2.0
use super::super::tests::{Shelf, ingress, notes};
use super::super::{Annotated, Defaults};
use super::*;
use crate::model::{ConfigMap, ServiceName};

const URL: (&str, &str) = ("auth-url", "https://auth.example:8443/check?h=$host");

fn read_with(annotations: &[(&str, &str)], defaults: &Defaults) -> Annotated {
    let mut shelf = Shelf::default();
    for (namespace, name, data) in [
        (
            "default",
            "headers",
            &[("X-Path", "$uri"), ("X-Fixed", "1")][..],
        ),
        ("default", "bad", &[("X Path", "1")]),
        ("other", "headers", &[]),
    ] {
        let name = ServiceName::new(namespace, name);
        let data = data
            .iter()
            .map(|(k, v)| ((*k).into(), (*v).into()))
            .collect();
        let map = ConfigMap {
            name: name.clone(),
            data,
        };
        shelf.config_maps.insert(name, map);
    }
    super::super::read(&ingress(annotations), defaults, &shelf)
}

fn read(annotations: &[(&str, &str)]) -> Annotated {
    read_with(annotations, &Defaults::default())
}

fn external(read: &Annotated) -> Option<Arc<External>> {
    read.plain.gate.as_ref()?.external.clone()
}

fn template(text: &str) -> Template {
    Template::parse(text).expect(text)
}

#[test]
fn a_url_alone_is_enough() {
    let found = external(&read(&[URL])).expect("a service");
    assert_eq!(found.url, template(URL.1));
    assert_eq!(found.host, template("auth.example"));
    assert_eq!(
        (&found.method, &found.signin, &found.cache),
        (&None, &None, &None)
    );
    assert_eq!(found.keep_alive, KeepAlive::default());
}

#[test]
fn all_is_read() {
    let all = read(&[
        URL,
        ("auth-method", "POST"),
        ("auth-signin", "https://in.example/start"),
        ("auth-signin-redirect-param", "next"),
        ("auth-response-headers", "X-User, X-Groups,"),
        ("auth-request-redirect", "https://$host/back"),
        ("auth-proxy-set-headers", "default/headers"),
        ("auth-cache-key", "$remote_user$http_cookie"),
        ("auth-cache-duration", "200 202 1h 30m, 401 5s,any 1ms"),
        ("auth-always-set-cookie", "true"),
        ("auth-keepalive", "10"),
        ("auth-keepalive-requests", "5"),
        ("auth-keepalive-timeout", "7"),
        ("auth-keepalive-share-vars", "true"),
        (
            "auth-snippet",
            "# more\nproxy_set_header X-A \"a b\";\nproxy_set_header 'X-B' $host;",
        ),
    ]);
    assert_eq!(notes(&all), [""; 0]);
    let found = external(&all).expect("a service");
    assert_eq!(found.method, Some(Method::POST));
    let signin =
        "https://in.example/start?next=$pass_access_scheme://$http_host$escaped_request_uri";
    assert_eq!(found.signin, Some(template(signin)));
    assert_eq!(found.response_headers, ["x-user", "x-groups"]);
    assert_eq!(found.request_redirect, Some(template("https://$host/back")));
    let set: Vec<_> = found
        .set_headers
        .iter()
        .map(|(n, v)| (n.as_str(), v))
        .collect();
    assert_eq!(
        set,
        [
            ("x-fixed", &template("1")),
            ("x-path", &template("$uri")),
            ("x-a", &template("a b")),
            ("x-b", &template("$host")),
        ]
    );
    let cache = found.cache.as_ref().expect("a cache");
    assert_eq!(cache.key, template("$http_authorization$http_cookie"));
    let times: Vec<_> = cache
        .times
        .iter()
        .map(|k| (&k.statuses[..], k.time))
        .collect();
    assert_eq!(
        times,
        [
            (&[200, 202][..], Duration::from_secs(5400)),
            (&[401], Duration::from_secs(5)),
            (&[], Duration::from_millis(1)),
        ]
    );
    assert!(found.always_set_cookie);
    let kept = found.keep_alive;
    assert_eq!(
        (kept.connections, kept.requests, kept.idle.as_secs()),
        (10, 5, 7)
    );
}

#[test]
fn answers_are_kept_for_five_minutes_unless_told_otherwise() {
    let found = external(&read(&[URL, ("auth-cache-key", "$cookie_s")])).expect("a service");
    let times = &found.cache.as_ref().expect("a cache").times;
    assert_eq!(times.len(), 1);
    assert_eq!(times[0].statuses, [200, 202, 401]);
    assert_eq!(times[0].time, Duration::from_secs(300));
    let bare = keep("10m").expect("a time");
    assert_eq!(bare.statuses, [200, 301, 302]);
}

#[test]
fn what_would_let_somebody_in_closes_the_paths() {
    for (annotations, name) in [
        (&[("auth-url", "")][..], "auth-url"),
        (&[("auth-url", "auth.example/check")], "auth-url"),
        (&[("auth-url", "ftp://auth.example/")], "auth-url"),
        (&[("auth-url", "http:///check")], "auth-url"),
        (&[("auth-url", "http://a..example/")], "auth-url"),
        (&[("auth-url", "http://a.example:x/")], "auth-url"),
        (&[("auth-url", "http://user@a.example/")], "auth-url"),
        (&[("auth-url", "http://a.example/$nothing")], "auth-url"),
        (&[URL, ("auth-method", "get")], "auth-method"),
        (
            &[URL, ("auth-response-headers", "X User")],
            "auth-response-headers",
        ),
        (&[URL, ("auth-cache-key", "$nothing")], "auth-cache-key"),
        (
            &[
                URL,
                ("auth-cache-key", "$http_a"),
                ("auth-cache-duration", "200"),
            ],
            "auth-cache-duration",
        ),
        (
            &[URL, ("auth-proxy-set-headers", "default/gone")],
            "auth-proxy-set-headers",
        ),
        (
            &[URL, ("auth-proxy-set-headers", "default/bad")],
            "auth-proxy-set-headers",
        ),
        (
            &[URL, ("auth-proxy-set-headers", "other/headers")],
            "auth-proxy-set-headers",
        ),
        (&[URL, ("auth-snippet", "return 200;")], "auth-snippet"),
        (
            &[URL, ("auth-snippet", "proxy_set_header X;")],
            "auth-snippet",
        ),
        (
            &[URL, ("auth-snippet", "proxy_set_header X \"a\" \"b\";")],
            "auth-snippet",
        ),
    ] {
        let read = read(annotations);
        assert_eq!(read.plain.denied.as_deref(), Some(name), "{annotations:?}");
        assert!(!notes(&read).is_empty());
    }
}

#[test]
fn what_lets_nobody_in_keeps_its_default() {
    let read = read(&[
        URL,
        ("auth-signin", "https://in.example/$nothing"),
        ("auth-always-set-cookie", "maybe"),
        ("auth-keepalive", "-1"),
    ]);
    assert_eq!(read.plain.denied, None);
    assert_eq!(notes(&read).len(), 3);
    let found = external(&read).expect("a service");
    assert!(found.signin.is_none() && !found.always_set_cookie);
}

#[test]
fn what_has_no_effect_is_told() {
    let read = read(&[
        ("auth-signin", "https://in.example/"),
        ("auth-snippet", "anything"),
    ]);
    assert_eq!(external(&read), None);
    assert_eq!(
        notes(&read),
        [
            "annotation auth-signin: has no effect without auth-url",
            "annotation auth-snippet: has no effect without auth-url",
        ]
    );
    let alone = self::read(&[URL, ("auth-cache-duration", "200 5m")]);
    assert_eq!(notes(&alone).len(), 1);
}

fn global_of(data: &[(&str, &str)]) -> (Defaults, Vec<String>) {
    let data = data
        .iter()
        .map(|(k, v)| ((*k).into(), (*v).into()))
        .collect();
    let mut defaults = Defaults::default();
    let notes = global(&mut defaults.route, &data);
    (defaults, notes)
}

#[test]
fn the_config_map_asks_for_all_but_those_that_do_not_want_it() {
    let (defaults, found) = global_of(&[
        ("global-auth-url", "http://global.example/check"),
        ("global-auth-method", "HEAD"),
        ("global-auth-signin", "http://global.example/in"),
        ("global-auth-signin-redirect-param", "back"),
        ("global-auth-response-headers", "X-User"),
        ("global-auth-request-redirect", "http://back.example"),
        ("global-auth-snippet", "proxy_set_header X-A 1;"),
        ("global-auth-cache-key", "$http_cookie"),
        ("global-auth-cache-duration", "200 1m"),
        ("global-auth-always-set-cookie", "true"),
    ]);
    assert_eq!(found, [""; 0]);
    let bare = Annotated::bare(&defaults);
    let service = external(&bare).expect("a service");
    assert_eq!(service.host, template("global.example"));
    assert_eq!(service.method, Some(Method::HEAD));
    let signin =
        "http://global.example/in?back=$pass_access_scheme://$http_host$escaped_request_uri";
    assert_eq!(service.signin, Some(template(signin)));
    assert_eq!(
        service.cache.as_ref().expect("a cache").times[0]
            .time
            .as_secs(),
        60
    );
    assert!(service.always_set_cookie && service.request_redirect.is_some());
    assert_eq!(
        (service.response_headers.len(), service.set_headers.len()),
        (1, 1)
    );
    let own = read_with(&[URL, ("enable-global-auth", "false")], &defaults);
    assert_eq!(
        external(&own).expect("a service").host,
        template("auth.example")
    );
    let without = read_with(&[("enable-global-auth", "false")], &defaults);
    assert_eq!(external(&without), None);
    let with = read_with(&[("enable-global-auth", "true")], &defaults);
    assert_eq!(external(&with), Some(service));
}

#[test]
fn a_global_url_that_cannot_be_read_lets_nobody_in() {
    let (defaults, notes) = global_of(&[
        ("global-auth-url", "nowhere"),
        ("global-auth-method", "what"),
    ]);
    assert_eq!(notes.len(), 2);
    assert!(notes[0].contains("nobody comes in"), "{notes:?}");
    assert!(external(&Annotated::bare(&defaults)).is_some());
    assert_eq!(
        global_of(&[("global-auth-method", "GET")]),
        (Defaults::default(), vec![])
    );
}
