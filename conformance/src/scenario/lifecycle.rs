// SPDX-License-Identifier: Apache-2.0
//! Services, endpoints and agents come and go.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use ferrule::model::{IpFamily, Protocol};

use super::{apply, at, clear, combinations, connect, endpoints};
use crate::agent;
use crate::case::{outside, pod};
use crate::cases::cluster_cidr_flags;
use crate::client::Answer;
use crate::cluster::Cluster;
use crate::netns::Namespace;
use crate::object::{Endpoint, Kind, PORT, Service, ready, service};
use crate::pace::pace;

fn web(id: u16, pods: &[&'static str]) -> Service {
    let endpoints: Vec<Endpoint> = pods.iter().map(|p| ready(p)).collect();
    let service = service("web", endpoints).kind(Kind::LoadBalancer);
    Service {
        id,
        namespace: "scenario",
        ..service
    }
}

/// While endpoints change, in lists that grow, shrink and turn over, no connection fails: all the
/// pods live on. Connections begin right after each change is written, and run while it applies.
///
/// UDP and SCTP flows to an endpoint that goes are forgotten at once, also one whose answer is
/// just under way. So there a client that asks again must be served.
pub(super) fn churn(cluster: &mut Cluster) -> Result<()> {
    let lists: [&[&str]; 5] = [
        &["1a", "2a", "3a"],
        &["1a"],
        &["2a", "3a"],
        &["3a", "1a", "2b", "3b", "2a"],
        &["2a"],
    ];
    let many = pace().many / 3;
    apply(cluster, &[web(950, lists[0])])?;
    for (family, protocol) in combinations() {
        for list in lists.iter().cycle().take(10) {
            cluster.write_services("scenario", &[web(950, list)])?;
            for from in [pod("1b"), outside(1)] {
                let to = at(web(950, list).cluster_ip(family), PORT);
                let failed = |answers: Vec<Answer>| {
                    answers
                        .into_iter()
                        .find(|a| !matches!(a, Answer::From { .. }))
                };
                let mut wrong = failed(connect(cluster, vec![from; many], to, protocol)?);
                if wrong.is_some() && protocol != Protocol::Tcp {
                    wrong = failed(connect(cluster, vec![from; many], to, protocol)?);
                }
                ensure!(
                    wrong.is_none(),
                    "{family} {protocol} while {list:?} comes: {wrong:?}"
                );
            }
        }
    }
    clear(cluster)
}

/// A Service is deleted: its addresses are nobody's. It comes again with another endpoint.
pub(super) fn recreated(cluster: &mut Cluster) -> Result<()> {
    for pods in [["1a"], ["2a"]] {
        let web = web(951, &pods);
        apply(cluster, std::slice::from_ref(&web))?;
        for (family, protocol) in combinations() {
            let to = at(web.cluster_ip(family), PORT);
            let who = endpoints(&connect(cluster, [pod("1b"); 20], to, protocol)?)?;
            ensure!(
                who.iter().all(|w| *w == pods[0]),
                "{family} {protocol}: {who:?}"
            );
        }
        clear(cluster)?;
        for (family, protocol) in combinations() {
            let to = at(web.cluster_ip(family), PORT);
            let answers = connect(cluster, [pod("1b"); 3], to, protocol)?;
            let gone = answers.iter().all(|a| *a == Answer::Timeout);
            ensure!(gone, "{family} {protocol}, deleted: {answers:?}");
        }
    }
    Ok(())
}

/// After SIGTERM traffic goes on; a start with nothing changed commits nothing; --cleanup leaves
/// nothing of ours.
pub(super) fn stop_start(cluster: &mut Cluster) -> Result<()> {
    let web = web(952, &["1a", "2a"]);
    apply(cluster, std::slice::from_ref(&web))?;
    cluster.stop_agent(1)?;
    serves(cluster, &web).context("after SIGTERM")?;

    let mut monitor = Monitor::start(&cluster.topology.nodes[0])?;
    cluster.start_agent(1, &cluster_cidr_flags())?;
    healthy(&cluster.topology.nodes[0])?;
    let seen = monitor.seen()?;
    // That the tables have an owner again is no change of what they do.
    let taken_over = |line: &str| line.starts_with("add table") || line.starts_with('#');
    ensure!(
        seen.lines().all(taken_over),
        "a restart with nothing changed committed:\n{seen}"
    );
    serves(cluster, &web).context("after the restart")?;
    cluster.settle()?;
    ensure!(!monitor.seen()?.is_empty(), "nft monitor does not work");

    cluster.stop_agent(1)?;
    let node = &cluster.topology.nodes[0];
    ensure!(
        tables(node)?.contains("ferrule"),
        "no table of ours before --cleanup"
    );
    node.run(Command::new(agent::binary()?).arg("--cleanup"), "")?;
    let left = tables(node)?;
    ensure!(!left.contains("ferrule"), "left after --cleanup:\n{left}");
    cluster.start_agent(1, &cluster_cidr_flags())?;
    cluster.settle()?;
    serves(cluster, &web).context("after --cleanup and a new start")?;
    clear(cluster)
}

fn serves(cluster: &Cluster, web: &Service) -> Result<()> {
    for (family, protocol) in combinations() {
        let to = at(web.cluster_ip(family), PORT);
        let answers = connect(cluster, [pod("1b"); 50], to, protocol)?;
        endpoints(&answers).with_context(|| format!("{family} {protocol}"))?;
    }
    let to = at(
        web.load_balancer_ip(IpFamily::V4).context("an address")?,
        PORT,
    );
    endpoints(&connect(cluster, [outside(1); 20], to, Protocol::Tcp)?).map(drop)
}

fn tables(node: &Namespace) -> Result<String> {
    node.enter(|| {
        let output = Command::new("nft")
            .args(["list", "tables"])
            .output()
            .context("nft")?;
        Ok(String::from_utf8(output.stdout)?)
    })
}

/// Waits until /healthz of a node says yes.
pub(super) fn healthy(node: &Namespace) -> Result<()> {
    let begun = Instant::now();
    let ask = || -> Result<String> {
        let mut stream = TcpStream::connect("127.0.0.1:10256")?;
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    };
    loop {
        let text = node.enter(ask).unwrap_or_default();
        if text.starts_with("HTTP/1.1 200") {
            return Ok(());
        }
        if begun.elapsed() > Duration::from_secs(10) {
            bail!("/healthz: {text:?}");
        }
        sleep(Duration::from_millis(20));
    }
}

/// `nft monitor` on a node: it prints every commit.
pub(super) struct Monitor {
    child: Child,
    output: tempfile::NamedTempFile,
}

impl Monitor {
    pub(super) fn start(node: &Namespace) -> Result<Self> {
        let output = tempfile::NamedTempFile::new()?;
        let child = node
            .command("stdbuf")
            .args(["-oL", "nft", "monitor"])
            .stdout(Stdio::from(output.reopen()?))
            .spawn()
            .context("nft monitor")?;
        sleep(Duration::from_millis(300));
        Ok(Self { child, output })
    }

    /// What it has printed until now.
    pub(super) fn seen(&mut self) -> Result<String> {
        sleep(Duration::from_millis(300));
        Ok(std::fs::read_to_string(self.output.path())?)
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
