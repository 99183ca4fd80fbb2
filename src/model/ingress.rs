// SPDX-License-Identifier: Apache-2.0
//! Ingress and what it refers to, as far as the sidecar needs them. The L4 agent sees none of it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use super::{IpFamily, ObjectRef, Observed, Protocol, ServiceName};

/// The newest state of one object that only the sidecar reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IngressEvent {
    /// An Ingress, by namespace and name, appeared, changed or vanished.
    Ingress(ServiceName, Observed<Ingress>),
    /// An IngressClass appeared, changed or vanished.
    Class(Arc<str>, Observed<IngressClass>),
    /// A Service, as an upstream, appeared, changed or vanished.
    Service(ServiceName, Observed<UpstreamService>),
    /// A Secret, by namespace and name, appeared, changed or vanished.
    Secret(ServiceName, Observed<Secret>),
    /// A ConfigMap, by namespace and name, appeared, changed or vanished.
    ConfigMap(ServiceName, Observed<ConfigMap>),
    /// All Secrets that were wanted have been looked for.
    SecretsListed,
    /// The addresses of an ExternalName, all of them; none if it does not resolve.
    Resolved(Arc<str>, Vec<IpAddr>),
}

impl IngressEvent {
    /// The object that the event is about, if it is about one.
    pub fn object_ref(&self) -> Option<ObjectRef> {
        let namespaced = |kind, n: &ServiceName| (kind, n.namespace.clone(), n.name.clone());
        let (kind, namespace, name) = match self {
            IngressEvent::Ingress(n, _) => namespaced("Ingress", n),
            IngressEvent::Class(n, _) => ("IngressClass", "".into(), n.clone()),
            IngressEvent::Service(n, _) => namespaced("Service", n),
            IngressEvent::Secret(n, _) => namespaced("Secret", n),
            IngressEvent::ConfigMap(n, _) => namespaced("ConfigMap", n),
            IngressEvent::SecretsListed | IngressEvent::Resolved(..) => return None,
        };
        Some(ObjectRef {
            kind,
            namespace,
            name,
        })
    }

    /// The skipped fields that the event reports.
    pub fn skipped(&self) -> &[String] {
        match self {
            IngressEvent::Ingress(_, o) => &o.skipped,
            IngressEvent::Class(_, o) => &o.skipped,
            IngressEvent::Service(_, o) => &o.skipped,
            IngressEvent::Secret(_, o) => &o.skipped,
            IngressEvent::ConfigMap(_, o) => &o.skipped,
            IngressEvent::SecretsListed | IngressEvent::Resolved(..) => &[],
        }
    }
}

/// An Ingress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ingress {
    /// Namespace and name.
    pub name: ServiceName,
    /// `metadata.creationTimestamp`, seconds since 1970; the older of two Ingresses keeps what both
    /// ask for. An object without one counts as youngest ([`i64::MAX`]).
    pub created: i64,
    /// `spec.ingressClassName`.
    pub class: Option<Arc<str>>,
    /// The annotation `kubernetes.io/ingress.class`.
    pub class_annotation: Option<Arc<str>>,
    /// `spec.defaultBackend`.
    pub default_backend: Option<IngressBackend>,
    /// `spec.rules`, in the order of the object, without those that cannot be used.
    pub rules: Vec<IngressRule>,
    /// `spec.tls`.
    pub tls: Vec<IngressTls>,
    /// The annotations that begin with `nginx.ingress.kubernetes.io/`, without that.
    pub annotations: BTreeMap<Arc<str>, Arc<str>>,
    /// `status.loadBalancer.ingress[]`: each an address or a host name.
    pub addresses: Vec<Arc<str>>,
}

/// A rule of an [`Ingress`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IngressRule {
    /// `host` in lower case: a name, `*.` and a name, or empty for all hosts.
    pub host: Arc<str>,
    /// Its paths; none if the rule has no `http`: then the default backend answers.
    pub paths: Vec<IngressPath>,
}

/// A path of an [`IngressRule`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IngressPath {
    /// `path`; empty only of type ImplementationSpecific.
    pub path: Arc<str>,
    /// `pathType`.
    pub kind: IngressPathType,
    /// `backend`.
    pub backend: IngressBackend,
}

/// `pathType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IngressPathType {
    /// Equal.
    Exact,
    /// Element by element.
    Prefix,
    /// As the controller does it.
    ImplementationSpecific,
}

/// What answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IngressBackend {
    /// A port of a Service in the Ingress's namespace.
    Service {
        /// The name of the Service.
        name: Arc<str>,
        /// Its port.
        port: PortRef,
    },
    /// What cannot be served, as a resource. The path stays taken, so that its requests do not go
    /// to whoever has a shorter one.
    Unusable,
}

/// A port of a Service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PortRef {
    /// By number, 1 to 65,535.
    Number(u16),
    /// By name.
    Name(Arc<str>),
}

impl fmt::Display for PortRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PortRef::Number(number) => number.fmt(f),
            PortRef::Name(name) => name.fmt(f),
        }
    }
}

/// An entry of `spec.tls`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IngressTls {
    /// `hosts` in lower case; none means those of the rules.
    pub hosts: Vec<Arc<str>>,
    /// `secretName`; none means the default certificate.
    pub secret: Option<Arc<str>>,
}

/// An IngressClass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IngressClass {
    /// Its name.
    pub name: Arc<str>,
    /// `metadata.creationTimestamp`, seconds since 1970; [`i64::MAX`] without one.
    pub created: i64,
    /// `spec.controller`.
    pub controller: Arc<str>,
    /// Whether Ingresses that name no class have this one.
    pub is_default: bool,
    /// The annotation `ferrule.dev/behaviour`; none: as the controller has it.
    pub behaviour: Option<Behaviour>,
}

/// How Ingresses are read where Kubernetes leaves it open, or ingress-nginx differs from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Behaviour {
    /// As the documentation of Ingress has it.
    #[default]
    Spec,
    /// As ingress-nginx does it.
    IngressNginx,
}

impl Behaviour {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Spec, Self::IngressNginx];

    /// As it is written: one word in lower case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Behaviour::Spec => "spec",
            Behaviour::IngressNginx => "ingress-nginx",
        }
    }
}

impl fmt::Display for Behaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Behaviour {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|b| b.as_str() == text);
        found.ok_or_else(|| format!("must be spec or ingress-nginx, is {text:?}"))
    }
}

/// A Service as an upstream: unlike for the L4 agent, headless and ExternalName ones count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamService {
    /// Namespace and name.
    pub name: ServiceName,
    /// `spec.externalName` of type ExternalName, in lower case.
    pub external: Option<Arc<str>>,
    /// The family that its first ClusterIP, or `spec.ipFamilies`, has.
    pub family: IpFamily,
    /// Its TCP and UDP ports.
    pub ports: Vec<UpstreamPort>,
}

/// A TCP or UDP port of an [`UpstreamService`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamPort {
    /// `name`, possibly empty.
    pub name: Arc<str>,
    /// `protocol`.
    pub protocol: Protocol,
    /// `port`, 1 to 65,535.
    pub port: u16,
    /// `targetPort` if it is a number: what an ExternalName is asked at.
    pub target: Option<u16>,
    /// `appProtocol`.
    pub app_protocol: Option<Arc<str>>,
}

/// The parts of a Secret that an Ingress may need.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    /// Namespace and name.
    pub name: ServiceName,
    /// `tls.crt`: certificates in PEM.
    pub certificate: Option<Arc<[u8]>>,
    /// `tls.key`: a private key in PEM.
    pub key: Option<Arc<[u8]>>,
    /// `ca.crt`: certificates in PEM.
    pub authority: Option<Arc<[u8]>>,
    /// `auth`: names and passwords as htpasswd writes them.
    pub auth: Option<Arc<[u8]>>,
}

impl fmt::Debug for Secret {
    /// Without what is secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// A ConfigMap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigMap {
    /// Namespace and name.
    pub name: ServiceName,
    /// `data`.
    pub data: BTreeMap<Arc<str>, Arc<str>>,
}
