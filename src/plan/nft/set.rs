// SPDX-License-Identifier: Apache-2.0
//! The sets and maps of the ruleset.

use std::fmt;
use std::sync::Arc;

use super::Field;

/// Every set and map that exists whatever Services there are. Their order is the order in which
/// they are filled: what a verdict leads to comes before the verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum SetId {
    /// Map: VIP frontend and index to endpoint.
    Endpoints,
    /// Map: NodePort frontend and index to endpoint.
    NodeportEndpoints,
    /// Set: who may use a load balancer frontend.
    SourceRanges,
    /// Set: local endpoints, as a connection to itself looks after DNAT.
    Hairpin,
    /// Set: endpoints, as a packet of theirs looks that has not been translated back. Filled only
    /// if such packets are dropped.
    Backends,
    /// Set: VIP frontends whose every source is masqueraded.
    MasqueradeServices,
    /// The same for NodePorts.
    MasqueradeNodeports,
    /// Verdict map: sticky VIP frontends, to the chain that remembers the client.
    LearnServices,
    /// The same for NodePorts.
    LearnNodeports,
    /// Set: VIP frontends with `externalTrafficPolicy: Local`.
    LocalServices,
    /// The same for NodePorts.
    LocalNodeports,
    /// Verdict map: VIP frontends for sources inside (pods and this host), policy Local.
    ServicesInside,
    /// Verdict map: the same for all other sources.
    ServicesOutside,
    /// As [`SetId::ServicesInside`], for NodePorts.
    NodeportsInside,
    /// As [`SetId::ServicesOutside`], for NodePorts.
    NodeportsOutside,
    /// Verdict map: VIP frontends whose verdict does not depend on the source.
    Services,
    /// The same for NodePorts.
    Nodeports,
    /// Verdict map: VIP frontends that reject or drop what nobody has translated.
    RefusedServices,
    /// The same for NodePorts.
    RefusedNodeports,
    /// Set: ClusterIPs, whose unused ports are rejected.
    ClusterIps,
    /// Set: every VIP; the one look-up that other connections pay.
    ServiceAddresses,
    /// Set: the addresses that NodePorts are served on.
    NodeAddresses,
}

/// Name of a set or map.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SetName {
    /// One of the permanent ones.
    Fixed(SetId),
    /// A Service's own, as `affinity-NAMESPACE/NAME/PORT`.
    Own(Arc<str>),
}

/// What a map holds for a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DataKind {
    /// Nothing: it is a set.
    None,
    /// A verdict.
    Verdict,
    /// `ip daddr . th dport`: where to translate to.
    Target,
    /// `ip daddr` alone. nft 1.0.6 can't load a statement that enters more than 16 bytes of data.
    Address,
}

/// A set's or map's definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetSpec {
    /// Name.
    pub name: SetName,
    /// Parts of the key. [`Field::Random`] stands for an index.
    pub key: Vec<Field>,
    /// Kind of the data.
    pub data: DataKind,
    /// Elements are ranges (`flags interval`, concatenated: the kernel's pipapo).
    pub interval: bool,
    /// `flags dynamic,timeout`: filled by packets, up to this many elements.
    pub dynamic: Option<u32>,
}

/// The parts of a VIP frontend's key.
pub const VIP: &[Field] = &[Field::Destination, Field::Protocol, Field::Port];
/// The parts of a NodePort frontend's key.
pub const NODEPORT: &[Field] = &[Field::Protocol, Field::Port];
/// An index as a key's part is typed: nft knows no other way to name a 32-bit number.
pub const INDEX: Field = Field::Random {
    modulus: 65536,
    offset: 0,
};

impl SetId {
    /// All of them, in the order they are filled.
    pub const ALL: [SetId; 22] = [
        SetId::Endpoints,
        SetId::NodeportEndpoints,
        SetId::SourceRanges,
        SetId::Hairpin,
        SetId::Backends,
        SetId::MasqueradeServices,
        SetId::MasqueradeNodeports,
        SetId::LearnServices,
        SetId::LearnNodeports,
        SetId::LocalServices,
        SetId::LocalNodeports,
        SetId::ServicesInside,
        SetId::ServicesOutside,
        SetId::NodeportsInside,
        SetId::NodeportsOutside,
        SetId::Services,
        SetId::Nodeports,
        SetId::RefusedServices,
        SetId::RefusedNodeports,
        SetId::ClusterIps,
        SetId::ServiceAddresses,
        SetId::NodeAddresses,
    ];

    /// The kernel's name for it.
    pub fn name(self) -> &'static str {
        match self {
            SetId::Endpoints => "endpoints",
            SetId::NodeportEndpoints => "nodeport-endpoints",
            SetId::SourceRanges => "source-ranges",
            SetId::Hairpin => "hairpin",
            SetId::Backends => "backends",
            SetId::MasqueradeServices => "masquerade-services",
            SetId::MasqueradeNodeports => "masquerade-nodeports",
            SetId::LearnServices => "learn-services",
            SetId::LearnNodeports => "learn-nodeports",
            SetId::LocalServices => "local-services",
            SetId::LocalNodeports => "local-nodeports",
            SetId::ServicesInside => "services-inside",
            SetId::ServicesOutside => "services-outside",
            SetId::NodeportsInside => "nodeports-inside",
            SetId::NodeportsOutside => "nodeports-outside",
            SetId::Services => "services",
            SetId::Nodeports => "nodeports",
            SetId::RefusedServices => "refused-services",
            SetId::RefusedNodeports => "refused-nodeports",
            SetId::ClusterIps => "cluster-ips",
            SetId::ServiceAddresses => "service-addresses",
            SetId::NodeAddresses => "node-addresses",
        }
    }

    /// The permanent set of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|id| id.name() == name)
    }

    /// Whether several services may contribute the same element, so that elements are counted.
    pub fn shared(self) -> bool {
        matches!(
            self,
            SetId::ServiceAddresses | SetId::ClusterIps | SetId::Hairpin | SetId::Backends
        )
    }

    /// Its definition.
    pub fn spec(self) -> SetSpec {
        use Field::{Destination, Port, Protocol, Source, SourcePort};
        let key: Vec<Field> = match self {
            SetId::Endpoints => [VIP, &[INDEX]].concat(),
            SetId::NodeportEndpoints => [NODEPORT, &[INDEX]].concat(),
            SetId::SourceRanges => [VIP, &[Source]].concat(),
            SetId::Hairpin => vec![Source, Destination, Protocol, Port],
            SetId::Backends => vec![Source, Protocol, SourcePort],
            SetId::ClusterIps | SetId::ServiceAddresses | SetId::NodeAddresses => vec![Destination],
            SetId::MasqueradeServices
            | SetId::LearnServices
            | SetId::LocalServices
            | SetId::ServicesInside
            | SetId::ServicesOutside
            | SetId::Services
            | SetId::RefusedServices => VIP.to_vec(),
            SetId::MasqueradeNodeports
            | SetId::LearnNodeports
            | SetId::LocalNodeports
            | SetId::NodeportsInside
            | SetId::NodeportsOutside
            | SetId::Nodeports
            | SetId::RefusedNodeports => NODEPORT.to_vec(),
        };
        let data = match self {
            SetId::Endpoints | SetId::NodeportEndpoints => DataKind::Target,
            SetId::LearnServices
            | SetId::LearnNodeports
            | SetId::ServicesInside
            | SetId::ServicesOutside
            | SetId::NodeportsInside
            | SetId::NodeportsOutside
            | SetId::Services
            | SetId::Nodeports
            | SetId::RefusedServices
            | SetId::RefusedNodeports => DataKind::Verdict,
            _ => DataKind::None,
        };
        SetSpec {
            name: SetName::Fixed(self),
            key,
            data,
            interval: self == SetId::SourceRanges,
            dynamic: None,
        }
    }
}

impl SetName {
    /// The kernel's name for it.
    pub fn as_str(&self) -> &str {
        match self {
            SetName::Fixed(id) => id.name(),
            SetName::Own(name) => name,
        }
    }
}

impl From<SetId> for SetName {
    fn from(id: SetId) -> Self {
        SetName::Fixed(id)
    }
}

impl fmt::Display for SetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
