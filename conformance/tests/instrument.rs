// SPDX-License-Identifier: Apache-2.0
//! Proves the instrument before it judges anybody: a ruleset written by hand with `nft`, whose
//! every effect is known, must be seen as what it is.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::Result;
use ferrule::model::{IpFamily, Protocol};
use ferrule_conformance::client::{Answer, Attempt, PATIENCE, dial};
use ferrule_conformance::netns::{self, Layout, Place, Topology};
use ferrule_conformance::server::Server;
use ferrule_conformance::socket;

/// Port 80: endpoints 1a, 2a and 3a, masqueraded for the client outside, to whom the answer would
/// otherwise go past the node that translated; 81: reject; 82: drop; 83: 2a, masqueraded.
const RULES: &str = "table inet byhand {
  chain forth {
    ip daddr 10.96.0.1 meta l4proto { tcp, udp, sctp } th dport 80 dnat ip to numgen random mod 3 \
      map { 0 : 10.244.1.10, 1 : 10.244.2.10, 2 : 10.244.3.10 } : 8080
    ip6 daddr fd00:10:96::1 meta l4proto { tcp, udp, sctp } th dport 80 dnat ip6 to numgen random mod 3 \
      map { 0 : fd00:10:244:1::10, 1 : fd00:10:244:2::10, 2 : fd00:10:244:3::10 } : 8080
    ip daddr 10.96.0.1 meta l4proto { tcp, udp, sctp } th dport 83 dnat ip to 10.244.2.10 : 8080
    ip6 daddr fd00:10:96::1 meta l4proto { tcp, udp, sctp } th dport 83 dnat ip6 to [fd00:10:244:2::10] : 8080
    meta l4proto { tcp, udp, sctp } th dport 81 reject with icmpx type port-unreachable
    meta l4proto { tcp, udp, sctp } th dport 82 drop
  }
  chain in { type nat hook prerouting priority dstnat; jump forth; }
  chain out { type nat hook output priority -100; jump forth; }
  chain back { type nat hook postrouting priority srcnat;
    ct status dnat ip saddr 192.168.30.100 masquerade fully-random
    ct status dnat ip6 saddr fd00:192:30::100 masquerade fully-random
    meta l4proto { tcp, udp, sctp } ct status dnat ct original proto-dst 83 masquerade fully-random
  }
}";

#[test]
fn the_instrument_sees_what_the_kernel_does() -> Result<()> {
    if !ferrule_conformance::privileged()? {
        return Ok(());
    }
    let begun = Instant::now();
    let topology = Topology::build(&Layout::default())?;
    eprintln!("topology in {:?}", begun.elapsed());
    assert!(
        begun.elapsed() < Duration::from_secs(4),
        "building took {:?}",
        begun.elapsed()
    );
    let _servers = topology
        .pods
        .iter()
        .map(|p| {
            Server::start(
                &p.namespace,
                p.name,
                &IpFamily::ALL.map(|f| p.address(f)),
                &[8080],
            )
        })
        .collect::<Result<Vec<_>>>()?;
    for node in &topology.nodes {
        node.nft(RULES)?;
    }
    let places = [Place::Pod("1b"), Place::Node(1), Place::Outside];
    for (family, protocol) in combinations() {
        for place in places {
            judge(&topology, place, family, protocol)?;
        }
    }
    Ok(())
}

fn combinations() -> impl Iterator<Item = (IpFamily, Protocol)> {
    IpFamily::ALL
        .into_iter()
        .flat_map(|f| Protocol::ALL.map(|p| (f, p)))
}

fn judge(t: &Topology, place: Place, family: IpFamily, protocol: Protocol) -> Result<()> {
    let ask = |port, count| -> Result<Vec<Answer>> {
        let to = SocketAddr::new(netns::cluster_ip(family, 1), port);
        let via = u16::from(place == Place::Outside);
        let attempt = Attempt {
            protocol,
            to,
            source: None,
            via,
        };
        dial(t.namespace(place)?, &vec![attempt; count], PATIENCE)
    };
    let node: Vec<IpAddr> = t.addresses_of_node(family, 1);
    let own = match place {
        Place::Pod(name) => vec![t.pod(name)?.address(family)],
        Place::Node(_) | Place::Outside => node.clone(),
    };
    let what = format!("{place:?} {family} {protocol}");
    let begun = Instant::now();
    let answers = ask(80, 1000)?;
    eprintln!("{what}: 1,000 connections in {:?}", begun.elapsed());
    let mut counts = BTreeMap::<_, usize>::new();
    for answer in &answers {
        let Answer::From {
            endpoint, source, ..
        } = answer
        else {
            panic!("{what}: {answer:?}")
        };
        assert!(own.contains(source), "{what} {endpoint} saw {source}");
        *counts.entry(endpoint.clone()).or_default() += 1;
    }
    assert!(
        counts.values().all(|n| (250..420).contains(n)) && counts.len() == 3,
        "{counts:?}"
    );
    for answer in ask(81, 20)? {
        assert!(answer.refused_at_once(), "{what} reject: {answer:?}");
    }
    for answer in ask(82, 20)? {
        assert_eq!(answer, Answer::Timeout, "{what} drop");
    }
    for answer in ask(83, 20)? {
        let right = matches!(&answer, Answer::From { endpoint, source, .. }
            if endpoint == "2a" && node.contains(source));
        assert!(right, "{what} masquerade: {answer:?}");
    }
    Ok(())
}

/// Whoever opens a raw socket on a node takes, until it is connected, what the node would refuse.
#[test]
fn a_raw_client_asks_again() -> Result<()> {
    if !ferrule_conformance::privileged()? {
        return Ok(());
    }
    let topology = Topology::build(&Layout {
        pods: vec![vec!["1a"]],
    })?;
    for family in IpFamily::ALL {
        let to = SocketAddr::new(netns::node_gateway(family, 1), 9);
        let attempt = Attempt {
            protocol: Protocol::Sctp,
            to,
            source: None,
            via: 0,
        };
        let taker = topology.nodes[0].enter(|| Ok(socket::open(Protocol::Sctp, to.ip())?))?;
        let pod = topology.namespace(Place::Pod("1a"))?;
        let answers = std::thread::scope(|s| {
            let asking = s.spawn(|| dial(pod, &[attempt], Duration::from_secs(3)));
            std::thread::sleep(Duration::from_millis(300));
            drop(taker);
            asking.join().expect("no panic")
        })?;
        assert!(
            matches!(answers[0], Answer::Refused(after, _) if after > Duration::from_millis(900)),
            "{family}: {:?}",
            answers[0]
        );
    }
    Ok(())
}
