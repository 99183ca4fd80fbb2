// SPDX-License-Identifier: Apache-2.0
//! What the table should hold, by the state; endpoints keep the places that they have in the
//! kernel.

use std::collections::{BTreeSet, HashMap};

use super::Table;
use crate::backend::{Error, Nftables};
use crate::model::{Changes, IpFamily, ServiceName, State, Target};
use crate::plan::change::Change;
use crate::plan::ledger::Owner;
use crate::plan::nft::{Data, Element, Key, SetId};
use crate::plan::resync::Doubt;
use crate::plan::stale::{self, StaleClients};
use crate::plan::{Contribution, Options, service, skeleton};

/// The maps whose order of endpoints is kept across a restart.
const ENDPOINT_MAPS: [SetId; 2] = [SetId::Endpoints, SetId::NodeportEndpoints];

impl Table {
    /// Plans what changed and notes it in the ledger.
    pub(super) fn plan(&mut self, state: &State, options: &Options, changes: &Changes) -> Change {
        let mut change = match &self.doubt {
            Doubt::All => Change::ignored(),
            Doubt::Of(..) => Change::default(),
        };
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
        let none = Contribution::default();
        let known = self.ledger.get(&owner);
        let old = known.unwrap_or(&none);
        let mut flows = stale::flows(old, &planned);
        // Who knows what an earlier process has left.
        let clients = if known.is_none() && !self.in_step {
            flows.extend(stale::all_connections(&planned));
            stale::all_clients(&planned)
        } else {
            flows.extend(stale::connections(old, &planned));
            stale::clients(old, &planned)
        };
        self.stale.flows.extend(flows);
        let clients = clients
            .into_iter()
            .map(|StaleClients { map, live }| (map, live));
        self.stale.clients.extend(clients);
        self.ledger.replace(owner, planned, change);
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
}

fn target(element: &Element) -> Option<Target> {
    match element.data {
        Data::Target(address, port) => Some(Target { address, port }),
        _ => None,
    }
}

/// The endpoints that an earlier process left in the kernel.
pub(super) fn inherit(
    kernel: &mut dyn Nftables,
    family: IpFamily,
) -> Result<HashMap<(SetId, Key), Target>, Error> {
    let mut held = HashMap::new();
    match kernel.read_table(family) {
        Ok(Some(_)) => {}
        // A table of another make may not even be readable.
        Ok(None) | Err(Error::Malformed(_)) => return Ok(held),
        Err(error) => return Err(error),
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
