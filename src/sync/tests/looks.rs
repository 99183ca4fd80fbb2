// SPDX-License-Identifier: Apache-2.0
//! IPVS mode: what others do to virtual servers and their real servers is found by a look, and put
//! right by the next commit.

use super::servers::{at, end, observe, start, web};
use super::{commit, empty_state};
use crate::backend::fake::Fake;
use crate::backend::fake::servers::{FakeServers, Held};
use crate::model::fixture::{service, slice};
use crate::model::{Event, Observed, State};
use crate::sync::Engine;

const TWO: [&str; 2] = ["10.244.1.5@n1", "10.244.2.5@n2"];

fn look(agent: &mut Engine<&mut Fake>) -> usize {
    let found = agent.look().into_iter();
    found.map(|(_, n)| n.expect("a list")).sum()
}

/// Does something behind the agent's back, which it has to find and to put right.
fn put_right(what: &str, damage: impl FnOnce(&mut Held)) {
    let (mut kernel, servers, state) = web(&TWO);
    let (mut agent, _) = start((&mut kernel, &servers), state);
    assert_eq!((look(&mut agent), agent.has_work()), (0, false), "{what}");
    let before = servers.held().clone();
    damage(&mut servers.held());
    assert_eq!((look(&mut agent), agent.has_work()), (1, true), "{what}");
    commit(&mut agent);
    let after = servers.held().clone();
    // What is on its way out has no weight any more.
    let open = |held: &Held| {
        let mut server = held.servers[&at("10.96.0.10")].clone();
        server.destinations.retain(|_, (weight, _)| *weight > 0);
        server
    };
    assert_eq!(open(&after), open(&before), "{what}");
    assert_eq!(after.bound, before.bound, "{what}");
    assert_eq!(look(&mut agent), 0, "{what}");
}

#[test]
fn whatever_others_do_to_ipvs_is_put_right() {
    fn web_of(held: &mut Held) -> &mut crate::backend::fake::servers::Server {
        held.servers.get_mut(&at("10.96.0.10")).expect("a server")
    }
    put_right("virtual server deleted", |held| {
        held.servers.remove(&at("10.96.0.10"));
    });
    put_right("address unbound", |held| held.bound.clear());
    put_right("real server deleted", |held| {
        web_of(held).destinations.remove(&end("10.244.2.5"));
    });
    put_right("weight changed", |held| {
        web_of(held).destinations.insert(end("10.244.2.5"), (0, 0));
    });
    put_right("real server added", |held| {
        web_of(held).destinations.insert(end("10.9.9.9"), (1, 0));
    });
    put_right("scheduler changed", |held| {
        let settings = web_of(held).settings.as_mut().expect("settings");
        settings.scheduler = "wrr".into();
    });
}

/// A look takes a thousand virtual servers, and the next one those after them.
#[test]
fn all_real_servers_have_their_turn() {
    let (mut kernel, servers) = (Fake::default(), FakeServers::default());
    let mut state: State = empty_state();
    for number in 0..2_500 {
        let name = format!("s{number}");
        let address = format!("10.96.{}.{}", number / 200, 1 + number % 200);
        let mut s = service(&name, &address);
        s.ports[0].node_port = None;
        let of = slice(&format!("{name}-1"), &name, 8080, &TWO);
        state.apply(Event::Service(s.name.clone(), Observed::new(s)));
        state.apply(Event::Slice(of.name.clone(), Observed::new(of)));
    }
    let (mut agent, _) = start((&mut kernel, &servers), state);
    // Keys go by address: the last thousand has its turn with the third look.
    let last = at("10.96.12.100");
    let lose = || {
        let mut held = servers.held();
        let server = held.servers.get_mut(&last).expect("a server");
        server.destinations.remove(&end("10.244.2.5"));
    };
    for round in 0..2 {
        lose();
        let found: Vec<usize> = (0..3).map(|_| look(&mut agent)).collect();
        assert_eq!(found, [0, 0, 1], "round {round}");
        commit(&mut agent);
        assert_eq!(servers.held().servers[&last].destinations.len(), 2);
    }
}

/// The kernel takes no multicast address for a real server. That is told, and not missed.
#[test]
fn what_the_kernel_does_not_take_is_not_missed() {
    let (mut kernel, servers, state) = web(&TWO);
    servers.held().invalid.insert(end("10.244.2.5"));
    let (mut agent, _) = start((&mut kernel, &servers), state);
    assert_eq!((look(&mut agent), agent.has_work()), (0, false));
    observe(&mut agent, &service("web", "10.96.0.10"), &TWO[..1]);
    commit(&mut agent);
    assert_eq!(look(&mut agent), 0);
}

/// What others have deleted before we do is no failure.
#[test]
fn what_others_have_deleted_already_is_gone() {
    let (mut kernel, servers, state) = web(&TWO);
    let (mut agent, _) = start((&mut kernel, &servers), state);
    servers.held().servers.clear();
    let web = service("web", "10.96.0.10");
    agent.observe(Event::Service(web.name, Observed::gone()));
    commit(&mut agent);
    let held = servers.held().clone();
    assert!(held.servers.is_empty() && held.bound.is_empty());
}
