// SPDX-License-Identifier: Apache-2.0
//! What the cluster says, in our own types. PURE: no I/O, no clock, no logging.
//!
//! [`event`] is the only thing that comes in (from [`watch`](crate::watch)); [`state`] keeps it and
//! tells which services a change concerns; [`select`] chooses the endpoints of a service port.

pub mod claims;
pub mod endpoint;
pub mod event;
#[cfg(test)]
pub(crate) mod fixture;
pub mod ingress;
mod intern;
pub mod ipvs;
pub mod name;
pub mod node;
pub mod select;
pub mod service;
pub mod state;

pub use endpoint::{Conditions, EndpointPort, EndpointSlice, Hints, SliceEndpoint};
pub use event::{Event, ObjectRef, Observed};
pub use ingress::{
    Behaviour, ConfigMap, Ingress, IngressClass, IngressEvent, Secret, UpstreamService,
};
pub use ipvs::IpvsWishes;
pub use name::{ServiceName, ServicePortName, SliceName};
pub use node::Node;
pub use select::{Choice, Target};
pub use service::{Protocol, Service, ServicePort, TrafficPolicy};
pub use state::{Changes, State};

/// An IP address family. Everything below the model is computed once per family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IpFamily {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl IpFamily {
    /// Both families, IPv4 first.
    pub const ALL: [IpFamily; 2] = [IpFamily::V4, IpFamily::V6];

    /// The other one.
    pub fn other(self) -> Self {
        match self {
            IpFamily::V4 => IpFamily::V6,
            IpFamily::V6 => IpFamily::V4,
        }
    }

    /// The family of an address.
    pub fn of(address: std::net::IpAddr) -> Self {
        if address.is_ipv4() {
            IpFamily::V4
        } else {
            IpFamily::V6
        }
    }
}

impl std::fmt::Display for IpFamily {
    /// `IPv4` or `IPv6`, as kube-proxy labels its metrics.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            IpFamily::V4 => "IPv4",
            IpFamily::V6 => "IPv6",
        })
    }
}
