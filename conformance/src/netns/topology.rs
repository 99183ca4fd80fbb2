// SPDX-License-Identifier: Apache-2.0
//! Nodes with pods, a switch between them and a client outside, dual stack.
//!
//! Every node routes to the other nodes' pods, as a CNI plugin with static routes does, and nobody
//! masquerades, so servers see true sources. Pods hang on their node by a veth pair each (`ptp`
//! plugin), whose node end is named `pod-NAME`. Whatever no node knows goes to the switch, which
//! forwards nothing: such packets vanish, as on the internet.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context, Result, anyhow};
use ferrule::model::{IpFamily, Protocol};

use super::{Namespace, address as at};
use crate::socket;

/// What to build.
#[derive(Debug, Clone)]
pub struct Layout {
    /// Pods of each node: the first list is node 1's.
    pub pods: Vec<Vec<&'static str>>,
}

impl Default for Layout {
    /// Three nodes with two pods each: 1a and 1b, 2a and 2b, 3a and 3b.
    fn default() -> Self {
        Self {
            pods: vec![vec!["1a", "1b"], vec!["2a", "2b"], vec!["3a", "3b"]],
        }
    }
}

/// A pod: a namespace of its own.
#[derive(Debug)]
pub struct Pod {
    /// Name.
    pub name: &'static str,
    /// Number of its node, from 1.
    pub node: u16,
    /// Its place among the node's pods, from 0.
    pub index: u16,
    /// Where it runs.
    pub namespace: Namespace,
}

impl Pod {
    /// Its address.
    pub fn address(&self, family: IpFamily) -> IpAddr {
        at::pod_address(family, self.node, self.index)
    }
}

/// Where a process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    /// In a pod.
    Pod(&'static str),
    /// On a node, in its own network.
    Node(u16),
    /// On the client.
    Outside,
}

/// The running topology. Dropping it removes all of it.
#[derive(Debug)]
pub struct Topology {
    /// The switch.
    pub switch: Namespace,
    /// The nodes; number N is at N - 1.
    pub nodes: Vec<Namespace>,
    /// All pods.
    pub pods: Vec<Pod>,
    /// The client.
    pub client: Namespace,
}

impl Topology {
    /// Builds it all.
    ///
    /// # Errors
    /// Without root, or without the programs `ip`, `setpriv` and `nsenter`.
    pub fn build(layout: &Layout) -> Result<Self> {
        // Loads the module, if it is one: its parameters are set below.
        let _ = socket::open(Protocol::Sctp, Ipv4Addr::LOCALHOST.into());
        let switch = make_switch()?;
        let count = layout.pods.len() as u16;
        let nodes: Vec<_> = (1..=count)
            .map(|n| make_node(&switch, n, count))
            .collect::<Result<_>>()?;
        let mut pods = Vec::new();
        for (node, names) in nodes.iter().zip(&layout.pods) {
            let n = nodes
                .iter()
                .position(|x| x.name() == node.name())
                .unwrap_or(0) as u16
                + 1;
            for (index, name) in names.iter().enumerate() {
                pods.push(make_pod(node, n, index as u16, name)?);
            }
        }
        let client = make_client(&switch, count)?;
        Ok(Self {
            switch,
            nodes,
            pods,
            client,
        })
    }

    /// The namespace of a place.
    ///
    /// # Errors
    /// If there is no such place.
    pub fn namespace(&self, place: Place) -> Result<&Namespace> {
        Ok(match place {
            Place::Pod(name) => &self.pod(name)?.namespace,
            Place::Node(n) => {
                let index = usize::from(n).wrapping_sub(1);
                self.nodes
                    .get(index)
                    .with_context(|| format!("no node {n}"))?
            }
            Place::Outside => &self.client,
        })
    }

    /// A pod by name.
    ///
    /// # Errors
    /// If there is none.
    pub fn pod(&self, name: &str) -> Result<&Pod> {
        self.pods
            .iter()
            .find(|p| p.name == name)
            .ok_or_else(|| anyhow!("no pod {name}"))
    }

    /// Every address of a node.
    pub fn addresses_of_node(&self, family: IpFamily, n: u16) -> Vec<IpAddr> {
        vec![
            at::node_address(family, n),
            at::node_secondary(family, n),
            at::node_gateway(family, n),
        ]
    }
}

/// Sources are not judged by routes, no route is learnt by redirects, IPv6 addresses are usable at
/// once, ICMP errors come however many are asked for, and SCTP repeats itself as soon as TCP does.
const COMMON: &[(&str, &str)] = &[
    ("net/ipv4/conf/all/rp_filter", "0"),
    ("net/ipv4/conf/default/rp_filter", "0"),
    ("net/ipv4/conf/all/accept_redirects", "0"),
    ("net/ipv4/conf/default/accept_redirects", "0"),
    ("net/ipv6/conf/all/accept_redirects", "0"),
    ("net/ipv6/conf/default/accept_redirects", "0"),
    ("net/ipv4/conf/all/send_redirects", "0"),
    ("net/ipv4/conf/default/send_redirects", "0"),
    ("net/ipv6/conf/all/accept_dad", "0"),
    ("net/ipv6/conf/default/accept_dad", "0"),
    ("net/ipv6/conf/default/accept_ra", "0"),
    ("net/ipv6/conf/default/disable_ipv6", "0"),
    ("net/ipv6/conf/all/disable_ipv6", "0"),
    ("net/ipv4/icmp_ratelimit", "0"),
    ("net/ipv6/icmp/ratelimit", "0"),
    ("?net/ipv4/icmp_msgs_per_sec", "1000000"),
    ("?net/ipv4/icmp_msgs_burst", "1000000"),
    ("?net/sctp/rto_initial", "1000"),
];

fn make_namespace(name: &str) -> Result<Namespace> {
    let namespace = Namespace::new(name)?;
    namespace.sysctl(COMMON)?;
    Ok(namespace)
}

fn make_switch() -> Result<Namespace> {
    let switch = make_namespace("switch")?;
    switch.sysctl(&[
        ("net/ipv4/ip_forward", "0"),
        ("net/ipv6/conf/all/forwarding", "0"),
    ])?;
    switch.ip("link set lo up
link add br0 type bridge mcast_snooping 0
link set br0 up
addr add 172.30.0.1/16 dev br0
addr add fd00:172:30::1/48 dev br0 nodad
route add blackhole default
route add blackhole ::/0")?;
    // Otherwise nat rules of the switch's namespace would see bridged packets, if it had any.
    switch.sysctl(&[
        ("?net/bridge/bridge-nf-call-iptables", "0"),
        ("?net/bridge/bridge-nf-call-ip6tables", "0"),
    ])?;
    Ok(switch)
}

/// Gives a namespace an interface `eth0` at the switch.
fn plug(switch: &Namespace, namespace: &Namespace) -> Result<()> {
    let name = namespace.name();
    switch.ip(&format!(
        "link add {name} type veth peer name eth0 netns {}\nlink set {name} master br0 up",
        namespace.path()
    ))
}

fn make_node(switch: &Namespace, n: u16, count: u16) -> Result<Namespace> {
    let node = make_namespace(&format!("node{n}"))?;
    plug(switch, &node)?;
    node.sysctl(&[
        ("net/ipv4/ip_forward", "1"),
        ("net/ipv6/conf/all/forwarding", "1"),
    ])?;
    let mut lines = String::from("link set lo up\nlink set eth0 up\n");
    for family in IpFamily::ALL {
        let (bits, option) = if family == IpFamily::V4 {
            (16, "")
        } else {
            (48, "nodad")
        };
        let (first, second) = (at::node_address(family, n), at::node_secondary(family, n));
        // Deprecated: the kernel does not choose the second one for connections of its own.
        writeln!(lines, "addr add {first}/{bits} dev eth0 {option}")?;
        writeln!(
            lines,
            "addr add {second}/{bits} dev eth0 {option} preferred_lft 0"
        )?;
    }
    lines += "route add 192.168.30.0/24 dev eth0
route add fd00:192:30::/64 dev eth0
route add 10.99.0.0/16 via 192.168.30.100
route add fd00:10:99::/112 via fd00:192:30::100
route add default via 172.30.0.1
route add ::/0 via fd00:172:30::1\n";
    for family in IpFamily::ALL {
        for m in (1..=count).filter(|m| *m != n) {
            let (cidr, via) = (at::pod_cidr(family, m), at::node_address(family, m));
            writeln!(lines, "route add {cidr} via {via}")?;
        }
    }
    node.ip(&lines)?;
    Ok(node)
}

fn make_pod(node: &Namespace, n: u16, index: u16, name: &'static str) -> Result<Pod> {
    let namespace = make_namespace(&format!("pod-{name}"))?;
    let [four, six] = IpFamily::ALL.map(|f| at::pod_address(f, n, index));
    let [gate4, gate6] = IpFamily::ALL.map(|f| at::node_gateway(f, n));
    node.ip(&format!(
        "link add pod-{name} type veth peer name eth0 netns {}
link set pod-{name} up
addr add {gate4}/32 dev pod-{name}
addr add {gate6}/128 dev pod-{name} nodad
route add {four} dev pod-{name} src {gate4}
route add {six} dev pod-{name}",
        namespace.path()
    ))?;
    namespace.ip(&format!(
        "link set lo up
link set eth0 up
addr add {four}/32 dev eth0
addr add {six}/128 dev eth0 nodad
route add {gate4} dev eth0
route add {gate6} dev eth0
route add default via {gate4}
route add ::/0 via {gate6}"
    ))?;
    Ok(Pod {
        name,
        node: n,
        index,
        namespace,
    })
}

/// The client has a whole network of addresses, and sends what is marked N to node N: so every
/// connection chooses the node that its VIP is routed to, and none waits for another.
fn make_client(switch: &Namespace, count: u16) -> Result<Namespace> {
    let client = make_namespace("client")?;
    plug(switch, &client)?;
    client.ip("link set lo up
link set eth0 up
addr add 192.168.30.100/24 dev eth0
addr add fd00:192:30::100/64 dev eth0 nodad
route add 172.30.0.0/16 dev eth0
route add fd00:172:30::/48 dev eth0
route add local 10.99.0.0/16 dev lo
route add local fd00:10:99::/112 dev lo")?;
    client.sysctl(&[
        ("net/ipv4/ip_nonlocal_bind", "1"),
        ("net/ipv6/ip_nonlocal_bind", "1"),
        ("net/ipv4/ip_local_port_range", "1024 65535"),
    ])?;
    for family in IpFamily::ALL {
        let mut lines = String::new();
        for n in 1..=count {
            let via = at::node_address(family, n);
            writeln!(lines, "rule add fwmark {n} lookup {}", 100 + n)?;
            writeln!(
                lines,
                "route add default via {via} dev eth0 table {}",
                100 + n
            )?;
        }
        match family {
            IpFamily::V4 => client.ip(&lines)?,
            IpFamily::V6 => client.ip6(&lines)?,
        }
    }
    if !socket::is_raw(Protocol::Sctp) {
        route_sctp(&client, count)?;
    }
    Ok(client)
}

/// The kernel's own SCTP looks its route up without the mark, and its packets carry it: so they
/// are routed once more, by another mark, as only a change makes the kernel do so.
fn route_sctp(client: &Namespace, count: u16) -> Result<()> {
    let mut rules = String::from(
        "table inet sctp_again { chain out { type route hook output priority mangle; policy accept;\n",
    );
    for family in IpFamily::ALL {
        let mut lines = format!("route add default via {}\n", at::node_address(family, 1));
        for n in 1..=count {
            writeln!(lines, "rule add fwmark {} lookup {}", 0x100 + n, 100 + n)?;
        }
        match family {
            IpFamily::V4 => client.ip(&lines)?,
            IpFamily::V6 => client.ip6(&lines)?,
        }
    }
    for n in 1..=count {
        writeln!(
            rules,
            "meta l4proto sctp meta mark {n} meta mark set {}",
            0x100 + n
        )?;
    }
    client.nft(&(rules + "}\n}\n"))
}
