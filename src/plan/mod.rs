// SPDX-License-Identifier: Apache-2.0
//! From what the cluster says to what the kernel should hold. PURE.

pub mod nft;
pub mod options;
pub mod ruleset;

pub use options::{Detector, NodePortAddresses, Options};
pub use ruleset::Ruleset;
