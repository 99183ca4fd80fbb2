// SPDX-License-Identifier: Apache-2.0
//! The virtual servers of an IPVS mode, with the link that holds their addresses: takes them away
//! bit by bit, as their connections end.
//!
//! The kernel keeps no owner. A virtual server is kube-proxy's, or ferrule's own of IPVS mode, if
//! its address is on the link `kube-ipvs0`, or if it is an address of the node and its port one of
//! those in kube-proxy's sets of NodePorts. All others are somebody else's and stay. To be called
//! only while the rules of nftables mode are in force: they take every new connection before IPVS
//! sees it, so nothing new comes to what is taken away here.

use std::collections::{BTreeSet, HashSet};
use std::net::IpAddr;

use ipnet::IpNet;
use nix::libc::{ENOENT, ESRCH};

use super::ipsets::{IpSets, NodePort};
use super::report::Removed;
use crate::backend::Error;
use crate::backend::ipvs::link::Link;
use crate::backend::ipvs::{Change, Ipvs, ServiceKey};
use crate::model::IpFamily;

/// What an IPVS mode left, until it is gone.
#[derive(Debug)]
pub struct Remains {
    link: Link,
    /// None if the kernel has no IPVS any more.
    ipvs: Option<Ipvs>,
    node_ports: HashSet<NodePort>,
    /// Virtual servers that are known to be ours by other means.
    also: HashSet<ServiceKey>,
    /// Nothing at these addresses is touched.
    excluded: Vec<IpNet>,
}

/// How far it got.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Step {
    /// Virtual servers that were removed.
    pub servers: usize,
    /// Addresses that were taken from the link.
    pub addresses: usize,
    /// Whether the link was removed, at the end.
    pub link: bool,
    /// Virtual servers that still have connections.
    pub busy: usize,
}

/// Addresses on and off the link.
struct Addresses {
    bound: BTreeSet<IpAddr>,
    elsewhere: BTreeSet<IpAddr>,
}

impl Remains {
    /// None if there is nothing. Costs a few small requests then, and loads no module.
    ///
    /// # Errors
    /// The kernel's.
    pub fn find(excluded: &[IpNet]) -> Result<Option<Self>, Error> {
        let mut link = Link::open()?;
        let mut sets = IpSets::open()?;
        let (node_ports, any_set) = match &mut sets {
            Some(sets) => (sets.node_ports()?, !sets.names()?.is_empty()),
            None => (HashSet::new(), false),
        };
        if !any_set && !link.exists()? {
            return Ok(None);
        }
        let ipvs = match Ipvs::open() {
            Ok(ipvs) => Some(ipvs),
            Err(Error::Missing(_)) => None,
            Err(e) => return Err(e),
        };
        Ok(Some(Self {
            link,
            ipvs,
            node_ports,
            also: HashSet::new(),
            excluded: excluded.to_vec(),
        }))
    }

    /// Counts further virtual servers to what is to go, by their keys.
    #[must_use]
    pub fn with(mut self, keys: impl IntoIterator<Item = ServiceKey>) -> Self {
        self.also.extend(keys);
        self
    }

    /// Removes the virtual servers that have no connection, or with `all` every one; then the
    /// addresses that no virtual server is left at, and with the last of them the link.
    ///
    /// # Errors
    /// The kernel's. What was done stays done.
    pub fn step(&mut self, all: bool) -> Result<Step, Error> {
        let addresses = Addresses {
            bound: self.link.bound()?,
            elsewhere: self.link.elsewhere()?,
        };
        let (mut step, mut kept) = (Step::default(), HashSet::new());
        // What comes to a virtual server by its mark may come by any address.
        let mut held = false;
        let mut deletions = Vec::new();
        for key in self.servers()? {
            if !self.is_left(&key, &addresses) {
                kept.extend(address(&key));
            } else if all || self.connections(&key)? == 0 {
                deletions.push(Change::DeleteService(key));
            } else {
                kept.extend(address(&key));
                held |= address(&key).is_none();
                step.busy += 1;
            }
        }
        step.servers = self.delete(&deletions)?;
        let goes = |ip: &IpAddr| !held && !kept.contains(ip) && !self.is_excluded(*ip);
        let gone: Vec<IpAddr> = addresses.bound.iter().copied().filter(goes).collect();
        self.link.unbind(&gone)?;
        step.addresses = gone.len();
        if step.busy == 0 && gone.len() == addresses.bound.len() {
            step.link = self.link.remove()?;
        }
        Ok(step)
    }

    /// The keys of all virtual servers, whoever made them.
    fn servers(&mut self) -> Result<Vec<ServiceKey>, Error> {
        let Some(ipvs) = &mut self.ipvs else {
            return Ok(Vec::new());
        };
        Ok(ipvs.services()?.into_iter().map(|s| s.key).collect())
    }

    fn is_left(&self, key: &ServiceKey, addresses: &Addresses) -> bool {
        let ServiceKey::Address { protocol, address } = key else {
            return self.also.contains(key);
        };
        let ip = address.ip();
        let node_port = (IpFamily::of(ip), *protocol, address.port());
        !self.is_excluded(ip)
            && (self.also.contains(key)
                || addresses.bound.contains(&ip)
                || addresses.elsewhere.contains(&ip) && self.node_ports.contains(&node_port))
    }

    fn is_excluded(&self, ip: IpAddr) -> bool {
        self.excluded.iter().any(|net| net.contains(&ip))
    }

    /// How many connections a virtual server has; what a client is remembered by is none.
    fn connections(&mut self, key: &ServiceKey) -> Result<u64, Error> {
        let Some(ipvs) = &mut self.ipvs else {
            return Ok(0);
        };
        let servers = ipvs.destinations(key)?;
        let count = |d: &netlink_ipvs::Destination| {
            u64::from(d.active_connections) + u64::from(d.inactive_connections)
        };
        Ok(servers.iter().map(count).sum())
    }

    /// Returns how many are gone.
    fn delete(&mut self, deletions: &[Change]) -> Result<usize, Error> {
        let Some(ipvs) = &mut self.ipvs else {
            return Ok(0);
        };
        let refusals = ipvs.apply(deletions)?;
        let count = deletions.len() - refusals.len();
        let mut errors = refusals.into_iter().map(|refusal| refusal.error);
        match errors.find(|e| !matches!(e.errno(), Some(ESRCH | ENOENT))) {
            Some(error) => Err(error),
            None => Ok(count),
        }
    }
}

impl Step {
    /// What it removed, to be told.
    pub fn removed(&self) -> impl Iterator<Item = Removed> {
        let servers = (self.servers > 0).then_some(Removed::VirtualServers {
            servers: self.servers,
        });
        servers
            .into_iter()
            .chain(self.link.then_some(Removed::Link))
    }
}

impl std::ops::AddAssign for Step {
    fn add_assign(&mut self, other: Step) {
        self.servers += other.servers;
        self.addresses += other.addresses;
        self.link |= other.link;
        self.busy = other.busy;
    }
}

fn address(key: &ServiceKey) -> Option<IpAddr> {
    match key {
        ServiceKey::Address { address, .. } => Some(address.ip()),
        ServiceKey::Fwmark { .. } => None,
    }
}
