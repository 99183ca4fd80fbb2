// SPDX-License-Identifier: Apache-2.0
//! One family's table: plans what changed and commits it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use nix::libc::{EBUSY, EEXIST, EINVAL, ENOENT, EOPNOTSUPP};

use super::servers::Servers;
use crate::backend::{Error, Nftables, Sent, VirtualServers};
use crate::model::{Changes, IpFamily, ServiceName, State, Target};
use crate::plan::change::Change;
use crate::plan::ledger::{Ledger, Owner};
use crate::plan::nft::{Data, Element, Key, Op, SetId, SetName, Transaction};
use crate::plan::resync::{Doubt, Look};
use crate::plan::stale::{self, StaleClients, StaleFlows};
use crate::plan::structure::{self, Structure};
use crate::plan::{Contribution, IpvsOptions, Options, resync, service, skeleton};

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

/// Leftovers of commits.
#[derive(Debug, Default)]
pub struct Stale {
    /// Conntrack entries.
    pub flows: Vec<StaleFlows>,
    /// Remembered clients: the maps, and the endpoints that may hold some, by the newest word.
    pub clients: BTreeMap<SetName, BTreeSet<IpAddr>>,
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
            // Flows that began meanwhile went past the endpoints, and would go on doing so.
            let none = Contribution::default();
            for (_, planned) in self.ledger.contributions() {
                self.stale.flows.extend(stale::flows(&none, planned));
                self.stale.flows.extend(stale::all_connections(planned));
            }
        }
    }

    /// Commits a change to virtual servers and to the table.
    fn change_both(
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
    fn resync_both(
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

    /// The virtual servers of this family.
    pub fn servers(&mut self) -> &mut Servers {
        &mut self.servers
    }

    /// Real servers that keep their connections for a while.
    pub fn draining(&self) -> usize {
        self.servers.draining()
    }

    /// Ends the flows of frontends that only an earlier process knew.
    fn leave_behind(&mut self) {
        let held = self.inherited.replace(HashMap::new()).unwrap_or_default();
        let now = self.ledger.contributions().map(|(_, c)| c);
        let abandoned = stale::abandoned(held.keys(), self.family, now);
        self.stale.flows.extend(abandoned);
    }

    /// Plans what changed and notes it in the ledger.
    fn plan(&mut self, state: &State, options: &Options, changes: &Changes) -> Change {
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

    /// Leads from whatever the kernel holds to the ledger's sum. Elements that are not in doubt are
    /// as we left them.
    fn resync(&mut self, doubt: Doubt, kernel: &mut dyn Nftables) -> Result<Sent, Error> {
        let found = match kernel.read_table(self.family) {
            Ok(found) => found,
            // Another version's, with what this one has never seen.
            Err(Error::Malformed(_)) => return self.replace(kernel),
            Err(error) => return Err(error),
        };
        let Some(found) = found else {
            self.figures.drifted = self.written;
            let all = resync::from_nothing(&self.ledger);
            return send(all, self.family, kernel, &mut self.figures.kernel);
        };
        let Some(mut structure) = structure::compare(&self.ledger, &found, self.family) else {
            return self.replace(kernel);
        };
        kernel.adopt(self.family)?;
        match compare(&self.ledger, self.family, &doubt, kernel, &mut structure) {
            Err(Error::Malformed(_)) => return self.replace(kernel),
            compared => compared?,
        }
        let differs = structure.differs();
        self.figures.drifted |= differs && self.written;
        let took = &mut self.figures.kernel;
        match send(structure.commits(), self.family, kernel, took) {
            Err(error) if differs && in_the_way(&error) => self.replace(kernel),
            done => done,
        }
    }

    /// Puts the sum in the place of whatever there is.
    fn replace(&mut self, kernel: &mut dyn Nftables) -> Result<Sent, Error> {
        kernel.adopt(self.family)?;
        self.figures.drifted = self.written;
        let replacement = [resync::replacement(&self.ledger)];
        send(replacement, self.family, kernel, &mut self.figures.kernel)
    }

    /// Takes what is left to be cleared away.
    pub fn take_stale(&mut self) -> Stale {
        std::mem::take(&mut self.stale)
    }

    /// Puts back what could not be cleared away, unless there is a newer word by now.
    pub fn forget_later(&mut self, map: SetName, live: BTreeSet<IpAddr>) {
        self.stale.clients.entry(map).or_insert(live);
    }

    /// Removes clients of endpoints that are gone. A packet that is under way may add one more
    /// while we read, so this looks again until there is none. Returns how many were removed.
    pub fn forget(
        &self,
        map: &SetName,
        live: &BTreeSet<IpAddr>,
        kernel: &mut dyn Nftables,
    ) -> Result<usize, Error> {
        let mut forgotten = 0;
        for _ in 0..3 {
            let clients = kernel.read_clients(self.family, map)?;
            let gone = |(_, address): &(Key, _)| !live.contains(address);
            let op = |(key, _)| Op::Forget(map.clone(), key);
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

/// Notes what differs between the elements in doubt as they should be and as the kernel has them.
fn compare(
    ledger: &Ledger,
    family: IpFamily,
    doubt: &Doubt,
    kernel: &mut dyn Nftables,
    structure: &mut Structure,
) -> Result<(), Error> {
    let Structure { change, fresh, .. } = structure;
    for set in SetId::ALL {
        if fresh.contains(&set) {
            resync::elements(ledger, set, &[], change);
            continue;
        }
        match doubt.look(set) {
            Look::No => {}
            Look::At(keys) => {
                for key in keys {
                    let found = kernel.read_element(family, set, &key)?;
                    resync::element(ledger, set, &key, found.as_ref(), change);
                }
            }
            Look::Whole => {
                let elements = kernel.read_elements(family, set)?;
                resync::elements(ledger, set, &elements, change);
            }
        }
    }
    Ok(())
}

/// Whether the kernel has found something in the way, not something wrong with us.
fn in_the_way(error: &Error) -> bool {
    matches!(
        error.errno(),
        Some(EBUSY | EEXIST | EINVAL | ENOENT | EOPNOTSUPP)
    )
}

/// A commit, unless it is empty.
fn some(ops: Vec<Op>) -> Option<Vec<Op>> {
    Some(ops).filter(|ops| !ops.is_empty())
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
