// SPDX-License-Identifier: Apache-2.0
//! The watched kinds, as kube wants to know them.

use std::borrow::Cow;
use std::fmt::{Debug, Display};
use std::hash::Hash;
use std::sync::Arc;

use kube::Resource;
use kube::core::{DynamicResourceScope, ObjectMeta};
use serde::de::{Deserialize, DeserializeOwned, Deserializer};
use serde_json::{Value, to_value};

use crate::model::{Event, Observed, ServiceName, SliceName};
use crate::watch::convert;
use crate::watch::wire::{EndpointSlice, Node, Service, ServiceCidr};

/// A kind that is watched.
pub(super) trait Follow: DeserializeOwned + Clone + Debug + Send + 'static {
    /// What tells objects of the kind apart.
    type Name: Clone + Eq + Hash + Send + Display;

    const KIND: &'static str;
    const GROUP: &'static str;
    const PLURAL: &'static str;
    /// Whether the proxy works without it, so that a server need not have or show it.
    const OPTIONAL: bool = false;
    /// Whether nothing may be programmed while the server withholds it.
    const HOLDS_UP: bool = true;

    /// The kind's name in the file of the last known state; empty if it is not kept there.
    const REMEMBERED: &'static str = "";

    /// The object as it is kept there.
    fn to_json(&self) -> Option<Value> {
        None
    }

    /// Takes `metadata.resourceVersion` away.
    fn resource_version(&mut self) -> Option<String>;
    fn name(&self) -> Option<Self::Name>;
    fn found(&self, name: Self::Name) -> Event;
    fn gone(name: Self::Name) -> Event;
}

impl Follow for Service {
    type Name = ServiceName;
    const KIND: &'static str = "Service";
    const GROUP: &'static str = "";
    const PLURAL: &'static str = "services";
    const REMEMBERED: &'static str = "Service";

    fn to_json(&self) -> Option<Value> {
        to_value(self).ok()
    }
    fn resource_version(&mut self) -> Option<String> {
        self.metadata.resource_version.take()
    }
    fn name(&self) -> Option<ServiceName> {
        convert::service_name(&self.metadata)
    }
    fn found(&self, name: ServiceName) -> Event {
        let observed = convert::service(&name, self);
        Event::Service(name, observed)
    }
    fn gone(name: ServiceName) -> Event {
        Event::Service(name, Observed::gone())
    }
}

impl Follow for EndpointSlice {
    type Name = SliceName;
    const KIND: &'static str = "EndpointSlice";
    const GROUP: &'static str = "discovery.k8s.io";
    const PLURAL: &'static str = "endpointslices";
    const REMEMBERED: &'static str = "EndpointSlice";

    fn to_json(&self) -> Option<Value> {
        to_value(self).ok()
    }
    fn resource_version(&mut self) -> Option<String> {
        self.metadata.resource_version.take()
    }
    fn name(&self) -> Option<SliceName> {
        convert::slice_name(&self.metadata)
    }
    fn found(&self, name: SliceName) -> Event {
        let observed = convert::slice(&name, self);
        Event::Slice(name, observed)
    }
    fn gone(name: SliceName) -> Event {
        Event::Slice(name, Observed::gone())
    }
}

impl Follow for Node {
    type Name = Arc<str>;
    const KIND: &'static str = "Node";
    const GROUP: &'static str = "";
    const PLURAL: &'static str = "nodes";
    const HOLDS_UP: bool = false;
    const REMEMBERED: &'static str = "Node";

    fn to_json(&self) -> Option<Value> {
        to_value(self).ok()
    }
    fn resource_version(&mut self) -> Option<String> {
        self.metadata.resource_version.take()
    }
    fn name(&self) -> Option<Arc<str>> {
        convert::cluster_name(&self.metadata)
    }
    fn found(&self, name: Arc<str>) -> Event {
        Event::Node(convert::node(&name, self))
    }
    fn gone(_: Arc<str>) -> Event {
        Event::Node(Observed::gone())
    }
}

/// A Node that is not the own one.
#[derive(Debug, Clone)]
pub(super) struct OtherNode(Node);

impl<'de> Deserialize<'de> for OtherNode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Node::deserialize(deserializer).map(Self)
    }
}

impl Follow for OtherNode {
    type Name = Arc<str>;
    const KIND: &'static str = "Node";
    const GROUP: &'static str = "";
    const PLURAL: &'static str = "nodes";
    const HOLDS_UP: bool = false;
    const REMEMBERED: &'static str = "OtherNode";

    fn to_json(&self) -> Option<Value> {
        to_value(&self.0).ok()
    }
    fn resource_version(&mut self) -> Option<String> {
        self.0.metadata.resource_version.take()
    }
    fn name(&self) -> Option<Arc<str>> {
        convert::cluster_name(&self.0.metadata)
    }
    fn found(&self, name: Arc<str>) -> Event {
        Event::OtherNode(name, convert::other_node(&self.0))
    }
    fn gone(name: Arc<str>) -> Event {
        Event::OtherNode(name, Vec::new())
    }
}

impl Follow for ServiceCidr {
    type Name = Arc<str>;
    const KIND: &'static str = "ServiceCIDR";
    const GROUP: &'static str = "networking.k8s.io";
    const PLURAL: &'static str = "servicecidrs";
    const OPTIONAL: bool = true;
    const REMEMBERED: &'static str = "ServiceCIDR";

    fn to_json(&self) -> Option<Value> {
        to_value(self).ok()
    }
    fn resource_version(&mut self) -> Option<String> {
        self.metadata.resource_version.take()
    }
    fn name(&self) -> Option<Arc<str>> {
        convert::cluster_name(&self.metadata)
    }
    fn found(&self, name: Arc<str>) -> Event {
        Event::ServiceCidr(name, convert::service_cidr(self))
    }
    fn gone(name: Arc<str>) -> Event {
        Event::ServiceCidr(name, Observed::gone())
    }
}

/// An object with as much metadata as kube's watcher needs to go on from it.
#[derive(Debug, Clone)]
pub(super) struct Thin<K> {
    meta: ObjectMeta,
    pub(super) object: K,
}

impl<'de, K: Follow> Deserialize<'de> for Thin<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut object = K::deserialize(deserializer)?;
        let resource_version = object.resource_version();
        Ok(Self {
            meta: ObjectMeta {
                resource_version,
                ..ObjectMeta::default()
            },
            object,
        })
    }
}

impl<K: Follow> Resource for Thin<K> {
    type DynamicType = ();
    /// Any kind may be asked for in all namespaces or in one.
    type Scope = DynamicResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        K::KIND.into()
    }
    fn group((): &()) -> Cow<'_, str> {
        K::GROUP.into()
    }
    fn version((): &()) -> Cow<'_, str> {
        "v1".into()
    }
    fn plural((): &()) -> Cow<'_, str> {
        K::PLURAL.into()
    }
    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.meta
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_the_api() {
        assert_eq!(Thin::<Service>::url_path(&(), None), "/api/v1/services");
        let slices = Thin::<EndpointSlice>::url_path(&(), None);
        assert_eq!(slices, "/apis/discovery.k8s.io/v1/endpointslices");
        let cidrs = Thin::<ServiceCidr>::url_path(&(), None);
        assert_eq!(cidrs, "/apis/networking.k8s.io/v1/servicecidrs");
    }

    #[test]
    fn a_version_is_kept_for_the_watch() {
        let text = r#"{"kind": "Node", "metadata": {"name": "n", "resourceVersion": "7",
            "managedFields": [{"fieldsV1": {"f:x": {}}}]}, "spec": null}"#;
        let node: Thin<Node> = serde_json::from_str(text).expect("a Node");
        assert_eq!(Resource::meta(&node).resource_version.as_deref(), Some("7"));
        assert_eq!(node.object.name().as_deref(), Some("n"));
    }
}
