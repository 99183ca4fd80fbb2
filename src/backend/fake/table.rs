// SPDX-License-Identifier: Apache-2.0
//! One table in memory: `nf_tables_api.c` as far as our operations reach.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use nix::libc::{EBUSY, EEXIST, EINVAL, EMLINK, ENODATA, ENOENT, EOPNOTSUPP, ERANGE};

use super::set::{Set, kind_of, same};
use crate::backend::nft::key_length;
use crate::backend::{ChainState, TableState};
use crate::model::IpFamily;
use crate::plan::nft::{
    Action, Base, ChainName, ChainSpec, Data, DataKind, Element, Field, Hook, Key, Match, Op, Rule,
    SetName, SetSpec, Verdict, rule_fingerprint, set_fingerprint,
};

/// How deep chains may call each other (`NFT_JUMP_STACK_SIZE`).
const DEEPEST: usize = 16;
/// Longest name, bytes (`NFT_NAME_MAXLEN` with its NUL byte).
const LONGEST_NAME: usize = 255;
/// Nat chains must come after connection tracking (`NF_IP_PRI_CONNTRACK`).
const CONNTRACK: i32 = -200;

/// What was refused: an operation, the set of an operation on an element, or one rule. With the
/// error number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    Op(i32),
    Set(i32),
    Rule(usize, i32),
}

impl From<i32> for Trouble {
    fn from(errno: i32) -> Self {
        Trouble::Op(errno)
    }
}

#[derive(Debug, Clone)]
struct Chain {
    base: Option<Base>,
    rules: Arc<ChainSpec>,
    /// Rules and elements that refer to it.
    uses: usize,
}

/// A table. Sets are shared with its earlier versions until they change.
#[derive(Debug, Clone, Default)]
pub(super) struct Table {
    chains: BTreeMap<ChainName, Chain>,
    sets: BTreeMap<SetName, Arc<Set>>,
}

/// Applies one operation.
pub(super) fn apply(table: &mut Option<Table>, op: &Op, family: IpFamily) -> Result<(), Trouble> {
    match op {
        Op::AddTable => {
            table.get_or_insert_default();
        }
        Op::DeleteTable => drop(table.take().ok_or(ENOENT)?),
        _ => match table {
            Some(table) => table.apply(op, family)?,
            None if is_element(op) => return Err(Trouble::Set(ENOENT)),
            None => return Err(ENOENT.into()),
        },
    }
    Ok(())
}

impl Table {
    fn apply(&mut self, op: &Op, family: IpFamily) -> Result<(), Trouble> {
        if name_of(op).is_some_and(|name| name.len() > LONGEST_NAME) {
            return Err(ERANGE.into());
        }
        if let Op::AddElement(Element { set, .. }) | Op::DeleteElement(Element { set, .. }) = op {
            self.set(&(*set).into()).ok_or(Trouble::Set(ENOENT))?;
        }
        match op {
            Op::AddTable | Op::DeleteTable => {}
            Op::AddChain(spec) => self.add_chain(spec)?,
            Op::SetRules(spec) => self.set_rules(spec, family)?,
            Op::DeleteChain(name) => self.delete_chain(name)?,
            Op::AddSet(spec) => self.add_set(spec, family)?,
            Op::DeleteSet(name) => self.delete_set(name)?,
            Op::AddElement(element) => self.add_element(element)?,
            Op::DeleteElement(element) => self.delete_element(element)?,
            Op::Forget(name, key) => {
                self.set_mut(name)
                    .map_err(Trouble::Set)?
                    .elements
                    .remove(key);
            }
        }
        Ok(())
    }

    pub(super) fn set(&self, name: &SetName) -> Option<&Set> {
        self.sets.get(name).map(|set| &**set)
    }

    fn set_mut(&mut self, name: &SetName) -> Result<&mut Set, i32> {
        self.sets.get_mut(name).map(Arc::make_mut).ok_or(ENOENT)
    }

    fn add_chain(&mut self, spec: &ChainSpec) -> Result<(), i32> {
        match (self.chains.get(&spec.name), spec.base) {
            // A plain chain is what it is: nothing is compared (`nf_tables_updchain`).
            (Some(_), None) => Ok(()),
            (Some(Chain { base: None, .. }), Some(_)) => Err(EOPNOTSUPP),
            (Some(chain), base) if chain.base == base => Ok(()),
            (Some(_), Some(_)) => Err(EOPNOTSUPP),
            (None, Some(base)) if base.priority <= CONNTRACK => Err(EOPNOTSUPP),
            (None, base) => {
                let rules = Arc::new(ChainSpec {
                    name: spec.name.clone(),
                    base,
                    rules: Vec::new(),
                });
                self.chains.insert(
                    spec.name.clone(),
                    Chain {
                        base,
                        rules,
                        uses: 0,
                    },
                );
                Ok(())
            }
        }
    }

    fn set_rules(&mut self, spec: &Arc<ChainSpec>, family: IpFamily) -> Result<(), Trouble> {
        self.release_rules(&spec.name)?;
        for (index, rule) in spec.rules.iter().enumerate() {
            self.hold(rule, family)
                .map_err(|errno| Trouble::Rule(index, errno))?;
        }
        let chain = self.chains.get_mut(&spec.name).ok_or(ENOENT)?;
        chain.rules = spec.clone();
        Ok(())
    }

    fn delete_chain(&mut self, name: &ChainName) -> Result<(), i32> {
        self.release_rules(name)?;
        match self.chains.get(name) {
            Some(chain) if chain.uses > 0 => Err(EBUSY),
            _ => {
                self.chains.remove(name);
                Ok(())
            }
        }
    }

    /// Takes a chain's rules away, and what they refer to loses a user.
    fn release_rules(&mut self, name: &ChainName) -> Result<(), i32> {
        let chain = self.chains.get_mut(name).ok_or(ENOENT)?;
        let empty = ChainSpec {
            name: name.clone(),
            base: chain.base,
            rules: Vec::new(),
        };
        let rules = std::mem::replace(&mut chain.rules, Arc::new(empty));
        for rule in &rules.rules {
            for set in sets_of(rule) {
                self.set_mut(set)?.uses -= 1;
            }
            if let Some(target) = target_of(&rule.action) {
                self.chains.get_mut(target).ok_or(ENOENT)?.uses -= 1;
            }
        }
        Ok(())
    }

    /// Checks what a new rule refers to, in the order of its expressions, and makes it a user.
    fn hold(&mut self, rule: &Rule, family: IpFamily) -> Result<(), i32> {
        let mut loaded = 0;
        for m in &rule.matches {
            if let Match::InSet(key, set) = m {
                self.wants_key(key, set, family, &mut loaded)?;
            }
        }
        match &rule.action {
            Action::Dnat(key, set) => {
                self.wants_key(key, set, family, &mut loaded)?;
                self.wants(set, DataKind::Target)?;
            }
            Action::DnatTo { key, map, .. } => {
                self.wants_key(key, map, family, &mut loaded)?;
                self.wants(map, DataKind::Address)?;
            }
            Action::VerdictMap(key, set) => {
                self.wants_key(key, set, family, &mut loaded)?;
                self.wants(set, DataKind::Verdict)?;
            }
            Action::Update { set, .. } => self.wants_dynamic(set)?,
            Action::Goto(chain) | Action::Jump(chain) => self.refer(chain)?,
            _ => {}
        }
        for set in sets_of(rule) {
            self.set_mut(set)?.uses += 1;
        }
        Ok(())
    }

    /// A look-up needs as many bytes as the set's keys have, or it would see what is left in the
    /// registers (`nft_parse_register_load`). `loaded` counts those that the rule has put there.
    fn wants_key(
        &self,
        key: &[Field],
        set: &SetName,
        family: IpFamily,
        loaded: &mut usize,
    ) -> Result<(), i32> {
        let spec = &self.set(set).ok_or(ENOENT)?.spec;
        *loaded = key_length(key, family).max(*loaded);
        if *loaded < key_length(&spec.key, family) {
            Err(ENODATA)
        } else {
            Ok(())
        }
    }

    fn wants(&self, set: &SetName, kind: DataKind) -> Result<(), i32> {
        match self.set(set) {
            Some(set) if set.spec.data == kind => Ok(()),
            _ => Err(EINVAL),
        }
    }

    fn wants_dynamic(&self, set: &SetName) -> Result<(), i32> {
        match self.set(set).ok_or(ENOENT)?.spec.dynamic {
            Some(_) => Ok(()),
            None => Err(EOPNOTSUPP),
        }
    }

    /// Makes something a user of a chain (`nft_verdict_init`).
    fn refer(&mut self, chain: &ChainName) -> Result<(), i32> {
        let chain = self.chains.get_mut(chain).ok_or(ENOENT)?;
        if chain.base.is_some() {
            return Err(EOPNOTSUPP);
        }
        chain.uses += 1;
        Ok(())
    }

    fn add_set(&mut self, spec: &Arc<SetSpec>, family: IpFamily) -> Result<(), i32> {
        match self.sets.get(&spec.name) {
            Some(set) if same(&set.spec, spec, family) => Ok(()),
            Some(_) => Err(EEXIST),
            None => {
                let set = Set {
                    spec: spec.clone(),
                    elements: BTreeMap::new(),
                    uses: 0,
                };
                self.sets.insert(spec.name.clone(), Arc::new(set));
                Ok(())
            }
        }
    }

    fn delete_set(&mut self, name: &SetName) -> Result<(), i32> {
        match self.sets.get(name) {
            None => Err(ENOENT),
            Some(set) if set.uses > 0 => Err(EBUSY),
            Some(_) => {
                let set = self.sets.remove(name).ok_or(ENOENT)?;
                for (_, data) in set.elements.values() {
                    self.release(data);
                }
                Ok(())
            }
        }
    }

    fn add_element(&mut self, element: &Element) -> Result<(), i32> {
        let set = self.set_mut(&element.set.into())?;
        if kind_of(&element.data) != set.spec.data {
            return Err(EINVAL);
        }
        if let Data::Verdict(Verdict::Goto(chain) | Verdict::Jump(chain)) = &element.data {
            self.refer(chain)?;
        }
        let set = self.set_mut(&element.set.into())?;
        let end = element.end.as_deref().copied();
        match set.insert(element.key, end, &element.data) {
            Ok(true) => Ok(()),
            Ok(false) => {
                self.release(&element.data);
                Ok(())
            }
            Err(errno) => Err(errno),
        }
    }

    fn delete_element(&mut self, element: &Element) -> Result<(), i32> {
        let set = self.set_mut(&element.set.into())?;
        let key = set.find(&element.key).ok_or(ENOENT)?;
        let (_, data) = set.elements.remove(&key).ok_or(ENOENT)?;
        self.release(&data);
        Ok(())
    }

    fn release(&mut self, data: &Data) {
        if let Data::Verdict(Verdict::Goto(chain) | Verdict::Jump(chain)) = data
            && let Some(chain) = self.chains.get_mut(chain)
        {
            chain.uses -= 1;
        }
    }

    pub(super) fn learn(&mut self, set: &SetName, key: Key, address: IpAddr) -> bool {
        match self.set_mut(set) {
            Ok(set) if set.spec.dynamic.is_some() => {
                set.elements
                    .entry(key)
                    .or_insert((None, Data::Address(address)));
                true
            }
            _ => false,
        }
    }

    pub(super) fn state(&self, family: IpFamily) -> TableState {
        let chain = |(name, chain): (&ChainName, &Chain)| ChainState {
            name: name.clone(),
            base: chain.base,
            rules: chain
                .rules
                .rules
                .iter()
                .map(|r| Some(rule_fingerprint(r, family)))
                .collect(),
        };
        let set = |(name, set): (&SetName, &Arc<Set>)| {
            (name.clone(), Some(set_fingerprint(&set.spec, family)))
        };
        TableState {
            chains: self.chains.iter().map(chain).collect(),
            sets: self.sets.iter().map(set).collect(),
        }
    }

    /// What the kernel checks when all is applied: every way from a base chain on
    /// (`nft_table_validate`).
    pub(super) fn validate(&self) -> Result<(), i32> {
        for (name, chain) in &self.chains {
            if let Some(base) = chain.base {
                self.walk(name, base.hook, 0, &mut BTreeSet::new())?;
            }
        }
        Ok(())
    }

    /// Follows the rules of a chain that is called `depth` deep. `seen` holds what has been
    /// followed at that depth already.
    fn walk<'a>(
        &'a self,
        name: &'a ChainName,
        hook: Hook,
        depth: usize,
        seen: &mut BTreeSet<(&'a ChainName, usize)>,
    ) -> Result<(), i32> {
        if depth == DEEPEST {
            return Err(EMLINK);
        }
        if !seen.insert((name, depth)) {
            return Ok(());
        }
        let Some(chain) = self.chains.get(name) else {
            return Ok(());
        };
        for rule in &chain.rules.rules {
            if !allowed(&rule.action, hook) {
                return Err(EOPNOTSUPP);
            }
            if let Some(target) = target_of(&rule.action) {
                self.walk(target, hook, depth + 1, seen)?;
            }
            if let Action::VerdictMap(_, map) = &rule.action {
                let targets: BTreeSet<&ChainName> =
                    self.set(map).into_iter().flat_map(Set::targets).collect();
                for target in targets {
                    self.walk(target, hook, depth + 1, seen)?;
                }
            }
        }
        Ok(())
    }
}

/// The sets that a rule refers to, as often as it does.
fn sets_of<'a>(rule: &'a Rule) -> impl Iterator<Item = &'a SetName> {
    let of_match = |m: &'a Match| match m {
        Match::InSet(_, set) => Some(set),
        _ => None,
    };
    let of_action = match &rule.action {
        Action::Dnat(_, set)
        | Action::DnatTo { map: set, .. }
        | Action::VerdictMap(_, set)
        | Action::Update { set, .. } => Some(set),
        _ => None,
    };
    rule.matches.iter().filter_map(of_match).chain(of_action)
}

fn is_element(op: &Op) -> bool {
    matches!(
        op,
        Op::AddElement(_) | Op::DeleteElement(_) | Op::Forget(..)
    )
}

/// The name that an operation brings along.
fn name_of(op: &Op) -> Option<&str> {
    match op {
        Op::AddChain(spec) | Op::SetRules(spec) => Some(spec.name.as_str()),
        Op::DeleteChain(name) => Some(name.as_str()),
        Op::AddSet(spec) => Some(spec.name.as_str()),
        Op::DeleteSet(name) | Op::Forget(name, _) => Some(name.as_str()),
        _ => None,
    }
}

fn target_of(action: &Action) -> Option<&ChainName> {
    match action {
        Action::Goto(chain) | Action::Jump(chain) => Some(chain),
        _ => None,
    }
}

/// Where an action may stand, when it is reached from a hook.
fn allowed(action: &Action, hook: Hook) -> bool {
    match action {
        Action::Dnat(..) | Action::DnatTo { .. } => matches!(hook, Hook::Prerouting | Hook::Output),
        Action::Masquerade => hook == Hook::Postrouting,
        Action::Reject | Action::Reset => hook != Hook::Postrouting,
        _ => true,
    }
}
