// SPDX-License-Identifier: Apache-2.0
//! One family's virtual servers and bound addresses, beside its table.
//!
//! The order of a commit: what changes, then the table, then virtual servers and addresses that
//! come; at last what goes. As long as an address is bound the table knows it, so no port of this
//! host is ever reached by it.
//!
//! The kernel keeps no owner of a virtual server: it is known as ours by its address, if that is
//! bound, or else by the table. A process may end between any two requests, so what only the table
//! tells comes after it and goes before it ([`Work::new`]).
//!
//! When all is compared anew, what the table in the kernel knows already is made and bound before
//! it is written: it may be the table of nftables mode, on which connections depend until then.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use nix::libc::{EINVAL, ENOENT, ESRCH};

use super::drain::Drain;
use super::ours::{self, Known, excluded};
use super::work::Work;
use crate::backend::{Error, Nftables, Sent, VirtualServers};
use crate::model::{IpFamily, Target};
use crate::plan::IpvsOptions;
use crate::plan::change::Servers as Changes;
use crate::plan::ipvs::steps::{self, Found, Step, Steps};
use crate::plan::ipvs::{ServerKey, VirtualServer};
use crate::plan::ledger::Ledger;
use crate::plan::nft::element::address_from;
use crate::plan::nft::{Op, SetId};

/// The scheduler for those that the kernel lacks.
pub(super) const USUAL: &str = "rr";
/// What is handed to the kernel in one go.
const CHUNK: usize = 10_000;

/// Virtual servers and addresses as far as they are known.
#[derive(Debug)]
pub struct Servers {
    pub(super) family: IpFamily,
    /// Addresses on the link.
    pub(super) bound: BTreeSet<IpAddr>,
    /// This host's other addresses, by the last word.
    own: BTreeSet<IpAddr>,
    /// Those of other nodes.
    elsewhere: Arc<BTreeSet<IpAddr>>,
    /// Whether the kernel has a scheduler, for those that were asked for.
    pub(super) schedulers: BTreeMap<Arc<str>, bool>,
    /// Virtual servers whose deletion is not certain.
    going: BTreeSet<ServerKey>,
    drain: Drain,
    /// Endpoints that the kernel does not take.
    pub(super) refused: BTreeSet<(ServerKey, Target)>,
    /// The last virtual server whose real servers were looked at.
    pub(super) looked: Option<ServerKey>,
    troubles: Vec<Trouble>,
}

/// What cannot be done as it is wished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// Of the Kubernetes Event.
    pub reason: &'static str,
    /// The whole story.
    pub text: String,
}

impl Servers {
    /// Nothing is known yet.
    pub fn new(family: IpFamily) -> Self {
        Self {
            family,
            bound: BTreeSet::new(),
            own: BTreeSet::new(),
            elsewhere: Arc::default(),
            schedulers: BTreeMap::new(),
            going: BTreeSet::new(),
            drain: Drain::default(),
            refused: BTreeSet::new(),
            looked: None,
            troubles: Vec::new(),
        }
    }

    /// Real servers that keep their connections for a while.
    pub fn draining(&self) -> usize {
        self.drain.len()
    }

    /// What could not be done as it was wished, since the last time.
    pub fn take_troubles(&mut self) -> Vec<Trouble> {
        std::mem::take(&mut self.troubles)
    }

    /// Takes note of this host's addresses. Returns whether they are others than before.
    pub fn set_own(&mut self, addresses: &BTreeSet<IpAddr>) -> bool {
        let of_family = addresses.iter().copied();
        let own: BTreeSet<IpAddr> = of_family
            .filter(|a| IpFamily::of(*a) == self.family)
            .collect();
        let changed = own != self.own;
        self.own = own;
        changed
    }

    /// Takes note of other nodes' addresses. Returns whether they are others than before.
    pub fn set_elsewhere(&mut self, addresses: &Arc<BTreeSet<IpAddr>>) -> bool {
        let same = Arc::ptr_eq(&self.elsewhere, addresses);
        self.elsewhere = addresses.clone();
        !same
    }

    /// Whether a Service's address has to be bound: it is no host's own.
    fn is_bindable(&self, address: &IpAddr) -> bool {
        !self.own.contains(address) && !self.elsewhere.contains(address)
    }

    /// What a change of the sum takes. `everything` compares all addresses, not only those that the
    /// operations on the table name.
    pub fn work(
        &mut self,
        mut changes: Changes,
        ops: [&[Op]; 2],
        ledger: &Ledger,
        everything: bool,
        kernel: &mut dyn VirtualServers,
    ) -> Result<Work, Error> {
        for (before, after) in changes.values_mut() {
            for server in [before, after].into_iter().flatten() {
                *server = self.settled(server, kernel)?;
            }
        }
        let drain = &self.drain;
        let steps = steps::between(&changes, &|key, target| drain.contains(key, target));
        let mut work = Work::new(steps, &self.bound, &Known::default());
        if everything {
            (work.bind, work.unbind) = self.addresses(ledger);
            return Ok(work);
        }
        for op in ops.into_iter().flatten() {
            let (element, list) = match op {
                Op::AddElement(e) => (e, &mut work.bind),
                Op::DeleteElement(e) => (e, &mut work.unbind),
                _ => continue,
            };
            let address = address_from(element.key.as_bytes());
            if element.set == SetId::ServiceAddresses {
                list.extend(address.filter(|a| self.is_bindable(a)));
            }
        }
        Ok(work)
    }

    /// The addresses to be bound and unbound, all of them compared.
    fn addresses(&self, ledger: &Ledger) -> (Vec<IpAddr>, Vec<IpAddr>) {
        let elements = ledger.elements_of(SetId::ServiceAddresses);
        let all = elements
            .iter()
            .filter_map(|e| address_from(e.key.as_bytes()));
        let wanted: BTreeSet<IpAddr> = all.filter(|a| self.is_bindable(a)).collect();
        let bind = wanted.difference(&self.bound).copied().collect();
        let unbind = self.bound.difference(&wanted).copied().collect();
        (bind, unbind)
    }

    /// What leads from what the kernel holds to the sum.
    pub fn survey(
        &mut self,
        ledger: &Ledger,
        options: &IpvsOptions,
        kernel: &mut dyn VirtualServers,
        tables: &mut dyn Nftables,
    ) -> Result<Work, Error> {
        self.bound = kernel.bound(self.family)?;
        self.refused.clear();
        let there = kernel.servers(self.family)?;
        for settings in there.values().flatten() {
            self.schedulers.insert(settings.scheduler.clone(), true);
        }
        let known = ours::read(self.family, tables)?;
        let near = |key: &ServerKey| self.bound.contains(&key.address) || self.going.contains(key);
        let mut ours: BTreeSet<ServerKey> = there.keys().copied().collect();
        ours.retain(|key| near(key) || known.frontends.contains(key));
        ours.retain(|key| !excluded(options, key.address));
        let mut found = BTreeMap::new();
        for (key, settings) in there {
            let wanted = ledger.servers().get(&key).is_some();
            if wanted || ours.contains(&key) {
                let all = match wanted {
                    true => kernel.destinations(&key)?,
                    false => Vec::new(),
                };
                let destinations = all.into_iter().map(|d| (d.target, d.weight)).collect();
                let known = Found {
                    settings,
                    destinations,
                };
                found.insert(key, known);
            }
        }
        let steps = self.steps_from(ledger, &found, &ours, kernel)?;
        let mut work = Work::new(steps, &self.bound, &known);
        (work.bind, work.unbind) = self.addresses(ledger);
        for kept in work.unbind.extract_if(.., |a| excluded(options, *a)) {
            self.bound.remove(&kept);
        }
        work.bind_early(&known);
        Ok(work)
    }

    fn steps_from(
        &mut self,
        ledger: &Ledger,
        found: &BTreeMap<ServerKey, Found>,
        ours: &BTreeSet<ServerKey>,
        kernel: &mut dyn VirtualServers,
    ) -> Result<Steps, Error> {
        let mut wanted = BTreeMap::new();
        for (key, server) in ledger.servers().iter() {
            wanted.insert(*key, self.settled(server, kernel)?);
        }
        let steps = steps::from_found(wanted.iter(), found, ours);
        self.drain.watch_only(steps.drains.iter().copied());
        Ok(steps)
    }

    /// The same virtual server with a scheduler that the kernel has.
    fn settled(
        &mut self,
        server: &Arc<VirtualServer>,
        kernel: &mut dyn VirtualServers,
    ) -> Result<Arc<VirtualServer>, Error> {
        let name = &server.settings.scheduler;
        let there = match self.schedulers.get(name) {
            Some(there) => *there,
            None => {
                let there = kernel.has_scheduler(name)?;
                self.schedulers.insert(name.clone(), there);
                if !there {
                    let text = format!(
                        "the kernel lacks the scheduler {name} (module ip_vs_{name}); \
                         {USUAL} serves in its place"
                    );
                    let reason = "IPVSSchedulerMissing";
                    self.troubles.push(Trouble { reason, text });
                }
                there
            }
        };
        if there || &**name == USUAL {
            return Ok(server.clone());
        }
        let mut server = VirtualServer::clone(server);
        server.settings.scheduler = USUAL.into();
        Ok(Arc::new(server))
    }

    /// Does what comes before the table.
    pub fn before_table(
        &mut self,
        work: &mut Work,
        kernel: &mut dyn VirtualServers,
    ) -> Result<Sent, Error> {
        self.going.extend(&work.steps.gone);
        let mut sent = self.apply(&work.steps.first, kernel)?;
        for (key, target) in work.steps.drains.drain(..) {
            self.drain.watch(key, target);
        }
        for (key, target) in work.steps.kept.drain(..) {
            self.drain.release(&key, &target);
        }
        sent += self.bind(&mut work.early, kernel)?;
        sent += self.apply(&work.at_early, kernel)?;
        Ok(sent)
    }

    /// Does what comes after it.
    pub fn after_table(
        &mut self,
        work: &mut Work,
        kernel: &mut dyn VirtualServers,
    ) -> Result<Sent, Error> {
        let mut sent = self.apply(&work.fresh, kernel)?;
        sent += self.bind(&mut work.bind, kernel)?;
        sent += self.apply(&work.steps.last, kernel)?;
        for key in work.steps.gone.drain(..) {
            self.drain.release_all(&key);
        }
        self.going.clear();
        let gone = std::mem::take(&mut work.unbind);
        kernel.unbind(&gone)?;
        for address in &gone {
            self.bound.remove(address);
        }
        sent += messages(gone.len());
        Ok(sent)
    }

    fn bind(
        &mut self,
        come: &mut Vec<IpAddr>,
        kernel: &mut dyn VirtualServers,
    ) -> Result<Sent, Error> {
        kernel.bind(come)?;
        self.bound.extend(come.iter());
        Ok(messages(std::mem::take(come).len()))
    }

    fn apply(&mut self, steps: &[Step], kernel: &mut dyn VirtualServers) -> Result<Sent, Error> {
        for chunk in steps.chunks(CHUNK) {
            for refusal in kernel.apply(chunk)? {
                match (&chunk[refusal.index], refusal.error.errno()) {
                    (Step::Delete(_) | Step::DeleteDestination(..), Some(ESRCH | ENOENT)) => {}
                    // An endpoint that the kernel does not take for one costs only itself.
                    (Step::AddDestination(key, target, _), Some(EINVAL)) => {
                        self.refused.insert((*key, *target));
                        self.troubles.push(Trouble {
                            reason: "IPVSEndpointRefused",
                            text: refusal.error.to_string(),
                        });
                    }
                    _ => return Err(refusal.error),
                }
            }
        }
        Ok(messages(steps.len()))
    }

    /// Removes real servers that have lost their connections, or had their time.
    pub fn drain(
        &mut self,
        now: Instant,
        options: &IpvsOptions,
        kernel: &mut dyn VirtualServers,
    ) -> Result<usize, Error> {
        let mut removed = 0;
        for key in self.drain.keys() {
            let there = kernel.destinations(&key)?;
            let there: BTreeMap<Target, u32> = there
                .into_iter()
                .filter(|d| d.weight == Some(0))
                .map(|d| (d.target, d.connections))
                .collect();
            let connections = |target: &Target| there.get(target).copied();
            let due = self.drain.due(&key, now, options.drain, connections);
            let steps = due.iter().map(|t| Step::DeleteDestination(key, *t));
            self.apply(&steps.collect::<Vec<_>>(), kernel)?;
            due.iter()
                .for_each(|target| self.drain.release(&key, target));
            removed += due.len();
        }
        Ok(removed)
    }
}

fn messages(messages: usize) -> Sent {
    Sent {
        messages,
        ..Sent::default()
    }
}
