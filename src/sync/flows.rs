// SPDX-License-Identifier: Apache-2.0
//! Ends stale flows beside the loop: walking a large conntrack table takes a tenth of a second and
//! more, and the next change must not wait for it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Instant;

use tracing::{debug, warn};

use super::pace::Pace;
use crate::backend::conntrack::Conntrack;
use crate::model::{IpFamily, Protocol};
use crate::observe::Metrics;
use crate::plan::stale::StaleFlows;

type Job = (IpFamily, Vec<StaleFlows>);

/// Hands flows to the thread that ends them.
#[derive(Debug)]
pub struct Flows {
    jobs: Sender<Job>,
}

impl Flows {
    /// Starts the thread. It ends with this value, once it has done what it was given.
    ///
    /// # Errors
    /// If there can be no further thread.
    pub fn start(conntrack: Conntrack, meters: Metrics) -> std::io::Result<Self> {
        let (jobs, queue) = channel();
        thread::Builder::new()
            .name("conntrack".into())
            .spawn(move || work(conntrack, &queue, &meters))?;
        Ok(Self { jobs })
    }

    /// Has the stale ones among these flows ended, soon.
    pub fn end(&self, family: IpFamily, flows: Vec<StaleFlows>) {
        // Without the thread there is nothing to be done; it has said why.
        let _ = self.jobs.send((family, flows));
    }
}

fn work(mut conntrack: Conntrack, queue: &Receiver<Job>, meters: &Metrics) {
    let (mut waiting, mut pace) = (Waiting::default(), Pace::default());
    let mut pause = None;
    loop {
        let next = match pause {
            None => queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(pause) => queue.recv_timeout(pause),
        };
        if next == Err(RecvTimeoutError::Disconnected) {
            return;
        }
        // What came meanwhile is done in the same walk.
        let jobs = next.into_iter().chain(queue.try_iter());
        jobs.for_each(|(family, flows)| waiting.add(family, flows));
        pause = match waiting.end(&mut conntrack, meters) {
            true => {
                pace.succeeded();
                None
            }
            false => Some(pace.failed()),
        };
    }
}

/// The newest word on each frontend: an older one may call endpoints live that are gone by now,
/// or stale that have come back.
#[derive(Debug, Default)]
struct Waiting(BTreeMap<IpFamily, BTreeMap<Frontend, StaleFlows>>);

type Frontend = (Protocol, Option<IpAddr>, u16);

impl Waiting {
    fn add(&mut self, family: IpFamily, flows: Vec<StaleFlows>) {
        let of_family = self.0.entry(family).or_default();
        let keyed = |flow: StaleFlows| ((flow.protocol, flow.address, flow.port), flow);
        of_family.extend(flows.into_iter().map(keyed));
    }

    /// Ends what is stale. What failed goes on waiting; returns whether nothing did.
    fn end(&mut self, conntrack: &mut Conntrack, meters: &Metrics) -> bool {
        self.0.retain(|family, flows| {
            let flows: Vec<StaleFlows> = flows.values().cloned().collect();
            let begun = Instant::now();
            let result = conntrack.delete_stale(*family, &flows);
            let count = result.as_ref().map_or(0, |ended| ended.entries);
            meters.flows_ended(*family, begun.elapsed(), count);
            match result {
                Ok(ended) => {
                    debug!(%family, ?ended, "ended stale flows");
                    false
                }
                Err(error) => {
                    warn!(%family, "stale flows, to be tried again: {error}");
                    true
                }
            }
        });
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::Target;
    use crate::model::fixture::ip;

    #[test]
    fn the_newest_word_counts() {
        let flow = |port: u16, live: &[&str]| {
            let target = |a: &&str| Target {
                address: ip(a),
                port: 53,
            };
            StaleFlows {
                protocol: Protocol::Udp,
                address: None,
                port,
                live: Arc::new(live.iter().map(target).collect()),
            }
        };
        let mut waiting = Waiting::default();
        waiting.add(
            IpFamily::V4,
            vec![flow(30053, &["10.0.0.1"]), flow(30054, &[])],
        );
        waiting.add(IpFamily::V6, vec![flow(30053, &[])]);
        waiting.add(IpFamily::V4, vec![flow(30053, &["10.0.0.2"])]);
        let newest: Vec<_> = waiting.0[&IpFamily::V4].values().collect();
        assert_eq!(newest, [&flow(30053, &["10.0.0.2"]), &flow(30054, &[])]);
    }
}
