// SPDX-License-Identifier: Apache-2.0
//! The nodes with agents that follow an API server, and what is done to them.

use std::path::PathBuf;
use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};
use fastrand::Rng;
use serde_json::Value;

use crate::agent::{self, Agent};
use crate::cases::cluster_cidr_flags;
use crate::cluster::Cluster;
use crate::netns::{Namespace, Topology};
use crate::object::{self, Endpoint, Kind, Service, node_name, ready, service};
use crate::scenario::lifecycle::healthy;
use crate::stub::Stub;

/// The Services that are dialled.
const NAMES: [&str; 20] = [
    "c00", "c01", "c02", "c03", "c04", "c05", "c06", "c07", "c08", "c09", "c10", "c11", "c12",
    "c13", "c14", "c15", "c16", "c17", "c18", "c19",
];
/// The number of the first of them. The one that comes and goes follows the last.
const FIRST: u16 = 2_100;
/// Where endpoints may be.
const PODS: [&str; 5] = ["1a", "2a", "2b", "3a", "3b"];

/// What other programs try. While an agent owns the tables, the kernel lets them do none of it.
const ATTACKS: [&str; 8] = [
    "flush ruleset",
    "delete table ip ferrule",
    "delete table ip6 ferrule",
    "flush chain ip ferrule services",
    "flush chain ip6 ferrule prerouting",
    "flush map ip ferrule services",
    "flush map ip ferrule endpoints",
    "insert rule ip ferrule prerouting drop",
];

/// See the module.
pub(super) struct Stage<'a> {
    cluster: &'a Cluster,
    rng: Rng,
    apis: Vec<Stub>,
    agents: Vec<Option<Agent>>,
    services: Vec<Service>,
    extra: bool,
    flags: Vec<String>,
}

impl<'a> Stage<'a> {
    /// Ends the cluster's own agents, and starts others that follow an API server.
    pub(super) fn set(cluster: &'a mut Cluster, seed: u64, flags: &[&str]) -> Result<Self> {
        cluster.stop_all();
        let numbered = |(name, id): (&&'static str, u16)| Service {
            id,
            namespace: "chaos",
            ..service(name, PODS.map(ready)).kind(Kind::LoadBalancer)
        };
        let mut stage = Self {
            cluster,
            rng: Rng::with_seed(seed),
            apis: Vec::new(),
            agents: Vec::new(),
            services: NAMES.iter().zip(FIRST..).map(numbered).collect(),
            extra: false,
            flags: cluster_cidr_flags(),
        };
        stage.flags.extend(flags.iter().copied().map(str::to_owned));
        stage.forget()?;
        for n in 1..=stage.nodes().len() {
            stage.apis.push(stage.api(n)?);
            stage.agents.push(None);
            stage.start(n)?;
        }
        Ok(stage)
    }

    /// The Services that always have an endpoint.
    pub(super) fn services(&self) -> &[Service] {
        &self.services
    }

    /// Where clients are.
    pub(super) fn topology(&self) -> &Topology {
        &self.cluster.topology
    }

    fn nodes(&self) -> &'a [Namespace] {
        &self.cluster.topology.nodes
    }

    /// A server on a node with all that is there. It shows the own Node alone, as it knows no
    /// selectors.
    fn api(&self, n: usize) -> Result<Stub> {
        let mut objects = object::cluster(self.nodes().len() as u16);
        objects.extend(self.services.iter().flat_map(Service::objects));
        let own = node_name(n as u16);
        objects.retain(|o| o["kind"] != "Node" || o["metadata"]["name"] == *own);
        let api = self.nodes()[n - 1].enter(|| Stub::start(objects))?;
        api.write_kubeconfig(&self.kubeconfig(n))?;
        Ok(api)
    }

    fn kubeconfig(&self, n: usize) -> PathBuf {
        self.cluster.directory().join(format!("chaos-{n}.conf"))
    }

    fn start(&mut self, n: usize) -> Result<()> {
        let kubeconfig = self.kubeconfig(n).to_string_lossy().into_owned();
        let source = ["--kubeconfig".to_owned(), kubeconfig];
        let (node, logs) = (&self.nodes()[n - 1], self.cluster.directory());
        let agent = Agent::start(node, n as u16, &source, logs, &self.flags)?;
        self.agents[n - 1] = Some(agent);
        healthy(node).with_context(|| self.tail(n))
    }

    /// Removes the tables of the agents before: flags of a table are those that it was made with.
    fn forget(&self) -> Result<()> {
        for node in self.nodes() {
            node.nft("flush ruleset")?;
        }
        Ok(())
    }

    fn tail(&self, n: usize) -> String {
        let agent = self.agents[n - 1].as_ref();
        agent.map_or_else(String::new, |agent| agent.tail(8))
    }

    /// Does one thing, and says what kind it was.
    pub(super) fn do_something(&mut self) -> Result<&'static str> {
        let n = self.rng.usize(1..=self.nodes().len());
        let deed = match self.rng.u32(0..12) {
            0 => {
                // SIGKILL.
                self.agents[n - 1] = None;
                self.start(n)?;
                "killed"
            }
            1 => {
                let agent = self.agents[n - 1].take().context("no agent")?;
                agent.stop()?;
                self.start(n)?;
                "restarted"
            }
            2..4 => {
                let attack = ATTACKS[self.rng.usize(..ATTACKS.len())];
                self.attack(n, attack)?;
                "rules attacked"
            }
            4 => {
                let pause = self.rng.u64(100..1_500);
                self.apis[n - 1].set_away(true);
                sleep(Duration::from_millis(pause));
                self.apis[n - 1].set_away(false);
                "API server away"
            }
            5 => {
                self.apis[n - 1].set_away(true);
                self.change()?;
                self.come_and_go()?;
                self.apis[n - 1].set_away(false);
                "changed while away"
            }
            6 => {
                self.come_and_go()?;
                "Service came or went"
            }
            _ => {
                self.change()?;
                "endpoints changed"
            }
        };
        sleep(Duration::from_millis(self.rng.u64(10..150)));
        Ok(deed)
    }

    /// The kernel may refuse it, so it need not succeed.
    fn attack(&self, n: usize, what: &str) -> Result<()> {
        let mut nft = self.nodes()[n - 1].command("nft");
        nft.args(what.split(' ')).stderr(Stdio::null()).status()?;
        Ok(())
    }

    /// Other endpoints for a Service; never none.
    fn change(&mut self) -> Result<()> {
        let count = self.rng.usize(1..=PODS.len());
        let mut pods = PODS;
        self.rng.shuffle(&mut pods);
        let endpoints: Vec<Endpoint> = pods[..count].iter().map(|pod| ready(pod)).collect();
        let which = self.rng.usize(..self.services.len());
        self.services[which].endpoints = endpoints;
        let objects = self.services[which].objects();
        self.put(&objects)
    }

    fn put(&self, objects: &[Value]) -> Result<()> {
        let mut each = self
            .apis
            .iter()
            .flat_map(|api| objects.iter().map(move |o| (api, o)));
        each.try_for_each(|(api, object)| api.put(object.clone()))
    }

    /// A Service that nobody dials.
    fn come_and_go(&mut self) -> Result<()> {
        let extra = Service {
            id: FIRST + NAMES.len() as u16,
            namespace: "chaos",
            ..service("extra", [ready("1a"), ready("3a")]).sticky(60)
        };
        self.extra = !self.extra;
        if self.extra {
            return self.put(&extra.objects());
        }
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        for object in extra.objects() {
            let (kind, metadata) = (word(&object["kind"]), &object["metadata"]);
            let (namespace, name) = (word(&metadata["namespace"]), word(&metadata["name"]));
            for api in &self.apis {
                api.delete(&kind, &namespace, &name)?;
            }
        }
        Ok(())
    }

    /// In the end every kernel holds what a fresh start would program.
    pub(super) fn check(&mut self) -> Result<()> {
        for (n, node) in (1..).zip(self.nodes()) {
            let source = ["--from-cluster", "--kubeconfig"];
            let path = self.kubeconfig(n);
            agent::in_step((node, n as u16), &source, &path, || self.tail(n))?;
        }
        Ok(())
    }
}
