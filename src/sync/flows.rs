// SPDX-License-Identifier: Apache-2.0
//! Ends stale flows beside the loop: walking a large conntrack table takes a tenth of a second and
//! more, and the next change must not wait for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Instant;

use tracing::{debug, warn};

use crate::backend::conntrack::{self, Conntrack};
use crate::model::{IpFamily, Target};
use crate::observe::Metrics;
use crate::plan::stale;

type Job = (IpFamily, Vec<stale::StaleFlows>);

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
    pub fn end(&self, family: IpFamily, flows: Vec<stale::StaleFlows>) {
        // Without the thread there is nothing to be done; it has said why.
        let _ = self.jobs.send((family, flows));
    }
}

fn work(mut conntrack: Conntrack, queue: &Receiver<Job>, meters: &Metrics) {
    while let Ok(first) = queue.recv() {
        // What came meanwhile is done in the same walk.
        let jobs: Vec<Job> = std::iter::once(first).chain(queue.try_iter()).collect();
        for family in IpFamily::ALL {
            let flows = newest(&jobs, family);
            if flows.is_empty() {
                continue;
            }
            let begun = Instant::now();
            let result = conntrack.delete_stale(family, &flows);
            let ended = result.as_ref().map_or(0, |count| *count);
            meters.flows_ended(family, begun.elapsed(), ended);
            match result {
                Ok(0) => {}
                Ok(count) => debug!(%family, count, "ended stale flows"),
                Err(error) => warn!(%family, "stale flows: {error}"),
            }
        }
    }
}

/// The newest word on each frontend: an older one may call endpoints live that are gone by now,
/// or stale that have come back.
fn newest(jobs: &[Job], family: IpFamily) -> Vec<conntrack::StaleFlows> {
    let of_family = jobs.iter().filter(|(f, _)| *f == family);
    let newest: BTreeMap<_, _> = of_family
        .flat_map(|(_, flows)| flows)
        .map(|flow| ((flow.protocol, flow.address, flow.port), &flow.live))
        .collect();
    let flow = |((protocol, address, port), live): (_, &Arc<BTreeSet<Target>>)| {
        let live = live.iter().map(|t| (t.address, t.port)).collect();
        conntrack::StaleFlows {
            protocol,
            frontend: (address, port),
            live,
        }
    };
    newest.into_iter().map(flow).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Protocol;
    use crate::model::fixture::ip;

    #[test]
    fn the_newest_word_counts() {
        let flow = |port: u16, live: &[&str]| {
            let target = |a: &&str| Target {
                address: ip(a),
                port: 53,
            };
            let live = Arc::new(live.iter().map(target).collect());
            stale::StaleFlows {
                protocol: Protocol::Udp,
                address: None,
                port,
                live,
            }
        };
        let jobs = [
            (
                IpFamily::V4,
                vec![flow(30053, &["10.0.0.1"]), flow(30054, &[])],
            ),
            (IpFamily::V6, vec![flow(30053, &[])]),
            (IpFamily::V4, vec![flow(30053, &["10.0.0.2"])]),
        ];
        let newest = newest(&jobs, IpFamily::V4);
        let ports: Vec<_> = newest.iter().map(|f| f.frontend.1).collect();
        assert_eq!(ports, [30053, 30054]);
        assert_eq!(newest[0].live, [(ip("10.0.0.2"), 53)]);
    }
}
