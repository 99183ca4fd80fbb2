// SPDX-License-Identifier: Apache-2.0
//! Walks a new connection's first packet through a ruleset, as the kernel would. PURE.
//!
//! A random choice is walked in all ways, so the outcome holds every endpoint that may answer.
//! [`trace`] tells the outcome alone, [`follow`] also each rule and element on the way.

mod ipvs;
pub mod step;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

pub use self::step::{Found, Outcome, RuleStep, Step, Way};
use super::nft::{
    Action, Base, ChainName, ChainSpec, Data, Element, Field, Hook, Key, Match, SetId, SetName,
    Verdict,
};
use super::ruleset::Ruleset;
use crate::model::{Protocol, Target};

/// The first packet of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// Transport protocol.
    pub protocol: Protocol,
    /// Destination port.
    pub port: u16,
    /// The interface it comes in by; none if this host sends it.
    pub interface: Option<Arc<str>>,
}

/// What tracing has to know besides the ruleset.
#[derive(Debug, Clone, Default)]
pub struct World {
    /// The addresses of this host.
    pub local: BTreeSet<IpAddr>,
    /// Addresses of other nodes, which IPVS mode does not bind.
    pub elsewhere: BTreeSet<IpAddr>,
    /// Clients that the affinity maps hold: map and source address to the endpoint's address.
    pub clients: BTreeMap<(SetName, IpAddr), IpAddr>,
}

/// What may happen to the packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fate {
    /// It goes on to an endpoint; with `true` under an address of this host as its source.
    Endpoint(Target, bool),
    /// It is answered by ICMP port unreachable.
    Rejected,
    /// It vanishes.
    Dropped,
    /// We do nothing to it.
    Untouched,
}

/// Everything that may happen to the packet.
pub fn trace(ruleset: &Ruleset, world: &World, packet: &Packet) -> BTreeSet<Fate> {
    Walk::new(ruleset, world, packet, None)
        .way()
        .into_keys()
        .collect()
}

/// The same, with everything that the packet meets.
pub fn follow(ruleset: &Ruleset, world: &World, packet: &Packet) -> Way {
    let log = RefCell::default();
    let mut fates = Walk::new(ruleset, world, packet, Some(&log)).way();
    let fates = std::mem::take(&mut fates).into_iter().collect();
    Way {
        steps: log.into_inner(),
        fates,
    }
}

/// How the walk through a chain ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Translated(Target),
    Masqueraded,
    Rejected,
    Dropped,
    /// No chain of this hook and priority sees it any more.
    Accepted,
    /// The end of the chain was reached.
    Returned,
}

struct Walk<'a> {
    ruleset: &'a Ruleset,
    world: &'a World,
    packet: &'a Packet,
    /// The endpoint, once the destination has been translated.
    translated: Option<Target>,
    /// Whether it was IPVS that did it.
    by_ipvs: bool,
    hook: Hook,
    /// Where steps are noted, if they are.
    log: Option<&'a RefCell<Vec<Step>>>,
}

type Ends = BTreeSet<End>;
/// What may become of the packet, each with the steps from then on.
type Fates = BTreeMap<Fate, Vec<Step>>;

impl<'a> Walk<'a> {
    fn new(
        ruleset: &'a Ruleset,
        world: &'a World,
        packet: &'a Packet,
        log: Option<&'a RefCell<Vec<Step>>>,
    ) -> Self {
        let hook = match packet.interface {
            Some(_) => Hook::Prerouting,
            None => Hook::Output,
        };
        Self {
            ruleset,
            world,
            packet,
            translated: None,
            by_ipvs: false,
            hook,
            log,
        }
    }

    fn way(self) -> Fates {
        let sent = self.with_source_of_kernel();
        if let Some(sent) = &sent {
            self.note(|| Step::Source(sent.source));
        }
        let walk = Walk {
            packet: sent.as_ref().unwrap_or(self.packet),
            ..self
        };
        let fates = |end| match end {
            End::Translated(target) => Fates::from([walk.to(target, false)]),
            End::Rejected => Fates::from([(Fate::Rejected, Vec::new())]),
            End::Dropped => Fates::from([(Fate::Dropped, Vec::new())]),
            End::Accepted | End::Masqueraded | End::Returned => walk.virtual_server(),
        };
        walk.hook(walk.hook).into_iter().flat_map(fates).collect()
    }

    fn note(&self, step: impl FnOnce() -> Step) {
        if let Some(log) = self.log {
            log.borrow_mut().push(step());
        }
    }
}

impl Walk<'_> {
    /// All base chains of a hook, lowest priority first. Those after a translation, a reject or a
    /// drop are not asked.
    fn hook(&self, hook: Hook) -> Ends {
        let walk = Walk { hook, ..*self };
        let of_hook = |c: &&Arc<ChainSpec>| c.base.is_some_and(|b: Base| b.hook == hook);
        let mut chains: Vec<_> = self.ruleset.chains.values().filter(of_hook).collect();
        chains.sort_by_key(|c| c.base.map(|b| b.priority));
        let mut ends = Ends::from([End::Returned]);
        for chain in chains {
            if ends.remove(&End::Returned) | ends.remove(&End::Accepted) {
                ends.extend(walk.rules(chain, 0));
            }
        }
        ends
    }

    /// The fate of a packet that goes to an endpoint.
    fn to(&self, target: Target, by_ipvs: bool) -> (Fate, Vec<Step>) {
        let log = RefCell::default();
        let walk = Walk {
            translated: Some(target),
            by_ipvs,
            log: self.log.is_some().then_some(&log),
            ..*self
        };
        // What comes in for the host itself does not go out.
        let ends_here =
            !by_ipvs && self.packet.interface.is_some() && self.is_local(&target.address);
        let masqueraded = !ends_here && walk.hook(Hook::Postrouting).contains(&End::Masqueraded);
        (Fate::Endpoint(target, masqueraded), log.into_inner())
    }

    fn chain(&self, name: &ChainName) -> Ends {
        match self.ruleset.chains.get(name) {
            Some(chain) => self.rules(chain, 0),
            None => Ends::from([End::Returned]),
        }
    }

    /// Walks the rules from the one at `index` on.
    fn rules(&self, chain: &ChainSpec, index: usize) -> Ends {
        let Some(rule) = chain.rules.get(index) else {
            return Ends::from([End::Returned]);
        };
        let mut found = Vec::new();
        let mut unmet = rule.matches.iter();
        let unmet = unmet.position(|m| !self.matches(m, &mut found));
        let onward = || self.rules(chain, index + 1);
        let note = |found, outcome| self.note_rule(chain, index, found, outcome);
        if let Some(unmet) = unmet {
            note(found, Outcome::Unmet(unmet));
            return onward();
        }
        let end = match &rule.action {
            Action::Dnat(key, map) => return self.dnat(key, map, found, (chain, index)),
            Action::DnatTo { map, port, .. } => match self.client(map, *port, &mut found) {
                Some(target) => Some(End::Translated(target)),
                None => {
                    note(found, Outcome::NotInMap);
                    return onward();
                }
            },
            Action::VerdictMap(key, map) => {
                let verdict = self.verdict(key, map, &mut found);
                let outcome = match verdict {
                    Some(_) => Outcome::Done,
                    None => Outcome::NotInMap,
                };
                note(found, outcome);
                return match verdict {
                    Some(Verdict::Drop) => Ends::from([End::Dropped]),
                    Some(Verdict::Goto(next)) => self.chain(&next),
                    Some(Verdict::Jump(next)) => self.jump(&next, onward),
                    None => onward(),
                };
            }
            Action::Accept => Some(End::Accepted),
            Action::Drop => Some(End::Dropped),
            Action::Return => Some(End::Returned),
            Action::Reject | Action::Reset => Some(End::Rejected),
            Action::Masquerade => Some(End::Masqueraded),
            Action::Goto(_) | Action::Jump(_) | Action::Update { .. } => None,
        };
        note(found, Outcome::Done);
        match (end, &rule.action) {
            (Some(end), _) => Ends::from([end]),
            (None, Action::Goto(next)) => self.chain(next),
            (None, Action::Jump(next)) => self.jump(next, onward),
            (None, _) => onward(),
        }
    }

    fn note_rule(&self, chain: &ChainSpec, index: usize, found: Vec<Found>, outcome: Outcome) {
        self.note(|| {
            Step::Rule(RuleStep {
                hook: self.hook,
                chain: chain.name.clone(),
                index,
                rule: chain.rules[index].clone(),
                found,
                outcome,
            })
        });
    }

    fn jump(&self, chain: &ChainName, onward: impl FnOnce() -> Ends) -> Ends {
        let mut ends = self.chain(chain);
        if ends.remove(&End::Returned) {
            ends.extend(onward());
        }
        ends
    }

    /// Translates to what the map holds, for each index that may be drawn.
    fn dnat(
        &self,
        key: &[Field],
        map: &SetName,
        mut found: Vec<Found>,
        (chain, at): (&ChainSpec, usize),
    ) -> Ends {
        let indices = match key.last() {
            Some(Field::Random { modulus, offset }) => *offset..offset.saturating_add(*modulus),
            _ => 0..1,
        };
        let mut ends = Ends::new();
        let mut missing = false;
        for index in indices {
            let element = match map {
                SetName::Fixed(id) => self.ruleset.find(*id, &self.key(key, index)),
                SetName::Own(_) => None,
            };
            match element.map(|e| &e.data) {
                Some(Data::Target(address, port)) => {
                    let (address, port) = (*address, *port);
                    ends.insert(End::Translated(Target { address, port }));
                    self.found(&mut found, element);
                }
                _ => missing = true,
            }
        }
        let outcome = match ends.is_empty() {
            true => Outcome::NotInMap,
            false => Outcome::Done,
        };
        self.note_rule(chain, at, found, outcome);
        if missing {
            ends.extend(self.rules(chain, at + 1));
        }
        ends
    }

    fn found(&self, found: &mut Vec<Found>, element: Option<&Element>) {
        if self.log.is_some() {
            found.extend(element.cloned().map(Found::Element));
        }
    }

    /// The endpoint that an affinity map holds for the source.
    fn client(&self, map: &SetName, port: u16, found: &mut Vec<Found>) -> Option<Target> {
        let client = (map.clone(), self.packet.source);
        let address = *self.world.clients.get(&client)?;
        if self.log.is_some() {
            found.push(Found::Client {
                map: client.0,
                client: client.1,
                endpoint: address,
            });
        }
        Some(Target { address, port })
    }

    fn verdict(&self, key: &[Field], map: &SetName, found: &mut Vec<Found>) -> Option<Verdict> {
        let SetName::Fixed(id) = map else { return None };
        match self.look_up(*id, key, found)? {
            Data::Verdict(verdict) => Some(verdict.clone()),
            _ => None,
        }
    }

    fn look_up(&self, set: SetId, key: &[Field], found: &mut Vec<Found>) -> Option<&Data> {
        let element = self.ruleset.find(set, &self.key(key, 0));
        self.found(found, element);
        element.map(|e| &e.data)
    }

    fn key(&self, fields: &[Field], index: u32) -> Key {
        let (p, now) = (self.packet, self.now());
        let mut key = Key::EMPTY;
        for field in fields {
            key = match field {
                Field::Source => key.address(p.source),
                Field::Destination => key.address(now.address),
                Field::Protocol => key.protocol(p.protocol),
                Field::Port => key.port(now.port),
                // A new connection's source port is any; no rule for them asks.
                Field::SourcePort => key.port(0),
                Field::Random { .. } => key.index(index),
                Field::OriginalSource => key.address(p.source),
                Field::OriginalDestination => key.address(p.destination),
                Field::OriginalPort => key.port(p.port),
            };
        }
        key
    }

    /// Where the packet is bound for by now.
    fn now(&self) -> Target {
        let first = Target {
            address: self.packet.destination,
            port: self.packet.port,
        };
        self.translated.unwrap_or(first)
    }

    fn matches(&self, condition: &Match, found: &mut Vec<Found>) -> bool {
        match condition {
            Match::InSet(key, SetName::Fixed(id)) => self.look_up(*id, key, found).is_some(),
            Match::InSet(_, SetName::Own(_)) => false,
            Match::Prefix(field, net, negated) => {
                let address = match field {
                    Field::Source => self.packet.source,
                    _ => self.now().address,
                };
                net.contains(&address) != *negated
            }
            Match::Interface(pattern, negated) => self.comes_by(pattern) != *negated,
            Match::SourceLocal => self.is_local(&self.packet.source),
            Match::DestinationNotLocal => !self.is_local(&self.now().address),
            Match::Translated => self.translated.is_some() && !self.by_ipvs,
            Match::ProtocolIs(protocol) => self.packet.protocol == *protocol,
            Match::PortIs(port) => self.now().port == *port,
            Match::KnownProtocol => true,
            // It is about packets that open a connection.
            Match::MidStream | Match::Invalid => false,
        }
    }

    fn comes_by(&self, pattern: &str) -> bool {
        let Some(name) = self.packet.interface.as_deref() else {
            return false;
        };
        match pattern.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => name == pattern,
        }
    }
}

#[cfg(test)]
mod tests;
