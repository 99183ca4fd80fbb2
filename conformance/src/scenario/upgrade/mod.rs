// SPDX-License-Identifier: Apache-2.0
//! An agent of another version ran before: upgrade, downgrade, restart and SIGKILL, in the midst of
//! a commit as well. Clients connect all the while, connections that are open go on, and sticky
//! clients stay where they are.
//!
//! What another version leaves is a table, so that is what the tests put there, in one commit, as
//! that version's start would: recorded ones, and ones that differ from those in every way that
//! could matter. `UPGRADE_ROUNDS` (1) says how often. `UPGRADE_RECORD=FILE` writes today's tables
//! there, for the versions to come.

mod layout;
mod talk;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use ferrule::backend::nft::Kernel;
use ferrule::model::{IpFamily, Protocol};

use self::layout::Layout;
use self::talk::Talk;
use super::lifecycle::{Monitor, healthy};
use super::load::Load;
use super::{apply, at, clear, connect, endpoints, number};
use crate::agent;
use crate::case::{From, host, outside, pod};
use crate::cases::cluster_cidr_flags;
use crate::cluster::Cluster;
use crate::netns::Namespace;
use crate::object::{Kind, PORT, Service, ready, service};

/// Fewer connections a second would prove little.
const RATE: f64 = 200.0;
/// How long an agent may take to come into step.
const PATIENCE: Duration = Duration::from_secs(60);
/// Sticky clients of each start.
const CLIENTS: u16 = 24;
/// How many starts are killed around the moment of their commits, each round.
const KILLS: usize = 6;
/// Services that make the commits longer that are killed.
const BULK: u16 = 250;

fn numbered(id: u16, service: Service) -> Service {
    Service {
        id,
        namespace: "scenario",
        ..service
    }
}

/// A plain one, a sticky one, and one whose connections stay open.
fn services() -> [Service; 3] {
    let pods = || ["1a", "2a", "3a"].map(ready);
    let plain = service("plain", pods()).kind(Kind::LoadBalancer);
    let sticky = service("sticky", pods()).kind(Kind::LoadBalancer);
    [
        numbered(970, plain),
        numbered(971, sticky.sticky(10_800)),
        numbered(972, talk::service()),
    ]
}

/// Nobody dials them.
fn bulk() -> Vec<Service> {
    let make = |n| numbered(2_200 + n, service(name(n), ["1a", "2a", "3a"].map(ready)));
    (0..BULK).map(make).collect()
}

/// Names live as long as the process, as all of them are constants but these.
fn name(n: u16) -> &'static str {
    format!("bulk-{n}").leak()
}

fn targets(services: &[Service]) -> Vec<(From, SocketAddr)> {
    let mut targets = Vec::new();
    for service in services {
        for family in IpFamily::ALL {
            let cluster_ip = at(service.cluster_ip(family), PORT);
            targets.extend([(pod("1b"), cluster_ip), (host(1), cluster_ip)]);
            let balanced = service.load_balancer_ip(family);
            targets.extend(balanced.map(|ip| (outside(1), at(ip, PORT))));
        }
    }
    targets
}

/// How the agent before ends.
#[derive(Debug, Clone, Copy)]
enum End {
    Stop,
    Kill,
}

struct Stage<'a> {
    cluster: &'a mut Cluster,
    kernel: Kernel,
    /// The first sticky client that nobody has seen yet.
    client: u16,
}

impl Stage<'_> {
    fn node(&self) -> &Namespace {
        &self.cluster.topology.nodes[0]
    }

    fn end(&mut self, how: End) -> Result<()> {
        match how {
            End::Stop => self.cluster.stop_agent(1),
            End::Kill => {
                self.cluster.kill_agent(1);
                Ok(())
            }
        }
    }

    fn start(&mut self) -> Result<()> {
        self.cluster.start_agent(1, &cluster_cidr_flags())
    }

    /// Where sticky clients are served.
    fn homes(&self, clients: Range<u16>) -> Result<Vec<String>> {
        let mut homes = Vec::new();
        for family in IpFamily::ALL {
            let [_, sticky, _] = services();
            let to = at(sticky.load_balancer_ip(family).context("an address")?, PORT);
            let from = clients.clone().map(|k| outside(1).alias(k));
            homes.extend(endpoints(&connect(self.cluster, from, to, Protocol::Tcp)?)?);
        }
        Ok(homes)
    }

    /// Waits until the kernel holds what the manifests ask for.
    fn in_step(&self) -> Result<()> {
        let manifests = self.cluster.manifests();
        agent::in_step((self.node(), 1), &["--from-manifests"], &manifests, || {
            self.cluster.logs()
        })
    }

    /// Another version takes over, remembers clients, and today's comes (back).
    fn there_and_back(&mut self, layout: &Layout, how: End) -> Result<()> {
        self.end(how)?;
        self.node().nft(&layout.text)?;
        let clients = self.client..self.client + CLIENTS;
        self.client += CLIENTS;
        let before = self.homes(clients.clone())?;
        self.start()?;
        healthy(self.node())?;
        self.in_step()?;
        let after = self.homes(clients)?;
        let stayed = before.iter().zip(&after).filter(|(b, a)| b == a).count();
        println!(
            "    {}: {stayed} of {} sticky clients stayed",
            layout.name,
            before.len()
        );
        ensure!(stayed == before.len(), "{before:?} became {after:?}");
        self.restart_is_nothing()
    }

    /// What has been taken over is ours: the next start writes nothing.
    fn restart_is_nothing(&mut self) -> Result<()> {
        self.end(End::Stop)?;
        let mut monitor = Monitor::start(self.node())?;
        self.start()?;
        healthy(self.node())?;
        let seen = monitor.seen()?;
        let taken_over = |line: &str| line.starts_with("add table") || line.starts_with('#');
        ensure!(seen.lines().all(taken_over), "a restart committed:\n{seen}");
        Ok(())
    }

    /// Starts on another version's table, and returns its generation.
    fn start_on(&mut self, layout: &Layout) -> Result<u32> {
        self.end(End::Kill)?;
        self.node().nft(&layout.text)?;
        let generation = self.kernel.generation()?;
        self.start()?;
        Ok(generation)
    }

    /// Waits for the first commit after a generation, and returns how long that took.
    fn first_commit(&mut self, generation: u32) -> Result<Duration> {
        let begun = Instant::now();
        while self.kernel.generation()? == generation {
            ensure!(begun.elapsed() < PATIENCE, "nothing is committed");
        }
        Ok(begun.elapsed())
    }

    /// Starts are killed around the moment of their first commit: half of them by the clock, half
    /// of them as soon as it shows.
    fn killed(&mut self, layout: &Layout, rng: &mut Rng) -> Result<()> {
        let generation = self.start_on(layout)?;
        let first = self.first_commit(generation)?;
        healthy(self.node())?;
        self.in_step()?;
        let commits = self.kernel.generation()? - generation;
        let mut killed = BTreeMap::new();
        for n in 0..KILLS {
            let generation = self.start_on(layout)?;
            match n % 2 {
                0 => drop(self.first_commit(generation)?),
                _ => sleep(first.mul_f64(0.85 + 0.3 * rng.f64())),
            }
            self.cluster.kill_agent(1);
            let when = match self.kernel.generation()? - generation {
                0 => "before",
                done if done < commits => "in the midst",
                _ => "after",
            };
            *killed.entry(when).or_insert(0) += 1;
            self.start()?;
            healthy(self.node())?;
            self.in_step()?;
        }
        println!("    killed around the {commits} commits of a start: {killed:?}");
        Ok(())
    }
}

/// See the module.
pub(super) fn versions(cluster: &mut Cluster) -> Result<()> {
    let _servers = talk::servers(cluster)?;
    apply(cluster, &services())?;
    record(&cluster.topology.nodes[0])?;
    let targets = targets(&services()[..2]);
    // At first neighbours have to be found, which takes IPv6 longer than our patience.
    let both = [Protocol::Tcp, Protocol::Udp];
    Load::start_in(&both, &cluster.topology, &targets)?.stop()?;
    let talk = Talk::start(cluster, &services()[2])?;
    let clients = Load::start_in(&both, &cluster.topology, &targets)?;
    let kernel = cluster.topology.nodes[0].enter(|| Ok(Kernel::open()?))?;
    let mut stage = Stage {
        cluster,
        kernel,
        client: 1,
    };
    let layouts = layout::all();
    let rng = &mut Rng::with_seed(1);
    for round in 0..number("UPGRADE_ROUNDS", 1)? as usize {
        for (n, layout) in layouts.iter().enumerate() {
            let how = [End::Stop, End::Kill][(round + n) % 2];
            let what = || format!("{}, {how:?}", layout.name);
            stage.there_and_back(layout, how).with_context(what)?;
        }
        stage.cluster.write_services("bulk", &bulk())?;
        stage.in_step()?;
        stage.killed(&layouts[round % layouts.len()], rng)?;
        stage.cluster.remove("bulk");
        stage.in_step()?;
    }
    let (tally, talk) = (clients.stop()?, talk.stop()?);
    println!("    {tally}");
    println!("    {talk}");
    ensure!(tally.failed == 0, "{tally}");
    ensure!(tally.rate() >= RATE, "too few to prove anything: {tally}");
    ensure!(talk.broken.is_empty(), "{talk}");
    clear(cluster)
}

fn record(node: &Namespace) -> Result<()> {
    let Some(path) = std::env::var_os("UPGRADE_RECORD") else {
        return Ok(());
    };
    let mut text = String::new();
    for family in ["ip", "ip6"] {
        let output = node
            .command("nft")
            .args(["list", "table", family, "ferrule"])
            .output()?;
        text += &String::from_utf8(output.stdout)?;
    }
    std::fs::write(path, text)?;
    Ok(())
}
