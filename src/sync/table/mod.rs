// SPDX-License-Identifier: Apache-2.0
//! One family's table: plans what changed and commits it.
//!
//! | module | does |
//! |---|---|
//! | `planned` | what it should hold |
//! | `resync` | leads there from whatever the kernel holds |
//! | `both` | the same with virtual servers, in IPVS mode |
//! | `leftover` | what is left to be cleared away |

mod both;
mod leftover;
mod planned;
mod resync;

use std::collections::HashMap;
use std::time::{Duration, Instant};

pub use self::leftover::Stale;
use self::planned::inherit;
use super::servers::Servers;
use crate::backend::{Error, Nftables, Sent, VirtualServers};
use crate::model::{Changes, IpFamily, State, Target};
use crate::plan::Options;
use crate::plan::ledger::Ledger;
use crate::plan::nft::{Key, Op, SetId};
use crate::plan::resync::Doubt;

/// A family's table in the kernel, and what it should hold.
pub struct Table {
    family: IpFamily,
    ledger: Ledger,
    /// Whether the kernel holds the ledger's sum, as far as we know.
    in_step: bool,
    /// What an earlier process left, until the first commit.
    inherited: Option<HashMap<(SetId, Key), Target>>,
    /// What the last commits left to be cleared away.
    stale: Stale,
    /// Whether a commit of ours has succeeded, so that what is missing was removed by others.
    written: bool,
    /// Whether others may have changed the table since.
    suspect: bool,
    /// What has to be looked at when we are not in step.
    doubt: Doubt,
    figures: Figures,
    /// In IPVS mode.
    servers: Servers,
}

/// What metrics want to know of a commit, well or not.
#[derive(Debug, Clone, Copy, Default)]
pub struct Figures {
    /// All Services were planned, or the kernel was read.
    pub full: bool,
    /// Time in the kernel, to the acknowledgement.
    pub kernel: Duration,
    /// Whether others had deleted or altered the table since our last commit.
    pub drifted: bool,
}

impl Table {
    /// A table of which nothing is known yet.
    pub fn new(family: IpFamily) -> Self {
        Self {
            family,
            ledger: Ledger::default(),
            in_step: false,
            inherited: None,
            stale: Stale::default(),
            written: false,
            suspect: false,
            doubt: Doubt::All,
            figures: Figures::default(),
            servers: Servers::new(family),
        }
    }

    /// What the last commit was like.
    pub fn take_figures(&mut self) -> Figures {
        std::mem::take(&mut self.figures)
    }

    /// The family.
    pub fn family(&self) -> IpFamily {
        self.family
    }

    /// What the kernel should hold.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Others may have changed the table: the next commit starts from what the kernel holds.
    pub fn suspect(&mut self, doubt: Doubt) {
        self.suspect |= self.written;
        self.in_step = false;
        self.doubt.add(doubt);
    }

    /// Whether [`Table::suspect`] was said and no commit has succeeded since.
    pub fn is_suspect(&self) -> bool {
        self.suspect
    }

    /// Brings the kernel to what the state asks for. After an error the next call starts from what
    /// the kernel then holds, so that no change is lost.
    pub fn commit(
        &mut self,
        state: &State,
        options: &Options,
        changes: &Changes,
        kernel: &mut dyn Nftables,
        ipvs: Option<&mut (dyn VirtualServers + '_)>,
    ) -> Result<Sent, Error> {
        self.figures.full = changes.everything || !self.in_step;
        if self.inherited.is_none() {
            self.inherited = Some(inherit(kernel, self.family)?);
        }
        let change = self.plan(state, options, changes);
        let moved = changes.node && self.servers.set_own(state.local_addresses());
        let moved = (moved | self.servers.set_elsewhere(state.elsewhere())) && ipvs.is_some();
        if self.in_step && change.is_empty() && !moved {
            return Ok(Sent::default());
        }
        let in_step = std::mem::replace(&mut self.in_step, false);
        let mut doubt = std::mem::replace(&mut self.doubt, Doubt::All);
        if !in_step {
            // What others did may stand in the way of what changes, too.
            let changing = change.elements();
            changing.for_each(|(set, key)| doubt.add(Doubt::element(set, key)));
        }
        let result = match (in_step, options.mode.ipvs(), ipvs) {
            (true, None, _) => {
                let commits = change.into_transaction().commits();
                send(commits, self.family, kernel, &mut self.figures.kernel)
            }
            (false, None, _) => self.resync(doubt, kernel),
            (true, Some(_), Some(ipvs)) => self.change_both(change, moved, kernel, ipvs),
            (false, Some(options), Some(ipvs)) => self.resync_both(options, doubt, kernel, ipvs),
            (_, Some(_), None) => Err(Error::Missing("IPVS is not at hand".into())),
        };
        if let Ok(sent) = &result {
            self.figures.drifted |= self.suspect && sent.messages > 0;
            self.done();
        }
        self.figures.drifted &= self.in_step;
        result
    }

    /// A commit has succeeded.
    fn done(&mut self) {
        self.in_step = true;
        self.written = true;
        self.suspect = false;
        self.doubt = Doubt::none();
        self.leave_behind();
        if self.figures.drifted {
            self.end_strays();
        }
    }

    /// The virtual servers of this family.
    pub fn servers(&mut self) -> &mut Servers {
        &mut self.servers
    }

    /// Real servers that keep their connections for a while.
    pub fn draining(&self) -> usize {
        self.servers.draining()
    }
}

/// Commits one after the other, and adds up the time that the kernel took.
fn send(
    commits: impl IntoIterator<Item = Vec<Op>>,
    family: IpFamily,
    kernel: &mut dyn Nftables,
    took: &mut Duration,
) -> Result<Sent, Error> {
    let mut sent = Sent::default();
    for ops in commits {
        let begun = Instant::now();
        let result = kernel.commit(family, &ops);
        *took += begun.elapsed();
        sent += result?;
    }
    Ok(sent)
}
