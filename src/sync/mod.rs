// SPDX-License-Identifier: Apache-2.0
//! The loop: events in, kernel in step, report.
//!
//! | module | does |
//! |---|---|
//! | [`run`] | the loop itself |
//! | `tell` | what the loop tells others |
//! | [`engine`] | one state, one table a family, the kernel |
//! | [`table`] | plans what changed and commits it, or starts again from what the kernel holds |
//! | [`servers`], `look`, `ours`, `work`, [`drain`] | virtual servers and addresses, in IPVS mode |
//! | [`pace`] | when to try again |
//! | [`heal`] | when to put back what others broke |
//! | [`pending`] | what waits for the next commit, for metrics |
//! | [`reports`], [`tally`] | what was skipped: said once, and counted |
//! | [`flows`] | ends stale flows, beside the loop |
//! | [`takeover`] | removes kube-proxy's rules, beside the loop |

pub mod drain;
pub mod engine;
pub mod flows;
pub mod heal;
mod look;
mod ours;
pub mod pace;
pub mod pending;
pub mod reports;
pub mod run;
pub mod servers;
pub mod table;
pub mod takeover;
pub mod tally;
mod tell;
mod work;

pub use engine::{Committed, Engine};
pub use run::Loop;

#[cfg(test)]
mod tests;
