// SPDX-License-Identifier: Apache-2.0
//! IPVS mode: virtual servers and the table, each before the other where that has to be.

use super::{Table, send};
use crate::backend::{Error, Nftables, Sent, VirtualServers};
use crate::plan::IpvsOptions;
use crate::plan::change::Change;
use crate::plan::nft::{Op, Transaction};
use crate::plan::resync::Doubt;

impl Table {
    /// Commits a change to virtual servers and to the table.
    pub(super) fn change_both(
        &mut self,
        change: Change,
        moved: bool,
        kernel: &mut dyn Nftables,
        ipvs: &mut dyn VirtualServers,
    ) -> Result<Sent, Error> {
        let mut change = change.with_addresses_last(true);
        let servers = change.take_servers();
        let Transaction { ops, later } = change.into_transaction();
        let (ledger, took) = (&self.ledger, &mut self.figures.kernel);
        let named = [&ops[..], &later[..]];
        let mut work = self.servers.work(servers, named, ledger, moved, ipvs)?;
        let mut sent = self.servers.before_table(&mut work, ipvs)?;
        sent += send(some(ops), self.family, kernel, took)?;
        sent += self.servers.after_table(&mut work, ipvs)?;
        sent += send(some(later), self.family, kernel, took)?;
        Ok(sent)
    }

    /// Leads both to the sum from whatever the kernel holds.
    pub(super) fn resync_both(
        &mut self,
        options: &IpvsOptions,
        doubt: Doubt,
        kernel: &mut dyn Nftables,
        ipvs: &mut dyn VirtualServers,
    ) -> Result<Sent, Error> {
        let mut work = self.servers.survey(&self.ledger, options, ipvs, kernel)?;
        let mut sent = self.servers.before_table(&mut work, ipvs)?;
        sent += self.resync(doubt, kernel)?;
        sent += self.servers.after_table(&mut work, ipvs)?;
        Ok(sent)
    }

    /// Looks whether others have deleted or changed virtual servers or addresses, and returns how
    /// many. The next commit brings them back.
    ///
    /// # Errors
    /// The kernel's.
    pub fn look(&mut self, ipvs: &mut dyn VirtualServers) -> Result<usize, Error> {
        // Otherwise all is compared anyway.
        if !self.in_step {
            return Ok(0);
        }
        let missing = self.servers.missing(&self.ledger, ipvs)?;
        self.in_step = missing == 0;
        Ok(missing)
    }
}

/// A commit, unless it is empty.
fn some(ops: Vec<Op>) -> Option<Vec<Op>> {
    Some(ops).filter(|ops| !ops.is_empty())
}
