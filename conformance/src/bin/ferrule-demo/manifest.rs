// SPDX-License-Identifier: Apache-2.0
//! The manifests of the demo, as a person would write them.

use std::fmt::Write;

use anyhow::{Context, Result};
use ferrule::model::IpFamily;
use ferrule_conformance::cluster::Cluster;
use ferrule_conformance::object::{node_name, node_of, pod_address};

/// A Service of the demo.
pub(crate) struct Service {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) addresses: &'static str,
    number: u8,
    policy: &'static str,
    external: bool,
    pub(crate) endpoints: &'static [&'static str],
}

pub(crate) const SHOP: Service = Service {
    name: "shop",
    about: "endpoints 1a, 2a, 3a",
    addresses: "ClusterIP 10.96.0.1, NodePort 30001, LB 172.31.0.1, external 172.29.0.1",
    number: 1,
    policy: "Cluster",
    external: true,
    endpoints: &["1a", "2a", "3a"],
};

pub(crate) const VAULT: Service = Service {
    name: "vault",
    about: "endpoints 1b, 2b; externalTrafficPolicy: Local keeps sources",
    addresses: "ClusterIP 10.96.0.2, NodePort 30002, LB 172.31.0.2",
    number: 2,
    policy: "Local",
    external: false,
    endpoints: &["1b", "2b"],
};

/// Writes the file of a Service with these endpoints, in one step as `mv` does it.
pub(crate) fn write(cluster: &Cluster, service: &Service, endpoints: &[&str]) -> Result<()> {
    let mut text = service.text();
    for family in IpFamily::ALL {
        text += &slice(service.name, family, endpoints)?;
    }
    let path = cluster
        .manifests()
        .join(service.name)
        .with_extension("yaml");
    let new = cluster.directory().join("new");
    std::fs::write(&new, text)?;
    std::fs::rename(&new, &path).with_context(|| path.display().to_string())
}

impl Service {
    fn text(&self) -> String {
        let Self {
            name,
            number: n,
            policy,
            ..
        } = self;
        let external = match self.external {
            true => format!("\n  externalIPs: [172.29.0.{n}, \"fd00:172:29::{n}\"]"),
            false => String::new(),
        };
        let port = |protocol: &str| {
            let name = protocol.to_lowercase();
            format!("  - {{name: {name}, protocol: {protocol}, port: 80, nodePort: 3000{n}}}")
        };
        let ports = ["TCP", "UDP", "SCTP"].map(port).join("\n");
        format!(
            "apiVersion: v1
kind: Service
metadata:
  name: {name}
  namespace: demo
spec:
  type: LoadBalancer
  clusterIP: 10.96.0.{n}
  clusterIPs: [10.96.0.{n}, \"fd00:10:96::{n}\"]
  ipFamilies: [IPv4, IPv6]
  externalTrafficPolicy: {policy}{external}
  ports:
{ports}
status:
  loadBalancer:
    ingress:
    - {{ip: 172.31.0.{n}}}
    - {{ip: \"fd00:172:31::{n}\"}}
"
        )
    }
}

fn slice(name: &str, family: IpFamily, endpoints: &[&str]) -> Result<String> {
    let suffix = family.to_string().to_lowercase();
    let mut text = format!(
        "---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: {name}-{suffix}
  namespace: demo
  labels:
    kubernetes.io/service-name: {name}
addressType: {family}
ports:
- {{name: tcp, protocol: TCP, port: 8080}}
- {{name: udp, protocol: UDP, port: 8080}}
- {{name: sctp, protocol: SCTP, port: 8080}}
endpoints:
"
    );
    for pod in endpoints {
        let (address, node) = (pod_address(family, pod), node_name(node_of(pod)));
        writeln!(
            text,
            "- {{addresses: [\"{address}\"], nodeName: {node}}}  # pod {pod}"
        )?;
    }
    Ok(text)
}
