// SPDX-License-Identifier: Apache-2.0

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::process::Command;
use std::sync::Arc;

use super::stale::*;
use super::*;
use crate::backend::netlink::NLM_F_CREATE;
use crate::backend::testing::{in_namespace, skip};
use crate::model::Target;

const IPCTNL_MSG_CT_NEW: u16 = SUBSYSTEM;
const CTA_TIMEOUT: u16 = 7;

/// An entry: protocol, source, destination, and what the destination is translated to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry(
    pub(crate) u8,
    pub(crate) SocketAddr,
    pub(crate) SocketAddr,
    pub(crate) SocketAddr,
);

pub(crate) fn entry(protocol: Protocol, source: &str, destination: &str, target: &str) -> Entry {
    let parse = |text: &str| text.parse().unwrap();
    Entry(
        protocol.number(),
        parse(source),
        parse(destination),
        parse(target),
    )
}

fn write_tuple(w: &mut Writer, kind: u16, protocol: u8, source: SocketAddr, to: SocketAddr) {
    w.nested(kind, |w| {
        w.nested(CTA_TUPLE_IP, |w| match (source.ip(), to.ip()) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                w.attr(CTA_IP_V4_SRC, &a.octets());
                w.attr(CTA_IP_V4_DST, &b.octets());
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                w.attr(CTA_IP_V6_SRC, &a.octets());
                w.attr(CTA_IP_V6_DST, &b.octets());
            }
            mixed => panic!("{mixed:?}"),
        });
        w.nested(CTA_TUPLE_PROTO, |w| {
            w.attr_u8(CTA_PROTO_NUM, protocol);
            w.attr_be16(CTA_PROTO_SRC_PORT, source.port());
            w.attr_be16(CTA_PROTO_DST_PORT, to.port());
        });
    });
}

fn write_entry(w: &mut Writer, Entry(protocol, source, destination, target): Entry) {
    let family = number(IpFamily::of(source.ip()));
    w.message(
        IPCTNL_MSG_CT_NEW,
        NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE,
        1,
        |w| {
            w.nfgenmsg(family, 0);
            write_tuple(w, CTA_TUPLE_ORIG, protocol, source, destination);
            write_tuple(w, CTA_TUPLE_REPLY, protocol, target, source);
            w.attr_be32(CTA_TIMEOUT, 3600);
            // CTA_PROTOINFO { CTA_PROTOINFO_TCP { CTA_PROTOINFO_TCP_STATE: established } }
            if protocol == Protocol::Tcp.number() {
                w.nested(4, |w| w.nested(1, |w| w.attr_u8(1, 3)));
            }
        },
    );
}

pub(crate) fn insert(entries: impl IntoIterator<Item = Entry>) -> Result<usize, i32> {
    let mut socket = Socket::netfilter().unwrap();
    let mut w = Writer::new();
    let (mut count, mut errno) = (0, 0);
    let mut send = |w: &mut Writer| {
        for failure in socket.acknowledged(w.as_bytes()).unwrap() {
            errno = failure.errno;
        }
        w.clear();
    };
    for entry in entries {
        write_entry(&mut w, entry);
        count += 1;
        if count % BATCH == 0 {
            send(&mut w);
        }
    }
    if !w.is_empty() {
        send(&mut w);
    }
    if errno == 0 { Ok(count) } else { Err(errno) }
}

pub(crate) fn entries(family: IpFamily) -> Vec<Entry> {
    let mut request = Writer::new();
    request.message(IPCTNL_MSG_CT_GET, NLM_F_REQUEST | NLM_F_DUMP, 1, |w| {
        w.nfgenmsg(number(family), 0);
    });
    let mut found = Vec::new();
    let read = Socket::netfilter()
        .unwrap()
        .dump(request.as_bytes(), |_, payload| {
            let attrs = Attrs::new(&payload[4..]);
            let tuple = |kind| Tuple::read(attrs.get(kind).unwrap());
            if let (Some(to), Some(from)) = (tuple(CTA_TUPLE_ORIG), tuple(CTA_TUPLE_REPLY)) {
                let [source, destination, target] = [to.source, to.destination, from.source];
                found.push(Entry(
                    to.protocol,
                    source.into(),
                    destination.into(),
                    target.into(),
                ));
            }
        });
    read.unwrap();
    found.sort();
    found
}

pub(super) fn flow(protocol: Protocol, frontend: (Option<&str>, u16), live: &[&str]) -> StaleFlows {
    let target = |text: &&str| {
        let target: SocketAddr = text.parse().unwrap();
        let (address, port) = (target.ip(), target.port());
        Target { address, port }
    };
    StaleFlows {
        protocol,
        address: frontend.0.map(|a| a.parse().unwrap()),
        port: frontend.1,
        live: Arc::new(live.iter().map(target).collect()),
    }
}

/// Runs a command that must succeed; its words have no blanks.
pub(crate) fn run(command: &str) {
    let mut words = command.split(' ');
    let done = Command::new(words.next().unwrap())
        .args(words)
        .output()
        .unwrap();
    assert!(
        done.status.success(),
        "{command}: {}",
        String::from_utf8_lossy(&done.stderr)
    );
}

/// Checks that of `before` exactly those with `true` are deleted.
fn check(family: IpFamily, before: &[(bool, Entry)], flows: &[StaleFlows]) {
    insert(before.iter().map(|(_, entry)| *entry)).unwrap();
    let stale = before.iter().filter(|(stale, _)| *stale).count();
    let mut kept: Vec<Entry> = before.iter().filter(|(s, _)| !s).map(|(_, e)| *e).collect();
    kept.sort();
    let mut conntrack = Conntrack::new().unwrap();
    assert_eq!(
        conntrack.delete_stale(family, flows).unwrap().entries,
        stale
    );
    assert_eq!(entries(family), kept);
    assert_eq!(
        conntrack.delete_stale(family, flows).unwrap().entries,
        0,
        "the second time"
    );
}

use Protocol::{Sctp, Tcp, Udp};

#[test]
fn deletes_what_leads_elsewhere_in_ipv4() {
    in_namespace(|| {
        let before = [
            // To a live endpoint; to one that is gone; to another port of a live one.
            (
                false,
                entry(Udp, "10.1.0.1:1001", "10.96.0.10:53", "10.2.0.1:5353"),
            ),
            (
                true,
                entry(Udp, "10.1.0.1:1002", "10.96.0.10:53", "10.2.0.2:5353"),
            ),
            (
                true,
                entry(Udp, "10.1.0.1:1003", "10.96.0.10:53", "10.2.0.1:5354"),
            ),
            // Never translated: older than the service.
            (
                true,
                entry(Udp, "10.1.0.1:1004", "10.96.0.10:53", "10.96.0.10:53"),
            ),
            // Another port, another address, another protocol.
            (
                false,
                entry(Udp, "10.1.0.1:1005", "10.96.0.10:54", "10.2.0.2:5353"),
            ),
            (
                false,
                entry(Udp, "10.1.0.1:1006", "10.96.0.11:53", "10.2.0.2:5353"),
            ),
            (
                false,
                entry(Tcp, "10.1.0.1:1007", "10.96.0.10:53", "10.2.0.2:5353"),
            ),
            (
                false,
                entry(Sctp, "10.1.0.1:1008", "10.96.0.10:53", "10.2.0.2:5353"),
            ),
        ];
        let udp = flow(Udp, (Some("10.96.0.10"), 53), &["10.2.0.1:5353"]);
        let other_family = flow(Udp, (Some("fd00::10"), 53), &[]);
        check(IpFamily::V4, &before, &[udp, other_family]);
    });
}

#[test]
fn deletes_what_leads_elsewhere_in_ipv6() {
    in_namespace(|| {
        let before = [
            (
                false,
                entry(Udp, "[fd01::1]:1001", "[fd96::10]:53", "[fd02::1]:5353"),
            ),
            (
                true,
                entry(Udp, "[fd01::1]:1002", "[fd96::10]:53", "[fd02::2]:5353"),
            ),
            (
                true,
                entry(Udp, "[fd01::1]:1003", "[fd96::10]:53", "[fd96::10]:53"),
            ),
            (
                false,
                entry(Udp, "[fd01::1]:1004", "[fd96::11]:53", "[fd02::2]:5353"),
            ),
            (
                true,
                entry(Sctp, "[fd01::1]:1005", "[fd96::10]:80", "[fd02::2]:5353"),
            ),
            (
                false,
                entry(Sctp, "[fd01::1]:1006", "[fd96::10]:81", "[fd02::2]:5353"),
            ),
        ];
        let udp = flow(Udp, (Some("fd96::10"), 53), &["[fd02::1]:5353"]);
        let sctp = flow(Sctp, (Some("fd96::10"), 80), &[]);
        check(IpFamily::V6, &before, &[udp, sctp]);
    });
}

#[test]
fn tcp_is_touched_where_the_plan_says_so() {
    in_namespace(|| {
        let before = [
            (
                false,
                entry(Tcp, "10.1.0.1:1001", "10.96.0.10:80", "10.2.0.1:8080"),
            ),
            (
                true,
                entry(Tcp, "10.1.0.1:1002", "10.96.0.10:80", "10.2.0.2:8080"),
            ),
            // Never translated: somebody answers at that address.
            (
                false,
                entry(Tcp, "10.1.0.1:1003", "10.96.0.10:80", "10.96.0.10:80"),
            ),
            (
                false,
                entry(Tcp, "10.1.0.1:1004", "10.96.0.10:81", "10.2.0.2:8080"),
            ),
            (
                false,
                entry(Udp, "10.1.0.1:1005", "10.96.0.10:80", "10.2.0.2:8080"),
            ),
        ];
        let tcp = flow(Tcp, (Some("10.96.0.10"), 80), &["10.2.0.1:8080"]);
        check(IpFamily::V4, &before, &[tcp]);
    });
}

#[test]
fn only_what_is_asked_for_is_walked() {
    in_namespace(|| {
        let mut conntrack = Conntrack::new().unwrap();
        let mut walks = |flows: &[StaleFlows]| {
            let ended = conntrack.delete_stale(IpFamily::V4, flows).unwrap();
            ended.walks
        };
        let vip = Some("10.96.0.10");
        assert_eq!(walks(&[]), 0);
        assert_eq!(walks(&[flow(Udp, (Some("fd00::1"), 53), &[])]), 0);
        assert_eq!(walks(&[flow(Udp, (vip, 53), &[])]), 1);
        let ports = |n: u16| (53..53 + n).map(|port| flow(Udp, (vip, port), &[]));
        assert_eq!(walks(&ports(3).collect::<Vec<_>>()), 3);
        assert_eq!(walks(&ports(500).collect::<Vec<_>>()), 1);
        let both = [flow(Udp, (vip, 53), &[]), flow(Sctp, (vip, 53), &[])];
        assert_eq!(walks(&both), 2);
    });
}

#[test]
fn finds_any_number_of_frontends() {
    in_namespace(|| {
        let all: Vec<(bool, Entry)> = (0..2 * BATCH + 1)
            .map(|i| {
                let to = format!("10.96.{}.{}:53", i / 250, i % 250 + 1);
                let from = format!("10.1.0.1:{}", 1000 + i);
                (i % 3 == 0, entry(Udp, &from, &to, "10.2.0.1:5353"))
            })
            .collect();
        let frontends: Vec<StaleFlows> = all
            .iter()
            .filter(|(stale, _)| *stale)
            .map(|(_, e)| flow(Udp, (Some(&e.2.ip().to_string()), 53), &[]))
            .collect();
        check(IpFamily::V4, &all, &frontends);
    });
}

#[test]
fn a_node_port_is_every_local_address_but_loopback() {
    in_namespace(|| {
        run("ip link set lo up");
        run("ip addr add 192.0.2.10/32 dev lo");
        let before = [
            (
                true,
                entry(
                    Udp,
                    "198.51.100.1:1001",
                    "192.0.2.10:30053",
                    "10.2.0.2:5353",
                ),
            ),
            (
                true,
                entry(
                    Udp,
                    "198.51.100.1:1002",
                    "192.0.2.10:30053",
                    "192.0.2.10:30053",
                ),
            ),
            (
                false,
                entry(
                    Udp,
                    "198.51.100.1:1003",
                    "192.0.2.10:30053",
                    "10.2.0.1:5353",
                ),
            ),
            // Just passing through, and a program of this host.
            (
                false,
                entry(
                    Udp,
                    "10.1.0.1:1004",
                    "198.51.100.1:30053",
                    "198.51.100.1:30053",
                ),
            ),
            (
                false,
                entry(Udp, "127.0.0.1:1005", "127.0.0.1:30053", "127.0.0.1:30053"),
            ),
        ];
        let stale = flow(Udp, (None, 30053), &["10.2.0.1:5353"]);
        check(IpFamily::V4, &before, &[stale]);
    });
}

#[test]
fn a_real_udp_client_reaches_the_endpoint_that_is_left() {
    in_namespace(|| {
        if Command::new("nft").arg("--version").output().is_err() {
            return skip("nft is not installed");
        }
        for command in [
            "ip link set lo up",
            "ip link add d0 type veth peer name d1",
            "ip link set d0 up",
            "ip addr add 192.0.2.10/24 dev d0",
            "ip route add 10.96.0.0/16 dev d0",
            "nft add table ip t",
            "nft add map ip t m { typeof numgen inc mod 2 : ip daddr . udp dport; }",
            "nft add element ip t m { 0 : 192.0.2.10 . 5301, 1 : 192.0.2.10 . 5302 }",
            "nft add chain ip t output { type nat hook output priority -100; }",
            // Connections are tracked only where a rule needs it.
            "nft add rule ip t output ct state invalid drop",
        ] {
            run(command);
        }
        let servers = ["192.0.2.10:5301", "192.0.2.10:5302"].map(|a| UdpSocket::bind(a).unwrap());
        let heard = |n: usize| {
            servers[n].set_nonblocking(true).unwrap();
            std::iter::from_fn(|| servers[n].recv_from(&mut [0; 8]).ok()).count()
        };
        let client = UdpSocket::bind("0.0.0.0:0").unwrap();
        // Before there is a rule, then with one; an entry decides for ever.
        client.send_to(b"1", "10.96.0.10:53").unwrap();
        run(
            "nft add rule ip t output ip daddr 10.96.0.10 udp dport 53 dnat ip to numgen inc mod 2 \
             map @m",
        );
        client.send_to(b"2", "10.96.0.10:53").unwrap();
        assert_eq!((heard(0), heard(1)), (0, 0));

        let mut conntrack = Conntrack::new().unwrap();
        let both = flow(
            Udp,
            (Some("10.96.0.10"), 53),
            &["192.0.2.10:5301", "192.0.2.10:5302"],
        );
        assert_eq!(
            conntrack
                .delete_stale(IpFamily::V4, std::slice::from_ref(&both))
                .unwrap()
                .entries,
            1
        );
        for _ in 0..3 {
            client.send_to(b"3", "10.96.0.10:53").unwrap();
        }
        let (first, second) = (heard(0), heard(1));
        assert_eq!((first + second, first * second), (3, 0));
        assert_eq!(
            conntrack
                .delete_stale(IpFamily::V4, &[both])
                .unwrap()
                .entries,
            0
        );

        // Its endpoint goes.
        let (gone, left) = if first == 3 { (0, 1) } else { (1, 0) };
        let left_address = format!("192.0.2.10:530{}", left + 1);
        run(&format!("nft delete element ip t m {{ {gone} }}"));
        run(&format!(
            "nft add element ip t m {{ {gone} : 192.0.2.10 . 530{} }}",
            left + 1
        ));
        client.send_to(b"4", "10.96.0.10:53").unwrap();
        assert_eq!((heard(gone), heard(left)), (1, 0));
        let one = flow(Udp, (Some("10.96.0.10"), 53), &[&left_address]);
        assert_eq!(
            conntrack
                .delete_stale(IpFamily::V4, &[one])
                .unwrap()
                .entries,
            1
        );
        client.send_to(b"5", "10.96.0.10:53").unwrap();
        assert_eq!((heard(gone), heard(left)), (0, 1));
    });
}
