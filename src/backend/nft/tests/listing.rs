// SPDX-License-Identifier: Apache-2.0
//! nft lists what we wrote, its listing loads back, and what it makes of that text is byte for
//! byte what we had sent.

use std::collections::BTreeMap;

use super::samples::{case_chain, everything, rules};
use super::{has_nft, nft, nft_commands};
use crate::backend::netlink::{Attrs, NLM_F_DUMP, NLM_F_REQUEST, Socket, Writer, cstr};
use crate::backend::nft::uapi::{msg, rule, set};
use crate::backend::nft::{Kernel, nfproto};
use crate::backend::testing::in_namespace;
use crate::backend::{Nftables, TableState};
use crate::model::IpFamily;
use crate::plan::nft::{Rule, TABLE};

/// Writes the rules into a fresh table and returns what reading gives.
fn write(family: IpFamily, rules: &[Rule]) -> TableState {
    let mut kernel = Kernel::open().unwrap();
    kernel.commit(family, &everything(family, rules)).unwrap();
    kernel.read_table(family).unwrap().unwrap()
}

/// The lines of each chain in a listing, without a base chain's head.
fn chains(listing: &str) -> BTreeMap<String, Vec<String>> {
    let mut chains = BTreeMap::new();
    let mut current = None;
    for line in listing.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("chain ") {
            current = Some(name.trim_end_matches(" {").to_owned());
        } else if line == "}" {
            current = None;
        } else if let (Some(name), false) = (&current, line.starts_with("type ")) {
            chains
                .entry(name.clone())
                .or_insert_with(Vec::new)
                .push(line.to_owned());
        }
    }
    chains
}

/// Asserts that each rule is listed as its text.
fn assert_listed(listing: &str, cases: &[(Rule, String)]) {
    let chains = chains(listing);
    for (n, (rule, text)) in cases.iter().enumerate() {
        let listed = &chains[case_chain(n).as_str()];
        assert_eq!(listed, std::slice::from_ref(text), "{rule:?}");
    }
}

/// Objects by name, the bytes of their attributes as hexadecimal numbers.
type Objects = BTreeMap<String, Vec<String>>;

/// The attributes of every object of a kind: those that nft decides. Anonymous sets are numbered
/// as they come, which is no difference.
fn raw(family: IpFamily, get: u16, kinds: &[u16]) -> Objects {
    let mut w = Writer::new();
    w.message(get, NLM_F_REQUEST | NLM_F_DUMP, 1, |w| {
        w.nfgenmsg(nfproto(family), 0)
    });
    let mut objects = BTreeMap::new();
    Socket::netfilter()
        .unwrap()
        .dump(w.as_bytes(), |_, payload| {
            let attrs = Attrs::new(&payload[4..]);
            assert_eq!(attrs.get(1).and_then(cstr), Some(TABLE));
            let hex = |kind: &u16| {
                let bytes = attrs.get(*kind).unwrap_or_default();
                let digits: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
                // __set1 is __set0.
                without_byteorder(digits.replace("5f5f73657431", "5f5f73657430"))
            };
            let name = attrs.get(2).and_then(cstr).unwrap().to_owned();
            let mut values: Vec<String> = kinds.iter().map(hex).collect();
            if name.starts_with("__set") {
                // nft 1.0.6 tells the size of an anonymous set, 1.1.3 does not.
                values.pop_if(|_| get == msg::GETSET);
            }
            objects.insert(name, values);
        })
        .unwrap();
    objects
}

/// nft turns the bytes of a key's protocol before it looks into an interval set. For a single byte
/// the kernel then does nothing (`nft_byteorder_eval`), so we leave the expression out.
fn without_byteorder(mut rule: String) -> String {
    const EXPRESSION: &str = "400001000e000100627974656f72646572000000";
    if let Some(start) = rule.find(EXPRESSION) {
        let digits = 2 * 0x40;
        assert!(
            rule[start..start + digits].contains("0800040000000001"),
            "more than one byte"
        );
        rule.replace_range(start..start + digits, "");
    }
    rule
}

/// What nft would decide about rules and sets. Our own record in a set's user data is cut off.
fn shape(family: IpFamily) -> (Objects, Objects) {
    let rules = raw(family, msg::GETRULE, &[rule::EXPRESSIONS]);
    let kinds = [
        set::USERDATA,
        set::FLAGS,
        set::KEY_TYPE,
        set::KEY_LEN,
        set::DATA_TYPE,
        set::DATA_LEN,
        set::DESC,
    ];
    let mut sets = raw(family, msg::GETSET, &kinds);
    for values in sets.values_mut() {
        if let Some((nft, ours)) = values[0].clone().rsplit_once("fe08") {
            assert_eq!(ours.len(), 16);
            values[0] = nft.to_owned();
        }
    }
    (rules, sets)
}

/// Asserts that objects are equal, one by one: a difference should fit on a screen.
fn assert_same(ours: &Objects, theirs: &Objects, what: &str) {
    assert_eq!(
        ours.keys().collect::<Vec<_>>(),
        theirs.keys().collect::<Vec<_>>(),
        "{what}"
    );
    for (name, values) in ours {
        assert_eq!(values, &theirs[name], "{name}, {what}");
    }
}

/// Whether it is a version of nft whose every byte was compared. Other ones may choose other
/// expressions for the same text; what they list must be right all the same.
fn watched(command: &str) -> bool {
    let version = nft(command, &["--version"], "");
    ["v1.0.6 ", "v1.1.3 "].iter().any(|v| version.contains(v))
}

fn lists_and_loads(family: IpFamily) {
    let cases = rules(family);
    let only: Vec<Rule> = cases.iter().map(|c| c.0.clone()).collect();
    write(family, &only);
    let ours = shape(family);
    for command in nft_commands() {
        let listing = nft(&command, &["list", "ruleset"], "");
        assert_listed(&listing, &cases);
        let (expected, cases) = (ours.clone(), cases.clone());
        in_namespace(move || {
            nft(&command, &["-f", "-"], &listing);
            let again = nft(&command, &["list", "ruleset"], "");
            assert_eq!(again, listing, "{command}");
            assert_listed(&again, &cases);
            if !watched(&command) {
                return;
            }
            let theirs = shape(family);
            assert_same(&expected.0, &theirs.0, &format!("rules of {command}"));
            assert_same(&expected.1, &theirs.1, &format!("sets of {command}"));
        });
    }
}

#[test]
fn nft_lists_and_loads_everything_in_ipv4() {
    in_namespace(|| {
        if has_nft() {
            lists_and_loads(IpFamily::V4);
        }
    });
}

#[test]
fn nft_lists_and_loads_everything_in_ipv6() {
    in_namespace(|| {
        if has_nft() {
            lists_and_loads(IpFamily::V6);
        }
    });
}
