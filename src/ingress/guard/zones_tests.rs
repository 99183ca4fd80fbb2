// SPDX-License-Identifier: Apache-2.0
use std::net::Ipv4Addr;

use super::*;
use crate::ingress::action::limit::Rate;

fn limit(per_second: Option<Rate>, connections: u32) -> Limit {
    Limit {
        zone: ServiceName::new("default", "web"),
        per_second,
        per_minute: None,
        connections,
        exempt: vec!["10.0.0.0/8".parse().expect("a network")],
    }
}

fn address(n: u32) -> IpAddr {
    Ipv4Addr::from(0xc000_0200 + n).into()
}

impl Zone {
    fn entries(&self) -> usize {
        let locked = self
            .shards
            .iter()
            .map(|shard| shard.lock().expect("a shard"));
        locked.map(|shard| shard.buckets.len()).sum()
    }

    fn bytes(&self) -> usize {
        let locked = self
            .shards
            .iter()
            .map(|shard| shard.lock().expect("a shard"));
        locked.map(|shard| shard.buckets.bytes()).sum()
    }
}

#[test]
fn rates_are_each_client_s_and_each_ingress_s_own() {
    let zones = Zones::default();
    let now = Instant::now();
    let one = limit(Some(Rate::per_second(1, 1)), 0);
    let other = Limit {
        zone: ServiceName::new("default", "other"),
        ..one.clone()
    };
    let admitted = |limit: &Limit, n| zones.admit(limit, address(n), now).is_ok();
    assert_eq!(
        [1, 1, 1, 2].map(|n| admitted(&one, n)),
        [true, true, false, true]
    );
    assert!(admitted(&other, 1), "another Ingress");
    assert_eq!(zones.admit(&one, address(1), now).unwrap_err(), Over::Rate);
    let later = now + Duration::from_secs(1);
    assert!(zones.admit(&one, address(1), later).is_ok());
    let exempt = "10.1.2.3".parse().expect("an address");
    assert!((0..100).all(|_| zones.admit(&one, exempt, now).is_ok()));
}

#[test]
fn requests_under_way_are_counted_until_they_are_over() {
    let zones = Zones::default();
    let now = Instant::now();
    let two = limit(None, 2);
    let admit = |n| zones.admit(&two, address(n), now);
    let (first, second) = (admit(1).expect("one"), admit(1).expect("two"));
    assert_eq!(admit(1).unwrap_err(), Over::Connections);
    assert!(admit(2).is_ok_and(|slot| slot.is_some()));
    drop(first);
    let third = admit(1).expect("a place is free");
    assert_eq!(admit(1).unwrap_err(), Over::Connections);
    drop((second, third));
    assert!(!zones.zone(&two.zone).is_busy(), "nobody is left");
}

/// As in nginx, whose rates are looked at before its connections are.
#[test]
fn what_is_beyond_the_number_under_way_counts_for_the_rate() {
    let zones = Zones::default();
    let now = Instant::now();
    let both = limit(Some(Rate::per_second(1, 1)), 1);
    let held = zones.admit(&both, address(1), now).expect("the first");
    assert_eq!(
        zones.admit(&both, address(1), now).unwrap_err(),
        Over::Connections
    );
    drop(held);
    assert_eq!(zones.admit(&both, address(1), now).unwrap_err(), Over::Rate);
}

/// The bound that docs/ingress-access.md gives.
#[test]
fn a_million_clients_take_less_than_three_mebibytes() {
    let zones = Zones::default();
    let one = limit(Some(Rate::per_second(1, 0)), 0);
    let begun = Instant::now();
    for n in 0..1_000_000 {
        assert!(zones.admit(&one, address(n), begun).is_ok(), "{n} is new");
    }
    let took = begun.elapsed() / 1_000_000;
    let zone = zones.zone(&one.zone);
    let (entries, bytes) = (zone.entries(), zone.bytes());
    println!("{entries} clients, {bytes} bytes, {took:?} a request");
    assert!(entries <= SHARDS * CLIENTS, "{entries}");
    assert!(entries >= SHARDS * CLIENTS / 3, "{entries}");
    assert!(bytes <= 3 << 20, "{bytes}");
    // Those who came last are known, those who came first are not.
    let refused = |n| zones.admit(&one, address(n), begun).is_err();
    assert!((990_000..1_000_000).all(refused));
    assert!(!(0..10_000).any(refused));
}

#[test]
fn who_has_not_asked_for_long_enough_is_forgotten() {
    let zones = Zones::default();
    let start = Instant::now();
    let slow = limit(Some(Rate::per_second(1, 200)), 0);
    zones.admit(&slow, address(1), start).expect("a request");
    let zone = zones.zone(&slow.zone);
    // It takes 201 seconds until a full bucket is empty: nothing is forgotten before.
    for second in [100, 200] {
        let later = start + Duration::from_secs(second);
        zones.admit(&slow, address(2), later).expect("a request");
    }
    assert_eq!(zone.entries(), 2);
    let hashes_alike = (3..10_000)
        .map(address)
        .find(|other| zone.part_of(*other) == zone.part_of(address(1)));
    let neighbour = hashes_alike.expect("another client of the same part");
    for second in [300, 600] {
        let later = start + Duration::from_secs(second);
        zones.admit(&slow, neighbour, later).expect("a request");
    }
    let mut shard = zone.shard(address(1));
    assert!(shard.buckets.get(&address(1)).is_none());
}

#[test]
fn zones_that_nobody_asks_for_go() {
    let zones = Zones::default();
    let start = Instant::now();
    let busy = limit(None, 1);
    let idle = Limit {
        zone: ServiceName::new("default", "idle"),
        ..busy.clone()
    };
    let _held = zones.admit(&busy, address(1), start).expect("a request");
    drop(zones.admit(&idle, address(1), start).expect("a request"));
    zones.sweep(start + IDLE / 2);
    assert_eq!(zones.zones.load().len(), 2);
    zones.sweep(start + 2 * IDLE);
    assert_eq!(zones.zones.load().len(), 1, "one has a request under way");
}

#[test]
fn threads_agree_on_the_count() {
    let zones = Arc::new(Zones::default());
    let now = Instant::now();
    let limit = Arc::new(limit(Some(Rate::per_second(1, 99)), 0));
    let threads = (0..4).map(|_| {
        let (zones, limit) = (zones.clone(), limit.clone());
        std::thread::spawn(move || {
            let admitted = (0..100).filter(|_| zones.admit(&limit, address(1), now).is_ok());
            admitted.count()
        })
    });
    let threads: Vec<_> = threads.collect();
    let all = threads
        .into_iter()
        .map(|thread| thread.join().expect("a count"));
    assert_eq!(all.sum::<usize>(), 100);
}
