// SPDX-License-Identifier: Apache-2.0
//! One family's table: plans what changed and commits it.

use std::collections::{BTreeSet, HashMap};

use crate::backend::{Error, Nftables, Sent};
use crate::model::{Changes, IpFamily, ServiceName, State, Target};
use crate::plan::change::Change;
use crate::plan::ledger::{Ledger, Owner};
use crate::plan::nft::{Data, Element, Key, Op, SetId, SetName};
use crate::plan::stale::{self, StaleClients, StaleFlows};
use crate::plan::{Contribution, Options, resync, service, skeleton};

/// The maps whose order of endpoints is kept across a restart.
const ENDPOINT_MAPS: [SetId; 2] = [SetId::Endpoints, SetId::NodeportEndpoints];

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
}

/// Leftovers of commits.
#[derive(Debug, Default)]
pub struct Stale {
    /// Conntrack entries.
    pub flows: Vec<StaleFlows>,
    /// Remembered clients.
    pub clients: Vec<StaleClients>,
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
        }
    }

    /// The family.
    pub fn family(&self) -> IpFamily {
        self.family
    }

    /// What the kernel should hold.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Brings the kernel to what the state asks for. After an error the next call starts from what
    /// the kernel then holds, so that no change is lost.
    pub fn commit(
        &mut self,
        state: &State,
        options: &Options,
        changes: &Changes,
        kernel: &mut dyn Nftables,
    ) -> Result<Sent, Error> {
        if self.inherited.is_none() {
            self.inherited = Some(inherit(kernel, self.family)?);
        }
        let change = self.plan(state, options, changes);
        let commits = match self.in_step {
            true if change.is_empty() => return Ok(Sent::default()),
            true => {
                let tx = change.into_transaction();
                [tx.ops, tx.later]
                    .into_iter()
                    .filter(|ops| !ops.is_empty())
                    .collect()
            }
            false => self.resync(kernel)?,
        };
        self.in_step = false;
        let mut sent = Sent::default();
        for ops in &commits {
            sent += kernel.commit(self.family, ops)?;
        }
        self.in_step = true;
        self.inherited = Some(HashMap::new());
        Ok(sent)
    }

    /// Plans what changed and notes it in the ledger.
    fn plan(&mut self, state: &State, options: &Options, changes: &Changes) -> Change {
        let mut change = Change::default();
        if changes.node {
            let plan = skeleton::plan(state, options, self.family);
            self.ledger.replace(Owner::Node, plan, &mut change);
        }
        let all: BTreeSet<ServiceName>;
        let names = if changes.everything {
            let known = self
                .ledger
                .contributions()
                .filter_map(|(owner, _)| match owner {
                    Owner::Service(name) => Some(name.clone()),
                    Owner::Node => None,
                });
            all = state.service_names().cloned().chain(known).collect();
            &all
        } else {
            &changes.services
        };
        for name in names {
            self.plan_service(state, options, name, &mut change);
        }
        change
    }

    fn plan_service(
        &mut self,
        state: &State,
        options: &Options,
        name: &ServiceName,
        change: &mut Change,
    ) {
        let owner = Owner::Service(name.clone());
        let planned = {
            let held = |set: SetId, key: &Key| self.held(&owner, set, key);
            match state.service(name) {
                Some(service) => service::plan(state, options, service, self.family, &held),
                None => Contribution::default(),
            }
        };
        let started = !self.in_step && self.ledger.get(&owner).is_none();
        let new = planned.clone();
        let old = self
            .ledger
            .replace(owner, planned, change)
            .unwrap_or_default();
        self.stale.flows.extend(stale::flows(&old, &new));
        self.stale.clients.extend(match started {
            true => stale::all_clients(&new),
            false => stale::clients(&old, &new),
        });
    }

    /// What the kernel holds at a key of an endpoint map, by the owner's last contribution, or at
    /// the start by what was found.
    fn held(&self, owner: &Owner, set: SetId, key: &Key) -> Option<Target> {
        if let Some(contribution) = self.ledger.get(owner) {
            let elements = &contribution.elements;
            let place = elements
                .binary_search_by(|e| (e.set, &e.key).cmp(&(set, key)))
                .ok()?;
            return target(&elements[place]);
        }
        self.inherited.as_ref()?.get(&(set, *key)).copied()
    }

    /// The commits that lead from whatever the kernel holds to the ledger's sum.
    fn resync(&self, kernel: &mut dyn Nftables) -> Result<Vec<Vec<Op>>, Error> {
        let Some(found) = kernel.read_table(self.family)? else {
            return Ok(resync::from_nothing(&self.ledger, false));
        };
        let Some(mut change) = resync::structure(&self.ledger, &found, self.family) else {
            return Ok(resync::from_nothing(&self.ledger, true));
        };
        for set in SetId::ALL {
            let elements = kernel.read_elements(self.family, set)?;
            resync::elements(&self.ledger, set, &elements, &mut change);
        }
        Ok(resync::commits(change.into_transaction()))
    }

    /// Takes what is left to be cleared away.
    pub fn take_stale(&mut self) -> Stale {
        std::mem::take(&mut self.stale)
    }

    /// Removes clients of endpoints that are gone. A packet that is under way may add one more
    /// while we read, so this looks again until there is none. Returns how many were removed.
    pub fn forget(&self, stale: &StaleClients, kernel: &mut dyn Nftables) -> Result<usize, Error> {
        let mut forgotten = 0;
        for _ in 0..3 {
            let clients = kernel.read_clients(self.family, &stale.map)?;
            let gone = |(_, address, port): &(Key, _, _)| {
                !stale.live.contains(&Target {
                    address: *address,
                    port: *port,
                })
            };
            let op = |(key, _, _)| Op::Forget(SetName::clone(&stale.map), key);
            let ops: Vec<Op> = clients.into_iter().filter(gone).map(op).collect();
            if ops.is_empty() {
                break;
            }
            forgotten += ops.len();
            for chunk in ops.chunks(4096) {
                kernel.commit(self.family, chunk)?;
            }
        }
        Ok(forgotten)
    }
}

fn target(element: &Element) -> Option<Target> {
    match element.data {
        Data::Target(address, port) => Some(Target { address, port }),
        _ => None,
    }
}

/// The endpoints that an earlier process left in the kernel.
fn inherit(
    kernel: &mut dyn Nftables,
    family: IpFamily,
) -> Result<HashMap<(SetId, Key), Target>, Error> {
    let mut held = HashMap::new();
    if kernel.read_table(family)?.is_none() {
        return Ok(held);
    }
    for set in ENDPOINT_MAPS {
        // A table of another make may lack the map: then there is nothing to inherit.
        let elements = kernel.read_elements(family, set).unwrap_or_default();
        held.extend(
            elements
                .iter()
                .filter_map(|e| Some(((set, e.key), target(e)?))),
        );
    }
    Ok(held)
}
