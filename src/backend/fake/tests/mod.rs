// SPDX-License-Identifier: Apache-2.0
//! The fake against the kernel: the same operations, the same results, the same errors.

mod cases;

use std::sync::Arc;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use self::cases::cases;
use super::Fake;
use crate::backend::nft::Kernel;
use crate::backend::testing::in_namespace;
use crate::backend::{Error, Nftables, TableState};
use crate::model::IpFamily;
use crate::plan::nft::{
    Action, Base, ChainSpec, Data, DataKind, Element, Field, Hook, Key, Match, Op, Rule, SetId,
    SetName, SetSpec, Verdict,
};

const FAMILY: IpFamily = IpFamily::V4;

fn chain(name: &str, base: Option<Base>, rules: &[Action]) -> Arc<ChainSpec> {
    let rules = rules.iter().cloned().map(Rule::always).collect();
    Arc::new(ChainSpec {
        name: name.into(),
        base,
        rules,
    })
}

fn base(hook: Hook, priority: i32) -> Option<Base> {
    Some(Base { hook, priority })
}

fn add(name: &str) -> Op {
    Op::AddChain(chain(name, None, &[]))
}

fn rules(name: &str, actions: &[Action]) -> Op {
    Op::SetRules(chain(name, None, actions))
}

fn set(id: SetId) -> Op {
    Op::AddSet(Arc::new(id.spec()))
}

fn own(dynamic: bool, key: Vec<Field>) -> SetSpec {
    let dynamic = dynamic.then_some(100);
    SetSpec {
        name: clients(),
        key,
        data: DataKind::Address,
        interval: false,
        dynamic,
    }
}

fn clients() -> SetName {
    SetName::Own("clients".into())
}

fn vip(n: u8) -> Key {
    Key::EMPTY
        .address([10, 96, 0, n].into())
        .protocol_number(6)
        .port(80)
}

fn service(n: u8, verdict: Verdict) -> Element {
    Element {
        set: SetId::Services,
        key: vip(n),
        end: None,
        data: Data::Verdict(verdict),
    }
}

fn address(n: u8) -> Element {
    let key = Key::EMPTY.address([10, 96, 0, n].into());
    Element {
        set: SetId::ClusterIps,
        key,
        end: None,
        data: Data::None,
    }
}

/// 192.0.2.LOW to 192.0.2.HIGH may use a frontend.
fn range(low: u8, high: u8) -> Element {
    let key = |n| vip(1).address([192, 0, 2, n].into());
    let end = Some(Box::new(key(high)));
    Element {
        set: SetId::SourceRanges,
        key: key(low),
        end,
        data: Data::None,
    }
}

fn goto(name: &str) -> Action {
    Action::Goto(name.into())
}

fn jump(name: &str) -> Action {
    Action::Jump(name.into())
}

fn vmap() -> Action {
    Action::VerdictMap(SetId::Services.spec().key, SetId::Services.into())
}

fn update() -> Action {
    let data = vec![Field::Destination];
    Action::Update {
        set: clients(),
        key: vec![Field::Source],
        timeout: 9,
        data,
    }
}

/// What both start from.
fn given() -> Vec<Op> {
    vec![
        Op::AddTable,
        add("a"),
        add("b"),
        Op::AddChain(chain("pre", base(Hook::Prerouting, -100), &[])),
        Op::AddChain(chain("post", base(Hook::Postrouting, 100), &[])),
        set(SetId::Services),
        set(SetId::ClusterIps),
        set(SetId::SourceRanges),
        set(SetId::Endpoints),
        Op::AddSet(Arc::new(own(true, vec![Field::Source]))),
        Op::AddElement(service(1, Verdict::Goto("a".into()))),
        Op::AddElement(address(1)),
        Op::AddElement(range(64, 127)),
        rules("b", &[Action::Return]),
    ]
}

fn refusal(result: Result<crate::backend::Sent, Error>) -> (i32, String) {
    match result {
        Ok(_) => (0, String::new()),
        Err(Error::Refused {
            operation,
            object,
            errno,
            ..
        }) => (errno, format!("{operation} {object}")),
        Err(e) => panic!("{e}"),
    }
}

/// Everything that can be read, sorted.
fn all(kernel: &mut dyn Nftables) -> (Option<TableState>, Vec<Element>) {
    let mut elements = Vec::new();
    let mut state = kernel.read_table(FAMILY).unwrap();
    if let Some(state) = &mut state {
        state.chains.sort_by(|a, b| a.name.cmp(&b.name));
        state.sets.sort();
        for (name, _) in &state.sets {
            if let SetName::Fixed(id) = name {
                elements.extend(kernel.read_elements(FAMILY, *id).unwrap());
            }
        }
    }
    elements.sort();
    (state, elements)
}

#[test]
fn the_fake_refuses_what_the_table_says() {
    for (name, ops, errno) in cases() {
        let mut fake = Fake::default();
        fake.commit(FAMILY, &given()).unwrap();
        let before = all(&mut fake);
        assert_eq!(refusal(fake.commit(FAMILY, &ops)).0, errno, "{name}");
        if errno != 0 {
            assert_eq!(all(&mut fake), before, "{name}");
        }
    }
}

#[test]
fn the_kernel_refuses_the_same_and_names_the_same() {
    in_namespace(|| {
        let mut kernel = Kernel::open().unwrap();
        let mut wrong = Vec::new();
        for (name, ops, errno) in cases() {
            let mut fake = Fake::default();
            fake.commit(FAMILY, &given()).unwrap();
            kernel.commit(FAMILY, &given()).unwrap();
            let of_fake = refusal(fake.commit(FAMILY, &ops));
            let of_kernel = refusal(kernel.commit(FAMILY, &ops));
            let same = of_fake == of_kernel || of_fake == (errno, "commit table ip ferrule".into());
            if of_kernel.0 != errno || !same {
                wrong.push(format!(
                    "{name}: table {errno}, {of_kernel:?}, fake {of_fake:?}"
                ));
            }
            let (mut ours, mut theirs) = (all(&mut fake), all(&mut kernel));
            // Kernels differ in whether a set takes another size (Linux 6.3), with which a Service's
            // own set is another one.
            for state in [&mut ours.0, &mut theirs.0].into_iter().flatten() {
                let own = |(name, _): &&mut (SetName, _)| matches!(name, SetName::Own(_));
                state
                    .sets
                    .iter_mut()
                    .filter(own)
                    .for_each(|(_, print)| *print = None);
            }
            if ours != theirs {
                wrong.push(format!("{name}: {ours:?}\n{theirs:?}"));
            }
            kernel
                .commit(FAMILY, &[Op::AddTable, Op::DeleteTable])
                .unwrap();
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

/// Operations of a small world, most of them possible.
fn any_op() -> impl Strategy<Value = Op> {
    let name = || prop_oneof![Just("a"), Just("b"), Just("c"), Just("pre"), Just("post")];
    let plain = || prop_oneof![4 => Just("a"), 4 => Just("b"), 2 => Just("c"), 1 => Just("pre")];
    let id = || {
        prop_oneof![
            Just(SetId::Services),
            Just(SetId::ClusterIps),
            Just(SetId::SourceRanges),
            Just(SetId::Endpoints)
        ]
    };
    let verdict = prop_oneof![
        Just(Verdict::Drop),
        plain().prop_map(|c| Verdict::Goto(c.into())),
        plain().prop_map(|c| Verdict::Jump(c.into())),
    ];
    // The halves, quarters and so on of a /24.
    let prefix = (0..3u32, 0..4u32).prop_map(|(halvings, place)| {
        let size = 256 >> halvings;
        let low = place * size % 256;
        range(low as u8, (low + size - 1) as u8)
    });
    let element = || {
        prop_oneof![
            (0..4u8, verdict.clone()).prop_map(|(n, v)| service(n, v)),
            (0..4u8).prop_map(address),
            prefix.clone(),
        ]
    };
    let action = prop_oneof![
        Just(Action::Return),
        Just(Action::Reject),
        Just(Action::Masquerade),
        Just(vmap()),
        Just(update()),
        plain().prop_map(goto),
        plain().prop_map(jump),
        Just(Action::Dnat(
            SetId::Endpoints.spec().key,
            SetId::Endpoints.into()
        )),
    ];
    let member = Match::InSet(SetId::ClusterIps.spec().key, SetId::ClusterIps.into());
    let rule = (action, any::<bool>()).prop_map(move |(action, member_of)| {
        Rule::when(
            member_of
                .then(|| member.clone())
                .into_iter()
                .collect::<Vec<_>>(),
            action,
        )
    });
    let filled = (name(), proptest::collection::vec(rule, 0..3)).prop_map(|(name, rules)| {
        Op::SetRules(Arc::new(ChainSpec {
            name: name.into(),
            base: None,
            rules,
        }))
    });
    prop_oneof![
        2 => name().prop_map(add),
        6 => filled,
        2 => name().prop_map(|c| Op::DeleteChain(c.into())),
        2 => id().prop_map(set),
        1 => id().prop_map(|s| Op::DeleteSet(s.into())),
        1 => Just(Op::DeleteSet(clients())),
        8 => element().prop_map(Op::AddElement),
        6 => element().prop_map(Op::DeleteElement),
        1 => (0..3u8).prop_map(|n| Op::Forget(clients(), address(n).key)),
        1 => Just(Op::AddTable),
    ]
}

/// Each commit of a sequence: both do it or both refuse it for the same reason, and both hold the
/// same afterwards.
#[test]
fn random_sequences_give_the_same_in_both() {
    in_namespace(|| {
        let mut runner = TestRunner::deterministic();
        let commits = proptest::collection::vec(proptest::collection::vec(any_op(), 1..5), 1..15);
        let mut kernel = Kernel::open().unwrap();
        let mut outcomes = std::collections::BTreeMap::new();
        for round in 0..60 {
            let mut fake = Fake::default();
            fake.commit(FAMILY, &given()).unwrap();
            kernel.commit(FAMILY, &given()).unwrap();
            for ops in commits.new_tree(&mut runner).unwrap().current() {
                let (errno, what) = refusal(fake.commit(FAMILY, &ops));
                let (expected, truth) = refusal(kernel.commit(FAMILY, &ops));
                let same = what == truth || what == "commit table ip ferrule";
                assert!(
                    errno == expected && same,
                    "round {round}, {ops:#?}: {expected} {truth}, fake {errno} {what}"
                );
                assert_eq!(all(&mut fake), all(&mut kernel), "round {round}, {ops:#?}");
                *outcomes.entry(errno).or_insert(0) += 1;
            }
            kernel
                .commit(FAMILY, &[Op::AddTable, Op::DeleteTable])
                .unwrap();
        }
        println!("commits by errno: {outcomes:?}");
        assert!(outcomes.len() > 4 && outcomes[&0] > 50, "{outcomes:?}");
    });
}

#[test]
fn clients_are_learnt_and_forgotten() {
    let mut fake = Fake::default();
    fake.commit(FAMILY, &given()).unwrap();
    let (client, first, second) = (address(1).key, [10, 0, 0, 1].into(), [10, 0, 0, 2].into());
    fake.learn(FAMILY, &clients(), client, first);
    fake.learn(FAMILY, &clients(), client, second);
    assert_eq!(
        fake.read_clients(FAMILY, &clients()).unwrap(),
        [(client, first)]
    );
    fake.commit(FAMILY, &[Op::Forget(clients(), client)])
        .unwrap();
    assert_eq!(fake.read_clients(FAMILY, &clients()).unwrap(), []);
}

#[test]
fn a_commit_can_be_made_to_fail_once() {
    let mut fake = Fake::default();
    fake.refuse(nix::libc::EPERM);
    assert_eq!(refusal(fake.commit(FAMILY, &given())).0, nix::libc::EPERM);
    assert_eq!(fake.generation(), 0);
    fake.commit(FAMILY, &given()).unwrap();
    assert_eq!(fake.generation(), 1);
}

/// As with the kernel, a set that is not there is an error and not an empty one.
#[test]
fn both_refuse_to_read_a_set_that_is_not_there() {
    in_namespace(|| {
        let mut kernel = Kernel::open().unwrap();
        for kernel in [&mut kernel as &mut dyn Nftables, &mut Fake::default()] {
            let error = kernel.read_elements(FAMILY, SetId::Services).unwrap_err();
            assert_eq!(error.errno(), Some(nix::libc::ENOENT), "{error}");
            assert!(error.to_string().contains("ip ferrule services"), "{error}");
        }
    });
}
