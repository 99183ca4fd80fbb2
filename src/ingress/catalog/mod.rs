// SPDX-License-Identifier: Apache-2.0
//! From objects to a [`Table`]: which Ingresses are ours, who has a host and path, which endpoints
//! answer, which Secrets are needed. PURE.
//!
//! Work is proportional to a change: an Ingress costs the hosts that it has or had, an endpoint the
//! hosts of the Ingresses that use its Service. A table from scratch is the same; a property test
//! holds it.
//!
//! | module | does |
//! |---|---|
//! | `options` | what the user chose |
//! | `events` | takes in what the cluster says |
//! | `update` | what comes of a commit |
//! | `notes` | what of Ingresses cannot be served |
//! | `class` | decides whose an Ingress is |
//! | `arrange` | which paths of a host are patterns, and what settings each has |
//! | `complete` | what a route's settings take from its host and from Services |
//! | `annotate` | what annotations come to, and when they are read again |
//! | `index` | finds Ingresses by host, Service and Secret |
//! | `upstream` | the endpoints of a Service's port |
//! | `variant` | the same as annotations want them |
//! | `host` | the routes of one host |
//! | `locations` | the same as ingress-nginx makes them |
//! | `names` | names that lead to a host without being one |
//! | `patterns` | compiled patterns that are still used |
//! | `canary` | Ingresses that take requests of another's routes |
//! | `settings` | what a ConfigMap sets |
//! | `gate_keys` | those keys of it that keep somebody out |
//! | `streams` | ports that are passed on byte by byte |
//! | `certificate` | which Secret serves which host |

mod annotate;
mod arrange;
mod canary;
mod certificate;
mod class;
mod complete;
mod configure;
mod events;
mod gate_keys;
mod host;
mod index;
mod locations;
mod names;
mod notes;
mod options;
mod patterns;
mod settings;
mod streams;
#[cfg(test)]
mod tests;
mod update;
mod upstream;
mod variant;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use self::annotate::Annotations;
pub use self::certificate::Wishes;
use self::class::Classes;
pub use self::class::{CONTROLLER, NGINX_CONTROLLER, Verdict};
use self::index::Index;
use self::names::Names;
use self::notes::Part;
pub use self::options::Options;
use self::patterns::PatternCache;
use self::streams::Aims;
pub use self::update::{Update, Work};
use self::upstream::Upstreams;
pub(crate) use self::upstream::is_elsewhere;
use super::table::{Behaviour, Streams, Table};
use crate::model::{ConfigMap, Ingress, Secret, ServiceName, State};

/// Everything that the cluster has said, and the table that follows from it.
#[derive(Debug, Default)]
pub struct Catalog {
    options: Options,
    /// EndpointSlices and the own Node.
    state: State,
    ingresses: BTreeMap<ServiceName, Arc<Ingress>>,
    classes: Classes,
    secrets: HashMap<ServiceName, Arc<Secret>>,
    upstreams: Upstreams,
    /// The Ingresses that are ours.
    served: BTreeMap<ServiceName, Arc<Ingress>>,
    index: Index,
    table: Table,
    /// Reasons by Ingress, and by host or other part of it.
    notes: BTreeMap<ServiceName, BTreeMap<Part, Vec<String>>>,
    /// What conversion skipped, of Ingresses of all classes.
    skipped: BTreeMap<ServiceName, Vec<String>>,
    config_maps: BTreeMap<ServiceName, Arc<ConfigMap>>,
    linked: settings::Linked,
    annotations: Annotations,
    names: Names,
    patterns: PatternCache,
    aims: Aims,
    streams: Arc<Streams>,
    /// What is not served of ConfigMaps, and of the ports that they name.
    remarks: BTreeMap<ServiceName, Vec<String>>,
    stream_remarks: BTreeMap<ServiceName, Vec<String>>,
    dirty: Dirty,
}

/// What has changed since the last commit.
#[derive(Debug, Default)]
struct Dirty {
    ingresses: BTreeSet<ServiceName>,
    services: BTreeSet<ServiceName>,
    secrets: BTreeSet<ServiceName>,
    hosts: BTreeSet<Arc<str>>,
    /// Ingresses whose notes may differ.
    noted: BTreeSet<ServiceName>,
    default: bool,
    tls: bool,
    wanted: bool,
    first: bool,
    /// Ingresses whose annotations have to be read again.
    annotated: BTreeSet<ServiceName>,
    /// ConfigMaps that have changed.
    config_maps: BTreeSet<ServiceName>,
    /// ConfigMaps of which something else may not be served.
    remarked: BTreeSet<ServiceName>,
    streams: bool,
}

impl Catalog {
    /// An empty catalog of a node.
    pub fn new(node_name: &str, options: Options) -> Self {
        let annotations = Annotations::new(&options.route);
        let mut catalog = Self {
            state: State::new(node_name),
            table: Table {
                settings: options.settings.clone(),
                defaults: annotations.bare(options.behaviour).plain.clone(),
                ..Table::default()
            },
            annotations,
            options,
            ..Self::default()
        };
        let named = catalog.config_map_names().cloned().collect();
        catalog.dirty.config_maps = named;
        let dirty = &mut catalog.dirty;
        (dirty.first, dirty.default, dirty.tls, dirty.wanted) = (true, true, true, true);
        if let Some(service) = &catalog.options.default_backend {
            catalog.upstreams.want_first(service);
            dirty.services.insert(service.clone());
        }
        catalog
    }

    /// Works through what has changed.
    pub fn commit(&mut self) -> Update {
        let mut update = Update::default();
        let dirty = std::mem::take(&mut self.dirty);
        let mut open = Dirty {
            ingresses: BTreeSet::new(),
            ..dirty
        };
        for name in dirty.ingresses {
            self.take_over(&name, &mut open, &mut update);
        }
        let configured = self.configure(&mut open);
        self.annotate(&mut open);
        self.choose_endpoints(&mut open, &mut update);
        self.build_streams(&open, &mut update);
        let changed = open.first || open.default || !open.hosts.is_empty() || configured;
        self.build_hosts(&mut open, &mut update);
        if open.default {
            self.build_default(&mut open);
        }
        if changed {
            update.table = Some(self.table.clone());
        }
        self.certify(&mut open, &mut update);
        self.tell_notes(&open, &mut update);
        let linked = self.linked.names();
        update.wanted_maps = self.annotations.config_maps_if_changed(open.first, linked);
        update.externals = self.upstreams.externals_if_changed(open.first);
        update
    }

    /// Takes an Ingress in or out, as its class and its newest state want it.
    fn take_over(&mut self, name: &ServiceName, dirty: &mut Dirty, update: &mut Update) {
        let new = self.ingresses.get(name).cloned();
        let new = new.filter(|i| self.classes.verdict(i, &self.options) == Verdict::Served);
        let old = self.served.get(name).cloned();
        let behaviour = new.as_deref().map(|new| self.behaviour(new));
        if let (Some(old), Some(new)) = (&old, &new)
            && same_but_status(old, new)
            && self.annotations.behaviour(name) == behaviour
        {
            self.served.insert(name.clone(), new.clone());
            return;
        }
        if old.is_none() && new.is_none() {
            return;
        }
        update.work.ingresses += 1;
        let before = (dirty.tls, dirty.wanted);
        if old.is_some() != new.is_some() {
            update.served.insert(name.clone(), new.is_some());
        }
        if let Some(old) = &old {
            self.index.remove(old, dirty);
            self.served.remove(name);
            self.annotations.remove(name);
            self.notes.remove(name);
        }
        let backends = new.as_deref().map(index::backends).unwrap_or_default();
        dirty.services.extend(backends.keys().cloned());
        let used = old.as_deref().map(index::backends).unwrap_or_default();
        self.upstreams.want(name, backends, used.into_keys());
        if let Some(new) = new {
            self.index.insert(&new, dirty);
            if old.is_some_and(|old| index::same_certificates(&old, &new)) {
                (dirty.tls, dirty.wanted) = before;
            }
            self.served.insert(name.clone(), new);
            self.annotations
                .reads_as(name, behaviour.unwrap_or_default());
            dirty.annotated.insert(name.clone());
        }
        dirty.noted.insert(name.clone());
    }

    fn choose_endpoints(&mut self, dirty: &mut Dirty, update: &mut Update) {
        for service in std::mem::take(&mut dirty.services) {
            let options = (&self.state, self.options.local_first);
            let (work, changed) = self.upstreams.choose(&service, options);
            update.work.upstreams += work;
            dirty.streams |= self.upstreams.has_streams(&service);
            if !changed {
                continue;
            }
            for user in self.upstreams.users(&service) {
                let Some(ingress) = self.served.get(user) else {
                    continue;
                };
                dirty.hosts.extend(index::hosts(ingress));
                dirty.default |= index::is_catch_all(ingress);
            }
            dirty.default |= self.options.default_backend.as_ref() == Some(&service);
        }
    }

    /// How an Ingress that is ours is read.
    pub fn behaviour(&self, ingress: &Ingress) -> Behaviour {
        self.classes.behaviour(ingress, &self.options)
    }

    /// The table of the last commit.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// The Ingresses that are ours, by name.
    pub fn served(&self) -> impl Iterator<Item = &Arc<Ingress>> {
        self.served.values()
    }

    /// All Ingresses, each with whether it is ours, and why not.
    pub fn verdicts(&self) -> impl Iterator<Item = (&Arc<Ingress>, Verdict)> {
        let all = self.ingresses.values();
        all.map(|ingress| (ingress, self.classes.verdict(ingress, &self.options)))
    }

    /// A Secret, as it was last seen.
    pub fn secret(&self, name: &ServiceName) -> Option<&Arc<Secret>> {
        self.secrets.get(name)
    }

    /// A ConfigMap, as it was last seen.
    pub fn config_map(&self, name: &ServiceName) -> Option<&Arc<ConfigMap>> {
        self.config_maps.get(name)
    }

    /// The ConfigMap with settings, if it is there.
    pub fn settings_map(&self) -> Option<&ConfigMap> {
        let name = self.options.config_map.as_ref()?;
        self.config_maps.get(name).map(|map| &**map)
    }
}

/// Whether two states of an Ingress are served alike.
fn same_but_status(a: &Ingress, b: &Ingress) -> bool {
    let served = |i: &Ingress| (i.created, i.default_backend.clone(), i.annotations.clone());
    a.rules == b.rules && a.tls == b.tls && served(a) == served(b)
}
