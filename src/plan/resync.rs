// SPDX-License-Identifier: Apache-2.0
//! From whatever the kernel holds to the ledger's sum, for a start and after a failed commit.
//!
//! A restart with nothing changed gives no operation at all. A cold start is cut into commits that
//! each leave a consistent table: base chains come last, so nothing is half served.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::change::Change;
use super::ledger::Ledger;
use super::nft::{
    Action, ChainName, ChainSpec, ChainState, DataKind, Element, Key, Op, Rule, SetId, SetName,
    SetSpec, TableState, Transaction, rule_fingerprint, set_fingerprint,
};
use crate::model::IpFamily;

/// The most operations of one commit at a cold start (a commit holds the kernel's nfnetlink lock).
const CHUNK: usize = 8_192;

/// The most elements that are looked at one by one; more, and their sets are read.
const SINGLE: usize = 32;

/// Which elements in the kernel may not be as we left them. Chains, rules and sets are few, and
/// always looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Doubt {
    /// Any.
    All,
    /// Those of these sets, and these.
    Of(BTreeSet<SetId>, BTreeSet<(SetId, Key)>),
}

/// How a set is to be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// Not at all.
    No,
    /// At these keys.
    At(Vec<Key>),
    /// All of it.
    Whole,
}

impl Doubt {
    /// None.
    pub fn none() -> Self {
        Doubt::Of(BTreeSet::new(), BTreeSet::new())
    }

    /// All elements of a set.
    pub fn set(set: SetId) -> Self {
        Doubt::Of(BTreeSet::from([set]), BTreeSet::new())
    }

    /// One element. Elements of a set of ranges are known by both ends, so there it is all.
    pub fn element(set: SetId, key: Key) -> Self {
        match set {
            SetId::SourceRanges => Self::set(set),
            _ => Doubt::Of(BTreeSet::new(), BTreeSet::from([(set, key)])),
        }
    }

    /// Both together.
    pub fn add(&mut self, other: Doubt) {
        match (&mut *self, other) {
            (Doubt::Of(sets, elements), Doubt::Of(more_sets, more_elements)) => {
                sets.extend(more_sets);
                elements.extend(more_elements);
                if elements.len() > SINGLE {
                    sets.extend(std::mem::take(elements).into_iter().map(|(set, _)| set));
                }
            }
            (all, _) => *all = Doubt::All,
        }
    }

    /// How to look at a set.
    pub fn look(&self, set: SetId) -> Look {
        match self {
            Doubt::All => Look::Whole,
            Doubt::Of(sets, _) if sets.contains(&set) => Look::Whole,
            Doubt::Of(_, elements) => {
                let of_set = elements.iter().filter(|(other, _)| *other == set);
                let keys: Vec<Key> = of_set.map(|(_, key)| *key).collect();
                match keys.is_empty() {
                    true => Look::No,
                    false => Look::At(keys),
                }
            }
        }
    }
}

/// The commits, in order, that fill an empty kernel.
pub fn from_nothing(ledger: &Ledger) -> impl Iterator<Item = Vec<Op>> {
    let (base, plain): (Vec<_>, Vec<_>) = ledger.chains().cloned().partition(|c| c.base.is_some());
    let start = [Op::AddTable]
        .into_iter()
        .chain(ledger.sets().map(Op::AddSet));
    let start: Vec<Op> = start.chain(chains(plain)).collect();
    let elements = SetId::ALL
        .into_iter()
        .flat_map(|set| ledger.elements_of(set));
    let mut elements = elements.map(|e| Op::AddElement(e.clone()));
    let chunks = std::iter::from_fn(move || {
        let chunk: Vec<Op> = elements.by_ref().take(CHUNK).collect();
        (!chunk.is_empty()).then_some(chunk)
    });
    [start]
        .into_iter()
        .chain(chunks)
        .chain([chains(base).collect()])
}

/// The one commit that puts the sum in the place of a table which can't be changed into it, so
/// that there is no moment without.
pub fn replacement(ledger: &Ledger) -> Vec<Op> {
    [Op::DeleteTable]
        .into_iter()
        .chain(from_nothing(ledger).flatten())
        .collect()
}

fn chains(mut chains: Vec<Arc<ChainSpec>>) -> impl Iterator<Item = Op> {
    chains.sort_by(|a, b| a.name.cmp(&b.name));
    let rules: Vec<Op> = chains.iter().cloned().map(Op::SetRules).collect();
    chains.into_iter().map(Op::AddChain).chain(rules)
}

/// What has to be done with chains and sets, or nothing if the table found is so different that
/// it has to be replaced: another definition of a set or hook can't be changed in place. Hooks that
/// are missing are added; see [`serves_half`].
pub fn structure(ledger: &Ledger, found: &TableState, family: IpFamily) -> Option<Change> {
    let mut change = Change::default();
    compare_sets(ledger, found, family, &mut change)?;
    compare_chains(ledger, found, family, &mut change)?;
    Some(change)
}

fn compare_sets(
    ledger: &Ledger,
    found: &TableState,
    family: IpFamily,
    change: &mut Change,
) -> Option<()> {
    let mut unknown: HashMap<&SetName, Option<u64>> = found
        .sets
        .iter()
        .map(|(name, print)| (name, *print))
        .collect();
    for set in ledger.sets() {
        match unknown.remove(&set.name) {
            None if matches!(set.name, SetName::Fixed(_)) => return None,
            None => change.set(None, Some(&set)),
            Some(print) if print != Some(set_fingerprint(&set, family)) => return None,
            Some(_) => {}
        }
    }
    for name in unknown
        .into_keys()
        .filter(|name| matches!(name, SetName::Own(_)))
    {
        let (key, data) = (Vec::new(), DataKind::None);
        let stand_in = SetSpec {
            name: name.clone(),
            key,
            data,
            interval: false,
            dynamic: None,
        };
        change.set(Some(&Arc::new(stand_in)), None);
    }
    Some(())
}

fn compare_chains(
    ledger: &Ledger,
    found: &TableState,
    family: IpFamily,
    change: &mut Change,
) -> Option<()> {
    let mut unknown: HashMap<&ChainName, &ChainState> = found
        .chains
        .iter()
        .map(|chain| (&chain.name, chain))
        .collect();
    for chain in ledger.chains() {
        match unknown.remove(&chain.name) {
            None => change.chain(None, Some(chain)),
            Some(found) if found.base != chain.base => return None,
            Some(found) => {
                let wanted = chain
                    .rules
                    .iter()
                    .map(|r| Some(rule_fingerprint(r, family)));
                if !wanted.eq(found.rules.iter().copied()) {
                    change.chain(Some(&stand_in(&chain.name)), Some(chain));
                }
            }
        }
    }
    unknown
        .into_keys()
        .for_each(|name| change.chain(Some(&stand_in(name)), None));
    Some(())
}

/// A chain of that name with other rules than any of ours.
fn stand_in(name: &ChainName) -> Arc<ChainSpec> {
    let rules = vec![Rule::always(Action::Return)];
    Arc::new(ChainSpec {
        name: name.clone(),
        base: None,
        rules,
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

/// The same for one key.
pub fn element(
    ledger: &Ledger,
    set: SetId,
    key: &Key,
    found: Option<&Element>,
    change: &mut Change,
) {
    let wanted = ledger.element_at(set, key);
    if found != wanted {
        change.element(found, wanted);
    }
}

/// Whether a transaction adds hooks and has to be cut: between two commits they would serve a part
/// of the elements. So it is where a cold start was cut short.
pub fn serves_half(tx: &Transaction) -> bool {
    let hook = |op: &Op| matches!(op, Op::AddChain(chain) if chain.base.is_some());
    tx.ops.len() > CHUNK && tx.ops.iter().any(hook)
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
