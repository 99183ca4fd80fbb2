// SPDX-License-Identifier: Apache-2.0
//! Connections that stay open, and over which bytes go all the time.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use ferrule::model::IpFamily;

use crate::case::{host, outside, pod};
use crate::cluster::Cluster;
use crate::object::{self, Kind, PORT, Service, ready};
use crate::scenario::at;
use crate::scenario::held::{Echo, Held, Told};

/// Longest silence of a connection that is well, on a busy machine.
const SILENCE: Duration = Duration::from_secs(5);
const PODS: [&str; 2] = ["1a", "2a"];

/// The Service, still without a number.
pub(super) fn service() -> Service {
    let endpoints = PODS.map(|pod| ready(pod).own_port());
    object::service("talk", endpoints).kind(Kind::LoadBalancer)
}

/// Its servers.
pub(super) fn servers(cluster: &Cluster) -> Result<Vec<Echo>> {
    PODS.into_iter()
        .map(|pod| Echo::start(cluster, pod))
        .collect()
}

/// What became of them.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Questions that were answered.
    answered: usize,
    /// How many connections there were.
    connections: usize,
    /// The longest that an answer took.
    longest: Duration,
    /// Those that have ended, and how.
    pub(super) broken: Vec<String>,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (broken, all) = (self.broken.len(), self.connections);
        let (answered, longest) = (self.answered, self.longest);
        write!(
            f,
            "{broken} of {all} open connections broke; {answered} answers, at most {longest:.1?} late"
        )?;
        self.broken.iter().try_for_each(|b| write!(f, "\n  {b}"))
    }
}

/// Clients that talk until they are stopped.
pub(super) struct Talk {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Outcome>,
}

impl Talk {
    /// Connects from everywhere.
    pub(super) fn start(cluster: &Cluster, service: &Service) -> Result<Self> {
        let mut all = Vec::new();
        for family in IpFamily::ALL {
            let balancer = service.load_balancer_ip(family).context("an address")?;
            for to in [service.cluster_ip(family), balancer] {
                for from in [pod("1b"), host(1), outside(1)] {
                    all.push(Held::open(cluster, from, at(to, PORT), from.via)?);
                }
            }
        }
        let stop = Arc::new(AtomicBool::new(false));
        let halted = stop.clone();
        let thread = thread::spawn(move || talk(all, &halted));
        Ok(Self { stop, thread })
    }

    /// Stops them.
    pub(super) fn stop(self) -> Result<Outcome> {
        self.stop.store(true, Ordering::Relaxed);
        let told = self.thread.join();
        told.map_err(|_| anyhow!("a client panicked"))
    }
}

fn talk(mut all: Vec<Held>, stop: &AtomicBool) -> Outcome {
    let mut told = Outcome {
        connections: all.len(),
        ..Outcome::default()
    };
    while !stop.load(Ordering::Relaxed) {
        all.retain_mut(|held| {
            let begun = Instant::now();
            let mut answer = held.ask();
            while matches!(answer, Ok(Told::Nothing)) && begun.elapsed() < SILENCE {
                answer = held.hear();
            }
            if let Ok(Told::By(_)) = answer {
                told.answered += 1;
                told.longest = told.longest.max(begun.elapsed());
                return true;
            }
            told.broken.push(format!("{}: {answer:?}", held.what));
            false
        });
        thread::sleep(Duration::from_millis(5));
    }
    told
}
