// SPDX-License-Identifier: Apache-2.0
//! How often each client has asked for what an Ingress serves, and how many of its requests are
//! under way: one zone for each Ingress with limits, as in ingress-nginx.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use super::ages::Ages;
use crate::ingress::action::limit::{Bucket, Limit};
use crate::model::ServiceName;

/// Parts of a zone that are locked by themselves; a power of two.
const SHARDS: usize = 16;
/// The most clients that each part knows: with 16 parts 57,344, about as many as in ingress-nginx's
/// zones of 5 MiB. A power of two less an eighth fills the tables.
const CLIENTS: usize = 2 * 1792;
/// The shortest time after which a client is forgotten, milliseconds.
const MEMORY: u64 = 60_000;
/// After how long a zone goes that nobody asks for.
const IDLE: Duration = Duration::from_secs(3600);

type ByIngress = HashMap<ServiceName, Arc<Zone>>;

/// All zones.
pub(crate) struct Zones {
    start: Instant,
    zones: ArcSwap<ByIngress>,
}

/// The clients of one Ingress.
pub(crate) struct Zone {
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
    /// When it was last asked for, milliseconds.
    used: AtomicU64,
}

struct Shard {
    buckets: Ages<IpAddr, Bucket>,
    /// Requests under way; who has none is not in it.
    under_way: HashMap<IpAddr, u32>,
}

/// Which limit a request is beyond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    /// Requests over time.
    Rate,
    /// Requests under way.
    Connections,
}

/// Counts as a request under way for as long as it is kept.
#[derive(Debug)]
pub(crate) struct Slot {
    zone: Arc<Zone>,
    address: IpAddr,
}

impl Default for Zones {
    fn default() -> Self {
        Self {
            start: Instant::now(),
            zones: ArcSwap::default(),
        }
    }
}

impl Zones {
    /// Counts a request; none is returned if requests under way are not counted.
    ///
    /// # Errors
    ///
    /// The limit that the request is beyond.
    pub(crate) fn admit(
        &self,
        limit: &Limit,
        address: IpAddr,
        now: Instant,
    ) -> Result<Option<Slot>, Over> {
        if limit.exempts(address) {
            return Ok(None);
        }
        self.zone(&limit.zone)
            .admit(limit, address, self.millis(now))
    }

    fn millis(&self, now: Instant) -> u64 {
        let passed = now.saturating_duration_since(self.start);
        u64::try_from(passed.as_millis()).unwrap_or(u64::MAX)
    }

    fn zone(&self, name: &ServiceName) -> Arc<Zone> {
        if let Some(zone) = self.zones.load().get(name) {
            return zone.clone();
        }
        let new = Arc::new(Zone::default());
        self.zones.rcu(|zones| {
            let mut zones = (**zones).clone();
            zones.entry(name.clone()).or_insert_with(|| new.clone());
            zones
        });
        self.zones.load().get(name).cloned().unwrap_or(new)
    }

    /// Lets go of zones that nobody has asked for in a while.
    pub(crate) fn sweep(&self, now: Instant) {
        let now = self.millis(now);
        let idle = u64::try_from(IDLE.as_millis()).unwrap_or(u64::MAX);
        let stays = |zone: &Zone| now.saturating_sub(zone.used.load(Relaxed)) < idle;
        if self.zones.load().values().all(|zone| stays(zone)) {
            return;
        }
        self.zones.rcu(|zones| {
            let mut zones = (**zones).clone();
            zones.retain(|_, zone| stays(zone) || zone.is_busy());
            zones
        });
    }
}

impl fmt::Debug for Zones {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Zones").finish_non_exhaustive()
    }
}

impl Default for Zone {
    fn default() -> Self {
        let shard = || {
            Mutex::new(Shard {
                buckets: Ages::new(CLIENTS),
                under_way: HashMap::new(),
            })
        };
        Self {
            shards: std::array::from_fn(|_| shard()),
            hasher: RandomState::new(),
            used: AtomicU64::new(0),
        }
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Zone").finish_non_exhaustive()
    }
}

impl Zone {
    fn part_of(&self, address: IpAddr) -> usize {
        // The high bits: tables go by the low ones.
        let hash = self.hasher.hash_one(address) >> 32;
        usize::try_from(hash).unwrap_or_default() & (SHARDS - 1)
    }

    fn shard(&self, address: IpAddr) -> MutexGuard<'_, Shard> {
        // What panicked elsewhere has left numbers only.
        self.shards[self.part_of(address)]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// In nginx's order: what is beyond the rate is not counted at all, what is beyond the number
    /// under way counts for the rate.
    fn admit(
        self: Arc<Self>,
        limit: &Limit,
        address: IpAddr,
        now: u64,
    ) -> Result<Option<Slot>, Over> {
        self.used.store(now, Relaxed);
        let mut shard = self.shard(address);
        if limit.has_rates() {
            let age = limit.forgets_in().max(MEMORY);
            shard.buckets.turn_if_due(now, age);
            let before = shard.buckets.get(&address).map(|bucket| *bucket);
            let bucket = limit.admit(before, now).ok_or(Over::Rate)?;
            shard.buckets.insert(address, bucket);
        }
        if limit.connections == 0 {
            return Ok(None);
        }
        let count = shard.under_way.entry(address).or_insert(0);
        if *count >= limit.connections {
            return Err(Over::Connections);
        }
        *count += 1;
        drop(shard);
        Ok(Some(Slot {
            zone: self,
            address,
        }))
    }

    fn is_busy(&self) -> bool {
        let locked = |shard: &Mutex<Shard>| {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            !shard.under_way.is_empty()
        };
        self.shards.iter().any(locked)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut shard = self.zone.shard(self.address);
        let Some(count) = shard.under_way.get_mut(&self.address) else {
            return;
        };
        *count = count.saturating_sub(1);
        if *count == 0 {
            shard.under_way.remove(&self.address);
            // A flood must not leave an empty table of its size.
            if shard.under_way.capacity() > 1024 && shard.under_way.len() < 128 {
                shard.under_way.shrink_to(256);
            }
        }
    }
}

#[cfg(test)]
#[path = "zones_tests.rs"]
mod tests;
