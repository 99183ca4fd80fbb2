// SPDX-License-Identifier: Apache-2.0
//! Sticky clients: who is let go when an endpoint leaves, and who stays.

use super::{commit, empty_state, held, start};
use crate::backend::{Nftables, fake::Fake};
use crate::model::fixture::{ip, service, slice};
use crate::model::{Event, IpFamily, Observed, State};
use crate::plan::nft::{Key, SetName};

fn affinity() -> SetName {
    SetName::Own("affinity-default/login/80/tcp/8080".into())
}

fn endpoints(hosts: &[&str]) -> Event {
    let slice = slice("login-1", "login", 8080, hosts);
    Event::Slice(slice.name.clone(), Observed::new(slice))
}

pub(super) fn sticky(hosts: &[&str]) -> State {
    let mut state = empty_state();
    let mut login = service("login", "10.96.0.40");
    login.affinity = Some(10_800);
    state.apply(Event::Service(login.name.clone(), Observed::new(login)));
    state.apply(endpoints(hosts));
    state
}

/// Clients 10.9.0.1, 10.9.0.2, ... go to these endpoints.
pub(super) fn learn(kernel: &mut Fake, endpoints: &[&str]) {
    for (number, endpoint) in (1u8..).zip(endpoints) {
        let client = Key::EMPTY.address([10, 9, 0, number].into());
        kernel.learn(IpFamily::V4, &affinity(), client, ip(endpoint));
    }
}

/// The last bytes of the clients that are remembered.
pub(super) fn remembered(kernel: &mut Fake) -> Vec<u8> {
    let clients = kernel
        .read_clients(IpFamily::V4, &affinity())
        .expect("a readable map");
    let mut clients: Vec<u8> = clients.iter().map(|(key, _)| key.as_bytes()[3]).collect();
    clients.sort_unstable();
    clients
}

pub(super) const THREE: [&str; 3] = ["10.244.1.1", "10.244.1.2", "10.244.1.3"];

#[test]
fn only_clients_of_the_endpoint_that_left_are_let_go() {
    let (mut engine, _) = start(Fake::default(), sticky(&THREE));
    learn(engine.kernel(), &THREE);
    engine.observe(endpoints(&["10.244.1.1", "10.244.1.3"]));
    commit(&mut engine);
    assert_eq!(remembered(engine.kernel()), [1, 3]);
    engine.observe(endpoints(&THREE));
    commit(&mut engine);
    assert_eq!(
        remembered(engine.kernel()),
        [1, 3],
        "who comes takes nobody's client"
    );
}

#[test]
fn a_start_lets_go_of_what_an_earlier_process_left() {
    let mut kernel = Fake::default();
    start(&mut kernel, sticky(&THREE));
    learn(&mut kernel, &THREE);
    start(&mut kernel, sticky(&["10.244.1.2"]));
    assert_eq!(remembered(&mut kernel), [2]);
}

/// Whether or not something else has changed meanwhile.
#[test]
fn a_restart_keeps_clients() {
    let mut kernel = Fake::default();
    start(&mut kernel, sticky(&THREE));
    learn(&mut kernel, &THREE);
    start(&mut kernel, sticky(&THREE));
    assert_eq!(remembered(&mut kernel), [1, 2, 3]);
    let mut state = sticky(&THREE);
    let other = service("other", "10.96.0.41");
    state.apply(Event::Service(other.name.clone(), Observed::new(other)));
    state.apply(endpoints(&[&THREE[..], &["10.244.1.4"]].concat()));
    start(&mut kernel, state);
    assert_eq!(remembered(&mut kernel), [1, 2, 3]);
}

#[test]
fn a_refused_commit_loses_nothing() {
    let (mut engine, _) = start(Fake::default(), sticky(&THREE));
    learn(engine.kernel(), &THREE);
    engine.observe(endpoints(&["10.244.1.1", "10.244.1.9"]));
    engine.kernel().refuse(nix::libc::EBUSY);
    assert!(engine.commit().failed());
    assert!(engine.has_work(), "what failed is still to be done");
    commit(&mut engine);
    assert!(!engine.has_work());
    assert_eq!(remembered(engine.kernel()), [1]);
    let state = engine.state().clone();
    let (mut scratch, _) = start(Fake::default(), state);
    let (now, expected) = (
        held(engine.kernel(), IpFamily::V4),
        held(scratch.kernel(), IpFamily::V4),
    );
    now.check(&expected, IpFamily::V4);
}
