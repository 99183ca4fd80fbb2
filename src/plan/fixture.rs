// SPDX-License-Identifier: Apache-2.0
//! A few services of every shape, for tests.

use super::ledger::{Ledger, Owner};
use super::{Detector, IpvsOptions, Mode, Options, change::Change, service, skeleton};
use crate::model::fixture::{ip, port, service as svc, slice, state};
use crate::model::{IpFamily, Service, State, TrafficPolicy};

/// Pods are 10.244.0.0/16 and fd00:10:244::/48.
pub(crate) fn options() -> Options {
    let cidrs = ["10.244.0.0/16", "fd00:10:244::/48"].map(|c| c.parse().expect("a prefix"));
    Options {
        detector: Detector::ClusterCidr(cidrs.to_vec()),
        ..Options::default()
    }
}

/// The same in IPVS mode.
pub(crate) fn ipvs_options() -> Options {
    Options {
        mode: Mode::Ipvs(IpvsOptions::default()),
        ..options()
    }
}

/// Plans everything from scratch.
pub(crate) fn plan_all(state: &State, options: &Options, family: IpFamily) -> Ledger {
    let mut ledger = Ledger::default();
    let mut change = Change::default();
    ledger.replace(
        Owner::Node,
        skeleton::plan(state, options, family),
        &mut change,
    );
    let mut names: Vec<_> = state.service_names().cloned().collect();
    names.sort();
    for name in names {
        let service = state.service(&name).expect("a known name");
        let plan = service::plan(state, options, service, family, &|_, _| None);
        ledger.replace(Owner::Service(name), plan, &mut change);
    }
    ledger
}

fn external(name: &str, cluster_ip: &str, node_port: u16, vip: &str) -> Service {
    let mut s = svc(name, cluster_ip);
    s.ports[0].node_port = Some(node_port);
    s.load_balancer_ips = vec![ip(vip)];
    s
}

/// `web`: plain; `shop`: external policy Local with a local endpoint; `far`: the same without;
/// `edge`: source ranges; `login`: sticky; `empty`: no endpoints; `near`: internal policy Local
/// without local endpoints; `own`: the same with one, sticky.
pub(crate) fn showcase() -> State {
    let mut shop = external("shop", "10.96.0.20", 30080, "203.0.113.20");
    shop.external_policy = TrafficPolicy::Local;
    let mut far = external("far", "10.96.0.21", 30081, "203.0.113.21");
    far.external_policy = TrafficPolicy::Local;
    let mut edge = external("edge", "10.96.0.30", 30443, "203.0.113.30");
    edge.external_ips = vec![ip("198.51.100.7")];
    edge.source_ranges = vec!["198.51.100.0/24".parse().expect("a prefix")];
    let mut login = external("login", "10.96.0.40", 30040, "203.0.113.40");
    login.affinity = Some(10_800);
    login.external_policy = TrafficPolicy::Local;
    let mut empty = external("empty", "10.96.0.50", 30050, "203.0.113.50");
    empty.source_ranges = edge.source_ranges.clone();
    let mut near = svc("near", "10.96.0.60");
    near.internal_policy = TrafficPolicy::Local;
    let mut own = external("own", "10.96.0.61", 30061, "203.0.113.61");
    own.internal_policy = TrafficPolicy::Local;
    own.affinity = Some(60);
    own.ports.push(crate::model::ServicePort {
        name: "x".into(),
        ..port(81)
    });
    let both = ["10.244.1.5@n1", "10.244.2.5@n2"];
    let slices = [
        slice(
            "web",
            "web",
            8080,
            &["10.244.1.5@n1", "10.244.2.5@n2", "10.244.2.6@n2"],
        ),
        slice("shop", "shop", 8080, &both),
        slice("far", "far", 8080, &["10.244.2.5@n2"]),
        slice("edge", "edge", 8443, &both),
        slice("login", "login", 8080, &both),
        slice("near", "near", 8080, &["10.244.2.5@n2"]),
        slice("own", "own", 8080, &both),
    ];
    let mut all = state(
        &[
            svc("web", "10.96.0.10"),
            shop,
            far,
            edge,
            login,
            empty,
            near,
            own,
        ],
        &slices,
    );
    all.apply(crate::model::Event::ServiceCidr(
        "kubernetes".into(),
        crate::model::Observed::new(vec!["10.96.0.0/16".parse().expect("a prefix")]),
    ));
    all
}

/// The IPv6 address that stands for an IPv4 one.
fn v6(address: std::net::IpAddr) -> std::net::IpAddr {
    match address {
        std::net::IpAddr::V4(a) => {
            let [a, b, c, d] = a.octets().map(u16::from);
            std::net::Ipv6Addr::new(0xfd00, 0, 0, 0, a, b, c, d).into()
        }
        v6 => v6,
    }
}

/// The showcase in both families.
pub(crate) fn dual_stack() -> State {
    use crate::model::{Event, Observed, SliceName};
    let mut state = showcase();
    let names: Vec<_> = state.service_names().cloned().collect();
    for name in names {
        let mut service = Service::clone(state.service(&name).expect("a known name"));
        for addresses in [
            &mut service.cluster_ips,
            &mut service.external_ips,
            &mut service.load_balancer_ips,
        ] {
            let more: Vec<_> = addresses.iter().map(|a| v6(*a)).collect();
            addresses.extend(more);
        }
        let ranges: Vec<_> = service.source_ranges.clone();
        service.source_ranges.extend(ranges.iter().map(|net| {
            let parts = ipnet::IpNet::new(v6(net.addr()), 64 + net.prefix_len().div_ceil(8) * 16);
            parts.expect("a prefix")
        }));
        let slices: Vec<_> = state.slices(&name).cloned().collect();
        for mut slice in slices {
            slice.name = SliceName::new("default", format!("{}-v6", slice.name.name));
            slice
                .endpoints
                .iter_mut()
                .for_each(|e| e.address = v6(e.address));
            state.apply(Event::Slice(slice.name.clone(), Observed::new(slice)));
        }
        state.apply(Event::Service(name, Observed::new(service)));
    }
    state
}
