// SPDX-License-Identifier: Apache-2.0
//! What others break is put back: by the loop, on the real kernel, with nft as the one who breaks.

use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::backend::nft::tests::{has_nft, nft};
use crate::backend::nft::{Kernel, monitor::Monitor};
use crate::backend::{Nftables, testing};
use crate::model::fixture::{node, service, slice};
use crate::model::{Event, IpFamily, Observed};
use crate::observe::Status;
use crate::plan::fixture::options;
use crate::plan::nft::Op;
use crate::sync::{Engine, Loop};

/// How long a repair may take on a machine that has other things to do as well.
const PATIENCE: Duration = Duration::from_secs(20);

/// The loop with its listener, in this network namespace, until the test is over.
fn run_proxy(services: usize) -> Status {
    let status = Status::new(Duration::from_secs(60));
    let shown = status.clone();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.expect("a runtime").block_on(async move {
            let (sender, events) = mpsc::channel(64);
            let (_asker, questions) = mpsc::channel(1);
            let kernel = Kernel::open().expect("a socket");
            let mut monitor = Monitor::start(kernel.port().expect("a port")).expect("a listener");
            let state = super::empty_state();
            let engine = Engine::new(kernel, options(), state, &IpFamily::ALL);
            let mut proxy = Loop::new(engine, None, status);
            let (heard, interference) = mpsc::channel(8);
            proxy.interference = interference;
            let listen = async {
                while heard
                    .send(monitor.next().await.expect("messages"))
                    .await
                    .is_ok()
                {}
            };
            tokio::join!(
                proxy.run(events, questions, std::future::pending()),
                listen,
                fill(sender, services),
            )
        })
    });
    shown
}

/// Sends so many Services, and then nothing more.
async fn fill(sender: mpsc::Sender<Event>, services: usize) {
    let mut events = vec![Event::Node(Observed::new(node()))];
    for number in 0..services {
        let name = format!("s{number}");
        let mut s = service(
            &name,
            &format!("10.96.{}.{}", number / 200, 1 + number % 200),
        );
        s.ports[0].node_port = None;
        let e = slice(
            &format!("{name}-1"),
            &name,
            8080,
            &["10.244.1.5@n1", "10.244.2.5@n2"],
        );
        events.push(Event::Service(s.name.clone(), Observed::new(s)));
        events.push(Event::Slice(e.name.clone(), Observed::new(e)));
    }
    events.push(Event::Synced);
    for event in events {
        sender.send(event).await.expect("a loop");
    }
    std::future::pending().await
}

/// Both tables, in an order that does not depend on which one was made first; and what else there
/// is, by its tables' names.
fn ruleset() -> String {
    let all = nft("nft", &["-s", "list", "ruleset"], "");
    let mut tables: Vec<&str> = all.split_inclusive("\n}\n").collect();
    tables.sort_unstable();
    tables.concat()
}

/// The ruleset once it holds the last Service and rests.
fn settled(last: &str) -> String {
    let begun = Instant::now();
    loop {
        let now = ruleset();
        if now.contains(last) && now.contains("type nat hook postrouting") {
            std::thread::sleep(Duration::from_millis(50));
            if ruleset() == now {
                return now;
            }
        }
        assert!(begun.elapsed() < PATIENCE, "no start");
    }
}

/// Breaks something, and waits until all is as before. Returns how long it took.
fn repaired(before: &str, what: &str) -> Duration {
    nft("nft", &["-f", "-"], what);
    let begun = Instant::now();
    loop {
        let now = ruleset();
        if now == before {
            return begun.elapsed();
        }
        assert!(begun.elapsed() < PATIENCE, "{what} is not put right: {now}");
    }
}

#[test]
fn whatever_others_break_is_put_back() {
    testing::in_namespace(|| {
        if !has_nft() {
            return;
        }
        let status = run_proxy(20);
        let before = settled("10.96.0.20");
        let breaks = [
            "flush ruleset",
            "delete table ip6 ferrule",
            "flush chain ip ferrule prerouting",
            "flush map ip ferrule services",
            "delete element ip ferrule services { 10.96.0.7 . tcp . 80 }",
            "insert rule ip ferrule postrouting accept",
            "add element ip ferrule services { 10.96.9.9 . tcp . 80 : drop }",
            "add chain ip ferrule theirs { type filter hook input priority 0; policy accept; }",
            "delete element ip ferrule endpoints { 10.96.0.7 . tcp . 80 . 1 }; \
             add element ip ferrule endpoints { 10.96.0.7 . tcp . 80 . 1 : 192.0.2.66 . 666 }",
        ];
        for what in breaks {
            println!("{what}: {:?}", repaired(&before, what));
            // Not so many in a row that the loop takes it for a quarrel.
            std::thread::sleep(Duration::from_millis(10));
        }
        let metrics = status.metrics();
        let of = |name: &str| {
            let line = metrics.lines().find_map(|l| l.strip_prefix(name));
            line.map(|count| count.trim().parse::<u32>().expect("a number"))
        };
        let heard = of("ferrule_interference_total{ip_family=\"IPv4\"}");
        assert!(heard >= Some(7), "{heard:?}");
        let repaired = of("ferrule_drift_repaired_total{ip_family=\"IPv4\"}");
        assert!(repaired >= Some(7), "{repaired:?}");
    });
}

#[test]
fn somebody_who_insists_keeps_nobody_busy() {
    testing::in_namespace(|| {
        if !has_nft() {
            return;
        }
        run_proxy(3);
        let before = settled("10.96.0.3");
        let mut kernel = Kernel::open().expect("a socket");
        let first = kernel.generation().expect("a number");
        let (mut deleted, begun) = (0, Instant::now());
        while begun.elapsed() < Duration::from_secs(3) {
            deleted += u32::from(kernel.commit(IpFamily::V4, &[Op::DeleteTable]).is_ok());
            std::thread::sleep(Duration::from_millis(1));
        }
        // There are six repairs until a wait exceeds 3 s. One that is disturbed is tried again.
        let commits = kernel.generation().expect("a number") - first - deleted;
        assert!((5..=40).contains(&deleted), "{deleted} deletions");
        assert!(commits <= deleted * 6, "{commits} commits of repairs");
        let begun = Instant::now();
        while ruleset() != before {
            assert!(begun.elapsed() < PATIENCE, "never put right");
            std::thread::sleep(Duration::from_millis(10));
        }
    });
}
