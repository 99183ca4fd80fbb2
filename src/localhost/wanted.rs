// SPDX-License-Identifier: Apache-2.0
//! Which loopback ports are wanted, and where each leads. PURE.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::model::claims::Claim;
use crate::model::{Changes, IpFamily, Protocol, Service, ServiceName, State};

/// All loopback ports.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Wanted {
    ports: BTreeMap<SocketAddr, Port>,
    /// An address of the node that serves NodePorts.
    node: BTreeMap<IpFamily, IpAddr>,
}

/// What a loopback port stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Port {
    service: ServiceName,
    /// The service port's ClusterIP.
    cluster: SocketAddr,
}

impl Wanted {
    /// Where to listen.
    pub(super) fn listeners(&self) -> BTreeMap<SocketAddr, ()> {
        self.ports.keys().map(|address| (*address, ())).collect()
    }

    /// The Service of a port, or nothing.
    pub(super) fn name(&self, address: SocketAddr) -> String {
        let port = self.ports.get(&address);
        port.map_or(String::new(), |port| port.service.to_string())
    }

    /// Where connections go: to the NodePort on an address of the node, so that the rules treat
    /// them as they treat this host's own (external policy, affinity, masquerading). Where no
    /// address serves NodePorts, to the ClusterIP, with the internal policy.
    pub(super) fn target(&self, address: SocketAddr) -> Option<SocketAddr> {
        let port = self.ports.get(&address)?;
        let node = self.node.get(&IpFamily::of(address.ip()));
        Some(node.map_or(port.cluster, |node| SocketAddr::new(*node, address.port())))
    }
}

/// What each Service has, so that a change costs no more than the Services that it concerns.
#[derive(Debug, Default)]
pub(super) struct Ports(HashMap<ServiceName, Vec<(SocketAddr, SocketAddr)>>);

impl Ports {
    /// Whether anything is different now.
    pub(super) fn update(
        &mut self,
        wanted: &mut Wanted,
        state: &State,
        changes: &Changes,
        families: &[IpFamily],
        node: impl Fn(IpFamily) -> Option<IpAddr>,
    ) -> bool {
        let mut changed = false;
        if changes.everything || changes.node {
            let node = families.iter().filter_map(|f| Some((*f, node(*f)?)));
            let node: BTreeMap<_, _> = node.collect();
            changed = node != wanted.node;
            wanted.node = node;
        }
        let all: Vec<ServiceName> = match changes.everything {
            true => self
                .0
                .keys()
                .chain(state.service_names())
                .cloned()
                .collect(),
            false => changes.services.iter().cloned().collect(),
        };
        for name in all {
            let ports = state
                .service(&name)
                .map(|service| ports(state, service, families))
                .unwrap_or_default();
            changed |= self.replace(wanted, name, ports);
        }
        changed
    }

    fn replace(
        &mut self,
        wanted: &mut Wanted,
        service: ServiceName,
        ports: Vec<(SocketAddr, SocketAddr)>,
    ) -> bool {
        let old = self.0.get(&service).map_or(&[][..], Vec::as_slice);
        if *old == ports {
            return false;
        }
        for (address, _) in old {
            // Another Service may have taken it in the same change.
            if wanted
                .ports
                .get(address)
                .is_some_and(|p| p.service == service)
            {
                wanted.ports.remove(address);
            }
        }
        for (address, cluster) in &ports {
            let port = Port {
                service: service.clone(),
                cluster: *cluster,
            };
            wanted.ports.insert(*address, port);
        }
        match ports.is_empty() {
            true => self.0.remove(&service),
            false => self.0.insert(service, ports),
        };
        true
    }
}

/// The loopback ports of a Service with its ClusterIPs: those of TCP NodePorts that no older
/// Service has, in the families that it has a ClusterIP of.
fn ports(state: &State, service: &Service, families: &[IpFamily]) -> Vec<(SocketAddr, SocketAddr)> {
    let mut found = Vec::new();
    for port in service.ports.iter().filter(|p| p.protocol == Protocol::Tcp) {
        let Some(number) = port.node_port else {
            continue;
        };
        if !state.owns(&service.name, &Claim::NodePort(port.protocol, number)) {
            continue;
        }
        for ip in &service.cluster_ips {
            let family = IpFamily::of(*ip);
            if families.contains(&family) {
                let address = SocketAddr::new(loopback(family), number);
                found.push((address, SocketAddr::new(*ip, port.port)));
            }
        }
    }
    found
}

fn loopback(family: IpFamily) -> IpAddr {
    match family {
        IpFamily::V4 => Ipv4Addr::LOCALHOST.into(),
        IpFamily::V6 => Ipv6Addr::LOCALHOST.into(),
    }
}
