// SPDX-License-Identifier: Apache-2.0
//! Clients that never rest: new connections from everywhere to everything, while something happens.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use ferrule::model::{IpFamily, Protocol};

use crate::case::From;
use crate::client::{Answer, Attempt, dial};
use crate::netns::{Namespace, Topology};
use crate::pace::pace;

/// Longest wait for an answer. Less than the second after which TCP sends a lost SYN again: a
/// dropped packet is a failure here, even if the next one would get through. On an emulated machine,
/// which may take longer, UDP alone tells.
const PATIENCE: Duration = Duration::from_millis(900);
/// How often each place connects, and to how many frontends each time.
const TICK: Duration = Duration::from_millis(50);
const EACH: usize = 8;

/// What became of the connections.
#[derive(Debug, Default)]
pub(in crate::scenario) struct Tally {
    /// How many there were.
    pub(in crate::scenario) all: usize,
    /// How many were not answered by a server.
    pub(in crate::scenario) failed: usize,
    /// How long it went on.
    pub(in crate::scenario) took: Duration,
    /// The first failures, with when they began.
    examples: Vec<String>,
}

impl Tally {
    /// New connections a second.
    pub(in crate::scenario) fn rate(&self) -> f64 {
        self.all as f64 / self.took.as_secs_f64()
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (all, failed, rate) = (self.all, self.failed, self.rate());
        write!(
            f,
            "{failed} of {all} connections failed, {rate:.0} a second"
        )?;
        self.examples.iter().try_for_each(|e| write!(f, "\n  {e}"))
    }
}

/// Clients that connect all the time, until they are stopped.
#[derive(Debug)]
pub(in crate::scenario) struct Load {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Result<Tally>>>,
    begun: Instant,
    failed: Arc<AtomicUsize>,
}

impl Load {
    /// How many have failed so far.
    pub(in crate::scenario) fn failed(&self) -> usize {
        self.failed.load(Ordering::Relaxed)
    }

    /// Starts a client in each place, in all protocols, and lets them run for half a second.
    ///
    /// # Errors
    /// If a place is not there.
    pub(in crate::scenario) fn start(
        topology: &Topology,
        targets: &[(From, SocketAddr)],
    ) -> Result<Self> {
        Self::start_in(&Protocol::ALL, topology, targets)
    }

    /// The same in some protocols.
    ///
    /// # Errors
    /// If a place is not there.
    pub(in crate::scenario) fn start_in(
        protocols: &[Protocol],
        topology: &Topology,
        targets: &[(From, SocketAddr)],
    ) -> Result<Self> {
        let mut places: BTreeMap<String, Vec<(From, SocketAddr)>> = BTreeMap::new();
        for (from, to) in targets {
            let place = format!("{:?}", from.place);
            places.entry(place).or_default().push((*from, *to));
        }
        let (stop, begun) = (Arc::new(AtomicBool::new(false)), Instant::now());
        let failed = Arc::new(AtomicUsize::new(0));
        let start = |targets: &Vec<(From, SocketAddr)>| {
            let namespace = topology.namespace(targets[0].0.place)?.try_clone()?;
            let mut attempts = attempts(targets);
            attempts.retain(|attempt| protocols.contains(&attempt.protocol));
            let (stop, failed) = (stop.clone(), failed.clone());
            Ok(thread::spawn(move || {
                client(&namespace, &attempts, begun, (&stop, &failed))
            }))
        };
        let clients = places.values().map(start).collect::<Result<_>>()?;
        thread::sleep(Duration::from_millis(500));
        Ok(Self {
            stop,
            clients,
            begun,
            failed,
        })
    }

    /// Stops them after another half second.
    ///
    /// # Errors
    /// If a namespace could not be entered.
    pub(in crate::scenario) fn stop(self) -> Result<Tally> {
        thread::sleep(Duration::from_millis(500));
        self.stop.store(true, Ordering::Relaxed);
        let mut sum = Tally::default();
        for client in self.clients {
            let tally = client.join().map_err(|_| anyhow!("a client panicked"))??;
            sum.all += tally.all;
            sum.failed += tally.failed;
            sum.examples.extend(tally.examples);
        }
        sum.took = self.begun.elapsed();
        Ok(sum)
    }
}

/// Each target in each protocol.
pub(in crate::scenario) fn attempts(targets: &[(From, SocketAddr)]) -> Vec<Attempt> {
    let attempt = |protocol, from: &From, to: SocketAddr| Attempt {
        protocol,
        to,
        source: from.source(IpFamily::of(to.ip())),
        via: from.via,
    };
    let each = |(from, to): &(From, SocketAddr)| Protocol::ALL.map(|p| attempt(p, from, *to));
    targets.iter().flat_map(each).collect()
}

fn client(
    namespace: &Namespace,
    targets: &[Attempt],
    begun: Instant,
    (stop, failed): (&AtomicBool, &AtomicUsize),
) -> Result<Tally> {
    let patience = PATIENCE.mul_f64(pace().slowness());
    let (mut tally, mut next) = (Tally::default(), targets.iter().copied().cycle());
    while !stop.load(Ordering::Relaxed) {
        let tick = Instant::now();
        let attempts: Vec<Attempt> = next.by_ref().take(EACH).collect();
        let answers = dial(namespace, &attempts, patience)?;
        tally.all += answers.len();
        for (Attempt { protocol, to, .. }, answer) in attempts.iter().zip(answers) {
            if matches!(answer, Answer::From { .. }) {
                continue;
            }
            tally.failed += 1;
            failed.fetch_add(1, Ordering::Relaxed);
            let (at, name) = (tick - begun, namespace.name());
            let line = format!("after {at:.0?}: {name} to {to} {protocol}: {answer}");
            if tally.examples.len() < 4 {
                tally.examples.push(line);
            }
        }
        thread::sleep(TICK.saturating_sub(tick.elapsed()));
    }
    Ok(tally)
}
