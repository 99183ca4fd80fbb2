// SPDX-License-Identifier: Apache-2.0
//! The small vocabulary of rules that the ruleset needs.

use std::fmt;
use std::sync::Arc;

use ipnet::IpNet;

use super::SetName;
use crate::model::Protocol;

/// Name of a chain: at most 255 bytes; letters, digits and `/ - _ .`, a letter first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChainName(pub Arc<str>);

impl ChainName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for ChainName {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

impl fmt::Display for ChainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One part of a look-up key or of map data. In a key, addresses take 4 or 16 bytes and everything
/// else 4: the protocol one byte and three zeros, ports two bytes big-endian and two zeros, the
/// random index 32 bits in host order (that is how the kernel's registers are laid out).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Field {
    /// `ip saddr`.
    Source,
    /// `ip daddr`.
    Destination,
    /// `meta l4proto`.
    Protocol,
    /// `th dport`.
    Port,
    /// `th sport`.
    SourcePort,
    /// `numgen random mod MODULUS offset OFFSET`.
    Random {
        /// Exclusive upper bound, at least 1.
        modulus: u32,
        /// Added to the number drawn.
        offset: u32,
    },
    /// `ct original ip saddr`.
    OriginalSource,
    /// `ct original ip daddr`.
    OriginalDestination,
    /// `ct original proto-dst`. Only in a rule that has [`Match::KnownProtocol`] before it:
    /// nft aborts when it lists one without.
    OriginalPort,
}

/// A condition. All of a rule's must hold.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Match {
    /// The key is an element of the set.
    InSet(Vec<Field>, SetName),
    /// [`Field::Source`] or [`Field::Destination`] lies in the prefix, or with `true` does not.
    Prefix(Field, IpNet, bool),
    /// `iifname`: the input interface's name equals the string (or starts with it, if it ends in
    /// `*`); with `true` it must not. A packet from the host itself has no input interface.
    Interface(Arc<str>, bool),
    /// `fib saddr type local`: the source is an address of this node.
    SourceLocal,
    /// `fib daddr type != local`: the destination is no address of this node.
    DestinationNotLocal,
    /// `ct status dnat`: the connection's destination was translated.
    Translated,
    /// `meta l4proto PROTOCOL`.
    ProtocolIs(Protocol),
    /// `th dport PORT`.
    PortIs(u16),
    /// `meta l4proto { tcp, udp, sctp }`.
    KnownProtocol,
    /// `tcp flags ! syn`: a TCP packet that opens no connection.
    MidStream,
    /// `ct state invalid`: connection tracking can't tell which connection the packet belongs to,
    /// so nothing translates it.
    Invalid,
}

/// What a rule does when all its matches hold.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Action {
    /// End of this hook's chain: accept.
    Accept,
    /// Drop.
    Drop,
    /// Back to the calling chain.
    Return,
    /// Continue in another chain and do not come back here.
    Goto(ChainName),
    /// Continue in another chain, then with the next rule.
    Jump(ChainName),
    /// ICMP port unreachable, for TCP too (kube-proxy's choice).
    Reject,
    /// TCP reset. Only in a rule that has [`Match::MidStream`].
    Reset,
    /// Destination NAT to what the map holds for the key; next rule if it holds nothing.
    Dnat(Vec<Field>, SetName),
    /// Destination NAT to the address that the map holds for the key and to a given port; next
    /// rule if it holds nothing.
    DnatTo {
        /// Key of the map.
        key: Vec<Field>,
        /// Map to addresses.
        map: SetName,
        /// The port.
        port: u16,
    },
    /// The verdict that the map holds for the key; next rule if it holds nothing.
    VerdictMap(Vec<Field>, SetName),
    /// `masquerade fully-random`.
    Masquerade,
    /// `update @SET { KEY timeout SECONDS : DATA }`: adds the key with the data, or refreshes the
    /// timeout of a key that is there **and keeps its data** (kernel: `nft_dynset_eval`). Does
    /// nothing when the set is full.
    Update {
        /// A dynamic set with timeouts.
        set: SetName,
        /// Key, and with it the refreshed element.
        key: Vec<Field>,
        /// Seconds until the element goes.
        timeout: u32,
        /// Data of a new element.
        data: Vec<Field>,
    },
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Rule {
    /// Conditions, tested in this order.
    pub matches: Vec<Match>,
    /// What happens then.
    pub action: Action,
}

impl Rule {
    /// A rule without conditions.
    pub fn always(action: Action) -> Self {
        Self {
            matches: Vec::new(),
            action,
        }
    }

    /// A rule with conditions.
    pub fn when(matches: impl Into<Vec<Match>>, action: Action) -> Self {
        Self {
            matches: matches.into(),
            action,
        }
    }
}

/// Netfilter hook of a base chain. All our base chains have policy accept, and type nat but for
/// those that forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hook {
    /// Packets that come in.
    Prerouting,
    /// Packets for this host.
    Input,
    /// Packets that pass through: no nat there, chains have type filter.
    Forward,
    /// Packets of this host.
    Output,
    /// Packets that go out.
    Postrouting,
}

impl Hook {
    /// The kernel's number (`enum nf_inet_hooks`).
    pub fn number(self) -> u32 {
        match self {
            Hook::Prerouting => 0,
            Hook::Input => 1,
            Hook::Forward => 2,
            Hook::Output => 3,
            Hook::Postrouting => 4,
        }
    }

    /// The hook of that word.
    pub fn from_word(word: &str) -> Option<Self> {
        let all = [
            Hook::Prerouting,
            Hook::Input,
            Hook::Forward,
            Hook::Output,
            Hook::Postrouting,
        ];
        all.into_iter().find(|hook| hook.word() == word)
    }

    /// nft's word.
    pub fn word(self) -> &'static str {
        match self {
            Hook::Prerouting => "prerouting",
            Hook::Input => "input",
            Hook::Forward => "forward",
            Hook::Output => "output",
            Hook::Postrouting => "postrouting",
        }
    }

    /// The type of our chains there.
    pub fn chain_type(self) -> &'static str {
        match self {
            Hook::Forward => "filter",
            _ => "nat",
        }
    }
}

/// What makes a chain a base chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Base {
    /// Where it hooks in.
    pub hook: Hook,
    /// Its place among all chains of that hook, lowest first.
    pub priority: i32,
}

/// A chain with its rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainSpec {
    /// Name.
    pub name: ChainName,
    /// Present for base chains.
    pub base: Option<Base>,
    /// Rules in order.
    pub rules: Vec<Rule>,
}
