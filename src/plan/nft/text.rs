// SPDX-License-Identifier: Apache-2.0
//! Rules, sets and elements in nft syntax: for people, golden files and fingerprints.

use std::fmt::Write;

use super::{
    Action, ChainSpec, Data, DataKind, Element, Field, Key, Match, Rule, SetName, SetSpec, Verdict,
    element::KeyPart,
};
use crate::model::IpFamily;
use crate::plan::ruleset::Ruleset;

/// nft's word for the family: `ip` or `ip6`.
pub fn family_word(family: IpFamily) -> &'static str {
    match family {
        IpFamily::V4 => "ip",
        IpFamily::V6 => "ip6",
    }
}

/// One part of a key, as an expression.
fn field(field: Field, family: IpFamily) -> String {
    let ip = family_word(family);
    match field {
        Field::Source => format!("{ip} saddr"),
        Field::Destination => format!("{ip} daddr"),
        Field::Protocol => "meta l4proto".into(),
        Field::Port => "th dport".into(),
        Field::SourcePort => "th sport".into(),
        Field::Random { modulus, offset: 0 } => format!("numgen random mod {modulus}"),
        Field::Random { modulus, offset } => {
            format!("numgen random mod {modulus} offset {offset}")
        }
        Field::OriginalSource => format!("ct original {ip} saddr"),
        Field::OriginalDestination => format!("ct original {ip} daddr"),
        Field::OriginalPort => "ct original proto-dst".into(),
    }
}

/// A concatenation of expressions.
pub fn fields(key: &[Field], family: IpFamily) -> String {
    key.iter()
        .map(|f| field(*f, family))
        .collect::<Vec<_>>()
        .join(" . ")
}

fn condition(condition: &Match, family: IpFamily) -> String {
    let not = |negated: &bool| if *negated { "!= " } else { "" };
    match condition {
        Match::InSet(key, set) => format!("{} @{set}", fields(key, family)),
        Match::Prefix(f, net, negated) => format!("{} {}{net}", field(*f, family), not(negated)),
        Match::Interface(name, negated) => format!("iifname {}\"{name}\"", not(negated)),
        Match::SourceLocal => "fib saddr type local".into(),
        Match::DestinationNotLocal => "fib daddr type != local".into(),
        Match::Translated => "ct status dnat".into(),
        Match::ProtocolIs(protocol) => format!("meta l4proto {protocol}"),
        Match::PortIs(port) => format!("th dport {port}"),
        Match::KnownProtocol => "meta l4proto { tcp, udp, sctp }".into(),
        Match::MidStream => "tcp flags ! syn".into(),
        Match::Invalid => "ct state invalid".into(),
    }
}

fn action(action: &Action, family: IpFamily) -> String {
    match action {
        Action::Accept => "accept".into(),
        Action::Drop => "drop".into(),
        Action::Return => "return".into(),
        Action::Goto(chain) => format!("goto {chain}"),
        Action::Jump(chain) => format!("jump {chain}"),
        Action::Reject => "reject".into(),
        Action::Reset => "reject with tcp reset".into(),
        Action::Dnat(key, map) => {
            format!(
                "dnat {} to {} map @{map}",
                family_word(family),
                fields(key, family)
            )
        }
        Action::DnatTo { key, map, port } => {
            let (ip, key) = (family_word(family), fields(key, family));
            format!("dnat {ip} to {key} map @{map} : {port}")
        }
        Action::VerdictMap(key, map) => format!("{} vmap @{map}", fields(key, family)),
        Action::Masquerade => "masquerade fully-random".into(),
        Action::Update {
            set,
            key,
            timeout,
            data,
        } => format!(
            "update @{set} {{ {} timeout {timeout}s : {} }}",
            fields(key, family),
            fields(data, family)
        ),
    }
}

/// A rule, without a line end.
pub fn rule(rule: &Rule, family: IpFamily) -> String {
    let mut words: Vec<String> = rule.matches.iter().map(|m| condition(m, family)).collect();
    words.push(action(&rule.action, family));
    words.join(" ")
}

/// A set's definition, on one line and without elements.
pub fn set(spec: &SetSpec, family: IpFamily) -> String {
    let (kind, data) = match spec.data {
        DataKind::None => ("set", String::new()),
        DataKind::Verdict => ("map", " : verdict".into()),
        DataKind::Address => (
            "map",
            format!(" : {}", fields(&[Field::Destination], family)),
        ),
        DataKind::Target => (
            "map",
            format!(" : {}", fields(&[Field::Destination, Field::Port], family)),
        ),
    };
    let mut line = format!(
        "{kind} {} {{ typeof {}{data};",
        spec.name,
        fields(&spec.key, family)
    );
    if let Some(size) = spec.dynamic {
        let _ = write!(line, " size {size}; flags dynamic,timeout;");
    }
    if spec.interval {
        line.push_str(" flags interval;");
    }
    line.push_str(" }");
    line
}

/// A key's values, joined by dots.
pub fn key(key: &Key, fields: &[Field], family: IpFamily) -> String {
    let parts = key.parts(fields, family);
    parts.iter().map(key_part).collect::<Vec<_>>().join(" . ")
}

fn key_part(part: &KeyPart) -> String {
    match part {
        KeyPart::Address(a) => a.to_string(),
        KeyPart::Protocol(6) => "tcp".into(),
        KeyPart::Protocol(17) => "udp".into(),
        KeyPart::Protocol(132) => "sctp".into(),
        KeyPart::Protocol(n) => n.to_string(),
        KeyPart::Port(p) => p.to_string(),
        KeyPart::Index(i) => i.to_string(),
    }
}

/// A range of keys: equal parts once, differing ones as `low-high`.
fn key_range(low: &Key, high: &Key, fields: &[Field], family: IpFamily) -> String {
    let ends = low
        .parts(fields, family)
        .into_iter()
        .zip(high.parts(fields, family));
    let range = |(low, high): (KeyPart, KeyPart)| match low == high {
        true => key_part(&low),
        false => format!("{}-{}", key_part(&low), key_part(&high)),
    };
    ends.map(range).collect::<Vec<_>>().join(" . ")
}

/// A verdict.
pub fn verdict(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Drop => "drop".into(),
        Verdict::Goto(chain) => format!("goto {chain}"),
        Verdict::Jump(chain) => format!("jump {chain}"),
    }
}

/// An element with its data.
pub fn element(element: &Element, family: IpFamily) -> String {
    let spec = element.set.spec();
    let mut text = match &element.end {
        Some(end) => key_range(&element.key, end, &spec.key, family),
        None => key(&element.key, &spec.key, family),
    };
    match &element.data {
        Data::None => {}
        Data::Target(address, port) => {
            let _ = write!(text, " : {address} . {port}");
        }
        Data::Address(address) => {
            let _ = write!(text, " : {address}");
        }
        Data::Verdict(v) => {
            let _ = write!(text, " : {}", verdict(v));
        }
    }
    text
}

/// The head line of a base chain, if it is one.
fn base(chain: &ChainSpec) -> Option<String> {
    let base = chain.base?;
    let (kind, hook, priority) = (base.hook.chain_type(), base.hook.word(), base.priority);
    Some(format!(
        "type {kind} hook {hook} priority {priority}; policy accept;"
    ))
}

/// A whole ruleset as a file for `nft -f`.
pub fn ruleset(ruleset: &Ruleset, family: IpFamily) -> String {
    let mut out = format!("table {} {} {{\n", family_word(family), super::TABLE);
    for spec in ruleset.sets.values() {
        let line = set(spec, family);
        let elements: Vec<String> = match &spec.name {
            SetName::Fixed(id) => ruleset
                .elements_of(*id)
                .map(|e| element(e, family))
                .collect(),
            SetName::Own(_) => Vec::new(),
        };
        let line = match elements.is_empty() {
            true => line,
            false => {
                let body = line.trim_end_matches(" }");
                format!(
                    "{body} elements = {{\n\t\t{} }} }}",
                    elements.join(",\n\t\t")
                )
            }
        };
        let _ = writeln!(out, "\t{line}");
    }
    for chain in ruleset.chains.values() {
        let _ = writeln!(out, "\tchain {} {{", chain.name);
        if let Some(base) = base(chain) {
            let _ = writeln!(out, "\t\t{base}");
        }
        for r in &chain.rules {
            let _ = writeln!(out, "\t\t{}", rule(r, family));
        }
        out.push_str("\t}\n");
    }
    out.push_str("}\n");
    out
}

#[cfg(test)]
mod tests {
    use crate::model::IpFamily;
    use crate::plan::fixture::{options, plan_all, showcase};

    /// The whole ruleset of the showcase. `UPDATE_GOLDEN=1 cargo test golden` rewrites the file.
    #[test]
    fn golden() {
        let ruleset = plan_all(&showcase(), &options(), IpFamily::V4).ruleset();
        let text = super::ruleset(&ruleset, IpFamily::V4);
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/plan/golden/showcase.nft");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(path, &text).expect("a writable golden file");
        }
        let golden = std::fs::read_to_string(path).unwrap_or_default();
        assert_eq!(
            text, golden,
            "{path} differs; if that is meant: UPDATE_GOLDEN=1"
        );
    }
}
