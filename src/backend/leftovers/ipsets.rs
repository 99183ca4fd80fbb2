// SPDX-License-Identifier: Apache-2.0
//! The IP sets of kube-proxy's ipvs mode (`linux/netfilter/ipset/ip_set.h`). Its rules use them, so
//! they go last; until then they tell which NodePorts it served.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use nix::libc::{EINVAL, ENOENT, EOPNOTSUPP};

use super::ipvs::NodePort;
use crate::backend::Error;
use crate::backend::netlink::{
    Attrs, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, Socket, Writer, be16, cstr,
};
use crate::model::IpFamily;

/// `NFNL_SUBSYS_IPSET`, in the upper half of a message's type.
const SUBSYSTEM: u16 = 6 << 8;
const CMD_DESTROY: u16 = SUBSYSTEM | 3;
const CMD_LIST: u16 = SUBSYSTEM | 7;
/// The oldest version of the protocol that kernels still speak (`IPSET_PROTOCOL_MIN`).
const PROTOCOL: u8 = 6;
/// `IPSET_FLAG_LIST_SETNAME`: names only.
const NAMES_ONLY: u32 = 1 << 1;
/// `IPSET_ERR_BUSY`: a rule refers to the set.
const BUSY: i32 = 4100;
/// The module, whether it is built in or not; asking without it would load it.
const MODULE: &str = "/sys/module/ip_set";
/// `struct nfgenmsg`, bytes.
const NFGENMSG: usize = 4;

/// Attributes of a message.
mod attr {
    pub(super) const PROTOCOL: u16 = 1;
    pub(super) const SETNAME: u16 = 2;
    pub(super) const FLAGS: u16 = 6;
    /// One element.
    pub(super) const DATA: u16 = 7;
    /// Several of them.
    pub(super) const ADT: u16 = 8;
}
/// `IPSET_ATTR_PORT` of an element.
const PORT: u16 = 4;

/// The sets of NodePorts, and their protocols (`IPPROTO_*`). Those of policy Local are in them too.
const NODE_PORTS: [(&str, u16); 3] = [
    ("NODE-PORT-TCP", 6),
    ("NODE-PORT-UDP", 17),
    ("NODE-PORT-SCTP-HASH", 132),
];
/// The others (kube-proxy v1.36: `pkg/proxy/ipvs/ipset.go`).
const OTHERS: [&str; 14] = [
    "LOOP-BACK",
    "CLUSTER-IP",
    "EXTERNAL-IP",
    "EXTERNAL-IP-LOCAL",
    "LOAD-BALANCER",
    "LOAD-BALANCER-LOCAL",
    "LOAD-BALANCER-FW",
    "LOAD-BALANCER-SOURCE-IP",
    "LOAD-BALANCER-SOURCE-CIDR",
    "NODE-PORT-LOCAL-TCP",
    "NODE-PORT-LOCAL-UDP",
    "NODE-PORT-LOCAL-SCTP-HASH",
    "HEALTH-CHECK-NODE-PORT",
    "IPVS-IPS",
];
/// How often, and after which time, a set is tried again that a rule refers to: rules that are
/// deleted let go of their sets a little later.
const TRIES: usize = 20;
const PAUSE: Duration = Duration::from_millis(100);

/// A set's name in full.
fn name(family: IpFamily, short: &str) -> String {
    match family {
        IpFamily::V4 => format!("KUBE-{short}"),
        IpFamily::V6 => format!("KUBE-6-{short}"),
    }
}

/// Whether a set is kube-proxy's, by its name.
fn is_kube_proxys(set: &str) -> bool {
    let short = set
        .strip_prefix("KUBE-6-")
        .or_else(|| set.strip_prefix("KUBE-"));
    short.is_some_and(|short| {
        OTHERS.contains(&short) || NODE_PORTS.iter().any(|(name, _)| *name == short)
    })
}

/// What came of the removal of the sets.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Destroyed {
    /// How many are gone.
    pub(super) sets: usize,
    /// Those that somebody's rules refer to.
    pub(super) in_use: Vec<String>,
}

/// The sets in the network namespace that this was opened in.
#[derive(Debug)]
pub(super) struct IpSets {
    socket: Socket,
}

impl IpSets {
    /// None if the kernel has no IP sets; it is not made to load them.
    ///
    /// # Errors
    /// The socket's.
    pub(super) fn open() -> Result<Option<Self>, Error> {
        if !Path::new(MODULE).exists() {
            return Ok(None);
        }
        Ok(Some(Self {
            socket: Socket::netfilter()?,
        }))
    }

    /// The names of kube-proxy's sets that are there.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn names(&mut self) -> Result<Vec<String>, Error> {
        let mut names = Vec::new();
        self.list(
            |w| w.attr_be32(attr::FLAGS, NAMES_ONLY),
            |attrs| names.extend(attrs.get(attr::SETNAME).and_then(cstr).map(str::to_owned)),
        )?;
        names.retain(|name| is_kube_proxys(name));
        Ok(names)
    }

    /// The NodePorts that kube-proxy served.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn node_ports(&mut self) -> Result<HashSet<NodePort>, Error> {
        let there = self.names()?;
        let mut ports = HashSet::new();
        for family in IpFamily::ALL {
            for (short, protocol) in NODE_PORTS {
                let set = name(family, short);
                if there.contains(&set) {
                    let found = self.ports(&set)?;
                    ports.extend(found.into_iter().map(|port| (family, protocol, port)));
                }
            }
        }
        Ok(ports)
    }

    /// The ports in a set; none if it is gone.
    fn ports(&mut self, set: &str) -> Result<Vec<u16>, Error> {
        let mut ports = Vec::new();
        self.list(
            |w| w.attr_str(attr::SETNAME, set),
            |attrs| ports.extend(ports_in(&attrs)),
        )?;
        Ok(ports)
    }

    fn list(
        &mut self,
        question: impl FnOnce(&mut Writer),
        mut each: impl FnMut(Attrs<'_>),
    ) -> Result<(), Error> {
        let mut w = Writer::new();
        w.message(CMD_LIST, NLM_F_REQUEST | NLM_F_DUMP, 1, |w| {
            head(w);
            question(w);
        });
        let asked = self.socket.dump(w.as_bytes(), |kind, payload| {
            if let (CMD_LIST, Some(payload)) = (kind, payload.get(NFGENMSG..)) {
                each(Attrs::new(payload));
            }
        });
        match asked.as_ref().map_err(Error::errno) {
            // No such set, or nothing behind the subsystem's number.
            Err(Some(ENOENT | EINVAL | EOPNOTSUPP)) => Ok(()),
            _ => asked.map_err(|e| e.about("list", "IP sets")),
        }
    }

    /// Destroys kube-proxy's sets. Waits a little for those that rules refer to.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn destroy(&mut self) -> Result<Destroyed, Error> {
        let mut done = Destroyed::default();
        for attempt in 1..=TRIES {
            done.in_use.clear();
            for set in self.names()? {
                match self.destroy_one(&set) {
                    Ok(()) => done.sets += 1,
                    Err(e) if e.errno() == Some(ENOENT) => {}
                    Err(e) if e.errno() == Some(BUSY) => done.in_use.push(set),
                    Err(e) => return Err(e),
                }
            }
            if done.in_use.is_empty() || attempt == TRIES {
                break;
            }
            std::thread::sleep(PAUSE);
        }
        Ok(done)
    }

    fn destroy_one(&mut self, set: &str) -> Result<(), Error> {
        let mut w = Writer::new();
        w.message(CMD_DESTROY, NLM_F_REQUEST | NLM_F_ACK, 1, |w| {
            head(w);
            w.attr_str(attr::SETNAME, set);
        });
        match self.socket.acknowledged(w.as_bytes())?.pop() {
            None => Ok(()),
            Some(failure) => Err(Error::Refused {
                operation: "destroy IP set",
                object: set.to_owned(),
                errno: failure.errno,
                message: failure.message,
            }),
        }
    }
}

/// The ports in one message of a listing.
pub(super) fn ports_in(attrs: &Attrs<'_>) -> impl Iterator<Item = u16> {
    let elements = Attrs::new(attrs.get(attr::ADT).unwrap_or_default());
    let elements = elements.filter(|(kind, _)| *kind == attr::DATA);
    elements.filter_map(|(_, e)| be16(Attrs::new(e).get(PORT)?))
}

/// What every message begins with. The family counts only where a set is made.
fn head(w: &mut Writer) {
    w.nfgenmsg(0, 0);
    w.attr_u8(attr::PROTOCOL, PROTOCOL);
}
