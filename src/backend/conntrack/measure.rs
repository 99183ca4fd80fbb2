// SPDX-License-Identifier: Apache-2.0
//! How long it takes to look through a big table.

use std::net::SocketAddr;
use std::sync::mpsc::channel;
use std::time::Instant;

use super::tests::{Entry, entries, flow, insert};
use super::*;
use crate::backend::testing::in_namespace;
use crate::model::Protocol::{Sctp, Tcp, Udp};

/// Prints times and checks nothing. Run it by hand, with
/// `cargo test --release -p ferrule --lib -- --ignored --nocapture measure_conntrack`.
#[test]
#[ignore = "measures; run by hand"]
fn measure_conntrack() {
    in_namespace(|| {
        // The limit holds for each namespace, while all share one hash table: fill it from two.
        let count = limit().min(500_000) / 50 * 49;
        let others = 500_000u32.saturating_sub(count);
        let (done, wait) = channel::<()>();
        let (filled, full) = channel();
        let aside = std::thread::spawn(move || {
            in_namespace(move || {
                insert(flows(others)).unwrap();
                filled.send(()).unwrap();
                let _ = wait.recv();
            });
        });
        full.recv().unwrap();
        let start = Instant::now();
        insert(flows(count)).unwrap();
        let took = start.elapsed();
        eprintln!("{count} entries, a quarter UDP (made in {took:?}), {others} elsewhere");
        look_through();
        let start = Instant::now();
        let all = entries(IpFamily::V4).len();
        eprintln!(
            "the {all} that are left, unfiltered: read in {:?}",
            start.elapsed()
        );
        drop(done);
        aside.join().unwrap();
    });
}

/// Raises the number of entries that a namespace may have, if that is allowed.
fn limit() -> u32 {
    let path = "/proc/sys/net/netfilter/nf_conntrack_max";
    if let Err(e) = std::fs::write(path, "600000") {
        eprintln!("{path}: {e}");
    }
    std::fs::read_to_string(path)
        .unwrap()
        .trim()
        .parse()
        .unwrap()
}

fn flows(count: u32) -> impl Iterator<Item = Entry> {
    let target = SocketAddr::from(([10, 2, 0, 1], 5353));
    (0..count).map(move |i| {
        let source = (
            [10, 1, (i >> 16) as u8, (i >> 8) as u8],
            1000 + (i & 0xff) as u16,
        );
        let to = SocketAddr::from(([10, 96, 0, (i % 200) as u8], 53));
        let protocol = if i % 4 == 0 { Udp } else { Tcp };
        Entry(protocol.number(), source.into(), to, target)
    })
}

fn look_through() {
    let mut conntrack = Conntrack::new().unwrap();
    let mut time = |what: &str, flows: &[StaleFlows]| {
        let start = Instant::now();
        let ended = conntrack.delete_stale(IpFamily::V4, flows).unwrap();
        eprintln!("{what}: {ended:?} in {:?}", start.elapsed());
    };
    let frontends = |ports: u16, n: u8, live: &[&str]| -> Vec<StaleFlows> {
        let vip = |i| format!("10.96.0.{}", i * 4 + 100);
        let flows = |port| (0..n).map(move |i| flow(Udp, (Some(&vip(i)), port), live));
        (53..53 + ports).flat_map(flows).collect()
    };
    let live = &["10.2.0.1:5353"];
    time("1 frontend, nothing stale", &frontends(1, 1, live));
    time(
        "5 frontends of one port, nothing stale",
        &frontends(1, 5, live),
    );
    time(
        "3 ports of one address, nothing stale",
        &frontends(3, 1, live),
    );
    time(
        "4 ports of one address, nothing stale",
        &frontends(4, 1, live),
    );
    time(
        "a frontend of SCTP",
        &[flow(Sctp, (Some("10.96.0.4"), 53), &[])],
    );
    time("1 frontend, all stale", &frontends(1, 1, &[]));
    time("20 frontends, all stale", &frontends(1, 20, &[]));
    let start: Vec<StaleFlows> = (1..2000)
        .map(|port| flow(Udp, (Some("10.96.0.8"), port), live))
        .collect();
    time("2,000 frontends, as at a start", &start);
    time(
        "a frontend of TCP, all stale",
        &[flow(Tcp, (Some("10.96.0.5"), 53), &[])],
    );
}
