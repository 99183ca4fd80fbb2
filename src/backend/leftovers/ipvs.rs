// SPDX-License-Identifier: Apache-2.0
//! The virtual servers of an IPVS mode, with the link that holds their addresses: takes them away
//! bit by bit, as their connections end.
//!
//! The kernel keeps no owner. A virtual server is kube-proxy's, or ferrule's own of IPVS mode, if
//! its address is on the link `kube-ipvs0`, or if it is an address of the node and its port one of
//! those in kube-proxy's sets of NodePorts or in our table. All others are somebody else's and stay.
//! To be called only while the rules of nftables mode are in force: they take every new connection
//! before IPVS sees it, so nothing new comes to what is taken away here.

use std::collections::{BTreeSet, HashSet};
use std::net::IpAddr;

use ipnet::IpNet;
use nix::libc::{ENOENT, ESRCH};

use super::ipsets::IpSets;
use super::report::{Removed, Swept};
use super::sockets;
use crate::backend::ipvs::link::Link;
use crate::backend::ipvs::{Change, Ipvs, ServiceKey};
use crate::backend::{Error, Nftables};
use crate::model::IpFamily;
use crate::plan::nft::{Element, SetId, element::KeyPart};

/// A NodePort: family, protocol (`IPPROTO_*`) and port.
pub type NodePort = (IpFamily, u16, u16);

/// What an IPVS mode left, until it is gone.
#[derive(Debug)]
pub struct Remains {
    link: Link,
    /// None if the kernel has no IPVS any more.
    ipvs: Option<Ipvs>,
    node_ports: HashSet<NodePort>,
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
    /// Addresses that connections of this host itself still come from.
    pub held: usize,
}

/// Addresses on and off the link.
struct Addresses {
    bound: BTreeSet<IpAddr>,
    elsewhere: BTreeSet<IpAddr>,
}

/// The NodePorts that our table knows, whichever mode it is of: in IPVS mode there are virtual
/// servers for them. None where there is no link of IPVS mode.
///
/// # Errors
/// The kernel's.
pub fn node_ports(kernel: &mut impl Nftables) -> Result<HashSet<NodePort>, Error> {
    let mut ports = HashSet::new();
    if !Link::open()?.exists()? {
        return Ok(ports);
    }
    for family in IpFamily::ALL {
        if kernel.read_table(family)?.is_none() {
            continue;
        }
        for id in [
            SetId::Nodeports,
            SetId::NodeportsOutside,
            SetId::RefusedNodeports,
        ] {
            ports.extend(parts(kernel, family, id).filter_map(|parts| match *parts {
                [KeyPart::Protocol(protocol), KeyPart::Port(port)] => {
                    Some((family, u16::from(protocol), port))
                }
                _ => None,
            }));
        }
    }
    Ok(ports)
}

/// The keys of a set's elements; none if a table of another version lacks it.
fn parts(
    kernel: &mut impl Nftables,
    family: IpFamily,
    id: SetId,
) -> impl Iterator<Item = Vec<KeyPart>> {
    let elements = kernel.read_elements(family, id).unwrap_or_default();
    let parts = move |e: Element| e.key.parts(&id.spec().key, family);
    elements.into_iter().map(parts)
}

/// The addresses that our table serves NodePorts on.
fn node_addresses(kernel: &mut impl Nftables) -> HashSet<IpAddr> {
    let mut addresses = HashSet::new();
    for family in IpFamily::ALL {
        let parts = parts(kernel, family, SetId::NodeAddresses).flatten();
        addresses.extend(parts.filter_map(|part| match part {
            KeyPart::Address(ip) => Some(ip),
            _ => None,
        }));
    }
    addresses
}

/// In IPVS mode, removes the virtual servers of kube-proxy's NodePorts that our table does not know.
/// To be called once our table is written.
///
/// # Errors
/// The kernel's.
pub fn sweep_node_ports(kernel: &mut impl Nftables, excluded: &[IpNet]) -> Result<Swept, Error> {
    let mut swept = Swept::default();
    if let Some(mut remains) = Remains::find(excluded, [])? {
        let (ports, addresses) = (node_ports(kernel)?, node_addresses(kernel));
        let served = |ip, port: &NodePort| addresses.contains(&ip) && ports.contains(port);
        let servers = remains.delete_node_ports(served)?;
        let removed = (servers > 0).then_some(Removed::VirtualServers { servers });
        swept.removed.extend(removed);
    }
    Ok(swept)
}

impl Remains {
    /// None if there is nothing. Costs a few small requests then, and loads no module. Beside
    /// kube-proxy's own NodePorts these count (see [`node_ports`]).
    ///
    /// # Errors
    /// The kernel's.
    pub fn find(
        excluded: &[IpNet],
        ours: impl IntoIterator<Item = NodePort>,
    ) -> Result<Option<Self>, Error> {
        let mut link = Link::open()?;
        let mut sets = IpSets::open()?;
        let (mut node_ports, any_set) = match &mut sets {
            Some(sets) => (sets.node_ports()?, !sets.names()?.is_empty()),
            None => (HashSet::new(), false),
        };
        if !any_set && !link.exists()? {
            return Ok(None);
        }
        node_ports.extend(ours);
        let ipvs = match Ipvs::open() {
            Ok(ipvs) => Some(ipvs),
            Err(Error::Missing(_)) => None,
            Err(e) => return Err(e),
        };
        Ok(Some(Self {
            link,
            ipvs,
            node_ports,
            excluded: excluded.to_vec(),
        }))
    }

    /// Removes the virtual servers that have no connection, or with `all` every one; then the
    /// addresses that no virtual server is left at, nor a connection of this host itself, and with
    /// the last of them the link. With `all` such connections are ended.
    ///
    /// # Errors
    /// The kernel's. What was done stays done.
    pub fn step(&mut self, all: bool) -> Result<Step, Error> {
        let addresses = Addresses {
            bound: self.link.bound()?,
            elsewhere: self.link.elsewhere()?,
        };
        let (mut step, mut kept) = (Step::default(), HashSet::new());
        let mut deletions = Vec::new();
        for key in self.servers()? {
            if !self.is_left(&key, &addresses) {
                kept.extend(address(&key));
            } else if all || self.connections(&key)? == 0 {
                deletions.push(Change::DeleteService(key));
            } else {
                kept.extend(address(&key));
                step.busy += 1;
            }
        }
        step.servers = self.delete(&deletions)?;
        let goes = |ip: &IpAddr| !kept.contains(ip) && !self.is_excluded(*ip);
        let gone = addresses.bound.iter().copied().filter(goes).collect();
        self.unbind(gone, addresses.bound.len(), all, &mut step)?;
        Ok(step)
    }

    /// Removes the virtual servers of NodePorts that nobody serves any more, in IPVS mode: those on
    /// the link are the engine's. Returns how many.
    pub(super) fn delete_node_ports(
        &mut self,
        served: impl Fn(IpAddr, &NodePort) -> bool,
    ) -> Result<usize, Error> {
        let addresses = Addresses {
            bound: BTreeSet::new(),
            elsewhere: self.link.elsewhere()?,
        };
        let mut keys = self.servers()?;
        keys.retain(|key| {
            let port = node_port(key);
            self.is_left(key, &addresses) && port.is_some_and(|(ip, port)| !served(ip, &port))
        });
        self.delete(
            &keys
                .into_iter()
                .map(Change::DeleteService)
                .collect::<Vec<_>>(),
        )
    }

    /// Takes addresses from the link that has so many, and the link with the last of them.
    fn unbind(
        &mut self,
        mut gone: BTreeSet<IpAddr>,
        bound: usize,
        all: bool,
        step: &mut Step,
    ) -> Result<(), Error> {
        let connections = sockets::connections(&gone)?;
        if !all {
            let before = gone.len();
            let held: HashSet<IpAddr> = connections.iter().map(|c| c.source).collect();
            gone.retain(|ip| !held.contains(ip));
            step.held = before - gone.len();
        }
        step.addresses = gone.len();
        if step.busy == 0 && gone.len() == bound {
            // With all that is on it: much faster than one by one.
            step.link = self.link.remove()?;
        } else {
            self.link.unbind(&Vec::from_iter(gone))?;
        }
        if all {
            sockets::end(&connections)
        } else {
            Ok(())
        }
    }

    /// The keys of all virtual servers, whoever made them.
    fn servers(&mut self) -> Result<Vec<ServiceKey>, Error> {
        let Some(ipvs) = &mut self.ipvs else {
            return Ok(Vec::new());
        };
        Ok(ipvs.services()?.into_iter().map(|s| s.key).collect())
    }

    fn is_left(&self, key: &ServiceKey, addresses: &Addresses) -> bool {
        let Some((ip, port)) = node_port(key) else {
            return false;
        };
        !self.is_excluded(ip)
            && (addresses.bound.contains(&ip)
                || addresses.elsewhere.contains(&ip) && self.node_ports.contains(&port))
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
        (self.busy, self.held) = (other.busy, other.held);
    }
}

/// What a virtual server would be as one of a NodePort, and at which address.
fn node_port(key: &ServiceKey) -> Option<(IpAddr, NodePort)> {
    let ServiceKey::Address { protocol, address } = key else {
        return None;
    };
    let ip = address.ip();
    Some((ip, (IpFamily::of(ip), *protocol, address.port())))
}

fn address(key: &ServiceKey) -> Option<IpAddr> {
    match key {
        ServiceKey::Address { address, .. } => Some(address.ip()),
        ServiceKey::Fwmark { .. } => None,
    }
}
