// SPDX-License-Identifier: Apache-2.0
//! The shape of objects, as much of them as checks ask about. Unlike the agent's, this reading
//! forgives: what a field should not hold is as if it were not there.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Deserialize;
use serde_json::Value;

use super::Fact;
use crate::observe::view::{
    EndpointState, EndpointView, Family, FrontendKind, FrontendView, Policy, Protocol, ServiceView,
    Used,
};

/// All objects that were read.
#[derive(Debug, Clone)]
pub struct Objects {
    /// Services.
    pub services: Fact<Vec<Service>>,
    /// EndpointSlices.
    pub slices: Fact<Vec<Slice>>,
    /// Pods, possibly only those of Services without endpoints.
    pub pods: Fact<Vec<Pod>>,
    /// The own Node; none if there is none of the name.
    pub node: Fact<Option<Node>>,
    /// All Nodes of a directory, among which the own one is looked for by name.
    pub nodes_of_directory: Option<Vec<Node>>,
}

impl Default for Objects {
    fn default() -> Self {
        Self {
            services: Ok(Vec::new()),
            slices: Ok(Vec::new()),
            pods: Ok(Vec::new()),
            node: Ok(None),
            nodes_of_directory: None,
        }
    }
}

/// `metadata`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata {
    /// Name.
    pub name: String,
    /// Namespace.
    pub namespace: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Set once it is to go.
    pub deletion_timestamp: Option<String>,
}

impl Metadata {
    /// `namespace/name`.
    pub fn id(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

/// A Service.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Service {
    /// `metadata`.
    pub metadata: Metadata,
    /// `spec`.
    pub spec: ServiceSpec,
    /// `status`.
    pub status: ServiceStatus,
}

/// `spec` of a Service.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs, reason = "the names are the API's")]
pub struct ServiceSpec {
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(rename = "clusterIP")]
    pub cluster_ip: String,
    #[serde(rename = "clusterIPs")]
    pub cluster_ips: Vec<String>,
    #[serde(rename = "externalIPs")]
    pub external_ips: Vec<String>,
    pub selector: BTreeMap<String, String>,
    pub ports: Vec<Port>,
    pub external_traffic_policy: String,
    pub internal_traffic_policy: String,
    pub load_balancer_class: Option<String>,
}

/// A port of a Service.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs, reason = "the names are the API's")]
pub struct Port {
    pub name: String,
    pub protocol: String,
    pub port: u16,
    pub node_port: u16,
    pub target_port: Value,
}

/// `status` of a Service.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs, reason = "the names are the API's")]
pub struct ServiceStatus {
    pub load_balancer: LoadBalancer,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the names are the API's")]
pub struct LoadBalancer {
    pub ingress: Vec<Ingress>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs, reason = "the names are the API's")]
pub struct Ingress {
    pub ip: Option<String>,
    pub hostname: Option<String>,
    pub ip_mode: Option<String>,
}

/// An EndpointSlice.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs, reason = "the names are the API's")]
pub struct Slice {
    pub metadata: Metadata,
    pub endpoints: Vec<Endpoint>,
    pub ports: Vec<SlicePort>,
}

impl Slice {
    /// The Service that it is of.
    pub fn is_of(&self, service: &Service) -> bool {
        let name = self.metadata.labels.get("kubernetes.io/service-name");
        self.metadata.namespace == service.metadata.namespace
            && name == Some(&service.metadata.name)
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs, reason = "the names are the API's")]
pub struct Endpoint {
    pub addresses: Vec<String>,
    pub conditions: Conditions,
    pub node_name: Option<String>,
    pub target_ref: Option<Reference>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the names are the API's")]
pub struct Reference {
    pub name: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the names are the API's")]
pub struct Conditions {
    pub ready: Option<bool>,
    pub serving: Option<bool>,
    pub terminating: Option<bool>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the names are the API's")]
pub struct SlicePort {
    pub name: Option<String>,
    pub port: Option<u16>,
    pub protocol: Option<String>,
}

/// A Pod.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the names are the API's")]
pub struct Pod {
    pub metadata: Metadata,
    pub spec: PodSpec,
    pub status: PodStatus,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the names are the API's")]
pub struct PodSpec {
    pub containers: Vec<Container>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the names are the API's")]
pub struct Container {
    pub name: String,
    pub ports: Vec<ContainerPort>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the names are the API's")]
pub struct ContainerPort {
    pub name: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs, reason = "the names are the API's")]
pub struct PodStatus {
    pub phase: String,
    pub conditions: Vec<PodCondition>,
    pub container_statuses: Vec<ContainerStatus>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the names are the API's")]
pub struct PodCondition {
    #[serde(rename = "type")]
    pub kind: String,
    pub status: String,
    pub reason: String,
    pub message: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the names are the API's")]
pub struct ContainerStatus {
    pub name: String,
    pub state: BTreeMap<String, Value>,
}

/// A Node.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the names are the API's")]
pub struct Node {
    pub metadata: Metadata,
    pub status: NodeStatus,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the names are the API's")]
pub struct NodeStatus {
    pub addresses: Vec<NodeAddress>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the names are the API's")]
pub struct NodeAddress {
    #[serde(rename = "type")]
    pub kind: String,
    pub address: String,
}

impl Service {
    /// Whether a proxy has anything to do for it.
    pub fn is_proxied(&self) -> bool {
        let labels = &self.metadata.labels;
        self.spec.kind != "ExternalName"
            && !self.addresses().is_empty()
            && !labels.contains_key("service.kubernetes.io/service-proxy-name")
    }

    fn cluster_ips(&self) -> Vec<IpAddr> {
        let one = std::slice::from_ref(&self.spec.cluster_ip);
        let all = match self.spec.cluster_ips.is_empty() {
            true => one,
            false => &self.spec.cluster_ips,
        };
        parse(all.iter())
    }

    /// Every address that it answers on, but for NodePorts.
    pub fn addresses(&self) -> Vec<(FrontendKind, IpAddr)> {
        let ingress = &self.status.load_balancer.ingress;
        let proxied = |i: &&Ingress| i.ip_mode.as_deref() != Some("Proxy");
        let balancers = ingress.iter().filter(proxied).filter_map(|i| i.ip.as_ref());
        let lists = [
            (FrontendKind::ClusterIP, self.cluster_ips()),
            (
                FrontendKind::ExternalIP,
                parse(self.spec.external_ips.iter()),
            ),
            (FrontendKind::LoadBalancer, parse(balancers)),
        ];
        let all = lists.into_iter();
        all.flat_map(|(kind, list)| list.into_iter().map(move |address| (kind, address)))
            .collect()
    }
}

fn parse<'a>(texts: impl Iterator<Item = &'a String>) -> Vec<IpAddr> {
    texts.filter_map(|text| text.parse().ok()).collect()
}

impl Endpoint {
    /// Its state.
    pub fn state(&self) -> EndpointState {
        let ready = self.conditions.ready.unwrap_or(true);
        let serving = self.conditions.serving.unwrap_or(ready);
        match (ready, self.conditions.terminating.unwrap_or(false), serving) {
            (true, false, _) => EndpointState::Ready,
            (_, true, true) => EndpointState::ServingTerminating,
            (_, true, false) => EndpointState::Terminating,
            (false, false, _) => EndpointState::NotReady,
        }
    }
}

impl Objects {
    /// Services that are proxied; none where they are not known.
    pub fn proxied(&self) -> impl Iterator<Item = &Service> {
        let services = self.services.as_deref().unwrap_or_default();
        services.iter().filter(|service| service.is_proxied())
    }

    /// The slices of a Service.
    pub fn slices_of<'a>(&'a self, service: &'a Service) -> impl Iterator<Item = &'a Slice> {
        let slices = self.slices.as_deref().unwrap_or_default();
        slices.iter().filter(|slice| slice.is_of(service))
    }

    /// The own Node by its name.
    pub fn own_node(&self, name: &str) -> Fact<Option<Node>> {
        match &self.nodes_of_directory {
            Some(nodes) => Ok(nodes.iter().find(|n| n.metadata.name == name).cloned()),
            None => self.node.clone(),
        }
    }

    /// Services with a selector of which some port has no ready endpoint.
    pub(super) fn in_need(&self) -> Vec<Service> {
        let bare = |service: &&Service| {
            let ready = |port: &Port| {
                self.targets(service, port)
                    .any(|(_, _, endpoint)| endpoint.state() == EndpointState::Ready)
            };
            !service.spec.selector.is_empty() && !service.spec.ports.iter().all(ready)
        };
        self.proxied().filter(bare).cloned().collect()
    }

    /// The endpoints of a port: address, port, and what else there is.
    pub fn targets<'a>(
        &'a self,
        service: &'a Service,
        port: &'a Port,
    ) -> impl Iterator<Item = (IpAddr, u16, &'a Endpoint)> {
        self.slices_of(service).flat_map(move |slice| {
            let named = |p: &&SlicePort| p.name.as_deref().unwrap_or_default() == port.name;
            let number = slice.ports.iter().find(named).and_then(|p| p.port);
            let endpoints = slice.endpoints.iter();
            endpoints.filter_map(move |endpoint| {
                let address = endpoint.addresses.first()?.parse().ok()?;
                Some((address, number?, endpoint))
            })
        })
    }

    /// What an agent would serve, as far as checks ask: every frontend, and its endpoints with
    /// those in use that are ready. Topology does not count here.
    pub(super) fn views(&self, node: Option<&str>) -> Vec<ServiceView> {
        let view = |service: &Service| ServiceView {
            namespace: service.metadata.namespace.clone(),
            name: service.metadata.name.clone(),
            health_check_node_port: None,
            frontends: self.frontends(service, node),
            usage: None,
        };
        self.proxied().map(view).collect()
    }

    fn frontends(&self, service: &Service, node: Option<&str>) -> Vec<FrontendView> {
        let mut all = Vec::new();
        for port in &service.spec.ports {
            for (kind, address) in service.addresses() {
                let frontend = (kind, Some(address), address.is_ipv6(), port.port);
                all.push(self.frontend(service, port, frontend, node));
            }
            if port.node_port != 0 {
                let mut families: Vec<bool> =
                    service.cluster_ips().iter().map(IpAddr::is_ipv6).collect();
                families.dedup();
                for v6 in families {
                    let frontend = (FrontendKind::NodePort, None, v6, port.node_port);
                    all.push(self.frontend(service, port, frontend, node));
                }
            }
        }
        all
    }

    fn frontend(
        &self,
        service: &Service,
        port: &Port,
        (kind, address, v6, number): (FrontendKind, Option<IpAddr>, bool, u16),
        node: Option<&str>,
    ) -> FrontendView {
        let policy = match kind {
            FrontendKind::ClusterIP => &service.spec.internal_traffic_policy,
            _ => &service.spec.external_traffic_policy,
        };
        let policy = match policy.as_str() {
            "Local" => Policy::Local,
            _ => Policy::Cluster,
        };
        let targets = self
            .targets(service, port)
            .filter(|(a, ..)| a.is_ipv6() == v6);
        let endpoints = targets.map(|(address, port, endpoint)| {
            let state = endpoint.state();
            let here = node.is_some() && endpoint.node_name.as_deref() == node;
            let used = match (state, policy) {
                (EndpointState::Ready, Policy::Cluster) => Some(Used::Cluster),
                (EndpointState::Ready, Policy::Local) if here => Some(Used::Local),
                _ => None,
            };
            EndpointView {
                address,
                port,
                node: endpoint.node_name.clone(),
                zone: None,
                state,
                used,
                reason: None,
            }
        });
        FrontendView {
            kind,
            address,
            family: if v6 { Family::IPv6 } else { Family::IPv4 },
            port: number,
            protocol: match port.protocol.as_str() {
                "UDP" => Protocol::Udp,
                "SCTP" => Protocol::Sctp,
                _ => Protocol::Tcp,
            },
            port_name: port.name.clone(),
            policy,
            affinity_seconds: None,
            source_ranges: Vec::new(),
            endpoints: endpoints.collect(),
        }
    }
}
