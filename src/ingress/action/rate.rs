// SPDX-License-Identifier: Apache-2.0
//! How fast an answer's body is sent, as nginx's `limit_rate` does it. PURE.

use std::num::NonZeroU64;
use std::time::Duration;

/// A limit of each answer for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Bytes a second.
    pub bytes: NonZeroU64,
    /// Bytes that are sent before as fast as they can be.
    pub after: u64,
}

/// How much may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// So many bytes, one at least.
    Send(usize),
    /// None before so long a pause.
    Wait(Duration),
}

impl Rate {
    /// What may be sent of `length` bytes, when `sent` were sent and so much time is over. The
    /// bytes of a second are there at its beginning.
    pub fn verdict(self, elapsed: Duration, sent: u64, length: usize) -> Verdict {
        let rate = u128::from(self.bytes.get());
        let earned = rate * (elapsed.as_millis() + 1000) / 1000;
        let earned = u64::try_from(earned).unwrap_or(u64::MAX);
        let may = self.after.saturating_add(earned).saturating_sub(sent);
        // Not a byte at a time.
        let worth = (self.bytes.get() / 10)
            .clamp(1, 16 * 1024)
            .min(length as u64);
        if may >= worth {
            return Verdict::Send(usize::try_from(may).unwrap_or(usize::MAX).min(length));
        }
        let lacking = u128::from(worth - may) * 1000 / rate + 1;
        Verdict::Wait(Duration::from_millis(
            u64::try_from(lacking).unwrap_or(u64::MAX),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(bytes: u64, after: u64) -> Rate {
        Rate {
            bytes: NonZeroU64::new(bytes).unwrap(),
            after,
        }
    }

    #[test]
    fn a_body_takes_as_long_as_its_rate_says() {
        for (bytes, after, length) in [(1024, 0, 10_240), (100, 500, 1000), (1 << 20, 0, 5 << 20)] {
            let rate = rate(bytes, after);
            let (mut elapsed, mut sent) = (Duration::ZERO, 0);
            while sent < length {
                match rate.verdict(elapsed, sent, 64 * 1024) {
                    Verdict::Send(some) => sent += some as u64,
                    Verdict::Wait(pause) => elapsed += pause,
                }
            }
            // A second's bytes are there at once, and less than a second's at the end.
            let seconds = Duration::from_millis((length - after) * 1000 / bytes);
            let slack = Duration::from_millis(100);
            let took = elapsed + Duration::from_secs(1);
            assert!(took < seconds + slack, "{bytes}: {elapsed:?}");
            assert!(
                took + Duration::from_secs(1) > seconds,
                "{bytes}: {elapsed:?}"
            );
        }
    }

    #[test]
    fn one_byte_is_sent_some_time() {
        let rate = rate(1, 0);
        assert_eq!(rate.verdict(Duration::ZERO, 0, 5), Verdict::Send(1));
        let Verdict::Wait(pause) = rate.verdict(Duration::ZERO, 1, 4) else {
            panic!("sent at once");
        };
        assert!(pause > Duration::from_millis(900) && pause < Duration::from_millis(1100));
    }
}
