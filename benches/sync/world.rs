// SPDX-License-Identifier: Apache-2.0
//! The cluster that is measured: every object follows from its number, as events and as manifests.

use std::net::{IpAddr, Ipv4Addr};

use ferrule::model::{
    Conditions, EndpointPort, EndpointSlice, Event, Node, Observed, Protocol, Service, ServiceName,
    ServicePort, SliceEndpoint, SliceName, TrafficPolicy,
};
use serde_json::{Value, json};

/// Namespace of all objects.
pub(crate) const NAMESPACE: &str = "ferrule-bench";
/// The node that is served. One endpoint in [`NODES`] is on it.
pub(crate) const NODE: &str = "node-0";
/// Its address.
pub(crate) const NODE_ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
/// Nodes of the cluster.
const NODES: u32 = 100;
/// ClusterIPs count up from here.
const CLUSTER_IPS: Ipv4Addr = Ipv4Addr::new(10, 96, 4, 0);
/// Endpoints of Service `n` count up from here plus `n` times [`STRIDE`].
const PODS: Ipv4Addr = Ipv4Addr::new(10, 128, 0, 0);
/// Endpoints that come later count up from here.
const LATE_PODS: Ipv4Addr = Ipv4Addr::new(10, 112, 0, 0);
/// The most endpoints of a Service at the start: an EndpointSlice holds no more.
pub(crate) const MAX_ENDPOINTS: u32 = 100;
const STRIDE: u32 = 128;
/// The most Services that the address ranges have room for.
pub(crate) const MAX_SERVICES: u32 = 60_000;

/// How many Services, and how many endpoints each has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    pub services: u32,
    pub endpoints: u32,
}

impl std::str::FromStr for Size {
    type Err = String;

    /// `10000x10`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text}: not of the form SERVICESxENDPOINTS, as 10000x10");
        let (services, endpoints) = text.split_once('x').ok_or_else(wrong)?;
        let number = |t: &str| t.parse::<u32>().map_err(|_| wrong());
        let size = Size {
            services: number(services)?,
            endpoints: number(endpoints)?,
        };
        if !(1..=MAX_SERVICES).contains(&size.services)
            || !(1..=MAX_ENDPOINTS).contains(&size.endpoints)
        {
            return Err(format!(
                "{text}: 1 to {MAX_SERVICES} Services, 1 to {MAX_ENDPOINTS} endpoints"
            ));
        }
        Ok(size)
    }
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}", self.services, self.endpoints)
    }
}

fn count_from(start: Ipv4Addr, offset: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from(u32::from(start) + offset))
}

/// Service number `n`: one ClusterIP, one TCP port.
pub(crate) fn service(n: u32) -> Service {
    Service {
        name: ServiceName::new(NAMESPACE, format!("service-{n}")),
        created: 1_700_000_000,
        cluster_ips: vec![count_from(CLUSTER_IPS, n)],
        external_ips: Vec::new(),
        load_balancer_ips: Vec::new(),
        source_ranges: Vec::new(),
        ports: vec![ServicePort {
            name: "http".into(),
            protocol: Protocol::Tcp,
            port: 80,
            node_port: None,
        }],
        internal_policy: TrafficPolicy::Cluster,
        external_policy: TrafficPolicy::Cluster,
        affinity: None,
        health_check_node_port: None,
        ipvs: None,
    }
}

/// The EndpointSlice of Service number `n` at the start.
pub(crate) fn slice(n: u32, endpoints: u32) -> EndpointSlice {
    let address = |i| count_from(PODS, n * STRIDE + i);
    EndpointSlice {
        name: SliceName::new(NAMESPACE, format!("service-{n}-slice")),
        service: ServiceName::new(NAMESPACE, format!("service-{n}")),
        ports: vec![EndpointPort {
            name: "http".into(),
            protocol: Protocol::Tcp,
            port: 8080,
        }],
        endpoints: (0..endpoints)
            .map(|i| endpoint(address(i), n * endpoints + i))
            .collect(),
        triggered_at: None,
    }
}

fn endpoint(address: IpAddr, number: u32) -> SliceEndpoint {
    SliceEndpoint {
        address,
        conditions: Conditions::default(),
        node: Some(format!("node-{}", number % NODES).into()),
        zone: Some(format!("zone-{}", number % 3).into()),
        hints: None,
    }
}

/// Replaces one endpoint by one that was nowhere before; `number` counts these.
pub(crate) fn replace_endpoint(slice: &mut EndpointSlice, number: u32) {
    let place = number as usize % slice.endpoints.len();
    slice.endpoints[place] = endpoint(count_from(LATE_PODS, number), number);
}

/// Adds an endpoint that was nowhere before; `number` counts these.
pub(crate) fn add_endpoint(slice: &mut EndpointSlice, number: u32) {
    slice
        .endpoints
        .push(endpoint(count_from(LATE_PODS, number), number));
}

fn node() -> Node {
    Node {
        name: NODE.into(),
        zone: Some("zone-0".into()),
        addresses: vec![NODE_ADDRESS.into()],
        pod_cidrs: Vec::new(),
        leaving: false,
    }
}

/// Everything at the start, as it is watched; the last event says that it is complete.
pub(crate) fn events(size: Size) -> impl Iterator<Item = Event> {
    let first = [
        Event::Node(Observed::new(node())),
        Event::LocalAddresses(vec![NODE_ADDRESS.into()]),
    ];
    let objects = (0..size.services).flat_map(move |n| {
        [
            service_event(service(n)),
            slice_event(slice(n, size.endpoints)),
        ]
    });
    first.into_iter().chain(objects).chain([Event::Synced])
}

/// The event of a Service that came or changed.
pub(crate) fn service_event(service: Service) -> Event {
    Event::Service(service.name.clone(), Observed::new(service))
}

/// The event of an EndpointSlice that came or changed.
pub(crate) fn slice_event(slice: EndpointSlice) -> Event {
    Event::Slice(slice.name.clone(), Observed::new(slice))
}

/// The own Node as a manifest.
pub(crate) fn node_manifest() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": NODE, "labels": {"topology.kubernetes.io/zone": "zone-0"}},
        "status": {"addresses": [{"type": "InternalIP", "address": NODE_ADDRESS}]},
    })
}

/// A Service as a manifest.
pub(crate) fn service_manifest(service: &Service) -> Value {
    let port = &service.ports[0];
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {
            "namespace": NAMESPACE, "name": &*service.name.name,
            "creationTimestamp": "2023-11-14T22:13:20Z",
            "labels": {"app.kubernetes.io/name": &*service.name.name},
        },
        "spec": {
            "type": "ClusterIP", "clusterIP": service.cluster_ips[0],
            "clusterIPs": service.cluster_ips, "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack", "internalTrafficPolicy": "Cluster",
            "sessionAffinity": "None",
            "ports": [{
                "name": &*port.name, "protocol": "TCP", "port": port.port, "targetPort": 8080,
            }],
        },
    })
}

/// An EndpointSlice as a manifest.
pub(crate) fn slice_manifest(slice: &EndpointSlice) -> Value {
    let endpoint = |e: &SliceEndpoint| {
        json!({
            "addresses": [e.address], "nodeName": e.node.as_deref(), "zone": e.zone.as_deref(),
            "conditions": {"ready": true, "serving": true, "terminating": false},
        })
    };
    let port = &slice.ports[0];
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "namespace": NAMESPACE, "name": &*slice.name.name,
            "labels": {"kubernetes.io/service-name": &*slice.service.name},
        },
        "addressType": "IPv4",
        "ports": [{"name": &*port.name, "protocol": "TCP", "port": port.port}],
        "endpoints": slice.endpoints.iter().map(endpoint).collect::<Vec<_>>(),
    })
}
