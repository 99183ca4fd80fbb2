// SPDX-License-Identifier: Apache-2.0
//! kube-proxy was on the node before, and comes back: no client must notice.
//!
//! kube-proxy's rules are those that the real one wrote, recorded for these very Services and this
//! node (`conformance/testdata/kube-proxy`).

pub(super) mod ipvs;
mod showcase;
mod theirs;

use std::net::SocketAddr;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use ferrule::model::{IpFamily, Protocol};

use self::theirs::{Mode, load_bystanders, loaded, output, snapshot};
use super::load::{self, Load, Tally};
use super::{Cluster, From, at, clear};
use crate::agent;
use crate::case::{host, outside, pod};
use crate::cases::cluster_cidr_flags;
use crate::client::{Answer, Attempt, UdpFlow, dial};
use crate::netns::Namespace;
use crate::object::PORT;
use crate::pace::pace;

pub use showcase::showcase;

/// Both rulesets are in force for so long.
const BESIDE: Duration = Duration::from_secs(1);
/// Fewer connections a second would prove little, on a machine of its own kind.
const RATE: f64 = 200.0;

/// kube-proxy ran in nftables mode.
pub(super) fn from_nftables(cluster: &mut Cluster) -> Result<()> {
    there_and_back(cluster, Mode::Nftables)
}

/// kube-proxy ran in iptables mode.
pub(super) fn from_iptables(cluster: &mut Cluster) -> Result<()> {
    if !theirs::has_iptables(Mode::Iptables)? {
        return Ok(());
    }
    there_and_back(cluster, Mode::Iptables)
}

/// kube-proxy ran with iptables-legacy, which ferrule does not remove: it tells so, and wins. Its
/// rules go by hand later.
pub(super) fn from_legacy(cluster: &mut Cluster) -> Result<()> {
    if !theirs::has_iptables(Mode::Legacy)? {
        return Ok(());
    }
    bare_node(cluster)?;
    theirs::load(node(cluster), Mode::Legacy)?;
    judge(cluster).context("with kube-proxy's rules alone")?;
    let load = Load::start(&cluster.topology, &targets()?)?;
    start(cluster, false)?;
    sleep(BESIDE);
    ensure!(loaded(node(cluster), Mode::Legacy)?, "who removed them?");
    let log = cluster.logs();
    ensure!(
        log.contains("iptables-legacy are in use"),
        "not told:\n{log}"
    );
    theirs::unload_legacy(node(cluster))?;
    ensure!(!loaded(node(cluster), Mode::Legacy)?, "unload does not");
    quiet(&load.stop()?)?;
    judge(cluster).context("with ferrule's rules alone")?;
    restore(cluster)
}

fn there_and_back(cluster: &mut Cluster, mode: Mode) -> Result<()> {
    let with_iptables = theirs::has_iptables(Mode::Iptables)?;
    bare_node(cluster)?;
    load_bystanders(node(cluster), with_iptables)?;
    let before = snapshot(node(cluster), with_iptables)?;
    theirs::load(node(cluster), mode)?;
    judge(cluster).context("with kube-proxy's rules alone: the record is wrong")?;

    let mut flow = flow(cluster)?;
    let home = flow.ask(Duration::from_secs(1))?;
    ensure!(matches!(home, Answer::From { .. }), "a UDP flow: {home}");
    let tally = take_over(cluster, mode)?;
    quiet(&tally).context("kube-proxy to ferrule")?;
    judge(cluster).context("with ferrule's rules alone")?;
    same(&before, &snapshot(node(cluster), with_iptables)?)?;
    same_home(&home, &flow.ask(Duration::from_secs(1))?)?;

    let tally = go_back(cluster, mode)?;
    quiet(&tally).context("ferrule to kube-proxy")?;
    judge(cluster).context("with kube-proxy's rules alone again")?;
    same_home(&home, &flow.ask(Duration::from_secs(1))?)?;

    // A cleanup of everything, twice.
    ferrule(node(cluster), &["--cleanup"])?;
    same(&before, &snapshot(node(cluster), with_iptables)?)?;
    ferrule(node(cluster), &["--cleanup"])?;
    same(&before, &snapshot(node(cluster), with_iptables)?)?;
    restore(cluster)
}

/// What kube-proxy itself does on a change of mode: delete first. This must be seen to fail.
pub(super) fn wrong_order(cluster: &mut Cluster) -> Result<()> {
    bare_node(cluster)?;
    theirs::load(node(cluster), Mode::Nftables)?;
    let load = Load::start(&cluster.topology, &targets()?)?;
    node(cluster).nft("delete table ip kube-proxy\ndelete table ip6 kube-proxy")?;
    start(cluster, true)?;
    let tally = load.stop()?;
    ensure!(
        tally.failed > 0,
        "no client noticed that there were no rules: {tally}"
    );
    restore(cluster)
}

/// ferrule starts beside kube-proxy's rules, first to leave them, then to remove them.
fn take_over(cluster: &mut Cluster, mode: Mode) -> Result<Tally> {
    let load = Load::start(&cluster.topology, &targets()?)?;
    start(cluster, true)?;
    sleep(BESIDE);
    ensure!(
        loaded(node(cluster), mode)?,
        "kube-proxy's rules are gone against the order to keep them"
    );
    cluster.stop_agent(1)?;
    start(cluster, false)?;
    let begun = Instant::now();
    while loaded(node(cluster), mode)? {
        if begun.elapsed() > Duration::from_secs(10) {
            bail!("kube-proxy's rules are still there:\n{}", cluster.logs());
        }
        sleep(Duration::from_millis(20));
    }
    load.stop()
}

/// ferrule ends, kube-proxy writes its rules, and at last ferrule's go.
fn go_back(cluster: &mut Cluster, mode: Mode) -> Result<Tally> {
    let load = Load::start(&cluster.topology, &targets()?)?;
    cluster.stop_agent(1)?;
    theirs::load(node(cluster), mode)?;
    sleep(BESIDE);
    ferrule(node(cluster), &["--cleanup", "--keep-leftovers"])?;
    let tally = load.stop()?;
    let tables = output(node(cluster), "nft", &["list", "tables"])?;
    ensure!(!tables.contains(" ferrule"), "left: {tables}");
    ensure!(
        loaded(node(cluster), mode)?,
        "kube-proxy's rules went with ferrule's"
    );
    Ok(tally)
}

fn quiet(tally: &Tally) -> Result<()> {
    println!("    {tally}");
    ensure!(tally.failed == 0, "{tally}");
    ensure!(
        tally.rate() >= RATE / pace().slowness(),
        "too few connections: {tally}"
    );
    Ok(())
}

fn same(before: &str, after: &str) -> Result<()> {
    let Some((was, is)) = before.lines().zip(after.lines()).find(|(a, b)| a != b) else {
        let (was, is) = (before.lines().count(), after.lines().count());
        ensure!(was == is, "rules of others: {was} lines before, {is} after");
        return Ok(());
    };
    bail!("rules of others have changed: from\n{was}\nto\n{is}")
}

fn same_home(before: &Answer, after: &Answer) -> Result<()> {
    ensure!(before == after, "a UDP flow: {before}, then {after}");
    Ok(())
}

/// What must be served is, what must not be is not.
fn judge(cluster: &Cluster) -> Result<()> {
    let served = |answer: &Answer| matches!(answer, Answer::From { .. });
    let all = targets()?;
    for place in [pod("1b").place, host(1).place, outside(1).place] {
        let own = |(from, _): &&(From, SocketAddr)| from.place == place;
        let own: Vec<_> = all.iter().filter(own).copied().collect();
        let attempts = load::attempts(&own).repeat(4);
        let answers = dial(
            cluster.topology.namespace(place)?,
            &attempts,
            pace().silence,
        )?;
        let wrong = attempts.iter().zip(&answers).find(|(_, a)| !served(a));
        ensure!(wrong.is_none(), "from {place:?}: {wrong:?}");
    }
    let shut: Vec<_> = IpFamily::ALL.into_iter().flat_map(showcase::shut).collect();
    let attempts = load::attempts(&shut);
    let answers = dial(&cluster.topology.client, &attempts, pace().silence)?;
    let wrong = attempts.iter().zip(&answers).find(|(_, a)| served(a));
    ensure!(wrong.is_none(), "served: {wrong:?}");
    Ok(())
}

fn targets() -> Result<Vec<(From, SocketAddr)>> {
    let open = IpFamily::ALL.map(showcase::open);
    let open: Result<Vec<_>> = open.into_iter().collect();
    Ok(open?.concat())
}

fn flow(cluster: &Cluster) -> Result<UdpFlow> {
    let services = showcase();
    let to = at(services[0].cluster_ip(IpFamily::V4), PORT);
    let from = pod("1b");
    let attempt = Attempt {
        protocol: Protocol::Udp,
        to,
        source: None,
        via: 0,
    };
    UdpFlow::start(cluster.topology.namespace(from.place)?, attempt)
}

fn node(cluster: &Cluster) -> &Namespace {
    &cluster.topology.nodes[0]
}

/// The Services are there, and nothing of anybody on node 1.
fn bare_node(cluster: &mut Cluster) -> Result<()> {
    cluster.write_services("scenario", &showcase())?;
    cluster.settle()?;
    cluster.stop_agent(1)?;
    theirs::flush(node(cluster))
}

/// Starts the agent of node 1.
fn start(cluster: &mut Cluster, keep: bool) -> Result<()> {
    let mut flags = cluster_cidr_flags();
    flags.push(format!("--keep-leftovers={keep}"));
    cluster.start_agent(1, &flags)?;
    cluster.settle().map(drop)
}

/// As scenarios find it.
fn restore(cluster: &mut Cluster) -> Result<()> {
    theirs::flush(node(cluster))?;
    // Ends agents that still run.
    cluster.start_agents(&cluster_cidr_flags())?;
    clear(cluster)
}

fn ferrule(node: &Namespace, flags: &[&str]) -> Result<()> {
    node.run(Command::new(agent::binary()?).args(flags), "")
}
