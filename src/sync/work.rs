// SPDX-License-Identifier: Apache-2.0
//! What a commit does to virtual servers and addresses, by its place before or after the table.
//! PURE.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::ours::Known;
use crate::plan::ipvs::ServerKey;
use crate::plan::ipvs::steps::{Step, Steps};

/// What is to be done for a commit.
#[derive(Debug, Default)]
pub struct Work {
    /// Before the table, and after all else.
    pub(super) steps: Steps,
    /// What is bound before the table is written, and then the virtual servers that come there.
    pub(super) early: Vec<IpAddr>,
    pub(super) at_early: Vec<Step>,
    /// After the table: virtual servers that nothing but the new table tells to be ours.
    pub(super) fresh: Vec<Step>,
    /// Then what is bound.
    pub(super) bind: Vec<IpAddr>,
    /// At the very end.
    pub(super) unbind: Vec<IpAddr>,
}

impl Work {
    /// Puts steps at addresses that are not bound in the order that an end between two of them
    /// takes: as a NodePort's, such a virtual server is known as ours by the table alone, which at
    /// present says what is `known`. It comes after the table says so and goes before it forgets.
    /// The port is the host's own before and after, and nothing refuses it there either way.
    pub(super) fn new(mut steps: Steps, bound: &BTreeSet<IpAddr>, known: &Known) -> Self {
        let unbound = |key: &ServerKey| !bound.contains(&key.address);
        let goes = |step: &mut Step| matches!(step, Step::Delete(key) if unbound(key));
        let early = steps.last.extract_if(.., goes);
        steps.first.extend(early);
        let comes = steps.first.iter().filter_map(|step| match step {
            Step::Add(key, _) if unbound(key) && !known.frontends.contains(key) => Some(*key),
            _ => None,
        });
        let comes: BTreeSet<ServerKey> = comes.collect();
        let new = |step: &mut Step| comes.contains(step.key());
        let fresh = steps.first.extract_if(.., new).collect();
        Self {
            steps,
            fresh,
            ..Self::default()
        }
    }

    /// Has addresses that the table in the kernel knows bound before that is replaced, so that no
    /// connection is lost where it is the table of the other mode.
    pub(super) fn bind_early(&mut self, known: &Known) {
        let there = |address: &mut IpAddr| known.addresses.contains(address);
        self.early = self.bind.extract_if(.., there).collect();
        let bound: BTreeSet<IpAddr> = self.early.iter().copied().collect();
        let new = |step: &mut Step| bound.contains(&step.key().address);
        self.at_early = self.fresh.extract_if(.., new).collect();
    }
}
