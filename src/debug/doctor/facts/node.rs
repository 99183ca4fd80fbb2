// SPDX-License-Identifier: Apache-2.0
//! What the kernel and the host say.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use super::{Fact, Unread};
use crate::backend::Error;
use crate::backend::netlink::Socket;
use crate::backend::nft::{Kernel, forward, probe::probe};
use crate::backend::route::{Link, Route, Routes};
use crate::debug::rules::{Other, others};
use crate::model::IpFamily;
use crate::observe::view::{FrontendKind, Protocol, ServiceView};

/// How many ways are looked up, at most.
const LOOKUPS: usize = 2_000;
/// Where settings are. They are those of this thread's network namespace.
const SETTINGS: &str = "/proc/sys";
/// Where Cilium pins what it has in the kernel.
const CILIUM: &str = "/sys/fs/bpf/cilium";
/// Pinned by Cilium while it answers `connect` to Services at the socket.
const CILIUM_SOCKETS: &str = "/sys/fs/bpf/cilium/socketlb/links/cgroup";

/// What the kernel and the host say.
#[derive(Debug, Clone)]
pub struct NodeFacts {
    /// What the kernel lacks; none if it lacks nothing.
    pub missing: Fact<Option<String>>,
    /// Whether this process has CAP_NET_ADMIN.
    pub net_admin: Fact<bool>,
    /// Settings by their path below `/proc/sys`.
    pub settings: Settings,
    /// Interfaces with their addresses.
    pub links: Fact<Vec<Link>>,
    /// Routes of both families.
    pub routes: Fact<Vec<Route>>,
    /// The link on the way to an address, or the kernel's error number.
    pub ways: BTreeMap<IpAddr, Result<Option<u32>, i32>>,
    /// Tables of nftables; without rules where they are ours or kube-proxy's.
    pub tables: Fact<Vec<Table>>,
    /// Families in which the old iptables has a filter table.
    pub legacy_filter: Vec<IpFamily>,
    /// What listens on the host.
    pub listening: Fact<Vec<Listening>>,
    /// Whether Cilium answers for Services at the sockets; none: it is not there, or keeps it from us.
    pub cilium_sockets: Fact<bool>,
}

/// A table of nftables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// `ip`, `ip6`, `inet` and so on.
    pub family: String,
    /// Its name.
    pub name: String,
    /// Whether it has too many rules to read them.
    pub unread: bool,
    /// Chains with their rules.
    pub chains: Vec<crate::debug::rules::Chain>,
    /// Named sets with the first of their elements.
    pub sets: Vec<crate::debug::rules::Set>,
}

/// A socket that waits for others to connect or send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listening {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Where.
    pub address: IpAddr,
    /// Port.
    pub port: u16,
    /// Program and process id, as `nginx (812)`; none if it is hidden from us.
    pub program: Option<String>,
}

/// Settings by their path below `/proc/sys`. What is not there is absent.
#[derive(Debug, Clone, Default)]
pub struct Settings(pub BTreeMap<String, Fact<String>>);

impl Settings {
    /// A setting's value; none if the kernel has no such setting.
    pub fn get(&self, path: &str) -> Option<Fact<&str>> {
        let value = self.0.get(path)?;
        Some(value.as_deref().map_err(Clone::clone))
    }

    /// A number, where it can be read.
    pub fn number(&self, path: &str) -> Option<u64> {
        self.get(path)?
            .ok()?
            .split_whitespace()
            .next()?
            .parse()
            .ok()
    }

    fn read(&mut self, path: String) {
        match fs::read_to_string(Path::new(SETTINGS).join(&path)) {
            Ok(text) => drop(self.0.insert(path, Ok(text.trim().to_owned()))),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => drop(self.0.insert(path, Err(e.into()))),
        }
    }
}

impl NodeFacts {
    pub(super) fn gather(services: &[ServiceView]) -> Self {
        let links = Routes::open().and_then(|mut routes| routes.links());
        let links = links.map_err(Unread::from);
        let mut routes = Vec::new();
        let read = Routes::open().and_then(|mut socket| {
            for family in IpFamily::ALL {
                routes.extend(socket.routes(family)?);
            }
            Ok(())
        });
        Self {
            missing: missing(),
            net_admin: net_admin(),
            settings: settings(links.as_deref().unwrap_or_default()),
            links,
            routes: read.map(|()| routes).map_err(Unread::from),
            ways: ways(services).unwrap_or_default(),
            tables: tables(),
            legacy_filter: legacy(),
            listening: listening(),
            cilium_sockets: cilium(),
        }
    }

    /// A link by its number.
    pub fn link(&self, index: u32) -> Option<&Link> {
        let links = self.links.as_deref().unwrap_or_default();
        links.iter().find(|link| link.index == index)
    }

    /// A link by its name.
    pub fn link_named(&self, name: &str) -> Option<&Link> {
        let links = self.links.as_deref().unwrap_or_default();
        links.iter().find(|link| link.name == name)
    }
}

fn missing() -> Fact<Option<String>> {
    let mut kernel = Kernel::open()?;
    match probe(&mut kernel, &[IpFamily::V4]) {
        Ok(()) => Ok(None),
        Err(Error::Missing(what)) if !what.contains("CAP_NET_ADMIN") => Ok(Some(what)),
        Err(error) => Err(error.into()),
    }
}

/// Effective capabilities of this process; `kubectl exec` gives it those of the agent's container.
fn net_admin() -> Fact<bool> {
    const CAP_NET_ADMIN: u64 = 12;
    let status = fs::read_to_string("/proc/thread-self/status")?;
    let line = status.lines().find_map(|l| l.strip_prefix("CapEff:"));
    let set = line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    let unknown = || Unread::Unavailable("no CapEff in /proc/thread-self/status".into());
    Ok(set.ok_or_else(unknown)? >> CAP_NET_ADMIN & 1 == 1)
}

fn settings(links: &[Link]) -> Settings {
    let mut settings = Settings::default();
    let fixed = [
        "net/ipv4/ip_forward",
        "net/ipv6/conf/all/forwarding",
        "net/ipv4/conf/all/rp_filter",
        "net/ipv4/conf/all/arp_ignore",
        "net/ipv4/ip_local_port_range",
        "net/ipv4/ip_local_reserved_ports",
        "net/bridge/bridge-nf-call-iptables",
        "net/bridge/bridge-nf-call-ip6tables",
        "net/netfilter/nf_conntrack_count",
        "net/netfilter/nf_conntrack_max",
    ];
    fixed.iter().for_each(|path| settings.read((*path).into()));
    for link in links {
        // A dot in a name would be a slash in `sysctl`, and is itself as a path.
        for name in ["rp_filter", "forwarding", "arp_ignore"] {
            settings.read(format!("net/ipv4/conf/{}/{name}", link.name));
        }
    }
    settings
}

/// Looks up the ways to one address of each Service, to all endpoints in use, and outside.
fn ways(services: &[ServiceView]) -> Result<BTreeMap<IpAddr, Result<Option<u32>, i32>>, Error> {
    let mut wanted = BTreeSet::new();
    for frontend in services.iter().flat_map(|s| &s.frontends) {
        if frontend.kind == FrontendKind::ClusterIP {
            wanted.extend(frontend.address);
        }
        let used = frontend.endpoints.iter().filter(|e| e.used.is_some());
        wanted.extend(used.map(|e| e.address));
    }
    let mut routes = Routes::open()?;
    let look = |address| {
        let way = routes.way_to(address);
        let way = way.map_err(|e| e.errno().unwrap_or_default());
        (address, way)
    };
    let outside = [outside(IpFamily::V4), outside(IpFamily::V6)];
    let all = outside.into_iter().chain(wanted).take(LOOKUPS);
    Ok(all.map(look).collect())
}

/// An address that stands for all clients outside of the cluster (documentation's, RFC 5737 and
/// 3849, so that no network of the node's is likely to hold it).
pub fn outside(family: IpFamily) -> IpAddr {
    match family {
        IpFamily::V4 => Ipv4Addr::new(203, 0, 113, 199).into(),
        IpFamily::V6 => Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 1).into(),
    }
}

fn tables() -> Fact<Vec<Table>> {
    let mut socket = Socket::netfilter()?;
    let wanted = |_: &str, name: &str| !["ferrule", "kube-proxy"].contains(&name);
    let found = others(&mut socket, wanted)?;
    let table = |other: Other| Table {
        family: other.table.family,
        name: other.table.name,
        unread: other.unread,
        chains: other.table.chains,
        sets: other.table.sets,
    };
    Ok(found.into_iter().map(table).collect())
}

fn legacy() -> Vec<IpFamily> {
    let mut families = IpFamily::ALL.to_vec();
    families.retain(|family| forward::has_legacy_filter(*family).unwrap_or(false));
    families
}

fn cilium() -> Fact<bool> {
    if !Path::new(CILIUM).exists() {
        return Err(Unread::Unavailable(format!(
            "{CILIUM} is not to be seen here"
        )));
    }
    match fs::read_dir(CILIUM_SOCKETS) {
        Ok(mut entries) => Ok(entries.next().is_some()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// What listens in this thread's network namespace.
fn listening() -> Fact<Vec<Listening>> {
    let mut found = Vec::new();
    for (file, protocol, state) in [
        ("tcp", Protocol::Tcp, "0A"),
        ("tcp6", Protocol::Tcp, "0A"),
        ("udp", Protocol::Udp, "07"),
        ("udp6", Protocol::Udp, "07"),
    ] {
        let text = match fs::read_to_string(format!("/proc/thread-self/net/{file}")) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            text => text?,
        };
        found.extend(
            text.lines()
                .skip(1)
                .filter_map(|l| socket(l, protocol, state)),
        );
    }
    name(&mut found);
    Ok(found.into_iter().map(|(listening, _)| listening).collect())
}

/// A line of `/proc/net/tcp` and its like: the socket and its inode.
fn socket(line: &str, protocol: Protocol, state: &str) -> Option<(Listening, u64)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (address, port) = fields.get(1)?.split_once(':')?;
    if *fields.get(3)? != state {
        return None;
    }
    let listening = Listening {
        protocol,
        address: hex_address(address)?,
        port: u16::from_str_radix(port, 16).ok()?,
        program: None,
    };
    Some((listening, fields.get(9)?.parse().ok()?))
}

/// Words of 32 bits in the host's order.
fn hex_address(text: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        let word = u32::from_str_radix(text.get(at * 8..at * 8 + 8)?, 16).ok()?;
        Some(word.to_ne_bytes())
    };
    match text.len() {
        8 => Some(IpAddr::from(word(0)?)),
        32 => {
            let mut bytes = [0; 16];
            for at in 0..4 {
                bytes[at * 4..at * 4 + 4].copy_from_slice(&word(at)?);
            }
            Some(IpAddr::from(bytes))
        }
        _ => None,
    }
}

/// Finds the programs by their open files, as far as other processes can be seen.
fn name(sockets: &mut [(Listening, u64)]) {
    let Ok(processes) = fs::read_dir("/proc") else {
        return;
    };
    for process in processes.flatten() {
        let number = process.file_name().to_string_lossy().into_owned();
        if !number.bytes().all(|b| b.is_ascii_digit()) {
            continue;
        }
        let Ok(files) = fs::read_dir(process.path().join("fd")) else {
            continue;
        };
        for target in files.flatten().filter_map(|f| fs::read_link(f.path()).ok()) {
            let target = target.to_string_lossy().into_owned();
            let inode = target
                .strip_prefix("socket:[")
                .and_then(|t| t.strip_suffix(']'));
            let Some(inode) = inode.and_then(|i| i.parse::<u64>().ok()) else {
                continue;
            };
            if let Some((socket, _)) = sockets.iter_mut().find(|(_, i)| *i == inode) {
                let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
                socket.program = Some(format!("{} ({number})", name.trim()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_read() {
        let line = "   0: 0100007F:0277 00000000:0000 0A 00000000:00000000 00:00000000 00000000     \
                    0        0 12345 1 0000000000000000 100 0 0 10 0";
        let (found, inode) = socket(line, Protocol::Tcp, "0A").expect("a socket");
        let expected = if cfg!(target_endian = "little") {
            "127.0.0.1"
        } else {
            "1.0.0.127"
        };
        assert_eq!(
            (found.address, found.port),
            (expected.parse().unwrap(), 631)
        );
        assert_eq!(inode, 12345);
        assert!(socket(line, Protocol::Tcp, "07").is_none());
        let six = "00000000000000000000000000000000";
        assert_eq!(hex_address(six), Some("::".parse().unwrap()));
        assert_eq!(hex_address("zz"), None);
    }
}
