// SPDX-License-Identifier: Apache-2.0
//! Frames of the connection, and what holds for all frames.

use super::Want::{Connection, Malformed, Pong, Status, Stream};
use super::*;

const FRAMES: &[u32] = &[FRAME_SIZE];
const BROKEN: &[u32] = &[PROTOCOL];

fn cases() -> Vec<Case> {
    let get = || frame(HEADERS, WHOLE, 1, &head());
    let open = || frame(HEADERS, END_HEADERS, 1, &post(&[]));
    let with_ping = |bytes: Vec<u8>| [bytes, ping()].concat();
    let large = vec![0; 16_385];
    let mut cases: Vec<Case> = vec![
        (
            "4.1",
            "a type that nobody knows",
            with_ping(frame(0x16, 0, 0, b"what")),
            Pong,
        ),
        (
            "4.1",
            "flags that nobody knows",
            frame(PING, 0x16, 0, &MARK),
            Pong,
        ),
        (
            "4.1",
            "the reserved bit",
            frame(PING, 0, 0x8000_0000, &MARK),
            Pong,
        ),
        (
            "4.2",
            "long DATA",
            [open(), frame(DATA, 1, 1, &large)].concat(),
            Stream(FRAMES),
        ),
        (
            "4.2",
            "a long head",
            frame(HEADERS, WHOLE, 1, &large),
            Connection(FRAMES),
        ),
        (
            "4.2",
            "a frame without end",
            vec![0xff, 0xff, 0xff, PING, 0, 0, 0, 0, 0],
            Connection(FRAMES),
        ),
        (
            "5.5",
            "an unknown frame on a stream",
            [frame(0x16, 0, 1, b"x"), get()].concat(),
            Status(200),
        ),
        (
            "5.5",
            "an unknown frame within a head",
            [
                frame(HEADERS, END_STREAM, 1, &head()),
                frame(0x16, 0, 1, b"x"),
            ]
            .concat(),
            Connection(BROKEN),
        ),
    ];
    cases.extend(settings());
    cases.extend(others());
    cases
}

fn settings() -> Vec<Case> {
    let settings = |payload: &[u8]| frame(SETTINGS, 0, 0, payload);
    let with_ping = |bytes: Vec<u8>| [bytes, ping()].concat();
    vec![
        (
            "6.5",
            "an ACK with content",
            frame(SETTINGS, ACK, 0, &setting(3, 1)),
            Connection(FRAMES),
        ),
        (
            "6.5",
            "SETTINGS of a stream",
            frame(SETTINGS, 0, 1, &setting(3, 1)),
            Connection(BROKEN),
        ),
        (
            "6.5",
            "half a setting",
            settings(&[0, 3, 0]),
            Connection(FRAMES),
        ),
        (
            "6.5.2",
            "ENABLE_PUSH 2",
            settings(&setting(2, 2)),
            Connection(BROKEN),
        ),
        (
            "6.5.2",
            "a window of 2^31",
            settings(&setting(4, 1 << 31)),
            Connection(&[FLOW_CONTROL]),
        ),
        (
            "6.5.2",
            "frames of 16,383",
            settings(&setting(5, 16_383)),
            Connection(BROKEN),
        ),
        (
            "6.5.2",
            "frames of 2^24",
            settings(&setting(5, 1 << 24)),
            Connection(BROKEN),
        ),
        (
            "6.5.2",
            "a setting nobody knows",
            with_ping(settings(&setting(0xff, 1))),
            Pong,
        ),
        ("6.5.2", "no setting", with_ping(settings(&[])), Pong),
        (
            "RFC 8441, 3",
            "ENABLE_CONNECT_PROTOCOL 2",
            settings(&setting(8, 2)),
            Connection(BROKEN),
        ),
    ]
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn others() -> Vec<Case> {
    let get = || frame(HEADERS, WHOLE, 1, &head());
    let with_ping = |bytes: Vec<u8>| [bytes, ping()].concat();
    let promise = [&[0, 0, 0, 2][..], &head()].concat();
    let goaway = [0; 8];
    vec![
        (
            "6.6",
            "a promise of a client",
            [
                frame(HEADERS, END_HEADERS, 1, &post(&[])),
                frame(PUSH_PROMISE, END_HEADERS, 1, &promise),
            ]
            .concat(),
            Connection(BROKEN),
        ),
        ("6.7", "a PING", ping(), Pong),
        (
            "6.7",
            "a PING that is an answer",
            with_ping(frame(PING, ACK, 0, b"answered")),
            Pong,
        ),
        (
            "6.7",
            "a PING of a stream",
            frame(PING, 0, 1, &MARK),
            Connection(BROKEN),
        ),
        (
            "6.7",
            "a short PING",
            frame(PING, 0, 0, &[1; 6]),
            Connection(FRAMES),
        ),
        (
            "6.7",
            "a long PING",
            frame(PING, 0, 0, &[1; 9]),
            Connection(FRAMES),
        ),
        (
            "6.8",
            "a GOAWAY of a stream",
            frame(GOAWAY, 0, 1, &goaway),
            Connection(BROKEN),
        ),
        (
            "6.8",
            "a short GOAWAY",
            frame(GOAWAY, 0, 0, &[0; 4]),
            Connection(FRAMES),
        ),
        (
            "6.8",
            "a request before a GOAWAY",
            [get(), frame(GOAWAY, 0, 0, &goaway)].concat(),
            Status(200),
        ),
        (
            "RFC 7541, 2.3.3",
            "index 0",
            frame(HEADERS, WHOLE, 1, &[0x80]),
            Connection(&[COMPRESSION]),
        ),
        (
            "RFC 7541, 2.3.3",
            "an index of nothing",
            frame(HEADERS, WHOLE, 1, &[&head()[..], &[0xff, 0x20]].concat()),
            Connection(&[COMPRESSION]),
        ),
        (
            "RFC 7541, 4.2",
            "a table's size at the end",
            frame(HEADERS, WHOLE, 1, &[&head()[..], &[0x3f, 0x01]].concat()),
            Connection(&[COMPRESSION]),
        ),
        (
            "RFC 7541, 6.3",
            "a table of 2^30",
            frame(
                HEADERS,
                WHOLE,
                1,
                &[&[0x3f, 0xe1, 0xff, 0xff, 0xff, 0x03][..], &head()].concat(),
            ),
            Connection(&[COMPRESSION]),
        ),
        (
            "RFC 7541, 5.2",
            "Huffman padding of more than 7 bits",
            frame(
                HEADERS,
                WHOLE,
                1,
                &[&head()[..], &[0, 0x01, b'x', 0x82, 0x1f, 0xff]].concat(),
            ),
            Connection(&[COMPRESSION]),
        ),
        (
            "RFC 7541, 5.2",
            "Huffman padding of zeros",
            frame(
                HEADERS,
                WHOLE,
                1,
                &[&head()[..], &[0, 0x01, b'x', 0x81, 0x18]].concat(),
            ),
            Connection(&[COMPRESSION]),
        ),
        (
            "RFC 7541, 5.2",
            "Huffman's end of text",
            frame(
                HEADERS,
                WHOLE,
                1,
                &[&head()[..], &[0, 0x01, b'x', 0x84, 0xff, 0xff, 0xff, 0xff]].concat(),
            ),
            Connection(&[COMPRESSION]),
        ),
        (
            "RFC 7541, 5.1",
            "a number without end",
            frame(HEADERS, WHOLE, 1, &[&[0xff][..], &[0xff; 12]].concat()),
            Connection(&[COMPRESSION]),
        ),
        (
            "RFC 7541, 5.2",
            "a text beyond its block",
            frame(HEADERS, WHOLE, 1, &[&head()[..], &[0, 0x7e, b'x']].concat()),
            Connection(&[COMPRESSION]),
        ),
        (
            "RFC 7541, 4.3",
            "a table of size 0",
            frame(HEADERS, WHOLE, 1, &[&[0x20][..], &head()].concat()),
            Status(200),
        ),
        (
            "8.3.1",
            "no block at all",
            frame(HEADERS, WHOLE, 1, &[]),
            Malformed,
        ),
    ]
}

#[test]
fn frames_of_the_connection() {
    run(cases());
}

/// What comes first is SETTINGS, on both sides (3.4).
#[test]
fn a_connection_begins_with_settings() {
    let rig = Plan::to(&[Endpoint::echo().address]).start();
    let mut client = rig.connect();
    client.send(PREFACE);
    client.send(frame(SETTINGS, 0, 0, &[]));
    let frames = until(&mut client, |f| f.kind == SETTINGS && f.flags & ACK != 0);
    assert_eq!((frames[0].kind, frames[0].flags), (SETTINGS, 0));
    assert!(frames.last().is_some_and(|f| f.flags & ACK != 0), "6.5.3");
    // ENABLE_CONNECT_PROTOCOL (RFC 8441) and MAX_CONCURRENT_STREAMS are told.
    let told: Vec<&[u8]> = frames[0].payload.chunks(6).collect();
    assert!(told.contains(&&setting(8, 1)[..]), "{told:?}");
    assert!(told.contains(&&setting(3, 128)[..]), "{told:?}");

    let mut client = rig.connect();
    client.send(b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n");
    let frames = until(&mut client, |_| false);
    let served = frames.iter().any(|f| f.kind == HEADERS);
    assert!(!served, "{frames:?}");
}
