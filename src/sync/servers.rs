// SPDX-License-Identifier: Apache-2.0
//! One family's virtual servers and bound addresses, beside its table.
//!
//! The order of a commit: what comes and what changes, then the table, then the addresses that
//! come; at last what goes. As long as an address is bound the table knows it, so no port of this
//! host is ever reached by it. Only where nothing is known of the kernel's state are addresses
//! bound before the table is written: that keeps connections where the table of another mode is
//! replaced.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use nix::libc::{EINVAL, ENOENT, ESRCH};

use super::drain::Drain;
use crate::backend::{Error, Nftables, Sent, VirtualServers};
use crate::model::{IpFamily, Target};
use crate::plan::IpvsOptions;
use crate::plan::change::Servers as Changes;
use crate::plan::ipvs::steps::{self, Found, Step, Steps};
use crate::plan::ipvs::{ServerKey, Settings, VirtualServer};
use crate::plan::ledger::Ledger;
use crate::plan::nft::element::{KeyPart, address_from};
use crate::plan::nft::{Op, SetId};

/// The scheduler for those that the kernel lacks.
const USUAL: &str = "rr";
/// What is handed to the kernel in one go.
const CHUNK: usize = 10_000;

/// The table's maps by which a virtual server is known as ours.
const FRONTENDS: [SetId; 6] = [
    SetId::Services,
    SetId::ServicesOutside,
    SetId::RefusedServices,
    SetId::Nodeports,
    SetId::NodeportsOutside,
    SetId::RefusedNodeports,
];

/// Virtual servers and addresses as far as they are known.
#[derive(Debug)]
pub struct Servers {
    family: IpFamily,
    /// Addresses on the link.
    bound: BTreeSet<IpAddr>,
    /// This host's other addresses, by the last word.
    own: BTreeSet<IpAddr>,
    /// Whether the kernel has a scheduler, for those that were asked for.
    schedulers: BTreeMap<Arc<str>, bool>,
    /// Virtual servers whose deletion is not certain.
    going: BTreeSet<ServerKey>,
    drain: Drain,
    troubles: Vec<String>,
}

/// What is to be done for a commit.
#[derive(Debug, Default)]
pub struct Work {
    steps: Steps,
    bind: Vec<IpAddr>,
    unbind: Vec<IpAddr>,
}

impl Work {
    /// Whether nothing is to be done.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.bind.is_empty() && self.unbind.is_empty()
    }
}

impl Servers {
    /// Nothing is known yet.
    pub fn new(family: IpFamily) -> Self {
        Self {
            family,
            bound: BTreeSet::new(),
            own: BTreeSet::new(),
            schedulers: BTreeMap::new(),
            going: BTreeSet::new(),
            drain: Drain::default(),
            troubles: Vec::new(),
        }
    }

    /// Real servers that keep their connections for a while.
    pub fn draining(&self) -> usize {
        self.drain.len()
    }

    /// What could not be done as it was wished, since the last time.
    pub fn take_troubles(&mut self) -> Vec<String> {
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
        let mut work = Work {
            steps,
            ..Work::default()
        };
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
                list.extend(address.filter(|a| !self.own.contains(a)));
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
        let wanted: BTreeSet<IpAddr> = all.filter(|a| !self.own.contains(a)).collect();
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
        let there = kernel.servers(self.family)?;
        for settings in there.values().flatten() {
            self.schedulers.insert(settings.scheduler.clone(), true);
        }
        let ours = self.ours(ledger, options, &there, tables)?;
        let mut found = BTreeMap::new();
        for (key, settings) in there {
            if ledger.servers().get(&key).is_some() {
                let all = kernel.destinations(&key)?.into_iter();
                let destinations = all.map(|d| (d.target, d.weight)).collect();
                let known = Found {
                    settings,
                    destinations,
                };
                found.insert(key, known);
            } else if ours.contains(&key) {
                let destinations = BTreeMap::new();
                let known = Found {
                    settings,
                    destinations,
                };
                found.insert(key, known);
            }
        }
        let mut wanted = BTreeMap::new();
        for (key, server) in ledger.servers().iter() {
            wanted.insert(*key, self.settled(server, kernel)?);
        }
        let steps = steps::from_found(wanted.iter(), &found, &ours);
        self.drain.watch_only(steps.drains.iter().copied());
        let (bind, unbind) = self.addresses(ledger);
        let (kept, unbind) = unbind.into_iter().partition(|a| excluded(options, *a));
        let kept: Vec<IpAddr> = kept;
        kept.iter().for_each(|a| drop(self.bound.take(a)));
        Ok(Work {
            steps,
            bind,
            unbind,
        })
    }

    /// Those of the virtual servers found that may be deleted: at our bound addresses, and where
    /// our table says that we serve.
    fn ours(
        &self,
        ledger: &Ledger,
        options: &IpvsOptions,
        there: &BTreeMap<ServerKey, Option<Settings>>,
        tables: &mut dyn Nftables,
    ) -> Result<BTreeSet<ServerKey>, Error> {
        let unwanted = |key: &&ServerKey| {
            ledger.servers().get(key).is_none() && !excluded(options, key.address)
        };
        let (at_bound, elsewhere): (BTreeSet<ServerKey>, BTreeSet<ServerKey>) = there
            .keys()
            .filter(unwanted)
            .partition(|key| self.bound.contains(&key.address) || self.going.contains(key));
        let mut ours = at_bound;
        if !elsewhere.is_empty() {
            let known = frontends(self.family, tables)?;
            ours.extend(elsewhere.into_iter().filter(|key| known.contains(key)));
        }
        Ok(ours)
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
                    self.troubles.push(format!(
                        "the kernel lacks the scheduler {name} (module ip_vs_{name}); \
                         {USUAL} serves in its place"
                    ));
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

    /// Does what comes before the table; with `bind`, addresses too.
    pub fn before_table(
        &mut self,
        work: &mut Work,
        bind: bool,
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
        if bind {
            sent += self.bind(work, kernel)?;
        }
        Ok(sent)
    }

    /// Does what comes after it.
    pub fn after_table(
        &mut self,
        work: &mut Work,
        kernel: &mut dyn VirtualServers,
    ) -> Result<Sent, Error> {
        let mut sent = self.bind(work, kernel)?;
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

    fn bind(&mut self, work: &mut Work, kernel: &mut dyn VirtualServers) -> Result<Sent, Error> {
        let come = std::mem::take(&mut work.bind);
        kernel.bind(&come)?;
        self.bound.extend(&come);
        Ok(messages(come.len()))
    }

    fn apply(&mut self, steps: &[Step], kernel: &mut dyn VirtualServers) -> Result<Sent, Error> {
        for chunk in steps.chunks(CHUNK) {
            for refusal in kernel.apply(chunk)? {
                match (&chunk[refusal.index], refusal.error.errno()) {
                    (Step::Delete(_) | Step::DeleteDestination(..), Some(ESRCH | ENOENT)) => {}
                    // An endpoint that the kernel does not take for one costs only itself.
                    (Step::AddDestination(..), Some(EINVAL)) => {
                        self.troubles.push(refusal.error.to_string());
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

/// Whether nothing at an address is removed, whoever made it.
fn excluded(options: &IpvsOptions, address: IpAddr) -> bool {
    let mut prefixes = options.exclude_cidrs.iter();
    prefixes.any(|net| net.contains(&address))
}

fn messages(messages: usize) -> Sent {
    Sent {
        messages,
        ..Sent::default()
    }
}

/// What an earlier process served, by its table.
fn frontends(family: IpFamily, kernel: &mut dyn Nftables) -> Result<BTreeSet<ServerKey>, Error> {
    let mut known = BTreeSet::new();
    if kernel.read_table(family)?.is_none() {
        return Ok(known);
    }
    // A table of another make may lack a set.
    let mut read = |set| kernel.read_elements(family, set).unwrap_or_default();
    let served = read(SetId::NodeAddresses);
    let node: Vec<IpAddr> = served
        .iter()
        .filter_map(|e| address_from(e.key.as_bytes()))
        .collect();
    for id in FRONTENDS {
        for element in read(id) {
            match *element.key.parts(&id.spec().key, family) {
                [
                    KeyPart::Address(a),
                    KeyPart::Protocol(p),
                    KeyPart::Port(port),
                ] => {
                    known.extend(server_key(a, p, port));
                }
                [KeyPart::Protocol(p), KeyPart::Port(port)] => {
                    known.extend(node.iter().filter_map(|a| server_key(*a, p, port)));
                }
                _ => {}
            }
        }
    }
    Ok(known)
}

fn server_key(address: IpAddr, protocol: u8, port: u16) -> Option<ServerKey> {
    let mut protocols = crate::model::Protocol::ALL.into_iter();
    let protocol = protocols.find(|p| p.number() == protocol)?;
    Some(ServerKey {
        address,
        protocol,
        port,
    })
}
