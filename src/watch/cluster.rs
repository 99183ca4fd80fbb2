// SPDX-License-Identifier: Apache-2.0
//! Objects from an API server: one watch a kind, and the barrier behind which all are complete.

use std::fmt::Debug;
use std::hash::Hash;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::{Stream, StreamExt};
use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::ServiceCIDR;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event as Watched, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::SendError;

use super::convert;
use super::listing::Listing;
use crate::model::{Event, Observed, ServiceName, SliceName};

/// Objects of one page of a list: as many as are in memory at once.
const PAGE: u32 = 500;
/// Kinds that have to be complete before anything is programmed.
const KINDS: usize = 4;

/// How one kind is watched and turned into events.
struct Kind<K, N> {
    /// Its name in messages.
    name: &'static str,
    /// The name by which an object is known to us.
    key: fn(&K) -> N,
    /// From an object, or nothing if it is gone, to an event.
    event: fn(N, Option<&K>) -> Event,
    /// Whether it may be missing: the server may not know it, or not let us read it.
    optional: bool,
}

/// Counts the kinds that are complete.
struct Barrier {
    missing: AtomicUsize,
    events: Sender<Event>,
}

type Sent = Result<(), SendError<Event>>;

/// Watches until nobody listens. Sends [`Event::Synced`] once every kind has been listed.
pub async fn run(client: Client, node_name: String, events: Sender<Event>) {
    let barrier = Arc::new(Barrier {
        missing: AtomicUsize::new(KINDS),
        events,
    });
    let config = watcher::Config::default().page_size(PAGE);
    let services = config
        .clone()
        .labels("!service.kubernetes.io/service-proxy-name")
        .fields("spec.clusterIP!=None");
    let slices = config.clone().labels("!service.kubernetes.io/headless");
    let node = config.clone().fields(&format!("metadata.name={node_name}"));
    // Each ends only when nobody listens, and then all do.
    let _ = tokio::join!(
        follow(
            Api::<Service>::all(client.clone()),
            services,
            service_kind(),
            &barrier
        ),
        follow(
            Api::<EndpointSlice>::all(client.clone()),
            slices,
            slice_kind(),
            &barrier
        ),
        follow(
            Api::<Node>::all(client.clone()),
            node,
            node_kind(),
            &barrier
        ),
        follow(
            Api::<ServiceCIDR>::all(client),
            config,
            cidr_kind(),
            &barrier
        ),
    );
}

fn service_kind() -> Kind<Service, ServiceName> {
    Kind {
        name: "services",
        key: |s| convert::name_of(s.meta()),
        event: |name, s| Event::Service(name, s.map_or_else(Observed::gone, convert::service)),
        optional: false,
    }
}

fn slice_kind() -> Kind<EndpointSlice, SliceName> {
    Kind {
        name: "endpointslices",
        key: |s| SliceName::new(s.namespace().unwrap_or_default(), s.name_any()),
        event: |name, s| Event::Slice(name, s.map_or_else(Observed::gone, convert::slice)),
        optional: false,
    }
}

fn node_kind() -> Kind<Node, ()> {
    Kind {
        name: "nodes",
        key: |_| (),
        event: |(), n| Event::Node(n.map_or_else(Observed::gone, convert::node)),
        optional: false,
    }
}

fn cidr_kind() -> Kind<ServiceCIDR, Arc<str>> {
    Kind {
        name: "servicecidrs",
        key: |c| c.name_any().into(),
        event: |name, c| {
            Event::ServiceCidr(name, c.map_or_else(Observed::gone, convert::service_cidr))
        },
        optional: true,
    }
}

async fn follow<K, N>(api: Api<K>, config: watcher::Config, kind: Kind<K, N>, to: &Barrier) -> Sent
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    N: Eq + Hash + Clone,
{
    let stream = watcher(api, config).default_backoff();
    Follower {
        kind,
        listing: Listing::default(),
        failing: String::new(),
        complete: false,
        to,
    }
    .run(pin!(stream))
    .await
}

struct Follower<'a, K, N> {
    kind: Kind<K, N>,
    listing: Listing<N>,
    /// Why the watch fails at present; empty if it does not.
    failing: String,
    complete: bool,
    to: &'a Barrier,
}

impl<K, N: Eq + Hash + Clone> Follower<'_, K, N> {
    async fn run(
        mut self,
        mut stream: impl Stream<Item = watcher::Result<Watched<K>>> + Unpin,
    ) -> Sent {
        while let Some(item) = stream.next().await {
            match item {
                Ok(event) => {
                    self.fails(String::new()).await?;
                    self.take(event).await?;
                }
                Err(error) => {
                    if self.kind.optional && is_refusal(&error) {
                        self.complete().await?;
                    }
                    self.fails(reason(&error)).await?;
                }
            }
        }
        Ok(())
    }

    async fn take(&mut self, event: Watched<K>) -> Sent {
        match event {
            Watched::Init => self.listing.begin(),
            Watched::InitApply(object) | Watched::Apply(object) => {
                let name = (self.kind.key)(&object);
                self.listing.seen(name.clone());
                self.send((self.kind.event)(name, Some(&object))).await?;
            }
            Watched::Delete(object) => {
                let name = (self.kind.key)(&object);
                self.listing.gone(&name);
                self.send((self.kind.event)(name, None)).await?;
            }
            Watched::InitDone => {
                for name in self.listing.end() {
                    self.send((self.kind.event)(name, None)).await?;
                }
                self.complete().await?;
            }
        }
        Ok(())
    }

    async fn send(&self, event: Event) -> Sent {
        self.to.events.send(event).await
    }

    /// Says once that the watch fails, and that it does no longer.
    async fn fails(&mut self, reason: String) -> Sent {
        if self.failing == reason {
            return Ok(());
        }
        self.failing.clone_from(&reason);
        self.send(Event::Source {
            name: self.kind.name.to_owned(),
            reason,
        })
        .await
    }

    /// The first list is complete.
    async fn complete(&mut self) -> Sent {
        if !std::mem::replace(&mut self.complete, true)
            && self.to.missing.fetch_sub(1, Ordering::AcqRel) == 1
        {
            self.send(Event::Synced).await?;
        }
        Ok(())
    }
}

/// Whether the server does not know the kind or does not let us read it.
fn is_refusal(error: &watcher::Error) -> bool {
    use watcher::Error::{InitialListFailed, WatchStartFailed};
    match error {
        InitialListFailed(kube::Error::Api(status))
        | WatchStartFailed(kube::Error::Api(status)) => {
            matches!(status.code, 403 | 404)
        }
        _ => false,
    }
}

/// The error with its causes, each once: kube's messages hold part of theirs.
fn reason(error: &watcher::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
