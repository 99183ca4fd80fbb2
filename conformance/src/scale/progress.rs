// SPDX-License-Identifier: Apache-2.0
//! A line now and then while something takes long.

use std::time::{Duration, Instant};

/// Between two lines.
const EVERY: Duration = Duration::from_secs(5);

/// Something that may take long.
#[derive(Debug)]
pub struct Progress {
    what: String,
    begun: Instant,
    next: Duration,
}

impl Progress {
    /// Begins; nothing is written yet.
    #[must_use]
    pub fn new(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            begun: Instant::now(),
            next: Duration::from_secs(2),
        }
    }

    /// Writes a line if it is time for one.
    pub fn at(&mut self, state: impl FnOnce() -> String) {
        let elapsed = self.begun.elapsed();
        if elapsed >= self.next {
            self.next = elapsed + EVERY;
            eprintln!("{}: {}, {:.0} s", self.what, state(), elapsed.as_secs_f64());
        }
    }

    /// Time since it began.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }
}
