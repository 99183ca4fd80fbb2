// SPDX-License-Identifier: Apache-2.0
//! The permanent chains of IPVS mode.
//!
//! At priority -100 the table translates what IPVS cannot: packets from inside to Services of
//! `externalTrafficPolicy: Local`, and all packets to addresses that are other nodes' own. At -50 it refuses, and lets pass what a virtual server takes.
//! IPVS comes after both: at 99 of the hook input for packets that come in, and at -98 of output
//! for the host's own (nat chains all run at -100, in the order of their priorities).
//!
//! A connection that IPVS translates has no `ct status dnat`, but connection tracking knows its
//! original destination (`net.ipv4.vs.conntrack`), which is what the chains after it go by.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::plan::nft::set::{NODEPORT, VIP};
use crate::plan::nft::{Action, Base, ChainSpec, Field, Hook, Match, Rule, SetId};
use crate::plan::skeleton::{
    DSTNAT, HAIRPIN, LATE, ORIGINAL_NODEPORT, ORIGINAL_VIP, SRCNAT, Skeleton, chain, in_set, learn,
    vmap,
};

/// The chain for what a virtual server takes.
pub fn passed_on() -> Arc<ChainSpec> {
    Arc::new(chain("virtual", vec![Rule::always(Action::Accept)]))
}

impl Skeleton<'_> {
    /// All of them. `own` are this host's addresses, without those of `kube-ipvs0`.
    pub(in crate::plan) fn of_ipvs(&self, own: &[IpAddr], cidrs: &[IpNet]) -> [Vec<ChainSpec>; 5] {
        [
            self.short_circuit(),
            self.passing(own, cidrs),
            self.after_ipvs(),
            hooks(),
            self.invalid(),
        ]
    }

    /// From a destination of policy Local to the verdict for sources inside, and from an address of
    /// another node to its verdict. What is passed on to IPVS takes no notice of it here.
    fn short_circuit(&self) -> Vec<ChainSpec> {
        let by_source = |key: &[Field], inside: SetId| {
            let from = self.pods.inside().into_iter().chain([Match::SourceLocal]);
            from.map(|m| Rule::when([m], vmap(key, inside))).collect()
        };
        let local = |key: &[Field], set, next: &str| {
            Rule::when([in_set(key, set)], Action::Goto(next.into()))
        };
        let (services, nodeports) = ("services-local", "nodeports-local");
        let to_services = vec![
            local(VIP, SetId::LocalServices, services),
            Rule::always(vmap(VIP, SetId::Services)),
        ];
        let to_nodeports = vec![local(NODEPORT, SetId::LocalNodeports, nodeports)];
        let mut services_by_source: Vec<Rule> = by_source(VIP, SetId::ServicesInside);
        services_by_source.push(Rule::always(vmap(VIP, SetId::ServicesOutside)));
        vec![
            chain("services", to_services),
            chain("nodeports", to_nodeports),
            chain(services, services_by_source),
            chain(nodeports, by_source(NODEPORT, SetId::NodeportsInside)),
        ]
    }

    /// What is passed on to IPVS, and what is rejected or dropped.
    fn passing(&self, own: &[IpAddr], cidrs: &[IpNet]) -> Vec<ChainSpec> {
        let verdicts = [
            SetId::Services,
            SetId::ServicesOutside,
            SetId::RefusedServices,
        ];
        let mut rules: Vec<Rule> = verdicts
            .into_iter()
            .map(|set| Rule::always(vmap(VIP, set)))
            .collect();
        // A VIP that this host has anyway keeps its other ports. All others are this host's only
        // because we bound them, so nothing but IPVS may answer there; a ping is answered.
        rules.extend(own.iter().map(|address| {
            let here = Match::Prefix(Field::Destination, (*address).into(), false);
            Rule::when([here], Action::Return)
        }));
        // Not bound: another node's own address.
        rules.push(Rule::when([Match::DestinationNotLocal], Action::Return));
        rules.push(Rule::when([Match::KnownProtocol], Action::Reject));
        let mut chains = self.refusing(cidrs);
        chains.push(chain("refused", rules));
        chains
    }

    /// Some sources are masqueraded, by the destination that the connection had at first.
    fn after_ipvs(&self) -> Vec<ChainSpec> {
        let masquerade = |matches: Vec<Match>| Rule::when(matches, Action::Masquerade);
        let vip = |set| vec![Match::KnownProtocol, in_set(ORIGINAL_VIP, set)];
        let port = |set| vec![Match::KnownProtocol, in_set(ORIGINAL_NODEPORT, set)];
        let itself = || in_set(&HAIRPIN, SetId::Hairpin);
        let host = |next: &str| {
            let mut matches = self.pods.outside();
            matches.push(Match::SourceLocal);
            Rule::when(matches, Action::Jump(next.into()))
        };
        let mut to_vip = vec![
            masquerade(vec![itself()]),
            // The host takes the VIP itself for its source, as that is an address of its own.
            masquerade(vec![in_set(&[Field::Source], SetId::ServiceAddresses)]),
            masquerade(vip(SetId::MasqueradeServices)),
        ];
        to_vip.extend(self.masquerade_cluster_ips());
        to_vip.push(host("source-nat-host"));
        let mut itself_by_port = port(SetId::LocalNodeports);
        itself_by_port.push(itself());
        let to_node = vec![
            masquerade(port(SetId::MasqueradeNodeports)),
            masquerade(itself_by_port),
            host("source-nat-node-host"),
        ];
        vec![
            learn(),
            chain("source-nat", to_vip),
            chain(
                "source-nat-host",
                vec![masquerade(vip(SetId::LocalServices))],
            ),
            chain("source-nat-node", to_node),
            chain(
                "source-nat-node-host",
                vec![masquerade(port(SetId::LocalNodeports))],
            ),
        ]
    }
}

/// The base chains.
fn hooks() -> Vec<ChainSpec> {
    let to_service = in_set(&[Field::Destination], SetId::ServiceAddresses);
    let to_node = in_set(&[Field::Destination], SetId::NodeAddresses);
    let was = |set| in_set(&[Field::OriginalDestination], set);
    let jump = |condition: Match, next: &str| Rule::when([condition], Action::Jump(next.into()));
    let early = vec![
        jump(to_service.clone(), "services"),
        jump(to_node.clone(), "nodeports"),
    ];
    let late = vec![
        jump(to_service, "refused"),
        Rule::when([to_node], vmap(NODEPORT, SetId::RefusedNodeports)),
        Rule::always(Action::Jump("unallocated".into())),
    ];
    let after = vec![
        jump(Match::Translated, "learn"),
        jump(was(SetId::ServiceAddresses), "source-nat"),
        jump(was(SetId::NodeAddresses), "source-nat-node"),
    ];
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
        base(
            "input",
            Hook::Input,
            SRCNAT,
            vec![jump(Match::Translated, "learn")],
        ),
        base("postrouting", Hook::Postrouting, SRCNAT, after),
    ]
}
