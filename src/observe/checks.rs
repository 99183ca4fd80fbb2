// SPDX-License-Identifier: Apache-2.0
//! healthCheckNodePort: tells load balancers which nodes have endpoints of a Service with
//! `externalTrafficPolicy: Local` (upstream: `pkg/proxy/healthcheck/service_health.go`).

use std::collections::BTreeMap;
use std::future::ready;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper::header::{HeaderName, HeaderValue};

use super::http::{JSON, Reply, answer, code, reply};
use super::listeners::Listeners;
use super::status::Status;
use crate::model::ServiceName;

const WEIGHT: HeaderName = HeaderName::from_static("x-load-balancing-endpoint-weight");
/// How long to wait before an address that could not be bound is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// A Service with a health check node port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HealthCheck {
    /// The Service.
    pub service: ServiceName,
    /// `spec.healthCheckNodePort`.
    pub port: u16,
    /// Ready, not terminating endpoints on this node, by address; of a dual-stack Service the
    /// larger of both families' numbers.
    pub local_endpoints: usize,
}

/// All of them, and where they answer. Both lists are sorted.
#[derive(Debug, PartialEq, Eq, Default)]
pub(super) struct Checks {
    pub(super) addresses: Vec<IpAddr>,
    pub(super) services: Vec<HealthCheck>,
}

impl Checks {
    /// Who answers where; of two Services with one port, the first by name.
    fn listeners(&self) -> BTreeMap<SocketAddr, ServiceName> {
        let mut listeners = BTreeMap::new();
        for check in &self.services {
            for address in &self.addresses {
                listeners
                    .entry(SocketAddr::new(*address, check.port))
                    .or_insert_with(|| check.service.clone());
            }
        }
        listeners
    }

    fn local_endpoints(&self, service: &ServiceName) -> usize {
        let index = self
            .services
            .binary_search_by(|check| check.service.cmp(service));
        index.map_or(0, |index| self.services[index].local_endpoints)
    }
}

/// Opens and closes listeners as Services come and go, for ever.
pub(super) async fn serve_checks(status: Status) {
    let mut wanted = status.checks();
    let mut listeners = Listeners::new("health check");
    loop {
        let checks: Arc<Checks> = wanted.borrow_and_update().clone();
        let services = checks.listeners();
        let name = |address| services.get(&address).map_or(String::new(), <_>::to_string);
        let refused = listeners
            .reconcile(&services, name, |listener, _, service| {
                let (status, service) = (status.clone(), service.clone());
                answer(listener, move |_| ready(verdict(&status, &service)))
            })
            .await;
        for (address, service, error) in &refused {
            let events = status.events();
            events.health_check_failed(service, address.port(), error);
        }
        tokio::select! {
            changed = wanted.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(RETRY), if listeners.incomplete() => {}
        }
    }
}

/// Good if there are endpoints and rules are up to date; the Node's state does not matter.
fn verdict(status: &Status, service: &ServiceName) -> Reply {
    let count = status.current_checks().local_endpoints(service);
    let healthy = status.healthy();
    let mut reply = reply(
        code(count != 0 && healthy),
        JSON,
        body(service, count, healthy),
    );
    reply.headers_mut().insert(WEIGHT, HeaderValue::from(count));
    reply
}

/// To the letter what kube-proxy writes; the names are DNS labels and need no escapes.
fn body(service: &ServiceName, count: usize, healthy: bool) -> String {
    format!(
        "{{\n\t\"service\": {{\n\t\t\"namespace\": {:?},\n\t\t\"name\": {:?}\n\t}},\n\
         \t\"localEndpoints\": {count},\n\t\"serviceProxyHealthy\": {healthy}\n}}",
        service.namespace, service.name
    )
}
