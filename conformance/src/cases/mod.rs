// SPDX-License-Identifier: Apache-2.0
//! The packet table, by topic. Rules and their sources: kube-proxy v1.36, nftables mode.
//!
//! Three nodes with pods 1a and 1b, 2a and 2b, 3a and 3b; a server in each. Node 1 is zone east,
//! 2 and 3 are west.

mod external;
mod internal;
mod profiles;
mod ranges;

pub use profiles::{cluster_cidr_flags, profiles};

use crate::case::{Case, Profile};

impl Profile {
    /// Gives every Service its namespace and the number after the last one. No two have the same,
    /// in any profile: the kernel still remembers UDP flows of the profile before.
    fn numbered(mut self, last: &mut u16) -> Self {
        for case in &mut self.cases {
            for service in &mut case.services {
                *last += 1;
                (service.id, service.namespace) = (*last, case.name);
            }
        }
        self
    }
}

/// Every case that needs no flags but `--cluster-cidr`.
fn common() -> Vec<Case> {
    [internal::cases(), external::cases(), ranges::cases()]
        .into_iter()
        .flatten()
        .collect()
}
