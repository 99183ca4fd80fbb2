// SPDX-License-Identifier: Apache-2.0
//! What only the Ingress sidecar reads: Ingress and IngressClass (networking.k8s.io/v1), Secret and
//! ConfigMap (v1), and another side of Service (v1).

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;

use super::{Meta, Number, nullable};

/// All annotations.
pub type Texts = BTreeMap<String, String>;

/// An Ingress (networking.k8s.io/v1).
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Ingress {
    /// `metadata`.
    #[serde(deserialize_with = "nullable")]
    pub metadata: Meta<Texts>,
    /// `spec`.
    #[serde(deserialize_with = "nullable")]
    pub spec: IngressSpec,
    /// `status`.
    #[serde(deserialize_with = "nullable")]
    pub status: IngressStatus,
}

/// `spec` of an [`Ingress`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IngressSpec {
    /// `ingressClassName`.
    pub ingress_class_name: Option<String>,
    /// `defaultBackend`.
    pub default_backend: Option<Backend>,
    /// `rules`.
    #[serde(deserialize_with = "nullable")]
    pub rules: Vec<Rule>,
    /// `tls`.
    #[serde(deserialize_with = "nullable")]
    pub tls: Vec<Tls>,
}

/// A rule of an [`Ingress`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Rule {
    /// `host`.
    pub host: Option<String>,
    /// `http`.
    #[serde(deserialize_with = "nullable")]
    pub http: Http,
}

/// `http` of a [`Rule`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Http {
    /// `paths`.
    #[serde(deserialize_with = "nullable")]
    pub paths: Vec<Path>,
}

/// A path of a [`Rule`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Path {
    /// `path`.
    pub path: Option<String>,
    /// `pathType`.
    pub path_type: Option<String>,
    /// `backend`.
    pub backend: Option<Backend>,
}

/// Where requests go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Backend {
    /// `service`.
    pub service: Option<BackendService>,
    /// `resource`.
    pub resource: Option<Resource>,
}

/// `resource` of a [`Backend`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Resource {
    /// `kind`.
    pub kind: Option<String>,
    /// `name`.
    pub name: Option<String>,
}

/// `service` of a [`Backend`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BackendService {
    /// `name`.
    pub name: Option<String>,
    /// `port`.
    #[serde(deserialize_with = "nullable")]
    pub port: BackendPort,
}

/// `port` of a [`BackendService`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BackendPort {
    /// `name`.
    pub name: Option<String>,
    /// `number`.
    pub number: Option<Number>,
}

/// An entry of `spec.tls`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Tls {
    /// `hosts`.
    #[serde(deserialize_with = "nullable")]
    pub hosts: Vec<String>,
    /// `secretName`.
    pub secret_name: Option<String>,
}

/// `status` of an [`Ingress`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IngressStatus {
    /// `loadBalancer`.
    #[serde(deserialize_with = "nullable")]
    pub load_balancer: LoadBalancer,
}

/// `status.loadBalancer`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LoadBalancer {
    /// `ingress`.
    #[serde(deserialize_with = "nullable")]
    pub ingress: Vec<Point>,
}

/// Where an [`Ingress`] is served.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Point {
    /// `ip`.
    pub ip: Option<String>,
    /// `hostname`.
    pub hostname: Option<String>,
}

/// An IngressClass (networking.k8s.io/v1).
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IngressClass {
    /// `metadata`.
    #[serde(deserialize_with = "nullable")]
    pub metadata: Meta<Texts>,
    /// `spec`.
    #[serde(deserialize_with = "nullable")]
    pub spec: IngressClassSpec,
}

/// `spec` of an [`IngressClass`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IngressClassSpec {
    /// `controller`.
    pub controller: Option<String>,
}

/// A Service (v1), as an upstream.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Upstream {
    /// `metadata`.
    #[serde(deserialize_with = "nullable")]
    pub metadata: Meta,
    /// `spec`.
    #[serde(deserialize_with = "nullable")]
    pub spec: UpstreamSpec,
}

/// `spec` of an [`Upstream`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UpstreamSpec {
    /// `type`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// `externalName`.
    pub external_name: Option<String>,
    /// `clusterIP`.
    #[serde(rename = "clusterIP")]
    pub cluster_ip: Option<String>,
    /// `ipFamilies`.
    #[serde(deserialize_with = "nullable")]
    pub ip_families: Vec<String>,
    /// `selector`.
    #[serde(deserialize_with = "nullable")]
    pub selector: super::Selector,
    /// `ports`.
    #[serde(deserialize_with = "nullable")]
    pub ports: Vec<UpstreamPort>,
}

/// A port of an [`Upstream`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UpstreamPort {
    /// `name`.
    pub name: Option<String>,
    /// `protocol`.
    pub protocol: Option<String>,
    /// `port`.
    pub port: Option<Number>,
    /// `targetPort`.
    pub target_port: Option<Number>,
    /// `appProtocol`.
    pub app_protocol: Option<String>,
}

/// An EndpointSlice (discovery.k8s.io/v1) of any Service, also of a headless one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(transparent)]
pub struct AnySlice(pub super::EndpointSlice);

/// A Secret (v1).
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Secret {
    /// `metadata`.
    #[serde(deserialize_with = "nullable")]
    pub metadata: Meta,
    /// `type`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// `data`, in base64.
    #[serde(deserialize_with = "nullable")]
    pub data: SecretData,
    /// `stringData`: plain text, only in manifests.
    #[serde(deserialize_with = "nullable")]
    pub string_data: SecretData,
}

/// The parts of a [`Secret`] that an Ingress may need.
#[derive(Clone, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(default)]
pub struct SecretData {
    /// `tls.crt`.
    #[serde(rename = "tls.crt")]
    pub certificate: Option<String>,
    /// `tls.key`.
    #[serde(rename = "tls.key")]
    pub key: Option<String>,
    /// `ca.crt`.
    #[serde(rename = "ca.crt")]
    pub authority: Option<String>,
    /// `auth`.
    pub auth: Option<String>,
    /// All others.
    #[serde(flatten)]
    pub others: BTreeMap<String, Option<String>>,
}

impl fmt::Debug for SecretData {
    /// Nothing of it: it is secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretData").finish_non_exhaustive()
    }
}

/// A ConfigMap (v1).
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConfigMap {
    /// `metadata`.
    #[serde(deserialize_with = "nullable")]
    pub metadata: Meta,
    /// `data`.
    #[serde(deserialize_with = "nullable")]
    pub data: Texts,
}
