// SPDX-License-Identifier: Apache-2.0
//! From what the cluster says to what the kernel should hold. PURE.
//!
//! [`service`] plans one Service and [`skeleton`] the node's own part; each gives a
//! [`Contribution`]. The [`ledger`] adds contributions up and turns a changed one into a
//! [`nft::Transaction`]. [`trace`] walks a packet through the result.

pub mod balance;
pub mod change;
pub mod contribution;
#[cfg(test)]
pub(crate) mod fixture;
pub mod frontend;
pub mod image;
pub mod ipvs;
pub mod ledger;
pub mod nft;
pub mod options;
pub mod order;
pub mod resync;
pub mod ruleset;
pub mod service;
pub mod skeleton;
pub mod stale;
pub mod structure;
pub mod trace;

pub use contribution::{Contribution, PortPlan};
pub use options::{Detector, IpvsOptions, Mode, NodePortAddresses, Options};
pub use ruleset::Ruleset;
