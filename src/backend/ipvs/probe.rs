// SPDX-License-Identifier: Apache-2.0
//! Finds out which schedulers this kernel has.

use std::net::{Ipv4Addr, SocketAddr};

use nix::libc::ENOENT;

use super::{Change, Error, Ipvs, Scheduler, Service, ServiceKey};

/// Address and port for trying schedulers: an address for documentation (RFC 5737), to which no
/// packet is sent. kube-proxy tries the same one.
const NOWHERE: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(198, 51, 100, 0)), 20_000);

impl Ipvs {
    /// Whether the kernel has a scheduler; it loads the module if it can. A virtual server with that
    /// scheduler is made for it, and deleted at once.
    ///
    /// # Errors
    /// The kernel's: `EPERM` without CAP_NET_ADMIN, `EEXIST` if somebody else has just that virtual
    /// server.
    pub fn has_scheduler(&mut self, scheduler: &Scheduler) -> Result<bool, Error> {
        let key = ServiceKey::tcp(NOWHERE);
        let mut service = Service::new(key);
        service.scheduler = scheduler.clone();
        match self.apply(&[Change::AddService(service)])?.pop() {
            Some(refusal) if refusal.error.errno() == Some(ENOENT) => Ok(false),
            Some(refusal) => Err(refusal.error),
            None => match self.apply(&[Change::DeleteService(key)])?.pop() {
                Some(refusal) => Err(refusal.error),
                None => Ok(true),
            },
        }
    }
}
