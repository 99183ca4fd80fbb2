// SPDX-License-Identifier: Apache-2.0
//! Ways to endpoints, to Services and back to clients.

use std::collections::BTreeMap;
use std::net::IpAddr;

use nix::errno::Errno;

use super::{Facts, Finding, Report, listed, name, serves_outside};
use crate::debug::doctor::Kind;
use crate::debug::doctor::facts::node::outside;
use crate::model::IpFamily;
use crate::observe::view::FrontendKind;

/// Addresses to which the host finds no way.
pub(super) fn ways(facts: &Facts, report: &mut Report) {
    if let Err(unread) = &facts.node.routes {
        report.unread("routes", unread);
    }
    if let Err(unread) = &facts.services {
        report.unread("Services and what leads to them", unread);
    }
    let lost = |address: &IpAddr| match facts.node.ways.get(address) {
        Some(Err(errno)) => Some(*errno),
        _ => None,
    };
    let (mut endpoints, mut vips) = (BTreeMap::new(), BTreeMap::new());
    for (service, frontend) in facts.frontends() {
        let used = frontend.endpoints.iter().filter(|e| e.used.is_some());
        for (endpoint, errno) in used.filter_map(|e| Some((e, lost(&e.address)?))) {
            let all: &mut Vec<String> = endpoints.entry(errno).or_default();
            all.push(format!("{} of {}", endpoint.address, name(service)));
        }
        if let (FrontendKind::ClusterIP, Some(address)) = (frontend.kind, frontend.address)
            && let Some(errno) = lost(&address)
        {
            let all: &mut Vec<String> = vips.entry(errno).or_default();
            all.push(format!("{address} of {}", name(service)));
        }
    }
    for (errno, endpoints) in endpoints {
        report.add(Finding::new(
            Kind::EndpointUnroutable,
            format!("there is no way to endpoints: {}", listed(endpoints)),
            reason(errno),
            "the network plugin has to make the route (kubectl -n kube-system get pods -o wide \
             shows its Pods); see also ip rule and ip route get ADDRESS",
        ));
    }
    for (errno, vips) in vips {
        report.add(Finding::new(
            Kind::VipUnroutable,
            format!(
                "programs of this host cannot connect to Services: {}",
                listed(vips)
            ),
            reason(errno),
            "give the host a default route, or any route that holds the Services' addresses: it is \
             asked before the rules translate",
        ));
    }
    back(facts, report);
}

fn reason(errno: i32) -> String {
    format!(
        "the look-up of the route says: {}",
        Errno::from_raw(errno).desc()
    )
}

/// The way to clients that are not in any network of the host's.
fn back(facts: &Facts, report: &mut Report) {
    for (family, v6) in [(IpFamily::V4, false), (IpFamily::V6, true)] {
        if let Some(Err(errno)) = facts.node.ways.get(&outside(family))
            && serves_outside(facts, v6)
        {
            report.add(Finding::new(
                Kind::NoReturnRoute,
                format!("clients outside get no answer by {family}: no route leads back to them"),
                format!(
                    "{} ({} stands for such a client)",
                    reason(*errno),
                    outside(family)
                ),
                "ip route add default via GATEWAY",
            ));
        }
    }
}

/// Networks that the host is connected to and that hold addresses of Services, too.
pub(super) fn overlap(facts: &Facts, report: &mut Report) {
    let vips = facts
        .frontends()
        .filter(|(_, f)| f.kind == FrontendKind::ClusterIP);
    let vips: Vec<(IpAddr, String)> = vips
        .filter_map(|(service, f)| Some((f.address?, name(service))))
        .collect();
    let used = facts.frontends().flat_map(|(_, f)| &f.endpoints);
    let endpoints: Vec<IpAddr> = used.map(|e| e.address).collect();
    let mut seen: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut add = |evidence: String, inside: &dyn Fn(&IpAddr) -> bool| {
        let hit = vips.iter().filter(|(vip, _)| inside(vip));
        let hit: Vec<String> = hit
            .map(|(vip, service)| format!("{vip} of {service}"))
            .collect();
        if !hit.is_empty() {
            seen.entry(evidence).or_default().extend(hit);
        }
    };
    for link in facts.node.links.as_deref().unwrap_or_default() {
        let single = |net: &ipnet::IpNet| net.prefix_len() == net.max_prefix_len();
        for net in link.addresses.iter().filter(|net| !single(net)) {
            let evidence = format!("{} is connected by {}", net.trunc(), link.name);
            add(evidence, &|vip| net.contains(vip));
        }
    }
    for route in facts.node.routes.as_deref().unwrap_or_default() {
        let net = route.destination;
        // A route of its own for the addresses of Services is no accident.
        if net.prefix_len() > 0 && endpoints.iter().any(|e| net.contains(e)) {
            let evidence = format!("the route {net} leads to endpoints as well");
            add(evidence, &|vip| net.contains(vip));
        }
    }
    for (evidence, vips) in seen {
        report.add(Finding::new(
            Kind::ServiceRangeRouted,
            format!(
                "addresses of Services are also addresses of a network: {}",
                listed(vips)
            ),
            evidence,
            "what really has these addresses cannot be reached from here: give the network or the \
             Services (--service-cluster-ip-range) another range",
        ));
    }
}
