// SPDX-License-Identifier: Apache-2.0

use super::super::{Attrs, NLM_F_CREATE, NLM_F_REQUEST, Writer, be32, cstr};
use super::*;
use crate::backend::testing::in_namespace;

const NEWTABLE: u16 = 0x0a00;
const GETTABLE: u16 = 0x0a01;
const NEWCHAIN: u16 = 0x0a03;
const NEWRULE: u16 = 0x0a06;

/// A failed message of a batch, as Linux 6.18 answered (capped, with offset).
#[cfg(target_endian = "little")]
const REFUSED: [u8; 44] = [
    0x2c, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x03, 0x07, 0x00, 0x00, 0x00, 0xc1, 0x23, 0x00, 0x00,
    0xfe, 0xff, 0xff, 0xff, 0x2c, 0x00, 0x00, 0x00, 0x06, 0x0a, 0x01, 0x0c, 0x07, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x08, 0x00, 0x02, 0x00, 0x20, 0x00, 0x00, 0x00,
];
/// An acknowledgement.
#[cfg(target_endian = "little")]
const ACKNOWLEDGED: [u8; 36] = [
    0x24, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x01, 0x08, 0x00, 0x00, 0x00, 0xc1, 0x23, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x34, 0x00, 0x00, 0x00, 0x03, 0x0a, 0x05, 0x04, 0x08, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00,
];
/// A refusal that quotes the whole request, as the kernel answers without NETLINK_CAP_ACK.
#[cfg(target_endian = "little")]
const QUOTED: [u8; 60] = [
    0x3c, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x02, 0x0c, 0x00, 0x00, 0x00, 0xc1, 0x23, 0x00, 0x00,
    0xfe, 0xff, 0xff, 0xff, 0x20, 0x00, 0x00, 0x00, 0x01, 0x0a, 0x05, 0x00, 0x0c, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x09, 0x00, 0x01, 0x00, 0x67, 0x6f, 0x6e, 0x65,
    0x00, 0x00, 0x00, 0x00, 0x08, 0x00, 0x02, 0x00, 0x14, 0x00, 0x00, 0x00,
];

#[test]
#[cfg(target_endian = "little")]
fn reads_captured_answers() {
    let failure = |seq, offset| Failure {
        seq,
        errno: 2,
        message: String::new(),
        offset: Some(offset),
    };
    let mut bytes = REFUSED.to_vec();
    bytes.extend(ACKNOWLEDGED);
    bytes.extend(QUOTED);
    let mut rest = bytes.as_slice();
    let mut failures = Vec::new();
    while let Some((message, tail)) = Message::split(rest) {
        rest = tail;
        failures.push(message.failure());
    }
    assert_eq!(
        failures,
        [Some(failure(7, 32)), None, Some(failure(12, 20))]
    );
}

#[test]
fn cut_off_answers_are_no_messages() {
    let mut w = Writer::new();
    w.message(libc::NLMSG_ERROR as u16, 0, 1, |w| {
        w.raw(&(-1i32).to_ne_bytes())
    });
    for length in 0..w.len() {
        assert!(
            Message::split(&w.as_bytes()[..length]).is_none(),
            "{length} bytes"
        );
    }
    assert_eq!(
        Message::split(w.as_bytes())
            .unwrap()
            .0
            .failure()
            .unwrap()
            .errno,
        1
    );
}

/// Kind, flags and body of a message.
type Body<'a> = (u16, u16, &'a dyn Fn(&mut Writer));

/// A batch with messages of these kinds, flags and bodies; sequence numbers from 1.
fn batch(bodies: &[Body]) -> Writer {
    let mut w = Writer::new();
    w.message(0x10, NLM_F_REQUEST, 0, |w| w.nfgenmsg(0, 10));
    for (seq, (kind, flags, body)) in (1..).zip(bodies) {
        w.message(*kind, NLM_F_REQUEST | NLM_F_CREATE | flags, seq, |w| {
            w.nfgenmsg(2, 0);
            body(w);
        });
    }
    w.message(0x11, NLM_F_REQUEST, 99, |w| w.nfgenmsg(0, 10));
    w
}

fn tables(socket: &mut Socket) -> Vec<String> {
    let mut request = Writer::new();
    request.message(GETTABLE, NLM_F_REQUEST | NLM_F_DUMP, 5, |w| {
        w.nfgenmsg(2, 0)
    });
    let mut names = Vec::new();
    let read = socket.dump(request.as_bytes(), |kind, payload| {
        assert_eq!(kind, NEWTABLE);
        names.push(
            Attrs::new(&payload[4..])
                .get(1)
                .and_then(cstr)
                .unwrap()
                .to_owned(),
        );
    });
    read.unwrap();
    names
}

#[test]
fn a_batch_is_applied_as_a_whole_or_refused_with_reasons() {
    in_namespace(|| {
        let mut socket = Socket::netfilter().unwrap();
        assert_eq!(tables(&mut socket), [""; 0]);
        let table: &dyn Fn(&mut Writer) = &|w| w.attr_str(1, "demo");
        let rule: &dyn Fn(&mut Writer) = &|w| {
            w.attr_str(1, "demo");
            w.attr_str(2, "missing");
        };
        let bad = batch(&[
            (NEWTABLE, NLM_F_ACK, table),
            (NEWRULE, 0, rule),
            (NEWRULE, 0, rule),
        ]);
        let failures = socket.acknowledged(bad.as_bytes()).unwrap();
        let found: Vec<_> = failures
            .iter()
            .map(|f| (f.seq, f.errno, f.offset))
            .collect();
        assert_eq!(
            found,
            [(2, libc::ENOENT, Some(32)), (3, libc::ENOENT, Some(32))]
        );
        assert_eq!(tables(&mut socket), [""; 0]);

        let chain: &dyn Fn(&mut Writer) = &|w| {
            w.attr_str(1, "demo");
            w.attr_str(3, "c");
        };
        let good = batch(&[(NEWTABLE, 0, table), (NEWCHAIN, NLM_F_ACK, chain)]);
        assert_eq!(socket.acknowledged(good.as_bytes()).unwrap(), []);
        assert_eq!(tables(&mut socket), ["demo"]);
    });
}

#[test]
fn a_batch_longer_than_the_default_send_buffer_goes_through() {
    in_namespace(|| {
        let mut socket = Socket::netfilter().unwrap();
        let names: Vec<String> = (0..30_000).map(|i| format!("table-{i}")).collect();
        let bodies: Vec<_> = names
            .iter()
            .map(|n| move |w: &mut Writer| w.attr_str(1, n))
            .collect();
        let mut objects: Vec<Body> = bodies.iter().map(|b| (NEWTABLE, 0, b as _)).collect();
        // A reading message (NFT_MSG_GETCHAIN) in a batch is refused: 29,998 errors to report.
        objects[1..29_999].iter_mut().for_each(|o| o.0 = 0x0a04);
        objects[29_999].1 = NLM_F_ACK;
        let batch = batch(&objects);
        assert!(batch.len() > 1_000_000);
        let failures = socket.acknowledged(batch.as_bytes());
        let failures = failures.unwrap();
        assert!(failures.len() > 1000 && failures.iter().all(|f| f.errno == libc::EINVAL));
    });
}

#[test]
fn one_object_or_the_kernels_refusal() {
    in_namespace(|| {
        let mut socket = Socket::netfilter().unwrap();
        let mut request = Writer::new();
        request.message(GETTABLE, NLM_F_REQUEST | NLM_F_ACK, 3, |w| {
            w.nfgenmsg(2, 0);
            w.attr_str(1, "gone");
        });
        let refused = socket.dump(request.as_bytes(), |_, _| panic!("nothing is there"));
        let error = refused.unwrap_err();
        assert_eq!(error.errno(), Some(libc::ENOENT));
        let text = error.about("get table", "ip gone").to_string();
        assert_eq!(
            text,
            "get table ip gone: No such file or directory (os error 2)"
        );

        request.clear();
        request.message(0x0a10, NLM_F_REQUEST | NLM_F_ACK, 4, |w| w.nfgenmsg(0, 0));
        let mut generations = Vec::new();
        let got = socket.dump(request.as_bytes(), |_, payload| {
            generations.push(Attrs::new(&payload[4..]).get(1).and_then(be32).unwrap());
        });
        got.unwrap();
        assert_eq!(generations.len(), 1);
    });
}

#[test]
fn silence_is_an_error() {
    in_namespace(|| {
        let mut socket = Socket::netfilter().unwrap();
        let quiet = batch(&[(NEWTABLE, 0, &|w| w.attr_str(1, "demo"))]);
        let answer = socket.acknowledged(quiet.as_bytes());
        assert!(matches!(answer, Err(Error::Malformed(_))), "{answer:?}");
    });
}

/// As many answers as fit are read, and one of them tells that the batch has failed.
#[test]
fn answers_that_do_not_fit_are_no_success() {
    in_namespace(|| {
        let mut socket = Socket::netfilter().unwrap();
        setsockopt(&socket.inner, sockopt::RcvBuf, &4096).unwrap();
        let table: &dyn Fn(&mut Writer) = &|w| w.attr_str(1, "demo");
        // A reading message (NFT_MSG_GETCHAIN) in a batch is refused.
        let mut objects: Vec<Body> = vec![(0x0a04, 0, table); 1_000];
        objects.push((NEWTABLE, NLM_F_ACK, table));
        let failures = socket.acknowledged(batch(&objects).as_bytes()).unwrap();
        assert!((1..1_000).contains(&failures.len()), "{}", failures.len());
        assert_eq!(tables(&mut socket), [""; 0]);
    });
}
