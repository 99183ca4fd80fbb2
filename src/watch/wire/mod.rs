// SPDX-License-Identifier: Apache-2.0
//! Kubernetes objects as they come over the wire: only the fields that a proxy reads.
//!
//! Full objects cost a multiple of this in time and memory (managed fields, annotations, the parts
//! of a Node), and one number out of range would make a whole list unreadable. So every field may
//! be missing or null here, and numbers may be anything ([`Number`]);
//! [`convert`](super::convert) judges.

pub mod ingress;
mod number;
mod object;
mod service;
mod slice;

pub use number::Number;
pub use object::{
    Address, Annotations, Labels, Meta, Node, NodeSpec, NodeStatus, ServiceCidr, ServiceCidrSpec,
    Taint,
};
pub use service::{
    AffinityConfig, ClientIpConfig, Ingress, LoadBalancer, Port, Selector, Service, ServiceSpec,
    ServiceStatus,
};
pub use slice::{
    Conditions, Endpoint, EndpointAddress, EndpointPort, EndpointSlice, Endpoints, Hints, Subset,
    Target,
};

use serde::{Deserialize, Deserializer};

/// Reads null as the default: `ports:` with nothing behind it is an empty list.
fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
