// SPDX-License-Identifier: Apache-2.0
//! What IPVS mode needs of the kernel beside nftables.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::Error;
use crate::model::{IpFamily, Target};
use crate::plan::ipvs::steps::Step;
use crate::plan::ipvs::{ServerKey, Settings};

/// A real server as the kernel holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Destination {
    /// Address and port.
    pub target: Target,
    /// Its weight; none if packets are not sent there in our way.
    pub weight: Option<u32>,
    /// Connections that it has, active or not.
    pub connections: u32,
}

/// A step that the kernel refused; what follows it was done all the same.
#[derive(Debug)]
pub struct Refusal {
    /// Its place in the list of steps.
    pub index: usize,
    /// Why; with [`Error::errno`].
    pub error: Error,
}

/// Virtual servers and the addresses that they are at. Implemented over netlink, and in memory for
/// tests.
pub trait VirtualServers {
    /// The virtual servers of a family that have an address, whoever made them; with their
    /// settings, or none for those that we would never make.
    ///
    /// # Errors
    /// The kernel's.
    fn servers(&mut self, family: IpFamily)
    -> Result<BTreeMap<ServerKey, Option<Settings>>, Error>;

    /// The real servers of a virtual server; none if it is not there.
    ///
    /// # Errors
    /// The kernel's.
    fn destinations(&mut self, key: &ServerKey) -> Result<Vec<Destination>, Error>;

    /// Does one step after the other, each by itself.
    ///
    /// # Errors
    /// If the exchange failed: what was done is unknown then.
    fn apply(&mut self, steps: &[Step]) -> Result<Vec<Refusal>, Error>;

    /// Whether the kernel has a scheduler, or can load it.
    ///
    /// # Errors
    /// The kernel's.
    fn has_scheduler(&mut self, name: &str) -> Result<bool, Error>;

    /// The addresses of a family on the link for them.
    ///
    /// # Errors
    /// The kernel's.
    fn bound(&mut self, family: IpFamily) -> Result<BTreeSet<IpAddr>, Error>;

    /// Puts addresses on the link; those that it has are no error.
    ///
    /// # Errors
    /// The first address that was refused. All others are bound then.
    fn bind(&mut self, addresses: &[IpAddr]) -> Result<(), Error>;

    /// Takes addresses from the link; those that it lacks are no error.
    ///
    /// # Errors
    /// The first address that was refused. All others are gone then.
    fn unbind(&mut self, addresses: &[IpAddr]) -> Result<(), Error>;
}
