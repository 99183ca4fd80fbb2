// SPDX-License-Identifier: Apache-2.0
//! Overlays whose packets do not fit into what carries them: small requests pass, large answers
//! hang.

use super::{Facts, Finding, Report};
use crate::backend::route::Link;
use crate::debug::doctor::Kind;
use crate::debug::doctor::facts::node::outside;
use crate::model::IpFamily;

/// Bytes that a kind of link adds to each packet over IPv4.
fn overhead(kind: &str) -> Option<u32> {
    Some(match kind {
        "vxlan" | "geneve" => 50,
        "ipip" | "sit" => 20,
        "gre" => 24,
        "wireguard" => 60,
        _ => return None,
    })
}

/// Overlays with an address (a Pod's network is routed through those), and bridges of endpoints.
pub(super) fn mtu(facts: &Facts, report: &mut Report) {
    let links = facts.node.links.as_deref().unwrap_or_default();
    let outside = facts.node.ways.get(&outside(IpFamily::V4));
    let outside = outside.and_then(|way| way.ok().flatten());
    let overlays = links.iter().filter(|l| l.up && !l.addresses.is_empty());
    for (overlay, adds) in overlays.filter_map(|l| Some((l, overhead(&l.kind)?))) {
        let below = overlay.below.filter(|b| *b != 0).or(outside);
        let Some(below) = below.and_then(|index| facts.node.link(index)) else {
            continue;
        };
        if below.index != overlay.index && overlay.mtu + adds > below.mtu {
            report.add(too_large(overlay, below, adds));
        }
        for bridge in bridges(facts).into_iter().filter(|b| b.mtu > overlay.mtu) {
            report.add(too_large(bridge, overlay, 0));
        }
    }
}

fn too_large(link: &Link, below: &Link, adds: u32) -> Finding {
    Finding::new(
        Kind::Mtu,
        format!(
            "large packets of {} do not pass through {}",
            link.name, below.name
        ),
        format!(
            "MTU of {} is {} and {adds} bytes are added; MTU of {} is {}",
            link.name, link.mtu, below.name, below.mtu
        ),
        format!(
            "set the MTU of {} to {} in the network plugin's configuration",
            link.name,
            below.mtu.saturating_sub(adds)
        ),
    )
}

/// Bridges that endpoints are behind.
fn bridges(facts: &Facts) -> Vec<&Link> {
    let ways = facts
        .node
        .ways
        .values()
        .filter_map(|way| way.ok().flatten());
    let mut links: Vec<&Link> = ways.filter_map(|index| facts.node.link(index)).collect();
    links.retain(|link| link.kind == "bridge");
    links.sort_unstable_by_key(|link| link.index);
    links.dedup();
    links
}
