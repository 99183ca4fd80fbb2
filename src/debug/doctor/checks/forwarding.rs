// SPDX-License-Identifier: Apache-2.0
//! Whether the host forwards at all.

use super::{Facts, Finding, Report};
use crate::debug::doctor::Kind;
use crate::debug::doctor::facts::node::outside;
use crate::model::IpFamily;
use crate::observe::view::Family;

const V4: &str = "net/ipv4/ip_forward";
const V6: &str = "net/ipv6/conf/all/forwarding";

/// Settings that keep the host from forwarding what Services are for.
pub(super) fn forwarding(facts: &Facts, report: &mut Report) {
    let six = facts.frontends().any(|(_, f)| f.family == Family::IPv6);
    for (path, wanted) in [(V4, true), (V6, six)] {
        match facts.node.settings.get(path) {
            Some(Ok("0")) if wanted => report.add(off(path)),
            Some(Err(unread)) => report.unread(path, &unread),
            _ => {}
        }
    }
    if facts.node.settings.number(V4) == Some(1) {
        links(facts, report);
    }
}

fn off(path: &str) -> Finding {
    let name = path.replace('/', ".");
    Finding::new(
        Kind::ForwardingOff,
        "the host does not forward: only its own programs reach Services",
        format!("{name} = 0"),
        format!("sysctl -w {name}=1, and the same in /etc/sysctl.d, so that it lasts"),
    )
}

/// Interfaces to pods or to the outside with forwarding off.
fn links(facts: &Facts, report: &mut Report) {
    let ways = facts
        .node
        .ways
        .values()
        .filter_map(|way| way.ok().flatten());
    let mut used: Vec<u32> = ways.collect();
    used.extend(
        facts
            .node
            .ways
            .get(&outside(IpFamily::V4))
            .and_then(|w| w.ok().flatten()),
    );
    used.sort_unstable();
    used.dedup();
    for link in used.into_iter().filter_map(|index| facts.node.link(index)) {
        let path = format!("net/ipv4/conf/{}/forwarding", link.name);
        if link.name != "lo" && facts.node.settings.number(&path) == Some(0) {
            report.add(Finding::new(
                Kind::ForwardingOffLink,
                format!(
                    "what comes in by {} is not forwarded to Services",
                    link.name
                ),
                format!("{} = 0", path.replace('/', ".")),
                format!("echo 1 > /proc/sys/{path}, and the same in /etc/sysctl.d"),
            ));
        }
    }
}
