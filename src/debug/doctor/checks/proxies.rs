// SPDX-License-Identifier: Apache-2.0
//! Other proxies of Services on the same node.

use super::{Facts, Finding, Report};
use crate::debug::doctor::facts::Agent;
use crate::debug::doctor::{Kind, Unread};

/// kube-proxy's own chains; KUBE-FIREWALL, KUBE-KUBELET-CANARY and KUBE-IPTABLES-HINT are the
/// kubelet's.
const CHAINS: [&str; 2] = ["KUBE-SERVICES", "KUBE-NODEPORTS"];

/// Rules of kube-proxy, in nftables or iptables mode.
pub(super) fn kube_proxy(facts: &Facts, report: &mut Report) {
    let tables = match &facts.node.tables {
        Ok(tables) => tables,
        Err(unread) => return report.unread("rules of other programs", unread),
    };
    let mut seen = Vec::new();
    for table in tables {
        let name = format!("{} {}", table.family, table.name);
        if table.name == "kube-proxy" {
            seen.push(format!("table {name}"));
        } else if let Some(chain) = table.chains.iter().find(|c| CHAINS.contains(&&*c.name)) {
            seen.push(format!("chain {} in table {name}", chain.name));
        }
    }
    if !seen.is_empty() {
        report.add(Finding::new(
            Kind::KubeProxy,
            "kube-proxy's rules are here: two proxies decide on the same packets",
            seen.join(", "),
            "stop kube-proxy on this node (kubectl -n kube-system get ds kube-proxy); once it is \
             gone, a start of ferrule without --keep-leftovers, or ferrule --cleanup, removes them",
        ));
    }
}

/// kube-router, Cilium, and the link of an IPVS mode.
pub(super) fn others(facts: &Facts, report: &mut Report) {
    if facts.node.link_named("kube-dummy-if").is_some() {
        report.add(Finding::new(
            Kind::KubeRouter,
            "kube-router's service proxy is on this node",
            "there is a link kube-dummy-if",
            "start kube-router with --run-service-proxy=false, then run kube-router \
             --cleanup-config on the node",
        ));
    }
    if facts.node.link_named("cilium_host").is_some() {
        cilium(facts, report);
    }
    let mode = facts.agent.about().map(|about| about.mode.as_str());
    let agent = matches!(facts.agent, Agent::Answers { .. });
    if let Some(link) = facts.node.link_named("kube-ipvs0")
        && agent
        && mode != Some("ipvs")
    {
        report.add(Finding::new(
            Kind::IpvsLeftover,
            "an IPVS mode has left its link: the host takes packets to those addresses for its own",
            format!("kube-ipvs0 has {} addresses", link.addresses.len()),
            "start ferrule without --keep-leftovers, which removes it as its connections end, or \
             ip link delete kube-ipvs0",
        ));
    }
}

fn cilium(facts: &Facts, report: &mut Report) {
    match &facts.node.cilium_sockets {
        Ok(true) => report.add(Finding::new(
            Kind::Cilium,
            "Cilium serves Services here (kube-proxy replacement), before any rule is asked",
            "there is a link cilium_host, and programs are pinned in \
             /sys/fs/bpf/cilium/socketlb/links/cgroup",
            "run one of them: set kubeProxyReplacement: false in Cilium, or take ferrule off the \
             node",
        )),
        Ok(false) => {}
        Err(why) => report.unread(
            "whether Cilium, which is on this node, replaces kube-proxy (cilium-dbg status tells)",
            &Unread::clone(why),
        ),
    }
}
