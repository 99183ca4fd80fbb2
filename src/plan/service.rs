// SPDX-License-Identifier: Apache-2.0
//! What one Service contributes to the ruleset of one family.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ipnet::IpNet;

use super::balance::{self, Entrance, MAX_ENDPOINTS, Place};
use super::contribution::{Contribution, PortPlan, WithoutLocal};
use super::frontend::{self, Frontend, Kind};
use super::ipvs::VirtualServer;
use super::ipvs::servers::Planned;
use super::nft::{ChainName, ChainSpec, Data, Element, Key, SetId, SetName, SetSpec, Verdict};
use super::order::settle;
use super::{Options, skeleton};
use crate::model::select::{self, Candidate, Target};
use crate::model::{
    IpFamily, Node, Protocol, Service, ServicePort, ServicePortName, State, TrafficPolicy,
};

/// What the kernel holds at a key of one of the two endpoint maps, as far as it is known.
pub type Held<'a> = dyn Fn(SetId, &Key) -> Option<Target> + 'a;

/// The endpoints that a frontend's list has now, in their places.
fn held_list(held: &Held<'_>, frontend: &Frontend, place: Place) -> Vec<Target> {
    let (sets, _) = sets_of(frontend);
    let at = |index: u32| {
        held(
            sets.endpoints,
            &frontend.key().index(place.offset() + index),
        )
    };
    (0..MAX_ENDPOINTS as u32).map_while(at).collect()
}

/// Plans a Service. `held` is what the kernel holds of it, so that endpoints keep their places.
pub fn plan(
    state: &State,
    options: &Options,
    service: &Service,
    family: IpFamily,
    held: &Held<'_>,
) -> Contribution {
    let mut builder = Builder::default();
    let ranges = frontend::source_ranges(service, family, state.node());
    let mut ports = Vec::new();
    for port in &service.ports {
        let frontends = frontend::frontends(state, service, port, family);
        if frontends.is_empty() {
            continue;
        }
        let slices = state.slices(&service.name);
        let node = state.node();
        let candidates = select::candidates(slices, &port.name, port.protocol, family, node);
        let mut plan = plan_port(service, port, &candidates, node, frontends, held);
        if options.reset_stale_tcp && port.protocol == Protocol::Tcp {
            plan.present = Some(Arc::new(candidates.iter().map(|c| c.target).collect()));
        }
        let mut port = PortBuilder {
            state,
            service,
            options,
            ranges: ranges.as_deref(),
            plan: &plan,
            candidates: &candidates,
            shared: Vec::new(),
            out: &mut builder,
        };
        port.build();
        builder.without_local(service, &plan);
        builder.local_endpoints(&plan, &candidates);
        if options.drop_invalid {
            builder.backends(&plan);
        }
        ports.push(plan);
    }
    builder.finish(ports)
}

/// Chooses the endpoints of a service port and gives them their places.
fn plan_port(
    service: &Service,
    port: &ServicePort,
    candidates: &[Candidate<'_>],
    node: &Node,
    frontends: Vec<Frontend>,
    held: &Held<'_>,
) -> PortPlan {
    let local = frontends
        .iter()
        .any(|f| f.policy(service) == TrafficPolicy::Local);
    let choice = select::choose(candidates, local, node);
    let settled = |wanted: &[Target], internal_local: bool, place| {
        let lists = frontends
            .iter()
            .filter(|f| is_internal_local(service, f) == internal_local)
            .map(|f| held_list(held, f, place));
        let previous = lists
            .into_iter()
            .find(|list| !list.is_empty())
            .unwrap_or_default();
        let mut list = settle(&previous, wanted);
        list.truncate(MAX_ENDPOINTS);
        list
    };
    // A ClusterIP of policy Local has its only list at the first place.
    let internal_local = frontends.iter().any(|f| is_internal_local(service, f));
    let local_place = if internal_local {
        Place::First
    } else {
        Place::Second
    };
    let local = settled(&choice.local, internal_local, local_place);
    PortPlan {
        name: ServicePortName {
            service: service.name.clone(),
            port: port.name.clone(),
        },
        protocol: port.protocol,
        cluster: settled(&choice.cluster, false, Place::First).into(),
        local: local.into(),
        present: None,
        sticky: service
            .affinity
            .map(|_| format!("{}/{}/{}", service.name, port.port, port.protocol).into()),
        frontends: frontends.into(),
    }
}

/// A ClusterIP with policy Local has but one list, the local one, at the first place.
fn is_internal_local(service: &Service, frontend: &Frontend) -> bool {
    frontend.kind == Kind::ClusterIp && service.internal_policy == TrafficPolicy::Local
}

/// Collects a contribution.
#[derive(Default)]
pub(super) struct Builder {
    chains: BTreeMap<ChainName, Arc<ChainSpec>>,
    sets: BTreeMap<SetName, Arc<SetSpec>>,
    elements: Vec<Element>,
    pub(super) servers: Vec<Planned>,
    without_local: WithoutLocal,
}

impl Builder {
    pub(super) fn chain(&mut self, chain: Arc<ChainSpec>) -> ChainName {
        let name = chain.name.clone();
        self.chains.entry(name.clone()).or_insert(chain);
        name
    }

    fn set(&mut self, spec: SetSpec) -> SetName {
        let name = spec.name.clone();
        self.sets
            .entry(name.clone())
            .or_insert_with(|| Arc::new(spec));
        name
    }

    pub(super) fn element(&mut self, set: SetId, key: Key, data: Data) {
        self.elements.push(Element {
            set,
            key,
            end: None,
            data,
        });
    }

    /// Counts the port if traffic to it is dropped for want of a local endpoint.
    fn without_local(&mut self, service: &Service, plan: &PortPlan) {
        if plan.cluster.is_empty() || !plan.local.is_empty() {
            return;
        }
        let wanted = |internal: bool| {
            let mut kind = plan.frontends.iter();
            kind.any(|f| {
                (f.kind == Kind::ClusterIp) == internal && f.policy(service) == TrafficPolicy::Local
            })
        };
        self.without_local.inside += u32::from(wanted(true));
        self.without_local.outside += u32::from(wanted(false));
    }

    /// Local endpoints that may talk to themselves through the Service.
    fn local_endpoints(&mut self, plan: &PortPlan, candidates: &[Candidate<'_>]) {
        for candidate in candidates {
            if candidate.local && plan.uses(&candidate.target) {
                let Target { address, port } = candidate.target;
                let key = Key::EMPTY.address(address).address(address);
                self.element(
                    SetId::Hairpin,
                    key.protocol(plan.protocol).port(port),
                    Data::None,
                );
            }
        }
    }

    /// The endpoints as the source of packets.
    fn backends(&mut self, plan: &PortPlan) {
        for Target { address, port } in plan.cluster.iter().chain(plan.local.iter()) {
            let key = Key::EMPTY.address(*address).protocol(plan.protocol);
            self.element(SetId::Backends, key.port(*port), Data::None);
        }
    }

    fn finish(mut self, ports: Vec<PortPlan>) -> Contribution {
        self.elements
            .sort_unstable_by(|a, b| (a.set, &a.key).cmp(&(b.set, &b.key)));
        self.elements
            .dedup_by(|a, b| a.set == b.set && a.key == b.key);
        Contribution {
            chains: self.chains.into_values().collect(),
            sets: self.sets.into_values().collect(),
            elements: self.elements.into(),
            servers: self.servers.into(),
            ports: ports.into(),
            without_local: self.without_local,
        }
    }
}

/// Writes one service port's frontends.
pub(super) struct PortBuilder<'a> {
    pub(super) state: &'a State,
    pub(super) service: &'a Service,
    pub(super) options: &'a Options,
    ranges: Option<&'a [IpNet]>,
    pub(super) plan: &'a PortPlan,
    pub(super) candidates: &'a [Candidate<'a>],
    /// The virtual servers made so far, by their lists of endpoints.
    pub(super) shared: Vec<(Arc<[Target]>, Arc<VirtualServer>)>,
    pub(super) out: &'a mut Builder,
}

/// The maps and sets that a frontend's kind of key goes to.
struct Sets {
    any: SetId,
    inside: SetId,
    outside: SetId,
    refused: SetId,
    masquerade: SetId,
    local: SetId,
    learn: SetId,
    endpoints: SetId,
}

const VIP_SETS: Sets = Sets {
    any: SetId::Services,
    inside: SetId::ServicesInside,
    outside: SetId::ServicesOutside,
    refused: SetId::RefusedServices,
    masquerade: SetId::MasqueradeServices,
    local: SetId::LocalServices,
    learn: SetId::LearnServices,
    endpoints: SetId::Endpoints,
};

const NODEPORT_SETS: Sets = Sets {
    any: SetId::Nodeports,
    inside: SetId::NodeportsInside,
    outside: SetId::NodeportsOutside,
    refused: SetId::RefusedNodeports,
    masquerade: SetId::MasqueradeNodeports,
    local: SetId::LocalNodeports,
    learn: SetId::LearnNodeports,
    endpoints: SetId::NodeportEndpoints,
};

fn sets_of(frontend: &Frontend) -> (&'static Sets, Entrance) {
    match frontend.address {
        Some(_) => (&VIP_SETS, Entrance::Vip),
        None => (&NODEPORT_SETS, Entrance::Node),
    }
}

impl<'a> PortBuilder<'a> {
    fn build(&mut self) {
        for frontend in &self.plan.frontends {
            self.addresses(frontend);
            self.frontend(frontend);
        }
    }

    fn addresses(&mut self, frontend: &Frontend) {
        let Some(address) = frontend.address else {
            return;
        };
        let key = Key::EMPTY.address(address);
        self.out.element(SetId::ServiceAddresses, key, Data::None);
        if frontend.kind == Kind::ClusterIp {
            self.out.element(SetId::ClusterIps, key, Data::None);
        }
        if let Some(ranges) = self.ranges_of(frontend) {
            let end = |net: &IpNet| Box::new(frontend.key().address(net.broadcast()));
            self.out.elements.extend(ranges.iter().map(|net| Element {
                set: SetId::SourceRanges,
                key: frontend.key().address(net.network()),
                end: Some(end(net)),
                data: Data::None,
            }));
        }
    }

    /// Source ranges hold for load balancer IPs only.
    fn ranges_of(&self, frontend: &Frontend) -> Option<&'a [IpNet]> {
        self.ranges.filter(|_| frontend.kind == Kind::LoadBalancer)
    }

    /// The verdict table of docs/ruleset.md.
    fn frontend(&mut self, frontend: &Frontend) {
        let (sets, entrance) = sets_of(frontend);
        let key = frontend.key();
        let internal = frontend.kind == Kind::ClusterIp;
        let local_policy = self.is_local(frontend);
        let (cluster, local) = (self.plan.cluster.clone(), self.plan.local.clone());
        if cluster.is_empty() && local.is_empty() {
            let chain = match entrance {
                Entrance::Vip => skeleton::NO_ENDPOINTS,
                Entrance::Node => skeleton::NODE_NO_ENDPOINTS,
            };
            let verdict = self.permitted(frontend, chain.into());
            self.virtual_server(frontend, &cluster);
            return self.out.element(sets.refused, key, Data::Verdict(verdict));
        }
        if self.translates(frontend) {
            self.learn(frontend, sets);
        }
        match (local_policy, internal) {
            (false, _) => {
                self.balance(frontend, sets.any, &cluster, false, Place::First);
                if !internal {
                    self.out.element(sets.masquerade, key, Data::None);
                }
            }
            (true, true) => self.balance(frontend, sets.any, &local, true, Place::First),
            (true, false) => {
                self.send(frontend, sets.inside, &cluster, false, Place::First);
                self.balance(frontend, sets.outside, &local, true, Place::Second);
                self.out.element(sets.local, key, Data::None);
            }
        }
    }

    /// There are endpoints, but not on this node.
    pub(super) fn drop_for_want_of_local(&mut self, frontend: &Frontend) {
        let verdict = match self.options.reset_stale_tcp {
            true => Verdict::Goto(self.out.chain(balance::no_local())),
            false => Verdict::Drop,
        };
        let (sets, _) = sets_of(frontend);
        self.out
            .element(sets.refused, frontend.key(), Data::Verdict(verdict));
    }

    /// Sends a frontend's traffic to a list, or drops it if the list is empty: there are endpoints,
    /// but not on this node.
    pub(super) fn send(
        &mut self,
        frontend: &Frontend,
        map: SetId,
        list: &[Target],
        local: bool,
        place: Place,
    ) {
        let (sets, entrance) = sets_of(frontend);
        let key = frontend.key();
        if list.is_empty() {
            return self.drop_for_want_of_local(frontend);
        }
        for (index, target) in list.iter().enumerate() {
            let key = key.index(place.offset() + index as u32);
            self.out.element(
                sets.endpoints,
                key,
                Data::Target(target.address, target.port),
            );
        }
        let mut next = self.forward(balance::random(entrance, place, list.len()));
        if let Some(id) = &self.plan.sticky {
            let maps = self.affinity_maps(id, list, local);
            let suffix = balance::sticky_suffix(entrance, place, local);
            let chain = balance::sticky(id, suffix, self.plan.protocol, &maps, &next);
            next = self.forward(chain);
        }
        let verdict = self.permitted(frontend, next);
        self.out.element(map, key, Data::Verdict(verdict));
    }

    /// A chain that sends connections on.
    fn forward(&mut self, chain: Arc<ChainSpec>) -> ChainName {
        match self.options.reset_stale_tcp {
            true => self.out.chain(balance::resetting(&chain)),
            false => self.out.chain(chain),
        }
    }

    /// The verdict for permitted sources, through the chain that tests them if there are ranges.
    pub(super) fn permitted(&mut self, frontend: &Frontend, next: ChainName) -> Verdict {
        match self.ranges_of(frontend) {
            None => Verdict::Goto(next),
            Some(_) => Verdict::Goto(self.out.chain(balance::ranges(&next))),
        }
    }

    /// The maps that hold clients of these endpoints, by target port.
    fn affinity_maps(&mut self, id: &str, list: &[Target], local: bool) -> Vec<(u16, SetName)> {
        let ports: BTreeSet<u16> = list.iter().map(|t| t.port).collect();
        let capacity = self.options.affinity_capacity;
        let mut map = |port| {
            (
                port,
                self.out
                    .set(balance::affinity_map(id, local, port, capacity)),
            )
        };
        ports.into_iter().map(&mut map).collect()
    }

    /// Lets the kernel remember the clients of a sticky frontend.
    fn learn(&mut self, frontend: &Frontend, sets: &Sets) {
        let (Some(id), Some(timeout)) = (&self.plan.sticky, self.service.affinity) else {
            return;
        };
        let plan = self.plan;
        let mut cluster = Vec::new();
        if plan
            .frontends
            .iter()
            .any(|f| !is_internal_local(self.service, f))
        {
            let all: Vec<Target> = plan
                .cluster
                .iter()
                .chain(plan.local.iter())
                .copied()
                .collect();
            cluster = self.affinity_maps(id, &all, false);
        }
        let local = self.affinity_maps(id, &plan.local, true);
        let chain = balance::learn(id, timeout, &cluster, &local);
        let chain = self.out.chain(chain);
        self.out.element(
            sets.learn,
            frontend.key(),
            Data::Verdict(Verdict::Jump(chain)),
        );
    }
}
