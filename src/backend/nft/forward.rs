// SPDX-License-Identifier: Apache-2.0
//! Base chains of others that forwarded packets pass. Only read, never changed.

use std::collections::HashSet;
use std::{fmt, fs, io};

use nix::libc::{NFPROTO_INET, NFPROTO_IPV4, NFPROTO_IPV6};

use super::Kernel;
use super::read::NFGENMSG;
use super::uapi::{chain, msg, table};
use crate::backend::Error;
use crate::backend::netlink::{Attrs, NLM_F_DUMP, be32};
use crate::model::IpFamily;
use crate::plan::nft::TABLE;

/// `NF_INET_FORWARD` of `linux/netfilter.h`.
const FORWARD: u32 = 2;
/// `NF_DROP` of `linux/netfilter.h`.
const DROP: u32 = 0;
/// `NFT_TABLE_F_DORMANT`: the base chains of the table are not hooked.
const DORMANT: u32 = 1;

/// Family of a table that forwarded packets of IP meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TableFamily {
    /// IPv4.
    Ip,
    /// IPv6.
    Ip6,
    /// Both.
    Inet,
}

impl TableFamily {
    fn from_number(number: u8) -> Option<Self> {
        match i32::from(number) {
            NFPROTO_IPV4 => Some(Self::Ip),
            NFPROTO_IPV6 => Some(Self::Ip6),
            NFPROTO_INET => Some(Self::Inet),
            _ => None,
        }
    }
}

impl fmt::Display for TableFamily {
    /// As nft writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ip => "ip",
            Self::Ip6 => "ip6",
            Self::Inet => "inet",
        })
    }
}

/// A base chain at the forward hook.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ForwardChain {
    /// Family of its table.
    pub family: TableFamily,
    /// Name of its table.
    pub table: String,
    /// Its name.
    pub name: String,
    /// Where it comes among the chains of the hook; smaller is earlier.
    pub priority: i32,
    /// Policy drop: what none of its rules decides is dropped.
    pub drops: bool,
}

impl ForwardChain {
    /// Whether it is in one of our tables.
    pub fn is_ours(&self) -> bool {
        self.table == TABLE && self.family != TableFamily::Inet
    }
}

impl Kernel {
    /// All base chains at the forward hook that are in force, of whomever; no rules. One listing of
    /// tables and one of chains.
    ///
    /// # Errors
    /// If the kernel refuses, or the ruleset changes all the time.
    pub fn forward_chains(&mut self) -> Result<Vec<ForwardChain>, Error> {
        self.consistent(|kernel| {
            let mut dormant = HashSet::new();
            kernel.list(msg::GETTABLE, "tables", |family, attrs| {
                let flags = attrs.get(table::FLAGS).and_then(be32).unwrap_or_default();
                if flags & DORMANT != 0 {
                    dormant.insert((family, lossy(attrs, table::NAME)));
                }
            })?;
            let mut chains = Vec::new();
            kernel.list(msg::GETCHAIN, "chains", |family, attrs| {
                chains.extend(forward_chain(family, attrs));
            })?;
            chains.retain(|c: &ForwardChain| !dormant.contains(&(c.family, c.table.clone())));
            chains.sort_unstable();
            Ok(chains)
        })
    }

    /// Passes on what there is of one kind in the tables of all families.
    fn list(
        &mut self,
        kind: u16,
        what: &'static str,
        mut each: impl FnMut(TableFamily, &Attrs<'_>),
    ) -> Result<(), Error> {
        let listed = self.exchange(
            None,
            kind,
            NLM_F_DUMP,
            |_| (),
            |_, payload| {
                if let Some((family, attrs)) = of_family(payload) {
                    each(family, &attrs);
                }
            },
        );
        listed.map_err(|e| e.about("list", what))
    }
}

fn of_family(payload: &[u8]) -> Option<(TableFamily, Attrs<'_>)> {
    let family = TableFamily::from_number(*payload.first()?)?;
    Some((family, Attrs::new(payload.get(NFGENMSG..)?)))
}

/// A chain at the forward hook, if a message is about one.
pub(super) fn read(payload: &[u8]) -> Option<ForwardChain> {
    let (family, attrs) = of_family(payload)?;
    forward_chain(family, &attrs)
}

/// None for a chain at another hook or at none.
fn forward_chain(family: TableFamily, attrs: &Attrs<'_>) -> Option<ForwardChain> {
    let hook = Attrs::new(attrs.get(chain::HOOK)?);
    if hook.get(chain::HOOK_HOOKNUM).and_then(be32) != Some(FORWARD) {
        return None;
    }
    Some(ForwardChain {
        family,
        table: lossy(attrs, chain::TABLE),
        name: lossy(attrs, chain::NAME),
        priority: hook.get(chain::HOOK_PRIORITY).and_then(be32)? as i32,
        drops: attrs.get(chain::POLICY).and_then(be32) == Some(DROP),
    })
}

/// A name that others have chosen, to be shown.
fn lossy(attrs: &Attrs<'_>, kind: u16) -> String {
    let bytes = attrs.get(kind).unwrap_or_default();
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// Whether the old iptables (`iptables-legacy`) has a table `filter` in this thread's network
/// namespace. nf_tables shows nothing of it, and reading its policy takes the old interface.
///
/// # Errors
/// If the list of its tables is there and cannot be read.
pub fn has_legacy_filter(family: IpFamily) -> io::Result<bool> {
    Ok(legacy_tables(family)?.lines().any(|name| name == "filter"))
}

/// The old iptables' tables of this thread's network namespace, one a line.
///
/// # Errors
/// If the list is there and cannot be read.
pub(in crate::backend) fn legacy_tables(family: IpFamily) -> io::Result<String> {
    let file = match family {
        IpFamily::V4 => "ip_tables_names",
        IpFamily::V6 => "ip6_tables_names",
    };
    // Not /proc/net, which is that of the process' first thread.
    match fs::read_to_string(format!("/proc/thread-self/net/{file}")) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        names => names,
    }
}
