// SPDX-License-Identifier: Apache-2.0
//! What tests share that run the program on a directory of manifests.

use std::process::Child;

use tempfile::TempDir;

/// The own Node and one Service with one endpoint.
pub(crate) const OBJECTS: &str = "\
apiVersion: v1
kind: Node
metadata: {name: n1}
status: {addresses: [{type: InternalIP, address: 192.0.2.10}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec: {clusterIP: 10.96.0.10, clusterIPs: [10.96.0.10], ports: [{port: 80, protocol: TCP}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: default, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: '', port: 8080, protocol: TCP}]
endpoints: [{addresses: [10.244.1.5], conditions: {ready: true}}]
";

/// A running program with its directory. It is killed when it is dropped.
pub(crate) struct Proxy {
    pub(crate) dir: TempDir,
    pub(crate) child: Child,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
