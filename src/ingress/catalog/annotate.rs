// SPDX-License-Identifier: Apache-2.0
//! What the annotations of the Ingresses that are ours come to, and when they are read again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Catalog, Dirty, Part, index};
use crate::ingress::annotation::{self, Annotated, ByBehaviour, Defaults, Kind, Objects};
use crate::ingress::table::{Behaviour, RouteSettings};
use crate::model::{ConfigMap, Ingress, Secret, ServiceName};

type Users = BTreeMap<ServiceName, BTreeSet<ServiceName>>;

/// Of all Ingresses that are ours.
#[derive(Debug, Default)]
pub(super) struct Annotations {
    defaults: ByBehaviour<Defaults>,
    /// Without any annotation; most Ingresses share it.
    bare: ByBehaviour<Annotated>,
    behaviours: BTreeMap<ServiceName, Behaviour>,
    /// Of those that have some.
    read: BTreeMap<ServiceName, Annotated>,
    by_secret: Users,
    by_config_map: Users,
    /// Who says something for its hosts.
    server_snippets: BTreeSet<ServiceName>,
    config_maps_changed: bool,
    /// How many there are that are not served as they are written.
    counts: BTreeMap<Kind, usize>,
}

impl Annotations {
    pub(super) fn new(route: &RouteSettings) -> Self {
        let mut new = Self::default();
        new.set_defaults(ByBehaviour::new(|behaviour| Defaults::of(behaviour, route)));
        new
    }

    pub(super) fn defaults(&self) -> &ByBehaviour<Defaults> {
        &self.defaults
    }

    pub(super) fn set_defaults(&mut self, defaults: ByBehaviour<Defaults>) {
        self.bare = ByBehaviour::new(|behaviour| Annotated::bare(defaults.of(behaviour)));
        self.defaults = defaults;
    }

    pub(super) fn bare(&self, behaviour: Behaviour) -> &Annotated {
        self.bare.of(behaviour)
    }

    /// How an Ingress is read, if it is ours.
    pub(super) fn behaviour(&self, name: &ServiceName) -> Option<Behaviour> {
        self.behaviours.get(name).copied()
    }

    pub(super) fn reads_as(&mut self, name: &ServiceName, behaviour: Behaviour) {
        self.behaviours.insert(name.clone(), behaviour);
    }

    pub(super) fn of(&self, name: &ServiceName) -> &Annotated {
        let bare = || self.bare(self.behaviour(name).unwrap_or_default());
        self.read.get(name).unwrap_or_else(bare)
    }

    /// Who says something for its hosts.
    pub(super) fn server_snippets(&self) -> &BTreeSet<ServiceName> {
        &self.server_snippets
    }

    /// The Secrets that are named.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &ServiceName> {
        self.by_secret.keys()
    }

    pub(super) fn names_config_map(&self, name: &ServiceName) -> bool {
        self.by_config_map.contains_key(name)
    }

    /// Others are linked from the ConfigMap than before.
    pub(super) fn links_changed(&mut self) {
        self.config_maps_changed = true;
    }

    /// The ConfigMaps that are named, by these others too, if they are not those of before.
    pub(super) fn config_maps_if_changed<'a>(
        &'a mut self,
        anyway: bool,
        linked: impl Iterator<Item = &'a ServiceName>,
    ) -> Option<Arc<BTreeSet<ServiceName>>> {
        let changed = std::mem::take(&mut self.config_maps_changed);
        let names = || Arc::new(self.by_config_map.keys().chain(linked).cloned().collect());
        (changed || anyway).then(names)
    }

    /// Who names an object.
    fn users<'a>(users: &'a Users, name: &ServiceName) -> impl Iterator<Item = &'a ServiceName> {
        users.get(name).into_iter().flatten()
    }

    pub(super) fn remove(&mut self, name: &ServiceName) {
        self.behaviours.remove(name);
        self.replace(name, None);
    }

    /// Whether it is another than before, and whether other Secrets are named.
    fn replace(&mut self, name: &ServiceName, new: Option<Annotated>) -> (bool, bool) {
        let old = self.read.get(name);
        if old == new.as_ref() {
            return (false, false);
        }
        let before = old.map(|old| old.named.clone()).unwrap_or_default();
        let after = new.as_ref().map(|new| new.named.clone());
        let after = after.unwrap_or_default();
        move_users(&mut self.by_secret, name, (&before.secrets, &after.secrets));
        self.config_maps_changed |= before.config_maps != after.config_maps;
        move_users(
            &mut self.by_config_map,
            name,
            (&before.config_maps, &after.config_maps),
        );
        let says = |new: &Annotated| new.plain.server_snippet.is_some();
        match new.as_ref().is_some_and(says) {
            true => self.server_snippets.insert(name.clone()),
            false => self.server_snippets.remove(name),
        };
        for note in old.iter().flat_map(|old| &old.notes) {
            if let Some(count) = self.counts.get_mut(&note.kind) {
                *count -= 1;
            }
        }
        for note in new.iter().flat_map(|new| &new.notes) {
            *self.counts.entry(note.kind).or_default() += 1;
        }
        match new {
            Some(new) => self.read.insert(name.clone(), new),
            None => self.read.remove(name),
        };
        (true, before.secrets != after.secrets)
    }
}

fn move_users(
    users: &mut Users,
    user: &ServiceName,
    (before, after): (&BTreeSet<ServiceName>, &BTreeSet<ServiceName>),
) {
    for gone in before.difference(after) {
        if let Some(all) = users.get_mut(gone) {
            all.remove(user);
            if all.is_empty() {
                users.remove(gone);
            }
        }
    }
    for new in after.difference(before) {
        users.entry(new.clone()).or_default().insert(user.clone());
    }
}

/// What annotations find by name.
struct Lookup<'a>(&'a Catalog);

impl Objects for Lookup<'_> {
    fn secret(&self, name: &ServiceName) -> Option<&Secret> {
        self.0.secrets.get(name).map(|secret| &**secret)
    }

    fn config_map(&self, name: &ServiceName) -> Option<&ConfigMap> {
        self.0.config_maps.get(name).map(|map| &**map)
    }
}

impl Catalog {
    /// Reads again the annotations of Ingresses that have changed, and of those that name an
    /// object that has.
    pub(super) fn annotate(&mut self, dirty: &mut Dirty) {
        let annotations = &self.annotations;
        let secrets = dirty.secrets.iter();
        let by_secret = secrets.flat_map(|name| Annotations::users(&annotations.by_secret, name));
        let maps = dirty.config_maps.iter();
        let by_map = maps.flat_map(|name| Annotations::users(&annotations.by_config_map, name));
        let named: Vec<_> = by_secret.chain(by_map).cloned().collect();
        dirty.annotated.extend(named);
        for name in std::mem::take(&mut dirty.annotated) {
            let Some(ingress) = self.served.get(&name).cloned() else {
                continue;
            };
            let some = !ingress.annotations.is_empty();
            let behaviour = self.annotations.behaviour(&name).unwrap_or_default();
            let defaults = self.annotations.defaults.of(behaviour);
            let read = some.then(|| annotation::read(&ingress, defaults, &Lookup(self)));
            let notes = read.iter().flat_map(|read| &read.notes);
            let reasons = notes.map(ToString::to_string).collect();
            let (changed, wanted) = self.annotations.replace(&name, read);
            if changed {
                dirty.hosts.extend(index::hosts(&ingress));
                dirty.default |= index::is_catch_all(&ingress);
            }
            dirty.wanted |= wanted;
            self.note(&name, Part::Annotations, reasons, dirty);
        }
    }

    /// How many annotations there are that are not served as they are written.
    pub fn annotation_count(&self, kind: Kind) -> usize {
        let counts = &self.annotations.counts;
        counts.get(&kind).copied().unwrap_or_default()
    }

    /// What the annotations of an Ingress come to.
    pub fn annotated(&self, name: &ServiceName) -> &Annotated {
        self.annotations.of(name)
    }

    /// How requests of an Ingress for a host are handed on.
    pub(super) fn route_settings(
        &self,
        ingress: &Ingress,
        (host, secured): (&str, bool),
    ) -> Arc<RouteSettings> {
        let annotated = self.annotations.of(&ingress.name);
        let settings = match secured || is_secured(ingress, host) {
            true => annotated.secured.clone(),
            false => annotated.plain.clone(),
        };
        self.complete(ingress, host, settings)
    }
}

/// Whether an Ingress lists a host under `tls`.
fn is_secured(ingress: &Ingress, host: &str) -> bool {
    let covers = |tls: &str| {
        let wildcard = tls.strip_prefix('*').zip(host.find('.'));
        tls == host || wildcard.is_some_and(|(rest, dot)| host[dot..] == *rest)
    };
    let mut tls = ingress.tls.iter();
    // Without hosts it holds for those of the rules.
    tls.any(|tls| tls.hosts.is_empty() || tls.hosts.iter().any(|h| covers(h)))
}
