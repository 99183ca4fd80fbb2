// SPDX-License-Identifier: Apache-2.0
//! What upstream's specs said about a proxy: from ginkgo's report to docs/conformance.md.
//!
//! [`junit`] reads what a run left, [`results`] keeps it in one file per proxy, [`page`] lays
//! both proxies side by side.

pub mod junit;
pub mod page;
pub mod results;
