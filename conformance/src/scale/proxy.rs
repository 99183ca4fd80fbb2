// SPDX-License-Identifier: Apache-2.0
//! One proxy on a node of its own, as its users run it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde_json::json;

use super::cluster::Cluster;
use super::machine::Machine;
use super::objects::ENDPOINT_CIDR;
use super::usage::Process;
use crate::differential::api::{Daemon, daemon};
use crate::differential::proxies::Proxy;
use crate::object::node_name;

/// A running proxy. It ends when this is dropped, and its node with it.
pub struct Running {
    daemon: Daemon,
    name: String,
    log: PathBuf,
    /// When its process was started.
    pub begun: Instant,
    /// Its node.
    pub machine: Machine,
}

impl Running {
    /// Starts a proxy on a new node. Numbers must not come twice.
    ///
    /// # Errors
    /// If the node cannot be built or the program is missing.
    pub fn start(proxy: Proxy, cluster: &Cluster, number: u16) -> Result<Self> {
        let directory = cluster.directory.path();
        let machine = Machine::build()?;
        cluster.api.wire(&machine.node, 0, number)?;
        let config = directory.join("proxy.json");
        fs::write(&config, configuration(cluster).to_string())?;
        let name = format!("{}-{number}", proxy.name());
        let mut flags = vec![
            format!("--config={}", config.display()),
            format!("--hostname-override={}", node_name(1)),
        ];
        if proxy == Proxy::Ferrule {
            let socket = directory.join(&name).with_extension("sock");
            flags.push(format!("--admin-socket={}", socket.display()));
        }
        let binary = proxy.binary()?;
        let begun = Instant::now();
        let daemon = daemon(&machine.node, &name, &binary, &flags, directory)?;
        let log = directory.join(format!("{name}.log"));
        Ok(Self {
            daemon,
            name,
            log,
            begun,
            machine,
        })
    }

    /// Its process. The programs that start it become it.
    #[must_use]
    pub fn process(&self) -> Process {
        Process(self.daemon.0.id())
    }

    /// For messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it still runs.
    ///
    /// # Errors
    /// If not, with the end of its log.
    pub fn check(&self) -> Result<()> {
        let state = fs::read_to_string(format!("/proc/{}/stat", self.daemon.0.id()));
        if state.is_ok_and(|s| !s.contains(") Z ")) {
            return Ok(());
        }
        bail!("{} ended:\n{}", self.name, self.tail())
    }

    /// The last lines of its log.
    #[must_use]
    pub fn tail(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(10)..].join("\n")
    }
}

/// What kube-proxy takes for granted stays as it is, its second between two updates too.
fn configuration(cluster: &Cluster) -> serde_json::Value {
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clientConnection": { "kubeconfig": cluster.api.kubeconfig() },
        "clusterCIDR": ENDPOINT_CIDR,
        // Not writable in a network namespace.
        "conntrack": { "maxPerCore": 0, "min": 0 },
    })
}

/// What a proxy's program calls itself.
///
/// # Errors
/// If it is missing or does not say.
pub fn version(proxy: Proxy) -> Result<String> {
    let binary = proxy.binary()?;
    let output = Command::new(&binary)
        .arg("--version")
        .output()
        .with_context(|| format!("{} --version", binary.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.split_whitespace().last();
    Ok(last
        .context("--version says nothing")?
        .trim_start_matches('v')
        .to_owned())
}
