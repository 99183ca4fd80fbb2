// SPDX-License-Identifier: Apache-2.0
//! A case with numbers becomes Kubernetes objects. Every case gets numbers of its own, so that
//! many can be in the cluster at the same time and none meets what an earlier one left behind.

use std::net::IpAddr;

use ferrule::model::{IpFamily, Protocol};
use serde_json::{Value, json};

use super::spec::{Balancer, Case, Endpoint, External, Ingress, Kind, Service, Slice};
use crate::netns;
use crate::object::{self, TARGETS, node_name, pod_address};

/// The namespace of all Services of this kind.
pub const NAMESPACE: &str = "differential";
/// The label by which the objects of a round are found again.
pub const LABEL: &str = "differential/round";

/// What the Nodes of a round look like, and what its objects are labelled with.
#[derive(Debug, Clone)]
pub struct Round {
    /// Number of the round. Zones are named by it, so that it can be told which ones a proxy knows.
    pub number: u32,
    /// Zone of each node.
    pub zones: [u8; 3],
}

impl Round {
    /// Name of a zone.
    pub fn zone(&self, zone: u8) -> String {
        format!("zone-{}-{zone}", self.number)
    }

    /// The Node objects.
    pub fn nodes(&self) -> Vec<Value> {
        let node = |(n, zone): (u16, &u8)| object::node(n, &self.zone(*zone));
        (1..).zip(&self.zones).map(node).collect()
    }
}

/// Everything that a case needs, as one JSON list for `kubectl apply -f` or ferrule's `--manifests`.
/// `kubectl apply` leaves out `status`, so load balancers' addresses.
pub fn manifest(round: &Round, objects: &[Value]) -> String {
    let mut items = vec![json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE },
    })];
    items.extend(round.nodes());
    items.extend_from_slice(objects);
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": items });
    format!("{list:#}")
}

/// A case and the number of its first Service.
#[derive(Debug, Clone)]
pub struct Placed {
    /// The case.
    pub case: Case,
    /// Number of its first Service, from 1.
    pub base: u16,
}

impl Placed {
    fn id(&self, service: usize) -> u16 {
        self.base + service as u16
    }

    /// Port number `port` of a Service.
    pub fn port(&self, service: usize, port: usize) -> u16 {
        2_000 + ((u32::from(self.id(service)) * 4 + port as u32) % 5_000) as u16
    }

    /// NodePort of port number `port` of a Service; 3 is the health check.
    pub fn node_port(&self, service: usize, port: usize) -> u16 {
        30_000 + ((u32::from(self.id(service)) * 4 + port as u32) % 2_760) as u16
    }

    /// ClusterIP of a Service.
    pub fn cluster_ip(&self, service: usize, family: IpFamily) -> IpAddr {
        netns::cluster_ip(family, 0x100 + self.id(service))
    }

    /// External addresses of a Service.
    pub fn external_ips(&self, service: usize, family: IpFamily) -> Option<IpAddr> {
        match self.case.services[service].external {
            External::No => None,
            External::Own => Some(netns::external_ip(family, self.id(service))),
            External::Node(n) => Some(netns::node_address(family, n)),
        }
    }

    /// An address of a load balancer.
    pub fn balancer(&self, service: usize, family: IpFamily, ingress: Ingress) -> IpAddr {
        match ingress.address {
            Balancer::Own => netns::load_balancer_ip(family, self.id(service)),
            Balancer::Shared => netns::load_balancer_ip(family, self.id(0)),
            Balancer::Node(n) => netns::node_address(family, n),
        }
    }

    /// Port of the health check, if the Service has one.
    pub fn health_port(&self, service: usize) -> Option<u16> {
        let spec = &self.case.services[service];
        (spec.kind == Kind::LoadBalancer && spec.external_local).then(|| self.node_port(service, 3))
    }

    /// All objects. A Service comes before its slices.
    pub fn objects(&self, round: &Round) -> Vec<Value> {
        let mut objects = Vec::new();
        for (number, service) in self.case.services.iter().enumerate() {
            objects.push(self.service(number, service, round));
            for (n, slice) in service.slices.iter().enumerate() {
                objects.push(self.slice(number, n, slice, round));
            }
        }
        objects
    }

    fn service(&self, number: usize, service: &Service, round: &Round) -> Value {
        let families = &service.families;
        let ips: Vec<_> = families
            .iter()
            .map(|f| self.cluster_ip(number, *f))
            .collect();
        let policy = |local| if local { "Local" } else { "Cluster" };
        let mut labels = json!({ LABEL: round.number.to_string() });
        if service.others {
            labels["service.kubernetes.io/service-proxy-name"] = json!("another");
        }
        let mut spec = json!({
            "type": match service.kind {
                Kind::ClusterIp => "ClusterIP",
                Kind::NodePort => "NodePort",
                Kind::LoadBalancer => "LoadBalancer",
            },
            "clusterIP": ips[0],
            "clusterIPs": ips,
            "ipFamilies": families.iter().map(IpFamily::to_string).collect::<Vec<_>>(),
            "ipFamilyPolicy": if ips.len() > 1 { "RequireDualStack" } else { "SingleStack" },
            "internalTrafficPolicy": policy(service.internal_local),
            "ports": self.service_ports(number, service),
        });
        if service.has_external() {
            spec["externalTrafficPolicy"] = json!(policy(service.external_local));
        }
        if service.publish_not_ready {
            spec["publishNotReadyAddresses"] = json!(true);
        }
        let external: Vec<_> = families
            .iter()
            .filter_map(|f| self.external_ips(number, *f))
            .collect();
        if !external.is_empty() {
            spec["externalIPs"] = json!(external);
        }
        if let Some(seconds) = service.affinity {
            spec["sessionAffinity"] = json!("ClientIP");
            spec["sessionAffinityConfig"] = json!({ "clientIP": { "timeoutSeconds": seconds } });
        }
        if let Some(port) = self.health_port(number) {
            spec["healthCheckNodePort"] = json!(port);
        }
        let mut object = json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": { "name": self.name(number), "namespace": NAMESPACE, "labels": labels },
            "spec": spec,
        });
        if service.kind == Kind::LoadBalancer {
            self.balance(number, service, &mut object);
        }
        object
    }

    /// What only a LoadBalancer has.
    fn balance(&self, number: usize, service: &Service, object: &mut Value) {
        if !service.ranges.is_empty() {
            object["spec"]["loadBalancerSourceRanges"] = json!(service.ranges);
        }
        if !service.node_ports {
            object["spec"]["allocateLoadBalancerNodePorts"] = json!(false);
        }
        let one = |i: &Ingress, f: &IpFamily| {
            let mode = if i.proxy { "Proxy" } else { "VIP" };
            json!({ "ip": self.balancer(number, *f, *i), "ipMode": mode })
        };
        let both = |i: &Ingress| {
            service
                .families
                .iter()
                .map(|f| one(i, f))
                .collect::<Vec<_>>()
        };
        let ingress: Vec<_> = service.ingress.iter().flat_map(both).collect();
        if !ingress.is_empty() {
            object["status"] = json!({ "loadBalancer": { "ingress": ingress } });
        }
    }

    fn name(&self, number: usize) -> String {
        format!("s{}", self.id(number))
    }

    fn service_ports(&self, number: usize, service: &Service) -> Vec<Value> {
        let mut ports = Vec::new();
        for (n, protocol) in port_protocols(service) {
            let mut port = json!({
                "name": port_name(n, protocol),
                "protocol": protocol.word().to_uppercase(),
                "port": self.port(number, n),
                "targetPort": "serve",
            });
            if service.has_node_ports() {
                port["nodePort"] = json!(self.node_port(number, n));
            }
            ports.push(port);
        }
        ports
    }

    fn slice(&self, number: usize, n: usize, slice: &Slice, round: &Round) -> Value {
        let service = &self.case.services[number];
        let target = TARGETS[usize::from(slice.second_target)];
        let ports: Vec<_> = port_protocols(service)
            .filter(|(n, _)| *n == 0 || !slice.first_port_only)
            .map(|(n, p)| {
                json!({
                    "name": port_name(n, p),
                    "protocol": p.word().to_uppercase(),
                    "port": target,
                })
            })
            .collect();
        let endpoints: Vec<_> = slice
            .endpoints
            .iter()
            .map(|e| endpoint(e, slice.family, round))
            .collect();
        json!({
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": format!("{}-{n}", self.name(number)),
                "namespace": NAMESPACE,
                "labels": {
                    "kubernetes.io/service-name": self.name(number),
                    LABEL: round.number.to_string(),
                },
            },
            "addressType": slice.family.to_string(),
            "ports": ports,
            "endpoints": endpoints,
        })
    }
}

/// Index of the port number, and protocol, of all ports.
pub fn port_protocols(service: &Service) -> impl Iterator<Item = (usize, Protocol)> {
    let each = |(n, port): (usize, &super::spec::Port)| {
        port.protocols.iter().map(|p| (n, *p)).collect::<Vec<_>>()
    };
    service.ports.iter().enumerate().flat_map(each)
}

fn port_name(n: usize, protocol: Protocol) -> String {
    format!("p{n}-{}", protocol.word())
}

/// Number of the node of a place like `1a` or `node1`.
pub fn node_of(at: &str) -> u16 {
    at.trim_start_matches("node")
        .bytes()
        .next()
        .map_or(0, |b| u16::from(b.wrapping_sub(b'0')))
}

fn endpoint(endpoint: &Endpoint, family: IpFamily, round: &Round) -> Value {
    let node = node_of(endpoint.at);
    let address = match endpoint.at.starts_with("node") {
        true => netns::node_address(family, node),
        false => pod_address(family, endpoint.at),
    };
    let mut object = json!({ "addresses": [address] });
    let conditions = [
        ("ready", endpoint.ready),
        ("serving", endpoint.serving),
        ("terminating", endpoint.terminating),
    ];
    for (name, value) in conditions {
        if let Some(value) = value {
            object["conditions"][name] = json!(value);
        }
    }
    if endpoint.node_name {
        object["nodeName"] = json!(node_name(node));
        object["zone"] = json!(round.zone(round.zones[usize::from(node) - 1]));
    }
    if !endpoint.zones.is_empty() {
        let name = |z: &u8| json!({ "name": round.zone(*z) });
        object["hints"]["forZones"] = endpoint.zones.iter().map(name).collect();
    }
    if !endpoint.nodes.is_empty() {
        let name = |n: &u16| json!({ "name": node_name(*n) });
        object["hints"]["forNodes"] = endpoint.nodes.iter().map(name).collect();
    }
    object
}
