// SPDX-License-Identifier: Apache-2.0
//! What the admin socket shows of Services, as JSON. Part of what users may rely on: fields may
//! be added, none changes its meaning.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::accounting::Use;
use super::accounting::book::EndpointUse;
use crate::model;

/// Whether rules are up to date, and why not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusView {
    /// No change has waited for too long.
    pub healthy: bool,
    /// Why the last commit failed, by family; empty if it did not.
    #[serde(default)]
    pub failures: BTreeMap<String, String>,
    /// How long changes have waited, seconds by family; empty if none waits.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub waiting: BTreeMap<String, f64>,
    /// Age in seconds of the last known state, to within ten, if that is what is served: the API
    /// server has not listed everything since the agent started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_file_age: Option<u64>,
    /// What runs here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<About>,
}

impl StatusView {
    /// How long ago the API server said what is served, as `3h 20m`; none if it says so now.
    pub fn stale_since(&self) -> Option<String> {
        let seconds = i64::try_from(self.state_file_age?).unwrap_or(i64::MAX);
        Some(format!("{:#}", SignedDuration::from_secs(seconds)))
    }
}

/// What the agent is, and where its objects come from.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct About {
    /// The own Node's name.
    pub node: String,
    /// `nftables` or `ipvs`.
    pub mode: String,
    /// Its process id, as it sees it.
    pub pid: u32,
    /// The directory of manifests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifests: Option<PathBuf>,
    /// The kubeconfig.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubeconfig: Option<PathBuf>,
    /// The API server that takes the place of the kubeconfig's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
}

/// A Service with all frontends that it answers on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceView {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// `spec.healthCheckNodePort`, if it is served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_check_node_port: Option<u16>,
    /// Frontends: by port, then kind, then address.
    pub frontends: Vec<FrontendView>,
    /// Connections and bytes so far, where accounting is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
}

/// What a Service has used since accounting began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// All of it.
    #[serde(flatten)]
    pub total: Use,
    /// By endpoint; those beyond the limit are in the sum alone.
    pub endpoints: Vec<EndpointUse>,
}

/// An address, protocol and port that a Service answers on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FrontendView {
    /// What kind of address it is.
    pub kind: FrontendKind,
    /// The address, or nothing for a NodePort: it answers on the node's NodePort addresses.
    pub address: Option<IpAddr>,
    /// Family of the address, and of all endpoints.
    pub family: Family,
    /// Port.
    pub port: u16,
    /// Protocol.
    pub protocol: Protocol,
    /// Name of the service port, possibly empty.
    pub port_name: String,
    /// The traffic policy that holds for it.
    pub policy: Policy,
    /// Timeout of session affinity in seconds, if there is affinity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity_seconds: Option<u32>,
    /// Who may connect; empty: everybody.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<String>")]
    pub source_ranges: Vec<IpNet>,
    /// All endpoints of the service port and family, also those that get no traffic.
    pub endpoints: Vec<EndpointView>,
}

/// An endpoint as one frontend sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EndpointView {
    /// Address.
    pub address: IpAddr,
    /// Target port.
    pub port: u16,
    /// Its node, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Its zone, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Readiness.
    pub state: EndpointState,
    /// Which traffic it gets; nothing: none.
    pub used: Option<Used>,
    /// Why it gets no traffic, as `not ready` or `other zone`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What the kernel should hold of one family.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WantedView {
    /// Family.
    pub family: Family,
    /// Kind, name and content of each object ([`Image`](crate::plan::image::Image)).
    pub objects: Vec<(String, String, String)>,
}

/// Kind of a frontend.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum FrontendKind {
    /// `spec.clusterIPs`.
    ClusterIP,
    /// `spec.ports[].nodePort`.
    NodePort,
    /// `status.loadBalancer.ingress[].ip`.
    LoadBalancer,
    /// `spec.externalIPs`.
    ExternalIP,
}

/// Address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Family {
    /// IPv4.
    IPv4,
    /// IPv6.
    IPv6,
}

/// Transport protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// Traffic policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Policy {
    /// Endpoints anywhere.
    Cluster,
    /// Endpoints on this node.
    Local,
}

/// Readiness of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EndpointState {
    /// Ready.
    Ready,
    /// Terminating, and still able to serve.
    ServingTerminating,
    /// Terminating, and not able to serve.
    Terminating,
    /// Not ready.
    NotReady,
}

/// Which traffic an endpoint gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Used {
    /// Traffic under policy Cluster.
    Cluster,
    /// Traffic under policy Local.
    Local,
}

impl From<model::IpFamily> for Family {
    fn from(family: model::IpFamily) -> Self {
        match family {
            model::IpFamily::V4 => Family::IPv4,
            model::IpFamily::V6 => Family::IPv6,
        }
    }
}

impl From<Family> for model::IpFamily {
    fn from(family: Family) -> Self {
        match family {
            Family::IPv4 => model::IpFamily::V4,
            Family::IPv6 => model::IpFamily::V6,
        }
    }
}

impl From<model::Protocol> for Protocol {
    fn from(protocol: model::Protocol) -> Self {
        match protocol {
            model::Protocol::Tcp => Protocol::Tcp,
            model::Protocol::Udp => Protocol::Udp,
            model::Protocol::Sctp => Protocol::Sctp,
        }
    }
}

impl From<model::TrafficPolicy> for Policy {
    fn from(policy: model::TrafficPolicy) -> Self {
        match policy {
            model::TrafficPolicy::Cluster => Policy::Cluster,
            model::TrafficPolicy::Local => Policy::Local,
        }
    }
}

impl From<model::Conditions> for EndpointState {
    fn from(conditions: model::Conditions) -> Self {
        match (conditions.ready, conditions.terminating, conditions.serving) {
            (true, _, _) => EndpointState::Ready,
            (false, true, true) => EndpointState::ServingTerminating,
            (false, true, false) => EndpointState::Terminating,
            (false, false, _) => EndpointState::NotReady,
        }
    }
}
