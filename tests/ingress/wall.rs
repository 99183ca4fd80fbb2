// SPDX-License-Identifier: Apache-2.0
//! Requests that nobody should send, as bytes: each has its answer, none reaches an endpoint, and
//! others are served as before.

use super::rig::{Endpoint, Plan};

const HOST: &str = "Host: a.example\r\n";

/// A request line, headers, and what it is answered.
#[expect(clippy::too_many_lines, reason = "a table")]
fn cases() -> Vec<(&'static str, String, u16)> {
    let get = |headers: &str| format!("GET / HTTP/1.1\r\n{headers}\r\n");
    let post = |headers: &str, body: &str| format!("POST / HTTP/1.1\r\n{HOST}{headers}\r\n{body}");
    let line = |line: &str| format!("{line}\r\n{HOST}\r\n");
    let chunked = "Transfer-Encoding: chunked\r\n";
    vec![
        ("no host", get(""), 400),
        (
            "two hosts",
            get("Host: a.example\r\nHost: b.example\r\n"),
            400,
        ),
        (
            "the same host twice",
            get("Host: a.example\r\nHost: a.example\r\n"),
            400,
        ),
        ("an empty host", get("Host:\r\n"), 400),
        ("a host with a space", get("Host: a example\r\n"), 400),
        ("a host with a path", get("Host: a.example/x\r\n"), 400),
        ("a host with a user", get("Host: u@a.example\r\n"), 400),
        (
            "two hosts in one",
            get("Host: a.example, b.example\r\n"),
            400,
        ),
        ("a host with a bad port", get("Host: a.example:x\r\n"), 400),
        ("a host that is no text", get("Host: a\u{e4}\r\n"), 400),
        (
            "another absolute host",
            line("GET http://b.example/ HTTP/1.1"),
            400,
        ),
        (
            "a user in the uri",
            line("GET http://u:p@a.example/ HTTP/1.1"),
            400,
        ),
        (
            "length, then chunks",
            post(&format!("Content-Length: 3\r\n{chunked}"), "0\r\n\r\n"),
            400,
        ),
        (
            "chunks, then length",
            post(&format!("{chunked}Content-Length: 3\r\n"), "0\r\n\r\n"),
            400,
        ),
        (
            "chunks twice",
            post(&format!("{chunked}{chunked}"), "0\r\n\r\n"),
            400,
        ),
        (
            "gzip in chunks",
            post("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"),
            400,
        ),
        (
            "chunks, then gzip",
            post("Transfer-Encoding: chunked, gzip\r\n", "0\r\n\r\n"),
            400,
        ),
        (
            "chunks twice in one",
            post("Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n"),
            400,
        ),
        (
            "almost chunks",
            post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"),
            400,
        ),
        ("identity", post("Transfer-Encoding: identity\r\n", ""), 400),
        (
            "a tab before chunks",
            post("Transfer-Encoding:\x0bchunked\r\n", "0\r\n\r\n"),
            400,
        ),
        (
            "a space before the colon",
            post("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"),
            400,
        ),
        (
            "chunks in HTTP/1.0",
            format!("POST / HTTP/1.0\r\n{HOST}{chunked}\r\n0\r\n\r\n"),
            400,
        ),
        (
            "two lengths",
            post("Content-Length: 3\r\nContent-Length: 4\r\n", "abcd"),
            400,
        ),
        (
            "two lengths in one",
            post("Content-Length: 3, 3\r\n", "abc"),
            400,
        ),
        (
            "a signed length",
            post("Content-Length: +3\r\n", "abc"),
            400,
        ),
        ("a negative length", post("Content-Length: -3\r\n", ""), 400),
        (
            "a length in hexadecimal",
            post("Content-Length: 0x3\r\n", "abc"),
            400,
        ),
        ("an empty length", post("Content-Length:\r\n", ""), 400),
        (
            "a length beyond all",
            post("Content-Length: 99999999999999999999\r\n", ""),
            400,
        ),
        ("a folded line", get(&format!("{HOST}X: a\r\n b\r\n")), 400),
        ("a folded first line", get(&format!(" X: a\r\n{HOST}")), 400),
        ("a bare newline", format!("GET / HTTP/1.1\n{HOST}\r\n"), 400),
        (
            "a bare newline at the end",
            format!("GET / HTTP/1.1\r\n{HOST}\n"),
            400,
        ),
        ("a bare return", get(&format!("X: a\rb\r\n{HOST}")), 400),
        ("no colon", get(&format!("{HOST}X\r\n")), 400),
        ("no name", get(&format!("{HOST}: x\r\n")), 400),
        ("a zero byte", get(&format!("{HOST}X: a\0b\r\n")), 400),
        ("a bad method", line("GE T / HTTP/1.1"), 400),
        ("no method", line("/ HTTP/1.1"), 400),
        ("no path", line("GET HTTP/1.1"), 400),
        ("a path without slash", line("GET a HTTP/1.1"), 400),
        ("an asterisk", line("OPTIONS * HTTP/1.1"), 400),
        ("a space in the path", line("GET /a b HTTP/1.1"), 400),
        ("above the root", line("GET /../etc HTTP/1.1"), 400),
        (
            "above the root, hidden",
            line("GET /a/%2e%2e/%2E./x HTTP/1.1"),
            400,
        ),
        ("a zero byte in the path", line("GET /%00 HTTP/1.1"), 400),
        ("half an escape", line("GET /%2 HTTP/1.1"), 400),
        ("a version of the future", line("GET / HTTP/3.0"), 400),
        ("version 2 in text", line("GET / HTTP/2.0"), 400),
        ("a version that is none", line("GET / HTTX/1.1"), 400),
        ("version 0.9", "GET /\r\n\r\n".to_owned(), 400),
        (
            "connect",
            "CONNECT a.example:80 HTTP/1.1\r\nHost: a.example:80\r\n\r\n".to_owned(),
            405,
        ),
        ("trace", line("TRACE / HTTP/1.1"), 405),
        (
            "a long path",
            line(&format!("GET /{} HTTP/1.1", "a".repeat(9_000))),
            414,
        ),
        (
            "many headers",
            get(&(HOST.to_owned() + &"X: y\r\n".repeat(101))),
            431,
        ),
        (
            "a long header",
            get(&format!("{HOST}X: {}\r\n", "a".repeat(40_000))),
            431,
        ),
        (
            "long headers",
            get(&(HOST.to_owned() + &format!("X: {}\r\n", "a".repeat(1_000)).repeat(40))),
            431,
        ),
        ("a long body", post("Content-Length: 1048577\r\n", "x"), 413),
        (
            "a TLS greeting",
            "\x16\x03\x01\x02\x00\x01\x00\x01\u{fc}\x03\x03\r\n\r\n".to_owned(),
            400,
        ),
        (
            "no route",
            "GET / HTTP/1.1\r\nHost: b.example\r\n\r\n".to_owned(),
            404,
        ),
        (
            "a status",
            "GET / HTTP/1.1\r\nHost: teapot.example\r\n\r\n".to_owned(),
            418,
        ),
    ]
}

#[test]
fn hostile_requests_have_their_answers_and_reach_nobody() {
    let echo = Endpoint::echo();
    let rig = Plan::to(&[echo.address]).start();
    let mut wrong = Vec::new();
    for (name, request, expected) in cases() {
        let before = echo.requests().len();
        let answer = rig.ask(&request);
        if answer.status != expected {
            wrong.push(format!("{name}: {} instead of {expected}", answer.status));
        }
        if echo.requests().len() > before {
            wrong.push(format!("{name}: {:?}", echo.requests().last()));
        }
        rig.check();
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Chunks are read while the request is on its way: the endpoint may see the head, never the rest.
#[test]
fn broken_chunks_break_the_request() {
    let echo = Endpoint::echo();
    let rig = Plan::to(&[echo.address]).start();
    for chunks in [
        "x\r\n",
        "-1\r\n",
        "1\na\r\n0\r\n\r\n",
        "1\r\nab\r\n0\r\n\r\n",
        "FFFFFFFFFFFFFFFFF\r\n",
        "1;a\nb\r\na\r\n0\r\n\r\n",
        "1 1\r\na\r\n",
        "0x1\r\na\r\n",
    ] {
        let head = format!("POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n");
        let answer = rig.ask(head + chunks + "GET /smuggled HTTP/1.1\r\n\r\n");
        assert_eq!(answer.status, 400, "{chunks:?} {answer:?}");
        rig.check();
    }
    let seen = echo.requests();
    assert!(
        !seen.iter().any(|head| head.contains("smuggled")),
        "{seen:?}"
    );
}

#[test]
fn a_body_in_chunks_that_is_too_long_is_cut_off() {
    let echo = Endpoint::echo();
    let mut plan = Plan::to(&[echo.address]);
    plan.route.body_limit = 10;
    let rig = plan.start();
    let head = format!("POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n");
    let answer = rig.ask(format!("{head}6\r\nabcdef\r\n6\r\nabcdef\r\n0\r\n\r\n"));
    assert_eq!(answer.status, 413, "{answer:?}");
    let answer = rig.ask(format!("{head}6\r\nabcdef\r\n4\r\nabcd\r\n0\r\n\r\n"));
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// A client that sends a long body learns that it is too long, though nobody reads the rest.
#[test]
fn the_answer_arrives_although_the_body_is_not_read() {
    let echo = Endpoint::echo();
    let rig = Plan::to(&[echo.address]).start();
    for _ in 0..20 {
        let mut client = rig.connect();
        client.send(format!(
            "POST / HTTP/1.1\r\n{HOST}Content-Length: 4000000\r\n\r\n"
        ));
        client.send(vec![b'x'; 3_000_000]);
        let answer = client.answer(false);
        assert_eq!(answer.status, 413, "{answer:?}");
    }
}

/// What a client that pipelines sends is served in order, and heads that came while the request
/// before was under way are not held against it.
#[test]
fn pipelined_requests_are_served_in_order() {
    let echo = Endpoint::echo();
    let rig = Plan::to(&[echo.address]).start();
    let mut client = rig.connect();
    let requests: String = (0..50)
        .map(|n| format!("POST /{n} HTTP/1.1\r\n{HOST}Content-Length: 3\r\n\r\nabc"))
        .collect();
    for part in requests.as_bytes().chunks(97) {
        client.send(part);
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    for n in 0..50 {
        let answer = client.answer(false);
        assert_eq!(answer.status, 200, "{n}: {answer:?}");
        assert!(
            answer.body.starts_with(&format!("POST /{n} ")),
            "{answer:?}"
        );
    }
}
