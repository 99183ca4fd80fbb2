// SPDX-License-Identifier: Apache-2.0
//! Properties that hold whatever the cluster says, checked on the in-memory kernel and on the
//! real one: incremental equals from scratch, and a restart writes nothing.

mod budget;
mod clients;
mod faults;
mod flows;
mod heal;
mod listing;
mod live;
mod looks;
mod metrics;
mod options;
mod refusals;
mod restart;
mod servers;
mod servers_live;
mod versions;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::strategy::ValueTree;

use super::Engine;
use crate::backend::{Nftables, Sent, fake::Fake, nft::Kernel, testing};
use crate::model::fixture::{ip, node, service, slice};
use crate::model::{
    Event, IpFamily, Observed, Protocol, Service, ServicePort, State, TrafficPolicy,
};
use crate::plan::fixture::options;
use crate::plan::nft::{ChainName, Data, Element, Key, SetId};

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

/// A Service of a small world, so that sequences meet the same names, addresses and ports again.
fn any_service() -> impl Strategy<Value = Service> {
    let policy = || prop_oneof![Just(TrafficPolicy::Cluster), Just(TrafficPolicy::Local)];
    let ports = proptest::collection::btree_map(80..83u16, (any::<bool>(), 0..3usize), 0..3);
    let affinity = prop_oneof![2 => Just(None), 1 => Just(Some(60)), 1 => Just(Some(120))];
    let ranges = proptest::sample::subsequence(
        vec![
            "198.51.100.0/24",
            "198.51.0.0/16",
            "192.0.2.0/24",
            "10.0.0.0/8",
        ],
        0..3,
    );
    let vips = (0..3usize, 0..3usize, any::<bool>());
    (
        0..NAMES.len(),
        0..4i64,
        ports,
        policy(),
        policy(),
        affinity,
        ranges,
        vips,
    )
        .prop_map(
            |(name, created, ports, internal, external, affinity, ranges, vips)| {
                let mut s = service(NAMES[name], &format!("10.96.0.{}", 10 + name));
                s.created = created;
                s.ports = ports
                    .into_iter()
                    .map(|(port, (np, p))| any_port(name, port, np, p))
                    .collect();
                (s.internal_policy, s.external_policy, s.affinity) = (internal, external, affinity);
                s.load_balancer_ips = (0..vips.0).map(|i| ip(&format!("203.0.113.{i}"))).collect();
                s.external_ips = (0..vips.1)
                    .map(|i| ip(&format!("203.0.113.{}", i + 2)))
                    .collect();
                s.source_ranges = ranges
                    .iter()
                    .map(|r| r.parse().expect("a prefix"))
                    .collect();
                if vips.2 {
                    s.cluster_ips.push(ip(&format!("fd00::{}", 10 + name)));
                }
                s
            },
        )
}

fn any_port(service: usize, port: u16, node_port: bool, protocol: usize) -> ServicePort {
    ServicePort {
        name: format!("p{port}").into(),
        protocol: Protocol::ALL[protocol],
        port,
        node_port: node_port.then_some(30_000 + port + (service as u16 % 2)),
    }
}

/// Some of its addresses are Services', and one is this host's now and then.
fn any_other_node() -> impl Strategy<Value = Event> {
    let all = ["203.0.113.1", "203.0.113.2", "192.0.2.10"].map(ip);
    let some = proptest::sample::subsequence(all.to_vec(), 0..3);
    some.prop_map(|addresses| Event::OtherNode("n2".into(), addresses))
}

fn any_event() -> impl Strategy<Value = Event> {
    let gone = (0..NAMES.len()).prop_map(|n| {
        let name = service(NAMES[n], "10.96.0.1").name;
        Event::Service(name, Observed::gone())
    });
    let hosts =
        proptest::collection::btree_map(1..9u8, ("[12]", "(|!u|!t|!d)", "(|>z1|>z2)"), 0..7);
    let slices = (
        0..NAMES.len(),
        0..2usize,
        hosts,
        any::<bool>(),
        any::<bool>(),
    );
    let slice = slices.prop_map(|(name, number, hosts, v6, keep)| {
        let text = |(host, (node, flags, hint)): (u8, (String, String, String))| match v6 {
            true => format!("fd01::{host}@n{node}{flags}{hint}"),
            false => format!("10.244.{node}.{host}@n{node}{flags}{hint}"),
        };
        let endpoints: Vec<String> = hosts.into_iter().map(text).collect();
        let endpoints: Vec<&str> = endpoints.iter().map(String::as_str).collect();
        let mut s = slice(
            &format!("{}-{number}", NAMES[name]),
            NAMES[name],
            8080,
            &endpoints,
        );
        let template = s.ports[0].clone();
        s.ports = (80..83u16)
            .flat_map(|port| Protocol::ALL.map(|protocol| (port, protocol)))
            .map(|(port, protocol)| crate::model::EndpointPort {
                name: format!("p{port}").into(),
                protocol,
                port: template.port + port,
            })
            .collect();
        Event::Slice(
            s.name.clone(),
            if keep {
                Observed::new(s)
            } else {
                Observed::gone()
            },
        )
    });
    let cidr = prop_oneof![
        Just("10.96.0.0/16"),
        Just("10.96.0.0/12"),
        Just("fd00::/112")
    ];
    let cidr = cidr.prop_map(|c| {
        Event::ServiceCidr(
            "k".into(),
            Observed::new(vec![c.parse().expect("a prefix")]),
        )
    });
    let zone = prop_oneof![Just(Some("z1")), Just(Some("z2")), Just(None)];
    // In and out of the ranges that Services have.
    let address = prop_oneof![Just("192.0.2.10"), Just("198.51.7.7"), Just("172.16.0.1")];
    let known = (zone, address.clone()).prop_map(|(zone, address)| {
        let mut node = node();
        node.zone = zone.map(Into::into);
        node.addresses[0] = ip(address);
        Event::Node(Observed::new(node))
    });
    let addresses = address.prop_map(|a| Event::LocalAddresses(vec![ip(a), ip("2001:db8::10")]));
    prop_oneof![
        6 => any_service().prop_map(|s| Event::Service(s.name.clone(), Observed::new(s))),
        1 => gone,
        8 => slice,
        1 => cidr,
        1 => known,
        1 => addresses,
        1 => any_other_node(),
    ]
}

/// Batches of events; each batch is one commit.
fn any_history(batches: usize) -> impl Strategy<Value = Vec<Vec<Event>>> {
    proptest::collection::vec(proptest::collection::vec(any_event(), 1..6), 1..batches)
}

/// Everything that one family's table holds. Endpoints are compared as a list's multiset, since
/// their places depend on history; all else to the byte.
#[derive(Debug, PartialEq, Default)]
struct Held {
    chains: BTreeMap<ChainName, Vec<Option<u64>>>,
    sets: BTreeSet<String>,
    elements: BTreeSet<Element>,
    lists: BTreeMap<(SetId, Vec<u8>, bool), Vec<Data>>,
}

impl Held {
    /// Compares, and shows only what differs.
    fn check(&self, expected: &Held, family: IpFamily) {
        assert!(
            self.chains == expected.chains && self.sets == expected.sets,
            "{family} chains and sets: {:?} {:?}, expected {:?} {:?}",
            self.chains.keys(),
            self.sets,
            expected.chains.keys(),
            expected.sets
        );
        let differing: Vec<_> = self
            .elements
            .symmetric_difference(&expected.elements)
            .collect();
        assert!(differing.is_empty(), "{family} elements: {differing:?}");
        assert_eq!(self.lists, expected.lists, "{family} lists of endpoints");
    }
}

fn held(kernel: &mut dyn Nftables, family: IpFamily) -> Held {
    let Some(table) = kernel.read_table(family).expect("a readable table") else {
        return Held::default();
    };
    let mut held = Held {
        chains: table
            .chains
            .into_iter()
            .map(|c| (c.name, c.rules))
            .collect(),
        sets: table
            .sets
            .iter()
            .map(|(name, print)| format!("{name} {print:?}"))
            .collect(),
        ..Held::default()
    };
    for set in SetId::ALL {
        for element in kernel
            .read_elements(family, set)
            .expect("readable elements")
        {
            if !matches!(set, SetId::Endpoints | SetId::NodeportEndpoints) {
                held.elements.insert(element);
                continue;
            }
            let (frontend, index) = split(&element.key);
            held.lists
                .entry((set, frontend, index >= 32_768))
                .or_default()
                .push(element.data);
        }
    }
    held.lists.values_mut().for_each(|list| list.sort());
    held
}

fn split(key: &Key) -> (Vec<u8>, u32) {
    let (frontend, index) = key.as_bytes().split_at(key.as_bytes().len() - 4);
    (
        frontend.to_vec(),
        u32::from_ne_bytes(index.try_into().expect("four bytes")),
    )
}

fn start<K: Nftables>(kernel: K, state: State) -> (Engine<K>, Sent) {
    let mut engine = Engine::new(kernel, options(), state, &IpFamily::ALL);
    let sent = commit(&mut engine);
    (engine, sent)
}

fn commit<K: Nftables>(engine: &mut Engine<K>) -> Sent {
    let done = engine.commit();
    assert!(!done.failed() && done.left_behind.is_empty(), "{done:?}");
    done.sent()
}

/// A node that has been listed and has nothing yet.
fn empty_state() -> State {
    let mut state = State::new("n1");
    state.apply(Event::LocalAddresses(vec![ip("192.0.2.10")]));
    state.apply(Event::Node(Observed::new(node())));
    state.apply(Event::Synced);
    state
}

/// Adds a plain Service with endpoints.
fn add_service(state: &mut State, name: &str, address: &str, endpoints: &[&str]) {
    let mut s = service(name, address);
    s.ports[0].node_port = None;
    let e = slice(&format!("{name}-1"), name, 8080, endpoints);
    state.apply(Event::Service(s.name.clone(), Observed::new(s)));
    state.apply(Event::Slice(e.name.clone(), Observed::new(e)));
}

fn state_after(history: Vec<Vec<Event>>) -> State {
    let mut state = empty_state();
    history
        .into_iter()
        .flatten()
        .for_each(|event| drop(state.apply(event)));
    state
}

/// Plays a history and checks after each batch that the kernel holds what a start from scratch
/// gives, and that a restart sends nothing.
fn play<K: Nftables>(kernel: &mut K, history: Vec<Vec<Event>>) {
    play_disturbed(kernel, history, |_| ());
}

/// The same, with somebody who interferes before each commit.
fn play_disturbed<K: Nftables>(
    kernel: &mut K,
    history: Vec<Vec<Event>>,
    mut disturb: impl FnMut(&mut Engine<&mut K>),
) {
    let (mut engine, _) = start(kernel, empty_state());
    for batch in history {
        batch.into_iter().for_each(|event| engine.observe(event));
        disturb(&mut engine);
        commit(&mut engine);
        let state = engine.state().clone();
        let (mut scratch, _) = start(Fake::default(), state.clone());
        check_counts(&engine, &scratch);
        for family in IpFamily::ALL {
            let expected = held(scratch.kernel(), family);
            held(*engine.kernel(), family).check(&expected, family);
        }
        let (_, sent) = start(&mut **engine.kernel(), state);
        assert_eq!(sent, Sent::default(), "a restart writes nothing");
    }
}

/// What metrics read of the tables is kept up to date by each change; here it is counted.
fn check_counts<K: Nftables>(engine: &Engine<K>, scratch: &Engine<Fake>) {
    for (table, new) in engine.tables().iter().zip(scratch.tables()) {
        let (ledger, family) = (table.ledger(), table.family());
        for set in SetId::ALL {
            let counted = ledger.elements_of(set).len();
            assert_eq!(ledger.count(set), counted, "{family} {}", set.name());
        }
        let without = ledger.without_local();
        assert_eq!(without, new.ledger().without_local(), "{family}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// `apply(diff(a, b))` on a gives b, where the agent that wrote a is gone.
    #[test]
    fn any_table_becomes_any_other(a in any_history(4), b in any_history(4)) {
        let mut kernel = Fake::default();
        start(&mut kernel, state_after(a));
        start(&mut kernel, state_after(b.clone()));
        let mut scratch = Fake::default();
        start(&mut scratch, state_after(b));
        for family in IpFamily::ALL {
            held(&mut kernel, family).check(&held(&mut scratch, family), family);
        }
    }

    #[test]
    fn incremental_equals_from_scratch(history in any_history(8)) {
        play(&mut Fake::default(), history);
    }
}

#[test]
fn incremental_equals_from_scratch_in_the_real_kernel() {
    testing::in_namespace(|| {
        let mut runner = proptest::test_runner::TestRunner::deterministic();
        for _ in 0..200 {
            let tree = any_history(4).new_tree(&mut runner).expect("a history");
            let mut kernel = Kernel::open().expect("a netlink socket");
            play(&mut kernel, tree.current());
            for family in IpFamily::ALL {
                kernel
                    .commit(family, &[crate::plan::nft::Op::DeleteTable])
                    .expect("a deletion");
            }
        }
    });
}
