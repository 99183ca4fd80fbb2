// SPDX-License-Identifier: Apache-2.0
//! Consistent choice on a ring: of n members, one that comes or goes moves 1/n of the keys and no
//! others.
//!
//! The ring is that of ingress-nginx (lua-resty-balancer's `chash`, which is nginx's `hash …
//! consistent`): 160 points a member, the point after a hash `p` is the CRC-32 of the member's name
//! and `p`, and a key belongs to the first point that is not below its CRC-32. So keys and cookies
//! stay where they are when ingress-nginx goes, and when the node or the process changes.

/// Points of each member.
const POINTS: usize = 160;

/// Members by number, in the order in which they were given.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ring {
    /// Hash and member, sorted.
    points: Box<[(u32, u32)]>,
}

impl Ring {
    /// A ring of members with these names.
    pub fn new(names: impl IntoIterator<Item = String>) -> Self {
        Self::weighted(names.into_iter().map(|name| (name, POINTS)))
    }

    /// The same with as many points as each name comes with.
    fn weighted(names: impl IntoIterator<Item = (String, usize)>) -> Self {
        let mut points = Vec::new();
        for (member, (name, count)) in (0..).zip(names) {
            let mut hasher = crc32fast::Hasher::new();
            hasher.update(name.as_bytes());
            let mut hash = 0_u32;
            for _ in 0..count {
                let mut next = hasher.clone();
                next.update(&hash.to_le_bytes());
                hash = next.finalize();
                points.push((hash, member));
            }
        }
        points.sort_unstable();
        Self {
            points: points.into(),
        }
    }

    /// The owner of a key, then those that follow on the ring. A member comes as often as it has
    /// points.
    pub fn owners(&self, key: u32) -> impl Iterator<Item = usize> + '_ {
        let (before, from) = self
            .points
            .split_at(self.points.partition_point(|(hash, _)| *hash < key));
        from.iter()
            .chain(before)
            .map(|(_, member)| *member as usize)
    }
}

/// Where a key is on a ring.
pub fn hash(key: &[u8]) -> u32 {
    crc32fast::hash(key)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// The answer that lua-resty-balancer's own test has (t/chash.t, "find"): who owns the keys from
    /// 1 to 100,000 with weights 10, 2 and 1.
    #[test]
    fn keys_belong_to_whom_ingress_nginx_gives_them() {
        let servers = [("server1", 10), ("server2", 2), ("server3", 1)];
        let servers = servers.map(|(name, weight)| (name.to_owned(), weight * POINTS));
        let ring = Ring::weighted(servers);
        assert_eq!(ring.points.len(), 2080);
        let mut hits = [0; 3];
        for key in 1..=100_000 {
            let owner = ring.owners(hash(key.to_string().as_bytes())).next();
            hits[owner.expect("an owner")] += 1;
        }
        assert_eq!(hits, [77_075, 14_743, 8_182]);
    }

    #[test]
    fn a_key_belongs_to_the_first_point_that_is_not_below() {
        let ring = Ring {
            points: [(10, 0), (20, 1), (30, 2)].into(),
        };
        for (key, expected) in [
            (0, [0, 1, 2]),
            (10, [0, 1, 2]),
            (11, [1, 2, 0]),
            (30, [2, 0, 1]),
            (31, [0, 1, 2]),
            (u32::MAX, [0, 1, 2]),
        ] {
            assert_eq!(ring.owners(key).collect::<Vec<_>>(), expected, "{key}");
        }
        assert_eq!(Ring::default().owners(7).next(), None);
    }

    #[test]
    fn keys_spread_evenly() {
        let ring = Ring::new((0..10).map(|n| format!("10.0.0.{n}:8080")));
        let mut hits = BTreeMap::new();
        for n in 0..10_000 {
            let owner = ring.owners(hash(format!("/item/{n}").as_bytes())).next();
            *hits.entry(owner).or_insert(0) += 1;
        }
        assert!(hits.values().all(|n| (700..1300).contains(n)), "{hits:?}");
    }
}
