// SPDX-License-Identifier: Apache-2.0
//! Frames of streams, and the states of streams.

use super::Want::{Connection, Malformed, Pong, Status, Stream};
use super::*;

const BROKEN: &[u32] = &[PROTOCOL];
const CLOSED: &[u32] = &[STREAM_CLOSED];
/// What is sent on a stream that is over may be either (5.1).
const OVER: &[u32] = &[STREAM_CLOSED, PROTOCOL];

fn get(stream: u32) -> Vec<u8> {
    frame(HEADERS, WHOLE, stream, &head())
}

fn open() -> Vec<u8> {
    frame(HEADERS, END_HEADERS, 1, &post(&[]))
}

fn reset() -> Vec<u8> {
    frame(RST_STREAM, 0, 1, &[0, 0, 0, 8])
}

/// 5.1: which frames a stream may get in which state.
#[expect(clippy::too_many_lines, reason = "a table")]
fn states() -> Vec<Case> {
    let block = |flags| frame(CONTINUATION, flags, 1, &field("x", "y"));
    vec![
        (
            "5.1",
            "DATA on an idle stream",
            frame(DATA, 1, 1, b"x"),
            Connection(BROKEN),
        ),
        (
            "5.1",
            "RST_STREAM on an idle stream",
            reset(),
            Connection(BROKEN),
        ),
        (
            "5.1",
            "WINDOW_UPDATE on an idle stream",
            frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]),
            Connection(BROKEN),
        ),
        (
            "5.1",
            "CONTINUATION on an idle stream",
            block(END_HEADERS),
            Connection(BROKEN),
        ),
        (
            "5.1",
            "PRIORITY on an idle stream",
            [frame(PRIORITY, 0, 3, &[0, 0, 0, 0, 9]), ping()].concat(),
            Pong,
        ),
        (
            "5.1",
            "DATA after the end",
            [get(1), frame(DATA, 1, 1, b"x")].concat(),
            Stream(CLOSED),
        ),
        (
            "5.1",
            "a head after the end",
            [get(1), get(1)].concat(),
            Stream(OVER),
        ),
        (
            "5.1",
            "CONTINUATION after the end",
            [get(1), block(END_HEADERS)].concat(),
            Connection(OVER),
        ),
        (
            "5.1",
            "DATA after RST_STREAM",
            [open(), reset(), frame(DATA, 1, 1, b"x")].concat(),
            Stream(CLOSED),
        ),
        (
            "5.1",
            "a head after RST_STREAM",
            [open(), reset(), get(1)].concat(),
            Stream(OVER),
        ),
        (
            "5.1",
            "CONTINUATION after RST_STREAM",
            [open(), reset(), block(END_HEADERS)].concat(),
            Connection(OVER),
        ),
        (
            "5.1",
            "WINDOW_UPDATE after RST_STREAM",
            [
                open(),
                reset(),
                frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]),
                ping(),
            ]
            .concat(),
            Pong,
        ),
        (
            "5.1",
            "PRIORITY after RST_STREAM",
            [
                open(),
                reset(),
                frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 9]),
                ping(),
            ]
            .concat(),
            Pong,
        ),
        (
            "5.1",
            "RST_STREAM after RST_STREAM",
            [open(), reset(), reset(), ping()].concat(),
            Pong,
        ),
        ("5.1.1", "an even stream", get(2), Connection(BROKEN)),
        (
            "5.1.1",
            "a stream of the past",
            [get(5), get(3)].concat(),
            Connection(OVER),
        ),
        (
            "5.1.1",
            "streams that are left out",
            [get(1), get(101)].concat(),
            Status(200),
        ),
    ]
}

/// 6.1 to 6.4: DATA, HEADERS, PRIORITY, RST_STREAM.
#[expect(clippy::too_many_lines, reason = "a table")]
fn frames() -> Vec<Case> {
    let padded = |pad: u8, text: &[u8]| [&[pad][..], text].concat();
    let with_padding = [&padded(2, &head())[..], &[0, 0]].concat();
    let with_priority = [&[0, 0, 0, 0, 9][..], &head()].concat();
    vec![
        (
            "6.1",
            "DATA of no stream",
            frame(DATA, 1, 0, b"x"),
            Connection(BROKEN),
        ),
        (
            "6.1",
            "padding beyond DATA",
            [open(), frame(DATA, 9, 1, &padded(6, b"abc"))].concat(),
            Connection(BROKEN),
        ),
        (
            "6.1",
            "DATA of padding only",
            [open(), frame(DATA, 9, 1, &padded(3, &[0; 3]))].concat(),
            Status(200),
        ),
        (
            "6.1",
            "padded DATA",
            [open(), frame(DATA, 9, 1, &padded(2, b"abc\0\0"))].concat(),
            Status(200),
        ),
        (
            "6.1",
            "no padding length",
            [open(), frame(DATA, 9, 1, &[])].concat(),
            Connection(&[FRAME_SIZE, PROTOCOL]),
        ),
        (
            "6.2",
            "a head of no stream",
            frame(HEADERS, WHOLE, 0, &head()),
            Connection(BROKEN),
        ),
        (
            "6.2",
            "padding beyond a head",
            frame(HEADERS, WHOLE | PADDED, 1, &padded(99, &head())),
            Connection(BROKEN),
        ),
        (
            "6.2",
            "a padded head",
            frame(HEADERS, WHOLE | PADDED, 1, &with_padding),
            Status(200),
        ),
        (
            "6.2",
            "a head with priority",
            frame(HEADERS, WHOLE | PRIORITIZED, 1, &with_priority),
            Status(200),
        ),
        (
            "6.2",
            "half a priority",
            frame(HEADERS, WHOLE | PRIORITIZED, 1, &[0, 0]),
            Connection(&[FRAME_SIZE, PROTOCOL]),
        ),
        (
            "6.3",
            "PRIORITY of no stream",
            frame(PRIORITY, 0, 0, &[0, 0, 0, 0, 9]),
            Connection(BROKEN),
        ),
        (
            "6.3",
            "a short PRIORITY",
            [open(), frame(PRIORITY, 0, 1, &[0, 0, 0, 9])].concat(),
            Stream(&[FRAME_SIZE]),
        ),
        (
            "6.4",
            "RST_STREAM of no stream",
            frame(RST_STREAM, 0, 0, &[0, 0, 0, 8]),
            Connection(BROKEN),
        ),
        (
            "6.4",
            "a short RST_STREAM",
            [open(), frame(RST_STREAM, 0, 1, &[0, 0, 8])].concat(),
            Connection(&[FRAME_SIZE]),
        ),
        (
            "6.4",
            "a code nobody knows",
            [open(), frame(RST_STREAM, 0, 1, &[9, 9, 9, 9]), ping()].concat(),
            Pong,
        ),
    ]
}

/// 4.3 and 6.10: heads in several frames.
#[expect(clippy::too_many_lines, reason = "a table")]
fn continuations() -> Vec<Case> {
    let first = |stream| frame(HEADERS, END_STREAM, stream, &head());
    let more = |flags| frame(CONTINUATION, flags, 1, &field("x", "y"));
    vec![
        (
            "6.10",
            "a head in three frames",
            [first(1), more(0), more(END_HEADERS)].concat(),
            Status(200),
        ),
        (
            "6.10",
            "DATA within a head",
            [first(1), frame(DATA, 1, 1, b"x")].concat(),
            Connection(BROKEN),
        ),
        (
            "4.3",
            "PRIORITY within a head",
            [first(1), frame(PRIORITY, 0, 1, &[0; 5])].concat(),
            Connection(BROKEN),
        ),
        (
            "4.3",
            "PING within a head",
            [first(1), ping()].concat(),
            Connection(BROKEN),
        ),
        (
            "4.3",
            "another head within a head",
            [first(1), get(3)].concat(),
            Connection(BROKEN),
        ),
        (
            "6.10",
            "CONTINUATION of another stream",
            [
                first(1),
                frame(CONTINUATION, END_HEADERS, 3, &field("x", "y")),
            ]
            .concat(),
            Connection(BROKEN),
        ),
        (
            "6.10",
            "CONTINUATION of no stream",
            [
                first(1),
                frame(CONTINUATION, END_HEADERS, 0, &field("x", "y")),
            ]
            .concat(),
            Connection(BROKEN),
        ),
        (
            "6.10",
            "CONTINUATION after a whole head",
            [open(), more(END_HEADERS)].concat(),
            Connection(BROKEN),
        ),
        (
            "6.10",
            "CONTINUATION after the last one",
            [
                frame(HEADERS, 0, 1, &post(&[])),
                more(END_HEADERS),
                more(END_HEADERS),
            ]
            .concat(),
            Connection(BROKEN),
        ),
        (
            "6.10",
            "CONTINUATION after DATA",
            [open(), frame(DATA, 0, 1, b"x"), more(END_HEADERS)].concat(),
            Connection(BROKEN),
        ),
        (
            "4.3",
            "a block that is cut off",
            frame(HEADERS, WHOLE, 1, &head()[..8]),
            Connection(&[COMPRESSION]),
        ),
        (
            "8.1",
            "a second head that is not the end",
            [open(), frame(HEADERS, END_HEADERS, 1, &field("x", "y"))].concat(),
            Malformed,
        ),
    ]
}

#[test]
fn states_of_streams() {
    run(states());
}

#[test]
fn frames_of_streams() {
    run(frames());
}

#[test]
fn heads_in_several_frames() {
    run(continuations());
}

/// 5.1.2: one stream more than was told.
#[test]
fn one_stream_too_many_is_refused() {
    let silent = Endpoint::serving(|mut served, _| while served.request().is_some() {});
    let mut plan = Plan::to(&[silent.address]);
    plan.settings.streams = 3;
    let rig = plan.start();
    let mut client = begin(&rig, &[]);
    // What was told holds once it is acknowledged.
    until(&mut client, |f| f.kind == SETTINGS && f.flags & ACK != 0);
    for stream in [1, 3, 5, 7] {
        client.send(get(stream));
    }
    let frames = until(&mut client, |f| matches!(f.kind, RST_STREAM | GOAWAY));
    let last = frames.last().expect("a word");
    assert!([REFUSED, PROTOCOL].contains(&last.code()), "{last:?}");
    assert!(last.kind == GOAWAY || last.stream == 7, "{last:?}");
}
