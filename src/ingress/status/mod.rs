// SPDX-License-Identifier: Apache-2.0
//! Writes to each Ingress that is ours where it is served, from one of all nodes.
//!
//! What is written is withdrawn from an Ingress that is no longer ours. The writer remembers that
//! only as long as it is elected: another controller may publish the same addresses.

mod election;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod, Service};
use k8s_openapi::api::networking::v1::Ingress;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::sync::mpsc::Sender;
use tokio::sync::watch::Receiver;
use tokio::time::{Instant, sleep};
use tracing::{debug, info, warn};

use self::election::Election;
use super::control::{Question, ask};
use crate::model::ServiceName;

/// How often what is written is compared with what should be, and the lease renewed.
const PERIOD: Duration = Duration::from_secs(5);
/// How often the addresses of all nodes are read.
const NODES: Duration = Duration::from_secs(60);

/// What is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Publish {
    /// These addresses or host names.
    Addresses(Vec<Arc<str>>),
    /// Those of a Service of type LoadBalancer, or its ClusterIPs.
    Service(ServiceName),
    /// Those of all nodes that are ready and run a sidecar that is: each one's external addresses,
    /// or else internal ones.
    Nodes,
}

/// Who writes what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Namespace of the Lease.
    pub namespace: String,
    /// Name of the Lease.
    pub election: String,
    /// What tells this process from all others.
    pub identity: String,
    /// What is written.
    pub publish: Publish,
}

/// Where Ingresses are served, by name.
type Served = BTreeMap<ServiceName, Vec<Arc<str>>>;

/// What pods of sidecars are found by.
const PODS: &str = "app.kubernetes.io/name=ferrule-ingress";
/// How long giving the Lease back may take.
const LAST: Duration = Duration::from_secs(2);

/// Keeps the status of all Ingresses that are ours, whenever this process is elected, until
/// `leaving` says true. Then it drops `leaving` as soon as another process may be elected.
pub async fn run(
    client: Client,
    settings: Settings,
    questions: Sender<Question>,
    mut leaving: Receiver<bool>,
) -> Infallible {
    let mut election = Election::new(client.clone(), &settings);
    let mut writer = Writer {
        client,
        publish: settings.publish,
        written: BTreeSet::new(),
        addresses: Vec::new(),
        namespace: settings.namespace,
        read: None,
        said: String::new(),
    };
    let mut left = pin!(async move {
        // Nobody can say it any more: the program ends in another way.
        let said = leaving.wait_for(|leaving| *leaving).await.is_ok();
        if !said {
            std::future::pending::<()>().await;
        }
        leaving
    });
    let leaving = loop {
        let result = match election.elected().await {
            Ok(true) => writer.round(&questions).await,
            Ok(false) => {
                writer.written.clear();
                Ok(())
            }
            Err(error) => Err(error),
        };
        writer.say(result.err());
        tokio::select! {
            leaving = &mut left => break leaving,
            () = sleep(PERIOD) => {}
        }
    };
    match tokio::time::timeout(LAST, election.leave()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "the Lease is not given back"),
        Err(_) => debug!("the Lease is not given back in time"),
    }
    drop(leaving);
    std::future::pending().await
}

struct Writer {
    client: Client,
    publish: Publish,
    /// Ingresses that have our addresses.
    written: BTreeSet<ServiceName>,
    addresses: Vec<Arc<str>>,
    /// Where the pods of sidecars are.
    namespace: String,
    /// When the addresses of the nodes were read.
    read: Option<Instant>,
    said: String,
}

impl Writer {
    /// Says once that something fails, and that it works again.
    fn say(&mut self, error: Option<kube::Error>) {
        let reason = error.map(|error| error.to_string()).unwrap_or_default();
        if reason == self.said {
            return;
        }
        match reason.is_empty() {
            true => info!("the status of Ingresses is written again"),
            false => warn!("the status of Ingresses is not written: {reason}"),
        }
        self.said = reason;
    }

    async fn round(&mut self, questions: &Sender<Question>) -> Result<(), kube::Error> {
        let begun = Instant::now();
        self.find().await?;
        let served = ask(questions, PERIOD, |catalog, _| -> Served {
            let all = catalog.served();
            all.map(|i| (i.name.clone(), i.addresses.clone())).collect()
        });
        let Some(served) = served.await else {
            return Ok(());
        };
        for (name, addresses) in changes(&served, &self.written, &self.addresses) {
            self.write(&name, &addresses).await?;
            match addresses.is_empty() {
                true => self.written.remove(&name),
                false => self.written.insert(name),
            };
            // The rest waits for the next round, after the lease has been renewed.
            if begun.elapsed() > PERIOD {
                return Ok(());
            }
        }
        self.written = served.into_keys().collect();
        Ok(())
    }

    /// Finds out what is to be written.
    async fn find(&mut self) -> Result<(), kube::Error> {
        match &self.publish {
            Publish::Addresses(addresses) => self.addresses.clone_from(addresses),
            Publish::Service(name) => {
                let services: Api<Service> = Api::namespaced(self.client.clone(), &name.namespace);
                let service = services.get_opt(&name.name).await?;
                self.addresses = service.as_ref().map(of_service).unwrap_or_default();
            }
            Publish::Nodes if self.read.is_some_and(|read| read.elapsed() < NODES) => {}
            Publish::Nodes => {
                let nodes: Api<Node> = Api::all(self.client.clone());
                let nodes = nodes.list(&ListParams::default()).await?;
                let serving = self.serving().await?;
                let nodes = nodes.iter().filter(|node| {
                    let name = node.metadata.name.as_deref().unwrap_or_default();
                    serving
                        .as_ref()
                        .is_none_or(|serving| serving.contains(name))
                });
                let addresses: BTreeSet<Arc<str>> = nodes.flat_map(of_node).collect();
                self.addresses = addresses.into_iter().collect();
                self.read = Some(Instant::now());
            }
        }
        Ok(())
    }

    /// The nodes that run a sidecar that is ready; none if nobody tells, or it runs in no pod.
    async fn serving(&self) -> Result<Option<BTreeSet<String>>, kube::Error> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        let pods = match pods.list(&ListParams::default().labels(PODS)).await {
            Err(kube::Error::Api(status)) if status.code == 403 => {
                debug!("pods may not be listed: the addresses of all ready nodes are written");
                return Ok(None);
            }
            pods => pods?,
        };
        let serving = pods.items.iter().filter(|pod| is_ready(pod));
        let nodes = serving.filter_map(|pod| pod.spec.as_ref()?.node_name.clone());
        Ok((!pods.items.is_empty()).then(|| nodes.collect()))
    }

    async fn write(&self, name: &ServiceName, addresses: &[Arc<str>]) -> Result<(), kube::Error> {
        debug!(ingress = %name, ?addresses, "status");
        let points: Vec<Value> = addresses.iter().map(|address| point(address)).collect();
        let patch = json!({ "status": { "loadBalancer": { "ingress": points } } });
        let ingresses: Api<Ingress> = Api::namespaced(self.client.clone(), &name.namespace);
        let patch = Patch::Merge(&patch);
        let how = PatchParams::default();
        match ingresses.patch_status(&name.name, &how, &patch).await {
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            done => done.map(|_| ()),
        }
    }
}

/// The Ingresses whose status is not what it should be, each with what it should be.
fn changes(
    served: &Served,
    written: &BTreeSet<ServiceName>,
    addresses: &[Arc<str>],
) -> Vec<(ServiceName, Vec<Arc<str>>)> {
    let stale = served.iter().filter(|(_, now)| **now != addresses);
    let stale = stale.map(|(name, _)| (name.clone(), addresses.to_vec()));
    let others = written.iter().filter(|name| !served.contains_key(*name));
    let others = others.map(|name| (name.clone(), Vec::new()));
    stale.chain(others).collect()
}

fn point(address: &str) -> Value {
    match address.parse::<IpAddr>() {
        Ok(ip) => json!({ "ip": ip.to_string() }),
        Err(_) => json!({ "hostname": address }),
    }
}

fn of_service(service: &Service) -> Vec<Arc<str>> {
    let balancer = service.status.iter().flat_map(|s| &s.load_balancer);
    let points = balancer.flat_map(|b| b.ingress.iter().flatten());
    let given = points.filter_map(|p| p.ip.as_deref().or(p.hostname.as_deref()));
    let given: Vec<Arc<str>> = given.map(Into::into).collect();
    if !given.is_empty() {
        return given;
    }
    let spec = service.spec.iter();
    let own = spec.flat_map(|s| {
        s.external_ips
            .iter()
            .flatten()
            .chain(s.cluster_ips.iter().flatten())
    });
    own.filter(|ip| *ip != "None")
        .map(|ip| ip.as_str().into())
        .collect()
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .iter()
        .flat_map(|s| s.conditions.iter().flatten());
    let mut ready = conditions.filter(|c| c.type_ == "Ready");
    ready.any(|condition| condition.status == "True") && pod.metadata.deletion_timestamp.is_none()
}

fn of_node(node: &Node) -> Vec<Arc<str>> {
    let Some(status) = &node.status else {
        return Vec::new();
    };
    let conditions = status.conditions.iter().flatten();
    let mut ready = conditions.filter(|c| c.type_ == "Ready");
    if !ready.any(|condition| condition.status == "True") {
        return Vec::new();
    }
    let of = |kind: &str| -> Vec<Arc<str>> {
        let all = status.addresses.iter().flatten();
        let all = all.filter(|address| address.type_ == kind);
        all.map(|address| address.address.as_str().into()).collect()
    };
    let external = of("ExternalIP");
    match external.is_empty() {
        true => of("InternalIP"),
        false => external,
    }
}
