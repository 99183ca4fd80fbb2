// SPDX-License-Identifier: Apache-2.0
//! The chains that exist whatever Services there are, and what the node itself contributes.
//!
//! Packets of an established connection meet none of them: chains of type nat see only the first
//! packet. (`--drop-invalid` adds one of type filter, docs/decisions/0005.) What is refused (rejected or dropped) is refused in chains at priority -50, after every
//! translation at the usual -100: there, nat no longer asks chains once some chain has set up a
//! translation, so another agent's DNAT of the same address wins (docs/decisions/0002).

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::contribution::Contribution;
use super::nft::set::{NODEPORT, VIP};
use super::nft::{
    Action, Base, ChainSpec, Data, Element, Field, Hook, Key, Match, Rule, SetId, SetSpec,
};
use super::{Detector, Mode, NodePortAddresses, Options, balance};
use crate::model::{IpFamily, State};

/// Rejects: a Service without any usable endpoint.
pub const NO_ENDPOINTS: &str = "no-endpoints";
/// The same for a NodePort.
pub const NODE_NO_ENDPOINTS: &str = "node-no-endpoints";

/// `NF_IP_PRI_NAT_DST`: where destinations are translated.
pub(super) const DSTNAT: i32 = -100;
/// After all of those.
pub(super) const LATE: i32 = -50;
/// `NF_IP_PRI_FILTER`.
const FILTER: i32 = 0;
/// `NF_IP_PRI_NAT_SRC`.
pub(super) const SRCNAT: i32 = 100;

/// The permanent sets.
pub fn sets() -> impl Iterator<Item = Arc<SetSpec>> {
    SetId::ALL.into_iter().map(|id| Arc::new(id.spec()))
}

/// What the node contributes: the permanent chains, and the addresses of its NodePorts.
pub fn plan(state: &State, options: &Options, family: IpFamily) -> Contribution {
    let skeleton = Skeleton {
        pods: pods(state, options, family),
        options,
    };
    let cidrs: Vec<IpNet> = state
        .service_cidrs()
        .into_iter()
        .filter(|c| of_family(c, family))
        .collect();
    let own = state.local_addresses().iter().copied();
    let own: Vec<IpAddr> = own.filter(|a| IpFamily::of(*a) == family).collect();
    let chains = match options.mode {
        Mode::Nftables => [
            skeleton.dispatch(),
            skeleton.refusals(&cidrs),
            skeleton.after(),
            hooks(),
            skeleton.invalid(),
        ],
        Mode::Ipvs(_) => skeleton.of_ipvs(&own, &cidrs),
    };
    let element = |address| Element {
        set: SetId::NodeAddresses,
        key: Key::EMPTY.address(address),
        end: None,
        data: Data::None,
    };
    let mut elements: Vec<Element> = node_addresses(state, options, family)
        .into_iter()
        .map(element)
        .collect();
    elements.sort_unstable();
    Contribution {
        chains: chains.into_iter().flatten().map(Arc::new).collect(),
        sets: Vec::new(),
        elements: elements.into(),
        ..Contribution::default()
    }
}

fn of_family(net: &IpNet, family: IpFamily) -> bool {
    IpFamily::of(net.addr()) == family
}

/// The addresses that NodePorts are served on (kube-proxy: `NodePortAddresses`); never loopback.
pub fn node_addresses(state: &State, options: &Options, family: IpFamily) -> BTreeSet<IpAddr> {
    let mine = |a: &IpAddr| IpFamily::of(*a) == family && !a.is_loopback();
    let primary = || state.node().addresses.iter().copied().find(|a| mine(a));
    let local = || state.local_addresses().iter().copied().filter(mine);
    match &options.node_port_addresses {
        // Without a Node object that gives one, the host's own addresses are all there is to go by.
        NodePortAddresses::Primary if primary().is_none() => local().collect(),
        NodePortAddresses::Primary => primary().into_iter().collect(),
        NodePortAddresses::Within(prefixes) => {
            let prefixes: Vec<&IpNet> = prefixes.iter().filter(|p| of_family(p, family)).collect();
            let within = |a: &IpAddr| prefixes.is_empty() || prefixes.iter().any(|p| p.contains(a));
            local().filter(within).collect()
        }
    }
}

/// How the rules tell pods from others.
pub(super) enum Pods {
    /// They can't.
    Unknown,
    /// By source address: the prefixes of this family.
    Prefixes(Vec<IpNet>),
    /// By input interface.
    Interface(Arc<str>),
}

fn pods(state: &State, options: &Options, family: IpFamily) -> Pods {
    let prefixes = |all: &[IpNet]| {
        let mine: Vec<IpNet> = all
            .iter()
            .filter(|p| of_family(p, family))
            .map(IpNet::trunc)
            .collect();
        if mine.is_empty() {
            Pods::Unknown
        } else {
            Pods::Prefixes(mine)
        }
    };
    match &options.detector {
        Detector::None => Pods::Unknown,
        Detector::ClusterCidr(all) => prefixes(all),
        Detector::NodeCidr => prefixes(&state.node().pod_cidrs),
        Detector::Bridge(name) => Pods::Interface(name.clone()),
        Detector::InterfacePrefix(prefix) => Pods::Interface(format!("{prefix}*").into()),
    }
}

impl Pods {
    /// Conditions of which any says that the source is a pod.
    pub(super) fn inside(&self) -> Vec<Match> {
        match self {
            Pods::Unknown => Vec::new(),
            Pods::Prefixes(all) => all
                .iter()
                .map(|p| Match::Prefix(Field::Source, *p, false))
                .collect(),
            Pods::Interface(name) => vec![Match::Interface(name.clone(), false)],
        }
    }

    /// Conditions that together say that the source is no pod.
    pub(super) fn outside(&self) -> Vec<Match> {
        let negate = |m| match m {
            Match::Prefix(field, net, _) => Match::Prefix(field, net, true),
            Match::Interface(name, _) => Match::Interface(name, true),
            other => other,
        };
        self.inside().into_iter().map(negate).collect()
    }
}

pub(super) struct Skeleton<'a> {
    pub(super) pods: Pods,
    pub(super) options: &'a Options,
}

pub(super) const ORIGINAL_VIP: &[Field] = &[
    Field::OriginalDestination,
    Field::Protocol,
    Field::OriginalPort,
];
pub(super) const ORIGINAL_NODEPORT: &[Field] = &[Field::Protocol, Field::OriginalPort];

pub(super) fn in_set(key: &[Field], set: SetId) -> Match {
    Match::InSet(key.to_vec(), set.into())
}

pub(super) fn vmap(key: &[Field], set: SetId) -> Action {
    Action::VerdictMap(key.to_vec(), set.into())
}

pub(super) fn chain(name: &str, rules: Vec<Rule>) -> ChainSpec {
    ChainSpec {
        name: name.into(),
        base: None,
        rules,
    }
}

/// The base chains.
fn hooks() -> Vec<ChainSpec> {
    let to_service = in_set(&[Field::Destination], SetId::ServiceAddresses);
    let to_node = in_set(&[Field::Destination], SetId::NodeAddresses);
    // A VIP that is also the node's own address comes back from `services` if it is no frontend.
    let early = vec![
        Rule::when([to_service.clone()], Action::Jump("services".into())),
        Rule::when([to_node.clone()], Action::Jump("nodeports".into())),
    ];
    let late = vec![
        Rule::when([to_service], Action::Jump("refused".into())),
        Rule::when([to_node], vmap(NODEPORT, SetId::RefusedNodeports)),
        Rule::always(Action::Jump("unallocated".into())),
    ];
    let translated = |next: &str| vec![Rule::when([Match::Translated], Action::Jump(next.into()))];
    let base = |name: &str, hook, priority, rules| ChainSpec {
        name: name.into(),
        base: Some(Base { hook, priority }),
        rules,
    };
    vec![
        base("prerouting", Hook::Prerouting, DSTNAT, early.clone()),
        base("output", Hook::Output, DSTNAT, early),
        base("prerouting-late", Hook::Prerouting, LATE, late.clone()),
        base("output-late", Hook::Output, LATE, late),
        base("input", Hook::Input, SRCNAT, translated("learn")),
        base(
            "postrouting",
            Hook::Postrouting,
            SRCNAT,
            translated("source-nat"),
        ),
    ]
}

/// Remembers sticky clients.
pub(super) fn learn() -> ChainSpec {
    let node = in_set(&[Field::OriginalDestination], SetId::NodeAddresses);
    let rules = vec![
        Rule::when(
            [Match::KnownProtocol],
            vmap(ORIGINAL_VIP, SetId::LearnServices),
        ),
        Rule::when(
            [Match::KnownProtocol, node],
            vmap(ORIGINAL_NODEPORT, SetId::LearnNodeports),
        ),
    ];
    chain("learn", rules)
}

/// How a connection of an endpoint with itself looks after translation.
pub(super) const HAIRPIN: [Field; 4] = [
    Field::Source,
    Field::Destination,
    Field::Protocol,
    Field::Port,
];

impl Skeleton<'_> {
    /// From a destination to the verdict of its frontend.
    fn dispatch(&self) -> Vec<ChainSpec> {
        let by_source = |key: &[Field], inside: SetId, outside: SetId| {
            let own = [Match::SourceLocal];
            let mut rules: Vec<Rule> = self
                .pods
                .inside()
                .into_iter()
                .chain(own)
                .map(|m| Rule::when([m], vmap(key, inside)))
                .collect();
            rules.push(Rule::always(vmap(key, outside)));
            rules
        };
        let dispatch = |key: &[Field], any: SetId, local: SetId, next: &str| {
            vec![
                Rule::always(vmap(key, any)),
                Rule::when([in_set(key, local)], Action::Goto(next.into())),
            ]
        };
        let (services, nodeports) = ("services-local", "nodeports-local");
        vec![
            chain(
                services,
                by_source(VIP, SetId::ServicesInside, SetId::ServicesOutside),
            ),
            chain(
                nodeports,
                by_source(NODEPORT, SetId::NodeportsInside, SetId::NodeportsOutside),
            ),
            chain(
                "services",
                dispatch(VIP, SetId::Services, SetId::LocalServices, services),
            ),
            chain(
                "nodeports",
                dispatch(NODEPORT, SetId::Nodeports, SetId::LocalNodeports, nodeports),
            ),
        ]
    }

    /// What is rejected or dropped unless somebody has translated it.
    fn refusals(&self, service_cidrs: &[IpNet]) -> Vec<ChainSpec> {
        let cluster_ip = in_set(&[Field::Destination], SetId::ClusterIps);
        // An address that this host has itself (a node-local DNS cache binds a ClusterIP) is the
        // host's business.
        let unused_port = Rule::when([cluster_ip, Match::DestinationNotLocal], Action::Reject);
        let refused = vec![Rule::always(vmap(VIP, SetId::RefusedServices)), unused_port];
        let mut chains = self.refusing(service_cidrs);
        chains.push(chain("refused", refused));
        chains
    }

    /// The chains that refuse, and what does so wherever it is asked.
    pub(super) fn refusing(&self, service_cidrs: &[IpNet]) -> Vec<ChainSpec> {
        let unallocated = |cidr: &IpNet| {
            let inside = Match::Prefix(Field::Destination, cidr.trunc(), false);
            Rule::when([inside, Match::DestinationNotLocal], Action::Drop)
        };
        // The host's own packet goes on to the closed port, which answers at once.
        let own = Rule::when([Match::SourceLocal], Action::Accept);
        vec![
            chain(NO_ENDPOINTS, self.reject(None)),
            chain(NODE_NO_ENDPOINTS, self.reject(Some(own))),
            chain(
                "unallocated",
                service_cidrs.iter().map(unallocated).collect(),
            ),
        ]
    }

    /// Rejects. A packet in the midst of a connection is one whose entry was deleted, if that is
    /// done at all: ICMP would not end it.
    fn reject(&self, first: Option<Rule>) -> Vec<Rule> {
        let reset = self.options.reset_stale_tcp.then(balance::reset);
        let reject = Rule::always(Action::Reject);
        first.into_iter().chain(reset).chain([reject]).collect()
    }

    /// Drops what an endpoint or a client sends that can't be translated, as nobody could make
    /// anything of it but reset a connection that is well (kubernetes#74839).
    pub(super) fn invalid(&self) -> Vec<ChainSpec> {
        if !self.options.drop_invalid {
            return Vec::new();
        }
        let of_endpoint = [Field::Source, Field::Protocol, Field::SourcePort];
        let drop = |key: &[Field], set| Rule::when([in_set(key, set)], Action::Drop);
        let base = Base {
            hook: Hook::Forward,
            priority: FILTER,
        };
        let forward = ChainSpec {
            name: "forward".into(),
            base: Some(base),
            rules: vec![Rule::when([Match::Invalid], Action::Jump("invalid".into()))],
        };
        let rules = vec![
            drop(&of_endpoint, SetId::Backends),
            drop(&[Field::Destination], SetId::ServiceAddresses),
        ];
        vec![chain("invalid", rules), forward]
    }

    /// What happens to translated connections on their way out: sticky clients are remembered,
    /// and some sources are masqueraded, by the destination that they had at first.
    fn after(&self) -> Vec<ChainSpec> {
        let node = || in_set(&[Field::OriginalDestination], SetId::NodeAddresses);
        let vip = |set| vec![Match::KnownProtocol, in_set(ORIGINAL_VIP, set)];
        let port = |set| vec![Match::KnownProtocol, node(), in_set(ORIGINAL_NODEPORT, set)];
        let masquerade = |matches: Vec<Match>| Rule::when(matches, Action::Masquerade);
        let own = vec![
            masquerade(vip(SetId::LocalServices)),
            masquerade(port(SetId::LocalNodeports)),
        ];
        let mut source_nat = vec![
            Rule::always(Action::Jump("learn".into())),
            masquerade(vec![in_set(&HAIRPIN, SetId::Hairpin)]),
            masquerade(port(SetId::MasqueradeNodeports)),
            masquerade(vip(SetId::MasqueradeServices)),
        ];
        source_nat.extend(self.masquerade_cluster_ips());
        let mut outside = self.pods.outside();
        outside.push(Match::SourceLocal);
        source_nat.push(Rule::when(outside, Action::Jump("source-nat-host".into())));
        vec![
            learn(),
            chain("source-nat-host", own),
            chain("source-nat", source_nat),
        ]
    }

    /// ClusterIPs are masqueraded for everybody, for what is no pod, or (if pods are unknown) for
    /// nobody.
    pub(super) fn masquerade_cluster_ips(&self) -> Option<Rule> {
        let to_cluster_ip = in_set(&[Field::OriginalDestination], SetId::ClusterIps);
        let mut matches = match (self.options.masquerade_all, &self.pods) {
            (true, _) => Vec::new(),
            (false, Pods::Unknown) => return None,
            (false, pods) => pods.outside(),
        };
        matches.push(to_cluster_ip);
        Some(Rule::when(matches, Action::Masquerade))
    }
}
