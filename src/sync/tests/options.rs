// SPDX-License-Identifier: Apache-2.0
//! Options of the rules that change while the proxy runs.

use super::{commit, empty_state, held};
use crate::backend::{Nftables, Sent, fake::Fake, nft::Kernel, testing};
use crate::model::fixture::{service, slice};
use crate::model::{Event, IpFamily, Observed, State};
use crate::plan::fixture::showcase;
use crate::plan::nft::Op;
use crate::plan::options::{Detector, NodePortAddresses, Options};
use crate::sync::Engine;

fn cidr(text: &str) -> Detector {
    Detector::ClusterCidr(vec![text.parse().expect("a prefix")])
}

/// Options that differ in one or more ways.
fn all() -> Vec<Options> {
    let base = Options::default();
    let within = |text: &str| NodePortAddresses::Within(vec![text.parse().expect("a prefix")]);
    let with = |change: &dyn Fn(&mut Options)| {
        let mut options = base.clone();
        change(&mut options);
        options
    };
    vec![
        base.clone(),
        with(&|o| o.masquerade_all = true),
        with(&|o| o.detector = cidr("10.244.0.0/16")),
        with(&|o| o.detector = cidr("10.245.0.0/16")),
        with(&|o| o.detector = cidr("fd00:10:244::/48")),
        with(&|o| o.detector = Detector::NodeCidr),
        with(&|o| o.detector = Detector::Bridge("cni0".into())),
        with(&|o| o.detector = Detector::InterfacePrefix("veth".into())),
        with(&|o| o.node_port_addresses = NodePortAddresses::all()),
        with(&|o| o.node_port_addresses = within("192.0.2.0/24")),
        with(&|o| o.node_port_addresses = within("198.51.100.0/24")),
    ]
}

fn engine<K: Nftables>(kernel: K, options: &Options, state: &State) -> Engine<K> {
    Engine::new(kernel, options.clone(), state.clone(), &IpFamily::ALL)
}

/// Goes through every pair of options; after each change the kernel holds what a start gives.
fn every_pair<K: Nftables>(kernel: &mut K, state: &State) {
    let mut running = engine(kernel, &all()[0], state);
    commit(&mut running);
    for a in all() {
        for b in all() {
            for options in [&a, &b] {
                running.set_options(options.clone());
                if running.has_work() {
                    commit(&mut running);
                }
                let mut scratch = engine(Fake::default(), options, state);
                commit(&mut scratch);
                for family in IpFamily::ALL {
                    let expected = held(scratch.kernel(), family);
                    held(*running.kernel(), family).check(&expected, family);
                }
            }
        }
    }
}

#[test]
fn new_options_lead_to_the_rules_of_a_start() {
    every_pair(&mut Fake::default(), &showcase());
}

#[test]
fn new_options_lead_to_the_rules_of_a_start_in_the_real_kernel() {
    testing::in_namespace(|| every_pair(&mut Kernel::open().expect("a socket"), &showcase()));
}

#[test]
fn options_that_are_no_others_are_no_work() {
    let mut engine = engine(Fake::default(), &all()[1], &showcase());
    commit(&mut engine);
    engine.set_options(all()[1].clone());
    assert!(!engine.has_work());
}

/// What it costs to change from the first options to each of the others, among so many Services.
fn costs(services: usize) -> Vec<Sent> {
    let mut state = empty_state();
    for number in 0..services {
        let s = service(
            &format!("s{number}"),
            &format!("10.96.{}.{}", number / 200, 1 + number % 200),
        );
        let e = slice(
            &format!("s{number}-1"),
            &s.name.name,
            8080,
            &["10.244.1.5@n1"],
        );
        state.apply(Event::Service(s.name.clone(), Observed::new(s)));
        state.apply(Event::Slice(e.name.clone(), Observed::new(e)));
    }
    let mut engine = engine(Kernel::open().expect("a socket"), &all()[0], &state);
    commit(&mut engine);
    let mut costs = Vec::new();
    for options in all() {
        engine.set_options(options);
        costs.push(commit(&mut engine));
        engine.set_options(all()[0].clone());
        commit(&mut engine);
    }
    for family in IpFamily::ALL {
        let kernel = engine.kernel();
        kernel
            .commit(family, &[Op::DeleteTable])
            .expect("a deletion");
    }
    costs
}

#[test]
fn new_options_cost_the_same_at_any_number_of_services() {
    testing::in_namespace(|| {
        let (few, many) = (costs(5), costs(2_000));
        assert_eq!(few, many);
        assert_eq!(many[0], Sent::default(), "the same options");
        // Another detector, or masqueradeAll, changes rules of permanent chains; but this node has
        // no prefix for NodeCIDR. Both families together:
        let idle = many.iter().filter(|sent| sent.messages == 0).count();
        assert_eq!(idle, 2, "{many:?}");
        assert!(many.iter().all(|sent| sent.messages <= 40), "{many:?}");
        eprintln!(
            "messages: {:?}",
            many.iter().map(|s| s.messages).collect::<Vec<_>>()
        );
    });
}
