// SPDX-License-Identifier: Apache-2.0
//! Real servers that are gone but keep their connections for a while. PURE: time is an argument.
//!
//! The kernel holds them with weight 0; that is how an agent that starts finds them again.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::{Duration, Instant};

use crate::model::Target;
use crate::plan::ipvs::ServerKey;

/// How often to look whether they have lost their connections.
pub const LOOK: Duration = Duration::from_secs(5);

/// How often to look whether virtual servers are still there. The kernel tells of no change.
pub const CHECK: Duration = Duration::from_secs(60);

/// What is being watched, with the time when it was first looked at.
#[derive(Debug, Clone, Default)]
pub struct Drain {
    servers: BTreeMap<ServerKey, BTreeMap<Target, Option<Instant>>>,
}

impl Drain {
    /// Whether there is nothing to watch.
    pub fn is_empty(&self) -> bool {
        self.servers.is_empty()
    }

    /// How many real servers are watched.
    pub fn len(&self) -> usize {
        self.servers.values().map(BTreeMap::len).sum()
    }

    /// Whether a real server is watched.
    pub fn contains(&self, key: &ServerKey, target: &Target) -> bool {
        self.servers
            .get(key)
            .is_some_and(|of| of.contains_key(target))
    }

    /// Watches a real server. One that is watched already gets no new time.
    pub fn watch(&mut self, key: ServerKey, target: Target) {
        self.servers
            .entry(key)
            .or_default()
            .entry(target)
            .or_default();
    }

    /// Watches a real server no more.
    pub fn release(&mut self, key: &ServerKey, target: &Target) {
        if let Entry::Occupied(mut of) = self.servers.entry(*key) {
            of.get_mut().remove(target);
            if of.get().is_empty() {
                of.remove();
            }
        }
    }

    /// Watches none of a virtual server's any more.
    pub fn release_all(&mut self, key: &ServerKey) {
        self.servers.remove(key);
    }

    /// Watches these and no others; those that are watched already keep their time.
    pub fn watch_only(&mut self, wanted: impl IntoIterator<Item = (ServerKey, Target)>) {
        let mut old = std::mem::take(&mut self.servers);
        for (key, target) in wanted {
            let since = old
                .get_mut(&key)
                .and_then(|of| of.remove(&target))
                .flatten();
            self.servers.entry(key).or_default().insert(target, since);
        }
    }

    /// The virtual servers to look at.
    pub fn keys(&self) -> Vec<ServerKey> {
        self.servers.keys().copied().collect()
    }

    /// Which real servers of a virtual server are to go now: those without connections, and those
    /// that have been watched for longer than `bound`. `connections` says how many each has, and
    /// nothing for one that is not there any more.
    pub fn due(
        &mut self,
        key: &ServerKey,
        now: Instant,
        bound: Duration,
        connections: impl Fn(&Target) -> Option<u32>,
    ) -> Vec<Target> {
        let Some(of) = self.servers.get_mut(key) else {
            return Vec::new();
        };
        of.retain(|target, _| connections(target).is_some());
        let due = of.iter_mut().filter_map(|(target, since)| {
            let since = *since.get_or_insert(now);
            let idle = connections(target) == Some(0);
            (idle || now.saturating_duration_since(since) >= bound).then_some(*target)
        });
        let due = due.collect();
        if of.is_empty() {
            self.servers.remove(key);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Protocol;

    fn key(port: u16) -> ServerKey {
        ServerKey {
            address: [10, 96, 0, 1].into(),
            protocol: Protocol::Tcp,
            port,
        }
    }

    fn target(n: u8) -> Target {
        Target {
            address: [10, 244, 0, n].into(),
            port: 80,
        }
    }

    #[test]
    fn it_goes_when_it_is_idle_or_late() {
        let mut drain = Drain::default();
        let (begun, bound) = (Instant::now(), Duration::from_secs(900));
        (1..4).for_each(|n| drain.watch(key(80), target(n)));
        assert_eq!(drain.len(), 3);
        let connections = |t: &Target| match t {
            t if *t == target(1) => Some(0),
            t if *t == target(2) => Some(7),
            _ => None,
        };
        let mut look = |seconds| {
            let now = begun + Duration::from_secs(seconds);
            drain.due(&key(80), now, bound, connections)
        };
        assert_eq!(look(60), [target(1)]);
        assert_eq!(look(959), [target(1)], "until it is released");
        assert_eq!(look(960), [target(1), target(2)]);
        assert_eq!(drain.len(), 2, "what is not there is not watched");
        drain.release(&key(80), &target(1));
        drain.release(&key(80), &target(2));
        assert!(drain.is_empty());
    }

    #[test]
    fn what_is_watched_keeps_its_time() {
        let mut drain = Drain::default();
        let (begun, bound) = (Instant::now(), Duration::from_secs(10));
        drain.watch(key(80), target(1));
        drain.watch(key(81), target(1));
        let busy = |_: &Target| Some(1);
        assert_eq!(drain.due(&key(80), begun, bound, busy), []);
        drain.watch_only([(key(80), target(1)), (key(80), target(2))]);
        drain.watch(key(80), target(1));
        assert!(!drain.contains(&key(81), &target(1)));
        let later = begun + bound;
        assert_eq!(drain.due(&key(80), later, bound, busy), [target(1)]);
        drain.release_all(&key(80));
        assert!(drain.is_empty() && drain.keys().is_empty());
    }
}
