// SPDX-License-Identifier: Apache-2.0
//! Faults of the node, made for real in its network namespace.

use std::net::{TcpListener, UdpSocket};

use ferrule::debug::doctor::Kind;

use crate::rig::{Fault, Node, check, run, set};

pub(crate) const FAULTS: &[Fault] = &[
    Fault {
        name: "ip_forward is 0",
        kind: Kind::ForwardingOff,
        cause: &["net.ipv4.ip_forward = 0"],
        seed: |_| set("net/ipv4/ip_forward", "0"),
    },
    Fault {
        name: "the bridge's interface does not forward",
        kind: Kind::ForwardingOffLink,
        cause: &["net.ipv4.conf.cni0.forwarding = 0"],
        seed: |_| set("net/ipv4/conf/cni0/forwarding", "0"),
    },
    Fault {
        name: "a second way outside, with a strict filter on the first",
        kind: Kind::ReversePath,
        cause: &["192.0.2.10 of eth0", "eth1", "rp_filter"],
        seed: |_| {
            run("ip link add eth1 type veth peer name out1");
            run("ip address add 198.51.100.10/24 dev eth1");
            run("ip link set out1 up");
            run("ip link set eth1 up");
            run("ip route replace default via 198.51.100.1");
            set("net/ipv4/conf/eth0/rp_filter", "1");
        },
    },
    Fault {
        name: "netfilter does not see the bridge",
        kind: Kind::BridgeUnseen,
        cause: &["bridge-nf-call-iptables = 0", "cni0"],
        seed: |_| set("net/bridge/bridge-nf-call-iptables", "0"),
    },
    Fault {
        name: "kube-proxy's nftables mode",
        kind: Kind::KubeProxy,
        cause: &["table ip kube-proxy"],
        seed: |_| run("nft add table ip kube-proxy"),
    },
    Fault {
        name: "kube-proxy's iptables mode",
        kind: Kind::KubeProxy,
        cause: &["chain KUBE-SERVICES in table ip nat"],
        seed: |_| {
            run("nft add table ip nat");
            run("nft add chain ip nat KUBE-SERVICES");
        },
    },
    Fault {
        name: "kube-router's link",
        kind: Kind::KubeRouter,
        cause: &["kube-dummy-if"],
        seed: |_| run("ip link add kube-dummy-if type bridge"),
    },
    Fault {
        name: "the link of an IPVS mode",
        kind: Kind::IpvsLeftover,
        cause: &["kube-ipvs0 has 1 addresses"],
        seed: |_| {
            run("ip link add kube-ipvs0 type bridge");
            run("ip address add 10.96.0.10/32 dev kube-ipvs0");
        },
    },
    Fault {
        name: "a firewall with policy drop",
        kind: Kind::ForwardDrop,
        cause: &[
            "inet firewall, chain forward: policy drop",
            "ct status dnat accept",
        ],
        seed: |_| {
            run("nft add table inet firewall");
            run(
                "nft add chain inet firewall forward { type filter hook forward priority 0 ; policy drop ; }",
            );
        },
    },
    Fault {
        name: "a firewall whose last rule rejects",
        kind: Kind::ForwardDrop,
        cause: &["ip filter, chain FORWARD: reject"],
        seed: |_| {
            run("nft add table ip filter");
            run("nft add chain ip filter FORWARD { type filter hook forward priority 0 ; }");
            run("nft add rule ip filter FORWARD ip saddr 10.0.0.1 accept");
            run("nft add rule ip filter FORWARD reject");
        },
    },
    Fault {
        name: "a rule that drops a Service's packets",
        kind: Kind::ForeignDrop,
        cause: &[
            "10.96.0.10:80 of default/web",
            "table ip raw, chain PREROUTING",
            "drop",
        ],
        seed: |_| {
            run("nft add table ip raw");
            run("nft add chain ip raw PREROUTING { type filter hook prerouting priority -300 ; }");
            run("nft add rule ip raw PREROUTING ip daddr 10.96.0.0/12 drop");
        },
    },
    Fault {
        name: "a rule in another chain that rejects an endpoint's packets",
        kind: Kind::ForeignDrop,
        cause: &[
            "10.244.1.5:8080 of default/web",
            "table inet guard, chain web",
        ],
        seed: |_| {
            run("nft add table inet guard");
            run("nft add chain inet guard web");
            run("nft add chain inet guard f { type filter hook forward priority 10 ; }");
            run("nft add rule inet guard f ip daddr 10.244.1.5 jump web");
            run("nft add rule inet guard web tcp dport 8080 reject");
        },
    },
    Fault {
        name: "a rule that gives a NodePort another destination",
        kind: Kind::ForeignDnat,
        cause: &["192.0.2.10:30080 of default/site", "dnat"],
        seed: |_| {
            run("nft add table ip nat");
            run("nft add chain ip nat PREROUTING { type nat hook prerouting priority -110 ; }");
            run("nft add rule ip nat PREROUTING tcp dport 30080 dnat to 192.0.2.99:80");
        },
    },
    Fault {
        name: "a Service that is not tracked",
        kind: Kind::ForeignNotrack,
        cause: &["10.96.0.10:80 of default/web", "notrack"],
        seed: |_| {
            run("nft add table ip raw");
            run("nft add chain ip raw OUTPUT { type filter hook output priority -300 ; }");
            run("nft add rule ip raw OUTPUT ip daddr 10.96.0.10 tcp dport 80 notrack");
        },
    },
    Fault {
        name: "a program on a NodePort",
        kind: Kind::NodePortHeld,
        cause: &["NodePort 30080 of default/site", "doctor", "0.0.0.0:30080"],
        seed: |node| {
            let listener = TcpListener::bind("0.0.0.0:30080").expect("a port");
            node.kept.push(Box::new(listener));
        },
    },
    Fault {
        name: "NodePorts in the range of ephemeral ports",
        kind: Kind::NodePortEphemeral,
        cause: &["30080 of default/site", "ip_local_port_range = 20000 60999"],
        seed: |_| set("net/ipv4/ip_local_port_range", "20000 60999"),
    },
    Fault {
        name: "a route to Pods of another node that is unreachable",
        kind: Kind::EndpointUnroutable,
        cause: &["10.244.2.5 of default/web", "No route to host"],
        seed: |_| run("ip route replace unreachable 10.244.2.0/24"),
    },
    Fault {
        name: "a rule of policy routing that prohibits the way to Pods",
        kind: Kind::EndpointUnroutable,
        cause: &["10.244.1.5 of default/shop", "Permission denied"],
        seed: |_| run("ip rule add to 10.244.1.0/24 prohibit"),
    },
    Fault {
        name: "no default route: the host's programs",
        kind: Kind::VipUnroutable,
        cause: &["10.96.0.10 of default/web", "Network is unreachable"],
        seed: |_| run("ip route delete default"),
    },
    Fault {
        name: "no default route: clients outside",
        kind: Kind::NoReturnRoute,
        cause: &["IPv4", "Network is unreachable"],
        seed: |_| run("ip route delete default"),
    },
    Fault {
        name: "a network of the node within the Services' range",
        kind: Kind::ServiceRangeRouted,
        cause: &[
            "10.96.0.10 of default/web",
            "10.96.0.0/16 is connected by eth0",
        ],
        seed: |_| run("ip address add 10.96.200.1/16 dev eth0"),
    },
    Fault {
        name: "an announced address on lo",
        kind: Kind::ArpAnswered,
        cause: &["198.51.100.30 of default/shop", "arp_ignore = 0"],
        seed: |_| run("ip address add 198.51.100.30/32 dev lo"),
    },
    Fault {
        name: "an overlay too large for what is below it",
        kind: Kind::Mtu,
        cause: &["MTU of flannel.1 is 1450", "MTU of eth0 is 1400", "1350"],
        seed: |_| {
            run("ip link add flannel.1 type vxlan id 1 dstport 8472 local 192.0.2.10 dev eth0");
            run("ip address add 10.244.1.0/32 dev flannel.1");
            run("ip link set flannel.1 up");
            run("ip link set cni0 mtu 1450");
            run("ip link set eth0 mtu 1400");
        },
    },
    Fault {
        name: "somebody has flushed the ruleset",
        kind: Kind::RulesMissing,
        cause: &["3 Services", "no nftables table \"ferrule\""],
        seed: |_| run("nft flush ruleset"),
    },
];

#[test]
fn a_healthy_node_has_no_finding() {
    ferrule::backend::testing::in_namespace(|| {
        let mut node = Node::healthy();
        for source in ["manifests", "API server"] {
            let output = node.doctor(&[]);
            let text = String::from_utf8(output.stdout).expect("text");
            assert!(
                text.trim_end()
                    .ends_with("0 errors, 0 warnings, 0 notes, 0 not checked"),
                "{source}: {text}{}",
                String::from_utf8_lossy(&output.stderr)
            );
            assert_eq!(output.status.code(), Some(0));
            node.use_server();
        }
        // What firewalls, kubelets and network plugins do on healthy nodes.
        let _kept = UdpSocket::bind("127.0.0.1:30080").expect("a port");
        for command in [
            "nft add table ip filter",
            "nft add chain ip filter KUBE-FIREWALL",
            "nft add chain ip filter FORWARD { type filter hook forward priority 0 ; policy drop ; }",
            "nft add rule ip filter FORWARD ct state invalid drop",
            "nft add rule ip filter FORWARD ct status dnat accept",
            "nft add chain ip filter INPUT { type filter hook input priority 0 ; }",
            "nft add rule ip filter INPUT tcp dport 80 drop",
            "nft add rule ip filter FORWARD ip daddr 10.244.1.5 iifname wg0 drop",
            "nft add table ip nat",
            "nft add chain ip nat POSTROUTING { type nat hook postrouting priority 100 ; }",
            "nft add rule ip nat POSTROUTING ip saddr 10.244.0.0/16 masquerade",
            "ip link add flannel.1 type vxlan id 1 dstport 8472 local 192.0.2.10 dev eth0",
            "ip link set flannel.1 mtu 1450 up",
            "ip link set cni0 mtu 1450",
        ] {
            run(command);
        }
        let output = node.doctor(&[]);
        let text = String::from_utf8(output.stdout).expect("text");
        assert!(text.contains("0 errors, 0 warnings"), "{text}");
    });
}

#[test]
fn faults_of_the_node_are_found() {
    check(FAULTS);
}

/// Without the right to read rules the others are still checked.
#[test]
fn what_may_not_be_read_is_told() {
    ferrule::backend::testing::in_namespace(|| {
        let node = Node::healthy();
        let program = env!("CARGO_BIN_EXE_ferrule");
        let output = std::process::Command::new("setpriv")
            .args([
                "--bounding-set=-all",
                "--inh-caps=-all",
                program,
                "debug",
                "doctor",
            ])
            .args(["--admin-socket", &node.socket()])
            .output()
            .expect("setpriv");
        let text = String::from_utf8(output.stdout).expect("text");
        assert_eq!(output.status.code(), Some(1), "{text}");
        for expected in [
            "[capability]",
            "not checked: forbidden (needs CAP_NET_ADMIN",
            "rules of other programs",
        ] {
            assert!(text.contains(expected), "{expected}: {text}");
        }
    });
}
