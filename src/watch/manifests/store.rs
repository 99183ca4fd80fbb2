// SPDX-License-Identifier: Apache-2.0
//! Which file says what, and the events that a changed file gives. PURE.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use super::parse::{Broken, Item};
use crate::model::{EndpointSlice, Event, Observed, ServiceName, SliceName};

/// Names an object among all files.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Service(ServiceName),
    Slice(SliceName),
    Endpoints(ServiceName),
    Node(Arc<str>),
    ServiceCidr(Arc<str>),
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Key::Service(name) => write!(f, "Service {name}"),
            Key::Slice(name) => write!(f, "EndpointSlice {name}"),
            Key::Endpoints(name) => write!(f, "Endpoints {name}"),
            Key::Node(name) => write!(f, "Node {name}"),
            Key::ServiceCidr(name) => write!(f, "ServiceCIDR {name}"),
        }
    }
}

/// What a changed file leads to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Update {
    /// News, in order.
    pub(super) events: Vec<Event>,
    /// Files whose version of an object counts from now on: to be read again.
    pub(super) read_again: BTreeSet<Arc<str>>,
}

/// All files and what they say. Of objects only the names are kept.
#[derive(Debug)]
pub(super) struct Store {
    node_name: Arc<str>,
    files: BTreeMap<Arc<str>, HashSet<Key>>,
    owners: HashMap<Key, Arc<str>>,
    /// Files that have an object which a file with a smaller name has too.
    waiting: HashMap<Key, BTreeSet<Arc<str>>>,
    /// Services with a selector: their Endpoints are not for us.
    selecting: HashSet<ServiceName>,
    endpoints: HashMap<ServiceName, Vec<(SliceName, Observed<EndpointSlice>)>>,
}

impl Store {
    /// Knows nothing yet.
    pub(super) fn new(node_name: Arc<str>) -> Self {
        Self {
            node_name,
            files: BTreeMap::new(),
            owners: HashMap::new(),
            waiting: HashMap::new(),
            selecting: HashSet::new(),
            endpoints: HashMap::new(),
        }
    }

    /// The files that are known.
    pub(super) fn files(&self) -> impl Iterator<Item = &Arc<str>> {
        self.files.keys()
    }

    /// A file was read. A broken one keeps what it said before.
    pub(super) fn read(&mut self, file: &Arc<str>, content: Result<Vec<Item>, Broken>) -> Update {
        let mut update = Update::default();
        let mut reasons = Vec::new();
        match content {
            Err(broken) => reasons.push(broken.to_string()),
            Ok(items) => {
                let mut said = HashSet::new();
                for item in items {
                    let key = key(&item);
                    if !said.insert(key.clone()) {
                        reasons.push(format!("{key} is there twice, the first one counts"));
                    } else if let Err(reason) = self.take(file, &key, &mut update) {
                        reasons.push(reason);
                    } else {
                        self.say(item, &mut update.events);
                    }
                }
                let before = self.files.insert(file.clone(), said).unwrap_or_default();
                let now = self.files.get(file).cloned().unwrap_or_default();
                before
                    .difference(&now)
                    .for_each(|key| self.release(file, key, &mut update));
            }
        }
        let (name, reason) = (file.to_string(), reasons.join("; "));
        update.events.push(Event::Source { name, reason });
        update
    }

    /// A file is no longer there.
    pub(super) fn removed(&mut self, file: &Arc<str>) -> Update {
        let mut update = Update::default();
        for key in self.files.remove(file).unwrap_or_default() {
            self.release(file, &key, &mut update);
        }
        let name = file.to_string();
        update.events.push(Event::Source {
            name,
            reason: String::new(),
        });
        update
    }

    /// Makes the file the owner of the object, unless one with a smaller name has it.
    fn take(&mut self, file: &Arc<str>, key: &Key, update: &mut Update) -> Result<(), String> {
        match self.owners.get(key).filter(|owner| *owner != file).cloned() {
            Some(owner) if owner < *file => {
                self.waiting
                    .entry(key.clone())
                    .or_default()
                    .insert(file.clone());
                return Err(format!("{key} is in {owner} already"));
            }
            Some(loser) => {
                // Read once more, it reports that its version does not count.
                self.waiting
                    .entry(key.clone())
                    .or_default()
                    .insert(loser.clone());
                update.read_again.insert(loser);
            }
            None => {}
        }
        self.owners.insert(key.clone(), file.clone());
        Ok(())
    }

    /// The file has the object no longer: the next one's version counts, or it is gone.
    fn release(&mut self, file: &Arc<str>, key: &Key, update: &mut Update) {
        if let Some(waiting) = self.waiting.get_mut(key) {
            waiting.remove(file);
        }
        if self.owners.get(key) != Some(file) {
            return;
        }
        self.owners.remove(key);
        let next = self.waiting.get(key).and_then(|w| w.first().cloned());
        self.waiting
            .retain(|k, waiting| k != key || !waiting.is_empty());
        match next {
            Some(next) => drop(update.read_again.insert(next)),
            None => self.say_gone(key, &mut update.events),
        }
    }

    fn say(&mut self, item: Item, events: &mut Vec<Event>) {
        match item {
            Item::Service(name, observed, selects) => {
                events.push(Event::Service(name.clone(), observed));
                self.selects(&name, selects, events);
            }
            Item::Slice(name, observed) => events.push(Event::Slice(name, observed)),
            Item::Endpoints(name, slices) => {
                self.hide_endpoints(&name, events);
                self.endpoints.insert(name.clone(), slices);
                self.show_endpoints(&name, events);
            }
            Item::Node(name, observed) if name == self.node_name => {
                events.push(Event::Node(observed));
            }
            Item::Node(..) => {}
            Item::ServiceCidr(name, observed) => events.push(Event::ServiceCidr(name, observed)),
        }
    }

    fn say_gone(&mut self, key: &Key, events: &mut Vec<Event>) {
        match key {
            Key::Service(name) => {
                events.push(Event::Service(name.clone(), Observed::gone()));
                self.selects(name, false, events);
            }
            Key::Slice(name) => events.push(Event::Slice(name.clone(), Observed::gone())),
            Key::Endpoints(name) => {
                self.hide_endpoints(name, events);
                self.endpoints.remove(name);
            }
            Key::Node(name) if *name == self.node_name => {
                events.push(Event::Node(Observed::gone()));
            }
            Key::Node(_) => {}
            Key::ServiceCidr(name) => {
                events.push(Event::ServiceCidr(name.clone(), Observed::gone()));
            }
        }
    }

    /// Endpoints count only for a Service without selector: of others, slices are made.
    fn selects(&mut self, name: &ServiceName, selects: bool, events: &mut Vec<Event>) {
        match selects {
            true if self.selecting.insert(name.clone()) => self.hide_endpoints(name, events),
            false if self.selecting.remove(name) => self.show_endpoints(name, events),
            _ => {}
        }
    }

    fn show_endpoints(&self, name: &ServiceName, events: &mut Vec<Event>) {
        if !self.selecting.contains(name) {
            let slices = self.endpoints.get(name).into_iter().flatten().cloned();
            events.extend(slices.map(|(name, observed)| Event::Slice(name, observed)));
        }
    }

    fn hide_endpoints(&self, name: &ServiceName, events: &mut Vec<Event>) {
        let slices = self.endpoints.get(name).into_iter().flatten();
        events.extend(slices.map(|(name, _)| Event::Slice(name.clone(), Observed::gone())));
    }
}

fn key(item: &Item) -> Key {
    match item {
        Item::Service(name, ..) => Key::Service(name.clone()),
        Item::Slice(name, _) => Key::Slice(name.clone()),
        Item::Endpoints(name, _) => Key::Endpoints(name.clone()),
        Item::Node(name, _) => Key::Node(name.clone()),
        Item::ServiceCidr(name, _) => Key::ServiceCidr(name.clone()),
    }
}
