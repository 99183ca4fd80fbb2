// SPDX-License-Identifier: Apache-2.0
//! Walks a new connection's first packet through a ruleset, as the kernel would. PURE.
//!
//! A random choice is walked in all ways, so the outcome holds every endpoint that may answer.

mod ipvs;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::nft::{
    Action, Base, ChainName, ChainSpec, Data, Field, Hook, Key, Match, Rule, SetName, Verdict,
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
    let hook = if packet.interface.is_some() {
        Hook::Prerouting
    } else {
        Hook::Output
    };
    let mut walk = Walk {
        ruleset,
        world,
        packet,
        translated: None,
        by_ipvs: false,
    };
    let sent = walk.with_source_of_kernel();
    walk.packet = sent.as_ref().unwrap_or(packet);
    let fates = |end| match end {
        End::Translated(target) => {
            BTreeSet::from([Fate::Endpoint(target, walk.masquerades(target, false))])
        }
        End::Rejected => BTreeSet::from([Fate::Rejected]),
        End::Dropped => BTreeSet::from([Fate::Dropped]),
        End::Accepted | End::Masqueraded | End::Returned => walk.virtual_server(),
    };
    walk.hook(hook).into_iter().flat_map(fates).collect()
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
}

type Ends = BTreeSet<End>;

impl Walk<'_> {
    /// All base chains of a hook, lowest priority first. Those after a translation, a reject or a
    /// drop are not asked.
    fn hook(&self, hook: Hook) -> Ends {
        let of_hook = |c: &&Arc<ChainSpec>| c.base.is_some_and(|b: Base| b.hook == hook);
        let mut chains: Vec<_> = self.ruleset.chains.values().filter(of_hook).collect();
        chains.sort_by_key(|c| c.base.map(|b| b.priority));
        let mut ends = Ends::from([End::Returned]);
        for chain in chains {
            if ends.remove(&End::Returned) | ends.remove(&End::Accepted) {
                ends.extend(self.chain(&chain.name));
            }
        }
        ends
    }

    fn masquerades(&self, target: Target, by_ipvs: bool) -> bool {
        let walk = Walk {
            translated: Some(target),
            by_ipvs,
            ..*self
        };
        walk.hook(Hook::Postrouting).contains(&End::Masqueraded)
    }

    fn chain(&self, name: &ChainName) -> Ends {
        match self.ruleset.chains.get(name) {
            Some(chain) => self.rules(&chain.rules),
            None => Ends::from([End::Returned]),
        }
    }

    /// Walks the rules from the first one on.
    fn rules(&self, rules: &[Rule]) -> Ends {
        let Some((rule, rest)) = rules.split_first() else {
            return Ends::from([End::Returned]);
        };
        if !rule.matches.iter().all(|m| self.matches(m)) {
            return self.rules(rest);
        }
        let end = |end| Ends::from([end]);
        match &rule.action {
            Action::Accept => end(End::Accepted),
            Action::Drop => end(End::Dropped),
            Action::Return => end(End::Returned),
            Action::Reject | Action::Reset => end(End::Rejected),
            Action::Masquerade => end(End::Masqueraded),
            Action::Goto(chain) => self.chain(chain),
            Action::Jump(chain) => self.jump(chain, rest),
            Action::Update { .. } => self.rules(rest),
            Action::Dnat(key, map) => self.dnat(key, map, rest),
            Action::DnatTo { map, port, .. } => match self.client(map, *port) {
                Some(target) => end(End::Translated(target)),
                None => self.rules(rest),
            },
            Action::VerdictMap(key, map) => match self.verdict(key, map) {
                Some(Verdict::Drop) => end(End::Dropped),
                Some(Verdict::Goto(chain)) => self.chain(&chain),
                Some(Verdict::Jump(chain)) => self.jump(&chain, rest),
                None => self.rules(rest),
            },
        }
    }

    fn jump(&self, chain: &ChainName, rest: &[Rule]) -> Ends {
        let mut ends = self.chain(chain);
        if ends.remove(&End::Returned) {
            ends.extend(self.rules(rest));
        }
        ends
    }

    fn dnat(&self, key: &[Field], map: &SetName, rest: &[Rule]) -> Ends {
        let mut ends = Ends::new();
        for target in self.targets(key, map) {
            match target {
                Some(target) => ends.extend([End::Translated(target)]),
                None => ends.extend(self.rules(rest)),
            }
        }
        ends
    }

    /// What the map holds, for each index that may be drawn.
    fn targets(&self, key: &[Field], map: &SetName) -> BTreeSet<Option<Target>> {
        let SetName::Fixed(id) = map else {
            return BTreeSet::from([None]);
        };
        let indices = match key.last() {
            Some(Field::Random { modulus, offset }) => *offset..offset + modulus,
            _ => 0..1,
        };
        let at = |index| match self.ruleset.lookup(*id, &self.key(key, index))? {
            Data::Target(address, port) => Some(Target {
                address: *address,
                port: *port,
            }),
            _ => None,
        };
        indices.map(at).collect()
    }

    /// The endpoint that an affinity map holds for the source.
    fn client(&self, map: &SetName, port: u16) -> Option<Target> {
        let client = (map.clone(), self.packet.source);
        self.world.clients.get(&client).map(|address| Target {
            address: *address,
            port,
        })
    }

    fn verdict(&self, key: &[Field], map: &SetName) -> Option<Verdict> {
        let SetName::Fixed(id) = map else { return None };
        match self.ruleset.lookup(*id, &self.key(key, 0))? {
            Data::Verdict(verdict) => Some(verdict.clone()),
            _ => None,
        }
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

    fn matches(&self, condition: &Match) -> bool {
        match condition {
            Match::InSet(key, SetName::Fixed(id)) => {
                self.ruleset.lookup(*id, &self.key(key, 0)).is_some()
            }
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
