// SPDX-License-Identifier: Apache-2.0
//! The table once more under other flags: where NodePorts are served, what is masqueraded.

use ferrule::plan::options::{self, IpvsOptions};
use ferrule::plan::{Detector, NodePortAddresses, Options};

use super::common;
use crate::case::{Case, Expect::*, Profile, To::*, host, outside, pod, reach};
use crate::mode::{Mode, mode};
use crate::netns::CLUSTER_CIDRS;
use crate::object::{Kind, Service, ready, service};

const TWO: &[&str; 2] = &["1a", "2a"];

/// All profiles, the common one first.
pub fn profiles() -> Vec<Profile> {
    let profiles = [
        everything(),
        on_node(),
        all_addresses(),
        some_addresses(),
        masquerade_all(),
        no_detector(),
        interface_prefix(),
        one_interface(),
        node_cidr(),
    ];
    let mut last = 0;
    profiles
        .into_iter()
        .map(|p| p.numbered(&mut last).in_mode(mode()))
        .collect()
}

impl Profile {
    /// With the options that a mode has, where no flag says more.
    fn in_mode(mut self, mode: Mode) -> Self {
        if mode == Mode::Ipvs {
            self.options.mode = options::Mode::Ipvs(IpvsOptions::default());
            if self.options.node_port_addresses == NodePortAddresses::Primary {
                self.options.node_port_addresses = NodePortAddresses::all();
            }
        }
        self
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|w| (*w).to_owned()).collect()
}

/// These flags in the mode that is judged.
fn with_mode(flags: &[&str]) -> Vec<String> {
    words(&[&["--proxy-mode", mode().word()], flags].concat())
}

/// The flags of most runs.
pub fn cluster_cidr_flags() -> Vec<String> {
    with_mode(&["--cluster-cidr", CLUSTER_CIDRS])
}

fn prefixes<T: std::str::FromStr>(list: &str) -> Vec<T> {
    list.split(',').filter_map(|p| p.parse().ok()).collect()
}

fn by_cidr() -> Options {
    Options {
        detector: Detector::ClusterCidr(prefixes(CLUSTER_CIDRS)),
        ..Options::default()
    }
}

fn everything() -> Profile {
    Profile {
        name: "common",
        flags: cluster_cidr_flags(),
        options: by_cidr(),
        cases: common(),
    }
}

/// A load balancer's address that is a node's own. All nodes go on reaching that node by it.
fn on_node() -> Profile {
    let case = Case::new(
        "vip-on-node",
        [service("web", TWO.map(ready)).kind(Kind::OnNode(2))],
        [
            (outside(2), LoadBalancer("web"), reach(TWO).seen_as(2)),
            (pod("1b"), LoadBalancer("web"), reach(TWO).seen_as(1)),
            (host(2), LoadBalancer("web"), reach(TWO)),
            (outside(2), NodePort("web", 2), reach(TWO).seen_as(2)),
            (pod("1b"), NodePort("web", 2), reach(TWO).seen_as(2)),
            (host(1), NodePort("web", 2), reach(TWO).seen_as(2)),
        ],
    );
    Profile {
        name: "address of a node",
        flags: cluster_cidr_flags(),
        options: by_cidr(),
        cases: vec![case],
    }
}

fn node_port() -> Service {
    service("web", TWO.map(ready)).kind(Kind::NodePort)
}

fn local_balancer(name: &'static str) -> Service {
    service(name, TWO.map(ready))
        .kind(Kind::LoadBalancer)
        .external_local()
}

fn addresses(name: &'static str, list: &str, case: Case) -> Profile {
    let mut flags = cluster_cidr_flags();
    flags.extend(words(&["--nodeport-addresses", list]));
    let node_port_addresses = NodePortAddresses::Within(prefixes(list));
    Profile {
        name,
        flags,
        options: Options {
            node_port_addresses,
            ..by_cidr()
        },
        cases: vec![case],
    }
}

fn all_addresses() -> Profile {
    let case = Case::new(
        "all-addresses",
        [
            node_port(),
            service("near", TWO.map(ready))
                .kind(Kind::NodePort)
                .external_local(),
        ],
        [
            (outside(1), NodePort("web", 1), reach(TWO).seen_as(1)),
            (outside(1), NodePortSecond("web", 1), reach(TWO).seen_as(1)),
            (pod("1b"), NodePortInside("web", 1), reach(TWO).seen_as(1)),
            (pod("1b"), NodePortSecond("web", 2), reach(TWO).seen_as(2)),
            (host(1), NodePortSecond("web", 1), reach(TWO)),
            (outside(1), NodePortSecond("near", 1), reach(&["1a"])),
            (outside(1), NodePortSecond("near", 3), Dropped),
            (host(1), NodePortLoopback("web"), Closed),
        ],
    );
    addresses("all node addresses", "0.0.0.0/0,::/0", case)
}

fn some_addresses() -> Profile {
    let case = Case::new(
        "some-addresses",
        [node_port()],
        [
            (outside(1), NodePort("web", 1), Closed),
            (outside(1), NodePortSecond("web", 1), reach(TWO).seen_as(1)),
            (pod("1b"), NodePortInside("web", 1), Closed),
            (host(1), NodePortLoopback("web"), Closed),
        ],
    );
    addresses(
        "some node addresses",
        "172.30.1.0/24,fd00:172:30:1::/64",
        case,
    )
}

fn masquerade_all() -> Profile {
    let case = Case::new(
        "masquerade-all",
        [service("web", TWO.map(ready)), local_balancer("near")],
        [
            (pod("1b"), ClusterIp("web"), reach(TWO).evenly().seen_as(1)),
            (host(1), ClusterIp("web"), reach(TWO)),
            (outside(1), ClusterIp("web"), reach(TWO).seen_as(1)),
            // Policy Local keeps sources all the same.
            (outside(1), LoadBalancer("near"), reach(&["1a"])),
            (pod("1b"), ClusterIp("near"), reach(TWO).seen_as(1)),
        ],
    );
    let mut flags = cluster_cidr_flags();
    flags.extend(words(&["--masquerade-all"]));
    let options = Options {
        masquerade_all: true,
        ..by_cidr()
    };
    Profile {
        name: "masquerade all",
        flags,
        options,
        cases: vec![case],
    }
}

/// Without a detector nobody is known to be a pod: nothing is masqueraded for its source, and
/// only the host itself is inside.
fn no_detector() -> Profile {
    let case = Case::new(
        "no-detector",
        [service("web", [ready("1a")]), local_balancer("near")],
        [
            (outside(1), ClusterIp("web"), reach(&["1a"])),
            (pod("1b"), ClusterIp("web"), reach(&["1a"])),
            (pod("1a"), ClusterIp("web"), reach(&["1a"])),
            (outside(1), LoadBalancer("near"), reach(&["1a"])),
            (pod("1b"), LoadBalancer("near"), reach(&["1a"])),
            (pod("3b"), LoadBalancer("near"), Dropped),
            (host(3), LoadBalancer("near"), reach(TWO)),
        ],
    );
    let flags = with_mode(&[]);
    Profile {
        name: "no detector",
        flags,
        options: Options::default(),
        cases: vec![case],
    }
}

fn detector(name: &'static str, flags: &[&str], detector: Detector, case: Case) -> Profile {
    let options = Options {
        detector,
        ..Options::default()
    };
    Profile {
        name,
        flags: with_mode(flags),
        options,
        cases: vec![case],
    }
}

fn interface_prefix() -> Profile {
    let case = Case::new(
        "interface-prefix",
        [service("web", TWO.map(ready)), local_balancer("near")],
        [
            (pod("1b"), ClusterIp("web"), reach(TWO)),
            (host(1), ClusterIp("web"), reach(TWO)),
            (outside(1), ClusterIp("web"), reach(TWO).seen_as(1)),
            (pod("3b"), LoadBalancer("near"), reach(TWO)),
            (host(3), LoadBalancer("near"), reach(TWO)),
            (outside(1), LoadBalancer("near"), reach(&["1a"])),
            // A pod of another node comes by the uplink.
            (pod("1b"), NodePort("near", 3), Dropped),
        ],
    );
    let flags = &[
        "--detect-local-mode",
        "InterfaceNamePrefix",
        "--pod-interface-name-prefix",
        "pod-",
    ];
    detector(
        "interface name prefix",
        flags,
        Detector::InterfacePrefix("pod-".into()),
        case,
    )
}

/// BridgeInterface compares the whole name. Here only pod 1b hangs on that interface.
fn one_interface() -> Profile {
    let case = Case::new(
        "bridge-interface",
        [service("web", TWO.map(ready)), local_balancer("near")],
        [
            (pod("1b"), ClusterIp("web"), reach(TWO)),
            (pod("1a"), ClusterIp("web"), reach(TWO).seen_as(1)),
            (outside(1), ClusterIp("web"), reach(TWO).seen_as(1)),
            (pod("1b"), LoadBalancer("near"), reach(TWO)),
            (pod("1a"), LoadBalancer("near"), reach(&["1a"])),
        ],
    );
    let flags = &[
        "--detect-local-mode",
        "BridgeInterface",
        "--pod-bridge-interface",
        "pod-1b",
    ];
    detector(
        "bridge interface",
        flags,
        Detector::Bridge("pod-1b".into()),
        case,
    )
}

fn node_cidr() -> Profile {
    let case = Case::new(
        "node-cidr",
        [service("web", TWO.map(ready)), local_balancer("near")],
        [
            (pod("1b"), ClusterIp("web"), reach(TWO)),
            (pod("3b"), ClusterIp("web"), reach(TWO)),
            (outside(1), ClusterIp("web"), reach(TWO).seen_as(1)),
            (pod("3b"), LoadBalancer("near"), reach(TWO)),
            (pod("1b"), NodePort("near", 3), Dropped),
        ],
    );
    detector(
        "node CIDR",
        &["--detect-local-mode", "NodeCIDR"],
        Detector::NodeCidr,
        case,
    )
}
