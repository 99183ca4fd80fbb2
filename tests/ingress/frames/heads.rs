// SPDX-License-Identifier: Apache-2.0
//! Which requests are malformed (RFC 9113, 8).

use super::Want::{Malformed, Status, Stream};
use super::*;

const METHOD: (&str, &str) = (":method", "GET");
const SCHEME: (&str, &str) = (":scheme", "http");
const PATH: (&str, &str) = (":path", "/");
const AUTHORITY: (&str, &str) = (":authority", "a.example");

fn ask(list: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, WHOLE, 1, &fields(list))
}

fn with(more: &[(&str, &str)]) -> Vec<u8> {
    ask(&[&[METHOD, SCHEME, PATH, AUTHORITY], more].concat())
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn pseudo() -> Vec<Case> {
    vec![
        ("8.3", "an ordinary head", with(&[("x", "y")]), Status(200)),
        (
            "8.3",
            "a pseudo-header nobody knows",
            with(&[(":test", "x")]),
            Malformed,
        ),
        (
            "8.3",
            "a pseudo-header of a response",
            with(&[(":status", "200")]),
            Malformed,
        ),
        (
            "8.3",
            "a pseudo-header after a header",
            ask(&[METHOD, SCHEME, AUTHORITY, ("x", "y"), PATH]),
            Malformed,
        ),
        (
            "8.3.1",
            "an empty path",
            ask(&[METHOD, SCHEME, AUTHORITY, (":path", "")]),
            Malformed,
        ),
        (
            "8.3.1",
            "a path without slash",
            ask(&[METHOD, SCHEME, AUTHORITY, (":path", "x")]),
            Malformed,
        ),
        (
            "8.3.1",
            "no method",
            ask(&[SCHEME, PATH, AUTHORITY]),
            Malformed,
        ),
        (
            "8.3.1",
            "no scheme",
            ask(&[METHOD, PATH, AUTHORITY]),
            Malformed,
        ),
        (
            "8.3.1",
            "no path",
            ask(&[METHOD, SCHEME, AUTHORITY]),
            Malformed,
        ),
        (
            "8.3.1",
            "no authority and no host",
            ask(&[METHOD, SCHEME, PATH]),
            Malformed,
        ),
        (
            "8.3.1",
            "host for authority",
            ask(&[METHOD, SCHEME, PATH, ("host", "a.example")]),
            Status(200),
        ),
        (
            "8.3.1",
            "another host",
            with(&[("host", "b.example")]),
            Malformed,
        ),
        (
            "8.3.1",
            "a user in the authority",
            ask(&[METHOD, SCHEME, PATH, (":authority", "u@a.example")]),
            Malformed,
        ),
        ("8.3", "two methods", with(&[METHOD]), Malformed),
        ("8.3", "two schemes", with(&[SCHEME]), Malformed),
        ("8.3", "two paths", with(&[PATH]), Malformed),
        ("8.3", "two authorities", with(&[AUTHORITY]), Malformed),
        (
            "8.3.1",
            "a method that is no token",
            ask(&[(":method", "G T"), SCHEME, PATH, AUTHORITY]),
            Malformed,
        ),
        (
            "8.5",
            "CONNECT",
            ask(&[(":method", "CONNECT"), (":authority", "a.example:80")]),
            Status(405),
        ),
        (
            "8.5",
            "CONNECT with a path",
            ask(&[(":method", "CONNECT"), SCHEME, PATH, AUTHORITY]),
            Malformed,
        ),
        (
            "RFC 8441, 4",
            "an extended CONNECT without path",
            ask(&[
                (":method", "CONNECT"),
                (":protocol", "websocket"),
                AUTHORITY,
            ]),
            Malformed,
        ),
        (
            "RFC 8441, 4",
            "a protocol without CONNECT",
            ask(&[METHOD, (":protocol", "websocket"), SCHEME, PATH, AUTHORITY]),
            Malformed,
        ),
        (
            "RFC 8441, 4",
            "a protocol that is not served",
            ask(&[
                (":method", "CONNECT"),
                (":protocol", "telnet"),
                SCHEME,
                PATH,
                AUTHORITY,
            ]),
            Status(501),
        ),
    ]
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn headers() -> Vec<Case> {
    let raw = |name: &str, value: &[u8]| {
        let list = [
            fields(&[METHOD, SCHEME, PATH, AUTHORITY]),
            field(name, value),
        ];
        frame(HEADERS, WHOLE, 1, &list.concat())
    };
    vec![
        (
            "8.2.1",
            "a name in capitals",
            raw("X-TEST", b"ok"),
            Malformed,
        ),
        (
            "8.2.1",
            "a space in a name",
            raw("x test", b"ok"),
            Malformed,
        ),
        (
            "8.2.1",
            "a colon in a name",
            raw("x:test", b"ok"),
            Malformed,
        ),
        (
            "8.2.1",
            "a newline in a name",
            raw("x\ntest", b"ok"),
            Malformed,
        ),
        ("8.2.1", "an empty name", raw("", b"ok"), Malformed),
        (
            "8.2.1",
            "a zero byte in a value",
            raw("x", b"a\0b"),
            Malformed,
        ),
        (
            "8.2.1",
            "a newline in a value",
            raw("x", b"a\nb"),
            Malformed,
        ),
        (
            "8.2.1",
            "a carriage return in a value",
            raw("x", b"a\rb"),
            Malformed,
        ),
        (
            "8.2.2",
            "connection",
            with(&[("connection", "keep-alive")]),
            Malformed,
        ),
        (
            "8.2.2",
            "keep-alive",
            with(&[("keep-alive", "5")]),
            Malformed,
        ),
        (
            "8.2.2",
            "proxy-connection",
            with(&[("proxy-connection", "close")]),
            Malformed,
        ),
        (
            "8.2.2",
            "transfer-encoding",
            with(&[("transfer-encoding", "chunked")]),
            Malformed,
        ),
        (
            "8.2.2",
            "upgrade",
            with(&[("upgrade", "websocket")]),
            Malformed,
        ),
        (
            "8.2.2",
            "te that is not trailers",
            with(&[("te", "gzip")]),
            Malformed,
        ),
        (
            "8.2.2",
            "te: trailers",
            with(&[("te", "trailers")]),
            Status(200),
        ),
    ]
}

/// Bodies, and trailers after them.
fn bodies() -> Vec<Case> {
    let open = |length: &str| {
        frame(
            HEADERS,
            END_HEADERS,
            1,
            &post(&[("content-length", length)]),
        )
    };
    let end = |text: &[u8]| frame(DATA, END_STREAM, 1, text);
    let part = |text: &[u8]| frame(DATA, 0, 1, text);
    let trailers = |list: &[(&str, &str)]| frame(HEADERS, WHOLE, 1, &fields(list));
    const WRONG: &[u32] = &[PROTOCOL];
    vec![
        (
            "8.1.1",
            "a body as long as it says",
            [open("3"), end(b"abc")].concat(),
            Status(200),
        ),
        (
            "8.1.1",
            "a body that is too short",
            [open("4"), end(b"abc")].concat(),
            Stream(WRONG),
        ),
        (
            "8.1.1",
            "a body that is too long",
            [open("2"), end(b"abc")].concat(),
            Stream(WRONG),
        ),
        (
            "8.1.1",
            "parts that are too long",
            [open("2"), part(b"ab"), end(b"c")].concat(),
            Stream(WRONG),
        ),
        (
            "8.1.1",
            "parts that are too short",
            [open("4"), part(b"ab"), end(b"c")].concat(),
            Stream(WRONG),
        ),
        (
            "8.1.1",
            "a length without body",
            frame(HEADERS, WHOLE, 1, &post(&[("content-length", "3")])),
            Malformed,
        ),
        ("8.1.1", "a length that is none", open("x"), Malformed),
        (
            "8.1",
            "trailers",
            [open("3"), part(b"abc"), trailers(&[("x", "y")])].concat(),
            Status(200),
        ),
        (
            "8.1",
            "a pseudo-header in trailers",
            [open("3"), part(b"abc"), trailers(&[(":method", "GET")])].concat(),
            Stream(WRONG),
        ),
    ]
}

#[test]
fn pseudo_headers() {
    run(pseudo());
}

#[test]
fn names_and_values() {
    run(headers());
}

#[test]
fn bodies_and_trailers() {
    run(bodies());
}
