// SPDX-License-Identifier: Apache-2.0
//! Announced addresses of Services that the node answers ARP for by itself.

use std::net::IpAddr;

use super::{Facts, Finding, Report, listed, name};
use crate::debug::doctor::Kind;
use crate::observe::view::FrontendKind;

/// Addresses on `kube-ipvs0`, `lo` or a dummy: whichever node is asked first answers, and whoever
/// announces them (MetalLB, kube-vip) is not heard. kube-proxy's `strictARP`.
pub(super) fn answered(facts: &Facts, report: &mut Report) {
    if facts.node.settings.number("net/ipv4/conf/all/arp_ignore") != Some(0) {
        return;
    }
    let announced = |kind| matches!(kind, FrontendKind::LoadBalancer | FrontendKind::ExternalIP);
    let vips = facts.frontends().filter(|(_, f)| announced(f.kind));
    let vips: Vec<(IpAddr, String)> = vips
        .filter_map(|(service, f)| Some((f.address?, name(service))))
        .collect();
    let links = facts.node.links.as_deref().unwrap_or_default();
    let aside = |name: &str, kind: &str| name == "lo" || name == "kube-ipvs0" || kind == "dummy";
    for link in links.iter().filter(|link| aside(&link.name, &link.kind)) {
        let own = |vip: &IpAddr| vip.is_ipv4() && link.addresses.iter().any(|n| n.addr() == *vip);
        let hit = vips.iter().filter(|(vip, _)| own(vip));
        let hit: Vec<String> = hit
            .map(|(vip, service)| format!("{vip} of {service}"))
            .collect();
        if !hit.is_empty() {
            report.add(Finding::new(
                Kind::ArpAnswered,
                format!("every node answers ARP for announced addresses: {}", listed(hit)),
                format!("they are on {}, and net.ipv4.conf.all.arp_ignore = 0", link.name),
                "set ipvs.strictARP: true in the configuration (or --ipvs-strict-arp), or sysctl -w \
                 net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2",
            ));
        }
    }
}
