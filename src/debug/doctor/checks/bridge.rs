// SPDX-License-Identifier: Apache-2.0
//! Pods on a bridge: answers between two of them pass netfilter by unless br_netfilter passes
//! them on, so that a client gets them from the Pod in place of the Service.

use std::net::IpAddr;

use super::{Facts, Finding, Report};
use crate::debug::doctor::Kind;

/// A bridge with endpoints that netfilter does not see.
pub(super) fn bridge(facts: &Facts, report: &mut Report) {
    let used = facts.frontends().flat_map(|(_, f)| &f.endpoints);
    let mut seen = Vec::new();
    for endpoint in used.filter(|e| e.used.is_some()) {
        let Some(Ok(Some(way))) = facts.node.ways.get(&endpoint.address) else {
            continue;
        };
        let Some(link) = facts.node.link(*way).filter(|l| l.kind == "bridge") else {
            continue;
        };
        let setting = match endpoint.address {
            IpAddr::V4(_) => "net/bridge/bridge-nf-call-iptables",
            IpAddr::V6(_) => "net/bridge/bridge-nf-call-ip6tables",
        };
        // Without the module there is no such setting.
        let value = match facts.node.settings.get(setting) {
            Some(Ok("1")) => continue,
            Some(Ok(value)) => format!("{} = {value}", setting.replace('/', ".")),
            Some(Err(unread)) => {
                report.unread(setting, &unread);
                continue;
            }
            None => "the module br_netfilter is not loaded".to_owned(),
        };
        if seen.contains(&(link.index, setting)) {
            continue;
        }
        seen.push((link.index, setting));
        report.add(Finding::new(
            Kind::BridgeUnseen,
            format!(
                "a Pod on the bridge {} that is sent to another one there by a Service gets no \
                 usable answer",
                link.name
            ),
            format!(
                "{value}; endpoint {} is behind {}",
                endpoint.address, link.name
            ),
            format!(
                "modprobe br_netfilter; sysctl -w {}=1",
                setting.replace('/', ".")
            ),
        ));
    }
}
