// SPDX-License-Identifier: Apache-2.0
//! The loop: events in, kernel in step, report.

pub mod engine;
pub mod flows;
pub mod pace;
pub mod pending;
pub mod reports;
pub mod run;
pub mod table;
pub mod takeover;
pub mod tally;

pub use engine::{Committed, Engine};
pub use run::Loop;

#[cfg(test)]
mod tests;
