// SPDX-License-Identifier: Apache-2.0
//! Is it chance, or is it uneven?

/// Whether counts can come from equally likely outcomes: a chi-square test that an even spread
/// fails once in a million times.
///
/// The bound is Wilson and Hilferty's approximation of the quantile (1931), which so far out is a
/// little too high: chance fails the test even more rarely.
pub fn even(counts: &[usize]) -> bool {
    let total: usize = counts.iter().sum();
    if counts.len() < 2 || total == 0 {
        return true;
    }
    let expected = total as f64 / counts.len() as f64;
    let chi: f64 = counts
        .iter()
        .map(|n| (*n as f64 - expected).powi(2) / expected)
        .sum();
    chi < bound((counts.len() - 1) as f64)
}

/// Quantile of the chi-square distribution at 1 - 10^-6.
fn bound(freedom: f64) -> f64 {
    const Z: f64 = 4.753; // the normal distribution's quantile
    let spread = 2.0 / (9.0 * freedom);
    freedom * (1.0 - spread + Z * spread.sqrt()).powi(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_quantiles() {
        // With one, two and three degrees of freedom: 4.8916 squared, -2 ln(10^-6), tables.
        for (freedom, exact) in [(1.0, 23.93), (2.0, 27.63), (3.0, 30.66)] {
            let ratio = bound(freedom) / exact;
            assert!((1.0..1.2).contains(&ratio), "{freedom}: {ratio}");
        }
    }

    #[test]
    fn tells_chance_from_bias() {
        assert!(even(&[410, 395, 395]));
        assert!(even(&[430, 400, 370]));
        assert!(!even(&[600, 300, 300]));
        assert!(!even(&[500, 400, 300]));
    }
}
