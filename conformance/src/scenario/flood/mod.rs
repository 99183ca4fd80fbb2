// SPDX-License-Identifier: Apache-2.0
//! Endpoints change faster than anybody's do: an agent must stay in step, in bounded memory, and
//! end where a fresh start would.
//!
//! | variable | is | default |
//! |---|---|---|
//! | `LOAD_SECONDS` | how long the changes come | 5 |
//! | `LOAD_RATE` | changes a second | 1000 |
//! | `LOAD_SERVICES` | Services, of ten endpoints each | 1000 |
//! | `LOAD_LAG_MS` | what 99 of 100 changes may take to the kernel | 2000 |

mod objects;
mod probe;
mod stage;

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use self::probe::Lags;
use self::stage::Stage;
use super::number;
use crate::cases::cluster_cidr_flags;
use crate::cluster::Cluster;
use crate::pace::pace;

/// What memory may grow by in the second half of the flood: allocators keep a little.
const SLACK_KB: u64 = 16 << 10;

/// See the module.
pub(super) fn flood(cluster: &mut Cluster) -> Result<()> {
    let length = Duration::from_secs(number("LOAD_SECONDS", 5)?);
    let rate = number("LOAD_RATE", 1_000)?;
    let services = u16::try_from(number("LOAD_SERVICES", 1_000)?)?;
    let mut stage = Stage::set(cluster, services)?;
    println!(
        "    {services} Services of 10 endpoints: in step, {} MiB",
        stage.memory()? >> 10
    );
    println!("    what | events | seconds | commits | lag p50, p99, max ms | MiB at most");
    let wave = stage.changes(length, rate)?;
    println!("    one endpoint of any Service, {rate}/s | {wave}");
    let steady = wave.events as f64 >= 0.95 * rate as f64 * length.as_secs_f64();
    ensure!(steady, "fewer than {rate} changes a second");
    wave.check()?;
    let (first, second) = wave.halves();
    ensure!(
        second <= first + first / 10 + SLACK_KB,
        "memory grows: {first} KiB in the first half, {second} KiB in the second"
    );
    for (what, wave) in [
        ("rolling update of 1,000 endpoints", stage.rolling_update()?),
        ("1,000 endpoints flap", stage.flapping()?),
    ] {
        println!("    {what} | {wave}");
        wave.check()?;
    }
    stage.check()?;
    drop(stage);
    cluster.start_agents(&cluster_cidr_flags())
}

/// What happened during some changes.
#[derive(Debug, Default)]
struct Wave {
    /// Objects that were written.
    events: usize,
    took: Duration,
    /// Commits, of all that there is in the network namespace.
    commits: u32,
    lags: Lags,
    /// The agent's memory now and then, KiB.
    memory: Vec<u64>,
}

impl Wave {
    fn check(&self) -> Result<()> {
        let limit = Duration::from_millis(number("LOAD_LAG_MS", 2_000)?).mul_f64(pace().slowness());
        let (late, latest) = (self.lags.at(0.99), self.lags.at(1.0));
        ensure!(late <= limit, "99 of 100 changes took up to {late:?}");
        ensure!(latest <= 5 * limit, "a change took {latest:?}");
        Ok(())
    }

    /// The most memory in each half.
    fn halves(&self) -> (u64, u64) {
        let (first, second) = self.memory.split_at(self.memory.len() / 2);
        let most = |half: &[u64]| half.iter().copied().max().unwrap_or_default();
        (most(first), most(second))
    }
}

impl std::fmt::Display for Wave {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [p50, p99, max] = [0.5, 0.99, 1.0].map(|q| self.lags.at(q).as_secs_f64() * 1e3);
        let (events, took, commits) = (self.events, self.took.as_secs_f64(), self.commits);
        let most = self.memory.iter().max().copied().unwrap_or_default() >> 10;
        write!(
            f,
            "{events} | {took:.1} | {commits} | {p50:.0}, {p99:.0}, {max:.0} of {} | {most}",
            self.lags.len()
        )
    }
}

/// Calls at an even rate until the time is over, and returns how often.
fn evenly(rate: u64, length: Duration, mut each: impl FnMut() -> Result<()>) -> Result<usize> {
    let (begun, mut done) = (Instant::now(), 0);
    loop {
        let elapsed = begun.elapsed().min(length);
        let due = (elapsed.as_secs_f64() * rate as f64) as usize;
        while done < due {
            each()?;
            // Who cannot keep up must not go on for ever.
            if begun.elapsed() > length + length / 20 {
                return Ok(done);
            }
            done += 1;
        }
        if elapsed == length {
            return Ok(done);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}
