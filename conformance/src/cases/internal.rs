// SPDX-License-Identifier: Apache-2.0
//! ClusterIPs: who answers, which source is seen, what is refused.

use crate::case::{Case, Expect::*, To::*, host, outside, pod, reach};
use crate::object::{ready, service, terminating, unready};

pub(super) fn cases() -> Vec<Case> {
    vec![
        cluster_ip(),
        refusals(),
        named_ports(),
        terminating_fallback(),
        internal_local(),
        zones(),
        hinted_nodes(),
        on_interface(),
    ]
}

fn cluster_ip() -> Case {
    let all = &["1a", "2a", "3a"];
    Case::new(
        "cluster-ip",
        [
            service("web", all.map(ready)),
            service("one", [ready("2a")]),
        ],
        [
            (pod("1b"), ClusterIp("web"), reach(all).evenly()),
            (pod("3b"), ClusterIp("web"), reach(all)),
            (host(1), ClusterIp("web"), reach(all).evenly()),
            (host(2), ClusterIp("web"), reach(all)),
            // Off-cluster sources are masqueraded: their answers must come back this way.
            (outside(1), ClusterIp("web"), reach(all).evenly().seen_as(1)),
            (
                outside(3).alias(77),
                ClusterIp("web"),
                reach(all).seen_as(3),
            ),
            // Hairpin: 1a also reaches itself, and then sees its node.
            (pod("1a"), ClusterIp("web"), reach(all).evenly()),
            (pod("2a"), ClusterIp("one"), reach(&["2a"])),
            (pod("1a"), ClusterIp("one"), reach(&["2a"])),
        ],
    )
}

fn refusals() -> Case {
    Case::new(
        "refusals",
        [
            service("web", [ready("1a")]),
            service("empty", []),
            service("unready", [unready("1a"), unready("2a")]),
        ],
        [
            (pod("1b"), ClusterIp("empty"), Refused),
            (host(1), ClusterIp("empty"), Refused),
            (outside(1), ClusterIp("empty"), Refused),
            (pod("1b"), ClusterIp("unready"), Refused),
            (pod("2b"), UnusedPort("web"), Refused),
            (host(2), UnusedPort("web"), Refused),
            (outside(2), UnusedPort("web"), Refused),
            (pod("2b"), UnusedPort("empty"), Refused),
            (pod("1b"), Unallocated, Dropped),
            (host(1), Unallocated, Dropped),
            (outside(1), Unallocated, Dropped),
        ],
    )
}

/// The slices of a Service map a port name to different numbers.
fn named_ports() -> Case {
    Case::new(
        "named-ports",
        [service(
            "web",
            [
                ready("1a"),
                ready("2a").second_port(),
                ready("3a").second_port(),
            ],
        )],
        [
            (
                pod("1b"),
                ClusterIp("web"),
                reach(&["1a", "2a", "3a"]).evenly(),
            ),
            (host(2), ClusterIp("web"), reach(&["1a", "2a", "3a"])),
        ],
    )
}

fn terminating_fallback() -> Case {
    Case::new(
        "terminating",
        [
            service("all", [terminating("1a"), terminating("2a")]),
            service("some", [ready("1a"), terminating("2a"), terminating("3a")]),
            service(
                "gone",
                [crate::object::Endpoint {
                    serving: false,
                    ..terminating("1a")
                }],
            ),
            service("near", [terminating("1a"), ready("2a")]).internal_local(),
        ],
        [
            (pod("1b"), ClusterIp("all"), reach(&["1a", "2a"]).evenly()),
            (host(3), ClusterIp("all"), reach(&["1a", "2a"])),
            (pod("2b"), ClusterIp("some"), reach(&["1a"])),
            (pod("1b"), ClusterIp("gone"), Refused),
            // Policy Local looks for ready ones here first, then for terminating ones here.
            (pod("1b"), ClusterIp("near"), reach(&["1a"])),
            (pod("2b"), ClusterIp("near"), reach(&["2a"])),
        ],
    )
}

fn internal_local() -> Case {
    Case::new(
        "internal-local",
        [
            service("near", ["1a", "1b", "2a"].map(ready)).internal_local(),
            service("empty", []).internal_local(),
        ],
        [
            (pod("1b"), ClusterIp("near"), reach(&["1a", "1b"]).evenly()),
            (host(1), ClusterIp("near"), reach(&["1a", "1b"])),
            (
                outside(1),
                ClusterIp("near"),
                reach(&["1a", "1b"]).seen_as(1),
            ),
            (pod("2b"), ClusterIp("near"), reach(&["2a"])),
            // Endpoints only elsewhere: drop, not refusal.
            (pod("3a"), ClusterIp("near"), Dropped),
            (host(3), ClusterIp("near"), Dropped),
            (outside(3), ClusterIp("near"), Dropped),
            // None anywhere: refusal.
            (pod("3a"), ClusterIp("empty"), Refused),
        ],
    )
}

fn zones() -> Case {
    let hinted = [
        ready("1a").for_zone("east"),
        ready("2a").for_zone("west"),
        ready("3a").for_zone("west"),
    ];
    let one_without = [hinted[0], ready("2a")];
    let all_west = [ready("2a").for_zone("west"), ready("3a").for_zone("west")];
    let leaving = [terminating("1a").for_zone("east"), hinted[1]];
    Case::new(
        "zones",
        [
            service("web", hinted),
            service("half", one_without),
            service("west", all_west),
            service("leaving", leaving),
        ],
        [
            (pod("1b"), ClusterIp("web"), reach(&["1a"])),
            (host(1), ClusterIp("web"), reach(&["1a"])),
            (pod("2b"), ClusterIp("web"), reach(&["2a", "3a"]).evenly()),
            (pod("3b"), ClusterIp("web"), reach(&["2a", "3a"])),
            // One missing hint: no hint counts.
            (pod("1b"), ClusterIp("half"), reach(&["1a", "2a"])),
            // No endpoint for this zone: all.
            (pod("1b"), ClusterIp("west"), reach(&["2a", "3a"])),
            // Hints of endpoints that are not ready do not count.
            (pod("1b"), ClusterIp("leaving"), reach(&["2a"])),
        ],
    )
}

fn hinted_nodes() -> Case {
    let own = |p, n, z| ready(p).for_node(n).for_zone(z);
    let both = [
        own("1a", "node-1", "east"),
        own("2a", "node-2", "west"),
        own("2b", "node-2", "west"),
    ];
    Case::new(
        "hinted-nodes",
        [
            service(
                "near",
                [
                    ready("1a").for_node("node-1"),
                    ready("2a").for_node("node-2"),
                ],
            ),
            service("both", both),
        ],
        [
            (pod("1b"), ClusterIp("near"), reach(&["1a"])),
            (pod("2b"), ClusterIp("near"), reach(&["2a"])),
            (pod("3b"), ClusterIp("near"), reach(&["1a", "2a"])),
            (pod("1b"), ClusterIp("both"), reach(&["1a"])),
            // No endpoint for node 3, but for its zone.
            (pod("3b"), ClusterIp("both"), reach(&["2a", "2b"])),
        ],
    )
}

/// The ClusterIP is an address of node 1 (as node-local DNS caches have it).
fn on_interface() -> Case {
    Case::new(
        "on-interface",
        [service("dns", ["1a", "2a"].map(ready)).on_interface()],
        [
            (pod("1b"), ClusterIp("dns"), reach(&["1a", "2a"]).evenly()),
            (host(1), ClusterIp("dns"), reach(&["1a", "2a"])),
            (pod("2b"), ClusterIp("dns"), reach(&["1a", "2a"])),
            // Here something on the node may listen; elsewhere it is any ClusterIP.
            (pod("1b"), UnusedPort("dns"), Closed),
            (pod("2b"), UnusedPort("dns"), Refused),
        ],
    )
}
