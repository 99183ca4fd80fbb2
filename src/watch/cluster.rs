// SPDX-License-Identifier: Apache-2.0
//! Objects from an API server.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::ServiceCIDR;
use kube::runtime::watcher::Config;
use kube::{Api, Client};
use tokio::sync::mpsc::Sender;

use super::convert;
use super::stream::{Kind, Source};
use crate::model::{Event, Observed, ServiceName, SliceName};

/// Services of other proxies, and headless ones, are none of ours. The field needs no API server
/// newer than 1.21; conversion leaves headless Services out once more.
const SERVICE_LABELS: &str = "!service.kubernetes.io/service-proxy-name";
const SERVICE_FIELDS: &str = "spec.clusterIP!=None";
/// Slices of headless Services.
const SLICE_LABELS: &str = "!service.kubernetes.io/headless";

/// The kinds that [`run`] watches.
const KINDS: usize = 4;

impl Kind for Service {
    type Key = ServiceName;
    const NAME: &'static str = "services";

    fn key(&self) -> ServiceName {
        convert::name_of(&self.metadata)
    }

    fn event(&self) -> Event {
        Event::Service(self.key(), convert::service(self))
    }

    fn gone(key: ServiceName) -> Event {
        Event::Service(key, Observed::gone())
    }
}

impl Kind for EndpointSlice {
    type Key = SliceName;
    const NAME: &'static str = "endpointslices";

    fn key(&self) -> SliceName {
        let ServiceName { namespace, name } = convert::name_of(&self.metadata);
        SliceName { namespace, name }
    }

    fn event(&self) -> Event {
        Event::Slice(self.key(), convert::slice(self))
    }

    fn gone(key: SliceName) -> Event {
        Event::Slice(key, Observed::gone())
    }
}

impl Kind for Node {
    type Key = ();
    const NAME: &'static str = "nodes";

    /// There is only one.
    fn key(&self) {}

    fn event(&self) -> Event {
        Event::Node(convert::node(self))
    }

    fn gone((): ()) -> Event {
        Event::Node(Observed::gone())
    }
}

impl Kind for ServiceCIDR {
    type Key = Arc<str>;
    const NAME: &'static str = "servicecidrs";
    /// Served since 1.33 only, and older installations' roles do not allow it.
    const OPTIONAL: bool = true;

    fn key(&self) -> Arc<str> {
        self.metadata.name.as_deref().unwrap_or_default().into()
    }

    fn event(&self) -> Event {
        Event::ServiceCidr(self.key(), convert::service_cidr(self))
    }

    fn gone(key: Arc<str>) -> Event {
        Event::ServiceCidr(key, Observed::gone())
    }
}

/// Watches Services, EndpointSlices, the Node `node_name` and ServiceCIDRs, and sends what there is
/// of them, every change, and [`Event::Synced`] once when all have been listed.
///
/// Errors end nothing: they are sent as [`Event::Source`] under the name of the kind, once for each
/// reason, and the watch goes on with a growing pause of at most a minute. Objects that were
/// deleted in the meantime are sent as gone when it works again. A Node that does not exist is
/// fine, and so is an API server without ServiceCIDRs.
///
/// Ends only when `events` is closed. A full channel holds the watches up.
pub async fn run(client: Client, node_name: String, events: Sender<Event>) {
    let pending = AtomicUsize::new(KINDS);
    let services = Config::default()
        .labels(SERVICE_LABELS)
        .fields(SERVICE_FIELDS);
    let slices = Config::default().labels(SLICE_LABELS);
    let node = Config::default().fields(&format!("metadata.name={node_name}"));
    let (s, e, n, c) = (
        Source::<Service>::new(Api::all(client.clone()), services, &events, &pending),
        Source::<EndpointSlice>::new(Api::all(client.clone()), slices, &events, &pending),
        Source::<Node>::new(Api::all(client.clone()), node, &events, &pending),
        Source::<ServiceCIDR>::new(Api::all(client), Config::default(), &events, &pending),
    );
    tokio::select! {
        () = events.closed() => {}
        _ = s.run() => {}
        _ = e.run() => {}
        _ = n.run() => {}
        _ = c.run() => {}
    }
}
