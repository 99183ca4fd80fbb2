// SPDX-License-Identifier: Apache-2.0
//! HTTP/2 frames and header lists as bytes, and what a server says to them.

use std::io::{Read, Write};
use std::time::Duration;

use crate::rig::{Client, Rig};

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const ACK: u8 = 1;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
pub(crate) const PADDED: u8 = 8;
pub(crate) const PRIORITIZED: u8 = 0x20;
/// A whole request without body.
pub(crate) const WHOLE: u8 = END_STREAM | END_HEADERS;

/// Error codes (RFC 9113, 7).
pub(crate) const PROTOCOL: u32 = 1;
pub(crate) const FLOW_CONTROL: u32 = 3;
pub(crate) const STREAM_CLOSED: u32 = 5;
pub(crate) const FRAME_SIZE: u32 = 6;
pub(crate) const REFUSED: u32 = 7;
pub(crate) const COMPRESSION: u32 = 9;

/// Nothing takes longer, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// One frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// One setting.
pub(crate) fn setting(id: u16, value: u32) -> Vec<u8> {
    [&id.to_be_bytes()[..], &value.to_be_bytes()[..]].concat()
}

/// A field in HPACK, literal and without tables. Name and value of less than 127 bytes.
pub(crate) fn field(name: &str, value: impl AsRef<[u8]>) -> Vec<u8> {
    let value = value.as_ref();
    let length = |length: usize| u8::try_from(length).ok().filter(|n| *n < 127).unwrap();
    let mut field = vec![0, length(name.len())];
    field.extend(name.as_bytes());
    field.push(length(value.len()));
    field.extend(value);
    field
}

/// Fields in HPACK.
pub(crate) fn fields(fields: &[(&str, &str)]) -> Vec<u8> {
    fields.iter().flat_map(|(n, v)| field(n, v)).collect()
}

/// `GET / a.example` in HPACK, without tables.
pub(crate) fn head() -> Vec<u8> {
    let mut head = vec![0x82, 0x86, 0x84, 0x01, 9];
    head.extend(b"a.example");
    head
}

/// `POST / a.example`, and more fields.
pub(crate) fn post(more: &[(&str, &str)]) -> Vec<u8> {
    let mut head = vec![0x83, 0x86, 0x84, 0x01, 9];
    head.extend(b"a.example");
    head.extend(fields(more));
    head
}

/// A connection that has begun.
pub(crate) fn begin(rig: &Rig, settings: &[u8]) -> Client {
    let mut client = rig.connect();
    client.send(PREFACE);
    client.send(frame(SETTINGS, 0, 0, settings));
    client
}

/// What a server sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// The error code of a RST_STREAM or GOAWAY.
    pub(crate) fn code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        let code = self.payload.get(at..at + 4).expect("a code");
        u32::from_be_bytes(code.try_into().unwrap())
    }

    /// The status of a HEADERS frame, as h2 writes it: `:status` goes first, and is an index or a
    /// literal.
    pub(crate) fn status(&self) -> Option<u16> {
        // A table size update may go in front.
        let block = match self.payload.first()? {
            byte if byte >> 5 == 1 => &self.payload[1..],
            _ => &self.payload[..],
        };
        let indexed = [200, 204, 206, 304, 400, 404, 500];
        match *block.first()? {
            byte @ 0x88..=0x8e => Some(indexed[usize::from(byte - 0x88)]),
            0x48 | 0x08 => literal(block.get(1..)?),
            _ => None,
        }
    }
}

/// Three digits, plain or in Huffman's code, where a digit has five bits (0 to 2) or six.
fn literal(text: &[u8]) -> Option<u16> {
    let (length, text) = text.split_first()?;
    let bytes = text.get(..usize::from(length & 0x7f))?;
    if length & 0x80 == 0 {
        return std::str::from_utf8(bytes).ok()?.parse().ok();
    }
    let mut bits = bytes
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |n| byte >> n & 1));
    let mut status = 0;
    for _ in 0..3 {
        let mut code = 0;
        for _ in 0..5 {
            code = code << 1 | u16::from(bits.next()?);
        }
        let digit = match code {
            0..=2 => code,
            _ => (code << 1 | u16::from(bits.next()?)) - 0x19 + 3,
        };
        status = status * 10 + digit;
    }
    Some(status)
}

/// Reads frames until one is what is looked for; all before, and that one, if it came. The end of
/// the connection ends it, too.
pub(crate) fn until(client: &mut Client, mut last: impl FnMut(&Frame) -> bool) -> Vec<Frame> {
    client.stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut frames = Vec::new();
    loop {
        let mut head = [0; 9];
        if client.stream.read_exact(&mut head).is_err() {
            return frames;
        }
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        if client.stream.read_exact(&mut payload).is_err() {
            return frames;
        }
        let stream = u32::from_be_bytes(head[5..9].try_into().unwrap());
        let frame = Frame {
            kind: head[3],
            flags: head[4],
            stream,
            payload,
        };
        if frame.kind == SETTINGS && frame.flags & ACK == 0 {
            let _ = client.stream.write_all(&self::frame(SETTINGS, ACK, 0, &[]));
        }
        let done = last(&frame);
        frames.push(frame);
        if done {
            return frames;
        }
    }
}
