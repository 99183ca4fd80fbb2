// SPDX-License-Identifier: Apache-2.0
//! What all objects have, and the cluster-wide kinds.

use serde::{Deserialize, Serialize};

use super::nullable;

/// `metadata`, with as many annotations as `A` has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(
    rename_all = "camelCase",
    default,
    bound(
        deserialize = "A: Deserialize<'de> + Default",
        serialize = "A: Serialize"
    )
)]
pub struct Meta<A = Annotations> {
    /// `name`.
    pub name: Option<String>,
    /// `namespace`.
    pub namespace: Option<String>,
    /// `resourceVersion`.
    pub resource_version: Option<String>,
    /// `creationTimestamp`, RFC 3339.
    pub creation_timestamp: Option<String>,
    /// `deletionTimestamp`, RFC 3339.
    pub deletion_timestamp: Option<String>,
    /// `labels`.
    #[serde(deserialize_with = "nullable")]
    pub labels: Labels,
    /// `annotations`.
    #[serde(deserialize_with = "nullable")]
    pub annotations: A,
}

/// The labels that mean something to a proxy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(default)]
pub struct Labels {
    /// Another proxy serves this Service.
    #[serde(rename = "service.kubernetes.io/service-proxy-name")]
    pub proxy_name: Option<String>,
    /// This slice belongs to a headless Service.
    #[serde(rename = "service.kubernetes.io/headless")]
    pub headless: Option<String>,
    /// The Service that this slice belongs to.
    #[serde(rename = "kubernetes.io/service-name")]
    pub service_name: Option<String>,
    /// `true`: these Endpoints become no EndpointSlice.
    #[serde(rename = "endpointslice.kubernetes.io/skip-mirror")]
    pub skip_mirror: Option<String>,
    /// The zone of this Node.
    #[serde(rename = "topology.kubernetes.io/zone")]
    pub zone: Option<String>,
}

/// The annotations that mean something to a proxy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(default)]
pub struct Annotations {
    /// When the change that led to this slice happened, RFC 3339.
    #[serde(rename = "endpoints.kubernetes.io/last-change-trigger-time")]
    pub triggered_at: Option<String>,
    /// These Endpoints are a lock of leader election.
    #[serde(rename = "control-plane.alpha.kubernetes.io/leader")]
    pub leader: Option<String>,
    /// The scheduler in IPVS mode.
    #[serde(rename = "ferrule.dev/ipvs-scheduler")]
    pub ipvs_scheduler: Option<String>,
    /// Weights of endpoints in IPVS mode.
    #[serde(rename = "ferrule.dev/ipvs-weights")]
    pub ipvs_weights: Option<String>,
    /// `true`: IPVS schedules each UDP packet by itself.
    #[serde(rename = "ferrule.dev/ipvs-one-packet")]
    pub ipvs_one_packet: Option<String>,
}

/// A Node (v1).
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Node {
    /// `metadata`.
    #[serde(deserialize_with = "nullable")]
    pub metadata: Meta,
    /// `spec`.
    #[serde(deserialize_with = "nullable")]
    pub spec: NodeSpec,
    /// `status`.
    #[serde(deserialize_with = "nullable")]
    pub status: NodeStatus,
}

/// `spec` of a [`Node`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeSpec {
    /// `podCIDR`.
    #[serde(rename = "podCIDR")]
    pub pod_cidr: Option<String>,
    /// `podCIDRs`.
    #[serde(rename = "podCIDRs", deserialize_with = "nullable")]
    pub pod_cidrs: Vec<String>,
    /// `taints`.
    #[serde(deserialize_with = "nullable")]
    pub taints: Vec<Taint>,
}

/// A taint of a [`Node`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Taint {
    /// `key`.
    pub key: Option<String>,
}

/// `status` of a [`Node`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeStatus {
    /// `addresses`.
    #[serde(deserialize_with = "nullable")]
    pub addresses: Vec<Address>,
}

/// An address of a [`Node`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Address {
    /// `type`: `InternalIP`, `ExternalIP`, `Hostname` and others.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// `address`.
    pub address: Option<String>,
}

/// A ServiceCIDR (networking.k8s.io/v1).
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceCidr {
    /// `metadata`.
    #[serde(deserialize_with = "nullable")]
    pub metadata: Meta,
    /// `spec`.
    #[serde(deserialize_with = "nullable")]
    pub spec: ServiceCidrSpec,
}

/// `spec` of a [`ServiceCidr`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceCidrSpec {
    /// `cidrs`.
    #[serde(deserialize_with = "nullable")]
    pub cidrs: Vec<String>,
}
