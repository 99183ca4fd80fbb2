// SPDX-License-Identifier: Apache-2.0
//! Services and slices by number, in IPv4. Service i has the ClusterIP i.

use std::net::{IpAddr, Ipv4Addr};

use ferrule::model::IpFamily;
use serde_json::{Value, json};

use crate::netns;
use crate::object::PORT;

const NAMESPACE: &str = "flood";
/// Endpoints have addresses from here on; after 4 million it is the first one's turn again.
const ENDPOINTS: u32 = u32::from_be_bytes([10, 128, 0, 0]);
const ROUND: u32 = 1 << 22;

/// An endpoint: which one, and whether it is ready.
pub(super) type Endpoint = (u32, bool);

pub(super) fn cluster_ip(i: u16) -> IpAddr {
    netns::cluster_ip(IpFamily::V4, i)
}

pub(super) fn address(endpoint: u32) -> IpAddr {
    Ipv4Addr::from(ENDPOINTS + endpoint % ROUND).into()
}

pub(super) fn service(i: u16) -> Value {
    let ip = cluster_ip(i);
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": format!("s{i}"), "namespace": NAMESPACE },
        "spec": {
            "type": "ClusterIP", "clusterIP": ip, "clusterIPs": [ip], "ipFamilies": ["IPv4"],
            "ports": [{ "name": "web", "protocol": "TCP", "port": PORT }],
        },
    })
}

/// One of a Service's slices.
pub(super) fn slice(i: u16, part: usize, endpoints: &[Endpoint]) -> Value {
    let endpoint = |(n, ready): &Endpoint| {
        json!({
            "addresses": [address(*n)], "nodeName": "node-2",
            "conditions": { "ready": ready, "serving": ready, "terminating": false },
        })
    };
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "name": format!("s{i}-{part}"), "namespace": NAMESPACE,
            "labels": { "kubernetes.io/service-name": format!("s{i}") },
        },
        "addressType": "IPv4",
        "ports": [{ "name": "web", "protocol": "TCP", "port": 8080 }],
        "endpoints": endpoints.iter().map(endpoint).collect::<Vec<_>>(),
    })
}
