// SPDX-License-Identifier: Apache-2.0
//! NodePorts, load balancer and external addresses, with both external traffic policies.

use crate::case::{Case, Expect::*, To::*, host, outside, pod, reach};
use crate::object::{Kind, ready, service, terminating};

const ALL: &[&str; 3] = &["1a", "2a", "3a"];
const TWO: &[&str; 2] = &["1a", "2a"];

pub(super) fn cases() -> Vec<Case> {
    vec![
        node_port(),
        load_balancer(),
        proxied(),
        external_ip(),
        local(),
        local_short_circuits(),
        local_fallback(),
    ]
}

fn node_port() -> Case {
    Case::new(
        "node-port",
        [
            service("web", ALL.map(ready)).kind(Kind::NodePort),
            service("empty", []).kind(Kind::NodePort),
        ],
        [
            (
                outside(1),
                NodePort("web", 1),
                reach(ALL).evenly().seen_as(1),
            ),
            (
                outside(1).alias(9),
                NodePort("web", 2),
                reach(ALL).seen_as(2),
            ),
            (pod("1b"), NodePort("web", 1), reach(ALL).seen_as(1)),
            (pod("1b"), NodePort("web", 2), reach(ALL).seen_as(2)),
            (pod("1a"), NodePort("web", 1), reach(ALL).seen_as(1)),
            (host(1), NodePort("web", 1), reach(ALL)),
            (host(1), NodePort("web", 2), reach(ALL).seen_as(2)),
            (pod("1b"), ClusterIp("web"), reach(ALL)),
            // Loopback never serves NodePorts.
            (host(1), NodePortLoopback("web"), Closed),
            (outside(1), NodePort("empty", 1), Refused),
            (pod("2b"), NodePort("empty", 2), Refused),
            (host(1), NodePort("empty", 2), Refused),
        ],
    )
    .by_mode(
        "the host's own packet goes on to the port, where nobody listens; in IPVS mode it is refused",
        [(host(1), NodePort("empty", 1), Closed, Refused)],
    )
    .by_mode(
        "the Node object's addresses serve NodePorts; in IPVS mode, as in kube-proxy's, all do",
        [
            (
                outside(1),
                NodePortSecond("web", 1),
                Closed,
                reach(ALL).seen_as(1),
            ),
            (host(1), NodePortSecond("web", 1), Closed, reach(ALL)),
            (
                pod("1b"),
                NodePortInside("web", 1),
                Closed,
                reach(ALL).seen_as(1),
            ),
        ],
    )
}

fn load_balancer() -> Case {
    Case::new(
        "load-balancer",
        [
            service("web", ALL.map(ready)).kind(Kind::LoadBalancer),
            service("empty", []).kind(Kind::LoadBalancer),
        ],
        [
            (
                outside(1),
                LoadBalancer("web"),
                reach(ALL).evenly().seen_as(1),
            ),
            (outside(2), LoadBalancer("web"), reach(ALL).seen_as(2)),
            (pod("1b"), LoadBalancer("web"), reach(ALL).seen_as(1)),
            (pod("2a"), LoadBalancer("web"), reach(ALL).seen_as(2)),
            (host(3), LoadBalancer("web"), reach(ALL)),
            (outside(1), NodePort("web", 1), reach(ALL).seen_as(1)),
            (pod("1b"), ClusterIp("web"), reach(ALL)),
            (outside(1), LoadBalancer("empty"), Refused),
            (pod("1b"), LoadBalancer("empty"), Refused),
            (host(1), LoadBalancer("empty"), Refused),
        ],
    )
    .by_mode(
        "whose address it is has its other ports; in IPVS mode the address is the node's own",
        [
            (outside(1), UnusedBalancerPort("web"), Lost, Refused),
            (pod("1b"), UnusedBalancerPort("web"), Lost, Refused),
            (host(1), UnusedBalancerPort("web"), Lost, Refused),
        ],
    )
}

/// `ipMode: Proxy`: the address is the load balancer's own, nothing here answers on it.
fn proxied() -> Case {
    Case::new(
        "ip-mode-proxy",
        [service("web", TWO.map(ready)).kind(Kind::Proxied)],
        [
            (outside(1), LoadBalancer("web"), Lost),
            (pod("1b"), LoadBalancer("web"), Lost),
            (host(1), LoadBalancer("web"), Lost),
            (outside(1), NodePort("web", 1), reach(TWO).seen_as(1)),
            (pod("1b"), ClusterIp("web"), reach(TWO)),
        ],
    )
}

fn external_ip() -> Case {
    Case::new(
        "external-ip",
        [
            service("web", ALL.map(ready)).with_external_ip(),
            service("empty", []).with_external_ip(),
        ],
        [
            (
                outside(1),
                ExternalIp("web"),
                reach(ALL).evenly().seen_as(1),
            ),
            (outside(3), ExternalIp("web"), reach(ALL).seen_as(3)),
            (pod("1b"), ExternalIp("web"), reach(ALL).seen_as(1)),
            (host(1), ExternalIp("web"), reach(ALL)),
            (outside(1), ExternalIp("empty"), Refused),
            (pod("1b"), ExternalIp("empty"), Refused),
        ],
    )
}

fn local() -> Case {
    Case::new(
        "external-local",
        [
            service("web", ["1a", "1b", "2a"].map(ready))
                .kind(Kind::LoadBalancer)
                .external_local()
                .with_external_ip(),
            service("empty", [])
                .kind(Kind::LoadBalancer)
                .external_local(),
        ],
        [
            (
                outside(1),
                LoadBalancer("web"),
                reach(&["1a", "1b"]).evenly(),
            ),
            (
                outside(1).alias(5),
                LoadBalancer("web"),
                reach(&["1a", "1b"]),
            ),
            (outside(2), LoadBalancer("web"), reach(&["2a"])),
            (outside(3), LoadBalancer("web"), Dropped),
            (outside(1), NodePort("web", 1), reach(&["1a", "1b"])),
            (outside(1), NodePort("web", 2), reach(&["2a"])),
            (outside(1), NodePort("web", 3), Dropped),
            // Another node is outside, too.
            (host(1), NodePort("web", 3), Dropped),
            (outside(1), ExternalIp("web"), reach(&["1a", "1b"])),
            (outside(3), ExternalIp("web"), Dropped),
            (outside(1), LoadBalancer("empty"), Refused),
            (outside(1), NodePort("empty", 1), Refused),
            (pod("1b"), LoadBalancer("empty"), Refused),
            (host(1), LoadBalancer("empty"), Refused),
        ],
    )
}

/// Pods and the host itself reach all endpoints of policy Local, also where none is local. A
/// pod's source is kept, the host's is masqueraded.
fn local_short_circuits() -> Case {
    Case::new(
        "short-circuits",
        [service("web", TWO.map(ready))
            .kind(Kind::LoadBalancer)
            .external_local()
            .with_external_ip()],
        [
            (pod("1b"), LoadBalancer("web"), reach(TWO).evenly()),
            (pod("3b"), LoadBalancer("web"), reach(TWO)),
            (pod("3b"), ExternalIp("web"), reach(TWO)),
            (pod("3b"), NodePort("web", 3), reach(TWO)),
            (pod("1b"), NodePort("web", 1), reach(TWO)),
            (pod("1a"), LoadBalancer("web"), reach(TWO)),
            (host(1), LoadBalancer("web"), reach(TWO)),
            (host(3), LoadBalancer("web"), reach(TWO)),
            (host(3), ExternalIp("web"), reach(TWO)),
            (host(3), NodePort("web", 3), reach(TWO)),
        ],
    )
}

fn local_fallback() -> Case {
    Case::new(
        "external-terminating",
        [
            service("near", [terminating("1a"), ready("2a")])
                .kind(Kind::LoadBalancer)
                .external_local(),
            service("all", [terminating("1a"), terminating("2a")]).kind(Kind::LoadBalancer),
        ],
        [
            (outside(1), LoadBalancer("near"), reach(&["1a"])),
            (outside(2), LoadBalancer("near"), reach(&["2a"])),
            (outside(1), NodePort("near", 1), reach(&["1a"])),
            (pod("1b"), LoadBalancer("near"), reach(&["2a"])),
            (outside(3), LoadBalancer("all"), reach(TWO).seen_as(3)),
        ],
    )
}
