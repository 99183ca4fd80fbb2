// SPDX-License-Identifier: Apache-2.0
//! `loadBalancerSourceRanges`. The client's alias k is 10.99.0.0 + k and fd00:10:99:: + k.

use ferrule::model::IpFamily;

use crate::case::{Case, Expect::*, Row, To::*, host, outside, pod, reach};
use crate::object::{Kind, ready, service};

const TWO: &[&str; 2] = &["1a", "2a"];

/// Aliases 0 to 255 and 512 to 1,023, said in nested, duplicate and overlapping prefixes.
const TANGLED: &[&str] = &[
    "10.99.0.128/25",
    "10.99.0.0/24",
    "10.99.0.0/24",
    "10.99.0.64/26",
    "10.99.2.0/24",
    "10.99.2.0/23",
    "10.99.3.7/32",
    "10.99.3.128/25",
    "fd00:10:99::80/121",
    "fd00:10:99::/120",
    "fd00:10:99::/120",
    "fd00:10:99::40/122",
    "fd00:10:99::200/120",
    "fd00:10:99::200/119",
    "fd00:10:99::307/128",
    "fd00:10:99::380/121",
];

pub(super) fn cases() -> Vec<Case> {
    vec![
        tangled(),
        one_family(),
        holding_nodes(),
        everything(),
        with_local(),
    ]
}

fn tangled() -> Case {
    Case::new(
        "ranges",
        [
            service("web", TWO.map(ready))
                .kind(Kind::LoadBalancer)
                .with_external_ip()
                .ranges(TANGLED),
            service("empty", [])
                .kind(Kind::LoadBalancer)
                .ranges(TANGLED),
        ],
        [
            (
                outside(1).alias(5),
                LoadBalancer("web"),
                reach(TWO).seen_as(1),
            ),
            (
                outside(1).alias(70),
                LoadBalancer("web"),
                reach(TWO).seen_as(1),
            ),
            (
                outside(1).alias(255),
                LoadBalancer("web"),
                reach(TWO).seen_as(1),
            ),
            (
                outside(1).alias(512),
                LoadBalancer("web"),
                reach(TWO).seen_as(1),
            ),
            (
                outside(1).alias(775),
                LoadBalancer("web"),
                reach(TWO).seen_as(1),
            ),
            (
                outside(1).alias(1_023),
                LoadBalancer("web"),
                reach(TWO).seen_as(1),
            ),
            (outside(1).alias(256), LoadBalancer("web"), Dropped),
            (outside(1).alias(511), LoadBalancer("web"), Dropped),
            (outside(1).alias(1_024), LoadBalancer("web"), Dropped),
            (outside(1), LoadBalancer("web"), Dropped),
            (pod("1b"), LoadBalancer("web"), Dropped),
            (host(1), LoadBalancer("web"), Dropped),
            // Ranges hold for the load balancer address only.
            (outside(1), NodePort("web", 1), reach(TWO).seen_as(1)),
            (outside(1), ExternalIp("web"), reach(TWO).seen_as(1)),
            (pod("1b"), ClusterIp("web"), reach(TWO)),
            // Without endpoints: refusal inside the ranges, drop outside.
            (outside(1).alias(5), LoadBalancer("empty"), Refused),
            (outside(1), LoadBalancer("empty"), Dropped),
        ],
    )
}

/// A family without a range of its own is not restricted.
fn one_family() -> Case {
    let mut case = Case::new(
        "ranges-one-family",
        [service("web", TWO.map(ready))
            .kind(Kind::LoadBalancer)
            .ranges(&["10.99.0.0/24"])],
        [(
            outside(1).alias(5),
            LoadBalancer("web"),
            reach(TWO).seen_as(1),
        )],
    );
    let row = |expect| Row::new(outside(1), LoadBalancer("web"), expect);
    case.rows.push(row(Dropped).only(IpFamily::V4));
    case.rows
        .push(row(reach(TWO).seen_as(1)).only(IpFamily::V6));
    case
}

fn holding_nodes() -> Case {
    let ranges = &["172.30.0.0/24", "fd00:172:30::/64"];
    Case::new(
        "ranges-of-nodes",
        [service("web", TWO.map(ready))
            .kind(Kind::LoadBalancer)
            .ranges(ranges)],
        [
            (host(1), LoadBalancer("web"), reach(TWO)),
            (host(3), LoadBalancer("web"), reach(TWO)),
            (outside(1), LoadBalancer("web"), Dropped),
        ],
    )
}

fn everything() -> Case {
    let ranges = &["10.99.0.0/24", "0.0.0.0/0", "fd00:10:99::/120", "::/0"];
    Case::new(
        "ranges-of-all",
        [service("web", TWO.map(ready))
            .kind(Kind::LoadBalancer)
            .ranges(ranges)],
        [
            (outside(1), LoadBalancer("web"), reach(TWO).seen_as(1)),
            (pod("1b"), LoadBalancer("web"), reach(TWO).seen_as(1)),
        ],
    )
}

fn with_local() -> Case {
    let web = service("web", TWO.map(ready))
        .kind(Kind::LoadBalancer)
        .external_local();
    Case::new(
        "ranges-and-local",
        [web.ranges(TANGLED)],
        [
            (outside(1).alias(5), LoadBalancer("web"), reach(&["1a"])),
            (outside(2).alias(5), LoadBalancer("web"), reach(&["2a"])),
            (outside(3).alias(5), LoadBalancer("web"), Dropped),
            (outside(1), LoadBalancer("web"), Dropped),
            (pod("1b"), LoadBalancer("web"), Dropped),
            (outside(1), NodePort("web", 1), reach(&["1a"])),
        ],
    )
}
