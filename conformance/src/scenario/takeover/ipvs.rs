// SPDX-License-Identifier: Apache-2.0
//! IPVS mode: from kube-proxy's, and from nftables mode and back. It needs a kernel with IPVS: the
//! guest.

use std::process::Command;
use std::thread::sleep;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use ferrule::backend::{Error, ipvs::Ipvs};

use super::theirs::{self, Mode, output};
use super::{BESIDE, Cluster, bare_node, judge, node, quiet, restore, start, targets};
use crate::cases::cluster_cidr_flags;
use crate::netns::Namespace;
use crate::pace::pace;
use crate::scenario::load::Load;

/// What kube-proxy sets in IPVS mode.
const SYSCTLS: [(&str, &str); 3] = [
    ("net/ipv4/vs/conntrack", "1"),
    ("net/ipv4/vs/expire_nodest_conn", "1"),
    ("net/ipv4/vs/expire_quiescent_template", "1"),
];

/// kube-proxy ran in IPVS mode. Whichever mode is judged takes over.
pub(in crate::scenario) fn from_ipvs(cluster: &mut Cluster) -> Result<()> {
    if let Err(Error::Missing(reason)) = Ipvs::open() {
        println!("SKIP: {reason}");
        return Ok(());
    }
    bare_node(cluster)?;
    clean(node(cluster))?;
    load(node(cluster))?;
    judge(cluster).context("with kube-proxy's rules alone: the record is wrong")?;
    let clients = Load::start(&cluster.topology, &targets()?)?;
    start(cluster, true)?;
    sleep(BESIDE);
    ensure!(
        theirs::loaded(node(cluster), Mode::Iptables)?,
        "kube-proxy's rules are gone against the order to keep them"
    );
    cluster.stop_agent(1)?;
    start(cluster, false)?;
    let begun = Instant::now();
    while theirs::loaded(node(cluster), Mode::Iptables)? {
        let log = cluster.logs();
        ensure!(begun.elapsed() < 2 * pace().answer, "they stay:\n{log}");
        sleep(pace().answer / 250);
    }
    quiet(&clients.stop()?).context("kube-proxy to ferrule")?;
    judge(cluster).context("with ferrule's rules alone")?;
    cluster.stop_agent(1)?;
    super::ferrule(node(cluster), &["--cleanup"])?;
    nothing_left(node(cluster))?;
    restore(cluster)
}

/// ferrule changes its mode: new connections from everywhere, to everything, all the time.
pub(in crate::scenario) fn between_modes(cluster: &mut Cluster) -> Result<()> {
    bare_node(cluster)?;
    clean(node(cluster))?;
    serve(cluster, "nftables")?;
    judge(cluster).context("in nftables mode")?;
    let clients = Load::start(&cluster.topology, &targets()?)?;
    for mode in ["ipvs", "nftables", "ipvs"] {
        cluster.stop_agent(1)?;
        serve(cluster, mode)?;
        let list = output(node(cluster), "ipvsadm", &["-Sn"])?;
        ensure!(mode == "nftables" || list.contains("-A "), "none in {mode}");
        sleep(BESIDE);
    }
    quiet(&clients.stop()?)?;
    judge(cluster).context("in IPVS mode")?;
    cluster.stop_agent(1)?;
    super::ferrule(node(cluster), &["--cleanup"])?;
    nothing_left(node(cluster))?;
    restore(cluster)
}

/// Starts the agent of node 1 in a mode.
fn serve(cluster: &mut Cluster, mode: &str) -> Result<()> {
    let mut flags = cluster_cidr_flags();
    flags.extend(["--keep-leftovers=false", "--proxy-mode", mode].map(str::to_owned));
    cluster.start_agent(1, &flags)?;
    cluster.settle().map(drop)
}

/// No virtual server, no link of theirs, no table.
fn nothing_left(node: &Namespace) -> Result<()> {
    let servers = output(node, "ipvsadm", &["-Sn"])?;
    ensure!(servers.trim().is_empty(), "virtual servers: {servers}");
    let links = output(node, "ip", &["-oneline", "link"])?;
    ensure!(!links.contains("kube-ipvs0"), "left: {links}");
    let tables = output(node, "nft", &["list", "tables"])?;
    ensure!(!tables.contains(" ferrule"), "left: {tables}");
    Ok(())
}

/// Ends what an agent of IPVS mode had there.
fn clean(node: &Namespace) -> Result<()> {
    super::ferrule(node, &["--cleanup"])
}

/// What kube-proxy had set up: addresses, sets, virtual servers and rules.
fn load(node: &Namespace) -> Result<()> {
    node.ip("link add kube-ipvs0 type dummy")?;
    node.sysctl(&SYSCTLS)?;
    let addresses = theirs::data("ipvs.addresses")?;
    let mut batch = String::new();
    for line in addresses.lines() {
        let mut words = line
            .split_whitespace()
            .skip_while(|w| !w.starts_with("inet"));
        let address = words.nth(1).context("no address")?;
        batch += &format!("addr add {address} dev kube-ipvs0\n");
    }
    node.ip(&batch)?;
    let run = |program: &str, argument: &str, file: &str| {
        node.run(Command::new(program).arg(argument), &theirs::data(file)?)
    };
    run("ipvsadm", "-R", "ipvs.ipvsadm")?;
    run("ipset", "restore", "ipvs.ipset")?;
    theirs::load_iptables(node, "ipvs")
}
