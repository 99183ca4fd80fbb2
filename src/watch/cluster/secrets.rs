// SPDX-License-Identifier: Apache-2.0
//! The Secrets that are wanted, and no others: what nobody wants is dropped as soon as it is read.
//!
//! Those of type kubernetes.io/tls come by one watch. What is wanted and not among them, as it has
//! another type or is not there, is watched by its name, as kubelets do; so is what was dropped and
//! is wanted now, until it has come.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use tokio::sync::mpsc::{self, Sender};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::follow::{Strategy, follow};
use super::memory::Memory;
use super::{Clients, Closed, Shared};
use crate::model::{Event, IngressEvent, Observed, ServiceName};
use crate::watch::Meters;
use crate::watch::wire::ingress::Secret;

/// The Secrets, or ConfigMaps, that are wanted; none as long as nobody knows.
pub type Wanted = Option<Arc<BTreeSet<ServiceName>>>;

/// Events that may wait for the filter.
const WAITING: usize = 16;

/// The way to the Secrets.
pub(super) struct Source {
    pub(super) clients: Clients,
    pub(super) namespace: Option<String>,
    pub(super) strategy: Strategy,
    pub(super) events: Sender<Event>,
    pub(super) meters: Meters,
}

/// A watch of one object by its name; ended when this goes.
pub(super) struct Named(pub(super) JoinHandle<()>);

impl Drop for Named {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What has come so far.
#[derive(Default)]
struct Known {
    wanted: Arc<BTreeSet<ServiceName>>,
    /// All of type kubernetes.io/tls, wanted or not.
    tls: HashSet<ServiceName>,
    listed: bool,
    named: HashMap<ServiceName, Named>,
    /// Watches by name whose first list is to come before [`IngressEvent::SecretsListed`].
    awaited: Option<usize>,
}

impl Source {
    /// Follows until nobody receives events any more.
    pub(super) async fn run(self, mut wanted: watch::Receiver<Wanted>) -> Closed {
        let mut known = Known::default();
        let Ok(first) = wanted.wait_for(Option::is_some).await.map(|w| w.clone()) else {
            return std::future::pending().await;
        };
        known.wanted = first.unwrap_or_default();
        let (of_type, mut all) = mpsc::channel(WAITING);
        let (by_name, mut single) = mpsc::channel(WAITING);
        let shared = self.shared(of_type);
        let tls = self.clients.within(self.namespace.as_deref());
        let tls = follow::<Secret>(tls, "", "type=kubernetes.io/tls", self.strategy, &shared);
        tokio::pin!(tls);
        loop {
            let done = tokio::select! {
                closed = &mut tls => return closed,
                Some(event) = all.recv() => self.of_type(&mut known, event, &by_name).await,
                Some(event) = single.recv() => self.by_name(&mut known, event).await,
                Ok(()) = wanted.changed() => {
                    let now = wanted.borrow_and_update().clone().unwrap_or_default();
                    self.want(&mut known, now, &by_name).await
                }
                () = self.events.closed() => return Closed,
            };
            if let Err(closed) = done {
                return closed;
            }
        }
    }

    fn shared(&self, events: Sender<Event>) -> Shared {
        Shared {
            events,
            unlisted: AtomicUsize::new(1),
            meters: self.meters.clone(),
            memory: Memory::new(None, Meters::default()),
        }
    }

    async fn send(&self, event: Event) -> Result<(), Closed> {
        self.events.send(event).await.map_err(|_| Closed)
    }

    async fn tell(&self, event: IngressEvent) -> Result<(), Closed> {
        self.send(Event::Ingress(Box::new(event))).await
    }

    /// A word of the watch of all that have the type.
    async fn of_type(
        &self,
        known: &mut Known,
        event: Event,
        by_name: &Sender<Event>,
    ) -> Result<(), Closed> {
        match secret(&event) {
            Some((name, there)) => {
                let name = name.clone();
                let wanted = known.wanted.contains(&name);
                if there {
                    known.named.remove(&name);
                    known.tls.insert(name);
                } else {
                    known.tls.remove(&name);
                    if wanted && known.listed {
                        self.watch(known, name, by_name);
                    }
                }
                if wanted {
                    self.send(event).await
                } else {
                    Ok(())
                }
            }
            None if event == Event::Synced => {
                known.listed = true;
                let others: Vec<_> = known.wanted.iter().cloned().collect();
                let others = others.into_iter().filter(|n| !known.tls.contains(n));
                let others: Vec<_> = others.collect();
                known.awaited = Some(others.len());
                others
                    .into_iter()
                    .for_each(|name| self.watch(known, name, by_name));
                self.listed(known).await
            }
            None => self.send(event).await,
        }
    }

    /// A word of a watch by name.
    async fn by_name(&self, known: &mut Known, event: Event) -> Result<(), Closed> {
        match secret(&event) {
            Some((name, _)) if known.wanted.contains(name) => {
                // Its later changes come with those of all others.
                if known.tls.contains(name) {
                    known.named.remove(name);
                }
                self.send(event).await
            }
            Some(_) => Ok(()),
            None if event == Event::Synced => {
                known.awaited = known.awaited.map(|n| n.saturating_sub(1));
                self.listed(known).await
            }
            None => self.send(event).await,
        }
    }

    async fn listed(&self, known: &mut Known) -> Result<(), Closed> {
        if known.awaited != Some(0) {
            return Ok(());
        }
        known.awaited = None;
        self.tell(IngressEvent::SecretsListed).await
    }

    /// Others are wanted from now on.
    async fn want(
        &self,
        known: &mut Known,
        now: Arc<BTreeSet<ServiceName>>,
        by_name: &Sender<Event>,
    ) -> Result<(), Closed> {
        let before = std::mem::replace(&mut known.wanted, now.clone());
        for name in before.difference(&now) {
            known.named.remove(name);
            let gone = IngressEvent::Secret(name.clone(), Observed::gone());
            self.tell(gone).await?;
        }
        // Before that, the watch of all has not shown yet what it shows.
        if !known.listed {
            return Ok(());
        }
        for name in now.difference(&before) {
            self.watch(known, name.clone(), by_name);
        }
        Ok(())
    }

    fn watch(&self, known: &mut Known, name: ServiceName, by_name: &Sender<Event>) {
        let shared = self.shared(by_name.clone());
        let api = self.clients.within(Some(&name.namespace));
        let (field, strategy) = (format!("metadata.name={}", name.name), self.strategy);
        let task = tokio::spawn(async move {
            let Closed = follow::<Secret>(api, "", &field, strategy, &shared).await;
        });
        known.named.insert(name, Named(task));
    }
}

/// The Secret that an event is about, and whether it is there.
fn secret(event: &Event) -> Option<(&ServiceName, bool)> {
    let Event::Ingress(event) = event else {
        return None;
    };
    match &**event {
        IngressEvent::Secret(name, observed) => Some((name, observed.object.is_some())),
        _ => None,
    }
}
