// SPDX-License-Identifier: Apache-2.0
//! Strict reverse path filters on a host with several ways outside (RFC 3704; `rp_filter` in the
//! kernel's `ip-sysctl`): what comes in by an interface that answers would not leave by is dropped.

use std::net::IpAddr;

use super::{Facts, Finding, Report, serves_outside};
use crate::debug::doctor::Kind;
use crate::debug::doctor::facts::node::outside;
use crate::model::IpFamily;

/// An interface that has the Node's address while another leads outside, with a strict filter.
pub(super) fn reverse_path(facts: &Facts, report: &mut Report) {
    let Some(Ok(Some(way))) = facts.node.ways.get(&outside(IpFamily::V4)) else {
        return;
    };
    if !serves_outside(facts, false) {
        return;
    }
    let node: Vec<IpAddr> = node_addresses(facts);
    let links = facts.node.links.as_deref().unwrap_or_default();
    for link in links
        .iter()
        .filter(|l| l.index != *way && l.up && l.name != "lo")
    {
        let own = link.addresses.iter().map(|net| net.addr());
        let Some(address) = own.into_iter().find(|a| a.is_ipv4() && node.contains(a)) else {
            continue;
        };
        let setting = |name: &str| {
            let path = format!("net/ipv4/conf/{name}/rp_filter");
            facts.node.settings.number(&path).unwrap_or(0)
        };
        if setting("all").max(setting(&link.name)) == 1 {
            let out = facts.node.link(*way).map_or("another", |l| &l.name);
            report.add(Finding::new(
                Kind::ReversePath,
                format!(
                    "clients outside that come in by {} get no answer: the way back is {out}",
                    link.name
                ),
                format!(
                    "{address} of {} is the Node's, the route outside leaves by {out}, and \
                     rp_filter of {} is 1 (strict)",
                    link.name, link.name
                ),
                format!(
                    "sysctl -w net.ipv4.conf.{}.rp_filter=2 (loose), or a rule that sends answers \
                     from {address} by {}",
                    link.name, link.name
                ),
            ));
        }
    }
}

fn node_addresses(facts: &Facts) -> Vec<IpAddr> {
    let (Some(name), Ok(objects)) = (&facts.node_name, &facts.objects) else {
        return Vec::new();
    };
    let node = objects.own_node(name).ok().flatten().unwrap_or_default();
    let addresses = node.status.addresses.iter();
    addresses.filter_map(|a| a.address.parse().ok()).collect()
}
