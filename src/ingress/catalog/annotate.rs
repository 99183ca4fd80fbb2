// SPDX-License-Identifier: Apache-2.0
//! What the annotations of the Ingresses that are ours come to, and when they are read again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Catalog, Dirty, Part, index};
use crate::ingress::annotation::{self, Annotated, Defaults, Objects};
use crate::ingress::table::RouteSettings;
use crate::model::{ConfigMap, Ingress, Secret, ServiceName};

type Users = BTreeMap<ServiceName, BTreeSet<ServiceName>>;

/// Of all Ingresses that are ours.
#[derive(Debug, Default)]
pub(super) struct Annotations {
    defaults: Defaults,
    /// Without any annotation; most Ingresses share it.
    bare: Annotated,
    /// Of those that have some.
    read: BTreeMap<ServiceName, Annotated>,
    by_secret: Users,
    by_config_map: Users,
}

impl Annotations {
    pub(super) fn new(route: &RouteSettings) -> Self {
        let mut new = Self::default();
        new.set_defaults(Defaults {
            route: route.clone(),
            ..Defaults::default()
        });
        new
    }

    pub(super) fn defaults(&self) -> &Defaults {
        &self.defaults
    }

    pub(super) fn set_defaults(&mut self, defaults: Defaults) {
        self.bare = Annotated::bare(&defaults);
        self.defaults = defaults;
    }

    pub(super) fn bare(&self) -> &Annotated {
        &self.bare
    }

    pub(super) fn of(&self, name: &ServiceName) -> &Annotated {
        self.read.get(name).unwrap_or(&self.bare)
    }

    /// The Secrets that are named.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &ServiceName> {
        self.by_secret.keys()
    }

    pub(super) fn names_config_map(&self, name: &ServiceName) -> bool {
        self.by_config_map.contains_key(name)
    }

    /// Who names an object.
    fn users<'a>(users: &'a Users, name: &ServiceName) -> impl Iterator<Item = &'a ServiceName> {
        users.get(name).into_iter().flatten()
    }

    pub(super) fn remove(&mut self, name: &ServiceName) {
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
        move_users(
            &mut self.by_config_map,
            name,
            (&before.config_maps, &after.config_maps),
        );
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
            let read =
                some.then(|| annotation::read(&ingress, &self.annotations.defaults, &Lookup(self)));
            let notes = read.iter().flat_map(|read| &read.notes);
            let reasons = notes.map(ToString::to_string).collect();
            let (changed, wanted) = self.annotations.replace(&name, read);
            if changed {
                dirty.hosts.extend(index::hosts(&ingress));
            }
            dirty.wanted |= wanted;
            self.note(&name, Part::Annotations, reasons, dirty);
        }
    }

    /// What the annotations of an Ingress come to.
    pub fn annotated(&self, name: &ServiceName) -> &Annotated {
        self.annotations.of(name)
    }

    /// How requests of an Ingress for a host are handed on.
    pub(super) fn route_settings(&self, ingress: &Ingress, host: &str) -> Arc<RouteSettings> {
        let annotated = self.annotations.of(&ingress.name);
        match is_secured(ingress, host) {
            true => annotated.secured.clone(),
            false => annotated.plain.clone(),
        }
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
