// SPDX-License-Identifier: Apache-2.0
//! Links, addresses and routes of the network namespace, read over rtnetlink. Changes nothing.

use std::net::IpAddr;

use ipnet::IpNet;
use nix::libc;

use super::Error;
use super::netlink::{Attrs, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, Socket, Writer, cstr};
use crate::model::IpFamily;
use crate::plan::nft::element::address_from;

// linux/rtnetlink.h
const RTM_GETLINK: u16 = 18;
const RTM_GETADDR: u16 = 22;
const RTM_GETROUTE: u16 = 26;
/// Flag of a route that the kernel made for one destination (`RTM_F_CLONED`).
const CLONED: u32 = 0x200;
/// The table `local`, of the host's own addresses.
const LOCAL_TABLE: u32 = 255;
/// Bytes before the attributes of a link, an address and a route.
const IFINFOMSG: usize = 16;
const IFADDRMSG: usize = 8;
const RTMSG: usize = 12;

/// An interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The kernel's number for it.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// `vxlan`, `bridge` and the like; empty for hardware.
    pub kind: String,
    /// The largest packet, bytes.
    pub mtu: u32,
    /// Whether it is up.
    pub up: bool,
    /// The bridge or bond that it is part of.
    pub master: Option<u32>,
    /// The link below it.
    pub below: Option<u32>,
    /// Its addresses with their prefixes.
    pub addresses: Vec<IpNet>,
}

/// A route, of any table but `local`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Where to.
    pub destination: IpNet,
    /// Through which interface; none for several, and for those that lead nowhere.
    pub link: Option<u32>,
    /// Whether packets go anywhere (`unicast`); else they are refused or dropped.
    pub leads: bool,
    /// Number of the routing table; 254 is `main`.
    pub table: u32,
}

/// Reads from the network namespace that it was opened in.
#[derive(Debug)]
pub struct Routes {
    socket: Socket,
}

impl Routes {
    /// Opens the socket; takes no rights.
    ///
    /// # Errors
    /// The kernel's.
    pub fn open() -> Result<Self, Error> {
        Ok(Self {
            socket: Socket::route()?,
        })
    }

    /// All interfaces with their addresses, by number.
    ///
    /// # Errors
    /// The kernel's.
    pub fn links(&mut self) -> Result<Vec<Link>, Error> {
        let mut links = Vec::new();
        self.dump(RTM_GETLINK, &[0; IFINFOMSG], "links", |payload| {
            links.extend(link(payload));
        })?;
        self.dump(RTM_GETADDR, &[0; IFADDRMSG], "addresses", |payload| {
            let Some((index, address)) = address(payload) else {
                return;
            };
            if let Some(link) = links.iter_mut().find(|l: &&mut Link| l.index == index) {
                link.addresses.push(address);
            }
        })?;
        links.sort_unstable_by_key(|link| link.index);
        Ok(links)
    }

    /// The routes of a family.
    ///
    /// # Errors
    /// The kernel's.
    pub fn routes(&mut self, family: IpFamily) -> Result<Vec<Route>, Error> {
        let mut header = [0; RTMSG];
        header[0] = number(family);
        let mut routes = Vec::new();
        self.dump(RTM_GETROUTE, &header, "routes", |payload| {
            routes.extend(route(payload));
        })?;
        Ok(routes)
    }

    /// The interface by which this host sends to an address.
    ///
    /// # Errors
    /// The kernel's: `ENETUNREACH` without a route, `EHOSTUNREACH`, `EACCES` and `EINVAL` for one
    /// that refuses (`unreachable`, `prohibit`, `blackhole`).
    pub fn way_to(&mut self, to: IpAddr) -> Result<Option<u32>, Error> {
        let mut header = [0; RTMSG];
        (header[0], header[1]) = match to {
            IpAddr::V4(_) => (number(IpFamily::V4), 32),
            IpAddr::V6(_) => (number(IpFamily::V6), 128),
        };
        let mut request = Writer::new();
        request.message(RTM_GETROUTE, NLM_F_REQUEST | NLM_F_ACK, 1, |w| {
            w.raw(&header);
            match to {
                IpAddr::V4(a) => w.attr(libc::RTA_DST, &a.octets()),
                IpAddr::V6(a) => w.attr(libc::RTA_DST, &a.octets()),
            }
        });
        let mut found = None;
        let asked = self.socket.dump(request.as_bytes(), |_, payload| {
            let attrs = Attrs::new(payload.get(RTMSG..).unwrap_or_default());
            found = attrs.get(libc::RTA_OIF).and_then(ne32);
        });
        asked.map_err(|e| e.about("look up the route to", to.to_string()))?;
        Ok(found)
    }

    fn dump(
        &mut self,
        kind: u16,
        header: &[u8],
        what: &'static str,
        mut each: impl FnMut(&[u8]),
    ) -> Result<(), Error> {
        let mut request = Writer::new();
        request.message(kind, NLM_F_REQUEST | NLM_F_DUMP, 1, |w| w.raw(header));
        let read = self
            .socket
            .dump(request.as_bytes(), |_, payload| each(payload));
        read.map_err(|e| e.about("list", what))
    }
}

fn link(payload: &[u8]) -> Option<Link> {
    let attrs = Attrs::new(payload.get(IFINFOMSG..)?);
    let kind = attrs.get(libc::IFLA_LINKINFO).map(Attrs::new);
    let kind = kind.and_then(|info| info.get(libc::IFLA_INFO_KIND));
    Some(Link {
        index: payload.get(4..8).and_then(ne32)?,
        name: attrs.get(libc::IFLA_IFNAME).and_then(cstr)?.to_owned(),
        kind: kind.and_then(cstr).unwrap_or_default().to_owned(),
        mtu: attrs.get(libc::IFLA_MTU).and_then(ne32)?,
        up: payload.get(8..12).and_then(ne32)? & libc::IFF_UP as u32 != 0,
        master: attrs.get(libc::IFLA_MASTER).and_then(ne32),
        below: attrs.get(libc::IFLA_LINK).and_then(ne32),
        addresses: Vec::new(),
    })
}

fn address(payload: &[u8]) -> Option<(u32, IpNet)> {
    let attrs = Attrs::new(payload.get(IFADDRMSG..)?);
    // The own end of a link from point to point is the local one; IPv6 has it only there, too.
    let own = attrs
        .get(libc::IFA_LOCAL)
        .or_else(|| attrs.get(libc::IFA_ADDRESS));
    let net = IpNet::new(own.and_then(address_from)?, *payload.get(1)?).ok()?;
    Some((payload.get(4..8).and_then(ne32)?, net))
}

/// None for what is of the table `local`, or was made for one destination.
fn route(payload: &[u8]) -> Option<Route> {
    let attrs = Attrs::new(payload.get(RTMSG..)?);
    let flags = payload.get(8..12).and_then(ne32)?;
    let table = attrs.get(libc::RTA_TABLE).and_then(ne32);
    let table = table.unwrap_or(u32::from(*payload.get(4)?));
    if table == LOCAL_TABLE || flags & CLONED != 0 {
        return None;
    }
    let any = match i32::from(*payload.first()?) {
        libc::AF_INET => IpAddr::from([0; 4]),
        libc::AF_INET6 => IpAddr::from([0; 16]),
        _ => return None,
    };
    let destination = attrs.get(libc::RTA_DST).and_then(address_from);
    Some(Route {
        destination: IpNet::new(destination.unwrap_or(any), *payload.get(1)?).ok()?,
        link: attrs.get(libc::RTA_OIF).and_then(ne32),
        leads: *payload.get(7)? == libc::RTN_UNICAST,
        table,
    })
}

/// Unlike almost everything else that is read here, rtnetlink's numbers are in host order.
fn ne32(payload: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(payload.get(..4)?.try_into().ok()?))
}

fn number(family: IpFamily) -> u8 {
    match family {
        IpFamily::V4 => libc::AF_INET as u8,
        IpFamily::V6 => libc::AF_INET6 as u8,
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::backend::testing::in_namespace;

    fn ip(arguments: &str) {
        let done = Command::new("ip").args(arguments.split(' ')).status();
        assert!(done.expect("ip").success(), "ip {arguments}");
    }

    #[test]
    fn links_addresses_and_routes_are_read() {
        in_namespace(|| {
            ip("link add a0 mtu 1400 type veth peer name a1");
            ip("address add 192.0.2.1/24 dev a0");
            ip("address add 2001:db8::1/64 dev a0 nodad");
            ip("link set a0 up");
            ip("link set a1 up");
            ip("route add default via 192.0.2.254");
            ip("route add unreachable 198.51.100.0/24");
            let mut routes = Routes::open().unwrap();
            let links = routes.links().unwrap();
            let a0 = links.iter().find(|l| l.name == "a0").unwrap();
            assert_eq!((a0.mtu, a0.up, &*a0.kind), (1400, true, "veth"));
            assert!(a0.addresses.contains(&"192.0.2.1/24".parse().unwrap()));
            assert!(a0.addresses.contains(&"2001:db8::1/64".parse().unwrap()));
            let all = routes.routes(IpFamily::V4).unwrap();
            let seen = |to: &str| all.iter().find(|r| r.destination == to.parse().unwrap());
            assert_eq!(seen("0.0.0.0/0").unwrap().link, Some(a0.index));
            assert!(!seen("198.51.100.0/24").unwrap().leads);
            assert_eq!(
                routes.way_to("203.0.113.1".parse().unwrap()).unwrap(),
                Some(a0.index)
            );
            let refused = routes.way_to("198.51.100.1".parse().unwrap()).unwrap_err();
            assert_eq!(refused.errno(), Some(libc::EHOSTUNREACH));
            let none = routes.way_to("2001:db8:1::1".parse().unwrap()).unwrap_err();
            assert_eq!(none.errno(), Some(libc::ENETUNREACH));
        });
    }
}
