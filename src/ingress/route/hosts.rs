// SPDX-License-Identifier: Apache-2.0
//! A map of hosts that many tables share, as each differs from the one before in few hosts.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;

use super::HostRoutes;

/// A change copies one shard: of 5,000 hosts, 80.
const SHARDS: usize = 64;

/// The names are Ingresses', not clients', so that no client can make them collide.
type Hasher = BuildHasherDefault<DefaultHasher>;
type Shard = HashMap<Arc<str>, Arc<HostRoutes>, Hasher>;

/// From the name of a host to its routes.
#[derive(Debug, Clone)]
pub(super) struct Hosts {
    shards: Vec<Arc<Shard>>,
}

impl Default for Hosts {
    fn default() -> Self {
        let shards = vec![Arc::default(); SHARDS];
        Self { shards }
    }
}

fn place(host: &str) -> usize {
    Hasher::default().hash_one(host) as usize % SHARDS
}

impl Hosts {
    pub(super) fn get(&self, host: &str) -> Option<&HostRoutes> {
        self.shards.get(place(host))?.get(host).map(|host| &**host)
    }

    pub(super) fn replace(&mut self, host: &str, routes: Option<Arc<HostRoutes>>) {
        let Some(shard) = self.shards.get_mut(place(host)) else {
            return;
        };
        let shard = Arc::make_mut(shard);
        match routes {
            Some(routes) => shard.insert(host.into(), routes),
            None => shard.remove(host),
        };
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &HostRoutes)> {
        let all = self.shards.iter().flat_map(|shard| shard.iter());
        all.map(|(name, host)| (&**name, &**host))
    }
}
