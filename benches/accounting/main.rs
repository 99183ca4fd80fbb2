// SPDX-License-Identifier: Apache-2.0
//! What accounting costs: CPU time per connection with and without it, in interleaved pairs.
//!
//! A client and a server, each in a network namespace of its own, and the agent in a third one
//! between them. A half of a pair makes connections through a Service, then ends all flows, so that
//! their events are told within it. Counted is the CPU time of client, server and the kernel's work
//! for them, and of the agent. Needs root.
//!
//! A connection of load `http` is a request of `ab` to nginx for a file of 1,000 bytes; one of load
//! `bare` has no more than 100 bytes there and 1,000 back, between two loops that do nothing else.
//!
//! `taskset -c 1 cargo bench --bench accounting -- --pairs 30 --flows 4000 --load bare`

mod net;
mod stats;

use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use ferrule::debug::client;
use ferrule::observe::accounting::AccountingView;

use self::net::{Load, Network};
use self::stats::Interval;

/// How long the agent has to take in what has ended: several times its period.
const SETTLE: Duration = Duration::from_millis(800);

/// What accounting costs.
#[derive(Debug, Parser)]
struct Arguments {
    /// Pairs with and without accounting
    #[arg(long, default_value_t = 30)]
    pairs: usize,
    /// Connections of each half
    #[arg(long, default_value_t = 4000)]
    flows: usize,
    /// One in how many connections is counted (`--accounting-sample`)
    #[arg(long, default_value_t = 16)]
    sample: u32,
    /// What a connection is
    #[arg(long, value_enum, default_value_t = Load::Http)]
    load: Load,
    /// The agent, in place of the one that cargo has built
    #[arg(long, default_value = env!("CARGO_BIN_EXE_ferrule"))]
    binary: std::path::PathBuf,
    /// What cargo adds
    #[arg(long, hide = true)]
    bench: bool,
}

/// One half of a pair, nanoseconds of CPU for each connection.
#[derive(Debug, Clone, Copy)]
struct Half {
    total: f64,
    agent: f64,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let scratch = tempfile::tempdir()?;
    let network = Network::build(arguments.load, scratch.path())?;
    fs::write(scratch.path().join("objects.yaml"), OBJECTS)?;
    let (mut off, mut on) = (Vec::new(), Vec::new());
    half(&network, scratch.path(), &arguments, true)?;
    for pair in 0..arguments.pairs {
        // Which of them comes first takes turns, so that a drift does not count for one of them.
        for accounting in [pair % 2 == 0, pair % 2 != 0] {
            let half = half(&network, scratch.path(), &arguments, accounting)?;
            if accounting { &mut on } else { &mut off }.push(half);
        }
        eprintln!("pair {}: off {:?}, on {:?}", pair + 1, off[pair], on[pair]);
    }
    report(&arguments, &off, &on);
    living(&network, scratch.path(), &arguments)
}

fn report(arguments: &Arguments, off: &[Half], on: &[Half]) {
    let mean = |halves: &[Half], of: fn(&Half) -> f64| {
        halves.iter().map(of).sum::<f64>() / halves.len() as f64 / 1000.0
    };
    let ratios: Vec<f64> = off
        .iter()
        .zip(on)
        .map(|(off, on)| (on.total - off.total) / off.total * 100.0)
        .collect();
    let interval = Interval::of(&ratios);
    println!(
        "{} pairs of {} connections, {:?}",
        arguments.pairs, arguments.flows, arguments.load
    );
    println!("off: {:.2} us of CPU a connection", mean(off, |h| h.total));
    println!(
        "on:  {:.2} us, of it {:.2} us the agent's (off: {:.2} us)",
        mean(on, |h| h.total),
        mean(on, |h| h.agent),
        mean(off, |h| h.agent)
    );
    println!(
        "accounting costs {:.2} %, 95 % interval {:.2} to {:.2} %, median {:.2} %",
        interval.mean, interval.low, interval.high, interval.median
    );
}

/// Runs one half.
fn half(
    network: &Network,
    scratch: &std::path::Path,
    arguments: &Arguments,
    accounting: bool,
) -> Result<Half> {
    let agent = Agent::start(arguments, scratch, accounting)?;
    network.connect(100)?;
    net::flush()?;
    thread::sleep(SETTLE);
    let before = (network.cpu()?, agent.cpu()?);
    network.connect(arguments.flows)?;
    net::flush()?;
    let ends = network.cpu()? - before.0;
    thread::sleep(SETTLE);
    let agent_cpu = agent.cpu()? - before.1;
    if accounting {
        let sums: AccountingView = client::get(&scratch.join("admin.sock"), "/accounting")?;
        let web = sums.services.first().context("nothing was counted")?;
        let made = arguments.flows as f64 + 100.0;
        // `ab` may begin a few that it does not need in the end; the sample is one of clients'
        // ports, which are used again and again.
        let error = (f64::from(arguments.sample - 1) * made).sqrt() * 8.0 + 16.0;
        let counted = web.total.connections as f64;
        ensure!(
            (counted - made).abs() <= error && web.total.bytes_out as f64 > counted * 1000.0,
            "counted {web:?}"
        );
    }
    let per_flow = |nanoseconds: u64| nanoseconds as f64 / arguments.flows as f64;
    Ok(Half {
        total: per_flow(ends + agent_cpu),
        agent: per_flow(agent_cpu),
    })
}

/// What counting flows that live costs the agent.
fn living(network: &Network, scratch: &std::path::Path, arguments: &Arguments) -> Result<()> {
    let agent = Agent::start(arguments, scratch, true)?;
    network.connect(arguments.flows)?;
    let before = agent.cpu()?;
    for _ in 0..10 {
        let _: AccountingView = client::get(&scratch.join("admin.sock"), "/accounting")?;
    }
    let cost = (agent.cpu()? - before) as f64 / 10.0 / arguments.flows as f64 / 1000.0;
    println!("counting flows that live costs the agent {cost:.2} us of CPU each");
    net::flush()
}

/// The agent. Killed when dropped.
struct Agent(Child);

impl Agent {
    fn start(arguments: &Arguments, scratch: &std::path::Path, accounting: bool) -> Result<Self> {
        // An agent leaves the setting as it is when it ends.
        fs::write("/proc/sys/net/netfilter/nf_conntrack_acct", "0")?;
        let log = scratch.join("log");
        let child = Command::new(&arguments.binary)
            .args([
                "--hostname-override",
                "node-1",
                "--cluster-cidr",
                "10.244.0.0/16",
            ])
            .arg("--manifests")
            .arg(scratch)
            .arg("--admin-socket")
            .arg(scratch.join("admin.sock"))
            .arg(format!("--accounting={accounting}"))
            .arg(format!("--accounting-sample={}", arguments.sample))
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log)?)
            .spawn()?;
        let agent = Self(child);
        let begun = Instant::now();
        while !fs::read_to_string(&log)?.contains("in step") {
            ensure!(
                begun.elapsed() < Duration::from_secs(20),
                "the agent does not start"
            );
            thread::sleep(Duration::from_millis(10));
        }
        Ok(agent)
    }

    /// CPU time of all its threads, those that have ended too, nanoseconds.
    fn cpu(&self) -> Result<u64> {
        net::process(self.0.id())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const OBJECTS: &str = "
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec:
  clusterIP: 10.96.0.10
  clusterIPs: [10.96.0.10]
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080, protocol: TCP}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: default, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
endpoints: [{addresses: [10.244.2.2], conditions: {ready: true}, nodeName: node-1}]
ports: [{port: 8080, protocol: TCP}]
";
