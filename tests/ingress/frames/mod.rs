// SPDX-License-Identifier: Apache-2.0
//! What a server has to say to frames that RFC 9113 and RFC 7541 forbid, and to those that they
//! allow, case by case: the rules that h2spec checks, and some more.
//!
//! Where the RFC leaves a choice, all of it is right: an error of a stream may be made one of the
//! connection (5.4.2), a connection may be closed without a GOAWAY being seen (5.4.1), and a
//! malformed request may be answered 400 (8.1.1).
//!
//! Not held: that a client's first frame is SETTINGS (3.4). h2 serves one whose SETTINGS come late.

mod connection;
mod heads;
mod streams;
mod windows;
pub(crate) mod wire;

use self::wire::*;
use crate::rig::{Client, Endpoint, Plan};

/// What a server has to say.
#[derive(Debug, Clone, Copy)]
enum Want {
    /// An error of the connection: GOAWAY with one of these codes, and the end.
    Connection(&'static [u32]),
    /// An error of stream 1, or of the connection, with one of these codes.
    Stream(&'static [u32]),
    /// A malformed request: PROTOCOL_ERROR, or status 400; no endpoint sees it.
    Malformed,
    /// This status on stream 1.
    Status(u16),
    /// Nothing but that it goes on: a PING is answered.
    Pong,
}

/// Section of RFC 9113, or RFC and section; what is sent after the preface and SETTINGS; what has to
/// come of it.
type Case = (&'static str, &'static str, Vec<u8>, Want);

const MARK: [u8; 8] = *b"the mark";

/// The last of what a case sends: it is answered if the connection goes on.
fn ping() -> Vec<u8> {
    frame(PING, 0, 0, &MARK)
}

fn ends(frame: &Frame) -> bool {
    matches!(frame.kind, GOAWAY) && frame.code() != 0
}

/// Whether stream 1 is answered or reset.
fn answers(frame: &Frame) -> bool {
    ends(frame) || (frame.stream == 1 && matches!(frame.kind, HEADERS | RST_STREAM))
}

/// Whether a code is right. That of all errors (7) always is: h2 has it for most that its decoder
/// finds, where the RFC has a particular one.
fn is_one_of(frame: &Frame, codes: &[u32]) -> bool {
    codes.contains(&frame.code()) || frame.code() == PROTOCOL
}

/// Whether the server says what it has to, and all that it said.
fn judge(client: &mut Client, want: Want) -> (bool, Vec<Frame>) {
    match want {
        Want::Connection(codes) => {
            let mut frames = until(client, ends);
            let last = frames.last().filter(|last| ends(last));
            let right = last.is_none_or(|last| is_one_of(last, codes));
            let after = until(client, |_| false);
            let more = after.iter().any(|f| matches!(f.kind, HEADERS | DATA));
            frames.extend(after);
            (right && !more, frames)
        }
        Want::Stream(codes) => {
            let last = |f: &Frame| ends(f) || f.kind == RST_STREAM;
            let frames = until(client, last);
            let found = frames.last().filter(|f| last(f));
            (found.is_none_or(|last| is_one_of(last, codes)), frames)
        }
        Want::Malformed => {
            let frames = until(client, answers);
            let good = match frames.last().filter(|last| answers(last)) {
                Some(last) if last.kind == HEADERS => last.status() == Some(400),
                Some(last) => last.code() == PROTOCOL,
                None => true,
            };
            (good, frames)
        }
        Want::Status(status) => {
            let frames = until(client, answers);
            let last = frames.last().filter(|last| last.kind == HEADERS);
            (last.and_then(Frame::status) == Some(status), frames)
        }
        Want::Pong => {
            let pong = |f: &Frame| f.kind == PING && f.flags & ACK != 0;
            let frames = until(client, |f| ends(f) || (pong(f) && f.payload == MARK));
            (frames.last().is_some_and(pong), frames)
        }
    }
}

/// Runs all cases of a subject, each on a connection of its own, and names those that fail.
fn run(cases: Vec<Case>) {
    let echo = Endpoint::echo();
    let rig = Plan::to(&[echo.address]).start();
    let mut wrong = Vec::new();
    for (section, name, bytes, want) in cases {
        let before = echo.requests().len();
        let mut client = begin(&rig, &[]);
        client.send(bytes);
        let (good, frames) = judge(&mut client, want);
        if !good {
            wrong.push(format!("{section}: {name}: {want:?}: {frames:?}"));
        }
        if matches!(want, Want::Malformed) && echo.requests().len() > before {
            wrong.push(format!("{section}: {name}: {:?}", echo.requests().last()));
        }
        drop(client);
        rig.check();
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
