// SPDX-License-Identifier: Apache-2.0
//! The kinds that the Ingress sidecar watches.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use futures_util::stream::{FuturesUnordered, StreamExt};
use kube::Client;
use tokio::sync::mpsc::Sender;
use tokio::sync::watch::Receiver;
use tracing::debug;

use super::follow::{Follow, follow};
use super::memory::Memory;
use super::secrets::{self, Wanted};
use super::{Clients, Closed, Shared, config_maps, strategy};
use crate::model::{Event, IngressEvent, Observed, ServiceName, SliceName};
use crate::watch::wire::Node;
use crate::watch::wire::ingress::{AnySlice, ConfigMap, Ingress, IngressClass, Secret, Upstream};
use crate::watch::{Meters, convert};

/// What of a cluster the sidecar watches.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// The own Node.
    pub node_name: String,
    /// Only Ingresses, Services, EndpointSlices and Secrets of this namespace; none: of all.
    pub namespace: Option<String>,
    /// ConfigMaps of any namespace.
    pub config_maps: BTreeSet<ServiceName>,
}

/// Watches Ingresses, IngressClasses, Services as upstreams, EndpointSlices, the own Node, some
/// ConfigMaps, and the Secrets and further ConfigMaps that are `wanted`, until nobody receives events
/// any more.
///
/// [`Event::Synced`] is sent once, after the first complete list of each kind but Secrets. These
/// are looked for as soon as some are wanted, which may be an empty set; then
/// [`IngressEvent::SecretsListed`] follows. A kind that the server withholds holds nothing up but
/// Ingresses, Services and EndpointSlices do.
pub async fn run_ingress(
    client: Client,
    scope: Scope,
    (wanted, wanted_maps): (Receiver<Wanted>, Receiver<Wanted>),
    events: Sender<Event>,
    meters: Meters,
) {
    let strategy = strategy(&client).await;
    debug!(?strategy, "watching the API server");
    let shared = &Shared {
        events: events.clone(),
        unlisted: AtomicUsize::new(5 + scope.config_maps.len()),
        meters: meters.clone(),
        memory: Memory::new(None, meters.clone()),
    };
    let api = Clients(client);
    let namespace = scope.namespace.as_deref();
    let own = format!("metadata.name={}", scope.node_name);
    let secrets = secrets::Source {
        clients: api.clone(),
        namespace: scope.namespace.clone(),
        strategy,
        events: events.clone(),
        meters: meters.clone(),
    };
    let named = config_maps::Source {
        clients: api.clone(),
        strategy,
        events,
        meters,
        others: scope.config_maps.clone(),
    };
    let maps = scope.config_maps.iter().map(|name| {
        let (api, field) = (
            api.within(Some(&name.namespace)),
            format!("metadata.name={}", name.name),
        );
        async move { follow::<ConfigMap>(api, "", &field, strategy, shared).await }
    });
    let mut maps: FuturesUnordered<_> = maps.collect();
    tokio::select! {
        Closed = follow::<Ingress>(api.within(namespace), "", "", strategy, shared) => {}
        Closed = follow::<IngressClass>(api.all(), "", "", strategy, shared) => {}
        Closed = follow::<Upstream>(api.within(namespace), "", "", strategy, shared) => {}
        Closed = follow::<AnySlice>(api.within(namespace), "", "", strategy, shared) => {}
        Closed = follow::<Node>(api.all(), "", &own, strategy, shared) => {}
        Closed = secrets.run(wanted) => {}
        Closed = named.run(wanted_maps) => {}
        Some(Closed) = maps.next() => {}
        () = shared.events.closed() => {}
    }
}

fn event(event: IngressEvent) -> Event {
    Event::Ingress(Box::new(event))
}

impl Follow for Ingress {
    type Name = ServiceName;
    const KIND: &'static str = "Ingress";
    const GROUP: &'static str = "networking.k8s.io";
    const PLURAL: &'static str = "ingresses";

    fn resource_version(&mut self) -> Option<String> {
        self.metadata.resource_version.take()
    }
    fn name(&self) -> Option<ServiceName> {
        convert::service_name(&self.metadata)
    }
    fn found(&self, name: ServiceName) -> Event {
        let observed = convert::ingress(&name, self);
        event(IngressEvent::Ingress(name, observed))
    }
    fn gone(name: ServiceName) -> Event {
        event(IngressEvent::Ingress(name, Observed::gone()))
    }
}

impl Follow for IngressClass {
    type Name = Arc<str>;
    const KIND: &'static str = "IngressClass";
    const GROUP: &'static str = "networking.k8s.io";
    const PLURAL: &'static str = "ingressclasses";
    const HOLDS_UP: bool = false;

    fn resource_version(&mut self) -> Option<String> {
        self.metadata.resource_version.take()
    }
    fn name(&self) -> Option<Arc<str>> {
        convert::cluster_name(&self.metadata)
    }
    fn found(&self, name: Arc<str>) -> Event {
        let observed = convert::ingress_class(&name, self);
        event(IngressEvent::Class(name, observed))
    }
    fn gone(name: Arc<str>) -> Event {
        event(IngressEvent::Class(name, Observed::gone()))
    }
}

impl Follow for Upstream {
    type Name = ServiceName;
    const KIND: &'static str = "Service";
    const GROUP: &'static str = "";
    const PLURAL: &'static str = "services";

    fn resource_version(&mut self) -> Option<String> {
        self.metadata.resource_version.take()
    }
    fn name(&self) -> Option<ServiceName> {
        convert::service_name(&self.metadata)
    }
    fn found(&self, name: ServiceName) -> Event {
        let observed = convert::upstream(&name, self);
        event(IngressEvent::Service(name, observed))
    }
    fn gone(name: ServiceName) -> Event {
        event(IngressEvent::Service(name, Observed::gone()))
    }
}

impl Follow for AnySlice {
    type Name = SliceName;
    const KIND: &'static str = "EndpointSlice";
    const GROUP: &'static str = "discovery.k8s.io";
    const PLURAL: &'static str = "endpointslices";

    fn resource_version(&mut self) -> Option<String> {
        self.0.metadata.resource_version.take()
    }
    fn name(&self) -> Option<SliceName> {
        convert::slice_name(&self.0.metadata)
    }
    fn found(&self, name: SliceName) -> Event {
        let observed = convert::any_slice(&name, &self.0);
        Event::Slice(name, observed)
    }
    fn gone(name: SliceName) -> Event {
        Event::Slice(name, Observed::gone())
    }
}

impl Follow for ConfigMap {
    type Name = ServiceName;
    const KIND: &'static str = "ConfigMap";
    const GROUP: &'static str = "";
    const PLURAL: &'static str = "configmaps";
    const HOLDS_UP: bool = false;

    fn resource_version(&mut self) -> Option<String> {
        self.metadata.resource_version.take()
    }
    fn name(&self) -> Option<ServiceName> {
        convert::service_name(&self.metadata)
    }
    fn found(&self, name: ServiceName) -> Event {
        let observed = convert::config_map(&name, self);
        event(IngressEvent::ConfigMap(name, observed))
    }
    fn gone(name: ServiceName) -> Event {
        event(IngressEvent::ConfigMap(name, Observed::gone()))
    }
}

impl Follow for Secret {
    type Name = ServiceName;
    const KIND: &'static str = "Secret";
    const GROUP: &'static str = "";
    const PLURAL: &'static str = "secrets";
    const HOLDS_UP: bool = false;

    fn resource_version(&mut self) -> Option<String> {
        self.metadata.resource_version.take()
    }
    fn name(&self) -> Option<ServiceName> {
        convert::service_name(&self.metadata)
    }
    fn found(&self, name: ServiceName) -> Event {
        let observed = convert::secret(&name, self);
        event(IngressEvent::Secret(name, observed))
    }
    fn gone(name: ServiceName) -> Event {
        event(IngressEvent::Secret(name, Observed::gone()))
    }
}
