// SPDX-License-Identifier: Apache-2.0
//! What a rule's text says of destinations: which it is about, and what becomes of them.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::debug::doctor::facts::node::Table;
use crate::observe::view::Protocol;

/// What a rule does in the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Does {
    /// Drops or rejects.
    Drop,
    /// Gives it another destination.
    Translate,
    /// Keeps its connection from being tracked.
    Untrack,
    /// Lets it go on.
    Accept,
    /// Goes to another chain.
    To(String),
    /// Something else, or nothing.
    Other,
}

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Words {
    /// Only these destinations.
    pub(super) to: Option<Vec<(IpAddr, IpAddr)>>,
    /// Only these ports.
    pub(super) ports: Option<Vec<(u16, u16)>>,
    /// Only these protocols, as words.
    pub(super) protocols: Option<Vec<String>>,
    /// It asks for something else as well.
    pub(super) more: bool,
    /// It asks for translated connections only.
    pub(super) translated: bool,
    /// What it does.
    pub(super) does: Does,
}

impl Words {
    /// Asks for nothing.
    pub(super) fn any() -> Self {
        Self {
            to: None,
            ports: None,
            protocols: None,
            more: false,
            translated: false,
            does: Does::Other,
        }
    }

    /// Reads a rule as `debug rules` writes it.
    pub(super) fn read(text: &str, table: &Table) -> Self {
        let tokens = tokens(text);
        let mut words = Self::any();
        let mut rest: &[String] = &tokens;
        while let [first, tail @ ..] = rest {
            rest = words.take(first, tail, table);
        }
        words
    }

    fn take<'a>(&mut self, first: &str, tail: &'a [String], table: &Table) -> &'a [String] {
        let second = tail.first().map(String::as_str);
        match (first, second) {
            ("ip" | "ip6", Some("daddr")) => {
                let (values, rest) = values(&tail[1..], table);
                self.limit(values, |me, all| {
                    let nets: Option<Vec<_>> = all.iter().map(|v| addresses(v)).collect();
                    nets.map(|nets| me.to = Some(nets)).is_some()
                });
                rest
            }
            ("th" | "tcp" | "udp" | "sctp", Some("dport")) => {
                if first != "th" {
                    self.protocols = Some(vec![first.to_owned()]);
                }
                let (values, rest) = values(&tail[1..], table);
                self.limit(values, |me, all| {
                    let ports: Option<Vec<_>> = all.iter().map(|v| ports(v)).collect();
                    ports.map(|ports| me.ports = Some(ports)).is_some()
                });
                rest
            }
            ("meta", Some("l4proto")) => {
                let (values, rest) = values(&tail[1..], table);
                self.limit(values, |me, all| {
                    me.protocols = Some(all);
                    true
                });
                rest
            }
            ("meta", Some("nfproto")) => tail.get(2..).unwrap_or_default(),
            ("ct", Some("status")) => {
                let dnat = tail.get(1).is_some_and(|v| v == "dnat");
                self.translated |= dnat;
                self.more |= !dnat;
                tail.get(2..).unwrap_or_default()
            }
            ("counter", Some("packets")) => tail.get(4..).unwrap_or_default(),
            ("log", Some("prefix")) | ("comment", Some(_)) => tail
                .get(if first == "log" { 2 } else { 1 }..)
                .unwrap_or_default(),
            ("counter" | "log", _) => tail,
            _ => self.verdict(first, tail),
        }
    }

    fn verdict<'a>(&mut self, first: &str, tail: &'a [String]) -> &'a [String] {
        let does = match first {
            "drop" | "reject" => Does::Drop,
            "dnat" | "redirect" => Does::Translate,
            "notrack" => Does::Untrack,
            "accept" => Does::Accept,
            "jump" | "goto" => Does::To(tail.first().cloned().unwrap_or_default()),
            _ => {
                self.more = true;
                return tail;
            }
        };
        self.does = does;
        // What follows says how.
        &[]
    }

    fn limit(
        &mut self,
        values: Option<Vec<String>>,
        set: impl FnOnce(&mut Self, Vec<String>) -> bool,
    ) {
        let known = values.is_some_and(|values| set(self, values));
        self.more |= !known;
    }

    /// Both: a rule in a chain that another rule leads to.
    pub(super) fn and(&self, other: &Words) -> Words {
        Words {
            to: other.to.clone().or_else(|| self.to.clone()),
            ports: other.ports.clone().or_else(|| self.ports.clone()),
            protocols: other.protocols.clone().or_else(|| self.protocols.clone()),
            more: self.more || other.more,
            translated: self.translated || other.translated,
            does: other.does.clone(),
        }
    }

    /// Whether it names any destination.
    pub(super) fn names_something(&self) -> bool {
        self.to.is_some() || self.ports.is_some()
    }

    /// Whether packets to there are among those that it is about.
    pub(super) fn covers(&self, to: IpAddr, port: u16, protocol: Protocol) -> bool {
        let word = match protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
        };
        let inside =
            |low: IpAddr, high: IpAddr| low <= to && to <= high && low.is_ipv4() == to.is_ipv4();
        let of = |list: &Vec<(u16, u16)>| list.iter().any(|(l, h)| (*l..=*h).contains(&port));
        self.to
            .as_ref()
            .is_none_or(|to| to.iter().any(|(l, h)| inside(*l, *h)))
            && self.ports.as_ref().is_none_or(of)
            && self
                .protocols
                .as_ref()
                .is_none_or(|p| p.iter().any(|p| p == word))
    }
}

/// Words of a rule; what is quoted is one.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut quoted = false;
    let mut word = String::new();
    for c in text.chars() {
        match c {
            '"' => quoted = !quoted,
            ' ' | ',' if !quoted => {
                if !word.is_empty() {
                    tokens.push(std::mem::take(&mut word));
                }
            }
            c => word.push(c),
        }
    }
    if !word.is_empty() {
        tokens.push(word);
    }
    tokens
}

/// One value, those in braces, or those of a named set. None for what is negated, compared or part
/// of a longer key.
fn values<'a>(tokens: &'a [String], table: &Table) -> (Option<Vec<String>>, &'a [String]) {
    match tokens {
        [open, rest @ ..] if open == "{" => {
            let end = rest.iter().position(|t| t == "}").unwrap_or(rest.len());
            let after = rest.get(end + 1..).unwrap_or_default();
            (Some(rest[..end].to_vec()), after)
        }
        [name, rest @ ..] if name.starts_with('@') => {
            let set = table.sets.iter().find(|set| set.name == name[1..]);
            let keys = set.map(|set| set.elements.iter().map(|e| e.key.clone()).collect());
            (keys, rest)
        }
        [first, _, rest @ ..]
            if ["!=", "==", "<", "<=", ">", ">=", "&", "."].contains(&&**first) =>
        {
            (None, rest)
        }
        [one, rest @ ..] => (Some(vec![one.clone()]), rest),
        [] => (None, &[]),
    }
}

/// `10.0.0.1`, `10.0.0.0/8` or `10.0.0.1-10.0.0.9`.
fn addresses(text: &str) -> Option<(IpAddr, IpAddr)> {
    if let Some((low, high)) = text.split_once('-') {
        return Some((low.parse().ok()?, high.parse().ok()?));
    }
    if let Ok(net) = text.parse::<IpNet>() {
        return Some((net.network(), net.broadcast()));
    }
    let address = text.parse().ok()?;
    Some((address, address))
}

/// `80` or `80-90`.
fn ports(text: &str) -> Option<(u16, u16)> {
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    Some((low.parse().ok()?, high.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Words {
        let table = Table {
            family: "ip".into(),
            name: "filter".into(),
            unread: false,
            chains: Vec::new(),
            sets: Vec::new(),
        };
        Words::read(text, &table)
    }

    #[test]
    fn destinations_and_verdicts_are_read() {
        let hits = |text: &str| {
            let words = read(text);
            words.names_something()
                && !words.more
                && words.does == Does::Drop
                && words.covers([10, 96, 0, 10].into(), 80, Protocol::Tcp)
        };
        for (text, expected) in [
            ("ip daddr 10.96.0.0/12 drop", true),
            (
                "ip daddr 10.96.0.10 meta l4proto tcp th dport 80 counter packets 0 bytes 0 drop",
                true,
            ),
            (
                "meta l4proto { tcp, udp } th dport { 22, 70-90 } reject with tcp reset",
                true,
            ),
            ("ip daddr 10.96.0.1-10.96.0.9 drop", false),
            ("ip daddr != 10.96.0.10 drop", false),
            ("meta l4proto udp th dport 80 drop", false),
            ("ip daddr 10.96.0.10 iifname \"eth0\" drop", false),
            (
                "ip daddr 10.96.0.10 log prefix \"a b\" drop comment \"accept\"",
                true,
            ),
            ("ip daddr . th dport @x drop", false),
            ("ct state invalid drop", false),
            ("drop", false),
            ("ip daddr 10.96.0.10 accept", false),
        ] {
            assert_eq!(hits(text), expected, "{text}: {:?}", read(text));
        }
        assert_eq!(read("ct status dnat accept").does, Does::Accept);
        assert!(read("ct status dnat accept").translated);
        assert_eq!(read("ip daddr 1.2.3.4 jump x").does, Does::To("x".into()));
    }
}
