// SPDX-License-Identifier: Apache-2.0
//! nftables objects as typed values: rules, chains, sets, elements and transactions.
//!
//! The same values are encoded for the kernel ([`backend`](crate::backend)), printed as nft text
//! ([`text`]) and walked by the packet tracer, so none of the three can drift from the others.
//! [`parse`] makes rules of nft text again, for what the kernel holds.

pub mod element;
pub mod found;
pub mod ops;
pub mod parse;
pub mod rule;
pub mod set;
pub mod text;

pub use element::{Data, Element, Key, Verdict};
pub use found::{ChainState, TableState, rule_fingerprint, set_fingerprint};
pub use ops::{Op, Transaction};
pub use rule::{Action, Base, ChainName, ChainSpec, Field, Hook, Match, Rule};
pub use set::{DataKind, SetId, SetName, SetSpec};

/// Name of our table, in the families ip and ip6.
pub const TABLE: &str = "ferrule";
