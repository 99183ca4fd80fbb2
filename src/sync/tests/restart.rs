// SPDX-License-Identifier: Apache-2.0
//! What a start does to the tables that an earlier process left: the difference, and no more.

use std::sync::Arc;

use super::{empty_state, held, start};
use crate::backend::{Nftables, Sent, fake::Fake};
use crate::model::fixture::{service, slice};
use crate::model::{Event, IpFamily, Observed, State};
use crate::plan::nft::{ChainSpec, Op};
use crate::plan::resync;

const V4: IpFamily = IpFamily::V4;

fn web(state: &mut State, number: usize, endpoints: &[&str]) {
    let name = format!("s{number}");
    let address = format!("10.96.{}.{}", number / 200, 1 + number % 200);
    let s = service(&name, &address);
    let of = slice(&format!("{name}-1"), &name, 8080, endpoints);
    state.apply(Event::Service(s.name.clone(), Observed::new(s)));
    state.apply(Event::Slice(of.name.clone(), Observed::new(of)));
}

fn services(count: usize) -> State {
    let mut state = empty_state();
    (0..count).for_each(|n| web(&mut state, n, &["10.244.1.5@n1", "10.244.2.5@n2"]));
    state
}

/// What a start sends of an endpoint that was replaced while no agent ran, among so many Services.
fn difference(count: usize) -> Sent {
    let mut kernel = Fake::default();
    start(&mut kernel, services(count));
    let mut state = services(count);
    web(&mut state, 3, &["10.244.1.5@n1", "10.244.2.9@n2"]);
    let (_, sent) = start(&mut kernel, state.clone());
    let (_, again) = start(&mut kernel, state);
    assert_eq!(again, Sent::default());
    sent
}

#[test]
fn a_start_sends_the_difference_alone() {
    let (few, many) = (difference(5), difference(300));
    assert_eq!(few, many);
    assert_eq!(
        (many.messages, many.elements),
        (2, 2),
        "one goes, one comes"
    );
}

/// Who stays keeps its place in a list, whatever order a start would choose; what takes no new
/// place is not written.
#[test]
fn endpoints_keep_the_places_that_they_have() {
    let mut kernel = Fake::default();
    let mut state = empty_state();
    web(&mut state, 0, &["10.244.1.5", "10.244.1.6", "10.244.1.7"]);
    let (mut engine, _) = start(&mut kernel, state.clone());
    let fewer = slice("s0-1", "s0", 8080, &["10.244.1.6", "10.244.1.7"]);
    engine.observe(Event::Slice(fewer.name.clone(), Observed::new(fewer)));
    super::commit(&mut engine);
    let state = engine.state().clone();
    let (_, sent) = start(&mut kernel, state);
    assert_eq!(sent, Sent::default());
}

/// Another version has another hook: that cannot be changed in place, and so all of it is replaced
/// by one commit. At no moment there is no table.
#[test]
fn a_table_of_another_version_is_replaced_at_once() {
    let state = services(5);
    let (mut scratch, _) = start(Fake::default(), state.clone());
    let hook = {
        let ledger = scratch.tables()[0].ledger();
        let hook = ledger.chains().find(|chain| chain.base.is_some());
        let mut hook = ChainSpec::clone(hook.expect("a hook"));
        hook.rules.clear();
        hook.base.as_mut().expect("a hook").priority += 7;
        Arc::new(hook)
    };
    let mut kernel = Fake::default();
    let other = [Op::AddTable, Op::AddChain(hook)];
    kernel.commit(V4, &other).expect("a table");
    let (_, sent) = start(&mut kernel, State::new("n1"));
    assert_eq!(sent, Sent::default(), "nothing is known yet");
    let before = kernel.generation();
    let (mut engine, _) = start(&mut kernel, state);
    held(*engine.kernel(), V4).check(&held(scratch.kernel(), V4), V4);
    // The other family's table is made from nothing: its sets, its elements, its hooks.
    let commits = kernel.generation() - before;
    let mut from_nothing = Fake::default();
    start(&mut from_nothing, services(5));
    let both = from_nothing.generation();
    assert!(commits < both, "{commits} commits, {both} from nothing");
}

/// An agent was killed amid its first start: the sets are there, and the hooks are not. They come
/// with all elements or not at all, however many there are.
#[test]
fn a_start_goes_on_where_another_was_killed() {
    let state = services(2_000);
    let (mut scratch, _) = start(Fake::default(), state.clone());
    let mut kernel = Fake::default();
    for family in IpFamily::ALL {
        let table = scratch.tables().iter().find(|t| t.family() == family);
        let mut all = resync::from_nothing(table.expect("a table").ledger());
        let there = if family == V4 { 1 } else { usize::MAX };
        for ops in all.by_ref().take(there) {
            kernel.commit(family, &ops).expect("a commit");
        }
    }
    let before = kernel.generation();
    let (mut engine, _) = start(&mut kernel, state);
    assert_eq!(engine.kernel().generation() - before, 1, "at once");
    held(*engine.kernel(), V4).check(&held(scratch.kernel(), V4), V4);
}
