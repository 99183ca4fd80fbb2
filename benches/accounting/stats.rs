// SPDX-License-Identifier: Apache-2.0
//! The mean of paired differences with its interval.

/// A mean, and between which values it lies with 95 %.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Interval {
    pub(crate) mean: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
    pub(crate) median: f64,
}

impl Interval {
    /// Of at least two values.
    pub(crate) fn of(values: &[f64]) -> Self {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0);
        let half = student(values.len() - 1) * (variance / n).sqrt();
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        Self {
            mean,
            low: mean - half,
            high: mean + half,
            median: sorted[sorted.len() / 2],
        }
    }
}

/// The 97.5 % quantile of Student's t for so many degrees of freedom; of the next smaller entry,
/// which is the larger one.
fn student(freedom: usize) -> f64 {
    let table = [
        (1, 12.706),
        (2, 4.303),
        (5, 2.571),
        (9, 2.262),
        (14, 2.145),
        (19, 2.093),
        (24, 2.064),
        (29, 2.045),
        (39, 2.023),
        (59, 2.001),
        (99, 1.984),
    ];
    let entry = table.iter().rev().find(|(n, _)| *n <= freedom);
    entry.map_or(12.706, |(_, t)| *t)
}
