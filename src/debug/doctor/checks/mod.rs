// SPDX-License-Identifier: Apache-2.0
//! The checks: each judges [`Facts`] and adds what it finds. PURE, all of them.

mod agent;
mod arp;
mod bridge;
mod conntrack;
mod endpoints;
mod firewall;
mod forwarding;
mod identity;
mod kernel;
mod mtu;
mod node_ports;
mod proxies;
mod reverse_path;
mod routes;
mod services;
mod words;

use super::facts::Facts;
use super::report::{Finding, Report};
use crate::observe::view::{FrontendKind, ServiceView};

/// What a check is.
pub type Check = fn(&Facts, &mut Report);

/// All checks.
pub const ALL: &[Check] = &[
    kernel::features,
    kernel::capability,
    agent::agent,
    agent::last_known_state,
    agent::rules,
    forwarding::forwarding,
    reverse_path::reverse_path,
    bridge::bridge,
    proxies::kube_proxy,
    proxies::others,
    firewall::firewall,
    node_ports::held,
    node_ports::ephemeral,
    routes::ways,
    routes::overlap,
    arp::answered,
    conntrack::full,
    mtu::mtu,
    identity::node,
    identity::server,
    endpoints::endpoints,
    endpoints::local,
    services::pending,
    services::claimed,
];

/// How many names a finding lists before it counts the others.
const NAMED: usize = 5;

/// A list that does not grow without end.
fn listed(items: impl IntoIterator<Item = String>) -> String {
    let mut items: Vec<String> = items.into_iter().collect();
    items.sort();
    items.dedup();
    let more = items.len().saturating_sub(NAMED);
    items.truncate(NAMED);
    let text = items.join(", ");
    match more {
        0 => text,
        more => format!("{text} and {more} more"),
    }
}

fn name(service: &ServiceView) -> String {
    format!("{}/{}", service.namespace, service.name)
}

/// Whether clients outside of the cluster use frontends of the family.
fn serves_outside(facts: &Facts, v6: bool) -> bool {
    let outside = |kind| kind != FrontendKind::ClusterIP;
    let mut frontends = facts.frontends();
    frontends
        .any(|(_, f)| outside(f.kind) && (f.family == crate::observe::view::Family::IPv6) == v6)
}
