// SPDX-License-Identifier: Apache-2.0
//! An EndpointSlice as far as a proxy needs it.

use std::net::IpAddr;
use std::sync::Arc;

use super::{Protocol, ServiceName, SliceName};

/// An EndpointSlice of address type IPv4 or IPv6.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointSlice {
    /// Namespace and name.
    pub name: SliceName,
    /// The Service that the label `kubernetes.io/service-name` names.
    pub service: ServiceName,
    /// Ports, each holding for every endpoint of this slice. Ports without a number are left out.
    pub ports: Vec<EndpointPort>,
    /// Endpoints, in the order of the object.
    pub endpoints: Vec<SliceEndpoint>,
    /// Annotation `endpoints.kubernetes.io/last-change-trigger-time`, milliseconds since 1970.
    /// Only in events: the state does not keep it.
    pub triggered_at: Option<i64>,
}

/// A port of an [`EndpointSlice`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointPort {
    /// Name, matched with the service port's name; empty if the object gives none.
    pub name: Arc<str>,
    /// Transport protocol, matched with the service port's.
    pub protocol: Protocol,
    /// Target port, 1 to 65,535.
    pub port: u16,
}

/// One endpoint of an [`EndpointSlice`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SliceEndpoint {
    /// `addresses[0]`; later addresses of an endpoint have no meaning (KEP-0752).
    pub address: IpAddr,
    /// Readiness.
    pub conditions: Conditions,
    /// `nodeName`.
    pub node: Option<Arc<str>>,
    /// `zone`.
    pub zone: Option<Arc<str>>,
    /// `hints`, if any.
    pub hints: Option<Box<Hints>>,
}

/// Conditions of an endpoint. What the object leaves out is ready, serving and not terminating.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conditions {
    /// May receive traffic.
    pub ready: bool,
    /// Would be ready if it were not terminating.
    pub serving: bool,
    /// Its pod has a deletion timestamp.
    pub terminating: bool,
}

impl Default for Conditions {
    fn default() -> Self {
        Self {
            ready: true,
            serving: true,
            terminating: false,
        }
    }
}

/// Topology hints of an endpoint (KEP-2433, KEP-4444).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hints {
    /// `hints.forZones[].name`.
    pub zones: Vec<Arc<str>>,
    /// `hints.forNodes[].name`.
    pub nodes: Vec<Arc<str>>,
}
