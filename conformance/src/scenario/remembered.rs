// SPDX-License-Identifier: Apache-2.0
//! The last known state: what a node serves that boots while there is no API server.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use ferrule::model::{IpFamily, Protocol};
use serde_json::Value;

use super::lifecycle::healthy;
use super::{at, connect, endpoints};
use crate::agent::Agent;
use crate::case::pod;
use crate::cases::cluster_cidr_flags;
use crate::client::Answer;
use crate::cluster::Cluster;
use crate::object::{self, PORT, Service, node_name, ready, service};
use crate::stub::Stub;

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn services() -> [Service; 2] {
    let mut stays = service("stays", [ready("1a"), ready("2a")]);
    let mut goes = service("goes", [ready("2b")]);
    (stays.id, goes.id) = (960, 961);
    [stays, goes]
}

/// Tries until it succeeds.
fn eventually(what: &str, mut attempt: impl FnMut() -> Result<()>) -> Result<()> {
    let begun = Instant::now();
    loop {
        match attempt() {
            Err(error) if begun.elapsed() > PATIENCE => return Err(error.context(what.to_owned())),
            Err(_) => sleep(Duration::from_millis(200)),
            Ok(()) => return Ok(()),
        }
    }
}

struct Stage<'a> {
    cluster: &'a Cluster,
    kubeconfig: PathBuf,
}

impl Stage<'_> {
    fn start(&self) -> Result<Agent> {
        let source = [
            "--kubeconfig".to_owned(),
            self.kubeconfig.display().to_string(),
        ];
        let (node, logs) = (&self.cluster.topology.nodes[0], self.cluster.directory());
        Agent::start(node, 1, &source, logs, &cluster_cidr_flags())
    }

    /// A boot leaves nothing of a ruleset.
    fn forget(&self) -> Result<()> {
        for family in ["ip", "ip6"] {
            let node = &self.cluster.topology.nodes[0];
            let mut delete = Command::new("nft");
            delete.args(["delete", "table", family, "ferrule"]);
            node.run(&mut delete, "")?;
        }
        Ok(())
    }

    fn serves(&self, service: &Service) -> Result<()> {
        for family in IpFamily::ALL {
            let to = at(service.cluster_ip(family), PORT);
            let answers = connect(self.cluster, [pod("1b"); 5], to, Protocol::Tcp)?;
            endpoints(&answers).with_context(|| format!("{} over {family}", service.name))?;
        }
        Ok(())
    }

    fn refuses(&self, service: &Service) -> Result<()> {
        let to = at(service.cluster_ip(IpFamily::V4), PORT);
        let answers = connect(self.cluster, [pod("1b"); 2], to, Protocol::Tcp)?;
        let gone = answers.iter().all(|a| !matches!(a, Answer::From { .. }));
        ensure!(gone, "{} is still served: {answers:?}", service.name);
        Ok(())
    }

    /// `ferrule_state_file_age_seconds`.
    fn age(&self) -> Result<f64> {
        let node = &self.cluster.topology.nodes[0];
        let url = "http://127.0.0.1:10249/metrics";
        let output = node.command("curl").args(["-sS", url]).output()?;
        let text = String::from_utf8(output.stdout)?;
        let mut lines = text.lines();
        let value = lines.find_map(|l| l.strip_prefix("ferrule_state_file_age_seconds "));
        Ok(value
            .with_context(|| format!("no age in {} bytes", text.len()))?
            .parse()?)
    }
}

/// The file has all that is asked for, and nothing else.
fn has(path: &Path, names: &[&str]) -> Result<()> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let lines = text.lines().map(serde_json::from_str);
    let lines: Vec<Value> = lines.collect::<Result<_, _>>()?;
    for name in names {
        let there = |line: &Value| {
            let full = line["name"].as_str().unwrap_or_default();
            full.ends_with(&format!("/{name}")) && !line["object"].is_null()
        };
        ensure!(lines.iter().any(there), "{name} is not in {text}");
    }
    Ok(())
}

/// It serves what it knew until the server is back, and then what is there.
pub(super) fn boots(cluster: &mut Cluster) -> Result<()> {
    cluster.stop_agent(1)?;
    let [stays, goes] = services();
    let mut objects = object::cluster(cluster.topology.nodes.len() as u16);
    objects.retain(|o| o["kind"] != "Node" || o["metadata"]["name"] == node_name(1));
    objects.extend(stays.objects());
    let leaves = goes.objects();
    objects.extend(leaves.clone());
    let stage = Stage {
        kubeconfig: cluster.directory().join("remembered.conf"),
        cluster,
    };
    let node = &stage.cluster.topology.nodes[0];
    let api = node.enter(|| Stub::start(objects))?;
    api.write_kubeconfig(&stage.kubeconfig)?;
    let file = stage.cluster.directory().join("node-1.state");

    let agent = stage.start()?;
    healthy(node).with_context(|| agent.tail(8))?;
    eventually("the file", || has(&file, &[stays.name, goes.name]))?;
    ensure!(stage.age()? == 0.0, "what is served is the server's");
    agent.stop()?;
    stage.forget()?;
    api.set_away(true);
    for object in &leaves {
        let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
        let kind = object["kind"].as_str().context("an object has a kind")?;
        api.delete(kind, text("namespace"), text("name"))?;
    }
    if stage.serves(&stays).is_ok() {
        bail!("rules are left");
    }

    let agent = stage.start()?;
    eventually("without a server", || stage.serves(&stays)).with_context(|| agent.tail(8))?;
    stage
        .serves(&goes)
        .context("nobody knows yet that it is gone")?;
    eventually("the age", || {
        ensure!(stage.age()? >= 1.0, "no age is told");
        Ok(())
    })?;
    api.set_away(false);
    eventually("the server is back", || stage.refuses(&goes)).with_context(|| agent.tail(8))?;
    stage.serves(&stays)?;
    eventually("all kinds are listed", || {
        ensure!(stage.age()? == 0.0, "what is served is not the server's");
        Ok(())
    })?;
    agent.stop()?;
    cluster.start_agent(1, &cluster_cidr_flags())?;
    cluster.settle().map(drop)
}
