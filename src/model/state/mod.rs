// SPDX-License-Identifier: Apache-2.0
//! Everything that the cluster has said, and which Services a new word concerns.

mod nodes;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::claims::{Claim, Claims};
use super::intern::Strings;
use super::{EndpointSlice, Event, Node, Observed, Service, ServiceName, SliceName};

/// The newest known state of all objects.
#[derive(Debug, Clone, Default)]
pub struct State {
    services: HashMap<ServiceName, Arc<Service>>,
    slices: HashMap<SliceName, Arc<EndpointSlice>>,
    /// Services' external IPs count for nothing.
    no_external_ips: bool,
    /// In the order of their names.
    slices_of: HashMap<ServiceName, Vec<SliceName>>,
    claims: Claims,
    strings: Strings,
    /// The own Node; a name only, until the object is known and after it is gone.
    node: Node,
    node_known: bool,
    /// Goes before the Node object's addresses of its family (kube-proxy: `detectNodeIPs`).
    node_ip: Option<IpAddr>,
    service_cidrs: BTreeMap<Arc<str>, Vec<IpNet>>,
    local_addresses: BTreeSet<IpAddr>,
    other_nodes: HashMap<Arc<str>, Vec<IpAddr>>,
    /// How many of them have an address.
    nodes_at: HashMap<IpAddr, usize>,
    /// Those of other nodes that are not this host's as well.
    elsewhere: Arc<BTreeSet<IpAddr>>,
    synced: bool,
}

/// What has to be planned anew.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// These Services.
    pub services: BTreeSet<ServiceName>,
    /// All Services: something changed that any of them may depend on.
    pub everything: bool,
    /// What belongs to the node rather than to a Service.
    pub node: bool,
}

impl Changes {
    /// Whether nothing has to be planned.
    pub fn is_empty(&self) -> bool {
        self.services.is_empty() && !self.everything && !self.node
    }

    /// Adds other changes.
    pub fn merge(&mut self, other: Changes) {
        self.services.extend(other.services);
        self.everything |= other.everything;
        self.node |= other.node;
    }

    fn services(names: impl IntoIterator<Item = ServiceName>) -> Self {
        Self {
            services: names.into_iter().collect(),
            ..Self::default()
        }
    }
}

impl State {
    /// An empty state of a node.
    pub fn new(node_name: impl Into<Arc<str>>) -> Self {
        let node = Node {
            name: node_name.into(),
            ..Node::default()
        };
        Self {
            node,
            ..Self::default()
        }
    }

    /// The same state with an address that counts as the node's first one, whether its Node object
    /// is known or not.
    pub fn with_node_ip(mut self, node_ip: Option<IpAddr>) -> Self {
        self.node.addresses = node_ip.into_iter().collect();
        self.node_ip = node_ip;
        self
    }

    /// The same state, in which Services have no external IPs (gate `AllowServiceExternalIPs`,
    /// KEP-5707). Only for an empty state.
    pub fn without_external_ips(self) -> Self {
        Self {
            no_external_ips: true,
            ..self
        }
    }

    /// Takes in one event and tells what it changes.
    pub fn apply(&mut self, event: Event) -> Changes {
        match event {
            Event::Service(name, observed) => self.apply_service(name, observed.object),
            Event::Slice(name, observed) => self.apply_slice(name, observed.object),
            Event::Node(observed) => self.apply_node(observed),
            Event::ServiceCidr(name, observed) => self.apply_service_cidr(name, observed.object),
            Event::LocalAddresses(addresses) => self.apply_addresses(addresses),
            Event::OtherNode(name, addresses) => self.apply_other_node(name, addresses),
            Event::Source { .. } | Event::Ingress(_) => Changes::default(),
            Event::Synced => {
                let first = !std::mem::replace(&mut self.synced, true);
                Changes {
                    everything: first,
                    node: first,
                    ..Changes::default()
                }
            }
        }
    }

    fn apply_service(&mut self, name: ServiceName, mut service: Option<Service>) -> Changes {
        if let Some(service) = service.as_mut().filter(|_| self.no_external_ips) {
            service.external_ips.clear();
        }
        let old = self.services.get(&name).cloned();
        if old.as_deref() == service.as_ref() {
            return Changes::default();
        }
        let mut touched = self.claims.replace(old.as_deref(), service.as_ref());
        match service {
            Some(service) => self.services.insert(name.clone(), Arc::new(service)),
            None => self.services.remove(&name),
        };
        touched.insert(name);
        Changes::services(touched)
    }

    /// The time of the change is for whoever sends the event: nothing depends on it, and a new
    /// time alone is no change.
    fn apply_slice(&mut self, name: SliceName, mut slice: Option<EndpointSlice>) -> Changes {
        if let Some(slice) = &mut slice {
            slice.triggered_at = None;
        }
        let old = self.slices.get(&name).cloned();
        if old.as_deref() == slice.as_ref() {
            return Changes::default();
        }
        let mut touched = BTreeSet::new();
        if let Some(old) = &old
            && slice.as_ref().is_none_or(|s| s.service != old.service)
        {
            self.unlink(&old.service, &name);
        }
        touched.extend(old.map(|s| s.service.clone()));
        match slice {
            Some(mut slice) => {
                self.strings.share_all(&mut slice);
                slice.endpoints.shrink_to_fit();
                slice.ports.shrink_to_fit();
                touched.insert(slice.service.clone());
                self.link(&slice.service, &name);
                self.slices.insert(name, Arc::new(slice));
            }
            None => {
                self.slices.remove(&name);
            }
        }
        Changes::services(touched)
    }

    fn link(&mut self, service: &ServiceName, slice: &SliceName) {
        let slices = self.slices_of.entry(service.clone()).or_default();
        if let Err(place) = slices.binary_search(slice) {
            slices.reserve_exact(1);
            slices.insert(place, slice.clone());
        }
    }

    fn unlink(&mut self, service: &ServiceName, slice: &SliceName) {
        if let Some(slices) = self.slices_of.get_mut(service) {
            slices.retain(|s| s != slice);
            if slices.is_empty() {
                self.slices_of.remove(service);
            }
        }
    }

    fn apply_node(&mut self, observed: Observed<Node>) -> Changes {
        self.node_known = observed.object.is_some();
        // A Node that is gone keeps its last addresses and zone: traffic goes on (kube-proxy too).
        let Some(mut node) = observed.object else {
            return Changes::default();
        };
        node.addresses.splice(0..0, self.node_ip);
        let old = std::mem::replace(&mut self.node, node);
        let new = &self.node;
        let mut touched = BTreeSet::new();
        if old.zone != new.zone {
            touched.extend(self.services_with_zone_hints());
        }
        if old.addresses != new.addresses {
            touched.extend(self.services_with_source_ranges());
        }
        Changes {
            services: touched,
            // Which endpoints are local.
            everything: old.name != new.name,
            node: old.name != new.name
                || old.addresses != new.addresses
                || old.pod_cidrs != new.pod_cidrs,
        }
    }

    /// The Services that may prefer endpoints of the own zone.
    fn services_with_zone_hints(&self) -> impl Iterator<Item = ServiceName> {
        let hinted = |slice: &EndpointSlice| {
            let mut hints = slice.endpoints.iter().filter_map(|e| e.hints.as_deref());
            hints.any(|hints| !hints.zones.is_empty())
        };
        let slices = self.slices.values().filter(move |slice| hinted(slice));
        slices.map(|slice| slice.service.clone())
    }

    /// The Services to which it matters whether the node is within a range.
    fn services_with_source_ranges(&self) -> impl Iterator<Item = ServiceName> {
        let ranged = |service: &&Arc<Service>| !service.source_ranges.is_empty();
        let services = self.services.values().filter(ranged);
        services.map(|service| service.name.clone())
    }

    fn apply_service_cidr(&mut self, name: Arc<str>, cidrs: Option<Vec<IpNet>>) -> Changes {
        let old = match cidrs {
            Some(cidrs) => self.service_cidrs.insert(name.clone(), cidrs),
            None => self.service_cidrs.remove(&name),
        };
        let node = old.as_ref() != self.service_cidrs.get(&name);
        Changes {
            node,
            ..Changes::default()
        }
    }

    fn apply_addresses(&mut self, addresses: Vec<IpAddr>) -> Changes {
        let addresses: BTreeSet<IpAddr> = addresses.into_iter().collect();
        let node = addresses != self.local_addresses;
        let before = std::mem::replace(&mut self.local_addresses, addresses.clone());
        Changes {
            node,
            ..self.place(before.into_iter().chain(addresses))
        }
    }

    /// Whether every kind has been listed.
    pub fn synced(&self) -> bool {
        self.synced
    }

    /// A Service.
    pub fn service(&self, name: &ServiceName) -> Option<&Arc<Service>> {
        self.services.get(name)
    }

    /// The names of all Services, in no particular order.
    pub fn service_names(&self) -> impl Iterator<Item = &ServiceName> {
        self.services.keys()
    }

    /// The slices of a Service, by name.
    pub fn slices(&self, service: &ServiceName) -> impl Iterator<Item = &EndpointSlice> {
        let names = self.slices_of.get(service).into_iter().flatten();
        names
            .filter_map(|name| self.slices.get(name))
            .map(|slice| &**slice)
    }

    /// A slice.
    pub fn slice(&self, name: &SliceName) -> Option<&EndpointSlice> {
        self.slices.get(name).map(|slice| &**slice)
    }

    /// The own node.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Whether the own Node object exists, and if so whether it is about to leave.
    pub fn node_leaving(&self) -> Option<bool> {
        self.node_known.then_some(self.node.leaving)
    }

    /// The prefixes that ClusterIPs are allocated from, as far as they are known.
    pub fn service_cidrs(&self) -> BTreeSet<IpNet> {
        self.service_cidrs.values().flatten().copied().collect()
    }

    /// The addresses of this host's interfaces.
    pub fn local_addresses(&self) -> &BTreeSet<IpAddr> {
        &self.local_addresses
    }

    /// Whether the Service is the one that may answer there.
    pub fn owns(&self, service: &ServiceName, claim: &Claim) -> bool {
        self.claims.owner(claim) == Some(service)
    }

    /// What the Service asked for and an older one has.
    pub fn disputes(&self, service: &Service) -> Vec<String> {
        let lost = |claim: &Claim| {
            let owner = self
                .claims
                .owner(claim)
                .filter(|owner| **owner != service.name)?;
            Some(format!("{claim} belongs to the older Service {owner}"))
        };
        super::claims::of(service).iter().filter_map(lost).collect()
    }
}

#[cfg(test)]
mod tests;
