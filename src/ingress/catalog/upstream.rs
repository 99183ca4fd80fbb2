// SPDX-License-Identifier: Apache-2.0
//! The endpoints of the Service ports that Ingresses name.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use crate::ingress::table::{Upstream, UpstreamId, UpstreamProtocol};
use crate::model::ingress::{PortRef, UpstreamPort};
use crate::model::select::{candidates, choose};
use crate::model::{IpFamily, Protocol, ServiceName, State, Target, UpstreamService};

/// A port that an Ingress asks for; none is the first one.
type Port = Option<PortRef>;

/// What answers on a port, and what is wrong with it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Answer {
    pub(super) upstream: Arc<Upstream>,
    /// The Service's own address, at which all its endpoints are found.
    pub(super) cluster: Option<Target>,
    pub(super) reason: Option<String>,
}

/// A port that is passed on byte by byte.
type StreamPort = (Protocol, PortRef);

/// Its endpoints, and what is wrong with it.
pub(super) type Targets = (Arc<[Target]>, Option<String>);

/// A Service that is used.
#[derive(Debug, Default)]
struct Used {
    /// Ingresses, each with the ports that it asks for.
    users: BTreeMap<ServiceName, BTreeSet<Port>>,
    /// As `--default-backend-service`.
    first: bool,
    answers: BTreeMap<Port, Answer>,
    /// Its ports that are passed on byte by byte, with their endpoints.
    streams: BTreeMap<StreamPort, Targets>,
    /// What its ExternalName was when its endpoints were chosen.
    external: Option<Arc<str>>,
}

/// All Services, and the chosen endpoints of those that are used.
#[derive(Debug, Default)]
pub(super) struct Upstreams {
    services: HashMap<ServiceName, Arc<UpstreamService>>,
    used: HashMap<ServiceName, Used>,
    addresses: HashMap<Arc<str>, Vec<IpAddr>>,
    externals: BTreeMap<Arc<str>, BTreeSet<ServiceName>>,
    externals_changed: bool,
}

impl Upstreams {
    pub(super) fn replace(&mut self, name: &ServiceName, service: Option<UpstreamService>) {
        match service {
            Some(service) => self.services.insert(name.clone(), Arc::new(service)),
            None => self.services.remove(name),
        };
    }

    /// The addresses of an ExternalName. The Services that use them.
    pub(super) fn resolved(
        &mut self,
        name: &Arc<str>,
        addresses: Vec<IpAddr>,
    ) -> BTreeSet<ServiceName> {
        let Some(users) = self.externals.get(name) else {
            return BTreeSet::new();
        };
        let usable = addresses.into_iter().filter(is_elsewhere).collect();
        self.addresses.insert(name.clone(), usable);
        users.clone()
    }

    pub(super) fn uses(&self, service: &ServiceName) -> bool {
        self.used.contains_key(service)
    }

    pub(super) fn used(&self) -> impl Iterator<Item = &ServiceName> {
        self.used.keys()
    }

    pub(super) fn users(&self, service: &ServiceName) -> impl Iterator<Item = &ServiceName> {
        let used = self.used.get(service).into_iter();
        used.flat_map(|used| used.users.keys())
    }

    /// Replaces what an Ingress uses; `before` is what it may have used.
    pub(super) fn want(
        &mut self,
        user: &ServiceName,
        now: BTreeMap<ServiceName, BTreeSet<Port>>,
        before: impl Iterator<Item = ServiceName>,
    ) {
        let unused: Vec<_> = before
            .filter(|service| !now.contains_key(service))
            .collect();
        for (service, ports) in now {
            let used = self.used.entry(service).or_default();
            used.users.insert(user.clone(), ports);
        }
        unused.iter().for_each(|service| self.unuse(service, user));
    }

    pub(super) fn want_first(&mut self, service: &ServiceName) {
        self.used.entry(service.clone()).or_default().first = true;
    }

    fn unuse(&mut self, service: &ServiceName, user: &ServiceName) {
        let Some(used) = self.used.get_mut(service) else {
            return;
        };
        used.users.remove(user);
        self.forget_unused(service);
    }

    fn forget_unused(&mut self, service: &ServiceName) {
        let unused = |used: &mut Used| {
            let unused = used.users.is_empty() && !used.first && used.streams.is_empty();
            unused.then(|| used.external.take())
        };
        if let Some(external) = self.used.get_mut(service).and_then(unused) {
            self.used.remove(service);
            self.resolve(service, external, None);
        }
    }

    /// Replaces all ports that are passed on byte by byte. The Services that had or have some.
    pub(super) fn want_streams(
        &mut self,
        wanted: BTreeMap<ServiceName, BTreeSet<StreamPort>>,
    ) -> BTreeSet<ServiceName> {
        let had = self
            .used
            .iter_mut()
            .filter(|(_, used)| !used.streams.is_empty());
        let mut touched: BTreeSet<ServiceName> = had
            .map(|(name, used)| {
                used.streams.clear();
                name.clone()
            })
            .collect();
        for (service, ports) in wanted {
            let used = self.used.entry(service.clone()).or_default();
            used.streams = ports
                .into_iter()
                .map(|port| (port, Targets::default()))
                .collect();
            touched.insert(service);
        }
        touched
            .iter()
            .for_each(|service| self.forget_unused(service));
        touched
    }

    /// Whether some port of a Service is passed on byte by byte.
    pub(super) fn has_streams(&self, service: &ServiceName) -> bool {
        let used = self.used.get(service);
        used.is_some_and(|used| !used.streams.is_empty())
    }

    /// The endpoints of such a port.
    pub(super) fn stream(&self, service: &ServiceName, port: &StreamPort) -> Option<&Targets> {
        self.used.get(service)?.streams.get(port)
    }

    /// Replaces the name that has to be resolved for a Service.
    fn resolve(&mut self, service: &ServiceName, old: Option<Arc<str>>, new: Option<Arc<str>>) {
        if old == new {
            return;
        }
        if let Some(old) = old
            && let Some(users) = self.externals.get_mut(&old)
        {
            users.remove(service);
            if users.is_empty() {
                self.externals.remove(&old);
                self.addresses.remove(&old);
                self.externals_changed = true;
            }
        }
        if let Some(new) = new {
            self.externals_changed |= !self.externals.contains_key(&new);
            let users = self.externals.entry(new).or_default();
            users.insert(service.clone());
        }
    }

    /// The names that have to be resolved, if they are others than before.
    pub(super) fn externals_if_changed(&mut self, anyway: bool) -> Option<Arc<BTreeSet<Arc<str>>>> {
        let changed = std::mem::take(&mut self.externals_changed);
        let names = || Arc::new(self.externals.keys().cloned().collect());
        (changed || anyway).then(names)
    }

    pub(super) fn answer(&self, service: &ServiceName, port: &Port) -> Option<&Answer> {
        self.used.get(service)?.answers.get(port)
    }

    /// Chooses the endpoints of a Service anew: of how many ports, and whether any differ.
    pub(super) fn choose(&mut self, name: &ServiceName, how: (&State, bool)) -> (usize, bool) {
        let Some(mut used) = self.used.remove(name) else {
            return (0, false);
        };
        let service = self.services.get(name).cloned();
        let external = service.as_ref().and_then(|s| s.external.clone());
        let before = std::mem::replace(&mut used.external, external.clone());
        self.resolve(name, before, external);
        let mut ports: BTreeSet<Port> = used.users.values().flatten().cloned().collect();
        ports.extend(used.first.then_some(None));
        let mut answers = BTreeMap::new();
        for port in ports {
            let mut answer = self.one(name, service.as_deref(), &port, how);
            // What is the same stays the same object, and so does what hangs on it.
            if let Some(old) = used.answers.get(&port).filter(|old| **old == answer) {
                answer = old.clone();
            }
            answers.insert(port, answer);
        }
        // A port that is new is nobody's but those who have just asked for it.
        let differs =
            |(port, old): (&Port, &Answer)| answers.get(port).is_some_and(|new| new != old);
        let changed = used.answers.iter().any(differs);
        let work = answers.len();
        used.answers = answers;
        for ((protocol, port), targets) in &mut used.streams {
            let place = (*protocol, Some(port.clone()));
            *targets = self.endpoints(name, service.as_deref(), &place, how).0;
        }
        self.used.insert(name.clone(), used);
        (work, changed)
    }

    fn one(
        &self,
        name: &ServiceName,
        service: Option<&UpstreamService>,
        port: &Port,
        how: (&State, bool),
    ) -> Answer {
        let place = (Protocol::Tcp, port.clone());
        let ((endpoints, reason), app_protocol) = self.endpoints(name, service, &place, how);
        let cluster = service.and_then(|service| cluster(service, &place));
        let protocol = match app_protocol.as_deref() {
            Some("kubernetes.io/h2c") => UpstreamProtocol::H2c,
            _ => UpstreamProtocol::Http1,
        };
        let port = port.as_ref().map_or_else(|| "".into(), ToString::to_string);
        let id = UpstreamId {
            service: name.clone(),
            port: port.as_str().into(),
            protocol,
            variant: "".into(),
        };
        let upstream = Arc::new(Upstream {
            id,
            endpoints,
            protocol,
            balance: crate::ingress::table::Balance::default(),
            sessions: None,
            tls: None,
        });
        Answer {
            upstream,
            cluster,
            reason,
        }
    }

    /// The endpoints of a port, with what is wrong with it and its appProtocol.
    fn endpoints(
        &self,
        name: &ServiceName,
        service: Option<&UpstreamService>,
        (protocol, port): &(Protocol, Port),
        how: (&State, bool),
    ) -> (Targets, Option<Arc<str>>) {
        let Some(service) = service else {
            let reason = format!("Service {name} is not there");
            return ((Arc::default(), Some(reason)), None);
        };
        let Some(found) = find(service, *protocol, port) else {
            let kind = if *protocol == Protocol::Udp {
                "UDP"
            } else {
                "TCP"
            };
            let port = port.as_ref();
            let port = port.map_or_else(|| "port".into(), |p| format!("{kind} port {p}"));
            let reason = format!("Service {name} has no {port}");
            return ((Arc::default(), Some(reason)), None);
        };
        let targets = self.targets(service, &found, how);
        ((targets.into(), None), found.app_protocol)
    }

    /// As the L4 agent chooses for policy Cluster, of the family that the Service prefers: a pod of
    /// a dual-stack Service must not count twice. Of the other family, if that has none.
    fn targets(
        &self,
        service: &UpstreamService,
        port: &UpstreamPort,
        (state, local_first): (&State, bool),
    ) -> Vec<Target> {
        if let Some(external) = &service.external {
            let addresses = self.addresses.get(external).into_iter().flatten();
            let port = port.target.unwrap_or(port.port);
            return addresses
                .map(|address| Target {
                    address: *address,
                    port,
                })
                .collect();
        }
        let other = match service.family {
            IpFamily::V4 => IpFamily::V6,
            IpFamily::V6 => IpFamily::V4,
        };
        let choose = |family| {
            let (node, slices) = (state.node(), state.slices(&service.name));
            let all = candidates(slices, &port.name, port.protocol, family, node);
            let choice = choose(&all, local_first, node);
            match choice.local.is_empty() {
                true => choice.cluster,
                false => choice.local,
            }
        };
        let preferred = choose(service.family);
        match preferred.is_empty() {
            true => choose(other),
            false => preferred,
        }
    }
}

/// A Service's own address and port.
fn cluster(service: &UpstreamService, (protocol, port): &(Protocol, Port)) -> Option<Target> {
    let port = find(service, *protocol, port)?.port;
    let address = service.cluster?;
    Some(Target { address, port })
}

/// The port that is asked for. An ExternalName need not list its ports.
fn find(service: &UpstreamService, protocol: Protocol, port: &Port) -> Option<UpstreamPort> {
    let mut ports = service.ports.iter().filter(|p| p.protocol == protocol);
    let found = match port {
        None => ports.next(),
        Some(PortRef::Number(number)) => ports.find(|p| p.port == *number),
        Some(PortRef::Name(name)) => ports.find(|p| p.name == *name),
    };
    match (found, port, &service.external) {
        (None, Some(PortRef::Number(number)), Some(_)) => Some(UpstreamPort {
            name: "".into(),
            protocol,
            port: *number,
            target: None,
            app_protocol: None,
        }),
        (found, ..) => found.cloned(),
    }
}

/// An ExternalName must not lead to this host itself, or to the cloud's metadata.
pub(crate) fn is_elsewhere(address: &IpAddr) -> bool {
    let link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !(link_local || address.is_loopback() || address.is_unspecified() || address.is_multicast())
}
