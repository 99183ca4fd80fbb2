// SPDX-License-Identifier: Apache-2.0
//! What was written comes back, and what it cost.

use std::sync::Arc;
use std::time::Instant;

use super::samples::rules;
use super::samples::{address, affinity, base_chains, chain, element, elements, everything, sets};
use super::{has_nft, nft};
use crate::backend::nft::Kernel;
use crate::backend::testing::in_namespace;
use crate::backend::{Error, Nftables, Sent};
use crate::model::{IpFamily, Protocol};
use crate::plan::nft::{
    Action, ChainSpec, Data, Element, Key, Op, Rule, SetId, SetName, Verdict, rule_fingerprint,
    set_fingerprint, text,
};

#[test]
fn what_was_written_comes_back() {
    in_namespace(|| {
        let mut kernel = Kernel::open().unwrap();
        for family in IpFamily::ALL {
            assert_eq!(kernel.read_table(family).unwrap(), None);
            let cases = rules(family);
            let only: Vec<Rule> = cases.into_iter().map(|c| c.0).collect();
            let ops = everything(family, &only);
            kernel.commit(family, &ops).unwrap();
            let table = kernel.read_table(family).unwrap().unwrap();
            let mut names: Vec<_> = table.sets.clone();
            names.sort();
            let mut expected: Vec<_> = sets()
                .iter()
                .map(|s| (s.name.clone(), Some(set_fingerprint(s, family))))
                .collect();
            expected.sort();
            assert_eq!(names, expected);
            let specs: Vec<&Arc<ChainSpec>> = ops
                .iter()
                .filter_map(|op| {
                    if let Op::SetRules(spec) = op {
                        Some(spec)
                    } else {
                        None
                    }
                })
                .collect();
            assert_eq!(table.chains.len(), specs.len());
            for spec in specs {
                let found = table.chains.iter().find(|c| c.name == spec.name).unwrap();
                assert_eq!(found.base, spec.base, "{}", spec.name);
                let expected: Vec<_> = spec
                    .rules
                    .iter()
                    .map(|r| Some(rule_fingerprint(r, family)))
                    .collect();
                assert_eq!(found.rules, expected, "{}", spec.name);
            }
            for set in SetId::ALL {
                let mut found = kernel.read_elements(family, set).unwrap();
                found.sort();
                let mut expected: Vec<Element> = elements(family)
                    .into_iter()
                    .filter(|e| e.set == set)
                    .collect();
                expected.sort();
                assert_eq!(found, expected);
            }
            assert_eq!(kernel.read_clients(family, &affinity()).unwrap(), []);
        }
        for family in IpFamily::ALL {
            kernel.commit(family, &[Op::DeleteTable]).unwrap();
            assert_eq!(kernel.read_table(family).unwrap(), None);
        }
    });
}

#[test]
fn foreign_rules_and_sets_come_back_without_fingerprint() {
    in_namespace(|| {
        if !has_nft() {
            return;
        }
        let mut kernel = Kernel::open().unwrap();
        kernel
            .commit(IpFamily::V4, &everything(IpFamily::V4, &[]))
            .unwrap();
        nft(
            "nft",
            &["-f", "-"],
            "add rule ip ferrule other accept comment \"not ours\"\n\
             add set ip ferrule foreign { type ipv4_addr; }\n\
             add rule ip ferrule other ip saddr { 192.0.2.1, 192.0.2.2 } accept\n\
             add table ip6 ferrule\nadd table ip another\nadd chain ip another other\n\
             add rule ip another other accept",
        );
        let table = kernel.read_table(IpFamily::V4).unwrap().unwrap();
        let other = table
            .chains
            .iter()
            .find(|c| c.name.as_str() == "other")
            .unwrap();
        assert_eq!(other.rules, [None, None]);
        assert_eq!(table.sets.len(), sets().len() + 1);
        assert!(table.sets.contains(&(SetName::Own("foreign".into()), None)));
        let empty = kernel.read_table(IpFamily::V6).unwrap().unwrap();
        assert!(empty.chains.is_empty() && empty.sets.is_empty());
    });
}

/// Adds clients as packets would, but with nft.
fn learn(set: &str, clients: &[&str]) {
    let elements: Vec<String> = clients
        .iter()
        .map(|c| format!("{c} timeout 1h : 10.0.0.9"))
        .collect();
    nft(
        "nft",
        &["-f", "-"],
        &format!("add element ip ferrule {set} {{ {} }}", elements.join(",")),
    );
}

fn forgets(destroy: bool) {
    let mut kernel = Kernel::open().unwrap();
    kernel.destroy = destroy;
    kernel
        .commit(IpFamily::V4, &everything(IpFamily::V4, &[]))
        .unwrap();
    learn(
        "affinity-default/login/http",
        &["192.0.2.1", "192.0.2.2", "192.0.2.3"],
    );
    let key = |n: u8| Key::EMPTY.address([192, 0, 2, n].into());
    let mut found = kernel.read_clients(IpFamily::V4, &affinity()).unwrap();
    found.sort();
    let endpoint = [10, 0, 0, 9].into();
    assert_eq!(found, [1, 2, 3].map(|n| (key(n), endpoint)));

    let forget = |n| Op::Forget(affinity(), key(n));
    let added = element(IpFamily::V4, SetId::ClusterIps, 9);
    let ops = [
        forget(1),
        forget(77),
        Op::AddElement(added.clone()),
        forget(3),
    ];
    kernel.commit(IpFamily::V4, &ops).unwrap();
    let left = kernel.read_clients(IpFamily::V4, &affinity()).unwrap();
    assert_eq!(left, [(key(2), endpoint)]);
    assert!(
        kernel
            .read_elements(IpFamily::V4, SetId::ClusterIps)
            .unwrap()
            .contains(&added)
    );
    assert_eq!(kernel.destroy, destroy);
}

#[test]
fn clients_are_forgotten_whether_they_are_there_or_not() {
    for destroy in [true, false] {
        in_namespace(move || {
            if has_nft() {
                forgets(destroy);
            }
        });
    }
}

#[test]
fn reading_leaves_the_generation_and_a_commit_raises_it() {
    in_namespace(|| {
        let mut kernel = Kernel::open().unwrap();
        let first = kernel.generation().unwrap();
        kernel
            .commit(IpFamily::V4, &everything(IpFamily::V4, &[]))
            .unwrap();
        let second = kernel.generation().unwrap();
        assert_eq!(second, first + 1);
        kernel.read_table(IpFamily::V4).unwrap();
        kernel.read_elements(IpFamily::V4, SetId::Services).unwrap();
        assert_eq!(kernel.commit(IpFamily::V4, &[]).unwrap(), Sent::default());
        kernel
            .commit(IpFamily::V4, &[Op::DeleteSet(SetName::Own("none".into()))])
            .unwrap_err();
        assert_eq!(kernel.generation().unwrap(), second);
    });
}

#[test]
fn an_error_names_the_element_that_the_kernel_refused() {
    in_namespace(|| {
        let mut kernel = Kernel::open().unwrap();
        kernel
            .commit(IpFamily::V6, &everything(IpFamily::V6, &[]))
            .unwrap();
        let mut ops: Vec<Op> = (10..1000)
            .map(|n| Op::AddElement(element(IpFamily::V6, SetId::Services, n)))
            .collect();
        let Op::AddElement(bad) = &mut ops[700] else {
            unreachable!()
        };
        bad.data = Data::Verdict(Verdict::Goto("nowhere".into()));
        let expected = text::element(bad, IpFamily::V6);
        let error = kernel.commit(IpFamily::V6, &ops).unwrap_err();
        let Error::Refused {
            operation,
            object,
            errno,
            ..
        } = &error
        else {
            panic!("{error}")
        };
        assert_eq!(*operation, "add element");
        assert_eq!(*object, format!("ip6 ferrule services {{ {expected} }}"));
        assert_eq!(*errno, nix::libc::ENOENT);
        assert_eq!(
            kernel
                .read_elements(IpFamily::V6, SetId::Services)
                .unwrap()
                .len(),
            3
        );
    });
}

#[test]
fn an_error_names_the_rule_that_the_kernel_refused() {
    in_namespace(|| {
        let mut kernel = Kernel::open().unwrap();
        kernel
            .commit(IpFamily::V4, &everything(IpFamily::V4, &[]))
            .unwrap();
        let rules = vec![
            Rule::always(Action::Return),
            Rule::always(Action::Goto("nowhere".into())),
        ];
        let error = kernel
            .commit(IpFamily::V4, &[Op::SetRules(chain("other", None, rules))])
            .unwrap_err();
        let expected = "add rule ip ferrule other goto nowhere: No such file or directory";
        assert!(error.to_string().starts_with(expected), "{error}");
    });
}

/// 100,000 endpoints: what it takes is printed, and asserted only so far as machines do not matter.
#[test]
fn a_hundred_thousand_elements_go_in_one_batch() {
    in_namespace(|| {
        let mut kernel = Kernel::open().unwrap();
        for family in IpFamily::ALL {
            kernel.commit(family, &everything(family, &[])).unwrap();
            let ops: Vec<Op> = (0..100_000)
                .map(|n| Op::AddElement(endpoint(family, n)))
                .collect();
            let started = Instant::now();
            let sent = kernel.commit(family, &ops).unwrap();
            let written = started.elapsed();
            let found = kernel
                .read_elements(family, SetId::Endpoints)
                .unwrap()
                .len();
            let read = started.elapsed() - written;
            println!("{family}: {sent:?} written in {written:?}, read in {read:?}");
            assert_eq!(sent.elements, 100_000);
            assert!(
                sent.messages * 32 * 1024 < sent.bytes + 32 * 1024 * 2,
                "{sent:?}"
            );
            assert_eq!(found, 100_003);

            let old = endpoint(family, 500);
            let new = Element {
                data: Data::Target(address(family, 1), 80),
                ..old.clone()
            };
            let started = Instant::now();
            let ops = [Op::DeleteElement(old), Op::AddElement(new)];
            let sent = kernel.commit(family, &ops).unwrap();
            println!(
                "{family}: {sent:?} to replace one in {:?}",
                started.elapsed()
            );
            assert_eq!((sent.messages, sent.elements), (2, 2));
        }
    });
}

fn endpoint(family: IpFamily, n: u32) -> Element {
    let key = Key::EMPTY
        .address(address(family, 1000 + n / 10))
        .protocol(Protocol::Tcp)
        .port(80)
        .index(n % 10);
    let data = Data::Target(address(family, n), 8080);
    Element {
        set: SetId::Endpoints,
        key,
        end: None,
        data,
    }
}

#[test]
fn base_chains_stay_when_everything_else_goes() {
    in_namespace(|| {
        let mut kernel = Kernel::open().unwrap();
        let family = IpFamily::V4;
        kernel.commit(family, &everything(family, &[])).unwrap();
        let mut ops: Vec<Op> = base_chains()
            .iter()
            .map(|c| Op::SetRules(chain(c.name.as_str(), c.base, Vec::new())))
            .collect();
        ops.extend(elements(family).into_iter().map(Op::DeleteElement));
        ops.push(Op::DeleteChain("other".into()));
        ops.extend(sets().into_iter().map(|s| Op::DeleteSet(s.name)));
        kernel.commit(family, &ops).unwrap();
        let table = kernel.read_table(family).unwrap().unwrap();
        assert_eq!((table.chains.len(), table.sets.len()), (5, 0));
    });
}
