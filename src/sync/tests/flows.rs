// SPDX-License-Identifier: Apache-2.0
//! Which conntrack entries a change ends: the plan decides, the real kernel's table is looked at.

use std::net::SocketAddr;

use super::{Engine, empty_state, options};
use crate::backend::conntrack::tests::{Entry, entries, insert, run};
use crate::backend::conntrack::{Conntrack, Ended};
use crate::backend::fake::Fake;
use crate::backend::{Nftables, testing::in_namespace};
use crate::model::fixture::{ip, service, slice};
use crate::model::{Event, IpFamily, Observed, Protocol, Service, TrafficPolicy};
use crate::plan::Options;

const A: &str = "10.244.1.5@n1";
const B: &str = "10.244.2.5@n2";
const CLUSTER_IP: &str = "10.96.0.10:80";
const EXTERNAL_IP: &str = "198.51.100.7:80";
const BALANCER: &str = "203.0.113.10:80";
const NODE_PORT: &str = "192.0.2.10:30080";
const FRONTENDS: [&str; 4] = [CLUSTER_IP, EXTERNAL_IP, BALANCER, NODE_PORT];

/// A Service with its endpoints, all on one target port.
#[derive(Clone)]
struct World(Service, Vec<&'static str>, u16);

/// A change, and of which entries it is to keep which: of each frontend and of each lead, which is
/// `a`, `b`, or `-` for an entry that was never translated.
type Case = (
    &'static str,
    Option<World>,
    Option<World>,
    fn(&str, char) -> bool,
);

fn dns(protocol: Protocol) -> Service {
    let mut s = service("dns", "10.96.0.10");
    (s.ports[0].protocol, s.ports[0].node_port) = (protocol, Some(30080));
    s.external_ips = vec![ip("198.51.100.7")];
    s.load_balancer_ips = vec![ip("203.0.113.10")];
    s
}

fn observe<K: Nftables>(engine: &mut Engine<K>, world: Option<&World>, protocol: Protocol) {
    let name = dns(protocol).name;
    let service = world.map_or(Observed::gone(), |w| Observed::new(w.0.clone()));
    engine.observe(Event::Service(name, service));
    let (hosts, port) = world.map_or((&[][..], 1), |w| (&w.1, w.2));
    let mut endpoints = slice("dns-1", "dns", port, hosts);
    endpoints.ports[0].protocol = protocol;
    engine.observe(Event::Slice(
        endpoints.name.clone(),
        Observed::new(endpoints),
    ));
}

/// Commits, ends what is stale, and tells what was done.
fn step<K: Nftables>(engine: &mut Engine<K>) -> Ended {
    let done = engine.commit();
    assert!(!done.failed(), "{:?}", done.families);
    let mut conntrack = Conntrack::new().expect("a socket");
    let mut sum = Ended::default();
    for (family, flows) in done.stale_flows {
        let ended = conntrack.delete_stale(family, &flows).expect("a clean-up");
        sum.walks += ended.walks;
        sum.entries += ended.entries;
    }
    sum
}

/// An entry from each frontend to each lead.
fn all_entries(protocol: Protocol) -> Vec<(&'static str, char, Entry)> {
    let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
    let mut all = Vec::new();
    for frontend in FRONTENDS {
        for (lead, target) in [
            ('a', "10.244.1.5:5353"),
            ('b', "10.244.2.5:5353"),
            ('-', frontend),
        ] {
            let source = address(&format!("10.1.0.1:{}", 1000 + all.len()));
            let entry = Entry(
                protocol.number(),
                source,
                address(frontend),
                address(target),
            );
            all.push((frontend, lead, entry));
        }
    }
    all
}

fn in_node(body: impl FnOnce() + Send + 'static) {
    in_namespace(|| {
        run("ip link set lo up");
        run("ip addr add 192.0.2.10/32 dev lo");
        body();
    });
}

fn check((name, before, after, keeps): &Case, protocol: Protocol, options: Options) -> Ended {
    let mut engine = Engine::new(Fake::default(), options, empty_state(), &IpFamily::ALL);
    if before.is_some() {
        observe(&mut engine, before.as_ref(), protocol);
    }
    step(&mut engine);
    let all = all_entries(protocol);
    insert(all.iter().map(|(_, _, entry)| *entry)).expect("entries");
    observe(&mut engine, after.as_ref(), protocol);
    let ended = step(&mut engine);
    let kept = all
        .iter()
        .filter(|(frontend, lead, _)| keeps(frontend, *lead));
    let mut kept: Vec<Entry> = kept.map(|(_, _, entry)| *entry).collect();
    kept.sort();
    assert_eq!(entries(IpFamily::V4), kept, "{protocol}: {name}");
    ended
}

/// Changes of a Service of that protocol, and what they keep in UDP and SCTP.
#[expect(clippy::too_many_lines, reason = "a table")]
fn cases(protocol: Protocol) -> Vec<Case> {
    let of = |s: Service, hosts: &[&'static str]| Some(World(s, hosts.to_vec(), 5353));
    let with = |hosts: &[&'static str]| of(dns(protocol), hosts);
    let change = |f: fn(&mut Service)| {
        let mut s = dns(protocol);
        f(&mut s);
        s
    };
    let sticky = || change(|s| s.affinity = Some(60));
    let local = || {
        change(|s| {
            (s.internal_policy, s.external_policy) = (TrafficPolicy::Local, TrafficPolicy::Local);
        })
    };
    let both = &[A, B];
    let moved = Some(World(dns(protocol), both.to_vec(), 5354));
    vec![
        ("an endpoint leaves", with(both), with(&[B]), |_, l| {
            l == 'b'
        }),
        (
            "an endpoint is not ready any more",
            with(both),
            with(&["10.244.1.5@n1!u", B]),
            |_, l| l == 'b',
        ),
        (
            "an endpoint terminates, another is ready",
            with(both),
            with(&["10.244.1.5@n1!t", B]),
            |_, l| l == 'b',
        ),
        (
            "the last endpoint terminates, and serves until it is gone",
            with(&[A]),
            with(&["10.244.1.5@n1!t"]),
            |_, _| true,
        ),
        ("all endpoints leave", with(both), with(&[]), |_, _| false),
        ("the first endpoint comes", with(&[]), with(&[A]), |_, l| {
            l == 'a'
        }),
        ("another endpoint comes", with(&[A]), with(both), |_, _| {
            true
        }),
        ("the target port changes", with(both), moved, |_, _| false),
        ("the Service appears", None, with(both), |_, l| l != '-'),
        ("the Service goes", with(both), None, |_, _| false),
        (
            "the external address goes",
            with(both),
            of(change(|s| s.external_ips.clear()), both),
            |f, _| f != EXTERNAL_IP,
        ),
        (
            "the balancer's address goes",
            with(both),
            of(change(|s| s.load_balancer_ips.clear()), both),
            |f, _| f != BALANCER,
        ),
        (
            "the NodePort goes",
            with(both),
            of(change(|s| s.ports[0].node_port = None), both),
            |f, _| f != NODE_PORT,
        ),
        (
            "the ClusterIP is another one",
            with(both),
            of(change(|s| s.cluster_ips = vec![ip("10.96.0.11")]), both),
            |f, _| f != CLUSTER_IP,
        ),
        (
            "an endpoint leaves, with affinity",
            of(sticky(), both),
            of(sticky(), &[B]),
            |_, l| l == 'b',
        ),
        (
            "a local endpoint leaves, with policy Local",
            of(local(), &[A, "10.244.1.6@n1", B]),
            of(local(), &["10.244.1.6@n1", B]),
            |_, l| l == 'b',
        ),
    ]
}

fn check_all(protocol: Protocol) {
    for case in cases(protocol) {
        in_node(move || {
            check(&case, protocol, options());
        });
    }
}

#[test]
fn stale_udp_flows_end() {
    check_all(Protocol::Udp);
}

#[test]
fn stale_sctp_flows_end() {
    check_all(Protocol::Sctp);
}

#[test]
fn tcp_is_left_alone_and_not_even_looked_at() {
    for (name, before, after, _) in cases(Protocol::Tcp) {
        let case: Case = (name, before, after, |_, _| true);
        in_node(move || {
            let ended = check(&case, Protocol::Tcp, options());
            assert_eq!(ended, Ended::default(), "{name}");
        });
    }
}

#[test]
fn tcp_connections_to_endpoints_that_are_gone_end_if_asked() {
    let options = || Options {
        reset_stale_tcp: true,
        ..options()
    };
    for (name, before, after, _) in cases(Protocol::Tcp) {
        let keeps: fn(&str, char) -> bool = match name {
            "all endpoints leave" | "the target port changes" => |_, l| l == '-',
            name if name.contains("endpoint leaves") => |_, l| l != 'a',
            // It is still there, or it is not known to be gone.
            _ => |_, _| true,
        };
        let case: Case = (name, before, after, keeps);
        in_node(move || {
            check(&case, Protocol::Tcp, options());
        });
    }
}

#[test]
fn what_happened_while_no_agent_ran_is_made_up_for() {
    in_node(|| {
        for protocol in [Protocol::Udp, Protocol::Sctp] {
            let mut kernel = Fake::default();
            let mut engine = Engine::new(&mut kernel, options(), empty_state(), &IpFamily::ALL);
            observe(
                &mut engine,
                Some(&World(dns(protocol), vec![A, B], 5353)),
                protocol,
            );
            step(&mut engine);
            drop(engine);
            let all = all_entries(protocol);
            insert(all.iter().map(|(_, _, entry)| *entry)).expect("entries");

            // An endpoint has gone, and an address.
            let mut fewer = dns(protocol);
            fewer.external_ips.clear();
            let mut engine = Engine::new(&mut kernel, options(), empty_state(), &IpFamily::ALL);
            observe(&mut engine, Some(&World(fewer, vec![B], 5353)), protocol);
            step(&mut engine);
            drop(engine);
            let left: Vec<_> = entries(IpFamily::V4).iter().map(|e| (e.2, e.3)).collect();
            let expected = [CLUSTER_IP, NODE_PORT, BALANCER].map(|f| {
                let parse = |text: &str| text.parse::<SocketAddr>().expect("an address");
                (parse(f), parse("10.244.2.5:5353"))
            });
            assert_eq!(left.len(), 3, "{left:?}");
            assert!(expected.iter().all(|e| left.contains(e)), "{left:?}");

            // The Service has gone.
            let mut engine = Engine::new(&mut kernel, options(), empty_state(), &IpFamily::ALL);
            step(&mut engine);
            assert_eq!(entries(IpFamily::V4), []);
            assert_eq!(step(&mut engine), Ended::default(), "once is enough");
        }
    });
}
