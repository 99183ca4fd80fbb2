// SPDX-License-Identifier: Apache-2.0
//! `--accounting` and the flags that go with it.

use std::num::NonZeroU32;

use super::ProxyMode;
use super::resolve::Resolver;
use crate::cli::Sample;

/// How many endpoints are counted each for itself, unless `--accounting-endpoints` says so.
const ENDPOINTS: u32 = 1_000;

/// What is counted of connections and bytes (docs/accounting.md).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accounted {
    /// How many endpoints are counted each for itself.
    pub endpoints: usize,
    /// How many connections are.
    pub sample: Sample,
}

impl Resolver<'_> {
    /// A sample is chosen by rules for translated connections, as which IPVS's do not count.
    pub(super) fn accounting(&self, mode: ProxyMode) -> Option<Accounted> {
        let own = &self.cli.own;
        let endpoints = own.accounting_endpoints.unwrap_or(ENDPOINTS) as usize;
        let sample = match mode {
            ProxyMode::Ipvs => Sample::OneIn(NonZeroU32::MIN),
            _ => own.accounting_sample.unwrap_or_default(),
        };
        let wanted = own.accounting.unwrap_or_default();
        wanted.then_some(Accounted { endpoints, sample })
    }
}
