// SPDX-License-Identifier: Apache-2.0
use hyper::Request;
use hyper::http::request::Parts;

use super::*;

fn template(text: &str) -> Template {
    Template::parse(text).expect(text)
}

fn external() -> External {
    External {
        url: template("http://auth.example:8080/check"),
        host: template("auth.example"),
        method: None,
        signin: None,
        response_headers: vec![
            HeaderName::from_static("x-user"),
            HeaderName::from_static("x-groups"),
        ],
        request_redirect: None,
        set_headers: Vec::new(),
        cache: None,
        always_set_cookie: false,
        keep_alive: KeepAlive::default(),
    }
}

fn request() -> Parts {
    let request = Request::put("/a/b?c=d")
        .header("host", "shop.example:8443")
        .header("content-length", "7")
        .header("cookie", "s=1")
        .header("x-forwarded-proto", "gopher")
        .header("x-original-uri", "/faked")
        .header("x-sent-from", "faked")
        .body(());
    request.expect("a request").into_parts().0
}

/// What the service is sent.
fn edited(external: &External) -> HeaderMap {
    let parts = request();
    let context = Context {
        scheme: "https",
        access_scheme: "https",
        request_id: "0123",
        ..Context::of(&parts)
    };
    let address = HeaderValue::from_static("192.0.2.1");
    let mut headers = parts.headers.clone();
    let asked = Asked {
        context: &context,
        real: &address,
        chain: &address,
    };
    external.edit(&asked, &mut headers);
    headers
}

fn expect(headers: &HeaderMap, expected: &[(&str, Option<&str>)]) {
    for (name, value) in expected {
        let found = headers
            .get(*name)
            .map(|value| value.to_str().expect("text"));
        assert_eq!(found, *value, "{name}");
    }
}

#[test]
fn a_service_is_told_of_the_request() {
    let headers = edited(&external());
    expect(
        &headers,
        &[
            ("host", Some("auth.example")),
            ("cookie", Some("s=1")),
            ("content-length", None),
            ("x-forwarded-proto", None),
            ("x-request-id", Some("0123")),
            ("x-original-url", Some("https://shop.example:8443/a/b?c=d")),
            ("x-original-method", Some("PUT")),
            ("x-sent-from", Some("nginx-ingress-controller")),
            ("x-real-ip", Some("192.0.2.1")),
            ("x-forwarded-for", Some("192.0.2.1")),
            ("x-auth-request-redirect", Some("/a/b?c=d")),
            // The client's own, without auth-method.
            ("x-original-uri", Some("/faked")),
        ],
    );
}

#[test]
fn more_is_told_on_request() {
    let headers = edited(&External {
        method: Some(Method::POST),
        request_redirect: Some(template("https://$host/back")),
        set_headers: vec![
            (HeaderName::from_static("x-path"), template("$uri")),
            (HeaderName::from_static("cookie"), template("")),
        ],
        ..external()
    });
    expect(
        &headers,
        &[
            ("x-original-uri", Some("/a/b?c=d")),
            ("x-scheme", Some("https")),
            ("x-auth-request-redirect", Some("https://shop.example/back")),
            ("x-path", Some("/a/b")),
            ("cookie", None),
        ],
    );
}

fn answer(status: u16, lines: &[(&'static str, &'static str)]) -> (Answer, HeaderMap) {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(*name, HeaderValue::from_static(value));
    }
    let status = StatusCode::from_u16(status).expect("a status");
    (external().answer(status, &headers), headers)
}

#[test]
fn only_2xx_lets_in_and_only_401_and_403_are_passed_on() {
    for (status, expected) in [
        (200, Verdict::Pass),
        (204, Verdict::Pass),
        (299, Verdict::Pass),
        (401, Verdict::Denied(StatusCode::UNAUTHORIZED)),
        (403, Verdict::Denied(StatusCode::FORBIDDEN)),
        (302, Verdict::Broken),
        (404, Verdict::Broken),
        (500, Verdict::Broken),
    ] {
        assert_eq!(answer(status, &[]).0.verdict(), expected, "{status}");
    }
}

#[test]
fn an_endpoint_gets_the_service_s_headers_and_never_the_client_s() {
    let (answer, _) = answer(
        200,
        &[("x-user", "anna"), ("x-other", "1"), ("x-groups", "")],
    );
    let mut headers = HeaderMap::new();
    headers.insert("x-user", HeaderValue::from_static("faked"));
    headers.insert("x-groups", HeaderValue::from_static("faked"));
    answer.copy(&external(), &mut headers);
    expect(
        &headers,
        &[
            ("x-user", Some("anna")),
            ("x-groups", None),
            ("x-other", None),
        ],
    );
    let (answer, _) = self::answer(200, &[("x-groups", "a"), ("x-groups", "b")]);
    assert_eq!(answer.copied[1].as_ref().expect("groups"), "a, b");
}

#[test]
fn answers_are_kept_by_status_unless_their_service_says_otherwise() {
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    let caching = Caching {
        key: template("$http_cookie"),
        times: vec![
            Keep {
                statuses: vec![200, 202],
                time: Duration::from_secs(600),
            },
            Keep {
                statuses: vec![401],
                time: Duration::from_secs(5),
            },
        ],
    };
    for (status, lines, expected) in [
        (200, &[][..], seconds(600)),
        (401, &[], seconds(5)),
        (403, &[], None),
        (200, &[("set-cookie", "a=b")], None),
        (200, &[("vary", "cookie")], None),
        (200, &[("cache-control", "no-store")], None),
        (200, &[("cache-control", "public, Max-Age=7")], seconds(7)),
        (
            403,
            &[("cache-control", "max-age=7, s-maxage=8")],
            seconds(8),
        ),
        (200, &[("cache-control", "max-age=0")], None),
        (
            200,
            &[("cache-control", "max-age=7"), ("x-accel-expires", "9")],
            seconds(9),
        ),
        (200, &[("expires", "Thu, 01 Jan 1970 00:00:01 GMT")], None),
    ] {
        let (answer, headers) = answer(status, lines);
        assert_eq!(
            caching.keeps(&answer, &headers),
            expected,
            "{status} {lines:?}"
        );
    }
}

#[test]
fn a_way_back_is_added_unless_there_is_one() {
    let back = "$pass_access_scheme://$http_host$escaped_request_uri";
    for (url, parameter, expected) in [
        (
            "https://in.example/start",
            "rd",
            format!("https://in.example/start?rd={back}"),
        ),
        (
            "https://in.example/start?a=b",
            "rd",
            format!("https://in.example/start?a=b&rd={back}"),
        ),
        (
            "https://in.example/start?rd=x",
            "rd",
            "https://in.example/start?rd=x".to_owned(),
        ),
        (
            "https://in.example/?rdx=1&rd=",
            "rd",
            format!("https://in.example/?rdx=1&rd=&rd={back}"),
        ),
        (
            "https://in.example/?rd=x",
            "next",
            format!("https://in.example/?rd=x&next={back}"),
        ),
    ] {
        assert_eq!(signin_text(url, parameter), expected);
        assert!(Template::parse(&expected).is_ok());
    }
}
