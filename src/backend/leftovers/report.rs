// SPDX-License-Identifier: Apache-2.0
//! What came of a removal, in words.

use std::fmt;

use crate::model::IpFamily;
use crate::plan::nft::text::family_word;

/// What came of a removal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Swept {
    /// Gone.
    pub removed: Vec<Removed>,
    /// Left, or to be known.
    pub left: Vec<Left>,
}

/// Something that was removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removed {
    /// A table of kube-proxy's nftables mode.
    Table {
        /// Its family.
        family: IpFamily,
    },
    /// Chains of its iptables or ipvs mode.
    Chains {
        /// Family of the table.
        family: IpFamily,
        /// The table of iptables.
        table: &'static str,
        /// How many chains.
        chains: usize,
        /// How many rules of the built-in chains led there.
        jumps: usize,
    },
    /// Virtual servers of its ipvs mode.
    VirtualServers {
        /// How many.
        servers: usize,
    },
    /// The link that held their addresses.
    Link,
    /// IP sets of its ipvs mode.
    IpSets {
        /// How many.
        sets: usize,
    },
}

/// Something that is left, or that its removal brought about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Left {
    /// A chain, and those that it leads to, because a rule leads there that is not kube-proxy's.
    Used {
        /// Family of the table.
        family: IpFamily,
        /// The table of iptables.
        table: &'static str,
        /// The chain.
        chain: String,
        /// The chain of that rule.
        by: String,
    },
    /// iptables-legacy is in use; whether by kube-proxy, netlink does not show.
    Legacy,
    /// An IP set of ipvs mode that a rule of somebody else refers to.
    IpSet {
        /// Its name.
        set: String,
    },
    /// `FORWARD` drops what no rule accepts, and `KUBE-FORWARD` accepts nothing any more.
    ForwardDrops {
        /// Family of the table.
        family: IpFamily,
    },
}

impl fmt::Display for Removed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Removed::Table { family } => write!(f, "table {} kube-proxy", family_word(*family)),
            Removed::Chains {
                family,
                table,
                chains,
                jumps,
            } => write!(
                f,
                "{chains} chains of {} {table}, and {jumps} rules that led there",
                family_word(*family)
            ),
            Removed::VirtualServers { servers } => write!(f, "{servers} virtual servers"),
            Removed::Link => f.write_str("the link kube-ipvs0"),
            Removed::IpSets { sets } => write!(f, "{sets} IP sets"),
        }
    }
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Left::Used {
                family,
                table,
                chain,
                by,
            } => write!(
                f,
                "chain {} {table} {chain} stays: a rule of {by} leads there",
                family_word(*family)
            ),
            Left::Legacy => f.write_str(
                "tables of iptables-legacy are in use, which ferrule can't read. If \
                 `iptables-legacy-save` on the host shows KUBE-SVC chains, run `kube-proxy \
                 --cleanup` from kube-proxy's image; ferrule's rules stay in force meanwhile",
            ),
            Left::IpSet { set } => {
                write!(
                    f,
                    "IP set {set} stays: a rule that is not kube-proxy's refers to it"
                )
            }
            Left::ForwardDrops { family } => write!(
                f,
                "chain {} filter FORWARD drops what no rule accepts, and kube-proxy's rule that \
                 accepted traffic to Services is gone: accept traffic to and from pods there",
                family_word(*family)
            ),
        }
    }
}
