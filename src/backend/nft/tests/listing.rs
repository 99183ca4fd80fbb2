// SPDX-License-Identifier: Apache-2.0
//! nft lists what we wrote, its listing loads back, and what it makes of that text is byte for
//! byte what we had sent.

use std::collections::BTreeMap;

use super::samples::{case_chain, everything, rules, updates};
use super::{has_nft, nft, nft_commands};
use crate::backend::netlink::{Attrs, NLM_F_DUMP, NLM_F_REQUEST, Socket, Writer, be32, cstr};
use crate::backend::netns::in_namespace;
use crate::backend::nft::uapi::{msg, rule, set};
use crate::backend::nft::{Kernel, nfproto};
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
        assert_eq!(listed, &[text.clone()], "{rule:?}");
    }
}

/// The attributes of every object of a kind: by name, those that nft decides.
fn raw(family: IpFamily, get: u16, kinds: &[u16]) -> Vec<(Vec<u8>, Vec<Vec<u8>>)> {
    let mut w = Writer::new();
    w.message(get, NLM_F_REQUEST | NLM_F_DUMP, 1, |w| {
        w.nfgenmsg(nfproto(family), 0)
    });
    let mut objects = Vec::new();
    Socket::netfilter()
        .unwrap()
        .dump(w.as_bytes(), |_, payload| {
            let attrs = Attrs::new(&payload[4..]);
            assert_eq!(attrs.get(1).and_then(cstr), Some(TABLE));
            let values = kinds
                .iter()
                .map(|k| attrs.get(*k).unwrap_or_default().to_vec());
            objects.push((attrs.get(2).unwrap().to_vec(), values.collect()));
        })
        .unwrap();
    objects.sort();
    objects
}

/// What nft would decide about rules and sets. Our own record in a set's user data is cut off.
fn shape(family: IpFamily) -> (Vec<(Vec<u8>, Vec<Vec<u8>>)>, Vec<(Vec<u8>, Vec<Vec<u8>>)>) {
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
    for (_, values) in &mut sets {
        let anonymous = be32(&values[1]).unwrap_or(0) & set::ANONYMOUS != 0;
        let ours = values[0].len().saturating_sub(10);
        if !anonymous && values[0].get(ours) == Some(&0xfe) {
            values[0].truncate(ours);
        }
    }
    (rules, sets)
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
            let theirs = shape(family);
            assert_eq!(theirs.0, expected.0, "rules of {command}");
            assert_eq!(theirs.1, expected.1, "sets of {command}");
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

/// See [`updates`]: 1.0.6 lists them and cannot load them.
#[test]
fn nft_lists_updates_in_ipv6() {
    in_namespace(|| {
        if !has_nft() {
            return;
        }
        let cases = updates(IpFamily::V6);
        let only: Vec<Rule> = cases.iter().map(|c| c.0.clone()).collect();
        write(IpFamily::V6, &only);
        for command in nft_commands() {
            assert_listed(&nft(&command, &["list", "ruleset"], ""), &cases);
        }
    });
}
