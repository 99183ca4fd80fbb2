// SPDX-License-Identifier: Apache-2.0
//! Finds the Ingresses that are ours by what they have.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Dirty, complete};
use crate::model::ingress::{IngressBackend, PortRef};
use crate::model::{Ingress, ServiceName};

/// Older Ingresses go first, then those whose names do.
type Rank = (i64, ServiceName);

/// Of those that are ours.
#[derive(Debug, Default)]
pub(super) struct Index {
    by_host: BTreeMap<Arc<str>, BTreeSet<Rank>>,
    by_tls_host: BTreeMap<Arc<str>, BTreeSet<Rank>>,
    by_secret: BTreeMap<ServiceName, BTreeSet<Rank>>,
    catch_all: BTreeSet<Rank>,
}

fn rank(ingress: &Ingress) -> Rank {
    (ingress.created, ingress.name.clone())
}

fn add<K: Ord>(map: &mut BTreeMap<K, BTreeSet<Rank>>, key: K, rank: &Rank) {
    map.entry(key).or_default().insert(rank.clone());
}

fn take<K: Ord>(map: &mut BTreeMap<K, BTreeSet<Rank>>, key: &K, rank: &Rank) -> bool {
    let Some(ranks) = map.get_mut(key) else {
        return false;
    };
    ranks.remove(rank);
    let empty = ranks.is_empty();
    if empty {
        map.remove(key);
    }
    empty
}

impl Index {
    pub(super) fn insert(&mut self, ingress: &Ingress, dirty: &mut Dirty) {
        let rank = rank(ingress);
        for host in hosts(ingress) {
            add(&mut self.by_host, host.clone(), &rank);
            dirty.hosts.insert(host);
        }
        for (host, _) in certificates(ingress) {
            add(&mut self.by_tls_host, host, &rank);
            dirty.tls = true;
        }
        for secret in secrets(ingress) {
            dirty.wanted |= !self.by_secret.contains_key(&secret);
            add(&mut self.by_secret, secret.clone(), &rank);
            dirty.secrets.insert(secret);
        }
        if is_catch_all(ingress) {
            self.catch_all.insert(rank);
            dirty.default = true;
        }
    }

    pub(super) fn remove(&mut self, ingress: &Ingress, dirty: &mut Dirty) {
        let rank = rank(ingress);
        for host in hosts(ingress) {
            take(&mut self.by_host, &host, &rank);
            dirty.hosts.insert(host);
        }
        for (host, _) in certificates(ingress) {
            take(&mut self.by_tls_host, &host, &rank);
            dirty.tls = true;
        }
        for secret in secrets(ingress) {
            dirty.wanted |= take(&mut self.by_secret, &secret, &rank);
        }
        if self.catch_all.remove(&rank) {
            dirty.default = true;
        }
    }

    /// Who has rules for a host, by age.
    pub(super) fn of_host(&self, host: &str) -> impl Iterator<Item = &ServiceName> {
        let ranks = self.by_host.get(host).into_iter().flatten();
        ranks.map(|(_, name)| name)
    }

    /// Who wants a certificate for a host, by age.
    pub(super) fn of_tls_hosts(&self) -> impl Iterator<Item = (&Arc<str>, &BTreeSet<Rank>)> {
        self.by_tls_host.iter()
    }

    /// Who needs a Secret, by age.
    pub(super) fn of_secret(&self, secret: &ServiceName) -> impl Iterator<Item = &ServiceName> {
        let ranks = self.by_secret.get(secret).into_iter().flatten();
        ranks.map(|(_, name)| name)
    }

    /// The Secrets that are needed.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &ServiceName> {
        self.by_secret.keys()
    }

    /// Who has a default backend for everything, by age.
    pub(super) fn catch_all(&self) -> impl Iterator<Item = &ServiceName> {
        self.catch_all.iter().map(|(_, name)| name)
    }
}

/// Without rules, its default backend is everybody's.
pub(super) fn is_catch_all(ingress: &Ingress) -> bool {
    ingress.default_backend.is_some() && ingress.rules.is_empty()
}

/// The hosts of the rules.
pub(super) fn hosts(ingress: &Ingress) -> BTreeSet<Arc<str>> {
    ingress.rules.iter().map(|rule| rule.host.clone()).collect()
}

/// All backends.
fn all(ingress: &Ingress) -> impl Iterator<Item = &IngressBackend> {
    let paths = ingress.rules.iter().flat_map(|rule| &rule.paths);
    let backends = paths.map(|path| &path.backend);
    backends.chain(&ingress.default_backend)
}

/// The Services and their ports that may answer; no port is the first one.
pub(super) fn backends(ingress: &Ingress) -> BTreeMap<ServiceName, BTreeSet<Option<PortRef>>> {
    let mut found: BTreeMap<ServiceName, BTreeSet<Option<PortRef>>> = BTreeMap::new();
    if let Some(service) = complete::default_backend(ingress) {
        found.entry(service).or_default().insert(None);
    }
    for backend in all(ingress) {
        if let IngressBackend::Service { name, port } = backend {
            let service = ServiceName::new(ingress.name.namespace.clone(), name.clone());
            found.entry(service).or_default().insert(Some(port.clone()));
        }
    }
    found
}

/// Whether two states of an Ingress want the same certificates, at the same age.
pub(super) fn same_certificates(a: &Ingress, b: &Ingress) -> bool {
    a.created == b.created && secrets(a) == secrets(b) && certificates(a) == certificates(b)
}

/// From host to Secret, in the order of the object; without hosts, an entry holds for those of the
/// rules.
pub(super) fn certificates(ingress: &Ingress) -> Vec<(Arc<str>, ServiceName)> {
    let mut found = Vec::new();
    for entry in &ingress.tls {
        let Some(secret) = &entry.secret else {
            continue;
        };
        let secret = ServiceName::new(ingress.name.namespace.clone(), secret.clone());
        let hosts: Vec<Arc<str>> = match entry.hosts.is_empty() {
            false => entry.hosts.clone(),
            true => hosts(ingress).into_iter().collect(),
        };
        let named = hosts.into_iter().filter(|host| !host.is_empty());
        found.extend(named.map(|host| (host, secret.clone())));
    }
    found
}

/// The Secrets that it names.
fn secrets(ingress: &Ingress) -> BTreeSet<ServiceName> {
    let named = ingress.tls.iter().filter_map(|entry| entry.secret.clone());
    named
        .map(|name| ServiceName::new(ingress.name.namespace.clone(), name))
        .collect()
}
