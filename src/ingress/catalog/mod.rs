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
//! | `class` | decides whose an Ingress is |
//! | `complete` | what a route's settings take from its host and from Services |
//! | `arrange` | which paths of a host are patterns, and what settings each has |
//! | `annotate` | what annotations come to, and when they are read again |
//! | `index` | finds Ingresses by host, Service and Secret |
//! | `upstream` | the endpoints of a Service's port |
//! | `host` | the routes of one host |
//! | `locations` | the same as ingress-nginx makes them |
//! | `names` | names that lead to a host without being one |
//! | `patterns` | compiled patterns that are still used |
//! | `settings` | what a ConfigMap sets |
//! | `streams` | ports that are passed on byte by byte |
//! | `certificate` | which Secret serves which host |

mod annotate;
mod arrange;
mod certificate;
mod class;
mod complete;
mod configure;
mod host;
mod index;
mod locations;
mod names;
mod patterns;
mod settings;
mod streams;
#[cfg(test)]
mod tests;
mod upstream;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use self::annotate::Annotations;
pub use self::certificate::Wishes;
use self::class::Classes;
pub use self::class::{CONTROLLER, NGINX_CONTROLLER, Verdict};
use self::index::Index;
use self::names::Names;
use self::patterns::PatternCache;
use self::streams::Aims;
use self::upstream::Upstreams;
pub(crate) use self::upstream::is_elsewhere;
use super::table::{Behaviour, RouteSettings, Settings, Streams, Table};
use crate::model::{ConfigMap, Event, Ingress, IngressEvent, Secret, ServiceName, State};

/// What the user chose.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Values of `spec.controller` whose classes are ours.
    pub controllers: Vec<Arc<str>>,
    /// The value of the old annotation that is ours even without an IngressClass of that name.
    pub class: Arc<str>,
    /// Whether Ingresses that name no class are ours.
    pub without_class: bool,
    /// How Ingresses are read that have no IngressClass.
    pub behaviour: Behaviour,
    /// Only Ingresses of this namespace.
    pub namespace: Option<Arc<str>>,
    /// The Service whose first port answers what no Ingress does.
    pub default_backend: Option<ServiceName>,
    /// The Secret whose certificate serves hosts that have none.
    pub default_certificate: Option<ServiceName>,
    /// Whether endpoints of the own node go first.
    pub local_first: bool,
    /// What holds for all routes.
    pub settings: Arc<Settings>,
    /// How requests are handed on.
    pub route: Arc<RouteSettings>,
    /// The ConfigMap that has more of both.
    pub config_map: Option<ServiceName>,
    /// The ConfigMap of TCP ports that are passed on byte by byte.
    pub tcp_services: Option<ServiceName>,
    /// The same for UDP.
    pub udp_services: Option<ServiceName>,
    /// TCP ports that they cannot have.
    pub reserved_ports: BTreeSet<u16>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            controllers: vec![CONTROLLER.into()],
            class: "ferrule".into(),
            without_class: false,
            behaviour: Behaviour::default(),
            namespace: None,
            default_backend: None,
            default_certificate: None,
            local_first: false,
            settings: Arc::default(),
            route: Arc::default(),
            config_map: None,
            tcp_services: None,
            udp_services: None,
            reserved_ports: BTreeSet::new(),
        }
    }
}

/// What a commit did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Work {
    /// Ingresses that were taken in or out.
    pub ingresses: usize,
    /// Service ports whose endpoints were chosen.
    pub upstreams: usize,
    /// Hosts that were built.
    pub hosts: usize,
    /// Routes that were built for them.
    pub routes: usize,
}

/// What changed since the last commit; what did not is none or empty.
#[derive(Debug, Clone, Default)]
pub struct Update {
    /// What to serve from now on.
    pub table: Option<Table>,
    /// Which Secret serves which host.
    pub wishes: Option<Wishes>,
    /// Secrets that are used and whose content has changed.
    pub secrets: BTreeSet<ServiceName>,
    /// All Secrets that are needed.
    pub wanted: Option<Arc<BTreeSet<ServiceName>>>,
    /// All ConfigMaps that annotations name.
    pub wanted_maps: Option<Arc<BTreeSet<ServiceName>>>,
    /// All names that have to be resolved.
    pub externals: Option<Arc<BTreeSet<Arc<str>>>>,
    /// Ingresses of which something else cannot be served, with the reasons: none if all can.
    pub notes: BTreeMap<ServiceName, Vec<String>>,
    /// Ingresses that became ours (true) or no longer are (false).
    pub served: BTreeMap<ServiceName, bool>,
    /// All ports that are passed on byte by byte.
    pub streams: Option<Arc<Streams>>,
    /// Of each ConfigMap, what is not served of it: none if all is.
    pub remarks: BTreeMap<ServiceName, Vec<String>>,
    /// What it took.
    pub work: Work,
}

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

/// What a note is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Host(Arc<str>),
    Default,
    Tls,
    Annotations,
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

    fn tell_notes(&mut self, dirty: &Dirty, update: &mut Update) {
        for name in &dirty.noted {
            if let Some(parts) = self.notes.get_mut(name) {
                parts.retain(|_, reasons| !reasons.is_empty());
            }
            update.notes.insert(name.clone(), self.notes(name));
        }
    }

    /// Replaces what is noted of a part of an Ingress.
    fn note(&mut self, name: &ServiceName, part: Part, reasons: Vec<String>, dirty: &mut Dirty) {
        let empty = reasons.is_empty();
        let parts = self.notes.entry(name.clone()).or_default();
        let old = match empty {
            true => parts.remove(&part),
            false => parts.insert(part.clone(), reasons),
        };
        let changed = old.as_ref() != parts.get(&part);
        if parts.is_empty() {
            self.notes.remove(name);
        }
        if changed {
            dirty.noted.insert(name.clone());
        }
    }

    /// What of an Ingress cannot be served, and why.
    pub fn notes(&self, name: &ServiceName) -> Vec<String> {
        self.noted(name, |_| true)
    }

    /// The same but for its annotations.
    pub fn reasons(&self, name: &ServiceName) -> Vec<String> {
        self.noted(name, |part| *part != Part::Annotations)
    }

    fn noted(&self, name: &ServiceName, about: impl Fn(&Part) -> bool) -> Vec<String> {
        let ours = self.served.contains_key(name);
        let skipped = self.skipped.get(name).filter(|_| ours);
        let parts = self.notes.get(name).into_iter().flatten();
        let parts = parts.filter(|(part, _)| about(part));
        let all = skipped.into_iter().chain(parts.map(|(_, reasons)| reasons));
        all.flatten().cloned().collect()
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
