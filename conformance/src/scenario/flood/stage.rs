// SPDX-License-Identifier: Apache-2.0
//! A node with an agent that follows an API server, and what changes there.

use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use fastrand::Rng;
use ferrule::backend::nft::Kernel;
use procfs::process::Process;

use super::objects::{Endpoint, service, slice};
use super::probe::{Asker, Probe};
use super::{Wave, evenly};
use crate::agent::{self, Agent};
use crate::cases::cluster_cidr_flags;
use crate::cluster::Cluster;
use crate::netns::Namespace;
use crate::object;
use crate::scenario::lifecycle::healthy;
use crate::stub::Stub;

/// Endpoints of a Service.
const EACH: usize = 10;
/// Endpoints of the Service that is updated, and of the slice that flaps.
const MANY: u32 = 1_000;
/// As the EndpointSlice controller fills slices.
const PER_SLICE: usize = 100;
/// Endpoints that a rolling update replaces at a time (`maxSurge` and `maxUnavailable`).
const STEP: usize = 25;
/// How often endpoints become ready, and unready again.
const FLAPS: usize = 20;

/// See the module.
pub(super) struct Stage<'a> {
    // The agent ends first.
    agent: Agent,
    asker: Option<Asker>,
    cluster: &'a Cluster,
    api: Stub,
    rng: Rng,
    /// Endpoints of each Service, from Service 1 on.
    services: Vec<[u32; EACH]>,
    /// The next endpoint that nobody has had.
    next: u32,
}

fn kubeconfig(cluster: &Cluster) -> PathBuf {
    cluster.directory().join("flood.conf")
}

fn ready(endpoints: &[u32]) -> Vec<Endpoint> {
    endpoints.iter().map(|n| (*n, true)).collect()
}

impl<'a> Stage<'a> {
    /// Ends the cluster's own agents, and starts one that follows an API server with so many
    /// Services.
    pub(super) fn set(cluster: &'a mut Cluster, count: u16) -> Result<Self> {
        cluster.stop_all();
        let node = &cluster.topology.nodes[0];
        let mut objects = object::cluster(1);
        let first = |i: u16| -> [u32; EACH] {
            std::array::from_fn(|e| u32::from(i) * EACH as u32 + e as u32)
        };
        let services: Vec<_> = (0..count).map(first).collect();
        for (i, endpoints) in (1..).zip(&services) {
            objects.extend([service(i), slice(i, 0, &ready(endpoints))]);
        }
        // One to ask about, one that is updated, and one that flaps.
        objects.extend([1, 2, 3].map(|more| service(count + more)));
        let api = node.enter(|| Stub::start(objects))?;
        let kubeconfig = kubeconfig(cluster);
        api.write_kubeconfig(&kubeconfig)?;
        let source = ["--kubeconfig".to_owned(), kubeconfig.display().to_string()];
        let agent = Agent::start(node, 1, &source, cluster.directory(), &cluster_cidr_flags())?;
        healthy(node).with_context(|| agent.tail(8))?;
        let next = u32::from(count) * EACH as u32;
        let mut asker = Asker {
            api: api.clone(),
            kernel: node.enter(|| Ok(Kernel::open()?))?,
            service: count + 1,
            // Far from the others' endpoints.
            next: 1 << 21,
        };
        asker.ask()?;
        Ok(Self {
            agent,
            asker: Some(asker),
            cluster,
            api,
            rng: Rng::with_seed(1),
            services,
            next,
        })
    }

    fn node(&self) -> &'a Namespace {
        &self.cluster.topology.nodes[0]
    }

    /// The agent's resident memory, KiB.
    pub(super) fn memory(&self) -> Result<u64> {
        let status = Process::new(self.agent.id() as i32)?.status()?;
        status.vmrss.context("no VmRSS")
    }

    /// Does something while the kernel is asked how late it is. What is done returns how many
    /// objects it wrote, and calls its argument now and then.
    fn wave(
        &mut self,
        run: impl FnOnce(&mut Self, &mut dyn FnMut(&Self) -> Result<()>) -> Result<usize>,
    ) -> Result<Wave> {
        let mut asker = self.asker.take().context("nobody asks")?;
        let generation = asker.kernel.generation()?;
        let (probe, begun) = (Probe::start(asker), Instant::now());
        let (mut memory, mut sampled) = (vec![self.memory()?], Instant::now());
        let mut sample = |stage: &Self| {
            if sampled.elapsed() > Duration::from_millis(200) {
                sampled = Instant::now();
                memory.push(stage.memory()?);
            }
            Ok(())
        };
        let done = run(self, &mut sample);
        let took = begun.elapsed();
        let (mut asker, lags) = probe.stop().with_context(|| self.agent.tail(8))?;
        memory.push(self.memory()?);
        let commits = asker.kernel.generation()? - generation;
        self.asker = Some(asker);
        Ok(Wave {
            events: done?,
            took,
            commits,
            lags,
            memory,
        })
    }

    /// Endpoints of Services are replaced, one after the other.
    pub(super) fn changes(&mut self, length: Duration, rate: u64) -> Result<Wave> {
        self.wave(|stage, sample| {
            evenly(rate, length, || {
                sample(stage)?;
                stage.change()
            })
        })
    }

    fn change(&mut self) -> Result<()> {
        let which = self.rng.usize(..self.services.len());
        let endpoints = &mut self.services[which];
        endpoints[self.rng.usize(..EACH)] = self.next;
        self.next += 1;
        let object = slice(which as u16 + 1, 0, &ready(endpoints));
        self.api.put(object)
    }

    /// Endpoints that nobody has had.
    fn fresh(&mut self, count: u32) -> Vec<u32> {
        self.next += count;
        (self.next - count..self.next).collect()
    }

    /// All endpoints of a Service are replaced, some at a time, in slices of a hundred.
    pub(super) fn rolling_update(&mut self) -> Result<Wave> {
        let service = self.services.len() as u16 + 2;
        self.wave(|stage, sample| {
            let (mut now, after) = (stage.fresh(MANY), stage.fresh(MANY));
            let mut written = 0;
            let write = |stage: &Self, now: &[u32], part: usize| {
                let from = part * PER_SLICE;
                let endpoints = ready(&now[from..from + PER_SLICE]);
                stage.api.put(slice(service, part, &endpoints))
            };
            for part in 0..now.len() / PER_SLICE {
                write(stage, &now, part)?;
                written += 1;
            }
            for start in (0..now.len()).step_by(STEP) {
                now[start..start + STEP].copy_from_slice(&after[start..start + STEP]);
                write(stage, &now, start / PER_SLICE)?;
                written += 1;
                sample(stage)?;
                sleep(Duration::from_millis(50));
            }
            Ok(written)
        })
    }

    /// A slice with a thousand endpoints, of which half are ready at one time and half at another,
    /// then none, then all.
    pub(super) fn flapping(&mut self) -> Result<Wave> {
        let service = self.services.len() as u16 + 3;
        self.wave(|stage, sample| {
            let all = stage.fresh(MANY);
            for flap in 0..=FLAPS {
                let is_ready = |n: u32| match flap % 4 {
                    0 => true,
                    1 => n.is_multiple_of(2),
                    2 => false,
                    _ => !n.is_multiple_of(2),
                };
                let endpoints: Vec<Endpoint> = all.iter().map(|n| (*n, is_ready(*n))).collect();
                stage.api.put(slice(service, 0, &endpoints))?;
                sample(stage)?;
                sleep(Duration::from_millis(100));
            }
            Ok(FLAPS + 1)
        })
    }

    /// In the end the kernel holds what a fresh start would program.
    pub(super) fn check(&self) -> Result<()> {
        let source = ["--from-cluster", "--kubeconfig"];
        let path = kubeconfig(self.cluster);
        agent::in_step((self.node(), 1), &source, &path, || self.agent.tail(8))?;
        println!("    the last state is a fresh start's");
        Ok(())
    }
}
