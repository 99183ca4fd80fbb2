// SPDX-License-Identifier: Apache-2.0
//! The objects of a cluster of a given size, each computed from its number.
//!
//! | what | IPv4 |
//! |---|---|
//! | ClusterIP of Service i | 10.96.4.0 + i, port 80 |
//! | endpoint | 10.128.0.0 + (generation x Services + i) x endpoints + e, port 8080 |
//!
//! With each new generation all endpoints of a Service are others.

use std::net::{Ipv4Addr, SocketAddrV4};

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::differential::render::{LABEL, NAMESPACE};

/// Endpoints' addresses.
pub const ENDPOINT_CIDR: &str = "10.128.0.0/10";
/// Services that are created while it is measured, beyond those of the size.
pub const SPARE: u32 = 400;
/// Port of every endpoint.
pub const TARGET: u16 = 8080;

const ENDPOINTS: Ipv4Addr = Ipv4Addr::new(10, 128, 0, 0);
const ENDPOINTS_MASK: u32 = (1 << 22) - 1;
const SERVICES: Ipv4Addr = Ipv4Addr::new(10, 96, 4, 0);
const MOST_SERVICES: u32 = 60_000;
/// What the API server takes in one EndpointSlice.
const MOST_ENDPOINTS: u32 = 1_000;
/// Nodes that endpoints are on, by name.
const NODES: u32 = 100;

/// How large a cluster is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Services.
    pub services: u32,
    /// Endpoints of each Service.
    pub endpoints: u32,
}

impl Size {
    /// Checks that there are addresses for it.
    ///
    /// # Errors
    /// Naming the number that is too small or too large.
    pub fn check(self) -> Result<Self> {
        let Self {
            services,
            endpoints,
        } = self;
        ensure!(
            (1..=MOST_SERVICES).contains(&services),
            "SERVICES={services}: 1 to {MOST_SERVICES}"
        );
        ensure!(
            (1..=MOST_ENDPOINTS).contains(&endpoints),
            "ENDPOINTS={endpoints}: 1 to {MOST_ENDPOINTS}, as many as one EndpointSlice takes"
        );
        let most = ENDPOINTS_MASK / 4;
        ensure!(
            self.slots() * endpoints <= most,
            "SERVICES={services} ENDPOINTS={endpoints}: more than {most} endpoints"
        );
        Ok(self)
    }

    /// Numbers that Services can have.
    fn slots(self) -> u32 {
        self.services + SPARE
    }

    /// The address that endpoint `e` of Service `i` has in a generation.
    #[must_use]
    pub fn endpoint(self, i: u32, generation: u32, e: u32) -> Ipv4Addr {
        let number = (u64::from(generation) * u64::from(self.slots()) + u64::from(i))
            * u64::from(self.endpoints)
            + u64::from(e);
        let capacity = u64::from(ENDPOINTS_MASK) / (u64::from(self.slots() * self.endpoints))
            * u64::from(self.slots() * self.endpoints);
        // Never the network's own address, and never more than fits.
        Ipv4Addr::from(u32::from(ENDPOINTS) + 1 + (number % capacity) as u32)
    }

    /// Whether the address is one of Service `i` in that generation.
    #[must_use]
    pub fn owns(self, i: u32, generation: u32, address: Ipv4Addr) -> bool {
        let first = u32::from(self.endpoint(i, generation, 0));
        (first..first + self.endpoints).contains(&u32::from(address))
    }

    /// Service `i`.
    #[must_use]
    pub fn service(self, i: u32) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": { "name": name(i), "namespace": NAMESPACE, "labels": self.labels(i) },
            "spec": {
                "clusterIP": cluster_ip(i).ip(),
                "ipFamilies": ["IPv4"],
                "ipFamilyPolicy": "SingleStack",
                "selector": { "app": name(i) },
                "ports": [{
                    "name": "http", "protocol": "TCP", "port": cluster_ip(i).port(),
                    "targetPort": TARGET
                }],
            },
        })
    }

    /// The EndpointSlice of Service `i`, with the fields that the EndpointSlice controller writes.
    #[must_use]
    pub fn slice(self, i: u32, generation: u32) -> Value {
        let mut labels = self.labels(i);
        labels["kubernetes.io/service-name"] = json!(name(i));
        labels["endpointslice.kubernetes.io/managed-by"] = json!("endpointslice-controller.k8s.io");
        let endpoints: Vec<_> = (0..self.endpoints)
            .map(|e| self.ready(i, generation, e))
            .collect();
        json!({
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": { "name": name(i), "namespace": NAMESPACE, "labels": labels },
            "addressType": "IPv4",
            "ports": [{ "name": "http", "protocol": "TCP", "port": TARGET }],
            "endpoints": endpoints,
        })
    }

    fn ready(self, i: u32, generation: u32, e: u32) -> Value {
        let address = self.endpoint(i, generation, e);
        let number = u32::from(address);
        json!({
            "addresses": [address],
            "conditions": { "ready": true, "serving": true, "terminating": false },
            "nodeName": format!("worker-{}", number % NODES),
            "zone": format!("zone-{}", number % 3),
            "targetRef": {
                "kind": "Pod",
                "namespace": NAMESPACE,
                "name": format!("{}-{number:x}", name(i)),
                "uid": format!("00000000-0000-4000-8000-{number:012x}"),
            },
        })
    }

    /// Spare Services are found again by a label, to remove them.
    fn labels(self, i: u32) -> Value {
        let mut labels = json!({ "app": name(i) });
        if i >= self.services {
            labels[LABEL] = json!("1");
        }
        labels
    }
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} x {}", self.services, self.endpoints)
    }
}

fn name(i: u32) -> String {
    format!("s{i}")
}

/// Where Service `i` answers.
#[must_use]
pub fn cluster_ip(i: u32) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::from(u32::from(SERVICES) + i), 80)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size {
        services: 10_000,
        endpoints: 10,
    };

    #[test]
    fn generations_share_no_address() {
        for generation in [0, 1, 39, 40, 1_000] {
            for i in [0, 1, 9_999, 10_000 + SPARE - 1] {
                let first = SIZE.endpoint(i, generation, 0);
                let last = SIZE.endpoint(i, generation, 9);
                assert!(SIZE.owns(i, generation, first) && SIZE.owns(i, generation, last));
                assert!(!SIZE.owns(i, generation + 1, first));
                assert!(!SIZE.owns((i + 1) % 10_000, generation, last));
                let cidr: ipnet::Ipv4Net = ENDPOINT_CIDR.parse().unwrap();
                assert!(cidr.contains(&first) && cidr.contains(&last));
            }
        }
    }

    #[test]
    fn sizes_without_addresses_are_refused() {
        let check = |services, endpoints| {
            Size {
                services,
                endpoints,
            }
            .check()
        };
        assert!(check(10_000, 10).is_ok() && check(1, 1).is_ok());
        for (services, endpoints) in [(0, 1), (1, 0), (60_001, 1), (1, 1_001), (60_000, 100)] {
            assert!(
                check(services, endpoints).is_err(),
                "{services} x {endpoints}"
            );
        }
    }

    #[test]
    fn only_spare_services_are_removed() {
        assert!(SIZE.service(9_999)["metadata"]["labels"][LABEL].is_null());
        assert_eq!(SIZE.service(10_000)["metadata"]["labels"][LABEL], "1");
        assert_eq!(SIZE.slice(10_000, 0)["metadata"]["labels"][LABEL], "1");
    }
}
