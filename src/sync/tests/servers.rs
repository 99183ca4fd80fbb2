// SPDX-License-Identifier: Apache-2.0
//! IPVS mode: the same properties, of the table and of the virtual servers beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::strategy::ValueTree;

use super::{any_history, commit, empty_state, held, state_after};
use crate::backend::fake::Fake;
use crate::backend::fake::servers::{FakeServers, Held, Server};
use crate::backend::{Nftables, Sent, nft::Kernel, testing};
use crate::model::fixture::{ip, node, service, slice};
use crate::model::{Event, IpFamily, Observed, Protocol, Service, State, Target};
use crate::plan::Options;
use crate::plan::fixture::{ipvs_options, options};
use crate::plan::ipvs::ServerKey;
use crate::sync::{Committed, Engine};

pub(super) type Both<'a, K> = (&'a mut K, &'a FakeServers);

fn engine<'a, K: Nftables>(
    (kernel, servers): Both<'a, K>,
    state: State,
    options: Options,
) -> Engine<&'a mut K> {
    let engine = Engine::new(kernel, options, state, &IpFamily::ALL);
    engine.with_ipvs(Some(Box::new(servers.clone())))
}

pub(super) fn start<K: Nftables>(both: Both<'_, K>, state: State) -> (Engine<&mut K>, Sent) {
    let mut engine = engine(both, state, ipvs_options());
    let sent = commit(&mut engine);
    (engine, sent)
}

/// What a start from scratch gives.
fn scratch(state: State) -> (Fake, Held) {
    let (mut kernel, servers) = (Fake::default(), FakeServers::default());
    start((&mut kernel, &servers), state);
    let held = servers.held().clone();
    (kernel, held)
}

/// Virtual servers without those real servers that take no new connections: all wanted ones do.
fn open(held: &Held) -> BTreeMap<ServerKey, Server> {
    let mut servers = held.servers.clone();
    for server in servers.values_mut() {
        server.destinations.retain(|_, (weight, _)| *weight > 0);
    }
    servers
}

fn check(kernel: &mut dyn Nftables, servers: &FakeServers, state: &State) {
    let (mut expected, wanted) = scratch(state.clone());
    for family in IpFamily::ALL {
        held(kernel, family).check(&held(&mut expected, family), family);
    }
    let found = servers.held();
    assert_eq!(open(&found), wanted.servers);
    assert_eq!(found.bound, wanted.bound);
    let left = found
        .servers
        .iter()
        .flat_map(|(key, s)| s.destinations.iter().map(move |d| (key, d)));
    let closed = left.filter(|(_, (_, (weight, _)))| *weight == 0);
    for (key, (target, _)) in closed {
        assert!(key.drains(), "{target} of {key} is to go at once");
    }
}

/// Plays a history; `fail` makes something fail before each commit.
fn play<K: Nftables>(
    kernel: &mut K,
    history: Vec<Vec<Event>>,
    mut fail: impl FnMut(&mut K, &mut Held),
) {
    let servers = FakeServers::default();
    let (mut engine, _) = start((kernel, &servers), empty_state());
    for batch in history {
        batch.into_iter().for_each(|event| engine.observe(event));
        fail(engine.kernel(), &mut servers.held());
        while engine.has_work() && engine.commit().failed() {}
        servers.held().fails = 0;
        let state = engine.state().clone();
        check(*engine.kernel(), &servers, &state);
        let asked = servers.held().asked;
        let (_, sent) = start((&mut **engine.kernel(), &servers), state);
        assert_eq!(sent, Sent::default(), "a restart writes nothing");
        assert_eq!(
            servers.held().asked,
            asked,
            "nor does it ask IPVS for anything"
        );
    }
}

/// Virtual servers of somebody else: at an address of the node, and at one of nobody's.
fn foreign() -> BTreeMap<ServerKey, Server> {
    let key = |address, port| ServerKey {
        address: ip(address),
        protocol: Protocol::Tcp,
        port,
    };
    let target = Target {
        address: ip("10.9.9.9"),
        port: 80,
    };
    let server = Server {
        settings: None,
        destinations: BTreeMap::from([(target, (1, 5))]),
    };
    [
        key("192.0.2.10", 8443),
        key("198.18.0.1", 80),
        key("2001:db8:9::1", 80),
    ]
    .map(|key| (key, server.clone()))
    .into()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn incremental_equals_from_scratch(
        history in any_history(8),
        failures in proptest::collection::vec((0..12usize, 0..4usize), 8),
    ) {
        let mut failures = failures.into_iter();
        play(&mut Fake::default(), history, |kernel, servers| {
            let (request, commit) = failures.next().unwrap_or_default();
            servers.fails = request;
            if commit == 0 {
                kernel.refuse(nix::libc::EBUSY);
            }
        });
    }

    #[test]
    fn any_state_becomes_any_other(a in any_history(4), b in any_history(4)) {
        let (mut kernel, servers) = (Fake::default(), FakeServers::default());
        servers.held().servers = foreign();
        start((&mut kernel, &servers), state_after(a));
        let state = state_after(b);
        start((&mut kernel, &servers), state.clone());
        for (key, server) in foreign() {
            let held = servers.held().servers.remove(&key);
            prop_assert_eq!(held, Some(server), "{}", key);
        }
        check(&mut kernel, &servers, &state);
    }

    /// An agent may end between any two steps, and the next one may know another world. What the
    /// first one had made is known as ours, and nothing else is.
    #[test]
    fn an_end_anywhere_leaves_nothing_behind(
        worlds in (any_history(4), any_history(3), any_history(4)),
        request in 0..14usize,
        cut in 0..30usize,
    ) {
        let (a, b, c) = worlds;
        let (mut kernel, servers) = (Fake::default(), FakeServers::default());
        servers.held().servers = foreign();
        let (mut agent, _) = start((&mut kernel, &servers), state_after(a));
        b.into_iter().flatten().for_each(|event| agent.observe(event));
        (servers.held().fails, servers.held().cut) = (request, cut);
        if request == 0 {
            agent.kernel().refuse(nix::libc::EBUSY);
        }
        agent.commit();
        servers.held().fails = 0;
        let state = state_after(c);
        let mut next = engine((&mut kernel, &servers), state.clone(), ipvs_options());
        // Once, if the first one had nothing to commit that could have been refused.
        while next.commit().failed() {}
        for (key, server) in foreign() {
            let held = servers.held().servers.remove(&key);
            prop_assert_eq!(held, Some(server), "{}", key);
        }
        check(&mut kernel, &servers, &state);
    }

    /// Virtual servers stay where nftables mode takes over: they have connections.
    #[test]
    fn one_mode_becomes_the_other(a in any_history(4), b in any_history(4)) {
        let (mut kernel, servers) = (Fake::default(), FakeServers::default());
        commit(&mut engine((&mut kernel, &servers), state_after(a), options()));
        prop_assert_eq!(&*servers.held(), &Held::default());
        let state = state_after(b);
        start((&mut kernel, &servers), state.clone());
        check(&mut kernel, &servers, &state);
        let before = servers.held().clone();
        commit(&mut engine((&mut kernel, &servers), state.clone(), options()));
        prop_assert_eq!(&*servers.held(), &before);
        let mut expected = Fake::default();
        commit(&mut engine((&mut expected, &servers), state, options()));
        for family in IpFamily::ALL {
            held(&mut kernel, family).check(&held(&mut expected, family), family);
        }
    }
}

#[test]
fn the_real_kernel_takes_the_table() {
    testing::in_namespace(|| {
        let mut runner = proptest::test_runner::TestRunner::deterministic();
        for _ in 0..50 {
            let tree = any_history(4).new_tree(&mut runner).expect("a history");
            let mut kernel = Kernel::open().expect("a netlink socket");
            play(&mut kernel, tree.current(), |_, _| {});
            for family in IpFamily::ALL {
                let gone = kernel.commit(family, &[crate::plan::nft::Op::DeleteTable]);
                gone.expect("a deletion");
            }
        }
    });
}

pub(super) fn observe(engine: &mut Engine<&mut Fake>, service: &Service, endpoints: &[&str]) {
    let name = &service.name.name;
    let mut of = slice(&format!("{name}-1"), name, 8080, endpoints);
    of.ports[0].protocol = service.ports[0].protocol;
    engine.observe(Event::Service(
        service.name.clone(),
        Observed::new(service.clone()),
    ));
    engine.observe(Event::Slice(of.name.clone(), Observed::new(of)));
}

/// A Service on a port of its own, with a NodePort.
fn numbered(number: u16) -> Service {
    let vip = format!("10.96.{}.{}", number / 200, 1 + number % 200);
    let mut service = service(&format!("s{number}"), &vip);
    service.ports[0].node_port = Some(20_000 + number);
    service
}

const THREE: [&str; 3] = ["10.244.1.5@n1", "10.244.2.5@n2", "10.244.2.6@n2"];

/// What it costs to replace an endpoint, to add one, to add a Service and to remove it.
fn costs(services: u16) -> [(Sent, usize); 4] {
    let (mut kernel, servers) = (Fake::default(), FakeServers::default());
    let (mut engine, _) = start((&mut kernel, &servers), empty_state());
    (0..services).for_each(|n| observe(&mut engine, &numbered(n), &THREE));
    commit(&mut engine);
    let mut cost = |event: &dyn Fn(&mut Engine<&mut Fake>)| {
        let asked = servers.held().asked;
        event(&mut engine);
        let sent = commit(&mut engine);
        (sent, servers.held().asked - asked)
    };
    let first = numbered(0);
    let four = [THREE[0], THREE[1], "10.244.2.7@n2", "10.244.2.8@n2"];
    let gone = || Event::Service(numbered(services).name, Observed::gone());
    [
        cost(&|e| observe(e, &first, &four[..3])),
        cost(&|e| observe(e, &first, &four)),
        cost(&|e| observe(e, &numbered(services), &THREE)),
        cost(&|e| e.observe(gone())),
    ]
}

#[test]
fn a_change_costs_the_same_at_any_size() {
    let (few, many) = (costs(5), costs(2_000));
    assert_eq!(few, many);
    let asked = many.map(|(_, asked)| asked);
    // Two frontends: for each one real server that comes and one that drains; one that comes; a
    // virtual server with three real ones, and an address; two virtual servers and the address.
    assert_eq!(asked, [4, 2, 9, 3]);
    let [(replaced, _), (added, _), ..] = many;
    assert_eq!(
        (replaced.elements, added.elements),
        (0, 0),
        "the table has no part in it"
    );
}

pub(super) fn web(endpoints: &[&str]) -> (Fake, FakeServers, State) {
    let mut state = empty_state();
    let of = slice("web", "web", 8080, endpoints);
    let web = service("web", "10.96.0.10");
    state.apply(Event::Service(web.name.clone(), Observed::new(web)));
    state.apply(Event::Slice(of.name.clone(), Observed::new(of)));
    (Fake::default(), FakeServers::default(), state)
}

pub(super) fn at(address: &str) -> ServerKey {
    ServerKey {
        address: ip(address),
        protocol: Protocol::Tcp,
        port: 80,
    }
}

pub(super) fn end(address: &str) -> Target {
    Target {
        address: ip(address),
        port: 8080,
    }
}

/// Weight and connections of the real servers of `web`.
fn ends(servers: &FakeServers) -> Vec<(u32, u32)> {
    let held = servers.held();
    held.servers[&at("10.96.0.10")]
        .destinations
        .values()
        .copied()
        .collect()
}

fn connect(servers: &FakeServers, address: &str, connections: u32) {
    let mut held = servers.held();
    let server = held
        .servers
        .get_mut(&at("10.96.0.10"))
        .expect("a virtual server");
    server
        .destinations
        .get_mut(&end(address))
        .expect("a real server")
        .1 = connections;
}

fn removed(engine: &mut Engine<&mut Fake>, now: Instant) -> usize {
    let done = engine.drain(now).into_iter();
    done.map(|(_, result)| result.expect("a look")).sum()
}

#[test]
fn who_is_gone_keeps_connections_for_a_while() {
    let (mut kernel, servers, state) = web(&THREE);
    let (mut agent, _) = start((&mut kernel, &servers), state);
    let (begun, second) = (Instant::now(), Duration::from_secs(1));
    connect(&servers, "10.244.2.5", 3);
    connect(&servers, "10.244.2.6", 1);
    observe(&mut agent, &service("web", "10.96.0.10"), &[]);
    let gone = slice("web", "web", 8080, &THREE[..1]);
    agent.observe(Event::Slice(gone.name.clone(), Observed::new(gone)));
    commit(&mut agent);
    assert_eq!(
        (ends(&servers), agent.draining()),
        (vec![(1, 0), (0, 3), (0, 1)], 2)
    );
    assert_eq!(removed(&mut agent, begun), 0);
    connect(&servers, "10.244.2.6", 0);
    assert_eq!(removed(&mut agent, begun + second), 1);
    assert_eq!(ends(&servers), [(1, 0), (0, 3)]);
    // Another agent goes on, with a time of its own.
    let state = agent.state().clone();
    let (mut next, sent) = start((&mut kernel, &servers), state);
    assert_eq!((sent, next.draining()), (Sent::default(), 1));
    assert_eq!(removed(&mut next, begun + 900 * second), 0);
    assert_eq!(removed(&mut next, begun + 1_799 * second), 0);
    assert_eq!(removed(&mut next, begun + 1_800 * second), 1);
    assert_eq!((ends(&servers), next.draining()), (vec![(1, 0)], 0));
}

#[test]
fn who_comes_back_takes_connections_again() {
    let (mut kernel, servers, state) = web(&THREE);
    let (mut agent, _) = start((&mut kernel, &servers), state);
    let set = |agent: &mut Engine<&mut Fake>, endpoints: &[&str]| {
        let of = slice("web", "web", 8080, endpoints);
        agent.observe(Event::Slice(of.name.clone(), Observed::new(of)));
        commit(agent);
    };
    set(&mut agent, &THREE[..2]);
    assert_eq!(
        (ends(&servers), agent.draining()),
        (vec![(1, 0), (1, 0), (0, 0)], 1)
    );
    set(&mut agent, &THREE);
    assert_eq!((ends(&servers), agent.draining()), (vec![(1, 0); 3], 0));
    set(&mut agent, &[]);
    assert_eq!((ends(&servers), agent.draining()), (vec![(0, 0); 3], 3));
    agent.observe(Event::Service(
        service("web", "10.96.0.10").name,
        Observed::gone(),
    ));
    commit(&mut agent);
    assert!(servers.held().servers.is_empty() && servers.held().bound.is_empty());
    assert_eq!(agent.draining(), 0);
}

#[test]
fn an_address_of_the_host_is_not_bound() {
    let (mut kernel, servers, mut state) = web(&THREE);
    state.apply(Event::LocalAddresses(vec![
        ip("192.0.2.10"),
        ip("10.96.0.10"),
    ]));
    let (mut agent, _) = start((&mut kernel, &servers), state);
    assert_eq!(servers.held().bound, BTreeSet::new());
    assert_eq!(ends(&servers), [(1, 0); 3]);
    agent.observe(Event::LocalAddresses(vec![ip("192.0.2.10")]));
    commit(&mut agent);
    assert_eq!(servers.held().bound, BTreeSet::from([ip("10.96.0.10")]));
    agent.observe(Event::LocalAddresses(vec![ip("10.96.0.10")]));
    commit(&mut agent);
    assert_eq!(servers.held().bound, BTreeSet::new());
}

/// Another node's own address is not bound: the table translates what goes there. All else that
/// goes there is left alone.
#[test]
fn an_address_of_another_node_is_not_bound() {
    let (mut kernel, servers, mut state) = web(&THREE);
    let mut web = service("web", "10.96.0.10");
    web.external_ips = vec![ip("192.0.2.12")];
    let there = |address: Option<&str>| {
        Event::OtherNode("n2".into(), address.map(ip).into_iter().collect())
    };
    state.apply(Event::Service(web.name.clone(), Observed::new(web)));
    state.apply(there(Some("192.0.2.12")));
    let (mut agent, _) = start((&mut kernel, &servers), state);
    let is_served = |by_ipvs: bool| {
        let held = servers.held();
        assert_eq!(held.bound.contains(&ip("192.0.2.12")), by_ipvs);
        assert_eq!(held.servers.contains_key(&at("192.0.2.12")), by_ipvs);
        assert!(held.bound.contains(&ip("10.96.0.10")));
    };
    let lists = |agent: &mut Engine<&mut Fake>| held(*agent.kernel(), IpFamily::V4).lists.len();
    is_served(false);
    assert_eq!(lists(&mut agent), 1);
    agent.observe(there(None));
    commit(&mut agent);
    is_served(true);
    assert_eq!(lists(&mut agent), 0);
    agent.observe(there(Some("192.0.2.12")));
    commit(&mut agent);
    is_served(false);
    // One that is this host's as well is this host's.
    agent.observe(Event::LocalAddresses(vec![
        ip("192.0.2.10"),
        ip("192.0.2.12"),
    ]));
    commit(&mut agent);
    let held = servers.held().clone();
    assert!(!held.bound.contains(&ip("192.0.2.12")));
    assert!(held.servers.contains_key(&at("192.0.2.12")));
}

/// An agent may end between any two requests. The table is all that tells whose virtual server a
/// NodePort's is.
#[test]
fn an_end_in_the_midst_leaves_nothing_behind() {
    for request in 1..8 {
        let (mut kernel, servers, mut state) = web(&THREE);
        state.apply(Event::LocalAddresses(vec![ip("192.0.2.10")]));
        let mut web = service("web", "10.96.0.10");
        web.ports[0].node_port = Some(30_080);
        state.apply(Event::Service(web.name.clone(), Observed::new(web.clone())));
        let (mut agent, _) = start((&mut kernel, &servers), state);
        assert_eq!(servers.held().servers.len(), 2);
        agent.observe(Event::Service(web.name, Observed::gone()));
        servers.held().fails = request;
        agent.commit();
        let state = agent.state().clone();
        servers.held().fails = 0;
        start((&mut kernel, &servers), state);
        let left = servers.held().clone();
        assert!(
            left.servers.is_empty() && left.bound.is_empty(),
            "{request}: {left:?}"
        );
    }
}

#[test]
fn what_others_delete_comes_back() {
    let (mut kernel, servers, state) = web(&THREE);
    let (mut agent, _) = start((&mut kernel, &servers), state);
    let found = |agent: &mut Engine<&mut Fake>| {
        let found = agent.look().into_iter();
        found.map(|(_, n)| n.expect("a list")).sum::<usize>()
    };
    assert_eq!(found(&mut agent), 0);
    assert!(!agent.has_work());
    let before = servers.held().clone();
    servers.held().servers.clear();
    servers.held().bound.clear();
    assert_eq!(found(&mut agent), 2);
    assert!(agent.has_work());
    commit(&mut agent);
    let after = servers.held().clone();
    assert_eq!((after.servers, after.bound), (before.servers, before.bound));
    assert_eq!(found(&mut agent), 0);
}

#[test]
fn excluded_addresses_are_left_alone() {
    let (mut kernel, servers, state) = web(&THREE);
    let stray = servers.clone();
    let strange = Server {
        settings: None,
        destinations: BTreeMap::new(),
    };
    for vip in ["10.96.0.77", "10.97.0.77"] {
        stray.held().servers.insert(at(vip), strange.clone());
        stray.held().bound.insert(ip(vip));
    }
    let mut options = ipvs_options();
    if let crate::plan::Mode::Ipvs(ipvs) = &mut options.mode {
        ipvs.exclude_cidrs = vec!["10.97.0.0/16".parse().expect("a prefix")];
    }
    commit(&mut engine((&mut kernel, &servers), state, options));
    let held = servers.held();
    let keys: Vec<&ServerKey> = held.servers.keys().collect();
    assert_eq!(keys, [&at("10.96.0.10"), &at("10.97.0.77")]);
    assert_eq!(
        held.bound,
        BTreeSet::from([ip("10.96.0.10"), ip("10.97.0.77")])
    );
}

fn troubles(done: &Committed) -> Vec<&str> {
    assert!(!done.failed(), "{done:?}");
    let troubles = done.troubles.iter();
    troubles.map(|(_, trouble)| &*trouble.text).collect()
}

#[test]
fn a_scheduler_that_is_missing_and_an_endpoint_that_is_none_hurt_nobody_else() {
    let (mut kernel, servers, state) = web(&THREE);
    servers.held().lacks = BTreeSet::from(["mh".to_owned()]);
    servers.held().invalid = BTreeSet::from([end("10.244.2.5")]);
    let mut options = ipvs_options();
    if let crate::plan::Mode::Ipvs(ipvs) = &mut options.mode {
        ipvs.scheduler = "mh".into();
    }
    let mut agent = engine((&mut kernel, &servers), state, options);
    let done = agent.commit();
    let told = troubles(&done);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].contains("lacks the scheduler mh") && told[1].contains("Invalid argument"));
    let held = servers.held().servers[&at("10.96.0.10")].clone();
    assert_eq!(held.settings.map(|s| s.scheduler), Some("rr".into()));
    assert_eq!(held.destinations.len(), 2);
    let mut web = service("web", "10.96.0.10");
    web.affinity = Some(60);
    observe(&mut agent, &web, &[]);
    assert_eq!(troubles(&agent.commit()), [""; 0], "told once");
    let held = servers.held().servers[&at("10.96.0.10")].clone();
    assert_eq!(held.settings.and_then(|s| s.persistence), Some(60));
}

#[test]
fn ipvs_mode_without_ipvs_is_an_error() {
    let (mut kernel, _, state) = web(&THREE);
    let mut agent = Engine::new(&mut kernel, ipvs_options(), state, &[IpFamily::V4]);
    assert!(agent.commit().failed());
    agent.observe(Event::Node(Observed::new(node())));
    assert!(agent.has_work());
}
