// SPDX-License-Identifier: Apache-2.0
//! From whatever the kernel holds to the ledger's sum, for a start and after a failed commit.
//!
//! A restart with nothing changed gives no operation at all. A cold start is cut into commits that
//! each leave a consistent table: base chains come last, so nothing is half served.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::change::Change;
use super::ledger::Ledger;
use super::nft::{
    Base, ChainName, ChainSpec, Element, Key, Op, SetId, SetName, SetSpec, Transaction,
};

/// The most operations of one commit at a cold start (a commit holds the kernel's nfnetlink lock).
const CHUNK: usize = 8_192;

/// Our table as it was found, without elements. Fingerprints stand for definitions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found {
    /// Chains: what kind, and the fingerprints of their rules.
    pub chains: HashMap<ChainName, (Option<Base>, Vec<Option<u64>>)>,
    /// Sets and maps: the fingerprint of each definition.
    pub sets: HashMap<SetName, Option<u64>>,
}

/// Computes fingerprints as the backend stores them.
pub trait Fingerprints {
    /// Of a rule.
    fn rule(&self, rule: &super::nft::Rule) -> u64;
    /// Of a set's definition.
    fn set(&self, set: &SetSpec) -> u64;
}

/// The commits, in order, that fill an empty kernel. With `replace`, the old table goes in the
/// same commit that the new one appears in, so that there is no moment without.
pub fn from_nothing(ledger: &Ledger, replace: bool) -> Vec<Vec<Op>> {
    let (base, plain): (Vec<_>, Vec<_>) = ledger.chains().cloned().partition(|c| c.base.is_some());
    let mut start = Vec::new();
    if replace {
        start.push(Op::DeleteTable);
    }
    start.push(Op::AddTable);
    start.extend(ledger.sets().map(Op::AddSet));
    start.extend(chains(plain));
    let elements = SetId::ALL
        .into_iter()
        .flat_map(|set| ledger.elements_of(set));
    let mut elements = elements.map(|e| Op::AddElement(e.clone())).peekable();
    let mut commits = vec![start];
    if replace {
        commits[0].extend(elements.by_ref());
    }
    while elements.peek().is_some() {
        commits.push(elements.by_ref().take(CHUNK).collect());
    }
    let end = chains(base);
    match replace {
        true => commits[0].extend(end),
        false => commits.push(end.collect()),
    }
    commits
}

fn chains(mut chains: Vec<Arc<ChainSpec>>) -> impl Iterator<Item = Op> {
    chains.sort_by(|a, b| a.name.cmp(&b.name));
    let rules: Vec<Op> = chains.iter().cloned().map(Op::SetRules).collect();
    chains.into_iter().map(Op::AddChain).chain(rules)
}

/// What has to be done with chains and sets, or nothing if the table found is so different that
/// it has to be replaced: another definition of a set or hook can't be changed in place.
pub fn structure(ledger: &Ledger, found: &Found, prints: &dyn Fingerprints) -> Option<Change> {
    let mut change = Change::default();
    let mut unknown_sets = found.sets.clone();
    for set in ledger.sets() {
        match unknown_sets.remove(&set.name) {
            None if matches!(set.name, SetName::Fixed(_)) => return None,
            None => change.set(None, Some(&set)),
            Some(print) if print != Some(prints.set(&set)) => return None,
            Some(_) => {}
        }
    }
    let mut unknown_chains = found.chains.clone();
    for chain in ledger.chains() {
        match unknown_chains.remove(&chain.name) {
            None if chain.base.is_some() => return None,
            None => change.chain(None, Some(chain)),
            Some((base, _)) if base != chain.base => return None,
            Some((_, rules)) => {
                let wanted = chain.rules.iter().map(|r| Some(prints.rule(r)));
                if !wanted.eq(rules) {
                    change.chain(Some(&stand_in(&chain.name)), Some(chain));
                }
            }
        }
    }
    for name in unknown_chains.keys() {
        change.chain(Some(&stand_in(name)), None);
    }
    for name in unknown_sets.keys() {
        let spec = SetSpec {
            name: name.clone(),
            key: vec![],
            data: super::nft::DataKind::None,
            interval: false,
            dynamic: None,
        };
        change.set(Some(&Arc::new(spec)), None);
    }
    Some(change)
}

/// A chain of that name with other rules than any of ours.
fn stand_in(name: &ChainName) -> Arc<ChainSpec> {
    Arc::new(ChainSpec {
        name: name.clone(),
        base: None,
        rules: Vec::new(),
    })
}

/// Notes what differs between a set's elements as wanted and as found.
pub fn elements(ledger: &Ledger, set: SetId, found: &[Element], change: &mut Change) {
    let mut found: BTreeMap<Key, &Element> = found.iter().map(|e| (e.key, e)).collect();
    for wanted in ledger.elements_of(set) {
        let there = found.remove(&wanted.key);
        if there != Some(wanted) {
            change.element(there, Some(wanted));
        }
    }
    found
        .values()
        .for_each(|gone| change.element(Some(gone), None));
}

/// Cuts a large transaction into commits; a small one stays whole. An element's removal and
/// addition stay together.
pub fn commits(tx: Transaction) -> Vec<Vec<Op>> {
    let mut commits: Vec<Vec<Op>> = Vec::new();
    for ops in [tx.ops, tx.later] {
        let mut current = Vec::new();
        for op in ops {
            let pair = matches!((current.last(), &op),
                (Some(Op::DeleteElement(old)), Op::AddElement(new)) if old.key == new.key);
            if current.len() >= CHUNK && !pair {
                commits.push(std::mem::take(&mut current));
            }
            current.push(op);
        }
        if !current.is_empty() {
            commits.push(current);
        }
    }
    commits
}
