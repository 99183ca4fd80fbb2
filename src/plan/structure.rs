// SPDX-License-Identifier: Apache-2.0
//! From the chains and sets of a table as found, perhaps another version's, to those of the sum.
//!
//! What agrees is left alone, above all the maps that remember clients: what packets have entered
//! nobody could enter again. What does not is taken away and made anew in **one** commit, elements
//! included, so that no packet meets half of it. The kernel cannot alter the definition of a set or
//! the hook of a base chain, but deletes it and makes it anew in the same commit, once no rule
//! names it any more; so then all rules go first, and come again.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::change::Change;
use super::ledger::Ledger;
use super::nft::{
    Action, ChainName, ChainSpec, ChainState, Op, Rule, SetId, SetName, TableState, Transaction,
    rule_fingerprint, set_fingerprint,
};
use super::resync;
use crate::model::IpFamily;

/// What has to be done with chains and sets.
#[derive(Debug, Clone, Default)]
pub struct Structure {
    /// What comes and changes. Elements may be noted in it as well.
    pub change: Change,
    /// Permanent sets that are made anew: nothing is in them, whatever there was.
    pub fresh: BTreeSet<SetId>,
    /// What goes before all else, in the same commit.
    first: Vec<Op>,
    /// What goes in the end, in the second commit: rules of unknown chains, then unknown sets,
    /// then the chains, as each may name the one before.
    last: Vec<Op>,
    /// Rules that are in use change.
    altered: bool,
}

impl Structure {
    /// Whether it is more than what comes and goes with Services: then the table is another
    /// version's, other options', or somebody has changed it.
    pub fn differs(&self) -> bool {
        self.altered || !self.first.is_empty() || !self.fresh.is_empty()
    }

    /// The commits. What is more than comes and goes with Services is never cut: rules and the
    /// elements that they look up must change at once.
    pub fn commits(self) -> Vec<Vec<Op>> {
        let differs = self.differs();
        let tx = self.change.into_transaction();
        let tx = Transaction {
            ops: [self.first, tx.ops].concat(),
            later: [tx.later, self.last].concat(),
        };
        match differs {
            true => tx.commits().collect(),
            false => resync::commits(tx),
        }
    }
}

/// Compares chains and sets. Nothing if a chain has become a base chain: elements may name the one
/// that is there, so the table has to be [replaced](resync::replacement).
pub fn compare(ledger: &Ledger, found: &TableState, family: IpFamily) -> Option<Structure> {
    let mut structure = Structure::default();
    let mut unhook = Vec::new();
    let unknown_sets = compare_sets(ledger, found, family, &mut structure);
    let unknown = compare_chains(ledger, found, family, &mut structure, &mut unhook)?;
    if !structure.first.is_empty() {
        // Every rule goes: which of them name a set that goes is not known of another version's.
        let every = found.chains.iter().map(|chain| empty(&chain.name));
        structure.first.splice(0..0, every);
        let kept = found.chains.iter().map(|c| &c.name);
        let kept: BTreeSet<&ChainName> = kept.filter(|name| !unhook.contains(name)).collect();
        for chain in ledger.chains().filter(|c| kept.contains(&c.name)) {
            let before = stand_in(&chain.name);
            structure.change.chain(Some(&before), Some(chain));
        }
    }
    structure
        .first
        .extend(unhook.into_iter().map(Op::DeleteChain));
    if unknown_sets.is_empty() {
        for name in unknown {
            structure.change.chain(Some(&stand_in(name)), None);
        }
    } else {
        let empty = unknown.iter().map(|name| empty(name));
        let sets = unknown_sets.into_iter().map(Op::DeleteSet);
        let chains = unknown.iter().map(|name| Op::DeleteChain((*name).clone()));
        structure.last = empty.chain(sets).chain(chains).collect();
    }
    Some(structure)
}

/// Returns the sets that nobody knows.
fn compare_sets(
    ledger: &Ledger,
    found: &TableState,
    family: IpFamily,
    structure: &mut Structure,
) -> Vec<SetName> {
    let sets = found.sets.iter();
    let mut unknown: HashMap<&SetName, Option<u64>> =
        sets.map(|(name, print)| (name, *print)).collect();
    for set in ledger.sets() {
        let there = unknown.remove(&set.name);
        if there == Some(Some(set_fingerprint(&set, family))) {
            continue;
        }
        if there.is_some() {
            structure.first.push(Op::DeleteSet(set.name.clone()));
        }
        structure.change.set(None, Some(&set));
        if let SetName::Fixed(id) = set.name {
            structure.fresh.insert(id);
        }
    }
    let mut unknown: Vec<SetName> = unknown.into_keys().cloned().collect();
    unknown.sort_unstable();
    unknown
}

/// Returns the plain chains that nobody knows. Base chains that are to be no more, or hook in
/// elsewhere, go at once: nothing can name them, and packets would go on passing them.
fn compare_chains<'a>(
    ledger: &Ledger,
    found: &'a TableState,
    family: IpFamily,
    structure: &mut Structure,
    unhook: &mut Vec<ChainName>,
) -> Option<Vec<&'a ChainName>> {
    let chains = found.chains.iter();
    let mut unknown: HashMap<&ChainName, &ChainState> =
        chains.map(|chain| (&chain.name, chain)).collect();
    for chain in ledger.chains() {
        match unknown.remove(&chain.name) {
            None => {
                structure.altered |= chain.base.is_some();
                structure.change.chain(None, Some(chain));
            }
            Some(found) if found.base == chain.base => {
                let rules = chain.rules.iter();
                let wanted = rules.map(|r| Some(rule_fingerprint(r, family)));
                if !wanted.eq(found.rules.iter().copied()) {
                    structure.altered = true;
                    let before = stand_in(&chain.name);
                    structure.change.chain(Some(&before), Some(chain));
                }
            }
            Some(found) if found.base.is_none() => return None,
            Some(_) => {
                unhook.push(chain.name.clone());
                structure.change.chain(None, Some(chain));
            }
        }
    }
    let (base, mut plain): (Vec<_>, Vec<_>) = unknown.into_values().partition(|c| c.base.is_some());
    unhook.extend(base.into_iter().map(|c| c.name.clone()));
    unhook.sort_unstable();
    plain.sort_unstable_by_key(|c| &c.name);
    Some(plain.into_iter().map(|c| &c.name).collect())
}

/// Takes a chain's rules away.
fn empty(name: &ChainName) -> Op {
    Op::SetRules(Arc::new(ChainSpec {
        name: name.clone(),
        base: None,
        rules: Vec::new(),
    }))
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
