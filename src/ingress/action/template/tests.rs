// SPDX-License-Identifier: Apache-2.0
use hyper::Request;
use hyper::http::request::Parts;

use super::*;

fn parts(uri: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().method("POST").uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).expect("a request").into_parts().0
}

fn render(text: &str, context: &Context<'_>) -> String {
    Template::parse(text).expect(text).render(context)
}

#[test]
fn variables_have_nginx_s_values() {
    let parts = parts(
        "/a%20b/?x=1&Y=2%2f&x=3",
        &[
            ("host", "Shop.Example:8080"),
            ("user-agent", "curl"),
            ("x-many", "1"),
            ("x-many", "2"),
            ("cookie", "a=1; Session=s%3d"),
            ("cookie", "b=2"),
        ],
    );
    let groups = [&b"one"[..], b"two"];
    let context = Context {
        host: "shop.example",
        path: "/a b/",
        best_http_host: "front.example",
        access_scheme: "https",
        remote_addr: "2001:db8::1".parse().expect("an address"),
        server_port: 8080,
        access_port: 443,
        request_id: "0af7",
        place: Place {
            namespace: "default",
            ingress_name: "web",
            service_name: "shop",
            service_port: "http",
            location_path: "/a",
            server_name: "shop.example",
        },
        groups: &groups,
        ..Context::of(&parts)
    };
    for (text, expected) in [
        ("", ""),
        ("plain", "plain"),
        (
            "$scheme://$host$request_uri",
            "http://shop.example/a%20b/?x=1&Y=2%2f&x=3",
        ),
        ("$pass_access_scheme$https", "https"),
        (
            "${http_host}x$best_http_host",
            "Shop.Example:8080xfront.example",
        ),
        ("[$uri][$document_uri]", "[/a b/][/a b/]"),
        (
            "$is_args$args|$query_string",
            "?x=1&Y=2%2f&x=3|x=1&Y=2%2f&x=3",
        ),
        ("$arg_x,$arg_y,$arg_z", "1,2%2f,"),
        ("$http_user_agent,$http_x_many,$http_none", "curl,1, 2,"),
        ("$http_cookie", "a=1; Session=s%3d; b=2"),
        ("$cookie_session,$cookie_b,$cookie_c", "s%3d,2,"),
        (
            "$remote_addr:$server_port:$pass_port",
            "2001:db8::1:8080:443",
        ),
        ("$request_method $server_protocol", "POST HTTP/1.1"),
        ("$request_id=$req_id", "0af7=0af7"),
        ("$namespace/$ingress_name", "default/web"),
        ("$service_name:$service_port$location_path", "shop:http/a"),
        (
            "$escaped_request_uri",
            "%2Fa%2520b%2F%3Fx%3D1%26Y%3D2%252f%26x%3D3",
        ),
        ("/$2/$1$3", "/two/one"),
        ("/$10${1}0", "/one0one0"),
        ("a${literal_dollar}b", "a$b"),
    ] {
        assert_eq!(render(text, &context), expected, "{text}");
    }
}

#[test]
fn what_a_request_does_not_have_is_empty() {
    let parts = parts("/", &[]);
    let context = Context::of(&parts);
    assert_eq!(
        render("<$host$http_host$args$is_args$1$namespace>", &context),
        "<>"
    );
}

#[test]
fn hosts_lose_their_port() {
    for (host, expected) in [
        ("a.example", "a.example"),
        ("a.example:80", "a.example"),
        ("[::1]", "[::1]"),
        ("[::1]:80", "[::1]"),
        ("", ""),
    ] {
        assert_eq!(without_port(host), expected);
    }
}

#[test]
fn what_is_not_known_is_refused_by_name() {
    let wrong = |text: &str| Template::parse(text).expect_err(text);
    assert!(wrong("a$nonsense/").starts_with("has no variable $nonsense: known are $scheme "));
    assert!(wrong("$nonsense").ends_with(" $arg_NAME $cookie_NAME $http_NAME"));
    assert!(wrong("$http_").contains("$http_"));
    assert!(wrong("$0").contains("$0"));
    assert_eq!(wrong("a$"), "must have a name after each dollar, is \"a$\"");
    assert_eq!(wrong("$/"), "must have a name after each dollar, is \"$/\"");
    assert_eq!(wrong("${a"), "must close its braces, is \"${a\"");
    assert_eq!(
        wrong("${}"),
        "must have a name after each dollar, is \"${}\""
    );
}

#[test]
fn templates_tell_what_they_depend_on() {
    let parse = |text: &str| Template::parse(text).expect(text);
    assert_eq!(parse("").constant(), Some(""));
    assert_eq!(parse("a${literal_dollar}b").constant(), Some("a$b"));
    assert_eq!(parse("a$host").constant(), None);
    assert!(parse("a$1").has_groups());
    assert!(!parse("a$host").has_groups());
    assert_eq!(parse("a$host").text(), "a$host");
    assert_eq!(parse("$host"), parse("$host"));
    assert_ne!(parse("$host"), parse("$uri"));
}
