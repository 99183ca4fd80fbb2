// SPDX-License-Identifier: Apache-2.0
//! When to commit. PURE: time is an argument.
//!
//! There is no cool-down: a change is committed at once, together with what has queued while the
//! last commit ran. After a failure the next attempt waits, twice as long each time.

use std::time::Duration;

/// The first wait after a failure.
const FIRST: Duration = Duration::from_millis(50);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(10);

/// Decides when the next commit may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pace {
    failures: u32,
}

impl Pace {
    /// A commit succeeded.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// A commit failed. Returns how long to wait before the next attempt.
    pub fn failed(&mut self) -> Duration {
        let wait = FIRST.saturating_mul(1 << self.failures.min(16));
        self.failures += 1;
        wait.min(LONGEST)
    }

    /// Whether an attempt is due only after a wait, so that events have to queue meanwhile.
    pub fn waiting(&self) -> bool {
        self.failures > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_bound_and_end_with_a_success() {
        let mut pace = Pace::default();
        let waits: Vec<u64> = (0..10).map(|_| pace.failed().as_millis() as u64).collect();
        assert_eq!(
            waits,
            [50, 100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]
        );
        assert!(pace.waiting());
        pace.succeeded();
        assert!(!pace.waiting());
        assert_eq!(pace.failed(), FIRST);
    }
}
