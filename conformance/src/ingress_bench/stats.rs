// SPDX-License-Identifier: Apache-2.0
//! Medians of pairs, with their spread.

use serde::{Deserialize, Serialize};

/// A median and between what it lies.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spread {
    /// The value in the middle.
    pub median: f64,
    /// The lower end of the 95 % interval of the median.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

/// The median, and the interval of order statistics that contains the true one in 95 of 100 cases
/// at least, whatever the values are distributed like. Of fewer than six values that is no
/// interval: then it is all of them.
#[must_use]
pub fn spread(mut values: Vec<f64>) -> Option<Spread> {
    values.sort_unstable_by(f64::total_cmp);
    let count = values.len();
    let middle = *values.get(count / 2)?;
    let median = match count % 2 {
        0 => f64::midpoint(values[count / 2 - 1], middle),
        _ => middle,
    };
    let outside = outside(count);
    Some(Spread {
        median,
        low: values[outside],
        high: values[count - 1 - outside],
    })
}

/// How many values at each end lie outside of the interval: the most for which heads come up that
/// seldom, or less often, in 2.5 of 100 series of `count` throws of a coin.
fn outside(count: usize) -> usize {
    let mut chance = 0.5_f64.powi(i32::try_from(count).unwrap_or(i32::MAX));
    let (mut below, mut outside) = (chance, 0);
    while below <= 0.025 && outside < count / 2 {
        outside += 1;
        chance *= (count + 1 - outside) as f64 / outside as f64;
        below += chance;
    }
    outside.saturating_sub(1)
}

/// The value that so many percent of the values do not exceed, 0 of none.
#[must_use]
pub fn percentile(sorted: &[u32], percent: usize) -> u32 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_those_of_the_tables() {
        // Values outside on each side, of the sign test's table for 5 %: n = 6, 9, 12, 15, 20, 25
        // have 0, 1, 2, 3, 5, 7.
        for (count, expected) in [(5, 0), (6, 0), (9, 1), (12, 2), (15, 3), (20, 5), (25, 7)] {
            assert_eq!(outside(count), expected, "{count}");
        }
        let values = (1..=12).rev().map(f64::from).collect();
        let expected = Spread {
            median: 6.5,
            low: 3.0,
            high: 10.0,
        };
        assert_eq!(spread(values), Some(expected));
        assert_eq!(spread(Vec::new()), None);
    }

    #[test]
    fn percentiles_are_values() {
        let sorted: Vec<u32> = (1..=200).collect();
        assert_eq!(
            (percentile(&sorted, 50), percentile(&sorted, 99)),
            (100, 198)
        );
        assert_eq!(percentile(&[], 99), 0);
    }
}
