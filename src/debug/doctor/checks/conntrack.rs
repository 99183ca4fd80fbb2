// SPDX-License-Identifier: Apache-2.0
//! The table of connections.

use super::{Facts, Finding, Report};
use crate::debug::doctor::Kind;

/// From how much of it on it counts as nearly full, percent.
const FULL: u64 = 90;

/// A table with hardly any room: the kernel drops the first packets of new connections then.
pub(super) fn full(facts: &Facts, report: &mut Report) {
    for path in [
        "net/netfilter/nf_conntrack_count",
        "net/netfilter/nf_conntrack_max",
    ] {
        if let Some(Err(unread)) = facts.node.settings.get(path) {
            report.unread(path, &unread);
        }
    }
    let number = |name| {
        facts
            .node
            .settings
            .number(&format!("net/netfilter/nf_conntrack_{name}"))
    };
    let (Some(count), Some(max)) = (number("count"), number("max")) else {
        return;
    };
    if max > 0 && count * 100 >= max * FULL {
        report.add(Finding::new(
            Kind::ConntrackFull,
            "the table of connections is nearly full: new connections are dropped once it is",
            format!("nf_conntrack_count = {count}, nf_conntrack_max = {max}"),
            "raise conntrack.maxPerCore or conntrack.min of the configuration (or sysctl -w \
             net.netfilter.nf_conntrack_max); conntrack -L | sort tells who fills it",
        ));
    }
}
