// SPDX-License-Identifier: Apache-2.0
//! Who may come in by address.

use ipnet::IpNet;

use super::value::{Wrong, network};
use super::{Draft, Reader, gate};

pub(super) fn read(reader: &mut Reader<'_>, draft: &mut Draft) {
    let names = ["allowlist-source-range", "whitelist-source-range"];
    if let Some(allow) = list(reader, &names) {
        gate(&mut draft.route).access.allow = allow;
    }
    if let Some(deny) = list(reader, &["denylist-source-range"]) {
        gate(&mut draft.route).access.deny = deny;
    }
}

/// A list by one of its names; the first that is there holds. An empty one names nobody, and closes
/// the paths as one that cannot be read does.
fn list(reader: &mut Reader<'_>, names: &[&str]) -> Option<Vec<IpNet>> {
    let name = first(reader, names)?;
    if reader.text(name).is_none() {
        reader.deny(name, "must be addresses and CIDRs, is empty");
        return None;
    }
    reader.guard(name, networks)
}

/// The first of some names that is there. What the others say does not hold, and is told.
#[track_caller]
pub(super) fn first<'n>(reader: &mut Reader<'_>, names: &[&'n str]) -> Option<&'n str> {
    let there = |name: &&&str| reader.ingress().annotations.contains_key(**name);
    let found: Vec<&str> = names.iter().filter(there).copied().collect();
    let (first, others) = found.split_first()?;
    for other in others {
        reader.text(other);
        let text = format!("has no effect beside {first}");
        reader.note(other, super::Kind::Invalid, text);
    }
    Some(*first)
}

/// Addresses and CIDRs between commas.
pub(crate) fn networks(value: &str) -> Result<Vec<IpNet>, Wrong> {
    let parse = |word: &str| {
        let word = word.trim();
        let wrong = || format!("must be addresses and CIDRs between commas, is {word:?}");
        network(word).ok_or_else(wrong)
    };
    value.split(',').map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{notes, read_all};
    use super::*;
    use crate::ingress::action::access::Access;

    fn access(annotations: &[(&str, &str)]) -> (Access, Option<String>, Vec<String>) {
        let read = read_all(annotations);
        let gate = read.plain.gate.as_ref();
        let denied = read.plain.denied.as_ref().map(ToString::to_string);
        let access = gate.map(|gate| gate.access.clone());
        (access.unwrap_or_default(), denied, notes(&read))
    }

    fn nets(text: &str) -> Vec<IpNet> {
        networks(text).expect(text)
    }

    #[test]
    fn lists_have_two_names_and_are_read() {
        for name in ["whitelist-source-range", "allowlist-source-range"] {
            let (access, denied, notes) = access(&[(name, "10.0.0.0/8, 192.0.2.1,2001:db8::/32")]);
            assert_eq!(access.allow, nets("10.0.0.0/8,192.0.2.1/32,2001:db8::/32"));
            assert_eq!((denied, notes.len()), (None, 0));
        }
        let (access, ..) = access(&[("denylist-source-range", "192.0.2.1")]);
        assert_eq!(access.deny, nets("192.0.2.1"));
        assert!(access.allow.is_empty());
    }

    #[test]
    fn two_names_at_once_are_told() {
        let (access, _, notes) = access(&[
            ("whitelist-source-range", "10.0.0.0/8"),
            ("allowlist-source-range", "192.0.2.0/24"),
        ]);
        assert_eq!(access.allow, nets("192.0.2.0/24"));
        assert_eq!(
            notes,
            ["annotation whitelist-source-range: has no effect beside allowlist-source-range"]
        );
    }

    #[test]
    fn a_list_that_cannot_be_read_lets_nobody_in() {
        for (name, value) in [
            ("whitelist-source-range", "10.0.0.0/33"),
            ("whitelist-source-range", "10.0.0.0/8 192.0.2.1"),
            ("whitelist-source-range", "10.0.0.0/8,"),
            ("allowlist-source-range", ""),
            ("denylist-source-range", "everybody"),
            ("denylist-source-range", " "),
        ] {
            let (_, denied, notes) = access(&[(name, value)]);
            assert_eq!(denied.as_deref(), Some(name), "{value:?}");
            assert!(notes[0].ends_with("; its paths answer 503"), "{notes:?}");
        }
    }
}
