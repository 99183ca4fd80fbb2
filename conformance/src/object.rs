// SPDX-License-Identifier: Apache-2.0
//! Services and their endpoints as a test sees them, and the Kubernetes objects they become.
//!
//! A [`Service`] answers on one port number in TCP, UDP and SCTP and in both families, so every
//! row of a table holds for six combinations. Its addresses follow from its number.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ferrule::model::{IpFamily, Protocol, TrafficPolicy};
use serde_json::{Value, json};

use crate::netns;

/// Port of ClusterIPs, load balancer and external addresses.
pub const PORT: u16 = 80;
/// Ports that the servers in all pods listen on.
pub const TARGETS: [u16; 2] = [8080, 8081];
/// Port that scenarios may listen on themselves.
pub const OWN_TARGET: u16 = 8090;

/// `spec.type` with what the tests need of `status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// ClusterIP.
    ClusterIp,
    /// NodePort.
    NodePort,
    /// LoadBalancer with its own address.
    LoadBalancer,
    /// LoadBalancer with `ipMode: Proxy`.
    Proxied,
    /// LoadBalancer whose address is that of a node, as k3s' service load balancer has it.
    OnNode(u16),
}

/// A Service, its EndpointSlices included.
#[derive(Debug, Clone)]
pub struct Service {
    /// Name.
    pub name: &'static str,
    /// Namespace: the case.
    pub namespace: &'static str,
    /// Its number, from which its addresses and its NodePort follow.
    pub id: u16,
    /// Type.
    pub kind: Kind,
    /// Port of its ClusterIP.
    pub port: u16,
    /// Has an external address.
    pub external: bool,
    /// Has the ClusterIP that is one of node 1's addresses.
    pub on_interface: bool,
    /// Internal traffic policy.
    pub internal_policy: TrafficPolicy,
    /// External traffic policy.
    pub external_policy: TrafficPolicy,
    /// Session affinity, with its timeout in seconds.
    pub affinity: Option<u32>,
    /// Source ranges.
    pub ranges: Vec<&'static str>,
    /// Annotations.
    pub annotations: Vec<(&'static str, &'static str)>,
    /// Endpoints.
    pub endpoints: Vec<Endpoint>,
}

/// An endpoint in a pod.
#[derive(Debug, Clone, Copy)]
pub struct Endpoint {
    /// The pod, as `1a`: the first of node 1.
    pub pod: &'static str,
    /// Condition.
    pub ready: bool,
    /// Condition.
    pub serving: bool,
    /// Condition.
    pub terminating: bool,
    /// Zone hint.
    pub zone: Option<&'static str>,
    /// Node hint.
    pub node: Option<&'static str>,
    /// Port.
    pub port: u16,
}

/// A ready endpoint.
pub fn ready(pod: &'static str) -> Endpoint {
    let port = TARGETS[0];
    Endpoint {
        pod,
        ready: true,
        serving: true,
        terminating: false,
        zone: None,
        node: None,
        port,
    }
}

/// An endpoint whose pod is being deleted and still serves.
pub fn terminating(pod: &'static str) -> Endpoint {
    Endpoint {
        ready: false,
        terminating: true,
        ..ready(pod)
    }
}

/// An endpoint that is not ready.
pub fn unready(pod: &'static str) -> Endpoint {
    Endpoint {
        ready: false,
        serving: false,
        ..ready(pod)
    }
}

impl Endpoint {
    /// With a zone hint.
    pub fn for_zone(self, zone: &'static str) -> Self {
        Self {
            zone: Some(zone),
            ..self
        }
    }

    /// With a node hint.
    pub fn for_node(self, node: &'static str) -> Self {
        Self {
            node: Some(node),
            ..self
        }
    }

    /// On the second port.
    pub fn second_port(self) -> Self {
        Self {
            port: TARGETS[1],
            ..self
        }
    }

    /// On the port of a scenario's own server.
    pub fn own_port(self) -> Self {
        Self {
            port: OWN_TARGET,
            ..self
        }
    }

    /// Number of its node, from 1.
    pub fn on(&self) -> u16 {
        node_of(self.pod)
    }

    /// Its address.
    pub fn address(&self, family: IpFamily) -> IpAddr {
        pod_address(family, self.pod)
    }

    fn json(&self, family: IpFamily) -> Value {
        let mut endpoint = json!({
            "addresses": [self.address(family)],
            "conditions": {
                "ready": self.ready, "serving": self.serving, "terminating": self.terminating
            },
            "nodeName": node_name(self.on()),
            "zone": zone_of(self.on()),
        });
        if let Some(zone) = self.zone {
            endpoint["hints"]["forZones"] = json!([{ "name": zone }]);
        }
        if let Some(node) = self.node {
            endpoint["hints"]["forNodes"] = json!([{ "name": node }]);
        }
        endpoint
    }
}

/// Number of the node that a pod's name begins with.
pub fn node_of(pod: &str) -> u16 {
    pod.bytes()
        .next()
        .map_or(0, |b| u16::from(b.wrapping_sub(b'0')))
}

/// Address of a pod by its name.
pub fn pod_address(family: IpFamily, pod: &str) -> IpAddr {
    let index = pod
        .as_bytes()
        .get(1)
        .map_or(0, |b| u16::from(b.wrapping_sub(b'a')));
    netns::pod_address(family, node_of(pod), index)
}

/// Name of a node.
pub fn node_name(n: u16) -> String {
    format!("node-{n}")
}

/// Zone of a node: 1 in the east, all others in the west.
pub fn zone_of(n: u16) -> &'static str {
    if n == 1 { "east" } else { "west" }
}

/// A Service of type ClusterIP.
pub fn service(name: &'static str, endpoints: impl Into<Vec<Endpoint>>) -> Service {
    Service {
        name,
        namespace: "default",
        id: 0,
        kind: Kind::ClusterIp,
        port: PORT,
        external: false,
        on_interface: false,
        internal_policy: TrafficPolicy::Cluster,
        external_policy: TrafficPolicy::Cluster,
        affinity: None,
        ranges: Vec::new(),
        annotations: Vec::new(),
        endpoints: endpoints.into(),
    }
}

impl Service {
    /// Of that type.
    pub fn kind(self, kind: Kind) -> Self {
        Self { kind, ..self }
    }

    /// With an external address.
    pub fn with_external_ip(self) -> Self {
        Self {
            external: true,
            ..self
        }
    }

    /// With `internalTrafficPolicy: Local`.
    pub fn internal_local(self) -> Self {
        Self {
            internal_policy: TrafficPolicy::Local,
            ..self
        }
    }

    /// With `externalTrafficPolicy: Local`.
    pub fn external_local(self) -> Self {
        Self {
            external_policy: TrafficPolicy::Local,
            ..self
        }
    }

    /// With session affinity, for so many seconds.
    pub fn sticky(self, seconds: u32) -> Self {
        Self {
            affinity: Some(seconds),
            ..self
        }
    }

    /// Restricted to sources.
    pub fn ranges(self, ranges: &[&'static str]) -> Self {
        Self {
            ranges: ranges.to_vec(),
            ..self
        }
    }

    /// With its ClusterIP on an interface of node 1.
    pub fn on_interface(self) -> Self {
        Self {
            on_interface: true,
            ..self
        }
    }

    /// Its ClusterIP.
    pub fn cluster_ip(&self, family: IpFamily) -> IpAddr {
        netns::cluster_ip(family, self.id)
    }

    /// Its load balancer address, if it has any.
    pub fn load_balancer_ip(&self, family: IpFamily) -> Option<IpAddr> {
        match self.kind {
            Kind::ClusterIp | Kind::NodePort => None,
            Kind::LoadBalancer | Kind::Proxied => Some(netns::load_balancer_ip(family, self.id)),
            Kind::OnNode(n) => Some(netns::node_address(family, n)),
        }
    }

    /// Its external address, if it has one.
    pub fn external_ip(&self, family: IpFamily) -> Option<IpAddr> {
        self.external.then(|| netns::external_ip(family, self.id))
    }

    /// Its NodePort, if it has one; the same in all protocols.
    pub fn node_port(&self) -> Option<u16> {
        (self.kind != Kind::ClusterIp).then(|| 30_000 + self.id)
    }

    /// Port of its health check, if it has one.
    pub fn health_port(&self) -> Option<u16> {
        let balanced = !matches!(self.kind, Kind::ClusterIp | Kind::NodePort);
        let local = self.external_policy == TrafficPolicy::Local;
        (balanced && local).then(|| 31_500 + self.id)
    }

    /// The Service and its slices.
    pub fn objects(&self) -> Vec<Value> {
        let mut objects = vec![self.json()];
        for family in IpFamily::ALL {
            for port in TARGETS.into_iter().chain([OWN_TARGET]) {
                let here = |e: &&Endpoint| e.port == port;
                let endpoints: Vec<_> = self
                    .endpoints
                    .iter()
                    .filter(here)
                    .map(|e| e.json(family))
                    .collect();
                if !endpoints.is_empty() {
                    objects.push(self.slice(family, port, endpoints));
                }
            }
        }
        objects
    }

    fn json(&self) -> Value {
        let ports = Protocol::ALL.map(|p| {
            let name = p.word();
            let protocol = name.to_uppercase();
            let mut port = json!({
                "name": name, "protocol": protocol, "port": self.port, "targetPort": "serve"
            });
            if let Some(node_port) = self.node_port() {
                port["nodePort"] = json!(node_port);
            }
            port
        });
        let cluster_ips = IpFamily::ALL.map(|f| self.cluster_ip(f));
        let mut spec = json!({
            "type": self.type_name(),
            "clusterIP": cluster_ips[0],
            "clusterIPs": cluster_ips,
            "ipFamilies": ["IPv4", "IPv6"],
            "ipFamilyPolicy": "RequireDualStack",
            "internalTrafficPolicy": policy(self.internal_policy),
            "ports": ports,
        });
        if self.kind != Kind::ClusterIp || self.external {
            spec["externalTrafficPolicy"] = json!(policy(self.external_policy));
        }
        if self.external {
            spec["externalIPs"] = json!(IpFamily::ALL.map(|f| self.external_ip(f)));
        }
        if let Some(seconds) = self.affinity {
            spec["sessionAffinity"] = json!("ClientIP");
            spec["sessionAffinityConfig"] = json!({ "clientIP": { "timeoutSeconds": seconds } });
        }
        if !self.ranges.is_empty() {
            spec["loadBalancerSourceRanges"] = json!(self.ranges);
        }
        if let Some(port) = self.health_port() {
            spec["healthCheckNodePort"] = json!(port);
        }
        let annotations: BTreeMap<_, _> = self.annotations.iter().copied().collect();
        let mode = if self.kind == Kind::Proxied {
            "Proxy"
        } else {
            "VIP"
        };
        let ingress: Vec<_> = IpFamily::ALL
            .into_iter()
            .filter_map(|f| self.load_balancer_ip(f))
            .map(|ip| json!({ "ip": ip, "ipMode": mode }))
            .collect();
        json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {
                "name": self.name, "namespace": self.namespace, "annotations": annotations
            },
            "spec": spec,
            "status": { "loadBalancer": { "ingress": ingress } },
        })
    }

    fn type_name(&self) -> &'static str {
        match self.kind {
            Kind::ClusterIp => "ClusterIP",
            Kind::NodePort => "NodePort",
            Kind::LoadBalancer | Kind::Proxied | Kind::OnNode(_) => "LoadBalancer",
        }
    }

    fn slice(&self, family: IpFamily, port: u16, endpoints: Vec<Value>) -> Value {
        let name = format!("{}-{family}-{port}", self.name).to_lowercase();
        let ports = Protocol::ALL.map(
            |p| json!({ "name": p.word(), "protocol": p.word().to_uppercase(), "port": port }),
        );
        json!({
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": name,
                "namespace": self.namespace,
                "labels": { "kubernetes.io/service-name": self.name },
            },
            "addressType": family.to_string(),
            "ports": ports,
            "endpoints": endpoints,
        })
    }
}

fn policy(policy: TrafficPolicy) -> &'static str {
    match policy {
        TrafficPolicy::Cluster => "Cluster",
        TrafficPolicy::Local => "Local",
    }
}

/// The Node object of node `n`, counted from 1, in a zone.
pub fn node(n: u16, zone: &str) -> Value {
    let addresses = IpFamily::ALL
        .map(|f| json!({ "type": "InternalIP", "address": netns::node_address(f, n) }));
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": node_name(n),
            "labels": { "topology.kubernetes.io/zone": zone },
        },
        "spec": {
            "podCIDR": netns::pod_cidr(IpFamily::V4, n),
            "podCIDRs": IpFamily::ALL.map(|f| netns::pod_cidr(f, n)),
        },
        "status": { "addresses": addresses },
    })
}

/// The Node objects and the ServiceCIDR of a cluster with so many nodes.
pub fn cluster(nodes: u16) -> Vec<Value> {
    let mut objects: Vec<_> = (1..=nodes).map(|n| node(n, zone_of(n))).collect();
    objects.push(json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "ServiceCIDR",
        "metadata": { "name": "kubernetes" },
        "spec": { "cidrs": netns::SERVICE_CIDRS },
    }));
    objects
}
