// SPDX-License-Identifier: Apache-2.0
//! How late the kernel is: a Service whose one endpoint changes, and the element that it becomes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use ferrule::backend::Nftables;
use ferrule::backend::nft::Kernel;
use ferrule::model::{IpFamily, Protocol};
use ferrule::plan::nft::{Data, Key, SetId};

use super::objects::{address, cluster_ip, slice};
use crate::object::PORT;
use crate::stub::Stub;

/// How often it is asked, at most.
const EVERY: Duration = Duration::from_millis(20);
/// How long a change may take at all.
const PATIENCE: Duration = Duration::from_secs(60);

/// Times from a change to the kernel, sorted.
#[derive(Debug, Default)]
pub(super) struct Lags(Vec<Duration>);

impl Lags {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// A quantile, 0 to 1.
    pub(super) fn at(&self, quantile: f64) -> Duration {
        let last = self.0.len().saturating_sub(1);
        let place = (last as f64 * quantile).round() as usize;
        self.0.get(place).copied().unwrap_or(Duration::MAX)
    }
}

/// Asks on and on, in a thread of its own.
pub(super) struct Probe {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<(Asker, Lags)>>,
}

/// The Service that is asked about.
pub(super) struct Asker {
    pub(super) api: Stub,
    pub(super) kernel: Kernel,
    pub(super) service: u16,
    pub(super) next: u32,
}

impl Asker {
    /// Changes the endpoint, and returns how long it took to the kernel.
    pub(super) fn ask(&mut self) -> Result<Duration> {
        self.next += 1;
        let wanted = Data::Target(address(self.next), 8080);
        let key = Key::EMPTY.address(cluster_ip(self.service));
        let key = key.protocol(Protocol::Tcp).port(PORT).index(0);
        let object = slice(self.service, 0, &[(self.next, true)]);
        let begun = Instant::now();
        self.api.put(object)?;
        loop {
            let found = self
                .kernel
                .read_element(IpFamily::V4, SetId::Endpoints, &key)?;
            let lag = begun.elapsed();
            if found.is_some_and(|element| element.data == wanted) {
                return Ok(lag);
            }
            ensure!(
                lag < PATIENCE,
                "a change has not come to the kernel in {lag:?}"
            );
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Probe {
    pub(super) fn start(mut asker: Asker) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let halted = stop.clone();
        let thread = thread::spawn(move || {
            let mut lags = Vec::new();
            // Once at least, and once after all else.
            let mut last = false;
            while !last {
                last = halted.load(Ordering::Relaxed);
                let lag = asker.ask()?;
                lags.push(lag);
                thread::sleep(EVERY.saturating_sub(lag));
            }
            lags.sort_unstable();
            Ok((asker, Lags(lags)))
        });
        Self { stop, thread }
    }

    /// Asks once more, and returns how late the kernel was.
    pub(super) fn stop(self) -> Result<(Asker, Lags)> {
        self.stop.store(true, Ordering::Relaxed);
        let told = self.thread.join();
        told.map_err(|_| anyhow!("the probe panicked"))?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_what_was_measured() {
        let lags = Lags((1..=100).map(Duration::from_millis).collect());
        assert_eq!(lags.at(0.0).as_millis(), 1);
        assert_eq!(lags.at(0.99).as_millis(), 99);
        assert_eq!(lags.at(1.0).as_millis(), 100);
        assert_eq!(
            Lags::default().at(0.5),
            Duration::MAX,
            "nothing is not soon"
        );
    }
}
