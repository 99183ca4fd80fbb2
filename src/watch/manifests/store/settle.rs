// SPDX-License-Identifier: Apache-2.0
//! What is left to the end of a round: objects that are gone, or that another file has, and
//! Endpoints, which depend on their Services.

use std::collections::HashMap;

use super::{Fresh, Round, Store, load};
use crate::model::{Event, Observed, ServiceName, SliceName};
use crate::watch::convert::mirror_name;
use crate::watch::manifests::load::Content;
use crate::watch::manifests::object::{Key, gone};

impl Store {
    pub(super) fn settle_dropped(&mut self, round: &mut Round, send: &mut dyn FnMut(Event)) {
        for key in std::mem::take(&mut round.dropped) {
            match self
                .objects
                .get(&key)
                .map(|entry| entry.files.first().cloned())
            {
                None => {}
                Some(None) => self.end(&key, round, send),
                Some(Some(next)) => {
                    self.files
                        .entry(next.clone())
                        .or_default()
                        .outdone
                        .remove(&key);
                    round.touched.insert(next.clone());
                    round.wanted.entry(next).or_default().insert(key);
                }
            }
        }
    }

    fn end(&mut self, key: &Key, round: &mut Round, send: &mut dyn FnMut(Event)) {
        let Some(entry) = self.objects.remove(key) else {
            return;
        };
        if entry.selector {
            round.concerned.extend(endpoints_of(key));
        }
        if let Key::Endpoints(name) = key {
            slices_gone(name, 0..entry.slices, send);
        } else if entry.announced.is_some() {
            gone(key, self.audience).into_iter().for_each(send);
        }
    }

    /// Reads files in full for objects that only they have, and of which nothing is kept.
    pub(super) fn read_wanted(&mut self, round: &mut Round, send: &mut dyn FnMut(Event)) {
        for (name, keys) in std::mem::take(&mut round.wanted) {
            let loaded = load(&self.dir.join(&*name), &Content::default(), self.reading());
            let mut fresh: HashMap<Key, Fresh> = HashMap::new();
            for object in loaded.ok().flatten().unwrap_or_default().fresh {
                if keys.contains(&object.key) {
                    fresh.entry(object.key.clone()).or_insert(object);
                }
            }
            for key in keys {
                match fresh.remove(&key) {
                    Some(object) => self.announce(object, round, send),
                    None => self.lose(&key, send),
                }
            }
        }
    }

    /// The file that has the object can't be read just now: the object is gone until it can.
    fn lose(&mut self, key: &Key, send: &mut dyn FnMut(Event)) {
        let Some(entry) = self.objects.get_mut(key) else {
            return;
        };
        entry.announced = None;
        let slices = std::mem::take(&mut entry.slices);
        if let Key::Endpoints(name) = key {
            slices_gone(name, 0..slices, send);
        } else {
            gone(key, self.audience).into_iter().for_each(send);
        }
    }

    /// Endpoints count only for a Service without selector: of another one the cluster has
    /// EndpointSlices of its own.
    pub(super) fn settle_endpoints(&mut self, round: &mut Round, send: &mut dyn FnMut(Event)) {
        let concerned = std::mem::take(&mut round.concerned);
        for key in concerned
            .into_iter()
            .filter(|key| !round.endpoints.contains_key(key))
        {
            let selected = self.is_selected(&key);
            let Some(entry) = self.objects.get_mut(&key) else {
                continue;
            };
            if selected {
                let slices = std::mem::take(&mut entry.slices);
                if let Key::Endpoints(name) = &key {
                    slices_gone(name, 0..slices, send);
                }
            } else if let Some(file) = entry.files.first().cloned() {
                entry.announced = None;
                round.wanted.entry(file).or_default().insert(key);
            }
        }
        self.read_wanted(round, send);
        for (key, (hash, slices)) in std::mem::take(&mut round.endpoints) {
            let slices = if self.is_selected(&key) {
                Vec::new()
            } else {
                slices
            };
            let Key::Endpoints(name) = &key else { continue };
            let Some(entry) = self.objects.get_mut(&key) else {
                continue;
            };
            entry.announced = Some(hash);
            let before = std::mem::replace(&mut entry.slices, slices.len());
            slices_gone(name, slices.len()..before, send);
            slices
                .into_iter()
                .for_each(|(name, slice)| send(Event::Slice(name, slice)));
        }
    }

    fn is_selected(&self, endpoints: &Key) -> bool {
        let Key::Endpoints(name) = endpoints else {
            return false;
        };
        let service = ServiceName::new(name.namespace.clone(), name.name.clone());
        self.objects
            .get(&Key::Service(service))
            .is_some_and(|entry| entry.selector)
    }
}

pub(super) fn endpoints_of(service: &Key) -> Option<Key> {
    match service {
        Key::Service(name) => Some(Key::Endpoints(SliceName::new(
            name.namespace.clone(),
            name.name.clone(),
        ))),
        _ => None,
    }
}

fn slices_gone(name: &SliceName, range: std::ops::Range<usize>, send: &mut dyn FnMut(Event)) {
    for index in range {
        send(Event::Slice(mirror_name(name, index), Observed::gone()));
    }
}
