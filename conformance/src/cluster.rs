// SPDX-License-Identifier: Apache-2.0
//! The topology with servers in all pods, one agent per node, and the directory of manifests that
//! all of them read.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use ferrule::model::{IpFamily, Protocol};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::agent::Agent;
use crate::client::{Answer, Attempt, dial};
use crate::netns::{Layout, Place, Topology};
use crate::object::{Service, TARGETS, cluster, ready, service};
use crate::pace::pace;
use crate::server::Server;

/// File of the Service that tells whether an agent has come so far: the last by name, as an agent
/// reads files that change together in this order.
const LAST: &str = "~sentinel";
/// Number of the Service that tells whether an agent has come so far.
pub(crate) const SENTINEL: u16 = 60_000;
/// How long the agents may take for a change: 60 s, where answers may take 5.
fn apply() -> Duration {
    12 * pace().answer
}

/// A running cluster. Dropping it removes all of it.
#[derive(Debug)]
pub struct Cluster {
    // Fields are dropped in this order: processes, servers, namespaces, files.
    agents: Vec<Agent>,
    servers: Vec<(&'static str, Server)>,
    /// Nodes, pods and the client.
    pub topology: Topology,
    directory: TempDir,
    generation: u16,
}

impl Cluster {
    /// Builds the namespaces and starts the servers, but no agents.
    ///
    /// # Errors
    /// Without root; if a program is missing.
    pub fn build(layout: &Layout) -> Result<Self> {
        let topology = Topology::build(layout)?;
        let directory = tempfile::Builder::new()
            .prefix("ferrule-conformance-")
            .tempdir()?;
        crate::interrupt::remove_later(directory.path().to_owned());
        std::fs::create_dir(directory.path().join("manifests"))?;
        let serve = |p: &crate::netns::Pod| {
            let addresses = IpFamily::ALL.map(|f| p.address(f));
            Ok((
                p.name,
                Server::start(&p.namespace, p.name, &addresses, &TARGETS)?,
            ))
        };
        let servers = topology.pods.iter().map(serve).collect::<Result<_>>()?;
        let built = Self {
            agents: Vec::new(),
            servers,
            topology,
            directory,
            generation: 0,
        };
        built.write("cluster", &cluster(built.topology.nodes.len() as u16))?;
        Ok(built)
    }

    /// Where the agents read.
    pub fn manifests(&self) -> PathBuf {
        self.directory.path().join("manifests")
    }

    fn source(&self) -> [String; 2] {
        let directory = self.manifests().to_string_lossy().into_owned();
        ["--manifests".to_owned(), directory]
    }

    /// Where logs and sockets are.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Replaces a file of the directory in one step, as `NAME.json`.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, name: &str, objects: &[Value]) -> Result<()> {
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects });
        let (new, path) = (
            self.directory.path().join("new"),
            self.manifests().join(name).with_extension("json"),
        );
        std::fs::write(&new, serde_json::to_vec_pretty(&list)?)?;
        std::fs::rename(&new, &path).with_context(|| path.display().to_string())
    }

    /// All objects of the directory.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn objects(&self) -> Result<Vec<Value>> {
        let mut objects = Vec::new();
        for file in std::fs::read_dir(self.manifests())? {
            let path = file?.path();
            let list: Value = serde_json::from_slice(&std::fs::read(&path)?)
                .with_context(|| path.display().to_string())?;
            objects.extend(list["items"].as_array().into_iter().flatten().cloned());
        }
        Ok(objects)
    }

    /// Replaces the file of a case.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write_services(&self, name: &str, services: &[Service]) -> Result<()> {
        self.write(
            name,
            &services
                .iter()
                .flat_map(Service::objects)
                .collect::<Vec<_>>(),
        )
    }

    /// Removes a file of the directory, if it is there.
    pub fn remove(&self, name: &str) {
        let _ = std::fs::remove_file(self.manifests().join(name).with_extension("json"));
    }

    /// Starts an agent on every node, ends those that ran before, and waits until all serve.
    ///
    /// # Errors
    /// If one does not come so far.
    pub fn start_agents(&mut self, flags: &[String]) -> Result<()> {
        self.agents.clear();
        for (namespace, n) in self.topology.nodes.iter().zip(1..) {
            let agent = Agent::start(namespace, n, &self.source(), self.directory.path(), flags)?;
            self.agents.push(agent);
        }
        self.settle().map(drop)
    }

    /// Ends the agent of a node by SIGTERM. Its rules stay.
    ///
    /// # Errors
    /// If it does not end well.
    pub fn stop_agent(&mut self, n: u16) -> Result<()> {
        self.agents.remove(usize::from(n) - 1).stop()
    }

    /// Ends the agent of a node by SIGKILL. Its rules stay.
    pub fn kill_agent(&mut self, n: u16) {
        self.agents.remove(usize::from(n) - 1);
    }

    /// Ends all agents at once. Their rules stay.
    pub fn stop_all(&mut self) {
        self.agents.clear();
    }

    /// Starts the agent of a node again.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start_agent(&mut self, n: u16, flags: &[String]) -> Result<()> {
        let namespace = self.topology.namespace(Place::Node(n))?;
        let agent = Agent::start(namespace, n, &self.source(), self.directory.path(), flags)?;
        self.agents.insert(usize::from(n) - 1, agent);
        Ok(())
    }

    /// Waits until every agent has applied all that was written before, in both families, and
    /// tells how long that took: a Service that gets a new port is written last, and asked for.
    ///
    /// # Errors
    /// If an agent ends or takes too long, with the end of its log.
    pub fn settle(&mut self) -> Result<Duration> {
        self.generation += 1;
        let pod = self.topology.pods.first().context("no pods")?.name;
        let mut sentinel = service("ferrule-sentinel", [ready(pod)]);
        (sentinel.id, sentinel.port) = (SENTINEL, 1_000 + self.generation);
        let begun = Instant::now();
        self.write_services(LAST, std::slice::from_ref(&sentinel))?;
        for family in IpFamily::ALL {
            let to = SocketAddr::new(sentinel.cluster_ip(family), sentinel.port);
            let ask = Attempt {
                protocol: Protocol::Udp,
                to,
                source: None,
                via: 0,
            };
            for index in 0..self.agents.len() {
                while !self.answered(index, ask)? {
                    self.agents[index].check()?;
                    if begun.elapsed() > apply() {
                        let log = self.agents[index].tail(15);
                        let n = index + 1;
                        bail!("node-{n}: {family} not applied in {:?}:\n{log}", apply());
                    }
                }
            }
        }
        Ok(begun.elapsed())
    }

    fn answered(&self, index: usize, ask: Attempt) -> Result<bool> {
        // 20 ms, where answers may take 5 s.
        let limit = pace().answer / 250;
        let answers = dial(&self.topology.nodes[index], &[ask], limit)?;
        match &answers[0] {
            Answer::From { .. } => Ok(true),
            _ => {
                std::thread::sleep(Duration::from_millis(1));
                Ok(false)
            }
        }
    }

    /// Stops the servers of a pod.
    pub fn stop_server(&mut self, pod: &str) {
        self.servers.retain(|(name, _)| *name != pod);
    }

    /// The ends of all agents' logs.
    pub fn logs(&self) -> String {
        let log = |(n, a): (usize, &Agent)| format!("node-{}:\n{}", n + 1, a.tail(8));
        self.agents
            .iter()
            .enumerate()
            .map(log)
            .collect::<Vec<_>>()
            .join("\n")
    }
}
