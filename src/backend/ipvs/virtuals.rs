// SPDX-License-Identifier: Apache-2.0
//! The plan's virtual servers, in the kernel's terms.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use netlink_ipvs::ForwardingMethod;

use super::link::Link;
use super::{Change, Destination, Ipvs, Netmask, Scheduler, Service, ServiceFlags, ServiceKey};
use crate::backend::servers::{self, Refusal};
use crate::backend::{Error, VirtualServers};
use crate::model::{IpFamily, Protocol, Target};
use crate::plan::ipvs::steps::Step;
use crate::plan::ipvs::{ServerKey, Settings, VirtualServer};

/// IPVS and the link `kube-ipvs0` of one network namespace.
#[derive(Debug)]
pub struct Virtuals {
    ipvs: Ipvs,
    link: Link,
}

impl Virtuals {
    /// Opens both, and makes the link if it is not there.
    ///
    /// # Errors
    /// [`Error::Missing`] if the kernel has no IPVS or no dummy links.
    pub fn open() -> Result<Self, Error> {
        let (ipvs, mut link) = (Ipvs::open()?, Link::open()?);
        link.create()?;
        Ok(Self { ipvs, link })
    }
}

/// All virtual servers, with their real ones; none without the link of IPVS mode. To be shown:
/// nothing is changed, and no module is loaded.
///
/// # Errors
/// The kernel's.
pub fn listing() -> Result<BTreeMap<ServerKey, Arc<VirtualServer>>, Error> {
    let mut all = BTreeMap::new();
    if Link::open()?.exists()? {
        for family in IpFamily::ALL {
            all.extend(read(family)?);
        }
    }
    Ok(all)
}

/// All virtual servers of a family that go by an address, with their real servers of weight and
/// all. Reads only; makes no link.
///
/// # Errors
/// The kernel's; [`Error::Missing`] if it has no IPVS.
pub fn read(family: IpFamily) -> Result<BTreeMap<ServerKey, Arc<VirtualServer>>, Error> {
    let mut ipvs = Ipvs::open()?;
    let mut servers = BTreeMap::new();
    for service in ipvs.services()? {
        let Some(key) = server_key(&service.key).filter(|key| key.family() == family) else {
            continue;
        };
        let foreign = || Settings {
            scheduler: service.scheduler.name().into(),
            persistence: None,
            one_packet: false,
        };
        let destinations = ipvs.destinations(&service.key)?;
        let destinations = destinations.iter().map(|destination| {
            let weight = u32::try_from(destination.weight).unwrap_or(0);
            (found(destination).target, weight)
        });
        let server = VirtualServer {
            settings: settings(&service).unwrap_or_else(foreign),
            destinations: destinations.collect(),
        };
        servers.insert(key, Arc::new(server));
    }
    Ok(servers)
}

impl VirtualServers for Virtuals {
    fn servers(
        &mut self,
        family: IpFamily,
    ) -> Result<BTreeMap<ServerKey, Option<Settings>>, Error> {
        let all = self.ipvs.services()?;
        let known = all
            .iter()
            .filter_map(|s| Some((server_key(&s.key)?, settings(s))));
        Ok(known.filter(|(key, _)| key.family() == family).collect())
    }

    fn destinations(&mut self, key: &ServerKey) -> Result<Vec<servers::Destination>, Error> {
        let all = self.ipvs.destinations(&service_key(key))?;
        Ok(all.iter().map(found).collect())
    }

    fn apply(&mut self, steps: &[Step]) -> Result<Vec<Refusal>, Error> {
        let changes: Vec<Change> = steps.iter().map(change).collect();
        let refusals = self.ipvs.apply(&changes)?.into_iter();
        let refusals = refusals.map(|r| Refusal {
            index: r.index,
            error: r.error,
        });
        Ok(refusals.collect())
    }

    fn has_scheduler(&mut self, name: &str) -> Result<bool, Error> {
        self.ipvs.has_scheduler(&Scheduler::from(name))
    }

    fn bound(&mut self, family: IpFamily) -> Result<BTreeSet<IpAddr>, Error> {
        let mut bound = self.link.bound()?;
        bound.retain(|address| IpFamily::of(*address) == family);
        Ok(bound)
    }

    fn bind(&mut self, addresses: &[IpAddr]) -> Result<(), Error> {
        self.link.bind(addresses)
    }

    fn unbind(&mut self, addresses: &[IpAddr]) -> Result<(), Error> {
        self.link.unbind(addresses)
    }
}

fn service_key(key: &ServerKey) -> ServiceKey {
    ServiceKey::Address {
        protocol: key.protocol.number().into(),
        address: SocketAddr::new(key.address, key.port),
    }
}

fn server_key(key: &ServiceKey) -> Option<ServerKey> {
    let ServiceKey::Address { protocol, address } = key else {
        return None;
    };
    let number = |p: &Protocol| u16::from(p.number()) == *protocol;
    Some(ServerKey {
        address: address.ip(),
        protocol: Protocol::ALL.into_iter().find(number)?,
        port: address.port(),
    })
}

fn service(key: &ServerKey, settings: &Settings) -> Service {
    let mut service = Service::new(service_key(key));
    service.scheduler = Scheduler::from(&*settings.scheduler);
    service.flags = flags(settings);
    service.timeout = settings.persistence.unwrap_or_default();
    service
}

fn flags(settings: &Settings) -> u32 {
    let flags = [
        (settings.persistence.is_some(), ServiceFlags::PERSISTENT),
        (settings.one_packet, ServiceFlags::ONE_PACKET),
        (settings.falls_back(), ServiceFlags::SCHED_1),
        (settings.hashes_port(), ServiceFlags::SCHED_2),
    ];
    let set = flags.into_iter().filter(|(set, _)| *set);
    set.fold(0, |all, (_, flag)| all | flag)
}

/// What we would have made it with.
fn settings(service: &Service) -> Option<Settings> {
    let persistent = service.flags & ServiceFlags::PERSISTENT != 0;
    let settings = Settings {
        scheduler: service.scheduler.name().into(),
        persistence: persistent.then_some(service.timeout),
        one_packet: service.flags & ServiceFlags::ONE_PACKET != 0,
    };
    let single = matches!(service.netmask, Netmask::V4(m) if m.is_broadcast())
        || service.netmask == Netmask::V6(128);
    let same = flags(&settings) == service.flags & !ServiceFlags::HASHED;
    (same && single && service.persistence_engine.is_none()).then_some(settings)
}

fn destination(target: &Target, weight: u32) -> Destination {
    let mut destination = Destination::new(SocketAddr::new(target.address, target.port));
    destination.weight = i32::try_from(weight).unwrap_or(i32::MAX);
    destination
}

fn found(destination: &Destination) -> servers::Destination {
    let translated = matches!(
        destination.forwarding,
        ForwardingMethod::Masquerade | ForwardingMethod::LocalNode
    );
    let limited = (destination.upper_threshold, destination.lower_threshold) != (0, 0);
    let weight = u32::try_from(destination.weight).ok();
    servers::Destination {
        target: Target {
            address: destination.address.ip(),
            port: destination.address.port(),
        },
        weight: weight.filter(|_| translated && !limited),
        connections: destination
            .active_connections
            .saturating_add(destination.inactive_connections),
    }
}

fn change(step: &Step) -> Change {
    match step {
        Step::Add(key, settings) => Change::AddService(service(key, settings)),
        Step::Edit(key, settings) => Change::EditService(service(key, settings)),
        Step::Delete(key) => Change::DeleteService(service_key(key)),
        Step::AddDestination(key, target, weight) => {
            Change::AddDestination(service_key(key), destination(target, *weight))
        }
        Step::EditDestination(key, target, weight) => {
            Change::EditDestination(service_key(key), destination(target, *weight))
        }
        Step::DeleteDestination(key, target) => {
            Change::DeleteDestination(service_key(key), destination(target, 0))
        }
    }
}
