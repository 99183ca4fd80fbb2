// SPDX-License-Identifier: Apache-2.0
//! Cold start, changes, memory.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use ferrule::backend::ipvs::{Ipvs, Service as Virtual, ServiceKey};
use ferrule::model::IpFamily;
use ferrule_conformance::netns::cluster_ip;
use ferrule_conformance::object::cluster;
use serde_json::{Value, json};

use crate::node::{Node, is_ours};

/// How long a start or a change may take. kube-proxy starts `ipset` once for each Service, and a
/// change waits for that.
const PATIENCE: Duration = Duration::from_secs(3_600);
/// How often the kernel is asked during a start. Asking costs processor time of the same machine.
const LOOK: Duration = Duration::from_millis(500);
/// Endpoints count up from here; those that come later from the other.
const PODS: Ipv4Addr = Ipv4Addr::new(10, 128, 0, 0);
const LATE_PODS: Ipv4Addr = Ipv4Addr::new(10, 112, 0, 0);

/// How much there is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) services: u16,
    pub(crate) endpoints: u16,
    pub(crate) changes: u16,
}

/// What was measured.
#[derive(Debug, Default)]
struct Numbers {
    servers: f64,
    cold: f64,
    processor: f64,
    memory: f64,
    change: f64,
    worst: f64,
    change_processor: f64,
    memory_after: f64,
}

/// A line of the table: its name, and what it shows.
type Line = (&'static str, fn(&Numbers) -> f64);

/// Measures each, and prints a table.
pub(crate) fn run(proxies: &[PathBuf], size: Size) -> Result<()> {
    let mut all: Vec<(String, Numbers)> = Vec::new();
    for program in proxies {
        let name = program
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        eprintln!("==> {name}: {size:?}");
        let numbers = measure(program, size)?;
        // Lest they be lost if the next one fails.
        eprintln!("{name}: {numbers:.2?}");
        all.push((name, numbers));
    }
    print(&all);
    Ok(())
}

fn print(all: &[(String, Numbers)]) {
    let rows: [Line; 8] = [
        ("all virtual servers, s", |n| n.servers),
        ("cold start, s", |n| n.cold),
        ("its processor time, s", |n| n.processor),
        ("RSS after it, MiB", |n| n.memory),
        ("one endpoint replaced, median, ms", |n| n.change),
        ("the longest, ms", |n| n.worst),
        ("processor time of each, ms", |n| n.change_processor),
        ("RSS after all, MiB", |n| n.memory_after),
    ];
    for (label, value) in rows {
        let mut line = format!("{label:36}");
        let first = all.first().map_or(0.0, |(_, n)| value(n));
        for (name, numbers) in all {
            let number = value(numbers);
            line += &format!(" {name} {number:.2}");
            if number != first {
                line += &format!(" ({:.1} times)", number / first);
            }
        }
        println!("{line}");
    }
}

fn measure(program: &Path, size: Size) -> Result<Numbers> {
    let mut objects = cluster(1);
    objects.extend((0..size.services).flat_map(|n| [service(n), slice(n, size, None)]));
    let mut node = Node::new(objects)?;
    let mut kernel = node.namespace.enter(|| Ok(Ipvs::open()?))?;
    let begun = Instant::now();
    node.start(program)?;
    while !complete(&mut kernel, size)? {
        node.check()?;
        ensure!(
            begun.elapsed() < PATIENCE,
            "not programmed after {PATIENCE:?}:\n{}",
            node.log()
        );
        std::thread::sleep(LOOK);
    }
    let servers = begun.elapsed().as_secs_f64();
    while !is_ours(program) && !node.has_cluster_ips(size.services)? {
        node.check()?;
        ensure!(begun.elapsed() < PATIENCE, "no sets:\n{}", node.log());
        std::thread::sleep(2 * LOOK);
    }
    let mut numbers = Numbers {
        servers,
        cold: begun.elapsed().as_secs_f64(),
        processor: node.processor()?.as_secs_f64(),
        memory: node.memory()?,
        ..Numbers::default()
    };
    // What follows a start, as further full synchronizations, is over.
    std::thread::sleep(Duration::from_secs(5));
    let before = node.processor()?;
    let mut times = Vec::new();
    for n in 0..size.changes {
        times.push(change(&mut node, &mut kernel, size, n)?);
    }
    times.sort();
    let used = (node.processor()? - before).as_secs_f64();
    numbers.change_processor = 1_000.0 * used / f64::from(size.changes);
    numbers.change = 1_000.0 * times[times.len() / 2].as_secs_f64();
    numbers.worst = 1_000.0 * times.last().map_or(0.0, Duration::as_secs_f64);
    numbers.memory_after = node.memory()?;
    Ok(numbers)
}

/// Whether the kernel has all virtual servers with all destinations.
fn complete(kernel: &mut Ipvs, size: Size) -> Result<bool> {
    let services = kernel.services()?;
    if services.len() < usize::from(size.services) {
        return Ok(false);
    }
    for service in &services {
        if kernel.destinations(&service.key)?.len() < usize::from(size.endpoints) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Replaces an endpoint of a Service and waits until the kernel has the new one.
fn change(node: &mut Node, kernel: &mut Ipvs, size: Size, n: u16) -> Result<Duration> {
    let (vip, late) = (cluster_ip(IpFamily::V4, 1_000 + n), late(n));
    let at_vip =
        |s: &&Virtual| matches!(s.key, ServiceKey::Address { address, .. } if address.ip() == vip);
    let services = kernel.services()?;
    let Some(service) = services.iter().find(at_vip) else {
        bail!("no virtual server at {vip}");
    };
    let begun = Instant::now();
    node.api.put(slice(n, size, Some(late)))?;
    loop {
        let all = kernel.destinations(&service.key)?;
        if all.iter().any(|d| d.address.ip() == late && d.weight > 0) {
            // The next change is no part of this one's synchronization.
            let took = begun.elapsed();
            std::thread::sleep(Duration::from_millis(500));
            return Ok(took);
        }
        node.check()?;
        ensure!(
            begun.elapsed() < PATIENCE,
            "no {late} after {PATIENCE:?}:\n{}",
            node.log()
        );
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn count_from(start: Ipv4Addr, n: u32) -> IpAddr {
    Ipv4Addr::from(u32::from(start) + n).into()
}

fn late(n: u16) -> IpAddr {
    count_from(LATE_PODS, u32::from(n))
}

fn metadata(name: String) -> Value {
    json!({ "name": name, "namespace": "bench", "creationTimestamp": "2026-01-01T00:00:00Z" })
}

fn service(n: u16) -> Value {
    let vip = cluster_ip(IpFamily::V4, 1_000 + n);
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": metadata(format!("s{n}")),
        "spec": {
            "type": "ClusterIP", "clusterIP": vip, "clusterIPs": [vip], "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack", "internalTrafficPolicy": "Cluster",
            "sessionAffinity": "None",
            "ports": [{ "name": "http", "protocol": "TCP", "port": 80, "targetPort": 8080 }],
        },
    })
}

/// The endpoints of a Service, the first of them another one if there is one.
fn slice(n: u16, size: Size, first: Option<IpAddr>) -> Value {
    let usual = |i: u16| count_from(PODS, 256 * u32::from(n) + u32::from(i));
    let address = |i: u16| first.filter(|_| i == 0).unwrap_or_else(|| usual(i));
    let endpoint = |i: u16| {
        json!({
            "addresses": [address(i)], "nodeName": format!("node-{}", i % 100),
            "conditions": { "ready": true, "serving": true, "terminating": false },
        })
    };
    let mut metadata = metadata(format!("s{n}-1"));
    metadata["labels"] = json!({ "kubernetes.io/service-name": format!("s{n}") });
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata,
        "addressType": "IPv4",
        "ports": [{ "name": "http", "protocol": "TCP", "port": 8080 }],
        "endpoints": (0..size.endpoints).map(endpoint).collect::<Vec<_>>(),
    })
}
