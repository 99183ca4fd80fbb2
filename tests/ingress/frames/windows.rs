// SPDX-License-Identifier: Apache-2.0
//! Flow control (RFC 9113, 6.9).

use super::Want::{Connection, Pong, Stream};
use super::*;
use crate::rig::Rig;

fn window(stream: u32, more: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &more.to_be_bytes())
}

fn cases() -> Vec<Case> {
    let open = || frame(HEADERS, END_HEADERS, 1, &post(&[]));
    let most = 0x7fff_ffff;
    let flow = &[FLOW_CONTROL];
    let settings = frame(SETTINGS, 0, 0, &setting(4, most));
    vec![
        (
            "6.9",
            "nothing for the connection",
            window(0, 0),
            Connection(&[PROTOCOL]),
        ),
        (
            "6.9",
            "nothing for a stream",
            [open(), window(1, 0)].concat(),
            Stream(&[PROTOCOL]),
        ),
        (
            "6.9",
            "a short WINDOW_UPDATE",
            frame(WINDOW_UPDATE, 0, 0, &[0, 0, 1]),
            Connection(&[FRAME_SIZE]),
        ),
        (
            "6.9.1",
            "too much for the connection",
            [window(0, most), window(0, most)].concat(),
            Connection(flow),
        ),
        (
            "6.9.1",
            "too much for a stream",
            [open(), window(1, most), window(1, most)].concat(),
            Stream(flow),
        ),
        (
            "6.9.2",
            "too much by a setting",
            [open(), window(1, 9), settings].concat(),
            Connection(flow),
        ),
        (
            "6.9",
            "the reserved bit",
            [window(0, 0x8000_0001), ping()].concat(),
            Pong,
        ),
    ]
}

#[test]
fn windows_that_are_wrong() {
    run(cases());
}

fn rig() -> Rig {
    let endpoint = Endpoint::serving(|mut served, _| {
        while served.request().is_some() {
            served.answer("abcdefghij");
        }
    });
    Plan::to(&[endpoint.address]).start()
}

/// The bytes of DATA on stream 1 that come before a PING is answered, after so many bytes at most.
fn data(client: &mut Client, most: usize) -> Vec<u8> {
    let mut seen = 0;
    let frames = until(client, |f| {
        seen += if f.kind == DATA { f.payload.len() } else { 0 };
        seen >= most
    });
    let data = frames.into_iter().filter(|f| f.kind == DATA);
    data.flat_map(|f| f.payload).collect()
}

/// 6.9.1 and 6.9.2: not a byte beyond the window, which settings may change, to less than nothing
/// too.
#[test]
fn no_byte_goes_beyond_the_window() {
    let rig = rig();
    let mut client = begin(&rig, &setting(4, 1));
    client.send(frame(HEADERS, WHOLE, 1, &head()));
    assert_eq!(data(&mut client, 1), b"a");
    client.send(window(1, 2));
    assert_eq!(data(&mut client, 2), b"bc");
    // To -3: an update of 4 opens it for one byte.
    client.send(frame(SETTINGS, 0, 0, &setting(4, 4)));
    assert_eq!(data(&mut client, 3), b"def");
    client.send(frame(SETTINGS, 0, 0, &setting(4, 1)));
    client.send(window(1, 4));
    assert_eq!(data(&mut client, 1), b"g");
    client.send([window(1, 100), ping()].concat());
    assert_eq!(data(&mut client, 3), b"hij");
}

/// 6.5.3: of a setting that is given twice, the last one holds.
#[test]
fn the_last_of_two_settings_holds() {
    let rig = rig();
    let mut client = begin(&rig, &[setting(4, 100), setting(4, 1)].concat());
    client.send([frame(HEADERS, WHOLE, 1, &head()), ping()].concat());
    assert_eq!(data(&mut client, 1), b"a");
    client.send([window(1, 3), ping()].concat());
    assert_eq!(data(&mut client, 3), b"bcd");
}
