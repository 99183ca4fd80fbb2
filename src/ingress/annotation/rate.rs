// SPDX-License-Identifier: Apache-2.0
//! How fast answers are sent.

use std::num::NonZeroU64;

use super::value::number;
use super::{Draft, Reader};
use crate::ingress::action::rate::Rate;

pub(super) fn read(reader: &mut Reader<'_>, draft: &mut Draft) {
    let (old_rate, old_after) = match draft.route.rate {
        Some(rate) => (rate.bytes.get(), rate.after),
        None => (0, 0),
    };
    // ingress-nginx writes the numbers with a `k` behind them.
    let mut kilobytes = |name, old| {
        let new = reader.value(name, |value| number(0, value));
        new.map_or(old, |new| u64::from(new) * 1024)
    };
    let after = kilobytes("limit-rate-after", old_after);
    let rate = NonZeroU64::new(kilobytes("limit-rate", old_rate));
    draft.route.rate = rate.map(|bytes| Rate { bytes, after });
}

#[cfg(test)]
mod tests {
    use super::super::tests::{notes, read_all};
    use super::*;

    #[test]
    fn rates_are_kilobytes() {
        let annotated = read_all(&[("limit-rate", "2"), ("limit-rate-after", "10")]);
        let bytes = NonZeroU64::new(2048).unwrap();
        let rate = Rate {
            bytes,
            after: 10_240,
        };
        assert_eq!(annotated.plain.rate, Some(rate));
        for all in [
            &[("limit-rate", "0")][..],
            &[("limit-rate-after", "5")],
            &[],
        ] {
            assert_eq!(read_all(all).plain.rate, None);
        }
        let wrong = read_all(&[("limit-rate", "fast")]);
        assert_eq!(wrong.plain.rate, None);
        assert_eq!(
            notes(&wrong),
            ["annotation limit-rate: must be a number, is \"fast\"; the default holds"]
        );
    }
}
