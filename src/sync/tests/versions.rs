// SPDX-License-Identifier: Apache-2.0
//! Tables that another version has left, older or newer: each becomes ours in one commit (and a
//! second one that clears away), and who was remembered still is.

use std::process::Command;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::strategy::ValueTree;

use super::clients::{THREE, learn, remembered, sticky};
use super::{any_history, commit, empty_state, held, start, state_after};
use crate::backend::{Error, Nftables, Sent, TableState, fake::Fake, nft::Kernel, testing};
use crate::model::{IpFamily, State};
use crate::plan::Options;
use crate::plan::fixture::options;
use crate::plan::nft::{
    Action, Base, ChainName, ChainSpec, DataKind, Element, Field, Hook, Key, Match, Op, Rule,
    SetId, SetName, SetSpec,
};
use crate::sync::Engine;

/// Ways in which another version's table may differ.
const WAYS: usize = 8;

fn chain(name: &str, base: Option<Base>, rules: Vec<Rule>) -> Arc<ChainSpec> {
    let name = name.into();
    Arc::new(ChainSpec { name, base, rules })
}

fn base(hook: Hook, priority: i32) -> Option<Base> {
    Some(Base { hook, priority })
}

fn verdicts(name: SetName) -> Arc<SetSpec> {
    Arc::new(SetSpec {
        name,
        key: vec![Field::Destination],
        data: DataKind::Verdict,
        interval: false,
        dynamic: None,
    })
}

/// Without any rule, so that whatever they name can go.
fn bare(table: &TableState) -> Vec<Op> {
    let chains = table.chains.iter().map(|c| &c.name);
    chains
        .map(|name| Op::SetRules(chain(name.as_str(), None, Vec::new())))
        .collect()
}

/// Another chain and another map, that name each other.
fn unknown_pair() -> Vec<Op> {
    let map = SetName::Own("frontends".into());
    let look = Rule::always(Action::VerdictMap(vec![Field::Destination], map.clone()));
    let (inner, outer) = (
        chain("spread-3", None, vec![]),
        chain("front", None, vec![look]),
    );
    let early = base(Hook::Prerouting, -110);
    let hook = chain(
        "prerouting-early",
        early,
        vec![Rule::always(Action::Jump("front".into()))],
    );
    let mut ops = vec![Op::AddSet(verdicts(map))];
    ops.extend([&inner, &outer, &hook].map(|c| Op::AddChain(c.clone())));
    ops.extend([inner, outer, hook].map(Op::SetRules));
    ops
}

/// What another version would have there instead.
fn other(way: usize, table: &TableState) -> Vec<Op> {
    let without = |set: SetId| [bare(table), vec![Op::DeleteSet(set.into())]].concat();
    let again = |name: &str, hook, priority| {
        let anew = chain(name, base(hook, priority), Vec::new());
        vec![Op::DeleteChain(name.into()), Op::AddChain(anew)]
    };
    let rules = |name: &str, rules| vec![Op::SetRules(chain(name, None, rules))];
    match way {
        0 => rules("services", vec![Rule::always(Action::Return)]),
        1 => rules("prerouting", Vec::new()),
        2 => again("prerouting", Hook::Prerouting, -95),
        3 => [
            without(SetId::Services),
            vec![Op::AddSet(verdicts(SetId::Services.into()))],
        ]
        .concat(),
        4 => without(SetId::ServiceAddresses),
        5 => unknown_pair(),
        6 => vec![Op::DeleteChain("postrouting".into())],
        _ => without(SetId::Endpoints),
    }
}

/// Has another version's table in the place of ours.
fn make_other(kernel: &mut dyn Nftables, ways: &[usize]) {
    for family in IpFamily::ALL {
        for way in ways {
            let table = kernel.read_table(family).expect("readable").expect("there");
            let ops = other(*way, &table);
            let done = kernel.commit(family, &ops);
            done.unwrap_or_else(|e| panic!("{way} of {ways:?}: {e}"));
        }
    }
}

/// Counts the commits that do more than clear away, and notices whether a table is deleted.
struct Counting<K> {
    kernel: K,
    commits: usize,
    deleted: bool,
}

impl<K: Nftables> Nftables for Counting<K> {
    fn read_table(&mut self, family: IpFamily) -> Result<Option<TableState>, Error> {
        self.kernel.read_table(family)
    }

    fn read_elements(&mut self, family: IpFamily, set: SetId) -> Result<Vec<Element>, Error> {
        self.kernel.read_elements(family, set)
    }

    fn read_clients(
        &mut self,
        family: IpFamily,
        set: &SetName,
    ) -> Result<Vec<(Key, std::net::IpAddr)>, Error> {
        self.kernel.read_clients(family, set)
    }

    fn commit(&mut self, family: IpFamily, ops: &[Op]) -> Result<Sent, Error> {
        self.commits += usize::from(ops.iter().any(|op| match op {
            Op::SetRules(chain) => !chain.rules.is_empty(),
            op => matches!(op, Op::AddElement(_) | Op::AddSet(_) | Op::AddChain(_)),
        }));
        self.deleted |= ops.contains(&Op::DeleteTable);
        self.kernel.commit(family, ops)
    }
}

/// A start on another version's table gives what a start on none gives, by one commit a family,
/// and a second start writes nothing.
fn becomes_ours<K: Nftables>(kernel: &mut K, state: State, ways: &[usize]) {
    make_other(kernel, ways);
    let mut counting = Counting {
        kernel: &mut *kernel,
        commits: 0,
        deleted: false,
    };
    start(&mut counting, state.clone());
    assert!(counting.commits <= 2, "{} for {ways:?}", counting.commits);
    assert!(!counting.deleted, "{ways:?}");
    let mut scratch = Fake::default();
    start(&mut scratch, state.clone());
    for family in IpFamily::ALL {
        held(kernel, family).check(&held(&mut scratch, family), family);
    }
    let (_, sent) = start(kernel, state);
    assert_eq!(sent, Sent::default(), "a restart writes nothing: {ways:?}");
}

fn any_ways() -> impl Strategy<Value = Vec<usize>> {
    // Each once: none of them can do its work twice.
    proptest::sample::subsequence((0..WAYS).collect::<Vec<_>>(), 1..WAYS)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn any_other_version_s_table_becomes_ours(
        a in any_history(3), b in any_history(3), ways in any_ways()
    ) {
        let mut kernel = Fake::default();
        start(&mut kernel, state_after(a));
        becomes_ours(&mut kernel, state_after(b), &ways);
    }
}

#[test]
fn any_other_version_s_table_becomes_ours_in_the_real_kernel() {
    testing::in_namespace(|| {
        let mut runner = proptest::test_runner::TestRunner::deterministic();
        for _ in 0..60 {
            let any = (any_history(3), any_history(3), any_ways());
            let (a, b, ways) = any.new_tree(&mut runner).expect("a case").current();
            let mut kernel = Kernel::open().expect("a netlink socket");
            start(&mut kernel, state_after(a));
            becomes_ours(&mut kernel, state_after(b), &ways);
            for family in IpFamily::ALL {
                let deleted = kernel.commit(family, &[Op::DeleteTable]);
                deleted.expect("a deletion");
            }
        }
    });
}

#[test]
fn clients_stay_where_they_are_whatever_else_differs() {
    for way in 0..WAYS {
        let mut kernel = Fake::default();
        start(&mut kernel, sticky(&THREE));
        learn(&mut kernel, &THREE);
        becomes_ours(&mut kernel, sticky(&THREE), &[way]);
        assert_eq!(remembered(&mut kernel), [1, 2, 3], "way {way}");
    }
}

/// A chain that has become a base chain may be named by elements: the table is replaced.
#[test]
fn what_cannot_be_changed_in_place_is_replaced_at_once() {
    let mut kernel = Fake::default();
    start(&mut kernel, sticky(&THREE));
    for family in IpFamily::ALL {
        let table = kernel.read_table(family).expect("readable").expect("there");
        let plain = chain("prerouting", None, Vec::new());
        let unhooked = [
            bare(&table),
            vec![Op::DeleteChain("prerouting".into()), Op::AddChain(plain)],
        ];
        kernel.commit(family, &unhooked.concat()).expect("a commit");
    }
    let before = kernel.generation();
    start(&mut kernel, sticky(&THREE));
    assert_eq!(kernel.generation() - before, 2, "one commit a family");
    let mut scratch = Fake::default();
    start(&mut scratch, sticky(&THREE));
    for family in IpFamily::ALL {
        held(&mut kernel, family).check(&held(&mut scratch, family), family);
    }
}

/// Something that we know nothing of stands in the way (a verdict map names a chain of ours that
/// has to go): the kernel refuses, and the whole table is put in the place of what is there.
#[test]
fn a_refusal_ends_in_a_replacement() {
    for errno in [nix::libc::EBUSY, nix::libc::EEXIST] {
        let mut kernel = Fake::default();
        start(&mut kernel, sticky(&THREE));
        make_other(&mut kernel, &[3]);
        kernel.refuse(errno);
        start(&mut kernel, sticky(&THREE));
        let mut scratch = Fake::default();
        start(&mut scratch, sticky(&THREE));
        let v4 = IpFamily::V4;
        held(&mut kernel, v4).check(&held(&mut scratch, v4), v4);
    }
}

/// What another version's nft text adds to ours, in ways that none of our own operations could.
fn understood_or_replaced(text: &'static str) {
    testing::in_namespace(move || {
        let mut kernel = Kernel::open().expect("a netlink socket");
        start(&mut kernel, sticky(&THREE));
        let status = Command::new("nft").arg(text).status();
        assert!(status.expect("nft runs").success(), "{text}");
        start(&mut kernel, sticky(&THREE));
        let mut scratch = Fake::default();
        start(&mut scratch, sticky(&THREE));
        let v4 = IpFamily::V4;
        held(&mut kernel, v4).check(&held(&mut scratch, v4), v4);
        let (_, sent) = start(&mut kernel, sticky(&THREE));
        assert_eq!(sent, Sent::default(), "{text}");
    });
}

#[test]
fn a_verdict_that_we_do_not_know_is_no_end() {
    understood_or_replaced("add element ip ferrule services { 192.0.2.78 . tcp . 9 : return }");
}

#[test]
fn unknown_chains_and_maps_that_name_each_other_go() {
    understood_or_replaced(
        "table ip ferrule { map frontends { type ipv4_addr : verdict; \
         elements = { 192.0.2.77 : goto spread }; }; chain spread { return; }; \
         chain front { ip daddr vmap @frontends; }; \
         chain early { type nat hook prerouting priority -110; jump front; }; }",
    );
}

/// The kernel cannot alter a map's capacity. Its clients are forgotten, and nothing else is lost.
#[test]
fn another_capacity_makes_the_map_anew() {
    let run = |kernel: &mut Fake, affinity_capacity| {
        let options = Options {
            affinity_capacity,
            ..options()
        };
        let mut engine = Engine::new(kernel, options, sticky(&THREE), &IpFamily::ALL);
        commit(&mut engine)
    };
    let mut kernel = Fake::default();
    run(&mut kernel, 1_000);
    learn(&mut kernel, &THREE);
    run(&mut kernel, 1_000);
    assert_eq!(remembered(&mut kernel), [1, 2, 3]);
    run(&mut kernel, 2_000);
    assert_eq!(remembered(&mut kernel), Vec::<u8>::new());
    assert_eq!(run(&mut kernel, 2_000), Sent::default());
}

/// Many elements change together with the rules that look them up: nothing is cut.
#[test]
fn rules_and_their_elements_change_in_one_commit_however_many_there_are() {
    let mut state = empty_state();
    for number in 0..3_000 {
        let address = format!("10.96.{}.{}", number / 200, 1 + number % 200);
        let (name, pods) = (format!("s{number}"), ["10.244.1.5@n1", "10.244.2.5@n2"]);
        super::add_service(&mut state, &name, &address, &pods);
    }
    let mut kernel = Fake::default();
    start(&mut kernel, state.clone());
    becomes_ours(&mut kernel, state, &[3, 7]);
}

#[test]
fn a_condition_that_is_new_is_noticed() {
    let mut kernel = Fake::default();
    start(&mut kernel, empty_state());
    let rule = Rule::when([Match::Invalid], Action::Drop);
    let odd = [Op::SetRules(chain("output", None, vec![rule]))];
    kernel.commit(IpFamily::V4, &odd).expect("a commit");
    let before = held(&mut kernel, IpFamily::V4);
    start(&mut kernel, empty_state());
    let output = ChainName::from("output");
    let after = held(&mut kernel, IpFamily::V4);
    assert_ne!(before.chains[&output], after.chains[&output]);
}
