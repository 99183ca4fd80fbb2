// SPDX-License-Identifier: Apache-2.0
//! The sums as metrics. How many series there can be is bounded: docs/accounting.md.

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts};

use super::{Accounting, Use};

/// Shows the sums of an accounting.
pub struct Sums {
    accounting: Accounting,
    template: Vectors,
}

struct Vectors {
    connections: IntCounterVec,
    bytes: IntCounterVec,
    endpoint_connections: IntCounterVec,
    endpoint_bytes: IntCounterVec,
    lost: IntCounter,
    one_in: IntGauge,
}

impl Vectors {
    /// None if a name or label were wrong, which shows in any test.
    fn new() -> Option<Self> {
        let vector = |name: &str, help: &str, labels: &[&str]| {
            IntCounterVec::new(Opts::new(name, help), labels).ok()
        };
        let service = ["namespace", "service"];
        let (of, way) = (["namespace", "service", "endpoint"], "direction");
        Some(Self {
            connections: vector(
                "ferrule_service_connections_total",
                "Connections through a Service",
                &service,
            )?,
            bytes: vector(
                "ferrule_service_bytes_total",
                "Bytes of connections through a Service, from (in) and to (out) clients",
                &[service[0], service[1], way],
            )?,
            endpoint_connections: vector(
                "ferrule_endpoint_connections_total",
                "Connections through a Service to an endpoint",
                &of,
            )?,
            endpoint_bytes: vector(
                "ferrule_endpoint_bytes_total",
                "Bytes of connections through a Service to an endpoint",
                &[of[0], of[1], of[2], way],
            )?,
            lost: IntCounter::new(
                "ferrule_accounting_overflows_total",
                "Times that the kernel had no room for ends of flows, which are not counted",
            )
            .ok()?,
            one_in: IntGauge::new(
                "ferrule_accounting_one_in",
                "Of so many new connections one is counted, for all of them",
            )
            .ok()?,
        })
    }

    fn all(&self) -> [&dyn Collector; 6] {
        [
            &self.connections,
            &self.bytes,
            &self.endpoint_connections,
            &self.endpoint_bytes,
            &self.lost,
            &self.one_in,
        ]
    }
}

fn fill(connections: &IntCounterVec, bytes: &IntCounterVec, labels: &[&str], total: &Use) {
    let of = |way| [labels, &[way]].concat();
    connections
        .with_label_values(labels)
        .inc_by(total.connections);
    bytes.with_label_values(&of("in")).inc_by(total.bytes_in);
    bytes.with_label_values(&of("out")).inc_by(total.bytes_out);
}

impl Sums {
    /// Metrics of an accounting.
    pub fn new(accounting: Accounting) -> Option<Self> {
        let template = Vectors::new()?;
        Some(Self {
            accounting,
            template,
        })
    }
}

impl Collector for Sums {
    fn desc(&self) -> Vec<&Desc> {
        self.template
            .all()
            .into_iter()
            .flat_map(Collector::desc)
            .collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let Some(vectors) = Vectors::new() else {
            return Vec::new();
        };
        let view = self.accounting.recent();
        for service in &view.services {
            let labels = [&*service.namespace, &*service.name];
            fill(
                &vectors.connections,
                &vectors.bytes,
                &labels,
                &service.total,
            );
            for endpoint in &service.endpoints {
                let address = endpoint.endpoint.to_string();
                let labels = [labels[0], labels[1], &*address];
                let (connections, bytes) = (&vectors.endpoint_connections, &vectors.endpoint_bytes);
                fill(connections, bytes, &labels, &endpoint.total);
            }
        }
        vectors.lost.inc_by(view.lost);
        vectors.one_in.set(view.one_in.max(1).into());
        vectors
            .all()
            .into_iter()
            .flat_map(Collector::collect)
            .collect()
    }
}
