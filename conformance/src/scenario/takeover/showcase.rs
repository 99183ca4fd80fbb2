// SPDX-License-Identifier: Apache-2.0
//! One Service of each kind that leaves rules of its own kind. kube-proxy's rules for just these
//! are recorded in `conformance/testdata/kube-proxy`.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use ferrule::model::IpFamily;

use crate::case::{From, host, outside, pod};
use crate::netns;
use crate::object::{Kind, PORT, Service, ready, service, terminating};

/// The Services, numbers 960 to 968.
pub fn showcase() -> Vec<Service> {
    let both = [ready("1a"), ready("2a")];
    let client = ["192.168.30.0/24", "fd00:192:30::/64"];
    let nobody = ["198.51.100.0/24", "2001:db8::/64"];
    let services = [
        service("web", [ready("1a"), ready("2a"), ready("3a")])
            .kind(Kind::LoadBalancer)
            .with_external_ip(),
        service("local", both)
            .kind(Kind::LoadBalancer)
            .with_external_ip()
            .external_local(),
        service("sticky", both).kind(Kind::NodePort).sticky(10_800),
        service("ranges", both)
            .kind(Kind::LoadBalancer)
            .ranges(&client),
        service("barred", both)
            .kind(Kind::LoadBalancer)
            .ranges(&nobody),
        service("inside", both).internal_local(),
        service("none", []).kind(Kind::LoadBalancer),
        service("elsewhere", [ready("2a")])
            .kind(Kind::LoadBalancer)
            .external_local(),
        service("leaving", [terminating("1a")]).kind(Kind::NodePort),
    ];
    let numbered = services
        .into_iter()
        .zip(960..)
        .map(|(service, id)| Service {
            id,
            namespace: "scenario",
            ..service
        });
    numbered.collect()
}

/// Connections that node 1's rules must always let through: who, and to what.
///
/// # Errors
/// If a Service lacks the frontend: the showcase is wrong.
pub(super) fn open(family: IpFamily) -> Result<Vec<(From, SocketAddr)>> {
    let services = showcase();
    let by_name = |name: &str| {
        let found = services.iter().find(|s| s.name == name);
        found.with_context(|| format!("no Service {name}"))
    };
    let mut open = Vec::new();
    for name in ["web", "local", "sticky", "ranges", "inside", "leaving"] {
        let service = by_name(name)?;
        let cluster_ip = SocketAddr::new(service.cluster_ip(family), PORT);
        open.extend([pod("1b"), host(1)].map(|from| (from, cluster_ip)));
        if let Some(port) = service.node_port() {
            let at = SocketAddr::new(netns::node_address(family, 1), port);
            open.extend([(outside(0), at), (pod("1b"), at)]);
        }
        let addresses = [
            service.load_balancer_ip(family),
            service.external_ip(family),
        ];
        for address in addresses.into_iter().flatten() {
            open.push((outside(1), SocketAddr::new(address, PORT)));
        }
    }
    Ok(open)
}

/// Connections from outside that node 1's rules must never let through.
pub(super) fn shut(family: IpFamily) -> Vec<(From, SocketAddr)> {
    let services = showcase();
    let shut = services
        .iter()
        .filter(|s| ["barred", "none", "elsewhere"].contains(&s.name));
    shut.filter_map(|s| s.load_balancer_ip(family))
        .map(|address| (outside(1), SocketAddr::new(address, PORT)))
        .collect()
}
