// SPDX-License-Identifier: Apache-2.0
//! IPVS and its link in memory, for tests: each step by itself, with the errors that the kernel
//! gives. Copies of it share what they hold, so a test keeps one and gives the engine another.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::libc::{EEXIST, EINVAL, ENOENT, ESRCH};

use crate::backend::servers::{Destination, Refusal};
use crate::backend::{Error, VirtualServers};
use crate::model::{IpFamily, Target};
use crate::plan::ipvs::steps::Step;
use crate::plan::ipvs::{ServerKey, Settings};

/// A virtual server in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// How it chooses; none if in a way that is none of ours.
    pub settings: Option<Settings>,
    /// Weight and number of connections of each real server.
    pub destinations: BTreeMap<Target, (u32, u32)>,
}

/// What is in memory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Held {
    /// Virtual servers.
    pub servers: BTreeMap<ServerKey, Server>,
    /// Addresses on the link.
    pub bound: BTreeSet<IpAddr>,
    /// Steps, and addresses bound and unbound, that were asked for so far.
    pub asked: usize,
    /// Schedulers that are missing.
    pub lacks: BTreeSet<String>,
    /// Real servers that are refused as EINVAL.
    pub invalid: BTreeSet<Target>,
    /// The request so many from now fails as a whole, the next one at 1; none at 0.
    pub fails: usize,
    /// Steps that are done of a list that fails.
    pub cut: usize,
}

/// A handle.
#[derive(Debug, Clone, Default)]
pub struct FakeServers(Arc<Mutex<Held>>);

impl FakeServers {
    /// What it holds, to look at and to change.
    pub fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ready(&self) -> Result<MutexGuard<'_, Held>, Error> {
        let mut held = self.held();
        let last = held.fails == 1;
        held.fails = held.fails.saturating_sub(1);
        match last {
            true => Err(refused("do", EINVAL)),
            false => Ok(held),
        }
    }
}

fn refused(operation: &'static str, errno: i32) -> Error {
    Error::Refused {
        operation,
        object: "in memory".into(),
        errno,
        message: String::new(),
    }
}

impl Held {
    fn step(&mut self, step: &Step) -> Result<(), i32> {
        match step {
            Step::Add(key, settings) => {
                if self.servers.contains_key(key) {
                    return Err(EEXIST);
                }
                self.schedules(settings)?;
                let server = Server {
                    settings: Some(settings.clone()),
                    destinations: BTreeMap::new(),
                };
                self.servers.insert(*key, server);
            }
            Step::Edit(key, settings) => {
                self.schedules(settings)?;
                self.server(key)?.settings = Some(settings.clone());
            }
            Step::Delete(key) => drop(self.servers.remove(key).ok_or(ESRCH)?),
            Step::AddDestination(key, target, weight) => {
                let invalid = self.invalid.contains(target);
                let destinations = &mut self.server(key)?.destinations;
                if invalid {
                    return Err(EINVAL);
                }
                if destinations.contains_key(target) {
                    return Err(EEXIST);
                }
                destinations.insert(*target, (*weight, 0));
            }
            Step::EditDestination(key, target, weight) => {
                let destinations = &mut self.server(key)?.destinations;
                destinations.get_mut(target).ok_or(ENOENT)?.0 = *weight;
            }
            Step::DeleteDestination(key, target) => {
                let destinations = &mut self.server(key)?.destinations;
                destinations.remove(target).ok_or(ENOENT)?;
            }
        }
        Ok(())
    }

    fn server(&mut self, key: &ServerKey) -> Result<&mut Server, i32> {
        self.servers.get_mut(key).ok_or(ESRCH)
    }

    fn schedules(&self, settings: &Settings) -> Result<(), i32> {
        match self.lacks.contains(&*settings.scheduler) {
            true => Err(ENOENT),
            false => Ok(()),
        }
    }
}

impl VirtualServers for FakeServers {
    fn servers(
        &mut self,
        family: IpFamily,
    ) -> Result<BTreeMap<ServerKey, Option<Settings>>, Error> {
        let held = self.ready()?;
        let of_family = held
            .servers
            .iter()
            .filter(|(key, _)| key.family() == family);
        Ok(of_family
            .map(|(key, s)| (*key, s.settings.clone()))
            .collect())
    }

    fn destinations(&mut self, key: &ServerKey) -> Result<Vec<Destination>, Error> {
        let held = self.ready()?;
        let all = held
            .servers
            .get(key)
            .into_iter()
            .flat_map(|s| &s.destinations);
        let found = |(target, (weight, connections)): (&Target, &(u32, u32))| Destination {
            target: *target,
            weight: Some(*weight),
            connections: *connections,
        };
        Ok(all.map(found).collect())
    }

    fn apply(&mut self, steps: &[Step]) -> Result<Vec<Refusal>, Error> {
        let mut held = match self.ready() {
            Ok(held) => held,
            Err(error) => {
                let mut held = self.held();
                let done = held.cut;
                for step in steps.iter().take(done) {
                    let _ = held.step(step);
                }
                return Err(error);
            }
        };
        held.asked += steps.len();
        let mut refusals = Vec::new();
        for (index, step) in steps.iter().enumerate() {
            if let Err(errno) = held.step(step) {
                let error = refused("step", errno);
                refusals.push(Refusal { index, error });
            }
        }
        Ok(refusals)
    }

    fn has_scheduler(&mut self, name: &str) -> Result<bool, Error> {
        Ok(!self.ready()?.lacks.contains(name))
    }

    fn bound(&mut self, family: IpFamily) -> Result<BTreeSet<IpAddr>, Error> {
        let held = self.ready()?;
        let of_family = held.bound.iter().filter(|a| IpFamily::of(**a) == family);
        Ok(of_family.copied().collect())
    }

    fn bind(&mut self, addresses: &[IpAddr]) -> Result<(), Error> {
        let mut held = self.ready()?;
        held.asked += addresses.len();
        held.bound.extend(addresses);
        Ok(())
    }

    fn unbind(&mut self, addresses: &[IpAddr]) -> Result<(), Error> {
        let mut held = self.ready()?;
        held.asked += addresses.len();
        for address in addresses {
            held.bound.remove(address);
        }
        Ok(())
    }
}
