// SPDX-License-Identifier: Apache-2.0
//! IPVS: reads and changes virtual servers and real servers over generic netlink.
//!
//! Unlike a batch of nf_tables, requests to IPVS are applied one by one: what a change list holds
//! after a refused change is applied all the same. Their order is the caller's to choose.
//!
//! Nothing here tells own virtual servers from those of others: the kernel keeps no owner.

mod exchange;
pub mod link;
mod probe;
pub mod virtuals;

use std::collections::HashMap;
use std::fmt;

use netlink_ipvs::{Command, IpvsAttribute, IpvsMessage};
pub use netlink_ipvs::{Destination, Netmask, Scheduler, Service, ServiceFlags, ServiceKey};

use self::exchange::Exchange;
use super::Error;

/// How often a reading is tried again that was interrupted by a change, or may have been.
const READS: usize = 20;
/// How many lists in a row have to agree. The same few entries stand between two parts of a list, so
/// that two lists may well lack the same one.
const AGREE: usize = 4;

/// IPVS of the network namespace that it was opened in.
#[derive(Debug)]
pub struct Ipvs {
    exchange: Exchange,
}

/// A change of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Adds a virtual server. `EEXIST` if it is there; `ENOENT` if the kernel lacks the scheduler.
    AddService(Service),
    /// Changes all of a virtual server but its key. `ESRCH` if it is not there; `ENOENT` if the
    /// kernel lacks the scheduler. Connections stay.
    EditService(Service),
    /// Deletes a virtual server with its real servers. `ESRCH` if it is not there.
    DeleteService(ServiceKey),
    /// Adds a real server. `EEXIST` if it is there; `ESRCH` if its virtual server is not.
    AddDestination(ServiceKey, Destination),
    /// Changes all of a real server but its address. `ENOENT` if it is not there.
    EditDestination(ServiceKey, Destination),
    /// Deletes a real server. `ENOENT` if it is not there.
    DeleteDestination(ServiceKey, Destination),
}

/// How long connections may be idle, seconds. 0 in a request leaves one as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timeouts {
    /// An established TCP connection.
    pub tcp: u32,
    /// A TCP connection after a FIN.
    pub tcp_fin: u32,
    /// A UDP flow.
    pub udp: u32,
}

/// A change that the kernel refused.
#[derive(Debug)]
pub struct Refusal {
    /// Its place in the list of changes.
    pub index: usize,
    /// Why; with [`Error::errno`].
    pub error: Error,
}

impl Ipvs {
    /// Opens IPVS, which lets the kernel load its module if it is there.
    ///
    /// # Errors
    /// [`Error::Missing`] if the kernel has no IPVS.
    pub fn open() -> Result<Self, Error> {
        Ok(Self {
            exchange: Exchange::open()?,
        })
    }

    /// All virtual servers, whoever made them; one that is deleted meanwhile may be among them.
    ///
    /// # Errors
    /// The kernel's, and [`Error::Malformed`].
    pub fn services(&mut self) -> Result<Vec<Service>, Error> {
        whole(|| {
            let request = IpvsMessage::get_services();
            self.list(&request, "list virtual servers", |m| m.service())
        })
    }

    /// The real servers of a virtual server, with their counts of connections. None at all if there
    /// is no such virtual server: the kernel does not tell the difference.
    ///
    /// # Errors
    /// The kernel's, and [`Error::Malformed`].
    pub fn destinations(&mut self, key: &ServiceKey) -> Result<Vec<Destination>, Error> {
        let request = IpvsMessage::get_destinations(key);
        let family = key.family();
        self.list(&request, "list real servers", |m| m.destination(family))
    }

    fn list<T>(
        &mut self,
        request: &IpvsMessage,
        operation: &'static str,
        mut read: impl FnMut(&IpvsMessage) -> Option<Result<T, netlink_packet_core::DecodeError>>,
    ) -> Result<Vec<T>, Error> {
        for _ in 0..READS {
            let mut found = Vec::new();
            let asked = self.exchange.ask(request, true, |message| {
                found.extend(read(&message));
            });
            match asked {
                Err(Error::Interrupted) => {}
                Err(e) => return Err(e.about(operation, "")),
                Ok(()) => {
                    let all: Result<Vec<T>, _> = found.into_iter().collect();
                    return all.map_err(|e| Error::Malformed(format!("{operation}: {e}")));
                }
            }
        }
        Err(Error::Interrupted)
    }

    /// Applies changes in their order, each by itself, and returns those that were refused.
    ///
    /// # Errors
    /// If the exchange itself failed: what was applied is unknown then.
    pub fn apply(&mut self, changes: &[Change]) -> Result<Vec<Refusal>, Error> {
        let messages: Vec<IpvsMessage> = changes.iter().map(Change::message).collect();
        let failures = self.exchange.tell(&messages)?;
        let refusals = failures.into_iter().map(|(index, failure)| {
            let change = &changes[index];
            let error = Error::Refused {
                operation: change.operation(),
                object: change.object(),
                errno: failure.errno,
                message: failure.message,
            };
            Refusal { index, error }
        });
        Ok(refusals.collect())
    }

    /// How long connections may be idle.
    ///
    /// # Errors
    /// The kernel's.
    pub fn timeouts(&mut self) -> Result<Timeouts, Error> {
        let mut timeouts = Timeouts::default();
        let asked = self
            .exchange
            .ask(&IpvsMessage::get_timeouts(), false, |message| {
                for attribute in &message.attributes {
                    match attribute {
                        IpvsAttribute::TimeoutTcp(seconds) => timeouts.tcp = *seconds,
                        IpvsAttribute::TimeoutTcpFin(seconds) => timeouts.tcp_fin = *seconds,
                        IpvsAttribute::TimeoutUdp(seconds) => timeouts.udp = *seconds,
                        _ => {}
                    }
                }
            });
        asked.map_err(|e| e.about("read", "IPVS time-outs"))?;
        Ok(timeouts)
    }

    /// Sets how long connections may be idle.
    ///
    /// # Errors
    /// The kernel's: `EINVAL` above `i32::MAX / HZ` seconds.
    pub fn set_timeouts(&mut self, timeouts: Timeouts) -> Result<(), Error> {
        let Timeouts { tcp, tcp_fin, udp } = timeouts;
        let request = IpvsMessage::set_timeouts(tcp, tcp_fin, udp);
        match self.exchange.tell(&[request])?.pop() {
            None => Ok(()),
            Some((_, failure)) => Err(Error::Refused {
                operation: "set",
                object: "IPVS time-outs".into(),
                errno: failure.errno,
                message: failure.message,
            }),
        }
    }
}

impl Change {
    fn message(&self) -> IpvsMessage {
        match self {
            Change::AddService(service) => IpvsMessage::new_service(service),
            Change::EditService(service) => IpvsMessage::set_service(service),
            Change::DeleteService(key) => IpvsMessage::delete_service(key),
            Change::AddDestination(key, d) => IpvsMessage::new_destination(key, d),
            Change::EditDestination(key, d) => IpvsMessage::set_destination(key, d),
            Change::DeleteDestination(key, d) => IpvsMessage::delete_destination(key, d),
        }
    }

    fn operation(&self) -> &'static str {
        match self {
            Change::AddService(_) => "add virtual server",
            Change::EditService(_) => "edit virtual server",
            Change::DeleteService(_) => "delete virtual server",
            Change::AddDestination(..) => "add real server",
            Change::EditDestination(..) => "edit real server",
            Change::DeleteDestination(..) => "delete real server",
        }
    }

    fn object(&self) -> String {
        match self {
            Change::AddService(s) | Change::EditService(s) => {
                format!("{} scheduler {}", Named(&s.key), s.scheduler)
            }
            Change::DeleteService(key) => Named(key).to_string(),
            Change::AddDestination(key, d)
            | Change::EditDestination(key, d)
            | Change::DeleteDestination(key, d) => format!("{} of {}", d.address, Named(key)),
        }
    }
}

/// Lists until some lists in a row agree, and returns whatever was on any.
///
/// From one part of a list to the next the kernel counts its entries, those of other network
/// namespaces too, so who adds or deletes some there makes it leave out or repeat some of ours; it
/// does not tell (`ip_vs_genl_dump_services`).
fn whole(mut list: impl FnMut() -> Result<Vec<Service>, Error>) -> Result<Vec<Service>, Error> {
    let (mut all, mut agree) = (HashMap::new(), 0);
    for _ in 0..READS {
        let known = all.len();
        let found = list()?.into_iter().map(|service| (service.key, service));
        let found: HashMap<ServiceKey, Service> = found.collect();
        let count = found.len();
        all.extend(found);
        agree = match count == all.len() {
            true if count == known => agree + 1,
            true => 1,
            false => 0,
        };
        if agree == AGREE {
            break;
        }
    }
    Ok(all.into_values().collect())
}

/// A virtual server by name, as `tcp 192.0.2.1:80`.
struct Named<'a>(&'a ServiceKey);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ServiceKey::Address { protocol, address } => match protocol {
                6 => write!(f, "tcp {address}"),
                17 => write!(f, "udp {address}"),
                132 => write!(f, "sctp {address}"),
                other => write!(f, "protocol {other} {address}"),
            },
            ServiceKey::Fwmark { mark, .. } => write!(f, "mark {mark:#x}"),
        }
    }
}

/// Whether a message is an answer of that kind; others are not expected on this socket.
fn is_answer(message: &IpvsMessage) -> bool {
    use Command::{NewDestination, NewService, SetConfig, SetInfo};
    matches!(
        message.command,
        NewService | NewDestination | SetConfig | SetInfo
    )
}

#[cfg(test)]
mod tests;
