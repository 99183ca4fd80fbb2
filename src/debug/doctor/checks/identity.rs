// SPDX-License-Identifier: Apache-2.0
//! Whether the cluster's Node is this host, and what the API server's clock says.

use std::net::IpAddr;

use super::{Facts, Finding, Report};
use crate::debug::doctor::Kind;
use crate::debug::doctor::facts::Server;

/// Clocks may differ so much, seconds; the header has no parts of a second, and answers travel.
const SKEW: i64 = 5;

/// The own Node object and its addresses.
pub(super) fn node(facts: &Facts, report: &mut Report) {
    let objects = match &facts.objects {
        Ok(objects) => objects,
        Err(unread) => return report.unread("objects of the cluster", unread),
    };
    let nodes = objects.nodes_of_directory.as_ref();
    // A directory need not have Nodes.
    let (Some(name), false) = (&facts.node_name, nodes.is_some_and(Vec::is_empty)) else {
        if let Err(unread) = &objects.node {
            report.unread("the Node", unread);
        }
        return;
    };
    match objects.own_node(name) {
        Err(unread) => report.unread(format!("the Node {name}"), &unread),
        Ok(None) => report.add(Finding::new(
            Kind::NodeMissing,
            format!(
                "there is no Node {name}: local endpoints and NodePort addresses are not known"
            ),
            "the API server, or the directory of manifests, has no such object",
            "give the agent the name that kubectl get nodes shows (--hostname-override, in a \
             DaemonSet from spec.nodeName)",
        )),
        Ok(Some(node)) => {
            let addresses = node.status.addresses.iter();
            let internal = addresses.filter(|a| a.kind == "InternalIP");
            let internal: Vec<IpAddr> = internal.filter_map(|a| a.address.parse().ok()).collect();
            let Ok(links) = &facts.node.links else { return };
            let own: Vec<IpAddr> = links
                .iter()
                .flat_map(|l| &l.addresses)
                .map(|n| n.addr())
                .collect();
            if internal.iter().any(|a| own.contains(a)) {
                return;
            }
            let shown: Vec<String> = internal.iter().map(ToString::to_string).collect();
            report.add(Finding::new(
                Kind::NodeAddress,
                format!("no InternalIP of the Node {name} is an address of this host"),
                match shown.is_empty() {
                    true => "status.addresses has no InternalIP".to_owned(),
                    false => format!("InternalIP {}, which no interface has", shown.join(", ")),
                },
                "start the kubelet with --node-ip=ADDRESS of this host; check that \
                 --hostname-override names this Node",
            ));
        }
    }
}

/// The API server: whether it answers, and its clock.
pub(super) fn server(facts: &Facts, report: &mut Report) {
    match &facts.server {
        Some(Server::Silent(why)) => report.add(Finding::new(
            Kind::ApiUnreachable,
            "the API server does not answer: changes of the cluster are not followed",
            why,
            "check the server of the kubeconfig, the way to it, and its certificate",
        )),
        Some(Server::Answers { ahead: Some(ahead) }) if ahead.abs() > SKEW => {
            let word = if *ahead > 0 { "ahead of" } else { "behind" };
            report.add(Finding::new(
                Kind::ClockSkew,
                format!("the API server's clock is {} s {word} this host's", ahead.abs()),
                "the header Date of its answer",
                "start a time service (chronyd, systemd-timesyncd): certificates, tokens and leases \
                 fail where clocks differ",
            ));
        }
        _ => {}
    }
}
