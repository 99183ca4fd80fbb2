// SPDX-License-Identifier: Apache-2.0
//! Addresses that Services wait for, and those that two of them want.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use super::{Facts, Finding, Report};
use crate::debug::doctor::Kind;
use crate::observe::view::FrontendKind;

/// Load balancers that have not come.
pub(super) fn pending(facts: &Facts, report: &mut Report) {
    let Ok(objects) = &facts.objects else { return };
    if let Err(unread) = &objects.services {
        report.unread("Services", unread);
    }
    for service in objects.proxied().filter(|s| s.spec.kind == "LoadBalancer") {
        if service.status.load_balancer.ingress.is_empty() {
            let class = match &service.spec.load_balancer_class {
                Some(class) => format!("loadBalancerClass {class}"),
                None => "no loadBalancerClass".to_owned(),
            };
            report.add(Finding::new(
                Kind::LoadBalancerPending,
                format!(
                    "{} waits for a load balancer's address",
                    service.metadata.id()
                ),
                format!("status.loadBalancer.ingress is empty; {class}"),
                "a controller gives the address (a cloud's, MetalLB, kube-vip): see kubectl \
                 describe service and the controller's log; its NodePorts work without it",
            ));
        }
    }
}

/// One address and port of two Services: the older Service has it.
pub(super) fn claimed(facts: &Facts, report: &mut Report) {
    let Ok(objects) = &facts.objects else { return };
    let mut claims: BTreeMap<(IpAddr, &str, u16), Vec<String>> = BTreeMap::new();
    for service in objects.proxied() {
        for (kind, address) in service.addresses() {
            for port in &service.spec.ports {
                let key = (address, port.protocol.as_str(), port.port);
                let what = match kind {
                    FrontendKind::ExternalIP => "externalIPs",
                    FrontendKind::LoadBalancer => "loadBalancer",
                    _ => "clusterIPs",
                };
                let claim = format!("{} ({what})", service.metadata.id());
                claims.entry(key).or_default().push(claim);
            }
        }
    }
    for ((address, protocol, port), mut who) in claims {
        who.sort();
        who.dedup_by(|a, b| a.split(' ').next() == b.split(' ').next());
        if who.len() > 1 {
            let protocol = if protocol.is_empty() { "TCP" } else { protocol };
            report.add(Finding::new(
                Kind::ClaimedTwice,
                format!(
                    "{} Services want {}/{protocol}",
                    who.len(),
                    SocketAddr::new(address, port)
                ),
                who.join(", "),
                "the oldest Service has it, the others are not served there: take it from them",
            ));
        }
    }
}
