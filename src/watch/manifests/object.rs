// SPDX-License-Identifier: Apache-2.0
//! The kinds that a manifest may hold, and what tells their objects apart.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

use crate::model::{
    EndpointSlice, Event, IngressEvent, Node, ObjectRef, Observed, Service, ServiceName, SliceName,
};
use crate::watch::{convert, wire};

/// A kind that a proxy reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Service,
    EndpointSlice,
    Endpoints,
    Node,
    ServiceCidr,
    Ingress,
    IngressClass,
    Secret,
    ConfigMap,
}

/// Who reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Audience {
    /// The L4 agent.
    Services,
    /// The Ingress sidecar.
    Ingress,
}

/// Whose objects are read, and which of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading<'a> {
    /// The name of the own Node.
    pub(super) own: &'a str,
    pub(super) audience: Audience,
}

impl Reading<'_> {
    /// Whether objects of the kind need to be parsed at all.
    pub(super) fn wants(self, kind: Kind) -> bool {
        match kind {
            Kind::Service | Kind::EndpointSlice | Kind::Endpoints | Kind::Node => true,
            Kind::ServiceCidr => self.audience == Audience::Services,
            Kind::Ingress | Kind::IngressClass | Kind::Secret | Kind::ConfigMap => {
                self.audience == Audience::Ingress
            }
        }
    }
}

/// What the head of a document announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// One object.
    One(Kind),
    /// Many, each with a head of its own, or all of this kind.
    List(Option<Kind>),
    /// Nothing that a proxy reads.
    Other,
}

impl Kind {
    /// A missing apiVersion fits any kind: items of typed lists have none.
    fn of(api_version: &str, kind: &str) -> Option<Self> {
        Some(match (api_version, kind) {
            ("v1" | "", "Service") => Kind::Service,
            ("discovery.k8s.io/v1" | "", "EndpointSlice") => Kind::EndpointSlice,
            ("v1" | "", "Endpoints") => Kind::Endpoints,
            ("v1" | "", "Node") => Kind::Node,
            ("networking.k8s.io/v1" | "networking.k8s.io/v1beta1" | "", "ServiceCIDR") => {
                Kind::ServiceCidr
            }
            ("networking.k8s.io/v1" | "", "Ingress") => Kind::Ingress,
            ("networking.k8s.io/v1" | "", "IngressClass") => Kind::IngressClass,
            ("v1" | "", "Secret") => Kind::Secret,
            ("v1" | "", "ConfigMap") => Kind::ConfigMap,
            _ => return None,
        })
    }
}

impl Content {
    /// What `apiVersion` and `kind` mean. A Knative Service, say, is none of ours.
    pub(super) fn of(api_version: &str, kind: &str) -> Self {
        if let Some(kind) = Kind::of(api_version, kind) {
            return Content::One(kind);
        }
        match kind.strip_suffix("List") {
            Some("") if matches!(api_version, "v1" | "") => Content::List(None),
            Some(kind) => {
                Kind::of(api_version, kind).map_or(Content::Other, |kind| Content::List(Some(kind)))
            }
            None => Content::Other,
        }
    }
}

/// An object's kind and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Key {
    Service(ServiceName),
    Slice(SliceName),
    Endpoints(SliceName),
    /// The own one.
    Node,
    OtherNode(Arc<str>),
    ServiceCidr(Arc<str>),
    Ingress(ServiceName),
    IngressClass(Arc<str>),
    Secret(ServiceName),
    ConfigMap(ServiceName),
}

impl Key {
    fn object_ref(&self) -> ObjectRef {
        let none: Arc<str> = "".into();
        let (kind, namespace, name) = match self {
            Key::Service(n) => ("Service", n.namespace.clone(), n.name.clone()),
            Key::Slice(n) => ("EndpointSlice", n.namespace.clone(), n.name.clone()),
            Key::Endpoints(n) => ("Endpoints", n.namespace.clone(), n.name.clone()),
            Key::Node => ("Node", none.clone(), none),
            Key::OtherNode(n) => ("Node", none, n.clone()),
            Key::ServiceCidr(n) => ("ServiceCIDR", none, n.clone()),
            Key::Ingress(n) => ("Ingress", n.namespace.clone(), n.name.clone()),
            Key::IngressClass(n) => ("IngressClass", none, n.clone()),
            Key::Secret(n) => ("Secret", n.namespace.clone(), n.name.clone()),
            Key::ConfigMap(n) => ("ConfigMap", n.namespace.clone(), n.name.clone()),
        };
        ObjectRef {
            kind,
            namespace,
            name,
        }
    }
}

impl fmt::Display for Key {
    /// `Service default/web`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Key::Node => f.write_str("the own Node"),
            key => key.object_ref().fmt(f),
        }
    }
}

/// The slices that Endpoints become.
pub(super) type Mirrors = Vec<(SliceName, Observed<EndpointSlice>)>;

/// An object after conversion.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Converted {
    /// With whether it has a selector.
    Service(Box<Observed<Service>>, bool),
    Slice(Box<Observed<EndpointSlice>>),
    Endpoints(Mirrors),
    Node(Box<Observed<Node>>),
    OtherNode(Vec<IpAddr>),
    ServiceCidr(Observed<Vec<ipnet::IpNet>>),
    /// As an upstream, with whether it has a selector.
    Upstream(Box<IngressEvent>, bool),
    /// What only the sidecar reads.
    Ingress(Box<IngressEvent>),
}

/// An object that was read.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fresh {
    pub(super) key: Key,
    /// Of all that matters of the object.
    pub(super) hash: u64,
    pub(super) object: Converted,
}

/// An object that can be read, but not used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unusable {
    /// It has no name.
    Nameless,
    /// Nobody reads its kind.
    Unread,
}

/// The event that an object is there. Endpoints make several, or none: not here.
pub(super) fn found(key: &Key, object: Converted) -> Option<Event> {
    Some(match (key, object) {
        (Key::Service(name), Converted::Service(o, _)) => Event::Service(name.clone(), *o),
        (Key::Slice(name), Converted::Slice(o)) => Event::Slice(name.clone(), *o),
        (Key::Node, Converted::Node(o)) => Event::Node(*o),
        (Key::OtherNode(name), Converted::OtherNode(a)) => Event::OtherNode(name.clone(), a),
        (Key::ServiceCidr(name), Converted::ServiceCidr(o)) => Event::ServiceCidr(name.clone(), o),
        (_, Converted::Upstream(event, _) | Converted::Ingress(event)) => Event::Ingress(event),
        _ => return None,
    })
}

/// The event that an object is gone. Endpoints make several, or none: not here.
pub(super) fn gone(key: &Key, audience: Audience) -> Option<Event> {
    let ingress = |event| Event::Ingress(Box::new(event));
    Some(match key {
        Key::Service(name) if audience == Audience::Ingress => {
            ingress(IngressEvent::Service(name.clone(), Observed::gone()))
        }
        Key::Ingress(name) => ingress(IngressEvent::Ingress(name.clone(), Observed::gone())),
        Key::IngressClass(name) => ingress(IngressEvent::Class(name.clone(), Observed::gone())),
        Key::Secret(name) => ingress(IngressEvent::Secret(name.clone(), Observed::gone())),
        Key::ConfigMap(name) => ingress(IngressEvent::ConfigMap(name.clone(), Observed::gone())),
        Key::Service(name) => Event::Service(name.clone(), Observed::gone()),
        Key::Slice(name) => Event::Slice(name.clone(), Observed::gone()),
        Key::Node => Event::Node(Observed::gone()),
        Key::OtherNode(name) => Event::OtherNode(name.clone(), Vec::new()),
        Key::ServiceCidr(name) => Event::ServiceCidr(name.clone(), Observed::gone()),
        Key::Endpoints(_) => return None,
    })
}

fn fresh(key: Key, object: &impl Hash, converted: Converted) -> Fresh {
    let mut hasher = DefaultHasher::new();
    object.hash(&mut hasher);
    Fresh {
        key,
        hash: hasher.finish(),
        object: converted,
    }
}

pub(super) fn service(object: &wire::Service) -> Result<Fresh, Unusable> {
    let name = convert::service_name(&object.metadata).ok_or(Unusable::Nameless)?;
    let converted = convert::service(&name, object);
    let selector = object.spec.selector.present;
    Ok(fresh(
        Key::Service(name),
        object,
        Converted::Service(Box::new(converted), selector),
    ))
}

pub(super) fn slice(object: &wire::EndpointSlice, audience: Audience) -> Result<Fresh, Unusable> {
    let name = convert::slice_name(&object.metadata).ok_or(Unusable::Nameless)?;
    let converted = match audience {
        Audience::Services => convert::slice(&name, object),
        Audience::Ingress => convert::any_slice(&name, object),
    };
    Ok(fresh(
        Key::Slice(name),
        object,
        Converted::Slice(Box::new(converted)),
    ))
}

pub(super) fn endpoints(object: &wire::Endpoints) -> Result<Fresh, Unusable> {
    let name = convert::slice_name(&object.metadata).ok_or(Unusable::Nameless)?;
    let converted = convert::endpoints(&name, object);
    Ok(fresh(
        Key::Endpoints(name),
        object,
        Converted::Endpoints(converted),
    ))
}

pub(super) fn node(object: &wire::Node, own: &str) -> Result<Fresh, Unusable> {
    let name = convert::cluster_name(&object.metadata).ok_or(Unusable::Nameless)?;
    if *name != *own {
        let addresses = convert::other_node(object);
        let converted = Converted::OtherNode(addresses.clone());
        return Ok(fresh(Key::OtherNode(name), &addresses, converted));
    }
    let converted = convert::node(&name, object);
    Ok(fresh(
        Key::Node,
        object,
        Converted::Node(Box::new(converted)),
    ))
}

pub(super) fn service_cidr(object: &wire::ServiceCidr) -> Result<Fresh, Unusable> {
    let name = convert::cluster_name(&object.metadata).ok_or(Unusable::Nameless)?;
    let converted = convert::service_cidr(object);
    Ok(fresh(
        Key::ServiceCidr(name),
        object,
        Converted::ServiceCidr(converted),
    ))
}

pub(super) fn upstream(object: &wire::ingress::Upstream) -> Result<Fresh, Unusable> {
    let name = convert::service_name(&object.metadata).ok_or(Unusable::Nameless)?;
    let event = IngressEvent::Service(name.clone(), convert::upstream(&name, object));
    let converted = Converted::Upstream(Box::new(event), object.spec.selector.present);
    Ok(fresh(Key::Service(name), object, converted))
}

pub(super) fn ingress(object: &wire::ingress::Ingress) -> Result<Fresh, Unusable> {
    let name = convert::service_name(&object.metadata).ok_or(Unusable::Nameless)?;
    let event = IngressEvent::Ingress(name.clone(), convert::ingress(&name, object));
    let converted = Converted::Ingress(Box::new(event));
    Ok(fresh(Key::Ingress(name), object, converted))
}

pub(super) fn ingress_class(object: &wire::ingress::IngressClass) -> Result<Fresh, Unusable> {
    let name = convert::cluster_name(&object.metadata).ok_or(Unusable::Nameless)?;
    let event = IngressEvent::Class(name.clone(), convert::ingress_class(&name, object));
    let converted = Converted::Ingress(Box::new(event));
    Ok(fresh(Key::IngressClass(name), object, converted))
}

pub(super) fn secret(object: &wire::ingress::Secret) -> Result<Fresh, Unusable> {
    let name = convert::service_name(&object.metadata).ok_or(Unusable::Nameless)?;
    let event = IngressEvent::Secret(name.clone(), convert::secret(&name, object));
    let converted = Converted::Ingress(Box::new(event));
    Ok(fresh(Key::Secret(name), object, converted))
}

pub(super) fn config_map(object: &wire::ingress::ConfigMap) -> Result<Fresh, Unusable> {
    let name = convert::service_name(&object.metadata).ok_or(Unusable::Nameless)?;
    let event = IngressEvent::ConfigMap(name.clone(), convert::config_map(&name, object));
    let converted = Converted::Ingress(Box::new(event));
    Ok(fresh(Key::ConfigMap(name), object, converted))
}
