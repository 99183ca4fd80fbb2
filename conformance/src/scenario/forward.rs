// SPDX-License-Identifier: Apache-2.0
//! A firewall that drops what it does not know of what is forwarded: the agent says so.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use ferrule::model::{IpFamily, Protocol};

use super::{apply, at, clear, connect, endpoints};
use crate::case::outside;
use crate::cases::cluster_cidr_flags;
use crate::client::Answer;
use crate::cluster::Cluster;
use crate::netns::node_address;
use crate::object::{Kind, Service, ready, service};

/// As iptables-nft makes it, and docker: policy drop, rules for others only.
const DROPS: &str = "add table ip filter
add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }
add chain ip filter INPUT { type filter hook input priority 0; policy accept; }
add rule ip filter FORWARD iifname docker0 accept
";
/// What the warning advises, in the words of nft.
const REMEDY: &str = "insert rule ip filter FORWARD ct status dnat accept";

/// Said at start and when it comes later, with a remedy that works; said when it is gone.
pub(super) fn policy_drop(cluster: &mut Cluster) -> Result<()> {
    let told = told(cluster);
    // Otherwise all that comes after a failure would fail, too.
    let removed = cluster.topology.nodes[0].nft("delete table ip filter");
    told.and(removed)?;
    cluster.settle()?;
    clear(cluster)
}

fn told(cluster: &mut Cluster) -> Result<()> {
    let web = service("web", [ready("2a")]).kind(Kind::NodePort);
    let web = Service {
        id: 970,
        namespace: "scenario",
        ..web
    };
    apply(cluster, std::slice::from_ref(&web))?;
    let warning = "ip table filter, chain FORWARD (hook forward, priority 0) has policy drop";
    ensure!(!log(cluster)?.contains("policy drop"), "said too early");
    cluster.topology.nodes[0].nft(DROPS)?;
    said(cluster, warning).context("while it runs")?;

    let to = at(
        node_address(IpFamily::V4, 1),
        web.node_port().context("a NodePort")?,
    );
    let lost = connect(cluster, [outside(1); 5], to, Protocol::Tcp)?;
    let all = lost.iter().all(|a| *a == Answer::Timeout);
    ensure!(all, "nothing is dropped, so the warning is wrong: {lost:?}");
    cluster.topology.nodes[0].nft(REMEDY)?;
    endpoints(&connect(cluster, [outside(1); 5], to, Protocol::Tcp)?).context("with the rule")?;

    cluster.stop_agent(1)?;
    cluster.start_agent(1, &cluster_cidr_flags())?;
    said(cluster, warning).context("at start")?;
    cluster.topology.nodes[0].nft("add chain ip filter FORWARD { policy accept; }")?;
    said(
        cluster,
        "policy drop of ip filter FORWARD is in the way no longer",
    )?;
    let times = log(cluster)?.matches("has policy drop").count();
    ensure!(times == 1, "said {times} times");
    Ok(())
}

fn log(cluster: &Cluster) -> Result<String> {
    let path = cluster.directory().join("node-1.log");
    std::fs::read_to_string(&path).with_context(|| path.display().to_string())
}

/// Waits for a line in the log of node 1; the agent looks every 15 seconds.
fn said(cluster: &Cluster, words: &str) -> Result<()> {
    let begun = Instant::now();
    while !log(cluster)?.contains(words) {
        if begun.elapsed() > Duration::from_secs(20) {
            bail!("{words:?} is not in the log:\n{}", log(cluster)?);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}
