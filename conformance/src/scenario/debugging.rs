// SPDX-License-Identifier: Apache-2.0
//! `ferrule debug diff` and `ferrule debug trace --probe` as users run them.

use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::{apply, clear};
use crate::agent;
use crate::cases::cluster_cidr_flags;
use crate::cluster::Cluster;
use crate::netns::Place;
use crate::object::{Kind, Service, node_name, ready, service};
use crate::stub::Stub;

/// Where `ferrule debug` runs: on node 1.
fn command(cluster: &Cluster, words: &[&str]) -> Result<Command> {
    let node = cluster.topology.namespace(Place::Node(1))?;
    let mut command = node.command(agent::binary()?);
    command.arg("debug").args(words).stdin(Stdio::null());
    Ok(command)
}

/// Exit status and JSON.
fn ask(cluster: &Cluster, words: &[&str]) -> Result<(Option<i32>, Value)> {
    let Output {
        status,
        stdout,
        stderr,
    } = command(cluster, words)?.args(["-o", "json"]).output()?;
    let told = String::from_utf8_lossy(&stderr);
    let json = serde_json::from_slice(&stdout);
    let json = json.with_context(|| format!("{words:?}: {told}"))?;
    Ok((status.code(), json))
}

fn services() -> Vec<Service> {
    let mut web = service("web", [ready("1a"), ready("2a")]);
    let mut shop = service("shop", [ready("2b")]).kind(Kind::LoadBalancer);
    (web.id, shop.id) = (2_001, 2_002);
    vec![web, shop]
}

/// The kernel is as the agent, the manifests and the API server's objects ask for, with the agent
/// and without; a rule and an element that somebody else has changed are found, by name.
pub(super) fn differences(cluster: &mut Cluster) -> Result<()> {
    apply(cluster, &services())?;
    let socket = cluster.directory().join("node-1.sock");
    let socket = socket.to_string_lossy().into_owned();
    let manifests = cluster.manifests().to_string_lossy().into_owned();
    let kubeconfig = cluster.directory().join("kubeconfig");
    let node = cluster.topology.namespace(Place::Node(1))?;
    let mut objects = cluster.objects()?;
    // The stub serves no selectors, and an agent asks for its own Node only.
    let own = |o: &Value| o["kind"] != "Node" || o["metadata"]["name"] == node_name(1);
    objects.retain(own);
    let api = node.enter(|| Stub::start(objects))?;
    api.write_kubeconfig(&kubeconfig)?;
    let kubeconfig = kubeconfig.to_string_lossy().into_owned();
    let flags = cluster_cidr_flags();
    let name = node_name(1);
    let flags = flags.iter().map(String::as_str);
    let flags: Vec<&str> = flags.chain(["--hostname-override", &name]).collect();
    let by_agent = vec!["diff", "--admin-socket", &socket];
    let by_manifests = [&["diff", "--from-manifests", &manifests], &flags[..]].concat();
    let by_cluster = ["diff", "--from-cluster", "--kubeconfig", &kubeconfig];
    let by_cluster = [&by_cluster, &flags[..]].concat();
    let equal = |cluster: &Cluster, words: &[&str]| -> Result<()> {
        let (status, told) = ask(cluster, words)?;
        ensure!(
            status == Some(0),
            "{words:?} ends with {status:?}: {told:#}"
        );
        ensure!(told["objects"].as_u64() > Some(50), "{told:#}");
        Ok(())
    };
    equal(cluster, &by_agent)?;
    equal(cluster, &by_manifests)?;
    equal(cluster, &by_cluster)?;
    cluster.stop_agent(1)?;
    equal(cluster, &by_manifests)?;
    equal(cluster, &by_cluster)?;
    let (status, error) = (command(cluster, &by_agent)?.output()?.status, "no agent");
    ensure!(status.code() == Some(2), "{error}: {status}");

    let address = services()[0].cluster_ip(ferrule::model::IpFamily::V4);
    let key = format!("{address} . tcp . {}", services()[0].port);
    for nft in [
        format!("delete element ip ferrule services {{ {key} }}"),
        "add rule ip ferrule services counter".to_owned(),
    ] {
        let node = cluster.topology.namespace(Place::Node(1))?;
        let done = node.command("nft").arg(&nft).status()?;
        ensure!(done.success(), "nft {nft}");
    }
    for words in [&by_manifests, &by_cluster] {
        let (status, told) = ask(cluster, words)?;
        let named = |kind: &str, name: &str| {
            let all = told["differences"].as_array().into_iter().flatten();
            let mut all = all.filter(|d| d["kind"] == kind && d["name"] == name);
            all.next().is_some()
        };
        let found = named("element", &format!("services {key}")) && named("chain", "services");
        ensure!(status == Some(1) && found, "{words:?}: {told:#}");
        ensure!(
            told["differences"].as_array().map(Vec::len) == Some(2),
            "{told:#}"
        );
    }
    cluster.start_agent(1, &cluster_cidr_flags())?;
    cluster.settle()?;
    equal(cluster, &by_agent)?;
    clear(cluster)
}

/// A packet that is sent for it ends as the tracer says, from everywhere; and a program that is
/// killed meanwhile leaves no table and no link.
pub(super) fn probes(cluster: &mut Cluster) -> Result<()> {
    apply(cluster, &services())?;
    let family = ferrule::model::IpFamily::ALL;
    for family in family {
        let all = services();
        let web = std::net::SocketAddr::new(all[0].cluster_ip(family), all[0].port);
        let unused = std::net::SocketAddr::new(web.ip(), 9_999);
        for (from, to, verdict) in [
            ("node", web, "forwarded"),
            ("pod", web, "forwarded"),
            ("outside", web, "forwarded"),
            ("node", unused, "dropped"),
            ("pod", unused, "dropped"),
        ] {
            for protocol in ["tcp", "udp"] {
                let to = format!("{to}/{protocol}");
                let (status, told) = ask(cluster, &["trace", from, &to, "--probe"])?;
                let kernel = &told["kernel"]["verdict"];
                let right = status == Some(0) && *kernel == verdict && told["agrees"] != false;
                ensure!(right, "{from} to {to}: {told:#}");
            }
        }
    }
    killed(cluster)?;
    clear(cluster)
}

fn killed(cluster: &Cluster) -> Result<()> {
    let to = format!(
        "{}:9/udp",
        services()[0].cluster_ip(ferrule::model::IpFamily::V4)
    );
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(60) {
        let mut child = command(cluster, &["trace", "outside", &to, "--probe"])?
            .stdout(Stdio::null())
            .spawn()?;
        let mut seen = false;
        while !seen && child.try_wait()?.is_none() {
            seen = !left(cluster)?.is_empty();
        }
        let over = child.try_wait()?.is_some();
        child.kill()?;
        child.wait()?;
        if !seen || over {
            continue;
        }
        let killed = Instant::now();
        loop {
            let left = left(cluster)?;
            match (left.is_empty(), killed.elapsed() > Duration::from_secs(20)) {
                (true, _) => return Ok(()),
                (false, true) => bail!("killed, it has left {left:?}"),
                (false, false) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }
    bail!("no probe was caught in the act")
}

/// Tables and links of a probe that are on node 1.
fn left(cluster: &Cluster) -> Result<Vec<String>> {
    let node = cluster.topology.namespace(Place::Node(1))?;
    let tables = node.command("nft").args(["list", "tables"]).output()?;
    let links = node.command("ip").args(["-o", "link"]).output()?;
    let lines = [tables.stdout, links.stdout].concat();
    let lines = String::from_utf8_lossy(&lines).into_owned();
    let own = lines.lines().filter(|l| l.contains("ferrule-"));
    Ok(own.map(str::to_owned).collect())
}
