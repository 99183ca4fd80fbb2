// SPDX-License-Identifier: Apache-2.0
//! A mean of response times in which the past counts less and less.

use std::time::Duration;

/// A sample of this age counts 1/e of a new one, as in ingress-nginx.
const DECAY: f64 = 10.0;

/// Seconds, and when they were last brought up to date.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Ewma {
    seconds: f64,
    touched: Duration,
}

impl Ewma {
    /// The mean with one more sample. A sample above the mean is the new mean (the peak), so that
    /// an endpoint that gets slow is avoided at once.
    pub(super) fn after(before: Option<Self>, sample: Duration, now: Duration) -> Self {
        let sample = sample.as_secs_f64();
        let seconds = match before {
            Some(before) if before.seconds > sample => {
                let weight = before.weight(now);
                before.seconds * weight + sample * (1.0 - weight)
            }
            _ => sample,
        };
        Self {
            seconds,
            touched: now,
        }
    }

    /// The mean now: an endpoint that was slow gets another chance after a while.
    pub(super) fn at(self, now: Duration) -> f64 {
        self.seconds * self.weight(now)
    }

    fn weight(self, now: Duration) -> f64 {
        (-now.saturating_sub(self.touched).as_secs_f64() / DECAY).exp()
    }
}
