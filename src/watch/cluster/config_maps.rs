// SPDX-License-Identifier: Apache-2.0
//! The ConfigMaps that annotations name: each is watched by its name, as long as one names it.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::AtomicUsize;

use tokio::sync::mpsc::{self, Sender};
use tokio::sync::watch::Receiver;

use super::follow::{Strategy, follow};
use super::memory::Memory;
use super::secrets::{Named, Wanted};
use super::{Clients, Closed, Shared};
use crate::model::{Event, IngressEvent, Observed, ServiceName};
use crate::watch::Meters;
use crate::watch::wire::ingress::ConfigMap;

/// Events that may wait to be passed on.
const WAITING: usize = 16;

/// The way to them.
pub(super) struct Source {
    pub(super) clients: Clients,
    pub(super) strategy: Strategy,
    pub(super) events: Sender<Event>,
    pub(super) meters: Meters,
    /// Those that are watched anyway.
    pub(super) others: BTreeSet<ServiceName>,
}

impl Source {
    /// Follows until nobody receives events any more.
    pub(super) async fn run(self, mut wanted: Receiver<Wanted>) -> Closed {
        let (sender, mut heard) = mpsc::channel(WAITING);
        let mut named: HashMap<ServiceName, Named> = HashMap::new();
        wanted.mark_changed();
        loop {
            let done = tokio::select! {
                Ok(()) = wanted.changed() => {
                    let now = wanted.borrow_and_update().clone().unwrap_or_default();
                    self.want(&now, &mut named, &sender).await
                }
                // What has been listed is for those who want all of a kind.
                Some(event) = heard.recv() => match event {
                    Event::Synced => Ok(()),
                    event => self.send(event).await,
                },
                () = self.events.closed() => return Closed,
            };
            if let Err(closed) = done {
                return closed;
            }
        }
    }

    async fn want(
        &self,
        now: &BTreeSet<ServiceName>,
        named: &mut HashMap<ServiceName, Named>,
        sender: &Sender<Event>,
    ) -> Result<(), Closed> {
        let left = named.keys().filter(|name| !now.contains(*name));
        let left: Vec<ServiceName> = left.cloned().collect();
        for name in left {
            named.remove(&name);
            let gone = IngressEvent::ConfigMap(name, Observed::gone());
            self.send(Event::Ingress(Box::new(gone))).await?;
        }
        for name in now.difference(&self.others) {
            if !named.contains_key(name) {
                named.insert(name.clone(), self.watch(name, sender));
            }
        }
        Ok(())
    }

    fn watch(&self, name: &ServiceName, sender: &Sender<Event>) -> Named {
        let shared = Shared {
            events: sender.clone(),
            unlisted: AtomicUsize::new(1),
            meters: self.meters.clone(),
            memory: Memory::new(None, self.meters.clone()),
        };
        let api = self.clients.within(Some(&name.namespace));
        let (field, strategy) = (format!("metadata.name={}", name.name), self.strategy);
        Named(tokio::spawn(async move {
            let Closed = follow::<ConfigMap>(api, "", &field, strategy, &shared).await;
        }))
    }

    async fn send(&self, event: Event) -> Result<(), Closed> {
        self.events.send(event).await.map_err(|_| Closed)
    }
}
