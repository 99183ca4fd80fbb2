// SPDX-License-Identifier: Apache-2.0
//! When to put back what others broke. PURE: time is an argument.
//!
//! At once, as a rule. Somebody who breaks it again and again (a second proxy, a firewall that is
//! reloaded in a loop) would keep both of us busy, so then we wait, longer each time.

use std::time::Duration;

/// Repairs that are made at once before any has to wait.
const AT_ONCE: u32 = 5;
/// How long it takes until a repair is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(10);
/// The first wait.
const FIRST: Duration = Duration::from_millis(100);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(10);

/// Decides when the next repair may run. Each repair fills a bucket that empties with time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Truce {
    /// What the bucket holds: [`FORGOTTEN`] for each repair.
    level: Duration,
    /// When that was so, since any fixed moment.
    at: Duration,
    contested: bool,
}

/// What to do about an interference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repair {
    /// How long to wait before.
    pub wait: Duration,
    /// Whether this is the first one that waits.
    pub contested: bool,
}

impl Truce {
    /// Somebody has changed a table of ours. `now` is counted from any fixed moment.
    pub fn broken(&mut self, now: Duration) -> Repair {
        self.level = self.level.saturating_sub(now.saturating_sub(self.at));
        self.at = now;
        self.contested &= self.level > Duration::ZERO;
        self.level += FORGOTTEN;
        let repairs = self.level.div_duration_f64(FORGOTTEN).ceil() as u32;
        let doublings = match repairs.checked_sub(AT_ONCE + 1) {
            None => {
                return Repair {
                    wait: Duration::ZERO,
                    contested: false,
                };
            }
            Some(doublings) => doublings.min(16),
        };
        Repair {
            wait: FIRST.saturating_mul(1 << doublings).min(LONGEST),
            contested: !std::mem::replace(&mut self.contested, true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repairs(truce: &mut Truce, from: u64, count: u64, every: u64) -> Vec<(u64, bool)> {
        let moments = (0..count).map(|n| Duration::from_millis(from + n * every));
        let repairs = moments.map(|now| truce.broken(now));
        repairs
            .map(|r| (r.wait.as_millis() as u64, r.contested))
            .collect()
    }

    #[test]
    fn repairs_come_at_once_until_somebody_insists() {
        let mut truce = Truce::default();
        let found = repairs(&mut truce, 0, 14, 1);
        let waits: Vec<u64> = found.iter().map(|(wait, _)| *wait).collect();
        assert_eq!(waits[..5], [0; 5]);
        let later = [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000];
        assert_eq!(waits[5..], later);
        let said: Vec<usize> = (0..14).filter(|n| found[*n].1).collect();
        assert_eq!(said, [5], "said once");
    }

    #[test]
    fn somebody_who_comes_now_and_then_is_never_made_to_wait() {
        let found = repairs(&mut Truce::default(), 0, 1_000, 10_000);
        assert!(found.iter().all(|r| *r == (0, false)));
    }

    #[test]
    fn peace_is_forgetful() {
        let mut truce = Truce::default();
        repairs(&mut truce, 0, 6, 1);
        assert_eq!(repairs(&mut truce, 30_000, 1, 1), [(0, false)]);
        let found = repairs(&mut truce, 200_000, 6, 1);
        assert_eq!(found[4..], [(0, false), (100, true)]);
    }
}
