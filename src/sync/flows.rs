// SPDX-License-Identifier: Apache-2.0
//! Ends stale flows beside the loop: walking a large conntrack table takes a tenth of a second and
//! more, and the next change must not wait for it.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use tracing::{debug, warn};

use crate::backend::conntrack::{self, Conntrack};
use crate::model::IpFamily;
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
    pub fn start(conntrack: Conntrack) -> std::io::Result<Self> {
        let (jobs, queue) = channel();
        thread::Builder::new().name("conntrack".into()).spawn(move || work(conntrack, &queue))?;
        Ok(Self { jobs })
    }

    /// Has the stale ones among these flows ended, soon.
    pub fn end(&self, family: IpFamily, flows: Vec<stale::StaleFlows>) {
        // Without the thread there is nothing to be done; it has said why.
        let _ = self.jobs.send((family, flows));
    }
}

fn work(mut conntrack: Conntrack, queue: &Receiver<Job>) {
    while let Ok(first) = queue.recv() {
        for family in IpFamily::ALL {
            // What came meanwhile is done in the same walk; the newest word on a frontend counts.
            let flows = newest(std::iter::once(&first).chain(&queue.try_iter().collect::<Vec<_>>()), family);
            end(&mut conntrack, family, &flows);
        }
    }
}
