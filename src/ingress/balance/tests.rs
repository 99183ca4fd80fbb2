// SPDX-License-Identifier: Apache-2.0

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::ingress::action::template::Template;

pub(super) fn targets(count: u8) -> Vec<Target> {
    let target = |n| Target {
        address: [10, 0, 0, n].into(),
        port: 8080,
    };
    (0..count).map(target).collect()
}

fn request(random: u64) -> Request<'static> {
    Request {
        tried: &[],
        key: 0,
        random,
        now: Duration::ZERO,
    }
}

/// Ways to choose among so many endpoints.
fn balances(count: u8) -> impl Strategy<Value = Balance> {
    let by_hash = |size| {
        let hashed = Hashed::new(&targets(count), std::num::NonZero::new(size));
        Balance::Hash(Arc::new(Template::default()), Arc::new(hashed))
    };
    prop_oneof![
        Just(Balance::RoundRobin),
        Just(Balance::LeastConnections),
        Just(Balance::PeakEwma),
        Just(by_hash(0)),
        Just(by_hash(3)),
    ]
}

fn counted() -> impl Strategy<Value = (Balance, u8)> {
    (0u8..20).prop_flat_map(|count| (balances(count), Just(count)))
}

proptest! {
    #[test]
    fn each_endpoint_is_tried_once_and_none_is_invented(
        (balance, count) in counted(), random: u64, key: u32
    ) {
        let endpoints = targets(count);
        let mut balancer = Balancer::new(random);
        let mut tried = Vec::new();
        while let Some(target) = balancer.pick(&balance, &endpoints, &Request {
            tried: &tried, key, random, now: Duration::ZERO,
        }) {
            prop_assert!(endpoints.contains(&target) && !tried.contains(&target));
            tried.push(target);
        }
        prop_assert_eq!(tried.len(), endpoints.len());
    }

    #[test]
    fn turns_are_fair(count in 1u8..20, rounds in 1usize..20, random: u64) {
        let endpoints = targets(count);
        let mut balancer = Balancer::new(random);
        let mut hits = BTreeMap::new();
        for _ in 0..rounds * usize::from(count) {
            let target = balancer.pick(&Balance::RoundRobin, &endpoints, &request(0));
            *hits.entry(target).or_insert(0) += 1;
        }
        prop_assert!(hits.values().all(|&n| n == rounds), "{:?}", hits);
    }

    #[test]
    fn connections_differ_by_one_at_most(count in 1u8..20, requests in 0usize..100) {
        let endpoints = targets(count);
        let mut balancer = Balancer::default();
        for _ in 0..requests {
            let target = balancer.pick(&Balance::LeastConnections, &endpoints, &request(0));
            balancer.begin(target.unwrap());
        }
        let loads: BTreeSet<_> = endpoints.iter().map(|t| balancer.requests(*t)).collect();
        prop_assert!(loads.last().unwrap() - loads.first().unwrap() <= 1);
    }

    #[test]
    fn a_key_moves_only_from_an_endpoint_that_goes(count in 2u8..20, gone in 0u8..20, key: u32) {
        let endpoints = targets(count);
        let gone = endpoints[usize::from(gone % count)];
        let rest: Vec<_> = endpoints.iter().copied().filter(|t| *t != gone).collect();
        let before = Hashed::new(&endpoints, None).pick(&[], key, 0);
        let after = Hashed::new(&rest, None).pick(&[], key, 0);
        prop_assert!(before == after || before == Some(gone));
    }
}

#[test]
fn a_slow_endpoint_is_avoided_and_forgiven() {
    let endpoints = targets(2);
    let mut balancer = Balancer::default();
    let second = Duration::from_secs(1);
    for (target, time) in [(endpoints[0], second), (endpoints[1], second / 100)] {
        balancer.begin(target);
        balancer.end(target, Some(time), Duration::ZERO);
    }
    for random in 0..100 {
        let chosen = balancer.pick(&Balance::PeakEwma, &endpoints, &request(random));
        assert_eq!(chosen, Some(endpoints[1]));
    }
    // The fast one answers on; the slow one's mean fades until it is tried again.
    for seconds in 1..60 {
        balancer.begin(endpoints[1]);
        balancer.end(endpoints[1], Some(second / 100), second * seconds);
    }
    let late = Request {
        now: second * 60,
        ..request(0)
    };
    let chosen = balancer.pick(&Balance::PeakEwma, &endpoints, &late);
    assert_eq!(chosen, Some(endpoints[0]));
}

#[test]
fn requests_under_way_count_for_ewma() {
    let endpoints = targets(2);
    let mut balancer = Balancer::default();
    for target in &endpoints {
        balancer.begin(*target);
        balancer.end(*target, Some(Duration::from_millis(10)), Duration::ZERO);
    }
    balancer.begin(endpoints[0]);
    let chosen = balancer.pick(&Balance::PeakEwma, &endpoints, &request(7));
    assert_eq!(chosen, Some(endpoints[1]));
}

#[test]
fn endpoints_that_are_gone_are_forgotten_once_idle() {
    let endpoints = targets(2);
    let mut balancer = Balancer::default();
    balancer.begin(endpoints[0]);
    balancer.begin(endpoints[1]);
    balancer.end(endpoints[1], None, Duration::ZERO);
    balancer.retain(&[]);
    assert_eq!(balancer.requests(endpoints[0]), 1);
    assert!(!balancer.loads.contains_key(&endpoints[1]));
    balancer.end(endpoints[1], None, Duration::ZERO);
}
