// SPDX-License-Identifier: Apache-2.0
//! What a change costs, counted: it must not depend on how many Services there are.

use super::{commit, empty_state, start};
use crate::backend::{Nftables, Sent, nft::Kernel, testing};
use crate::model::fixture::{service, slice};
use crate::model::{Event, IpFamily, Observed, Service};
use crate::plan::nft::Op;
use crate::sync::Engine;

const ENDPOINTS: [&str; 3] = ["10.244.1.5@n1", "10.244.2.5@n2", "10.244.2.6@n2"];

fn numbered(number: usize) -> Service {
    service(
        &format!("s{number}"),
        &format!("10.96.{}.{}", number / 200, 1 + number % 200),
    )
}

fn observe(engine: &mut Engine<Kernel>, number: usize, endpoints: &[&str]) {
    let s = numbered(number);
    let e = slice(&format!("s{number}-1"), &s.name.name, 8080, endpoints);
    engine.observe(Event::Service(s.name.clone(), Observed::new(s)));
    engine.observe(Event::Slice(e.name.clone(), Observed::new(e)));
}

/// The costs of one endpoint replaced, one added, and one Service added, among so many.
fn costs(services: usize) -> [Sent; 3] {
    let (mut engine, _) = start(Kernel::open().expect("a socket"), empty_state());
    (0..services).for_each(|number| observe(&mut engine, number, &ENDPOINTS));
    commit(&mut engine);
    let mut cost = |number: usize, endpoints: &[&str]| {
        observe(&mut engine, number, endpoints);
        commit(&mut engine)
    };
    let replaced = cost(0, &["10.244.1.5@n1", "10.244.2.5@n2", "10.244.2.7@n2"]);
    let added = cost(
        0,
        &[
            "10.244.1.5@n1",
            "10.244.2.5@n2",
            "10.244.2.7@n2",
            "10.244.2.8@n2",
        ],
    );
    let new = cost(services, &ENDPOINTS);
    for family in IpFamily::ALL {
        engine
            .kernel()
            .commit(family, &[Op::DeleteTable])
            .expect("a deletion");
    }
    [replaced, added, new]
}

#[test]
fn a_change_costs_the_same_at_any_size() {
    testing::in_namespace(|| {
        let (few, many) = (costs(5), costs(2_000));
        assert_eq!(few, many);
        let [replaced, added, new] = many;
        assert_eq!(
            (replaced.messages, replaced.elements),
            (2, 2),
            "delete and add"
        );
        // The chain for four with its rule, the fourth endpoint, and the verdict.
        assert!(added.elements <= 3 && added.messages <= 8, "{added:?}");
        // Three endpoints, a local one, the verdict, and two sets of addresses.
        assert!(new.elements <= 7 && new.messages <= 6, "{new:?}");
    });
}

#[test]
fn a_restart_leaves_the_generation_alone() {
    testing::in_namespace(|| {
        let mut kernel = Kernel::open().expect("a socket");
        let mut state = empty_state();
        for number in 0..50 {
            let s = numbered(number);
            let e = slice(&format!("s{number}-1"), &s.name.name, 8080, &ENDPOINTS);
            state.apply(Event::Service(s.name.clone(), Observed::new(s)));
            state.apply(Event::Slice(e.name.clone(), Observed::new(e)));
        }
        start(&mut kernel, state.clone());
        let before = kernel.generation().expect("a generation");
        start(&mut kernel, state);
        assert_eq!(kernel.generation().expect("a generation"), before);
    });
}
