// SPDX-License-Identifier: Apache-2.0
//! What kube-proxy left in the kernel, in any of its modes: finds it and removes it.
//!
//! | left by mode | what | here |
//! |---|---|---|
//! | nftables | the tables `ip kube-proxy` and `ip6 kube-proxy` | removed |
//! | iptables, ipvs | `KUBE-*` chains of iptables-nft, and the jumps to them | removed |
//! | iptables, ipvs | the same of iptables-legacy, which netlink does not show | told |
//! | ipvs | virtual servers, the link `kube-ipvs0`, `KUBE-*` IP sets | told |
//!
//! All that is removed goes in one transaction, both families together: a packet meets kube-proxy's
//! rules whole or not at all. Whose a chain is, its name tells (`chains`); what
//! another's rule leads to stays.

mod chains;
mod report;
#[cfg(test)]
mod tests;

use std::fs;

pub use self::report::{Left, Removed, Swept};
use super::Error;
use super::nft::Kernel;
use super::nft::foreign::Deletion;
use crate::model::IpFamily;

/// Name of kube-proxy's own tables in nftables mode.
const KUBE_PROXY: &str = "kube-proxy";
/// How often the removal is tried anew because somebody changed the ruleset meanwhile.
const ATTEMPTS: usize = 20;
/// The kubelet makes this chain, in table mangle, with the iptables that the node uses.
const HINT: &str = "KUBE-IPTABLES-HINT";

/// Removes all that can be removed, and tells what was removed and what is left.
///
/// # Errors
/// If the kernel could not be read, or refused; then nothing is removed.
/// [`Error::Interrupted`] if others kept changing the ruleset.
pub fn sweep(kernel: &mut Kernel) -> Result<Swept, Error> {
    for _ in 0..ATTEMPTS {
        match attempt(kernel) {
            Err(Error::Interrupted) => {}
            done => return done,
        }
    }
    Err(Error::Interrupted)
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

fn attempt(kernel: &mut Kernel) -> Result<Swept, Error> {
    let generation = kernel.generation()?;
    let (mut swept, mut deletions) = (Swept::default(), Vec::new());
    for (family, _) in families() {
        if kernel.has_foreign_table(family, KUBE_PROXY)? {
            deletions.push(Deletion::Table(family, KUBE_PROXY));
            swept.removed.push(Removed::Table { family });
        }
        for table in chains::TABLES {
            cut_chains(kernel, family, table, &mut swept, &mut deletions)?;
        }
    }
    if !deletions.is_empty() {
        kernel.delete_foreign(&deletions, generation)?;
    }
    swept.left.extend(legacy(kernel)?);
    swept.left.extend(ipvs());
    Ok(swept)
}

fn cut_chains(
    kernel: &mut Kernel,
    family: IpFamily,
    table: &'static str,
    swept: &mut Swept,
    deletions: &mut Vec<Deletion>,
) -> Result<(), Error> {
    let Some(found) = kernel.foreign_table(family, table)? else {
        return Ok(());
    };
    let cut = chains::cut(&found);
    deletions.extend(cut.deletions(&found));
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
    let loaded = ["ip_tables_names", "ip6_tables_names"]
        .map(|file| fs::read_to_string(format!("/proc/thread-self/net/{file}")));
    let loaded = loaded.map(Result::unwrap_or_default).concat();
    let has = |table: &str| loaded.lines().any(|line| line == table);
    Ok((has("nat") && has("filter")).then_some(Left::Legacy))
}

/// kube-proxy's ipvs mode holds its addresses on this link for as long as it has virtual servers.
fn ipvs() -> Option<Left> {
    let links = fs::read_to_string("/proc/thread-self/net/dev").unwrap_or_default();
    let bound = |line: &str| line.trim_start().starts_with("kube-ipvs0:");
    links.lines().any(bound).then_some(Left::Ipvs)
}
