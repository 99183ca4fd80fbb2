// SPDX-License-Identifier: Apache-2.0
//! From a packet's way through the kernel's rules to words. Pure: what the kernel holds and what
//! the agent answers are arguments.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::reason;
use super::view::{
    AffinityAnswer, ElementView, EndpointAnswer, Explanation, FrontendAnswer, NotChosen,
    PacketView, Verdict,
};
use crate::debug::kernel::{Held, Snapshot};
use crate::model::IpFamily;
use crate::observe::view::{EndpointView, FrontendKind, FrontendView, Policy, ServiceView, Used};
use crate::plan::nft::{ChainName, Data, Key, SetId, Verdict as Leads, text};
use crate::plan::trace::{Fate, Found, Packet, Step, Way, follow};

/// What becomes of a packet, by what the kernel holds, with what the agent answers about it.
///
/// `services` holds at least the Service that answers at the destination, if there is one; `Err`
/// says why there is no agent to ask.
pub fn explain(
    snapshot: &Snapshot,
    services: Result<&[ServiceView], &str>,
    packet: &Packet,
) -> Explanation {
    let family = IpFamily::of(packet.destination);
    let none = Held::default();
    let held = snapshot.families.get(&family).unwrap_or(&none);
    let way = follow(&held.ruleset, &snapshot.world(family), packet);
    let known = services.ok().and_then(|all| find(held, packet, all));
    let teller = Teller {
        held,
        family,
        packet,
        way: &way,
        known,
    };
    let mut told = teller.tell();
    told.agent = services.err().map(str::to_owned);
    if !snapshot.families.contains_key(&family) {
        told.notes.push(format!(
            "the kernel has no table \"{} ferrule\" here: no agent has run in this network \
             namespace, or its rules were removed",
            text::family_word(family)
        ));
    }
    for (chain, rule) in &held.strange {
        told.notes.push(format!(
            "chain {chain} holds a rule that is not ours: {rule}"
        ));
    }
    told
}

/// The Service and frontend that answer at the packet's destination.
fn find<'a>(
    held: &Held,
    packet: &Packet,
    services: &'a [ServiceView],
) -> Option<(&'a ServiceView, &'a FrontendView)> {
    let family = IpFamily::of(packet.destination).into();
    let all = || {
        let of = |s: &'a ServiceView| s.frontends.iter().map(move |f| (s, f));
        services.iter().flat_map(of).filter(|(_, f)| {
            f.family == family && f.port == packet.port && f.protocol == packet.protocol.into()
        })
    };
    let vip = all().find(|(_, f)| f.address == Some(packet.destination));
    let node = Key::EMPTY.address(packet.destination);
    let served = held.ruleset.find(SetId::NodeAddresses, &node).is_some();
    vip.or_else(|| all().find(|(_, f)| served && f.address.is_none()))
}

struct Teller<'a> {
    held: &'a Held,
    family: IpFamily,
    packet: &'a Packet,
    way: &'a Way,
    known: Option<(&'a ServiceView, &'a FrontendView)>,
}

impl Teller<'_> {
    fn tell(&self) -> Explanation {
        let verdict = match self.way.fates.first() {
            Some((Fate::Endpoint(..), _)) => Verdict::Forwarded,
            Some((Fate::Rejected, _)) => Verdict::Refused,
            Some((Fate::Dropped, _)) => Verdict::Dropped,
            Some((Fate::Untouched, _)) | None => Verdict::Untouched,
        };
        let frontend = self.frontend();
        let endpoints = self.endpoints();
        let mut told = Explanation {
            packet: PacketView {
                from: String::new(),
                source: self.packet.source,
                interface: self.packet.interface.as_deref().map(str::to_owned),
                destination: self.packet.destination,
                port: self.packet.port,
                protocol: self.packet.protocol.into(),
            },
            mode: if self.held.ipvs() { "ipvs" } else { "nftables" }.to_owned(),
            agent: None,
            verdict,
            because: reason::verdict(self.way, self.held, self.packet, frontend.as_ref()),
            not_chosen: self.not_chosen(&endpoints),
            endpoints,
            affinity: self.affinity(),
            elements: self.elements(),
            frontend,
            notes: Vec::new(),
        };
        told.notes.extend(self.disagreement(&told));
        told.notes.extend(reason::notes(
            self.way,
            self.held,
            self.packet,
            self.known.is_some(),
        ));
        told
    }

    fn has(&self, set: SetId, key: &Key) -> bool {
        self.held.ruleset.find(set, key).is_some()
    }

    /// From the agent, else as far as the kernel tells.
    fn frontend(&self) -> Option<FrontendAnswer> {
        if let Some((service, frontend)) = self.known {
            return Some(FrontendAnswer {
                service: Some(format!("{}/{}", service.namespace, service.name)),
                kind: Some(frontend.kind),
                port_name: Some(frontend.port_name.clone()),
                policy: Some(frontend.policy),
                affinity_seconds: frontend.affinity_seconds,
                source_ranges: frontend
                    .source_ranges
                    .iter()
                    .map(ToString::to_string)
                    .collect(),
            });
        }
        self.by_kernel()
    }

    /// No names but of sticky Services, whose chains carry them.
    fn by_kernel(&self) -> Option<FrontendAnswer> {
        let keys = self.keys();
        let verdicts = [
            (SetId::Services, keys.vip),
            (SetId::ServicesInside, keys.vip),
            (SetId::ServicesOutside, keys.vip),
            (SetId::RefusedServices, keys.vip),
            (SetId::Nodeports, keys.node_port),
            (SetId::NodeportsInside, keys.node_port),
            (SetId::NodeportsOutside, keys.node_port),
            (SetId::RefusedNodeports, keys.node_port),
        ];
        let served = self.has(SetId::NodeAddresses, &keys.address);
        let of_node = |set: SetId| set.spec().key.len() == 2;
        let (set, element) = verdicts
            .into_iter()
            .filter(|(set, _)| served || !of_node(*set))
            .find_map(|(set, key)| Some((set, self.held.ruleset.find(set, &key)?)))?;
        let ranges = chain_of(&element.data).is_some_and(|c| c.as_str().starts_with("ranges-"));
        let kind = match (of_node(set), self.has(SetId::ClusterIps, &keys.address)) {
            (true, _) => Some(FrontendKind::NodePort),
            (false, true) => Some(FrontendKind::ClusterIP),
            (false, false) if ranges => Some(FrontendKind::LoadBalancer),
            (false, false) => None,
        };
        Some(FrontendAnswer {
            service: self.sticky_service(&keys),
            kind,
            port_name: None,
            policy: self.external_policy(&keys, kind),
            affinity_seconds: None,
            source_ranges: Vec::new(),
        })
    }

    /// The keys that the packet's destination has in the kernel's sets.
    fn keys(&self) -> Keys {
        let (protocol, port) = (self.packet.protocol, self.packet.port);
        let address = Key::EMPTY.address(self.packet.destination);
        Keys {
            address,
            vip: address.protocol(protocol).port(port),
            node_port: Key::EMPTY.protocol(protocol).port(port),
        }
    }

    fn sticky_service(&self, keys: &Keys) -> Option<String> {
        let maps = [
            (SetId::LearnServices, keys.vip),
            (SetId::LearnNodeports, keys.node_port),
        ];
        let chain = maps.iter().find_map(|(set, key)| {
            let leads = self.held.ruleset.find(*set, key).map(|e| &e.data);
            leads.and_then(chain_of)
        })?;
        let mut id = chain.as_str().strip_prefix("learn-")?.split('/');
        Some(format!("{}/{}", id.next()?, id.next()?))
    }

    /// Of a ClusterIP the kernel does not tell the policy.
    fn external_policy(&self, keys: &Keys, kind: Option<FrontendKind>) -> Option<Policy> {
        let (vips, node_ports) = match kind {
            Some(FrontendKind::ClusterIP) => return None,
            Some(FrontendKind::NodePort) => (None, Some(keys.node_port)),
            _ => (Some(keys.vip), None),
        };
        let either = |set, node_set| {
            vips.is_some_and(|key| self.has(set, &key))
                || node_ports.is_some_and(|key| self.has(node_set, &key))
        };
        if either(SetId::LocalServices, SetId::LocalNodeports) {
            return Some(Policy::Local);
        }
        let cluster = either(SetId::MasqueradeServices, SetId::MasqueradeNodeports);
        cluster.then_some(Policy::Cluster)
    }

    fn endpoint_view(&self, address: IpAddr, port: u16) -> Option<&EndpointView> {
        let (_, frontend) = self.known?;
        let mut all = frontend.endpoints.iter();
        all.find(|e| e.address == address && e.port == port)
    }

    fn endpoints(&self) -> Vec<EndpointAnswer> {
        let answer = |(fate, steps): &(Fate, Vec<Step>)| {
            let Fate::Endpoint(target, masqueraded) = fate else {
                return None;
            };
            let view = self.endpoint_view(target.address, target.port);
            Some(EndpointAnswer {
                address: target.address,
                port: target.port,
                node: view.and_then(|v| v.node.clone()),
                zone: view.and_then(|v| v.zone.clone()),
                masqueraded: *masqueraded,
                because: reason::masquerade(steps, *masqueraded, self.held),
            })
        };
        self.way.fates.iter().filter_map(answer).collect()
    }

    /// The agent's other endpoints, with its reason, or one that only this packet has.
    fn not_chosen(&self, chosen: &[EndpointAnswer]) -> Vec<NotChosen> {
        let Some((_, frontend)) = self.known else {
            return Vec::new();
        };
        let held_at = self.affinity();
        let not = |e: &EndpointView| {
            let taken = chosen
                .iter()
                .any(|c| c.address == e.address && c.port == e.port);
            let reason = match (&e.reason, &held_at) {
                _ if taken => return None,
                (Some(reason), _) => reason.clone(),
                (None, Some(at)) => format!("the client is held at {}", at.endpoint),
                (None, None) if chosen.is_empty() => "the connection goes to none".to_owned(),
                (None, None) => "the kernel does not have it".to_owned(),
            };
            Some(NotChosen {
                address: e.address,
                port: e.port,
                node: e.node.clone(),
                zone: e.zone.clone(),
                state: e.state,
                reason,
            })
        };
        frontend.endpoints.iter().filter_map(not).collect()
    }

    fn affinity(&self) -> Option<AffinityAnswer> {
        self.found().find_map(|found| match found {
            Found::Client {
                map,
                client,
                endpoint,
            } => Some(AffinityAnswer {
                map: map.to_string(),
                client: *client,
                endpoint: *endpoint,
            }),
            Found::Element(_) => None,
        })
    }

    /// What was found on the way, in its order.
    fn found(&self) -> impl Iterator<Item = &Found> {
        let later = self.way.fates.iter().flat_map(|(_, steps)| steps);
        let steps = self.way.steps.iter().chain(later);
        steps.flat_map(|step| match step {
            Step::Rule(rule) => &rule.found[..],
            Step::Source(_) | Step::Server(..) => &[],
        })
    }

    fn elements(&self) -> Vec<ElementView> {
        let mut elements: Vec<ElementView> = Vec::new();
        for found in self.found() {
            let view = view(found, self.family);
            if !elements.contains(&view) {
                elements.push(view);
            }
        }
        elements
    }

    /// Where the kernel does something else than the agent would. Told only where every source has
    /// the same endpoints: with policy Cluster, and no source ranges.
    fn disagreement(&self, told: &Explanation) -> Option<String> {
        let (_, frontend) = self.known?;
        let limited = frontend.policy != Policy::Cluster || !frontend.source_ranges.is_empty();
        // In IPVS mode the scheduler's weights decide, too.
        if limited || told.affinity.is_some() || self.held.ipvs() {
            return None;
        }
        let used = |e: &&EndpointView| e.used == Some(Used::Cluster);
        let wanted: BTreeSet<_> = {
            let all = frontend.endpoints.iter().filter(used);
            all.map(|e| (e.address, e.port)).collect()
        };
        let held: BTreeSet<_> = told.endpoints.iter().map(|e| (e.address, e.port)).collect();
        let what = match held.is_empty() {
            true => "the agent would forward this, the kernel does not",
            false => "they have different endpoints",
        };
        let differ = || format!("the kernel and the agent disagree, {what}: `ferrule debug diff`");
        (wanted != held).then(differ)
    }
}

/// See [`Teller::keys`].
struct Keys {
    address: Key,
    vip: Key,
    node_port: Key,
}

fn chain_of(data: &Data) -> Option<&ChainName> {
    match data {
        Data::Verdict(Leads::Goto(chain) | Leads::Jump(chain)) => Some(chain),
        _ => None,
    }
}

/// An element as nft writes it.
pub(in crate::debug) fn view(found: &Found, family: IpFamily) -> ElementView {
    match found {
        Found::Element(element) => ElementView {
            set: element.set.name().to_owned(),
            element: text::element(element, family),
        },
        Found::Client {
            map,
            client,
            endpoint,
        } => ElementView {
            set: map.to_string(),
            element: format!("{client} : {endpoint}"),
        },
    }
}
