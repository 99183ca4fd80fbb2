// SPDX-License-Identifier: Apache-2.0
//! From nft text to a typed rule: the inverse of [`text::rule`](super::text::rule).
//!
//! It knows the words that our own rules use. A rule of somebody else's is none of them.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{Action, Field, Match, Rule, SetId, SetName};
use crate::model::Protocol;

/// The rule that a text stands for; None if it is none that we would write.
pub fn rule(text: &str) -> Option<Rule> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut words = Words(&words);
    let mut matches = Vec::new();
    while let Some(condition) = words.attempt(Words::condition) {
        matches.push(condition);
    }
    let action = words.action()?;
    words.0.is_empty().then_some(Rule { matches, action })
}

/// The name of a set as the kernel has it.
pub fn set_name(name: &str) -> SetName {
    SetId::from_name(name).map_or_else(|| SetName::Own(name.into()), SetName::Fixed)
}

/// What is left of a rule.
struct Words<'a>(&'a [&'a str]);

impl<'a> Words<'a> {
    fn next(&mut self) -> Option<&'a str> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    /// Takes these words off the front, if they are there.
    fn take(&mut self, words: &[&'a str]) -> Option<()> {
        self.0 = self.0.strip_prefix(words)?;
        Some(())
    }

    /// Takes nothing if it comes to nothing.
    fn attempt<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        let before = self.0;
        let result = read(self);
        if result.is_none() {
            self.0 = before;
        }
        result
    }

    fn number<T: std::str::FromStr>(&mut self) -> Option<T> {
        self.next()?.parse().ok()
    }

    fn set(&mut self) -> Option<SetName> {
        self.next()?.strip_prefix('@').map(set_name)
    }

    fn condition(&mut self) -> Option<Match> {
        for (words, condition) in [
            (&["fib", "saddr", "type", "local"][..], Match::SourceLocal),
            (
                &["fib", "daddr", "type", "!=", "local"],
                Match::DestinationNotLocal,
            ),
            (&["ct", "status", "dnat"], Match::Translated),
            (&["ct", "state", "invalid"], Match::Invalid),
            (&["tcp", "flags", "!", "syn"], Match::MidStream),
            // The same, as the kernel has it.
            (
                &[
                    "meta",
                    "l4proto",
                    "tcp",
                    "@th,104,8",
                    "&",
                    "0x02",
                    "==",
                    "0x00",
                ],
                Match::MidStream,
            ),
        ] {
            if self.take(words).is_some() {
                return Some(condition);
            }
        }
        if self.take(&["iifname"]).is_some() {
            let negated = self.take(&["!="]).is_some();
            let name = self.next()?.strip_prefix('"')?.strip_suffix('"')?;
            return Some(Match::Interface(name.into(), negated));
        }
        let key = self.key()?;
        if self.0.first()?.starts_with('@') {
            return Some(Match::InSet(key, self.set()?));
        }
        let [field] = key[..] else { return None };
        self.value(field)
    }

    /// What a single part of the packet is compared with.
    fn value(&mut self, field: Field) -> Option<Match> {
        match field {
            Field::Protocol if self.take(&["{"]).is_some() => {
                let end = self.0.iter().position(|w| *w == "}")?;
                let (names, rest) = self.0.split_at(end);
                self.0 = &rest[1..];
                let mut names: Vec<&str> = names.iter().map(|n| n.trim_end_matches(',')).collect();
                names.sort_unstable();
                (names == ["sctp", "tcp", "udp"]).then_some(Match::KnownProtocol)
            }
            Field::Protocol => protocol(self.next()?).map(Match::ProtocolIs),
            Field::Port => self.number().map(Match::PortIs),
            Field::Source | Field::Destination => {
                let negated = self.take(&["!="]).is_some();
                Some(Match::Prefix(field, prefix(self.next()?)?, negated))
            }
            _ => None,
        }
    }

    fn action(&mut self) -> Option<Action> {
        if let Some(action) = self.attempt(Words::verdict_map) {
            return Some(action);
        }
        Some(match self.next()? {
            "accept" => Action::Accept,
            "drop" => Action::Drop,
            "return" => Action::Return,
            "goto" => Action::Goto(self.next()?.into()),
            "jump" => Action::Jump(self.next()?.into()),
            "reject" if self.take(&["with", "tcp", "reset"]).is_some() => Action::Reset,
            "reject" => Action::Reject,
            "masquerade" => self.take(&["fully-random"]).map(|()| Action::Masquerade)?,
            "dnat" => self.dnat()?,
            "update" => self.update()?,
            _ => return None,
        })
    }

    fn verdict_map(&mut self) -> Option<Action> {
        let key = self.key()?;
        self.take(&["vmap"])?;
        Some(Action::VerdictMap(key, self.set()?))
    }

    fn dnat(&mut self) -> Option<Action> {
        self.next().filter(|word| ["ip", "ip6"].contains(word))?;
        self.take(&["to"])?;
        let key = self.key()?;
        self.take(&["map"])?;
        // The kernel's rules are printed as `@map:port`, ours as `@map : port`.
        let map = self.next()?.strip_prefix('@')?;
        let port = match (map.split_once(':'), self.take(&[":"])) {
            (Some((map, port)), None) => Some((map, port.parse().ok()?)),
            (None, Some(())) => Some((map, self.number()?)),
            (None, None) => None,
            (Some(_), Some(())) => return None,
        };
        Some(match port {
            Some((map, port)) => Action::DnatTo {
                key,
                map: set_name(map),
                port,
            },
            None => Action::Dnat(key, set_name(map)),
        })
    }

    fn update(&mut self) -> Option<Action> {
        let set = self.set()?;
        self.take(&["{"])?;
        let key = self.key()?;
        self.take(&["timeout"])?;
        let timeout = self.next()?.strip_suffix('s')?.parse().ok()?;
        self.take(&[":"])?;
        let data = self.key()?;
        self.take(&["}"])?;
        Some(Action::Update {
            set,
            key,
            timeout,
            data,
        })
    }

    fn key(&mut self) -> Option<Vec<Field>> {
        let mut key = vec![self.field()?];
        while self.take(&["."]).is_some() {
            key.push(self.field()?);
        }
        Some(key)
    }

    fn field(&mut self) -> Option<Field> {
        if self.take(&["ct", "original"]).is_some() {
            return match (self.next()?, self.0.first()) {
                ("proto-dst", _) => Some(Field::OriginalPort),
                ("ip" | "ip6", Some(&"saddr")) => self.next().map(|_| Field::OriginalSource),
                ("ip" | "ip6", Some(&"daddr")) => self.next().map(|_| Field::OriginalDestination),
                _ => None,
            };
        }
        if self.take(&["numgen", "random", "mod"]).is_some() {
            let modulus = self.number()?;
            let offset = match self.take(&["offset"]) {
                Some(()) => self.number()?,
                None => 0,
            };
            return Some(Field::Random { modulus, offset });
        }
        let field = match (self.next()?, self.next()?) {
            ("ip" | "ip6", "saddr") => Field::Source,
            ("ip" | "ip6", "daddr") => Field::Destination,
            ("meta", "l4proto") => Field::Protocol,
            ("th", "dport") => Field::Port,
            ("th", "sport") => Field::SourcePort,
            _ => return None,
        };
        Some(field)
    }
}

fn protocol(word: &str) -> Option<Protocol> {
    Protocol::ALL.into_iter().find(|p| p.to_string() == word)
}

/// A prefix, or an address as the prefix of it alone.
fn prefix(word: &str) -> Option<IpNet> {
    let alone = || word.parse::<IpAddr>().ok().map(IpNet::from);
    word.parse().ok().or_else(alone)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::IpFamily;
    use crate::plan::fixture::{dual_stack, ipvs_options, options, plan_all};
    use crate::plan::nft::text;
    use crate::plan::{Detector, Options};

    #[test]
    fn every_rule_of_ours_is_read_back() {
        let state = dual_stack();
        let strict = |base: Options| Options {
            reset_stale_tcp: true,
            drop_invalid: true,
            detector: Detector::InterfacePrefix("veth".into()),
            ..base
        };
        let mut rules = 0;
        for options in [
            options(),
            ipvs_options(),
            strict(options()),
            strict(ipvs_options()),
        ] {
            for family in IpFamily::ALL {
                for chain in plan_all(&state, &options, family).chains() {
                    for wanted in &chain.rules {
                        let text = text::rule(wanted, family);
                        assert_eq!(rule(&text).as_ref(), Some(wanted), "{text}");
                        rules += 1;
                    }
                }
            }
        }
        assert!(rules > 200, "only {rules} rules");
    }

    #[test]
    fn rules_of_others_are_none() {
        for text in [
            "",
            "counter packets 0 bytes 0 accept",
            "ip saddr 10.0.0.0/8",
            "meta mark 1 accept",
            "ip daddr . th dport @",
            "accept accept",
            "meta l4proto { tcp } return",
            "dnat ip to 10.1.2.3",
            "numgen random mod 2 vmap { 0 : drop }",
            "[ quota ... ]",
        ] {
            assert_eq!(rule(text), None, "{text}");
        }
    }
}
