// SPDX-License-Identifier: Apache-2.0
//! What kube-proxy left in the kernel, in any of its modes: finds it and removes it.
//!
//! | left by mode | what | here |
//! |---|---|---|
//! | nftables | the tables `ip kube-proxy` and `ip6 kube-proxy` | removed |
//! | iptables, ipvs | `KUBE-*` chains of iptables-nft, and the jumps to them | removed |
//! | iptables, ipvs | the same of iptables-legacy, which netlink does not show | told |
//! | ipvs | virtual servers, the link `kube-ipvs0`, `KUBE-*` IP sets | removed as their connections end ([`Remains`]) |
//!
//! All rules go out of force in one transaction, both families together: a packet meets
//! kube-proxy's rules whole or not at all. Chains that nothing leads to any more follow in many
//! small
//! transactions, so that nobody else's waits long. Whose a chain is, its name tells (`chains`); what
//! another's rule leads to stays.

mod chains;
pub(super) mod fuzzing;
mod ipsets;
mod ipvs;
#[cfg(test)]
mod ipvs_tests;
mod report;
mod sockets;
#[cfg(test)]
mod tests;

use std::collections::HashSet;

use ipnet::IpNet;
use nix::libc::{EBUSY, ENOENT};

use self::chains::is_kube_proxys;
pub use self::ipvs::{NodePort, Remains, Step, node_ports, sweep_node_ports};
pub use self::report::{Left, Removed, Swept};
use super::Error;
use super::nft::Kernel;
use super::nft::foreign::{Deletion, ForeignTable};
use super::nft::forward::legacy_tables;
use crate::model::IpFamily;

/// Name of kube-proxy's own tables in nftables mode.
const KUBE_PROXY: &str = "kube-proxy";
/// How often the removal is tried anew because somebody changed the ruleset meanwhile.
const ATTEMPTS: usize = 20;
/// Chains that one transaction empties or deletes. Tests must need several.
const PART: usize = if cfg!(test) { 7 } else { 1_000 };
/// The kubelet makes this chain, in table mangle, with the iptables that the node uses.
const HINT: &str = "KUBE-IPTABLES-HINT";

/// Removes all that can be removed, and tells what was removed and what is left.
///
/// # Errors
/// If the kernel could not be read, or refused. [`Error::Interrupted`] if others kept changing the
/// ruleset. What has not been removed is still there whole, or is out of force.
pub fn sweep(kernel: &mut Kernel) -> Result<Swept, Error> {
    let mut first = None;
    for _ in 0..ATTEMPTS {
        match attempt(kernel, &mut first) {
            Ok(()) => return Ok(first.unwrap_or_default()),
            Err(Error::Interrupted) => {}
            Err(error) => return Err(error),
        }
    }
    Err(Error::Interrupted)
}

/// Removes at once what an IPVS mode left: connections through it end. Its rules have to be gone.
/// `ours` are the NodePorts of our own (see [`node_ports`]).
///
/// # Errors
/// As [`sweep`].
pub fn sweep_ipvs(
    excluded: &[IpNet],
    ours: impl IntoIterator<Item = NodePort>,
) -> Result<Swept, Error> {
    let mut swept = Swept::default();
    if let Some(mut remains) = Remains::find(excluded, ours)? {
        let step = remains.step(true)?;
        swept.removed.extend(step.removed());
        let sets = sweep_sets()?;
        swept.removed.extend(sets.removed);
        swept.left.extend(sets.left);
    }
    Ok(swept)
}

/// Removes kube-proxy's IP sets and nothing else. Its rules have to be gone.
///
/// # Errors
/// As [`sweep`].
pub fn sweep_sets() -> Result<Swept, Error> {
    let mut swept = Swept::default();
    if let Some(mut sets) = ipsets::IpSets::open()? {
        let done = sets.destroy()?;
        let removed = (done.sets > 0).then_some(Removed::IpSets { sets: done.sets });
        swept.removed.extend(removed);
        let left = done.in_use.into_iter().map(|set| Left::IpSet { set });
        swept.left.extend(left);
    }
    Ok(swept)
}

/// Whether rules are there that only kube-proxy makes; names one of them. Costs a few small
/// requests, however many rules there are.
///
/// # Errors
/// If the kernel could not be read.
pub fn present(kernel: &mut Kernel) -> Result<Option<String>, Error> {
    for (family, word) in families() {
        if kernel.has_foreign_table(family, KUBE_PROXY)? {
            return Ok(Some(format!("table {word} {KUBE_PROXY}")));
        }
        if kernel.has_foreign_chain(family, "nat", "KUBE-SERVICES")? {
            return Ok(Some(format!("chain {word} nat KUBE-SERVICES")));
        }
    }
    Ok(None)
}

/// What is to be deleted, in this order.
#[derive(Default)]
struct Plan {
    /// At once.
    unhooking: Vec<Deletion>,
    /// In parts.
    rules: Vec<Deletion>,
    /// In parts.
    chains: Vec<Deletion>,
}

/// One reading, and the removal of what it found. `first` keeps what the first removal told, so
/// that one that was interrupted half-way is told once.
fn attempt(kernel: &mut Kernel, first: &mut Option<Swept>) -> Result<(), Error> {
    let generation = kernel.generation()?;
    let (mut swept, mut plan) = (Swept::default(), Plan::default());
    for (family, _) in families() {
        if kernel.has_foreign_table(family, KUBE_PROXY)? {
            plan.unhooking.push(Deletion::Table(family, KUBE_PROXY));
            swept.removed.push(Removed::Table { family });
        }
        for table in chains::TABLES {
            cut_chains(kernel, family, table, &mut swept, &mut plan)?;
        }
    }
    swept.left.extend(legacy(kernel)?);
    if !plan.unhooking.is_empty() {
        kernel.delete_foreign(&plan.unhooking, Some(generation))?;
    }
    first.get_or_insert(swept);
    for part in plan.rules.chunks(PART).chain(plan.chains.chunks(PART)) {
        kernel.delete_foreign(part, None).map_err(changed)?;
    }
    Ok(())
}

/// Somebody has removed one of the chains, or filled one anew: both show in the next reading.
fn changed(error: Error) -> Error {
    match error.errno() {
        Some(ENOENT | EBUSY) => Error::Interrupted,
        _ => error,
    }
}

fn cut_chains(
    kernel: &mut Kernel,
    family: IpFamily,
    table: &'static str,
    swept: &mut Swept,
    plan: &mut Plan,
) -> Result<(), Error> {
    let Some(found) = read(kernel, family, table)? else {
        return Ok(());
    };
    let cut = chains::cut(&found);
    let (rules, chains) = cut.rest(&found);
    plan.unhooking.extend(cut.unhooking(&found));
    plan.rules.extend(rules);
    plan.chains.extend(chains);
    if !cut.chains.is_empty() {
        swept.removed.push(Removed::Chains {
            family,
            table,
            chains: cut.chains.len(),
            jumps: cut.jumps.len(),
        });
    }
    if cut.forward_drops {
        swept.left.push(Left::ForwardDrops { family });
    }
    let kept = cut.kept.into_iter().map(|(chain, by)| Left::Used {
        family,
        table,
        chain,
        by,
    });
    swept.left.extend(kept);
    Ok(())
}

/// A table with the rules of all chains that are not kube-proxy's, and of those that they need.
fn read(
    kernel: &mut Kernel,
    family: IpFamily,
    name: &'static str,
) -> Result<Option<ForeignTable>, Error> {
    let Some(chains) = kernel.foreign_chains(family, name)? else {
        return Ok(None);
    };
    let mut table = ForeignTable {
        family,
        name,
        chains,
        rules: Vec::new(),
    };
    if !table.chains.iter().any(|c| is_kube_proxys(&c.name)) {
        return Ok(Some(table));
    }
    let others = table.chains.iter().filter(|c| !is_kube_proxys(&c.name));
    for chain in others {
        let rules = kernel.foreign_rules(family, name, &chain.name)?;
        table.rules.extend(rules);
    }
    let mut seen = HashSet::new();
    let mut todo = chains::kept(&table);
    while let Some((chain, _)) = todo.pop() {
        if seen.insert(chain.clone()) {
            let rules = kernel.foreign_rules(family, name, &chain)?;
            let further = rules.iter().filter_map(|r| r.to.clone());
            todo.extend(further.map(|to| (to, chain.clone())));
            table.rules.extend(rules);
        }
    }
    Ok(Some(table))
}

fn families() -> impl Iterator<Item = (IpFamily, &'static str)> {
    IpFamily::ALL
        .into_iter()
        .map(|family| (family, crate::plan::nft::text::family_word(family)))
}

/// Tables of iptables-legacy. Only its own system calls show what they hold; if the kubelet has
/// found iptables-nft in use on this node, it is not kube-proxy's.
fn legacy(kernel: &mut Kernel) -> Result<Option<Left>, Error> {
    if kernel.has_foreign_chain(IpFamily::V4, "mangle", HINT)? {
        return Ok(None);
    }
    let loaded = IpFamily::ALL.map(|family| legacy_tables(family).unwrap_or_default());
    let loaded = loaded.concat();
    let has = |table: &str| loaded.lines().any(|line| line == table);
    Ok((has("nat") && has("filter")).then_some(Left::Legacy))
}
