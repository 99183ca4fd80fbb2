// SPDX-License-Identifier: Apache-2.0
//! The error table.

use std::sync::Arc;

use nix::libc::{EBUSY, EEXIST, EINVAL, EMLINK, ENODATA, ENOENT, EOPNOTSUPP};

use super::{
    add, address, base, chain, clients, goto, jump, own, range, rules, service, set, update, vip,
    vmap,
};
use crate::plan::nft::{
    Action, ChainSpec, Data, Element, Field, Hook, Key, Match, Op, Rule, SetId, SetName, SetSpec,
    Verdict,
};

/// Name, operations, and the error number that they give; 0 for none.
pub(super) type Case = (&'static str, Vec<Op>, i32);

/// Everything that the kernel refuses, and some that it does not (0).
#[expect(clippy::too_many_lines, reason = "a table")]
pub(super) fn cases() -> Vec<Case> {
    let to_a = Verdict::Goto("a".into());
    let mut cases = objects();
    cases.extend(rule_cases());
    cases.extend([
        (
            "element again",
            vec![Op::AddElement(service(1, to_a.clone()))],
            0,
        ),
        (
            "element with other verdict",
            vec![Op::AddElement(service(1, Verdict::Drop))],
            EEXIST,
        ),
        (
            "element with other chain",
            vec![Op::AddElement(service(1, Verdict::Goto("b".into())))],
            EEXIST,
        ),
        (
            "jump for goto",
            vec![Op::AddElement(service(1, Verdict::Jump("a".into())))],
            EEXIST,
        ),
        (
            "element to no chain",
            vec![Op::AddElement(service(2, Verdict::Goto("nowhere".into())))],
            ENOENT,
        ),
        (
            "element to a base chain",
            vec![Op::AddElement(service(2, Verdict::Goto("pre".into())))],
            EOPNOTSUPP,
        ),
        (
            "verdict for a target",
            vec![Op::AddElement(Element {
                data: Data::Target([10, 0, 0, 1].into(), 80),
                ..service(2, to_a.clone())
            })],
            EINVAL,
        ),
        (
            "data for a set",
            vec![Op::AddElement(Element {
                data: Data::Verdict(Verdict::Drop),
                ..address(2)
            })],
            EINVAL,
        ),
        (
            "nothing for a map",
            vec![Op::AddElement(Element {
                data: Data::None,
                ..service(2, to_a.clone())
            })],
            EINVAL,
        ),
        (
            "element of no set",
            vec![
                Op::DeleteSet(SetId::ClusterIps.into()),
                Op::AddElement(address(2)),
            ],
            ENOENT,
        ),
        (
            "missing element gone",
            vec![Op::DeleteElement(address(2))],
            ENOENT,
        ),
        (
            "deletion whatever the data",
            vec![
                Op::DeleteElement(service(1, Verdict::Drop)),
                Op::DeleteChain("a".into()),
            ],
            0,
        ),
        (
            "element replaced",
            vec![
                Op::DeleteElement(service(1, to_a.clone())),
                Op::AddElement(service(1, Verdict::Drop)),
            ],
            0,
        ),
        (
            "deleted twice",
            vec![Op::DeleteElement(address(1)), Op::DeleteElement(address(1))],
            ENOENT,
        ),
        ("range again", vec![Op::AddElement(range(64, 127))], 0),
        ("range inside", vec![Op::AddElement(range(96, 127))], EEXIST),
        ("range around", vec![Op::AddElement(range(0, 255))], 0),
        ("range beside", vec![Op::AddElement(range(128, 255))], 0),
        ("range gone", vec![Op::DeleteElement(range(64, 127))], 0),
        (
            "other range gone",
            vec![Op::DeleteElement(range(128, 255))],
            ENOENT,
        ),
        (
            "range around gone",
            vec![Op::DeleteElement(range(0, 255))],
            ENOENT,
        ),
        (
            "forget nobody",
            vec![Op::Forget(clients(), Key::EMPTY.port(1))],
            0,
        ),
        (
            "forget in no set",
            vec![Op::Forget(SetName::Own("x".into()), vip(1))],
            ENOENT,
        ),
    ]);
    cases
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn objects() -> Vec<Case> {
    let services = SetName::from(SetId::Services);
    let chain_with = |b| Op::AddChain(chain("pre", b, &[]));
    let long = "x".repeat(300);
    vec![
        ("table again", vec![Op::AddTable], 0),
        ("table gone", vec![Op::DeleteTable], 0),
        (
            "table gone twice",
            vec![Op::DeleteTable, Op::DeleteTable],
            ENOENT,
        ),
        (
            "table gone, chain added",
            vec![Op::DeleteTable, add("c")],
            ENOENT,
        ),
        (
            "table replaced",
            vec![Op::DeleteTable, Op::AddTable, add("a")],
            0,
        ),
        ("chain again", vec![add("a")], 0),
        ("plain for base chain", vec![add("pre")], 0),
        (
            "base chain again",
            vec![chain_with(base(Hook::Prerouting, -100))],
            0,
        ),
        (
            "other priority",
            vec![chain_with(base(Hook::Prerouting, -99))],
            EOPNOTSUPP,
        ),
        (
            "other hook",
            vec![chain_with(base(Hook::Output, -100))],
            EOPNOTSUPP,
        ),
        (
            "base for plain chain",
            vec![Op::AddChain(chain("a", base(Hook::Input, 0), &[]))],
            EOPNOTSUPP,
        ),
        (
            "too early",
            vec![Op::AddChain(chain("c", base(Hook::Input, -200), &[]))],
            EOPNOTSUPP,
        ),
        (
            "early enough",
            vec![Op::AddChain(chain("c", base(Hook::Input, -199), &[]))],
            0,
        ),
        ("long name", vec![add(&long)], nix::libc::ERANGE),
        (
            "missing chain gone",
            vec![Op::DeleteChain("c".into())],
            ENOENT,
        ),
        (
            "chain of an element gone",
            vec![Op::DeleteChain("a".into())],
            EBUSY,
        ),
        (
            "chain with rules gone",
            vec![Op::DeleteChain("b".into())],
            0,
        ),
        ("base chain gone", vec![Op::DeleteChain("pre".into())], 0),
        (
            "chain of a rule gone",
            vec![rules("a", &[jump("b")]), Op::DeleteChain("b".into())],
            EBUSY,
        ),
        (
            "rule taken away, chain gone",
            vec![
                rules("a", &[jump("b")]),
                rules("a", &[]),
                Op::DeleteChain("b".into()),
            ],
            0,
        ),
        (
            "map gone, chain gone",
            vec![Op::DeleteSet(services.clone()), Op::DeleteChain("a".into())],
            0,
        ),
        ("set again", vec![set(SetId::Services)], 0),
        (
            "missing set gone",
            vec![Op::DeleteSet(SetName::Own("x".into()))],
            ENOENT,
        ),
        (
            "set of a rule gone",
            vec![rules("b", &[vmap()]), Op::DeleteSet(services)],
            EBUSY,
        ),
        (
            "same types",
            vec![Op::AddSet(Arc::new(own(true, vec![Field::Destination])))],
            0,
        ),
        (
            "other types",
            vec![Op::AddSet(Arc::new(own(true, vec![Field::Port])))],
            EEXIST,
        ),
        (
            "other flags",
            vec![Op::AddSet(Arc::new(own(false, vec![Field::Source])))],
            EEXIST,
        ),
        (
            "other size",
            vec![Op::AddSet(Arc::new(SetSpec {
                dynamic: Some(7),
                ..own(true, vec![Field::Source])
            }))],
            0,
        ),
    ]
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn rule_cases() -> Vec<Case> {
    let dnat = |set: SetId| Action::Dnat(SetId::Endpoints.spec().key, set.into());
    let nowhere = || SetName::Own("x".into());
    let member = |set: SetName| {
        let rule = Rule::when(
            [Match::InSet(SetId::Services.spec().key, set)],
            Action::Accept,
        );
        Op::SetRules(Arc::new(ChainSpec {
            name: "b".into(),
            base: None,
            rules: vec![rule],
        }))
    };
    let deep = |n: usize| -> Vec<Op> {
        let name = |i: usize| format!("c{i}");
        let mut ops: Vec<Op> = (0..n).map(|i| add(&name(i))).collect();
        ops.extend((1..n).map(|i| rules(&name(i - 1), &[jump(&name(i))])));
        ops.push(rules("pre", &[jump("c0")]));
        ops
    };
    vec![
        ("rules of no chain", vec![rules("c", &[])], ENOENT),
        ("goto nowhere", vec![rules("b", &[goto("c")])], ENOENT),
        (
            "goto a base chain",
            vec![rules("b", &[goto("pre")])],
            EOPNOTSUPP,
        ),
        ("no such set", vec![member(nowhere())], ENOENT),
        ("a map as a set", vec![member(SetId::Services.into())], 0),
        (
            "no such map",
            vec![rules("b", &[Action::Dnat(vec![], nowhere())])],
            ENOENT,
        ),
        (
            "a set as a map",
            vec![rules("b", &[dnat(SetId::ClusterIps)])],
            EINVAL,
        ),
        (
            "verdicts as targets",
            vec![rules("b", &[dnat(SetId::Services)])],
            EINVAL,
        ),
        (
            "targets as verdicts",
            vec![rules(
                "b",
                &[Action::VerdictMap(
                    SetId::Endpoints.spec().key,
                    SetId::Endpoints.into(),
                )],
            )],
            EINVAL,
        ),
        (
            "a key too short",
            vec![rules(
                "b",
                &[Action::VerdictMap(
                    vec![Field::Source],
                    SetId::Services.into(),
                )],
            )],
            ENODATA,
        ),
        ("update", vec![rules("b", &[update()])], 0),
        (
            "update of a set that packets may not fill",
            vec![
                Op::DeleteSet(clients()),
                Op::AddSet(Arc::new(own(false, vec![Field::Source]))),
                rules("b", &[update()]),
            ],
            EOPNOTSUPP,
        ),
        (
            "masquerade before routing",
            vec![rules("pre", &[Action::Masquerade])],
            EOPNOTSUPP,
        ),
        (
            "masquerade after routing",
            vec![rules("post", &[Action::Masquerade])],
            0,
        ),
        (
            "masquerade anywhere",
            vec![rules("b", &[Action::Masquerade])],
            0,
        ),
        (
            "masquerade by way of another chain",
            vec![
                rules("b", &[Action::Masquerade]),
                rules("pre", &[jump("b")]),
            ],
            EOPNOTSUPP,
        ),
        (
            "masquerade by way of a map",
            vec![rules("a", &[Action::Masquerade]), rules("pre", &[vmap()])],
            EOPNOTSUPP,
        ),
        (
            "reject after routing",
            vec![rules("post", &[Action::Reject])],
            EOPNOTSUPP,
        ),
        (
            "reject before routing",
            vec![rules("pre", &[Action::Reject])],
            0,
        ),
        (
            "translation after routing",
            vec![rules("post", &[dnat(SetId::Endpoints)])],
            EOPNOTSUPP,
        ),
        (
            "translation before routing",
            vec![rules("pre", &[dnat(SetId::Endpoints)])],
            0,
        ),
        (
            "a loop",
            vec![rules("b", &[jump("b")]), rules("pre", &[jump("b")])],
            EMLINK,
        ),
        (
            "a loop that nothing enters",
            vec![rules("b", &[jump("b")])],
            0,
        ),
        (
            "a loop by way of a map",
            vec![rules("a", &[vmap()]), rules("pre", &[vmap()])],
            EMLINK,
        ),
        ("15 deep", deep(15), 0),
        ("16 deep", deep(16), EMLINK),
        (
            "a second of two rules",
            vec![rules("b", &[Action::Accept, goto("c")])],
            ENOENT,
        ),
    ]
}
