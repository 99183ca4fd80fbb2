// SPDX-License-Identifier: Apache-2.0
//! NodePorts that something else on the host uses.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{Facts, Finding, Report, listed, name};
use crate::debug::doctor::Kind;
use crate::observe::view::{FrontendKind, Protocol};

/// NodePorts with their Services.
fn node_ports(facts: &Facts) -> BTreeMap<(u8, u16), (Protocol, String)> {
    let node_ports = facts
        .frontends()
        .filter(|(_, f)| f.kind == FrontendKind::NodePort);
    let entry = |(service, f): (&_, &crate::observe::view::FrontendView)| {
        ((f.protocol as u8, f.port), (f.protocol, name(service)))
    };
    node_ports.map(entry).collect()
}

/// Programs of the host that listen on a NodePort: rules take their clients away, as far as they
/// come by a NodePort's address, and the program gets the others.
pub(super) fn held(facts: &Facts, report: &mut Report) {
    let sockets = match &facts.node.listening {
        Ok(sockets) => sockets,
        Err(unread) => return report.unread("listening sockets", unread),
    };
    let ours = facts.agent.about().map(|about| format!("({})", about.pid));
    for ((_, port), (protocol, service)) in node_ports(facts) {
        let held = sockets.iter().find(|s| {
            let us = ours.as_ref().is_some_and(|us| {
                s.program
                    .as_ref()
                    .is_some_and(|program| program.ends_with(us.as_str()))
            });
            s.protocol == protocol && s.port == port && !loopback(s.address) && !us
        });
        if let Some(socket) = held {
            let program = socket
                .program
                .as_deref()
                .unwrap_or("a program that cannot be seen here");
            report.add(Finding::new(
                Kind::NodePortHeld,
                format!("NodePort {port} of {service} is also a port of a program on this host"),
                format!(
                    "{program} listens on {}",
                    std::net::SocketAddr::new(socket.address, port)
                ),
                "give the program another port, or the Service another nodePort: clients of the \
                 program reach the Service instead",
            ));
        }
    }
}

fn loopback(address: IpAddr) -> bool {
    address.is_loopback()
}

/// NodePorts that outgoing connections of the host may take as their own port.
pub(super) fn ephemeral(facts: &Facts, report: &mut Report) {
    let range = match facts.node.settings.get("net/ipv4/ip_local_port_range") {
        Some(Ok(range)) => range,
        Some(Err(unread)) => return report.unread("net.ipv4.ip_local_port_range", &unread),
        None => return,
    };
    let mut numbers = range
        .split_whitespace()
        .filter_map(|n| n.parse::<u16>().ok());
    let (Some(low), Some(high)) = (numbers.next(), numbers.next()) else {
        return;
    };
    let reserved = facts.node.settings.get("net/ipv4/ip_local_reserved_ports");
    let reserved = reserved.and_then(Result::ok).unwrap_or_default();
    let inside = |port: &u16| (low..=high).contains(port) && !is_reserved(reserved, *port);
    let ports = node_ports(facts);
    let found: Vec<String> = ports
        .iter()
        .filter(|((_, port), _)| inside(port))
        .map(|((_, port), (_, service))| format!("{port} of {service}"))
        .collect();
    if !found.is_empty() {
        report.add(Finding::new(
            Kind::NodePortEphemeral,
            format!(
                "the host's own connections may use NodePorts: {}",
                listed(found)
            ),
            format!("net.ipv4.ip_local_port_range = {low} {high}"),
            "sysctl -w net.ipv4.ip_local_reserved_ports=30000-32767, or end the range outside of \
             the NodePorts'",
        ));
    }
}

/// Whether a list as `80,30000-32767` holds a port.
fn is_reserved(list: &str, port: u16) -> bool {
    list.split(',').any(|range| {
        let (low, high) = range.split_once('-').unwrap_or((range, range));
        let bounds = (low.trim().parse::<u16>(), high.trim().parse::<u16>());
        matches!(bounds, (Ok(low), Ok(high)) if (low..=high).contains(&port))
    })
}

#[cfg(test)]
mod tests {
    use super::is_reserved;

    #[test]
    fn reserved_ports_are_a_list_of_ranges() {
        for (list, port, expected) in [
            ("", 30000, false),
            ("30000", 30000, true),
            ("80,30000-32767", 31000, true),
            ("80,30000-32767", 29999, false),
            ("a-b", 1, false),
        ] {
            assert_eq!(is_reserved(list, port), expected, "{list:?} {port}");
        }
    }
}
