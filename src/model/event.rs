// SPDX-License-Identifier: Apache-2.0
//! What watching tells the model. The only type that crosses from watch to the rest.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::{EndpointSlice, IngressEvent, Node, Service, ServiceName, SliceName};

/// The newest state of one object, or of the source as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A Service appeared, changed or vanished.
    Service(ServiceName, Observed<Service>),
    /// An EndpointSlice appeared, changed or vanished.
    Slice(SliceName, Observed<EndpointSlice>),
    /// The own Node appeared, changed or vanished.
    Node(Observed<Node>),
    /// The addresses of another Node; none once it is gone. Only IPVS mode has to know them.
    OtherNode(Arc<str>, Vec<IpAddr>),
    /// A ServiceCIDR object (by name) appeared, changed or vanished.
    ServiceCidr(Arc<str>, Observed<Vec<IpNet>>),
    /// The addresses of the kernel's interfaces, all of them, without loopback and IPv6 link-local
    /// ones.
    LocalAddresses(Vec<IpAddr>),
    /// Something that only the Ingress sidecar reads, and that the L4 agent never gets.
    Ingress(Box<IngressEvent>),
    /// Every kind has been listed once: from now on the state is complete.
    Synced,
    /// A source of objects as a whole is unreadable (say, a manifest with a syntax error), or is
    /// readable again (an empty reason). What was known of it stays.
    Source {
        /// File name, or the kind that is watched.
        name: String,
        /// What is wrong with it, with line and column where there are some.
        reason: String,
    },
}

/// What is left of an object after conversion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed<T> {
    /// The object, or nothing if it was deleted, does not concern us or is unusable.
    pub object: Option<T>,
    /// For each field that had to be skipped: its path and the reason, as
    /// `spec.ports[2].port: must be 1 to 65535, is 0`. Empty for good and for deleted objects.
    pub skipped: Vec<String>,
}

impl<T> Observed<T> {
    /// A flawless object.
    pub fn new(object: T) -> Self {
        Self {
            object: Some(object),
            skipped: Vec::new(),
        }
    }

    /// A deleted object, or one that is none of our business.
    pub fn gone() -> Self {
        Self {
            object: None,
            skipped: Vec::new(),
        }
    }

    /// An object that cannot be used at all.
    pub fn rejected(reason: impl Into<String>) -> Self {
        Self {
            object: None,
            skipped: vec![reason.into()],
        }
    }
}

/// Names an object in reports.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectRef {
    /// `Service`, `EndpointSlice`, `Endpoints`, `Node`, `ServiceCIDR`, `Ingress`, `IngressClass`,
    /// `Secret` or `ConfigMap`.
    pub kind: &'static str,
    /// Namespace, empty for cluster-wide kinds.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
}

impl fmt::Display for ObjectRef {
    /// `Service default/web`, or `Node n1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{} {}", self.kind, self.name)
        } else {
            write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
        }
    }
}

impl Event {
    /// The object that the event is about, if it is about one.
    pub fn object_ref(&self) -> Option<ObjectRef> {
        let (kind, namespace, name) = match self {
            Event::Service(n, _) => ("Service", n.namespace.clone(), n.name.clone()),
            Event::Slice(n, _) => ("EndpointSlice", n.namespace.clone(), n.name.clone()),
            Event::ServiceCidr(n, _) => ("ServiceCIDR", "".into(), n.clone()),
            Event::Node(o) => (
                "Node",
                "".into(),
                o.object
                    .as_ref()
                    .map(|n| n.name.clone())
                    .unwrap_or_default(),
            ),
            Event::Ingress(event) => return event.object_ref(),
            Event::OtherNode(n, _) => ("Node", "".into(), n.clone()),
            Event::LocalAddresses(_) | Event::Synced | Event::Source { .. } => return None,
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
            Event::Service(_, o) => &o.skipped,
            Event::Slice(_, o) => &o.skipped,
            Event::Node(o) => &o.skipped,
            Event::ServiceCidr(_, o) => &o.skipped,
            Event::Ingress(event) => event.skipped(),
            Event::OtherNode(..)
            | Event::LocalAddresses(_)
            | Event::Synced
            | Event::Source { .. } => &[],
        }
    }
}
