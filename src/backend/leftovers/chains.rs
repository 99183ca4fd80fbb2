// SPDX-License-Identifier: Apache-2.0
//! Which chains of iptables are kube-proxy's, and what to delete so that they go. Pure.
//!
//! The names are those of kube-proxy v1.36 (`pkg/proxy/iptables`, `pkg/proxy/ipvs`: `cleanup.go`).
//! The kubelet's own `KUBE-IPTABLES-HINT`, `KUBE-KUBELET-CANARY` and `KUBE-FIREWALL` are not among
//! them: kube-proxy leaves them, and so do we.

use std::collections::{HashMap, HashSet};

use crate::backend::nft::foreign::{Deletion, ForeignChain, ForeignRule, ForeignTable};

/// Tables of iptables that kube-proxy has chains in.
pub(super) const TABLES: [&str; 3] = ["nat", "filter", "mangle"];

/// Chains that kube-proxy makes the built-in chains jump to, in iptables and ipvs mode.
const ENTRIES: [&str; 9] = [
    "KUBE-SERVICES",
    "KUBE-EXTERNAL-SERVICES",
    "KUBE-NODEPORTS",
    "KUBE-FORWARD",
    "KUBE-PROXY-FIREWALL",
    "KUBE-POSTROUTING",
    "KUBE-NODE-PORT",
    "KUBE-IPVS-FILTER",
    "KUBE-IPVS-OUT-FILTER",
];
/// Chains that only its own rules lead to.
const INNER: [&str; 4] = [
    MARK,
    "KUBE-PROXY-CANARY",
    "KUBE-LOAD-BALANCER",
    "KUBE-SOURCE-RANGES-FIREWALL",
];
/// Chains of one service port or endpoint begin so.
const PREFIXES: [&str; 6] = [
    "KUBE-SVC-",
    "KUBE-SVL-",
    "KUBE-SEP-",
    "KUBE-FW-",
    "KUBE-EXT-",
    // Until v1.23.
    "KUBE-XLB-",
];
/// Marks a packet, for [`MASQUERADING`] to masquerade.
const MARK: &str = "KUBE-MARK-MASQ";
const MASQUERADING: &str = "KUBE-POSTROUTING";

/// Whether a chain is kube-proxy's, by its name.
pub(super) fn is_kube_proxys(chain: &str) -> bool {
    ENTRIES.contains(&chain)
        || INNER.contains(&chain)
        || PREFIXES.iter().any(|p| chain.starts_with(p))
}

/// What to delete of one table of iptables.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Cut {
    /// Rules of the built-in chains that lead to kube-proxy's: chain and handle.
    pub(super) jumps: Vec<(String, u64)>,
    /// Chains.
    pub(super) chains: Vec<String>,
    /// Chains that stay because another's rule leads there: name, and that rule's chain.
    pub(super) kept: Vec<(String, String)>,
    /// `KUBE-FORWARD` goes, and what it used to accept is now dropped by the policy of `FORWARD`.
    pub(super) forward_drops: bool,
}

/// A rule by which packets come from others' chains to kube-proxy's.
struct Entrance<'a> {
    rule: &'a ForeignRule,
    to: &'a str,
    /// kube-proxy makes this one.
    own: bool,
}

fn entrances(table: &ForeignTable) -> Vec<Entrance<'_>> {
    let chains: HashMap<&str, &ForeignChain> = table
        .chains
        .iter()
        .map(|chain| (chain.name.as_str(), chain))
        .collect();
    let others = table.rules.iter().filter(|r| !is_kube_proxys(&r.chain));
    others
        .filter_map(|rule| {
            let to = rule.to.as_deref().filter(|to| is_kube_proxys(to))?;
            let base = chains.get(rule.chain.as_str()).is_some_and(|c| c.base);
            let own = base && ENTRIES.contains(&to);
            Some(Entrance { rule, to, own })
        })
        .collect()
}

/// The chains of kube-proxy that a foreign rule leads to, each with that rule's chain.
pub(super) fn kept(table: &ForeignTable) -> Vec<(String, String)> {
    entrances(table)
        .into_iter()
        .filter(|e| !e.own)
        .map(|e| (e.to.to_owned(), e.rule.chain.clone()))
        .collect()
}

/// Decides what to delete. A chain that a foreign rule leads to stays, with all that it needs. Of
/// the rules of kube-proxy's own chains only those of such chains need to be known.
pub(super) fn cut(table: &ForeignTable) -> Cut {
    let kept = kept(table);
    let needed = needed(table, kept.iter().map(|(chain, _)| chain.as_str()));
    // A mark is of no use unless somebody masquerades what has it.
    let masquerades = needed.contains(MARK);
    let jumps: Vec<Entrance<'_>> = entrances(table)
        .into_iter()
        .filter(|e| e.own && !(masquerades && e.to == MASQUERADING))
        .collect();
    let drops = |c: &ForeignChain| c.name == "FORWARD" && c.drops;
    let goes = |name: &&String| is_kube_proxys(name) && !needed.contains(name.as_str());
    Cut {
        forward_drops: jumps.iter().any(|e| e.to == "KUBE-FORWARD")
            && table.chains.iter().any(drops),
        jumps: jumps
            .iter()
            .map(|e| (e.rule.chain.clone(), e.rule.handle))
            .collect(),
        chains: table
            .chains
            .iter()
            .map(|c| &c.name)
            .filter(goes)
            .cloned()
            .collect(),
        kept,
    }
}

/// These chains, and those that their rules lead to, and so on.
fn needed<'a>(table: &'a ForeignTable, first: impl Iterator<Item = &'a str>) -> HashSet<&'a str> {
    let mut leads: HashMap<&str, Vec<&str>> = HashMap::new();
    for rule in &table.rules {
        if let Some(to) = &rule.to {
            leads.entry(&rule.chain).or_default().push(to);
        }
    }
    leads.entry(MARK).or_default().push(MASQUERADING);
    let (mut needed, mut todo) = (HashSet::new(), Vec::from_iter(first));
    while let Some(chain) = todo.pop() {
        if needed.insert(chain) {
            todo.extend(leads.get(chain).into_iter().flatten());
        }
    }
    needed
}

impl Cut {
    /// What takes all of it out of force.
    pub(super) fn unhooking(&self, table: &ForeignTable) -> impl Iterator<Item = Deletion> {
        let (family, name) = (table.family, table.name);
        self.jumps
            .iter()
            .map(move |(chain, handle)| Deletion::Rule(family, name, chain.clone(), *handle))
    }

    /// The rest, which no packet meets any more: first the rules, as they refer to chains.
    pub(super) fn rest(&self, table: &ForeignTable) -> (Vec<Deletion>, Vec<Deletion>) {
        let (family, name) = (table.family, table.name);
        let rules = |chain: &String| Deletion::Rules(family, name, chain.clone());
        let chains = |chain: &String| Deletion::Chain(family, name, chain.clone());
        (
            self.chains.iter().map(rules).collect(),
            self.chains.iter().map(chains).collect(),
        )
    }
}
