// SPDX-License-Identifier: Apache-2.0
//! kube-proxy on the nodes of one world and ferrule on those of the other, both watching the same
//! API server with the same configuration file.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use ferrule::model::{IpFamily, Protocol};
use serde_json::{Value, json};

use super::api::{Api, Daemon, daemon, program};
use super::render::{NAMESPACE, Round};
use super::world::World;
use crate::agent;
use crate::client::{Answer, Attempt, dial};
use crate::netns::{CLUSTER_CIDRS, Namespace, cluster_ip};
use crate::object::{TARGETS, node_name, pod_address};

/// The configuration file of all proxies.
const CONFIG: &str = "kube-proxy.json";
/// Number of the ClusterIP of the Service that tells how far a proxy has come.
const SENTINEL: u16 = 60_000;
/// Times that the sentinel must answer as it should: an endpoint of two is missed once in 4,000.
const TIMES: usize = 12;

/// Which proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proxy {
    /// Upstream's, in nftables mode.
    KubeProxy,
    /// Ours.
    Ferrule,
}

impl Proxy {
    /// Both. Worlds are in this order everywhere.
    pub const BOTH: [Proxy; 2] = [Proxy::KubeProxy, Proxy::Ferrule];

    /// For people and for files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Proxy::KubeProxy => "kube-proxy",
            Proxy::Ferrule => "ferrule",
        }
    }

    pub(crate) fn binary(self) -> Result<PathBuf> {
        match self {
            Proxy::KubeProxy => program("kube-proxy"),
            Proxy::Ferrule => agent::binary(),
        }
    }
}

/// The proxies of both worlds. They end when this is dropped.
pub struct Proxies {
    daemons: Vec<(String, Daemon)>,
    logs: PathBuf,
}

impl Proxies {
    /// Starts a proxy on every node. The Node objects must be there.
    ///
    /// # Errors
    /// If a program is missing.
    pub fn start(api: &Api, worlds: &[World; 2], directory: &Path) -> Result<Self> {
        fs::write(directory.join(CONFIG), configuration(api).to_string())?;
        let mut proxies = Self {
            daemons: Vec::new(),
            logs: directory.to_owned(),
        };
        for (proxy, world) in Proxy::BOTH.into_iter().zip(worlds) {
            for (node, n) in world.cluster.topology.nodes.iter().zip(1..) {
                api.wire(node, proxy as u8, n)?;
            }
            proxies.start_all(proxy, world, directory)?;
        }
        Ok(proxies)
    }

    fn start_all(&mut self, proxy: Proxy, world: &World, directory: &Path) -> Result<()> {
        for (node, n) in world.cluster.topology.nodes.iter().zip(1..) {
            let name = format!("{}-{n}", proxy.name());
            let mut flags = vec![
                format!("--config={}", directory.join(CONFIG).display()),
                format!("--hostname-override={}", node_name(n)),
            ];
            if proxy == Proxy::Ferrule {
                let socket = directory.join(&name).with_extension("sock");
                flags.push(format!("--admin-socket={}", socket.display()));
                // A fault that is put into the rules is to stay.
                flags.push("--protect-rules=off".to_owned());
            }
            let started = daemon(node, &name, &proxy.binary()?, &flags, directory)?;
            self.daemons.push((name, started));
        }
        Ok(())
    }

    /// Ends ferrule on all nodes. Its rules stay.
    pub fn stop_ours(&mut self) {
        self.daemons
            .retain(|(name, _)| !name.starts_with(Proxy::Ferrule.name()));
    }

    /// Starts ferrule on all nodes.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start_ours(&mut self, world: &World, directory: &Path) -> Result<()> {
        self.start_all(Proxy::Ferrule, world, directory)
    }

    /// Waits until every proxy has applied all that was written before, for so long.
    ///
    /// A Service gets a new port, in its own object and in its slice: so everything that came
    /// before in either watch is known. One of its two endpoints is only for the zones of this
    /// round: so the Node object is known, too.
    ///
    /// # Errors
    /// If a proxy ends or takes too long, with the end of its log.
    pub fn settle(
        &mut self,
        api: &Api,
        worlds: &[World; 2],
        round: &Round,
        limit: Duration,
    ) -> Result<()> {
        let port = 1_000 + (round.number % 60_000) as u16;
        for object in sentinel(round, port) {
            api.update(&object)?;
        }
        let late = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for (proxy, world) in Proxy::BOTH.into_iter().zip(worlds) {
                for node in &world.cluster.topology.nodes {
                    let late = &late;
                    scope.spawn(move || {
                        if !applies(node, port, limit) {
                            let name = format!("{} on {}", proxy.name(), node.name());
                            late.lock().unwrap_or_else(|e| e.into_inner()).push(name);
                        }
                    });
                }
            }
        });
        self.check()?;
        let late = late.into_inner().unwrap_or_else(|e| e.into_inner());
        if !late.is_empty() {
            bail!(
                "round {} is not applied after {limit:?} by {}; logs: {}",
                round.number,
                late.join(", "),
                self.logs.display()
            );
        }
        Ok(())
    }

    fn check(&mut self) -> Result<()> {
        for (name, daemon) in &mut self.daemons {
            if let Some(status) = daemon.0.try_wait()? {
                let log =
                    fs::read_to_string(self.logs.join(format!("{name}.log"))).unwrap_or_default();
                let lines: Vec<_> = log.lines().collect();
                bail!(
                    "{name} ended, {status}:\n{}",
                    lines[lines.len().saturating_sub(10)..].join("\n")
                );
            }
        }
        Ok(())
    }
}

/// Whether the node's proxy comes so far in time. Where it takes long, the machine may be so slow that
/// answers do, too.
fn applies(node: &Namespace, port: u16, limit: Duration) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < limit {
        let slow = begun.elapsed() > limit / 10;
        let patience = Duration::from_millis(if slow { 2_000 } else { 100 });
        if answers(node, port, patience) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}

/// Whether both families answer from the one endpoint, each time.
fn answers(node: &Namespace, port: u16, limit: Duration) -> bool {
    IpFamily::ALL.into_iter().all(|family| {
        let to = SocketAddr::new(cluster_ip(family, SENTINEL), port);
        let ask = Attempt {
            protocol: Protocol::Udp,
            to,
            source: None,
            via: 0,
        };
        let is_right = |a: &Answer| matches!(a, Answer::From { endpoint, .. } if endpoint == "1a");
        // One first: whatever does not answer need not be asked twelve times.
        [1, TIMES].into_iter().all(|times| {
            let answers = dial(node, &vec![ask; times], limit);
            answers.is_ok_and(|all| all.iter().all(is_right))
        })
    })
}

fn sentinel(round: &Round, port: u16) -> Vec<Value> {
    let name = format!("g{}", round.number);
    let mut objects = vec![json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "name": "sentinel", "namespace": NAMESPACE },
        "spec": {
            "clusterIP": cluster_ip(IpFamily::V4, SENTINEL),
            "clusterIPs": IpFamily::ALL.map(|f| cluster_ip(f, SENTINEL)),
            "ipFamilies": ["IPv4", "IPv6"],
            "ipFamilyPolicy": "RequireDualStack",
            "ports": [{ "name": name, "protocol": "UDP", "port": port }],
        },
    })];
    for family in IpFamily::ALL {
        let endpoint = |pod: &str, zones: Vec<String>| {
            let zones: Vec<_> = zones.iter().map(|z| json!({ "name": z })).collect();
            json!({
                "addresses": [pod_address(family, pod)],
                "conditions": { "ready": true },
                "hints": { "forZones": zones },
            })
        };
        let here = (0..3).map(|z| round.zone(z)).collect();
        let elsewhere = vec!["elsewhere".to_owned()];
        objects.push(json!({
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": format!("sentinel-{family}").to_lowercase(),
                "namespace": NAMESPACE,
                "labels": { "kubernetes.io/service-name": "sentinel" },
            },
            "addressType": family.to_string(),
            "ports": [{ "name": name, "protocol": "UDP", "port": TARGETS[0] }],
            "endpoints": [endpoint("1a", here), endpoint("2a", elsewhere)],
        }));
    }
    objects
}

fn configuration(api: &Api) -> Value {
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clientConnection": { "kubeconfig": api.kubeconfig() },
        "clusterCIDR": CLUSTER_CIDRS,
        "conntrack": { "maxPerCore": 0, "min": 0 },
        "nftables": { "minSyncPeriod": "10ms", "syncPeriod": "30s" },
    })
}

/// Whether everything is there that a differential run needs.
///
/// # Errors
/// Naming the program that is not.
pub fn check_programs() -> Result<()> {
    for name in ["etcd", "kube-apiserver", "kube-proxy", "openssl", "nft"] {
        program(name).context("a differential run needs Kubernetes' own programs")?;
    }
    agent::binary().map(drop)
}
