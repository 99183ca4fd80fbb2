// SPDX-License-Identifier: Apache-2.0
//! `ferrule debug rules`: what the kernel itself holds of a table, without nft and without the
//! encoder of [`backend`](crate::backend), so that it can disagree with both.
//!
//! [`read`] fetches chains, rules and sets; [`rule`] runs a rule's expressions with registers that
//! hold words in place of packet data and so finds the text again; [`value`] prints keys and data;
//! [`view`] is what comes out, for people or as JSON. The text is nft's wherever nft has one. What
//! an expression of an unknown kind does is not guessed at: it shows as `[ NAME ... ]`.

mod load;
mod others;
mod read;
mod rule;
mod set;
mod statement;
mod value;
mod view;

use std::io::Write;

use anyhow::{Context, bail};

use super::print::print;
use crate::backend::Error;
use crate::backend::ipvs::virtuals;
use crate::backend::netlink::Socket;
use crate::cli::{Family, Output, RulesArgs};
use crate::model::IpFamily;
use crate::plan::ipvs::{ServerKey, text};

pub(crate) use others::{Other, others};
pub use view::{Chain, Element, Listing, Rule, Set, Table};

/// What to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RulesOptions {
    /// Only the table of this family. None: all tables of that name, whatever their family.
    pub family: Option<IpFamily>,
    /// Name of the table.
    pub table: String,
    /// Only the set or map of this name, without chains.
    pub set: Option<String>,
    /// How many elements to show of a set or map; they are always counted.
    pub elements: usize,
    /// Named sets and maps without their elements: neither shown nor counted.
    pub bare: bool,
    /// Format.
    pub output: Output,
}

impl From<&RulesArgs> for RulesOptions {
    fn from(args: &RulesArgs) -> Self {
        let family = args.family.map(|family| match family {
            Family::Ip => IpFamily::V4,
            Family::Ip6 => IpFamily::V6,
        });
        let (set, elements, output) = (args.set.clone(), args.elements, args.output);
        Self {
            family,
            set,
            elements,
            output,
            ..Self::default()
        }
    }
}

impl Default for RulesOptions {
    fn default() -> Self {
        let table = crate::plan::nft::TABLE.to_owned();
        Self {
            family: None,
            table,
            set: None,
            elements: 20,
            bare: false,
            output: Output::Table,
        }
    }
}

/// How often a reading that a change interrupted is begun anew.
const ATTEMPTS: usize = 20;

/// Reads the table from the kernel and prints it.
///
/// # Errors
/// A missing table or set, by name; missing rights; the kernel's errors; those of `out`.
pub fn run(options: RulesOptions, out: &mut impl Write) -> anyhow::Result<()> {
    let mut listing = listing(&options)?;
    check(&listing, &options)?;
    if options.set.is_none() {
        listing.virtual_servers = virtual_servers(&options)?;
    }
    print(out, options.output, &listing, |out, _| {
        write!(out, "{listing}")
    })
}

/// What the kernel holds; no table is no error.
///
/// # Errors
/// Missing rights; the kernel's errors.
pub(super) fn listing(options: &RulesOptions) -> anyhow::Result<Listing> {
    let mut socket = Socket::netfilter()?;
    let listing = (1..)
        .map(|attempt| (attempt, read::listing(&mut socket, options)))
        .find(|(attempt, r)| *attempt == ATTEMPTS || !matches!(r, Err(Error::Interrupted)))
        .map_or(Err(Error::Interrupted), |(_, read)| read);
    match listing {
        Err(e) if e.errno() == Some(nix::libc::EPERM) => {
            Err(e).context("reading nftables needs CAP_NET_ADMIN (run it as root)")
        }
        Err(Error::Interrupted) => {
            bail!("the rules changed each of the {ATTEMPTS} times they were being read; try again")
        }
        other => Ok(other?),
    }
}

/// None where there is no link of that mode: to ask would load
/// the module.
fn virtual_servers(options: &RulesOptions) -> Result<Vec<String>, Error> {
    let all = virtuals::listing()?;
    let wanted = |key: &ServerKey| options.family.is_none_or(|family| key.family() == family);
    let shown = text::servers(all.iter().filter(|(key, _)| wanted(key)));
    Ok(shown.lines().map(str::to_owned).collect())
}

fn check(listing: &Listing, options: &RulesOptions) -> anyhow::Result<()> {
    let family = options
        .family
        .map(|f| format!(" of {f}"))
        .unwrap_or_default();
    let table = &options.table;
    if listing.tables.is_empty() {
        bail!("the kernel has no nftables table \"{table}\"{family} in this network namespace");
    }
    let Some(set) = &options.set else {
        return Ok(());
    };
    if listing.tables.iter().all(|t| t.sets.is_empty()) {
        bail!("the table \"{table}\"{family} has no set or map \"{set}\"");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
