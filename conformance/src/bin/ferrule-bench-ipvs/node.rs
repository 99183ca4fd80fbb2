// SPDX-License-Identifier: Apache-2.0
//! A node in a network namespace of its own, with an API server beside a proxy.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use ferrule_conformance::interrupt;
use ferrule_conformance::netns::{CLUSTER_CIDRS, Namespace};
use ferrule_conformance::object::node_name;
use ferrule_conformance::stub::Stub;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, SysconfVar, sysconf};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Node 1 of the packet tables, by its addresses. Nobody is at the other end.
const INTERFACES: &str = "link set lo up
link add eth0 type veth peer name peer
link set eth0 up
link set peer up
addr add 172.30.0.11/16 dev eth0
addr add fd00:172:30::11/48 dev eth0 nodad
route add default via 172.30.0.1";

/// The node.
pub(crate) struct Node {
    // Dropped in this order: the process before its files.
    process: Option<Child>,
    pub(crate) namespace: Namespace,
    pub(crate) api: Stub,
    directory: TempDir,
}

impl Node {
    /// Makes it, with these objects in its API server.
    pub(crate) fn new(objects: Vec<Value>) -> Result<Self> {
        let namespace = Namespace::new("node-1")?;
        namespace.sysctl(&[
            ("net/ipv6/conf/default/disable_ipv6", "0"),
            ("net/ipv6/conf/all/disable_ipv6", "0"),
        ])?;
        namespace.ip(INTERFACES)?;
        let api = namespace.enter(|| Stub::start(objects))?;
        let directory = tempfile::tempdir()?;
        api.write_kubeconfig(&directory.path().join("kubeconfig"))?;
        let node = Self {
            process: None,
            namespace,
            api,
            directory,
        };
        fs::write(node.file("config"), node.configuration().to_string())?;
        Ok(node)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// For both proxies, and nothing that either has by default.
    fn configuration(&self) -> Value {
        json!({
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "ipvs",
            "clientConnection": {
                "kubeconfig": self.file("kubeconfig"), "contentType": "application/json"
            },
            "clusterCIDR": CLUSTER_CIDRS,
            "conntrack": {
                "maxPerCore": 0, "min": 0,
                "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"
            },
        })
    }

    /// Starts a proxy.
    pub(crate) fn start(&mut self, program: &Path) -> Result<()> {
        let log = File::create(self.file("log"))?;
        let mut command = self.namespace.command(program);
        command
            .arg(format!("--config={}", self.file("config").display()))
            .arg(format!("--hostname-override={}", node_name(1)))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        if is_ours(program) {
            command.arg(format!("--admin-socket={}", self.file("socket").display()));
        }
        self.process = Some(interrupt::spawn(&mut command)?);
        Ok(())
    }

    /// Fails if the proxy has ended.
    pub(crate) fn check(&mut self) -> Result<()> {
        match self.process.as_mut().map(Child::try_wait).transpose()? {
            Some(Some(status)) => bail!("it ended, {status}:\n{}", self.log()),
            _ => Ok(()),
        }
    }

    /// The last lines of its log.
    pub(crate) fn log(&self) -> String {
        let text = fs::read_to_string(self.file("log")).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    fn proc(&self, file: &str) -> Result<String> {
        let pid = self.process.as_ref().context("no process")?.id();
        let path = format!("/proc/{pid}/{file}");
        fs::read_to_string(&path).context(path)
    }

    /// `VmRSS` of the proxy in MiB.
    pub(crate) fn memory(&self) -> Result<f64> {
        let text = self.proc("status")?;
        let line = text.lines().find(|l| l.starts_with("VmRSS:"));
        let kb: Option<f64> = line.and_then(|l| l.split_whitespace().nth(1)?.parse().ok());
        Ok(kb.context("no VmRSS")? / 1024.0)
    }

    /// Whether kube-proxy's set of ClusterIPs has so many: without, they are not masqueraded.
    pub(crate) fn has_cluster_ips(&self, count: u16) -> Result<bool> {
        let list = ["list", "-terse", "KUBE-CLUSTER-IP"];
        let run = || Ok(Command::new("ipset").args(list).output()?);
        let output = self.namespace.enter(run)?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let number = text
            .lines()
            .find_map(|l| l.strip_prefix("Number of entries: "));
        let number = number.and_then(|n| n.trim().parse::<u32>().ok());
        Ok(number.is_some_and(|n| n >= u32::from(count)))
    }

    /// Processor time of the proxy and of what it has started and waited for.
    pub(crate) fn processor(&self) -> Result<Duration> {
        let text = self.proc("stat")?;
        // After the name in parentheses: fields 14 to 17 of the line.
        let fields: Vec<_> = text
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .collect();
        let tick = |i: usize| fields.get(i).and_then(|f| f.parse::<u64>().ok());
        let ticks: u64 = (11..15).filter_map(tick).sum();
        let second = sysconf(SysconfVar::CLK_TCK)?.context("no clock tick")?;
        Ok(Duration::from_secs_f64(ticks as f64 / second as f64))
    }

    /// Ends the proxy by SIGTERM and waits for it.
    pub(crate) fn stop(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            kill(Pid::from_raw(process.id() as i32), Signal::SIGTERM)?;
            process.wait()?;
        }
        Ok(())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// Whether a program is ferrule.
pub(crate) fn is_ours(program: &Path) -> bool {
    program.file_name().is_some_and(|n| n == "ferrule")
}
