// SPDX-License-Identifier: Apache-2.0
//! Runs a row through ferrule's own packet tracer, which must say what the table says.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ferrule::model::{
    Conditions, EndpointPort, EndpointSlice, Event, Hints, IpFamily, Node, Observed, Protocol,
    Service as Model, ServiceName, ServicePort, SliceEndpoint, SliceName, State, Target,
};
use ferrule::plan::change::Change;
use ferrule::plan::ipvs::text;
use ferrule::plan::ledger::{Ledger, Owner};
use ferrule::plan::trace::{self, Fate, Packet, World};
use ferrule::plan::{Options, Ruleset, service, skeleton};

use crate::case::{Expect, Profile, Reach, Seen};
use crate::judge::Trial;
use crate::netns::{self, Place};
use crate::object::{self, Endpoint, Kind, Service, TARGETS, node_of};

/// The rulesets of all nodes of a profile.
#[derive(Debug)]
pub struct Tracer {
    rulesets: BTreeMap<(u16, IpFamily), (Ruleset, World)>,
    virtual_servers: BTreeMap<u16, BTreeSet<String>>,
}

impl Tracer {
    /// Plans every node from scratch.
    pub fn new(profile: &Profile, nodes: u16) -> Self {
        let services: Vec<_> = profile.cases.iter().flat_map(|c| &c.services).collect();
        let mut rulesets = BTreeMap::new();
        let mut virtual_servers = BTreeMap::<_, BTreeSet<String>>::new();
        for n in 1..=nodes {
            let state = state_of((n, nodes), &services);
            for family in IpFamily::ALL {
                let ledger = ledger(&state, &profile.options, family);
                let lines = text::servers(ledger.servers().iter());
                virtual_servers
                    .entry(n)
                    .or_default()
                    .extend(lines.lines().map(str::to_owned));
                let ruleset = ledger.ruleset();
                let local = state.local_addresses().clone();
                let elsewhere = BTreeSet::clone(state.elsewhere());
                rulesets.insert(
                    (n, family),
                    (
                        ruleset,
                        World {
                            local,
                            elsewhere,
                            ..World::default()
                        },
                    ),
                );
            }
        }
        Self {
            rulesets,
            virtual_servers,
        }
    }

    /// The virtual servers that the plan of a node has, line by line as `ipvsadm -Sn` writes them.
    pub fn virtual_servers(&self, n: u16) -> Option<&BTreeSet<String>> {
        self.virtual_servers.get(&n)
    }

    /// Whether the tracer says of a row what the table says. If not, the text tells what it says.
    ///
    /// # Errors
    /// As said.
    pub fn agrees(&self, trial: &Trial<'_>) -> Result<(), String> {
        let n = trial.row.decided_by();
        let Some((ruleset, world)) = self.rulesets.get(&(n, trial.family)) else {
            return Err(format!("no node {n}"));
        };
        let Some(packet) = packet(trial, world) else {
            return Err("the Service has no such frontend".to_owned());
        };
        let fates = trace::trace(ruleset, world, &packet);
        let expected = expected(trial);
        match same(trial, &fates, &expected) {
            true => Ok(()),
            false => Err(format!("the tracer says {fates:?}, the table {expected:?}")),
        }
    }
}

/// The first packet of a row's connection. None if the table is wrong.
pub(crate) fn packet(trial: &Trial<'_>, world: &World) -> Option<Packet> {
    let attempt = trial
        .row
        .attempt(trial.case, trial.family, trial.protocol)?;
    Some(Packet {
        source: source(trial, attempt.to.ip(), world),
        destination: attempt.to.ip(),
        protocol: trial.protocol,
        port: attempt.to.port(),
        interface: interface(trial.row.from.place, trial.row.decided_by()),
    })
}

/// Whether both say the same of a row. A host's source is one of the node's addresses with and
/// without masquerade.
pub(crate) fn same(trial: &Trial<'_>, a: &BTreeSet<Fate>, b: &BTreeSet<Fate>) -> bool {
    let host = trial.row.from.place == Place::Node(trial.row.decided_by());
    let plain = |f: &Fate| match f {
        Fate::Endpoint(t, _) if host => Fate::Endpoint(*t, false),
        other => *other,
    };
    a.iter().map(plain).eq(b.iter().map(plain))
}

/// What the table says.
pub(crate) fn expected(trial: &Trial<'_>) -> BTreeSet<Fate> {
    match &trial.row.expect {
        Expect::Reach(reach) => reach
            .pods
            .iter()
            .map(|p| endpoint_fate(trial, reach, p))
            .collect(),
        Expect::Refused => BTreeSet::from([Fate::Rejected]),
        Expect::Dropped => BTreeSet::from([Fate::Dropped]),
        Expect::Closed | Expect::Lost => BTreeSet::from([Fate::Untouched]),
    }
}

fn endpoint_fate(trial: &Trial<'_>, reach: &Reach, pod: &str) -> Fate {
    let service = trial.case.service(trial.row.to);
    let port = service
        .and_then(|s| s.endpoints.iter().find(|e| e.pod == pod))
        .map_or(0, |e| e.port);
    let address = object::pod_address(trial.family, pod);
    let itself = matches!(trial.row.from.place, Place::Pod(name) if name == pod);
    Fate::Endpoint(
        Target { address, port },
        itself || matches!(reach.seen, Seen::Node(_)),
    )
}

fn source(trial: &Trial<'_>, to: IpAddr, world: &World) -> IpAddr {
    let decided_by = trial.row.decided_by();
    match trial.row.from.place {
        Place::Pod(name) => object::pod_address(trial.family, name),
        Place::Outside => trial.row.from.source(trial.family).unwrap_or(to),
        Place::Node(n) if n == decided_by && (to.is_loopback() || world.local.contains(&to)) => to,
        Place::Node(n) => netns::node_address(trial.family, n),
    }
}

fn interface(place: Place, n: u16) -> Option<Arc<str>> {
    match place {
        Place::Node(m) if m == n => None,
        Place::Pod(name) if node_of(name) == n => Some(format!("pod-{name}").into()),
        _ => Some("eth0".into()),
    }
}

fn ledger(state: &State, options: &Options, family: IpFamily) -> Ledger {
    let (mut ledger, mut change) = (Ledger::default(), Change::ignored());
    ledger.replace(
        Owner::Node,
        skeleton::plan(state, options, family),
        &mut change,
    );
    for name in state.service_names() {
        let Some(model) = state.service(name) else {
            continue;
        };
        let plan = service::plan(state, options, model, family, &|_, _| None);
        ledger.replace(Owner::Service(name.clone()), plan, &mut change);
    }
    ledger
}

fn state_of((n, nodes): (u16, u16), services: &[&Service]) -> State {
    let mut state = State::new(object::node_name(n));
    state.apply(Event::Node(Observed::new(node(n))));
    for other in (1..=nodes).filter(|other| *other != n) {
        state.apply(Event::OtherNode(
            object::node_name(other).into(),
            node(other).addresses,
        ));
    }
    let cidrs = netns::SERVICE_CIDRS
        .iter()
        .filter_map(|c| c.parse().ok())
        .collect();
    state.apply(Event::ServiceCidr(
        "kubernetes".into(),
        Observed::new(cidrs),
    ));
    let own = |f| {
        [
            netns::node_address(f, n),
            netns::node_secondary(f, n),
            netns::node_gateway(f, n),
        ]
    };
    let mut local: Vec<IpAddr> = IpFamily::ALL.into_iter().flat_map(own).collect();
    let bound = services.iter().filter(|s| s.on_interface && n == 1);
    local.extend(bound.flat_map(|s| IpFamily::ALL.map(|f| s.cluster_ip(f))));
    state.apply(Event::LocalAddresses(local));
    for service in services {
        let model = model(service);
        state.apply(Event::Service(model.name.clone(), Observed::new(model)));
        for slice in slices(service) {
            state.apply(Event::Slice(slice.name.clone(), Observed::new(slice)));
        }
    }
    state.apply(Event::Synced);
    state
}

fn node(n: u16) -> Node {
    Node {
        name: object::node_name(n).into(),
        zone: Some(object::zone_of(n).into()),
        addresses: IpFamily::ALL.map(|f| netns::node_address(f, n)).to_vec(),
        pod_cidrs: IpFamily::ALL
            .iter()
            .filter_map(|f| netns::pod_cidr(*f, n).parse().ok())
            .collect(),
        leaving: false,
    }
}

fn model(service: &Service) -> Model {
    let port = |protocol: Protocol| ServicePort {
        name: protocol.word().into(),
        protocol,
        port: service.port,
        node_port: service.node_port(),
    };
    let vips = |f| {
        service
            .load_balancer_ip(f)
            .filter(|_| service.kind != Kind::Proxied)
    };
    Model {
        name: ServiceName::new(service.namespace, service.name),
        created: i64::MAX,
        cluster_ips: IpFamily::ALL.map(|f| service.cluster_ip(f)).to_vec(),
        external_ips: IpFamily::ALL
            .into_iter()
            .filter_map(|f| service.external_ip(f))
            .collect(),
        load_balancer_ips: IpFamily::ALL.into_iter().filter_map(vips).collect(),
        source_ranges: service
            .ranges
            .iter()
            .filter_map(|r| r.parse().ok())
            .collect(),
        ports: Protocol::ALL.map(port).to_vec(),
        internal_policy: service.internal_policy,
        external_policy: service.external_policy,
        affinity: service.affinity,
        health_check_node_port: service.health_port(),
        ipvs: None,
    }
}

fn slices(service: &Service) -> Vec<EndpointSlice> {
    let mut slices = Vec::new();
    for family in IpFamily::ALL {
        for port in TARGETS {
            let of_port = service.endpoints.iter().filter(|e| e.port == port);
            let ports = Protocol::ALL.map(|protocol| EndpointPort {
                name: protocol.word().into(),
                protocol,
                port,
            });
            slices.push(EndpointSlice {
                name: SliceName::new(
                    service.namespace,
                    format!("{}-{family}-{port}", service.name),
                ),
                service: ServiceName::new(service.namespace, service.name),
                ports: ports.to_vec(),
                endpoints: of_port.map(|e| slice_endpoint(e, family)).collect(),
                triggered_at: None,
            });
        }
    }
    slices
}

fn slice_endpoint(e: &Endpoint, family: IpFamily) -> SliceEndpoint {
    let hints = Hints {
        zones: e.zone.into_iter().map(Into::into).collect(),
        nodes: e.node.into_iter().map(Into::into).collect(),
    };
    let (ready, serving, terminating) = (e.ready, e.serving, e.terminating);
    SliceEndpoint {
        address: e.address(family),
        conditions: Conditions {
            ready,
            serving,
            terminating,
        },
        node: Some(object::node_name(e.on()).into()),
        zone: Some(object::zone_of(e.on()).into()),
        hints: (hints != Hints::default()).then(|| Box::new(hints)),
    }
}
