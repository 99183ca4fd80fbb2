// SPDX-License-Identifier: Apache-2.0
//! What kube-proxy's ipvs mode leaves, made by hand; in the guest of `make test-ipvs`.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;

use nix::libc::{AF_INET, AF_INET6};

use super::ipsets::IpSets;
use super::*;
use crate::backend::Nftables;
use crate::backend::ipvs::link::Link;
use crate::backend::ipvs::{Change, Destination, Ipvs, Service, ServiceKey};
use crate::backend::netlink::{NLM_F_ACK, NLM_F_CREATE, NLM_F_REQUEST, Socket, Writer};
use crate::backend::testing::in_namespace;
use crate::model::Protocol;
use crate::plan::nft::element::{Data, Verdict};
use crate::plan::nft::{Element, Key, Op, SetId};

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// Makes a set with one port in it, as `ipset create` and `ipset add` do.
fn set(name: &str, kind: &str, family: i32, port: u16) {
    // `NLA_F_NET_BYTEORDER`, which the kernel asks for here.
    const PORT: u16 = 4 | 0x4000;
    let mut socket = Socket::netfilter().unwrap();
    let head = |w: &mut Writer| {
        w.nfgenmsg(family as u8, 0);
        w.attr_u8(1, 6);
        w.attr_str(2, name);
    };
    let mut w = Writer::new();
    let flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE;
    w.message(0x0602, flags, 1, |w| {
        head(w);
        w.attr_str(3, kind);
        w.attr_u8(4, 0);
        w.attr_u8(5, family as u8);
        w.nested(7, |w| {
            if kind == "bitmap:port" {
                w.attr_be16(PORT, 0);
                w.attr_be16(5 | 0x4000, u16::MAX);
            }
        });
    });
    w.message(0x0609, NLM_F_REQUEST | NLM_F_ACK, 2, |w| {
        head(w);
        w.nested(7, |w| {
            if kind == "hash:ip,port" {
                w.nested(1, |w| w.attr(1 | 0x4000, &[192, 0, 2, 100]));
                w.attr_u8(7, 132);
            }
            w.attr_be16(PORT, port);
        });
    });
    assert_eq!(socket.acknowledged(w.as_bytes()).unwrap(), [], "{name}");
}

/// Two VIPs, NodePorts on the node's own address, and three virtual servers of somebody else.
fn leave() -> Ipvs {
    for arguments in [
        "link set lo up",
        "link add kube-ipvs0 type dummy",
        "address add 10.96.0.10/32 dev kube-ipvs0",
        "address add 10.96.0.11/32 dev kube-ipvs0",
        "address add fd96::10/128 dev kube-ipvs0",
        "address add 192.0.2.100/32 dev lo",
        "address add 10.244.0.7/32 dev lo",
    ] {
        let status = Command::new("ip").args(arguments.split(' ')).status();
        assert!(status.unwrap().success(), "ip {arguments}");
    }
    set("KUBE-NODE-PORT-TCP", "bitmap:port", AF_INET, 30_080);
    set("KUBE-6-NODE-PORT-UDP", "bitmap:port", AF_INET6, 30_053);
    set("KUBE-NODE-PORT-SCTP-HASH", "hash:ip,port", AF_INET, 30_132);
    set("KUBE-IPVS-IPS", "bitmap:port", AF_INET, 1);
    set("KUBE-ROUTER-SVIP", "bitmap:port", AF_INET, 1);
    let mut ipvs = Ipvs::open().unwrap();
    let changes: Vec<Change> = kube_proxys()
        .into_iter()
        .chain(others())
        .map(|key| Change::AddService(Service::new(key)))
        .collect();
    assert!(ipvs.apply(&changes).unwrap().is_empty());
    ipvs
}

fn kube_proxys() -> Vec<ServiceKey> {
    vec![
        ServiceKey::tcp(at("10.96.0.10:80")),
        ServiceKey::udp(at("10.96.0.11:53")),
        ServiceKey::udp(at("[fd96::10]:53")),
        ServiceKey::tcp(at("192.0.2.100:30080")),
        ServiceKey::sctp(at("192.0.2.100:30132")),
    ]
}

/// Another address, another port, another protocol, a mark.
fn others() -> Vec<ServiceKey> {
    vec![
        ServiceKey::tcp(at("198.51.100.1:30080")),
        ServiceKey::tcp(at("192.0.2.100:30081")),
        ServiceKey::udp(at("192.0.2.100:30080")),
        ServiceKey::Fwmark { family: 2, mark: 7 },
    ]
}

fn keys(ipvs: &mut Ipvs) -> Vec<ServiceKey> {
    let mut keys: Vec<_> = ipvs.services().unwrap().iter().map(|s| s.key).collect();
    keys.sort();
    keys
}

fn sorted(mut keys: Vec<ServiceKey>) -> Vec<ServiceKey> {
    keys.sort();
    keys
}

#[test]
fn nothing_is_found_where_nothing_is() {
    in_namespace(|| {
        assert!(Remains::find(&[], []).unwrap().is_none());
        assert_eq!(sweep_ipvs(&[], []).unwrap(), Swept::default());
        assert_eq!(sweep_sets().unwrap(), Swept::default());
    });
}

/// Needs IP sets only, which more kernels have.
#[test]
fn sets_tell_the_node_ports_and_go() {
    in_namespace(|| {
        if !std::path::Path::new("/sys/module/ip_set").exists() {
            assert!(std::env::var_os("REQUIRE_IPVS").is_none(), "no IP sets");
            return eprintln!("SKIP: no IP sets");
        }
        let mut sets = IpSets::open().unwrap().unwrap();
        assert_eq!(sets.names().unwrap(), [""; 0]);
        assert!(sets.node_ports().unwrap().is_empty());
        set("KUBE-NODE-PORT-TCP", "bitmap:port", AF_INET, 30_080);
        set("KUBE-NODE-PORT-LOCAL-TCP", "bitmap:port", AF_INET, 30_081);
        set("KUBE-6-NODE-PORT-UDP", "bitmap:port", AF_INET6, 30_053);
        set("KUBE-NODE-PORT-SCTP-HASH", "hash:ip,port", AF_INET, 30_132);
        set("KUBE-ROUTER-SVIP", "bitmap:port", AF_INET, 1);
        let expected = [
            (IpFamily::V4, 6, 30_080),
            (IpFamily::V6, 17, 30_053),
            (IpFamily::V4, 132, 30_132),
        ];
        assert_eq!(sets.node_ports().unwrap(), expected.into());
        let destroyed = sets.destroy().unwrap();
        assert_eq!((destroyed.sets, destroyed.in_use.len()), (4, 0));
        assert_eq!(sets.names().unwrap(), [""; 0]);
        assert_eq!(sets.destroy().unwrap().sets, 0);
    });
}

#[test]
#[ignore = "needs a kernel with IPVS: make test-ipvs"]
fn what_kube_proxy_left_goes_and_others_stay() {
    in_namespace(|| {
        if !there() {
            return;
        }
        let mut ipvs = leave();
        let swept = sweep_ipvs(&[], []).unwrap();
        assert_eq!(
            swept.removed,
            [
                Removed::VirtualServers { servers: 5 },
                Removed::Link,
                Removed::IpSets { sets: 4 }
            ]
        );
        assert_eq!(swept.left, []);
        assert_eq!(keys(&mut ipvs), sorted(others()));
        assert!(!Link::open().unwrap().exists().unwrap());
        assert!(IpSets::open().unwrap().unwrap().names().unwrap().is_empty());
        assert_eq!(sweep_ipvs(&[], []).unwrap(), Swept::default());
    });
}

#[test]
#[ignore = "needs a kernel with IPVS: make test-ipvs"]
fn excluded_addresses_are_not_touched() {
    in_namespace(|| {
        if !there() {
            return;
        }
        let mut ipvs = leave();
        let excluded = ["10.96.0.10/31".parse().unwrap()];
        let swept = sweep_ipvs(&excluded, []).unwrap();
        assert_eq!(swept.removed[0], Removed::VirtualServers { servers: 3 });
        let kept = kube_proxys().into_iter().take(2).chain(others());
        assert_eq!(keys(&mut ipvs), sorted(kept.collect()));
        let bound = Link::open().unwrap().bound().unwrap();
        let kept = ["10.96.0.10", "10.96.0.11"].map(|ip| ip.parse().unwrap());
        assert_eq!(bound, kept.into());
    });
}

/// The one that has a connection stays with its address, until the time is over.
#[test]
#[ignore = "needs a kernel with IPVS: make test-ipvs"]
fn connections_are_waited_for() {
    in_namespace(|| {
        if !there() {
            return;
        }
        let mut ipvs = leave();
        let busy = kube_proxys()[0];
        let server = Destination::new(at("10.244.0.7:8080"));
        let refusals = ipvs.apply(&[Change::AddDestination(busy, server)]).unwrap();
        assert!(refusals.is_empty(), "{refusals:?}");
        let listener = TcpListener::bind("10.244.0.7:8080").unwrap();
        let _client = TcpStream::connect("10.96.0.10:80").unwrap();
        let _accepted = listener.accept().unwrap();
        let mut remains = Remains::find(&[], []).unwrap().unwrap();
        let step = remains.step(false).unwrap();
        let expected = Step {
            servers: 4,
            addresses: 2,
            link: false,
            busy: 1,
            held: 0,
        };
        assert_eq!(step, expected);
        let left = others().into_iter().chain([busy]);
        assert_eq!(keys(&mut ipvs), sorted(left.collect()));
        let bound = Link::open().unwrap().bound().unwrap();
        assert_eq!(bound, ["10.96.0.10".parse().unwrap()].into());
        let step = remains.step(false).unwrap();
        assert_eq!((step.servers, step.busy), (0, 1));
        let step = remains.step(true).unwrap();
        assert_eq!((step.servers, step.busy, step.link), (1, 0, true));
        assert_eq!(keys(&mut ipvs), sorted(others()));
    });
}

/// Our own IPVS mode has no sets but a table.
#[test]
#[ignore = "needs a kernel with IPVS: make test-ipvs"]
fn node_ports_of_our_table_count() {
    in_namespace(|| {
        if !there() {
            return;
        }
        let mut ipvs = leave();
        let mut kernel = Kernel::open().unwrap();
        assert!(node_ports(&mut kernel).unwrap().is_empty(), "no table");
        let element = Element {
            set: SetId::Nodeports,
            key: Key::EMPTY.protocol(Protocol::Udp).port(30_080),
            end: None,
            data: Data::Verdict(Verdict::Drop),
        };
        let set = Op::AddSet(Arc::new(SetId::Nodeports.spec()));
        let ops = [Op::AddTable, set, Op::AddElement(element)];
        kernel.commit(IpFamily::V4, &ops).unwrap();
        let own = node_ports(&mut kernel).unwrap();
        assert_eq!(own, [(IpFamily::V4, 17, 30_080)].into());
        // In IPVS mode only what kube-proxy served elsewhere goes; the link is the engine's.
        let swept = sweep_node_ports(&mut kernel, &[]).unwrap();
        assert_eq!(swept.removed, [Removed::VirtualServers { servers: 2 }]);
        let gone = Change::AddService(Service::new(kube_proxys()[3]));
        let back = Change::AddService(Service::new(kube_proxys()[4]));
        assert!(ipvs.apply(&[gone, back]).unwrap().is_empty(), "they went");
        let mut remains = Remains::find(&[], own).unwrap().unwrap();
        assert_eq!(remains.step(false).unwrap().servers, 6);
        let left = others().into_iter().filter(|key| *key != others()[2]);
        assert_eq!(keys(&mut ipvs), sorted(left.collect()));
    });
}

/// `REQUIRE_IPVS=1` forbids to skip.
fn there() -> bool {
    match Ipvs::open() {
        Ok(_) => true,
        Err(Error::Missing(reason)) if std::env::var_os("REQUIRE_IPVS").is_none() => {
            eprintln!("SKIP: {reason}");
            false
        }
        Err(e) => panic!("{e}"),
    }
}
