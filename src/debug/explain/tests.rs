// SPDX-License-Identifier: Apache-2.0

use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::ask::{Destination, From};
use super::sender::packet;
use super::view::{Explanation, Verdict};
use super::*;
use crate::debug::kernel::{Held, Snapshot};
use crate::model::{IpFamily, State};
use crate::observe::{Selection, show};
use crate::plan::fixture::{dual_stack, ipvs_options, options, plan_all};
use crate::plan::trace::{Fate, trace};
use crate::plan::{Detector, Options};

fn snapshot(state: &State, options: &Options) -> Snapshot {
    let held = |family| {
        let held = Held {
            ruleset: plan_all(state, options, family).ruleset(),
            ..Held::default()
        };
        (family, held)
    };
    Snapshot {
        families: IpFamily::ALL.into_iter().map(held).collect(),
        local: state.local_addresses().clone(),
    }
}

fn views(state: &State) -> Vec<ServiceView> {
    show::services(state, &IpFamily::ALL, &Selection::default())
}

struct Node {
    state: State,
    snapshot: Snapshot,
    agent: bool,
}

impl Node {
    fn new(options: &Options) -> Self {
        let state = dual_stack();
        let snapshot = snapshot(&state, options);
        Self {
            state,
            snapshot,
            agent: true,
        }
    }

    fn explain(&self, from: &str, to: &str) -> Explanation {
        let to = Destination::parse(to, "default").unwrap();
        let services = views(&self.state);
        let at: SocketAddr = to.resolve(&services).unwrap();
        let from: From = from.parse().unwrap();
        let (packet, who, notes) = packet(&self.snapshot, from, None, at, to.protocol).unwrap();
        let services = match self.agent {
            true => Ok(&services[..]),
            false => Err("no agent"),
        };
        let mut told = tell::explain(&self.snapshot, services, &packet);
        told.packet.from = who;
        told.notes.extend(notes);
        told
    }

    /// The page without colours.
    fn page(&self, from: &str, to: &str) -> String {
        let mut out = Vec::new();
        page::page(&self.explain(from, to), false, &mut out).unwrap();
        String::from_utf8(anstream::adapter::strip_bytes(&out).into_vec()).unwrap()
    }
}

#[test]
fn every_verdict_has_its_reason() {
    let node = Node::new(&options());
    for (from, to, verdict, because) in [
        (
            "pod",
            "10.96.0.10:80",
            Verdict::Forwarded,
            "one of 3 endpoints",
        ),
        ("pod", "10.96.0.10:81", Verdict::Refused, "no port 81/tcp"),
        (
            "pod",
            "10.96.0.50:80",
            Verdict::Refused,
            "no usable endpoint",
        ),
        ("pod", "10.96.7.7:80", Verdict::Dropped, "no Service has it"),
        (
            "pod",
            "10.96.0.60:80",
            Verdict::Dropped,
            "no usable endpoint is on this node",
        ),
        (
            "outside",
            "203.0.113.21:80",
            Verdict::Dropped,
            "no usable endpoint is on this node",
        ),
        (
            "pod",
            "203.0.113.21:80",
            Verdict::Forwarded,
            "the one endpoint",
        ),
        (
            "8.8.8.8",
            "203.0.113.30:80",
            Verdict::Dropped,
            "loadBalancerSourceRanges",
        ),
        ("outside", "203.0.113.30:80", Verdict::Forwarded, "one of 2"),
        (
            "outside",
            "192.0.2.10:30050",
            Verdict::Refused,
            "no usable endpoint",
        ),
        ("node", "192.0.2.10:30050", Verdict::Untouched, "own packet"),
        (
            "outside",
            "192.0.2.10:31000",
            Verdict::Untouched,
            "no Service has the NodePort",
        ),
        ("outside", "192.0.2.77:30443", Verdict::Untouched, "neither"),
        (
            "outside",
            "203.0.113.30:81",
            Verdict::Untouched,
            "not with port 81/tcp",
        ),
    ] {
        let told = node.explain(from, to);
        assert_eq!(told.verdict, verdict, "{from} {to}: {told:?}");
        assert!(
            told.because.contains(because),
            "{from} {to}: {}",
            told.because
        );
        let json = serde_json::to_value(&told).unwrap();
        crate::debug::schema::obeys("explain", &json);
    }
}

#[test]
fn sources_are_masqueraded_for_a_reason() {
    let node = Node::new(&options());
    for (from, to, masqueraded, because) in [
        ("pod", "10.96.0.10:80", false, "nothing asks"),
        ("outside", "10.96.0.10:80", true, "no pod's"),
        ("node", "10.96.0.10:80", true, "no pod's"),
        (
            "outside",
            "192.0.2.10:30443",
            true,
            "policy Cluster the answer",
        ),
        ("outside", "192.0.2.10:30080", false, "nothing asks"),
        ("node", "203.0.113.20:80", true, "policy Local"),
    ] {
        for endpoint in node.explain(from, to).endpoints {
            assert_eq!(endpoint.masqueraded, masqueraded, "{from} {to}");
            assert!(
                endpoint.because.contains(because),
                "{from} {to}: {}",
                endpoint.because
            );
        }
    }
    let itself = node.explain("10.244.1.5", "10.96.0.20:80");
    let reasons: BTreeSet<_> = itself
        .endpoints
        .iter()
        .map(|e| e.because.as_str())
        .collect();
    assert!(
        reasons.iter().any(|r| r.contains("talks to itself")),
        "{reasons:?}"
    );
    assert_eq!(reasons.len(), 2);
    let all = Node::new(&Options {
        masquerade_all: true,
        ..options()
    });
    assert_eq!(
        all.explain("pod", "10.96.0.10:80").endpoints[0].because,
        "--masquerade-all"
    );
}

#[test]
fn the_page_reads_in_order() {
    let node = Node::new(&options());
    let page = node.page("outside", "shop.default:80");
    let expected = "\
198.51.100.1 to 10.96.0.20:80/TCP: forwarded
The source is outside the cluster (an example).

1. 10.96.0.20:80/TCP is a ClusterIP of Service default/shop.
2. internalTrafficPolicy Cluster: any endpoint of the cluster will do.
3. So it goes to one of 2 endpoints, chosen at random:

     ENDPOINT         NODE  ZONE  SEES
     10.244.1.5:8080  n1    -     this node's address
     10.244.2.5:8080  n2    -     this node's address

4. The source is masqueraded: the source is no pod's, and the destination a ClusterIP.

The kernel's elements that say so:
     service-addresses: 10.96.0.20
     services: 10.96.0.20 . tcp . 80 : goto lb-2
     endpoints: 10.96.0.20 . tcp . 80 . 0 : 10.244.1.5 . 8080
     endpoints: 10.96.0.20 . tcp . 80 . 1 : 10.244.2.5 . 8080
     cluster-ips: 10.96.0.20
";
    assert_eq!(page, expected);
    let local = node.page("outside", "192.0.2.10:30080");
    assert!(local.contains("only endpoints on this node"), "{local}");
    assert!(
        local.contains("10.244.2.5:8080  n2    -     on another node"),
        "{local}"
    );
}

#[test]
fn a_sticky_client_is_held() {
    let mut node = Node::new(&options());
    let told = node.explain("pod", "10.96.0.40:80");
    assert_eq!((told.affinity, told.endpoints.len()), (None, 2));
    let client = told.packet.source;
    let held = node.snapshot.families.get_mut(&IpFamily::V4).unwrap();
    let map = held
        .ruleset
        .sets
        .keys()
        .find(|n| n.as_str().contains("login"))
        .unwrap();
    let (map, endpoint) = (map.clone(), "10.244.2.5".parse().unwrap());
    held.clients.insert((map, client), endpoint);
    let told = node.explain("pod", "10.96.0.40:80");
    assert_eq!(told.affinity.unwrap().endpoint, endpoint);
    assert_eq!(told.endpoints.len(), 1);
    assert!(told.not_chosen[0].reason.contains("held at 10.244.2.5"));
}

#[test]
fn without_an_agent_the_kernel_tells_what_it_can() {
    let mut node = Node::new(&options());
    node.agent = false;
    let told = node.explain("outside", "192.0.2.10:30443");
    assert_eq!(told.agent.as_deref(), Some("no agent"));
    let frontend = told.frontend.unwrap();
    assert_eq!(frontend.service, None);
    assert_eq!(
        frontend.kind,
        Some(crate::observe::view::FrontendKind::NodePort)
    );
    assert_eq!(frontend.policy, Some(crate::observe::view::Policy::Cluster));
    let sticky = node.explain("pod", "10.96.0.40:80").frontend.unwrap();
    assert_eq!(sticky.service.as_deref(), Some("default/login"));
    let empty = Snapshot::default();
    let packet = packet(
        &empty,
        From::Outside,
        None,
        "10.96.0.10:80".parse().unwrap(),
        crate::model::Protocol::Tcp,
    )
    .unwrap()
    .0;
    let told = tell::explain(&empty, Err("no agent"), &packet);
    assert!(told.notes[0].contains("no table"), "{:?}", told.notes);
}

#[test]
fn endpoints_of_the_other_family_are_named() {
    use crate::model::fixture::{service, slice, state};
    let slices = [slice("six", "six", 8080, &["fd00::5@n1"])];
    let state = state(&[service("six", "10.96.0.70")], &slices);
    let snapshot = snapshot(&state, &options());
    let node = Node {
        state,
        snapshot,
        agent: true,
    };
    let told = node.explain("pod", "six:80");
    assert_eq!(told.verdict, Verdict::Refused);
    assert_eq!(told.not_chosen[0].reason, "IPv6, the frontend is IPv4");
}

#[test]
fn a_kernel_that_lacks_a_frontend_is_told() {
    let mut node = Node::new(&options());
    let held = node.snapshot.families.get_mut(&IpFamily::V4).unwrap();
    held.ruleset
        .elements
        .retain(|(set, _), _| *set != crate::plan::nft::SetId::Services);
    let told = node.explain("pod", "10.96.0.10:80");
    assert_eq!(told.verdict, Verdict::Refused);
    let notes = &told.notes;
    assert!(
        notes
            .iter()
            .any(|n| n.contains("disagree, the agent would forward")),
        "{notes:?}"
    );
}

/// Whatever is asked, the words say what the tracer says, in both modes and all detectors.
#[test]
fn words_and_tracer_agree() {
    let interface = Options {
        detector: Detector::InterfacePrefix("veth".into()),
        ..options()
    };
    let unknown = Options {
        detector: Detector::None,
        ..options()
    };
    let mut asked = 0;
    for options in [options(), ipvs_options(), interface, unknown] {
        let node = Node::new(&options);
        for service in views(&node.state) {
            for frontend in &service.frontends {
                let node_ip = match frontend.family {
                    crate::observe::view::Family::IPv4 => "192.0.2.10",
                    crate::observe::view::Family::IPv6 => "2001:db8::10",
                };
                let address = frontend.address.unwrap_or(node_ip.parse().unwrap());
                let at = SocketAddr::new(address, frontend.port);
                for from in [From::Pod, From::Node, From::Outside] {
                    let Ok((packet, ..)) =
                        packet(&node.snapshot, from, None, at, crate::model::Protocol::Tcp)
                    else {
                        continue;
                    };
                    let family = IpFamily::of(address);
                    let ruleset = &node.snapshot.families[&family].ruleset;
                    let fates = trace(ruleset, &node.snapshot.world(family), &packet);
                    let told = tell::explain(&node.snapshot, Ok(&views(&node.state)), &packet);
                    let reached: BTreeSet<_> = fates
                        .iter()
                        .filter_map(|f| match f {
                            Fate::Endpoint(t, m) => Some((t.address, t.port, *m)),
                            _ => None,
                        })
                        .collect();
                    assert_eq!(told.reaches(), reached, "{at}");
                    assert!(
                        !told.because.contains("a rule of chain"),
                        "{at}: {}",
                        told.because
                    );
                    let notes = &told.notes;
                    assert!(
                        !notes.iter().any(|n| n.contains("disagree")),
                        "{at}: {notes:?}"
                    );
                    asked += 1;
                }
            }
        }
    }
    assert!(asked > 200, "only {asked}");
}
