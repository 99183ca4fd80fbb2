// SPDX-License-Identifier: Apache-2.0
//! How often, and how many at a time, each client may ask: nginx's leaky bucket
//! (`limit_req … nodelay`) and its count of requests under way (`limit_conn`).

use std::net::IpAddr;

use ipnet::IpNet;

use crate::model::ServiceName;

/// One request, in the unit of buckets.
const REQUEST: u64 = 1000;

/// The limits of an Ingress, for each client address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// The Ingress whose requests count together.
    pub zone: ServiceName,
    /// By `limit-rps`.
    pub per_second: Option<Rate>,
    /// By `limit-rpm`.
    pub per_minute: Option<Rate>,
    /// The most requests under way; 0 for any number.
    pub connections: u32,
    /// Whose requests do not count.
    pub exempt: Vec<IpNet>,
}

/// How fast a bucket empties, and how much is in it at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Thousandths of a request a second.
    speed: u64,
    /// Thousandths of a request.
    burst: u64,
}

/// What is known of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bucket {
    /// By [`Limit::per_second`], thousandths of a request beyond what has drained.
    second: u32,
    /// By [`Limit::per_minute`].
    minute: u32,
    /// When the last request was let in, milliseconds on the clock of the asker.
    last: u64,
}

impl Rate {
    /// So many requests a second, and so many more at once.
    pub fn per_second(requests: u32, burst: u32) -> Self {
        Self {
            speed: u64::from(requests) * REQUEST,
            burst: u64::from(burst) * REQUEST,
        }
    }

    /// So many a minute; rounded down to thousandths a second, as nginx does it.
    pub fn per_minute(requests: u32, burst: u32) -> Self {
        Self {
            speed: u64::from(requests) * REQUEST / 60,
            burst: u64::from(burst) * REQUEST,
        }
    }

    /// What is in the bucket with one request more; none if that is too much.
    fn pour(self, excess: u32, passed: u64) -> Option<u32> {
        let drained = self.speed.saturating_mul(passed) / 1000;
        let excess = (u64::from(excess) + REQUEST).saturating_sub(drained);
        let fits = excess <= self.burst;
        fits.then(|| u32::try_from(excess).unwrap_or(u32::MAX))
    }

    /// Milliseconds until a full bucket is empty.
    fn drains_in(self) -> u64 {
        (self.burst + REQUEST).saturating_mul(1000) / self.speed.max(1)
    }
}

impl Limit {
    /// Whether the requests of an address do not count.
    pub fn exempts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.exempt.iter().any(|net| net.contains(&address))
    }

    /// Whether requests are counted over time.
    pub fn has_rates(&self) -> bool {
        self.per_second.is_some() || self.per_minute.is_some()
    }

    /// What is known of a client after a request at `now`, milliseconds; none if it is one too
    /// many. A request that is too many for one rate is counted for none.
    pub fn admit(&self, before: Option<Bucket>, now: u64) -> Option<Bucket> {
        let Some(before) = before else {
            // The first request of a client is free.
            return Some(Bucket {
                last: now,
                ..Bucket::default()
            });
        };
        let passed = now.saturating_sub(before.last);
        let pour = |rate: Option<Rate>, excess| match rate {
            Some(rate) => rate.pour(excess, passed),
            None => Some(0),
        };
        Some(Bucket {
            second: pour(self.per_second, before.second)?,
            minute: pour(self.per_minute, before.minute)?,
            last: now.max(before.last),
        })
    }

    /// After how many milliseconds without a request nothing need be known of a client any more.
    pub fn forgets_in(&self) -> u64 {
        let rates = [self.per_second, self.per_minute];
        let longest = rates.into_iter().flatten().map(Rate::drains_in).max();
        longest.unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(per_second: Option<Rate>, per_minute: Option<Rate>) -> Limit {
        Limit {
            zone: ServiceName::new("default", "web"),
            per_second,
            per_minute,
            connections: 0,
            exempt: vec!["10.0.0.0/8".parse().expect("a network")],
        }
    }

    /// How many of so many requests are let in, one each `every` milliseconds.
    fn let_in(limit: &Limit, requests: u64, every: u64) -> usize {
        let mut known = None;
        let mut count = 0;
        for n in 0..requests {
            if let Some(bucket) = limit.admit(known, n * every) {
                known = Some(bucket);
                count += 1;
            }
        }
        count
    }

    /// nginx lets in the first request, and `burst` more at once.
    #[test]
    fn a_burst_is_let_in_and_then_the_rate() {
        let five = limit(Some(Rate::per_second(5, 25)), None);
        assert_eq!(let_in(&five, 100, 0), 26);
        // Ten seconds of twenty requests a second.
        assert_eq!(let_in(&five, 200, 50), 26 + 49);
        // Never more than the rate: all.
        assert_eq!(let_in(&five, 200, 200), 200);
        let none = limit(Some(Rate::per_second(1, 0)), None);
        assert_eq!(let_in(&none, 10, 500), 5);
    }

    #[test]
    fn a_rate_a_minute_is_in_thousandths_a_second() {
        let ten = limit(None, Some(Rate::per_minute(10, 50)));
        assert_eq!(let_in(&ten, 100, 0), 51);
        let full = (0..51).fold(None, |known, _| ten.admit(known, 0));
        assert_eq!(ten.admit(full, 6_024), None, "166 thousandths a second");
        assert!(ten.admit(full, 6_025).is_some());
        assert_eq!(ten.forgets_in(), 51_000 * 1000 / 166);
    }

    #[test]
    fn what_is_too_much_for_one_rate_counts_for_none() {
        let both = limit(
            Some(Rate::per_second(1, 1)),
            Some(Rate::per_minute(60, 100)),
        );
        let full = both.admit(both.admit(None, 0), 0);
        assert_eq!(both.admit(full, 1), None);
        let later = both.admit(full, 1_000).expect("a second later");
        assert_eq!((later.second, later.minute), (1000, 1000));
    }

    #[test]
    fn whom_a_list_names_is_not_counted() {
        let some = limit(None, None);
        assert!(some.exempts("10.1.2.3".parse().expect("an address")));
        assert!(some.exempts("::ffff:10.1.2.3".parse().expect("an address")));
        assert!(!some.exempts("192.0.2.1".parse().expect("an address")));
        assert!(!some.has_rates());
    }

    #[test]
    fn clocks_that_go_back_and_large_numbers_do_no_harm() {
        let one = limit(Some(Rate::per_second(u32::MAX, u32::MAX)), None);
        let known = one.admit(None, u64::MAX);
        assert!(one.admit(known, 0).is_some());
        assert_eq!(one.admit(known, 0).map(|b| b.last), Some(u64::MAX));
    }
}
