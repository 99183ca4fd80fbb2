// SPDX-License-Identifier: Apache-2.0
//! Takes in what the cluster says.

use std::sync::Arc;

use super::{Catalog, class};
use crate::model::{Event, IngressEvent};

impl Catalog {
    /// Takes in one event. Nothing follows from it before the next [`Catalog::commit`].
    pub fn apply(&mut self, event: Event) {
        match event {
            Event::Ingress(event) => self.apply_ingress(*event),
            other => {
                let changes = self.state.apply(other);
                let services = &mut self.dirty.services;
                let used = changes.services.into_iter();
                services.extend(used.filter(|name| self.upstreams.uses(name)));
                if changes.everything {
                    services.extend(self.upstreams.used().cloned());
                }
            }
        }
    }

    fn apply_ingress(&mut self, event: IngressEvent) {
        match event {
            IngressEvent::Ingress(name, observed) => {
                let before = match observed.skipped.is_empty() {
                    true => self.skipped.remove(&name),
                    false => self.skipped.insert(name.clone(), observed.skipped),
                };
                if before.as_ref() != self.skipped.get(&name) {
                    self.dirty.noted.insert(name.clone());
                }
                match observed.object {
                    Some(ingress) => self.ingresses.insert(name.clone(), Arc::new(ingress)),
                    None => self.ingresses.remove(&name),
                };
                self.dirty.ingresses.insert(name);
            }
            IngressEvent::Class(name, observed) => {
                self.classes.replace(&name, observed.object);
                let touched = self
                    .ingresses
                    .values()
                    .filter(|i| class::concerns(i, &name));
                let touched = touched.map(|ingress| ingress.name.clone());
                self.dirty.ingresses.extend(touched);
            }
            IngressEvent::Service(name, observed) => {
                self.upstreams.replace(&name, observed.object);
                if self.upstreams.uses(&name) {
                    self.dirty.services.insert(name);
                }
            }
            IngressEvent::Secret(name, observed) => {
                match observed.object {
                    Some(secret) => self.secrets.insert(name.clone(), Arc::new(secret)),
                    None => self.secrets.remove(&name),
                };
                self.dirty.secrets.insert(name);
            }
            IngressEvent::ConfigMap(name, observed) => {
                // An annotation that is read later may name it.
                match observed.object {
                    Some(map) => self.config_maps.insert(name.clone(), Arc::new(map)),
                    None => self.config_maps.remove(&name),
                };
                let named = self.annotations.names_config_map(&name);
                if named || self.config_map_names().any(|named| *named == name) {
                    self.dirty.config_maps.insert(name);
                }
            }
            IngressEvent::Resolved(name, addresses) => {
                let users = self.upstreams.resolved(&name, addresses);
                self.dirty.services.extend(users);
            }
            IngressEvent::SecretsListed => {}
        }
    }
}
