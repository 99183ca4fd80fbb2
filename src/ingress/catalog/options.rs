// SPDX-License-Identifier: Apache-2.0
//! What the user chose.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::class::CONTROLLER;
use crate::ingress::table::{Behaviour, RouteSettings, Settings};
use crate::model::ServiceName;

/// What the user chose.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Values of `spec.controller` whose classes are ours.
    pub controllers: Vec<Arc<str>>,
    /// The value of the old annotation that is ours even without an IngressClass of that name.
    pub class: Arc<str>,
    /// Whether Ingresses that name no class are ours.
    pub without_class: bool,
    /// How Ingresses are read that have no IngressClass.
    pub behaviour: Behaviour,
    /// Only Ingresses of this namespace.
    pub namespace: Option<Arc<str>>,
    /// The Service whose first port answers what no Ingress does.
    pub default_backend: Option<ServiceName>,
    /// The Secret whose certificate serves hosts that have none.
    pub default_certificate: Option<ServiceName>,
    /// Whether endpoints of the own node go first.
    pub local_first: bool,
    /// What holds for all routes.
    pub settings: Arc<Settings>,
    /// How requests are handed on.
    pub route: Arc<RouteSettings>,
    /// The ConfigMap that has more of both.
    pub config_map: Option<ServiceName>,
    /// The ConfigMap of TCP ports that are passed on byte by byte.
    pub tcp_services: Option<ServiceName>,
    /// The same for UDP.
    pub udp_services: Option<ServiceName>,
    /// TCP ports that they cannot have.
    pub reserved_ports: BTreeSet<u16>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            controllers: vec![CONTROLLER.into()],
            class: "ferrule".into(),
            without_class: false,
            behaviour: Behaviour::default(),
            namespace: None,
            default_backend: None,
            default_certificate: None,
            local_first: false,
            settings: Arc::default(),
            route: Arc::default(),
            config_map: None,
            tcp_services: None,
            udp_services: None,
            reserved_ports: BTreeSet::new(),
        }
    }
}
