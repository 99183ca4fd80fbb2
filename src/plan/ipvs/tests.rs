// SPDX-License-Identifier: Apache-2.0
//! What is planned for the showcase, and virtual servers on their way from one state to another.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::servers::{Planned, Servers};
use super::steps::{self, Found, Step};
use super::*;
use crate::model::fixture::{ip, service, slice, state};
use crate::model::{IpvsWishes, TrafficPolicy, ipvs};
use crate::plan::change::Change;
use crate::plan::fixture::{dual_stack, ipvs_options, options, plan_all, showcase};
use crate::plan::nft::text as nft;
use crate::plan::{IpvsOptions, Mode, Options};

fn golden(name: &str, text: &str) {
    let path = format!("{}/src/plan/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).expect("a writable golden file");
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        text, golden,
        "{path} differs; if that is meant: UPDATE_GOLDEN=1"
    );
}

#[test]
fn golden_table_and_virtual_servers() {
    let ledger = plan_all(&showcase(), &ipvs_options(), IpFamily::V4);
    golden(
        "showcase-ipvs.nft",
        &nft::ruleset(&ledger.ruleset(), IpFamily::V4),
    );
    golden("showcase.ipvsadm", &text::servers(ledger.servers().iter()));
}

#[test]
fn nftables_mode_has_no_virtual_servers() {
    let ledger = plan_all(&dual_stack(), &options(), IpFamily::V6);
    assert!(ledger.servers().is_empty());
    assert!(ledger.contributions().all(|(_, c)| c.servers.is_empty()));
}

#[test]
fn wishes_are_granted() {
    let mut web = service("web", "10.96.0.10");
    web.ports[0].protocol = Protocol::Udp;
    let annotations = [
        (ipvs::SCHEDULER, "mh"),
        (ipvs::WEIGHTS, "10.244.1.5=0,n2=7"),
        (ipvs::ONE_PACKET, "true"),
    ];
    let find = |name: &str| {
        annotations
            .iter()
            .find(|(n, _)| *n == name)
            .map(|(_, v)| *v)
    };
    web.ipvs = IpvsWishes::read(find, |_, _| unreachable!()).map(Arc::new);
    let ends = ["10.244.1.5@n1", "10.244.2.5@n2", "10.244.3.5@n3"];
    let mut udp = slice("web", "web", 8080, &ends);
    udp.ports[0].protocol = Protocol::Udp;
    let planned = |web: &crate::model::Service, udp: &crate::model::EndpointSlice| {
        let state = state(std::slice::from_ref(web), std::slice::from_ref(udp));
        let ledger = plan_all(&state, &ipvs_options(), IpFamily::V4);
        text::servers(ledger.servers().iter())
    };
    assert_eq!(
        planned(&web, &udp),
        "-A -u 10.96.0.10:80 -s mh -o -b mh-fallback,mh-port\n\
         -a -u 10.96.0.10:80 -r 10.244.1.5:8080 -m -w 0\n\
         -a -u 10.96.0.10:80 -r 10.244.2.5:8080 -m -w 7\n\
         -a -u 10.96.0.10:80 -r 10.244.3.5:8080 -m -w 1\n"
    );
    web.ports[0].protocol = Protocol::Tcp;
    udp.ports[0].protocol = Protocol::Tcp;
    let first = planned(&web, &udp);
    assert!(
        first.starts_with("-A -t 10.96.0.10:80 -s mh -b mh-fallback,mh-port\n"),
        "{first}"
    );
}

#[test]
fn policy_local_can_fall_back() {
    let mut far = service("far", "10.96.0.21");
    far.ports[0].node_port = Some(30081);
    far.external_policy = TrafficPolicy::Local;
    far.internal_policy = TrafficPolicy::Local;
    let state = state(&[far], &[slice("far", "far", 8080, &["10.244.2.5@n2"])]);
    let plan = |local_fallback| {
        let mode = Mode::Ipvs(IpvsOptions {
            local_fallback,
            ..IpvsOptions::default()
        });
        let options = Options { mode, ..options() };
        plan_all(&state, &options, IpFamily::V4)
    };
    let destinations = |fallback| -> Vec<usize> {
        let ledger = plan(fallback);
        ledger
            .servers()
            .iter()
            .map(|(_, s)| s.destinations.len())
            .collect()
    };
    assert_eq!(destinations(false), [0, 0]);
    assert_eq!(destinations(true), [1, 1]);
    let count = |fallback, set| plan(fallback).count(set);
    use crate::plan::nft::SetId;
    assert_eq!(count(false, SetId::RefusedServices), 1);
    assert_eq!(count(false, SetId::RefusedNodeports), 1);
    assert_eq!(count(true, SetId::RefusedServices), 0);
    assert_eq!(count(true, SetId::MasqueradeNodeports), 1);
}

fn key(address: &str, port: u16) -> ServerKey {
    ServerKey {
        address: ip(address),
        protocol: Protocol::Tcp,
        port,
    }
}

fn target(n: u8) -> Target {
    Target {
        address: [10, 244, 0, n].into(),
        port: 8080,
    }
}

fn server(ends: &[(u8, u32)]) -> Arc<VirtualServer> {
    Arc::new(VirtualServer {
        settings: Settings {
            scheduler: "rr".into(),
            persistence: None,
            one_packet: false,
        },
        destinations: ends.iter().map(|(n, w)| (target(*n), *w)).collect(),
    })
}

fn planned(address: Option<&str>, port: u16, server: &Arc<VirtualServer>) -> Planned {
    Planned {
        address: address.map(ip),
        protocol: Protocol::Tcp,
        port,
        server: server.clone(),
    }
}

#[test]
fn an_address_of_a_service_goes_before_a_node_port() {
    let (mut servers, mut change) = (Servers::default(), Change::default());
    servers.set_node_addresses(BTreeSet::from([ip("192.0.2.10")]), &mut change);
    let (one, two) = (server(&[(1, 1)]), server(&[(2, 1)]));
    let here = key("192.0.2.10", 30_000);
    let node_port = [planned(None, 30_000, &one)];
    let external_ip = [planned(Some("192.0.2.10"), 30_000, &two)];
    servers.replace(&[], &node_port, &mut change);
    assert_eq!(servers.get(&here), Some(&one));
    servers.replace(&[], &external_ip, &mut change);
    assert_eq!(servers.get(&here), Some(&two));
    servers.replace(&external_ip, &[], &mut change);
    assert_eq!(servers.get(&here), Some(&one));
    assert_eq!(
        change.take_servers(),
        BTreeMap::from([(here, (None, Some(one)))])
    );
    servers.replace(&node_port, &[], &mut change);
    assert!(servers.is_empty());
}

#[test]
fn a_place_goes_from_one_service_to_another_in_either_order() {
    let (one, two) = (server(&[(1, 1)]), server(&[(1, 1)]));
    let (of_one, of_two) = ([planned(None, 80, &one)], [planned(None, 80, &two)]);
    for taken_first in [true, false] {
        let (mut servers, mut change) = (Servers::default(), Change::default());
        servers.set_node_addresses(BTreeSet::from([ip("192.0.2.10")]), &mut change);
        servers.replace(&[], &of_one, &mut change);
        if taken_first {
            servers.replace(&[], &of_two, &mut change);
            servers.replace(&of_one, &[], &mut change);
        } else {
            servers.replace(&of_one, &[], &mut change);
            servers.replace(&[], &of_two, &mut change);
        }
        assert!(Arc::ptr_eq(
            servers.get(&key("192.0.2.10", 80)).unwrap(),
            &two
        ));
        let mut more = Change::default();
        servers.set_node_addresses(BTreeSet::from([ip("192.0.2.11")]), &mut more);
        let moved: Vec<_> = more.take_servers().into_iter().collect();
        assert_eq!(
            moved,
            [
                (key("192.0.2.10", 80), (Some(two.clone()), None)),
                (key("192.0.2.11", 80), (None, Some(two.clone()))),
            ]
        );
    }
}

#[test]
fn a_server_that_drains_comes_back() {
    let at = key("10.96.0.10", 80);
    let change = |before, after| BTreeMap::from([(at, (Some(before), Some(after)))]);
    let gone = steps::between(
        &change(server(&[(1, 1), (2, 3)]), server(&[(1, 1)])),
        &|_, _| false,
    );
    assert_eq!(gone.first, [Step::EditDestination(at, target(2), 0)]);
    assert_eq!((gone.last.len(), gone.drains), (0, vec![(at, target(2))]));
    let back = steps::between(
        &change(server(&[(1, 1)]), server(&[(1, 1), (2, 3)])),
        &|_, t| *t == target(2),
    );
    assert_eq!(back.first, [Step::EditDestination(at, target(2), 3)]);
    assert_eq!(back.kept, [(at, target(2))]);
    let udp = ServerKey {
        protocol: Protocol::Udp,
        ..at
    };
    let pair = (Some(server(&[(2, 3)])), Some(server(&[])));
    let gone = steps::between(&BTreeMap::from([(udp, pair)]), &|_, _| false);
    assert_eq!(gone.last, [Step::DeleteDestination(udp, target(2))]);
    assert!(gone.drains.is_empty() && gone.first.is_empty());
}

#[test]
fn only_ours_is_deleted_and_what_differs_is_corrected() {
    let wanted = BTreeMap::from([(key("10.96.0.10", 80), server(&[(1, 1), (2, 2), (3, 3)]))]);
    let found = |ends: &[(u8, Option<u32>)]| Found {
        settings: Some(server(&[]).settings.clone()),
        destinations: ends.iter().map(|(n, w)| (target(*n), *w)).collect(),
    };
    let (ours, foreign) = (key("10.96.0.11", 80), key("198.51.100.1", 80));
    let kernel = BTreeMap::from([
        (
            key("10.96.0.10", 80),
            found(&[(1, None), (2, Some(9)), (4, Some(1)), (5, Some(0))]),
        ),
        (ours, found(&[(1, Some(1))])),
        (foreign, found(&[(1, Some(1))])),
    ]);
    let steps = steps::from_found(wanted.iter(), &kernel, &BTreeSet::from([ours]));
    let at = key("10.96.0.10", 80);
    assert_eq!(
        steps.first,
        [
            Step::EditDestination(at, target(1), 1),
            Step::EditDestination(at, target(2), 2),
            Step::AddDestination(at, target(3), 3),
            Step::EditDestination(at, target(4), 0),
        ]
    );
    assert_eq!(steps.drains, [(at, target(4)), (at, target(5))]);
    assert_eq!(steps.last, [Step::Delete(ours)]);
    let (right, none) = (
        found(&[(1, Some(1)), (2, Some(2)), (3, Some(3))]),
        BTreeSet::new(),
    );
    let kernel = BTreeMap::from([(at, right)]);
    assert!(steps::from_found(wanted.iter(), &kernel, &none).is_empty());
}
