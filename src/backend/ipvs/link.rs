// SPDX-License-Identifier: Apache-2.0
//! The link `kube-ipvs0`: what is bound to it is delivered to this host, where IPVS takes it.
//!
//! It is kube-proxy's by name and properties (`pkg/proxy/ipvs/netlink_linux.go`): a dummy link that
//! is never brought up, so that it neither answers ARP nor gets routes; the kernel's table of local
//! addresses does not ask for that.

use std::collections::BTreeSet;
use std::net::IpAddr;

use nix::libc::{
    AF_INET, AF_INET6, AF_UNSPEC, EADDRNOTAVAIL, EEXIST, EINVAL, ENODEV, EOPNOTSUPP, EPERM,
    IFA_ADDRESS, IFA_CACHEINFO, IFA_F_NODAD, IFA_F_NOPREFIXROUTE, IFA_FLAGS, IFA_LOCAL,
    RTM_DELADDR, RTM_DELLINK, RTM_GETADDR, RTM_GETLINK, RTM_NEWADDR, RTM_NEWLINK,
};

use crate::backend::Error;
use crate::backend::netlink::{
    Attrs, Failure, NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REQUEST, Socket, Writer,
    cstr,
};

/// Its name, kube-proxy's too.
pub const NAME: &str = "kube-ipvs0";
/// Its kind, as the kernel names it.
const KIND: &str = "dummy";

// `linux/if_link.h`.
const IFLA_IFNAME: u16 = 3;
const IFLA_TXQLEN: u16 = 13;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
/// `struct ifinfomsg` and `struct ifaddrmsg`, bytes.
const IFINFOMSG: usize = 16;
const IFADDRMSG: usize = 8;

/// Addresses sent in one go. What the kernel refuses of them must fit into the receive buffer. Tests
/// must need several.
const BATCH: usize = if cfg!(test) { 300 } else { 5_000 };
/// How often a reading is tried again that was interrupted by a change.
const READS: usize = 10;

/// The link in the network namespace that this was opened in, whether it is there or not.
#[derive(Debug)]
pub struct Link {
    socket: Socket,
    name: &'static str,
}

/// A link that is there.
struct Found {
    index: u32,
    kind: String,
}

impl Link {
    /// Opens a socket. Changes nothing, and the link need not be there.
    ///
    /// # Errors
    /// If the kernel has no route netlink.
    pub fn open() -> Result<Self, Error> {
        Ok(Self {
            socket: Socket::route()?,
            name: NAME,
        })
    }

    /// Whether the link is there.
    ///
    /// # Errors
    /// The kernel's.
    pub fn exists(&mut self) -> Result<bool, Error> {
        Ok(self.find()?.is_some())
    }

    /// Makes the link, if it is not there.
    ///
    /// # Errors
    /// [`Error::Missing`] without the right, or in a kernel without dummy links.
    pub fn create(&mut self) -> Result<(), Error> {
        self.ensure().map(|_| ())
    }

    /// The addresses that the link has; none if it is not there.
    ///
    /// # Errors
    /// The kernel's, and [`Error::Interrupted`] if others keep changing addresses.
    pub fn bound(&mut self) -> Result<BTreeSet<IpAddr>, Error> {
        let Some(link) = self.find()? else {
            return Ok(BTreeSet::new());
        };
        self.addresses(|index| index == link.index)
    }

    /// The addresses that other links have, loopback ones among them.
    ///
    /// # Errors
    /// As [`Link::bound`].
    pub fn elsewhere(&mut self) -> Result<BTreeSet<IpAddr>, Error> {
        let link = self.find()?.map(|link| link.index);
        self.addresses(|index| Some(index) != link)
    }

    /// Gives the link addresses, and makes it if it is not there. What it has already stays.
    ///
    /// # Errors
    /// As [`Link::create`]; [`Error::Refused`] names the first address that was refused. All others
    /// are bound then.
    pub fn bind(&mut self, addresses: &[IpAddr]) -> Result<(), Error> {
        if addresses.is_empty() {
            return Ok(());
        }
        let link = self.ensure()?;
        let flags = NLM_F_CREATE | NLM_F_EXCL;
        let refused = self.tell(RTM_NEWADDR, flags, &link, addresses)?;
        let refused = refused.into_iter().filter(|(_, f)| f.errno != EEXIST);
        self.first("bind address", refused)
    }

    /// Takes addresses from the link. What it does not have is no error.
    ///
    /// # Errors
    /// [`Error::Refused`] names the first address that was refused. All others are gone then.
    pub fn unbind(&mut self, addresses: &[IpAddr]) -> Result<(), Error> {
        let Some(link) = self.find()? else {
            return Ok(());
        };
        let refused = self.tell(RTM_DELADDR, 0, &link, addresses)?;
        let gone = |errno| [EADDRNOTAVAIL, ENODEV].contains(&errno);
        let refused = refused.into_iter().filter(|(_, f)| !gone(f.errno));
        self.first("unbind address", refused)
    }

    /// Removes the link with its addresses. Returns whether it was there.
    ///
    /// # Errors
    /// The kernel's; also if a link of another kind has that name.
    pub fn remove(&mut self) -> Result<bool, Error> {
        let Some(link) = self.find()? else {
            return Ok(false);
        };
        if link.kind != KIND {
            return Err(Error::Refused {
                operation: "delete link",
                object: self.name.into(),
                errno: EINVAL,
                message: format!("it is no {KIND} link, but {:?}", link.kind),
            });
        }
        let mut w = Writer::new();
        w.message(RTM_DELLINK, NLM_F_REQUEST | NLM_F_ACK, 1, |w| {
            ifinfomsg(w, link.index);
        });
        match self.socket.acknowledged(w.as_bytes())?.pop() {
            Some(failure) if failure.errno != ENODEV => {
                Err(self.refused("delete link", self.name, failure))
            }
            _ => Ok(true),
        }
    }

    fn find(&mut self) -> Result<Option<Found>, Error> {
        let mut w = Writer::new();
        w.message(RTM_GETLINK, NLM_F_REQUEST | NLM_F_ACK, 1, |w| {
            ifinfomsg(w, 0);
            w.attr_str(IFLA_IFNAME, self.name);
        });
        let mut found = None;
        let asked = self.socket.dump(w.as_bytes(), |kind, payload| {
            if kind == RTM_NEWLINK {
                found = link(payload);
            }
        });
        match asked {
            Ok(()) => Ok(found),
            Err(e) if e.errno() == Some(ENODEV) => Ok(None),
            Err(e) => Err(e.about("look up link", self.name)),
        }
    }

    fn ensure(&mut self) -> Result<Found, Error> {
        if let Some(found) = self.find()? {
            return Ok(found);
        }
        let mut w = Writer::new();
        let flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
        w.message(RTM_NEWLINK, flags, 1, |w| {
            ifinfomsg(w, 0);
            w.attr_str(IFLA_IFNAME, self.name);
            w.attr(IFLA_TXQLEN, &0u32.to_ne_bytes());
            w.nested(IFLA_LINKINFO, |w| w.attr_str(IFLA_INFO_KIND, KIND));
        });
        match self.socket.acknowledged(w.as_bytes())?.pop() {
            Some(failure) if failure.errno != EEXIST => {
                return Err(self.refused("add link", self.name, failure));
            }
            _ => {}
        }
        let nowhere = Error::Malformed(format!("link {} is not there", self.name));
        self.find()?.ok_or(nowhere)
    }

    /// The addresses of the links that are wanted, by their index.
    fn addresses(&mut self, wanted: impl Fn(u32) -> bool) -> Result<BTreeSet<IpAddr>, Error> {
        let mut w = Writer::new();
        w.message(RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP, 1, |w| {
            ifaddrmsg(w, AF_UNSPEC, 0, 0);
        });
        for _ in 0..READS {
            let mut found = BTreeSet::new();
            let asked = self.socket.dump(w.as_bytes(), |kind, payload| {
                if kind == RTM_NEWADDR {
                    let address = address(payload).filter(|(index, _)| wanted(*index));
                    found.extend(address.map(|(_, ip)| ip));
                }
            });
            match asked {
                Err(Error::Interrupted) => {}
                Err(e) => return Err(e.about("list addresses", "")),
                Ok(()) => return Ok(found),
            }
        }
        Err(Error::Interrupted)
    }

    /// Sends a request for each address, and returns those that were refused.
    fn tell(
        &mut self,
        kind: u16,
        flags: u16,
        link: &Found,
        addresses: &[IpAddr],
    ) -> Result<Vec<(IpAddr, Failure)>, Error> {
        let (mut w, mut refused) = (Writer::new(), Vec::new());
        for batch in addresses.chunks(BATCH) {
            w.clear();
            for (seq, ip) in (1..).zip(batch) {
                // What is refused is told unasked; the last one's word ends the batch.
                let ack = if seq as usize == batch.len() {
                    NLM_F_ACK
                } else {
                    0
                };
                w.message(kind, NLM_F_REQUEST | ack | flags, seq, |w| {
                    change(w, link.index, *ip);
                });
            }
            let failures = self.socket.acknowledged(w.as_bytes())?;
            refused.extend(failures.into_iter().filter_map(|failure| {
                let place = (failure.seq as usize).checked_sub(1)?;
                Some((*batch.get(place)?, failure))
            }));
        }
        Ok(refused)
    }

    /// The first refusal, which tells how many there are.
    fn first(
        &self,
        operation: &'static str,
        mut refused: impl Iterator<Item = (IpAddr, Failure)>,
    ) -> Result<(), Error> {
        let Some((ip, mut failure)) = refused.next() else {
            return Ok(());
        };
        let more = refused.count();
        if more > 0 {
            let comma = if failure.message.is_empty() { "" } else { ", " };
            failure.message += &format!("{comma}and {more} more");
        }
        Err(self.refused(operation, &format!("{ip} on {}", self.name), failure))
    }

    fn refused(&self, operation: &'static str, object: &str, failure: Failure) -> Error {
        match failure.errno {
            EPERM => Error::Missing(format!("{operation} {object} needs CAP_NET_ADMIN")),
            // The kernel's word for a kind of link that it does not know.
            EOPNOTSUPP if operation == "add link" => {
                Error::Missing("the kernel lacks dummy links (CONFIG_DUMMY; module dummy)".into())
            }
            errno => Error::Refused {
                operation,
                object: object.into(),
                errno,
                message: failure.message,
            },
        }
    }
}

/// Appends `struct ifinfomsg`.
fn ifinfomsg(w: &mut Writer, index: u32) {
    w.raw(&[0; 4]);
    w.raw(&index.to_ne_bytes());
    w.raw(&[0; 8]);
}

/// Appends `struct ifaddrmsg`, with the scope that reaches everywhere.
fn ifaddrmsg(w: &mut Writer, family: i32, length: u8, index: u32) {
    w.raw(&[family as u8, length, 0, 0]);
    w.raw(&index.to_ne_bytes());
}

/// The body of a request that adds or deletes an address.
fn change(w: &mut Writer, index: u32, ip: IpAddr) {
    match ip {
        IpAddr::V4(ip) => {
            ifaddrmsg(w, AF_INET, 32, index);
            w.attr(IFA_LOCAL, &ip.octets());
            w.attr(IFA_ADDRESS, &ip.octets());
        }
        IpAddr::V6(ip) => {
            ifaddrmsg(w, AF_INET6, 128, index);
            w.attr(IFA_LOCAL, &ip.octets());
            w.attr(IFA_ADDRESS, &ip.octets());
            // Nobody else is asked whether he has it, and it leads nowhere but to this host. Without
            // a route of its own it is removed several times as fast.
            let flags = IFA_F_NODAD | IFA_F_NOPREFIXROUTE;
            w.attr(IFA_FLAGS, &flags.to_ne_bytes());
            // Never preferred as a source, as where packets are masqueraded; valid for ever.
            let times = [0, u32::MAX, 0, 0].map(u32::to_ne_bytes);
            w.attr(IFA_CACHEINFO, times.as_flattened());
        }
    }
}

fn link(payload: &[u8]) -> Option<Found> {
    let index = u32::from_ne_bytes(payload.get(4..8)?.try_into().ok()?);
    let attrs = Attrs::new(payload.get(IFINFOMSG..)?);
    let info = Attrs::new(attrs.get(IFLA_LINKINFO).unwrap_or_default());
    let kind = info.get(IFLA_INFO_KIND).and_then(cstr);
    Some(Found {
        index,
        kind: kind.unwrap_or_default().to_owned(),
    })
}

/// An address with the index of its link. On a point-to-point link `IFA_ADDRESS` is the other
/// end's; IPv6 often has nothing else (`linux/if_addr.h`).
fn address(payload: &[u8]) -> Option<(u32, IpAddr)> {
    let index = u32::from_ne_bytes(payload.get(4..8)?.try_into().ok()?);
    let attrs = Attrs::new(payload.get(IFADDRMSG..)?);
    let bytes = attrs.get(IFA_LOCAL).or_else(|| attrs.get(IFA_ADDRESS))?;
    let ip = match bytes.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?),
        _ => IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?),
    };
    Some((index, ip))
}

#[cfg(test)]
#[path = "link_tests.rs"]
mod tests;
