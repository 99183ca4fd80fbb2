// SPDX-License-Identifier: Apache-2.0
//! The places (indices) of endpoints in a list: whoever stays keeps its place.

use std::collections::BTreeSet;

use crate::model::Target;

/// Orders the wanted endpoints so that as few places as possible change: an endpoint keeps its
/// place if that place still exists, and the rest fill the holes. So one endpoint replaced is one
/// element replaced, however long the list is.
pub fn settle(previous: &[Target], wanted: &[Target]) -> Vec<Target> {
    let mut left: BTreeSet<Target> = wanted.iter().copied().collect();
    let mut places: Vec<Option<Target>> = vec![None; left.len()];
    for (place, old) in places.iter_mut().zip(previous) {
        *place = left.take(old);
    }
    let mut left = left.into_iter();
    places
        .into_iter()
        .filter_map(|place| place.or_else(|| left.next()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::settle;
    use crate::model::Target;

    fn targets(hosts: &str) -> Vec<Target> {
        let target = |c: u8| Target {
            address: [10, 0, 0, c].into(),
            port: 80,
        };
        hosts.bytes().map(target).collect()
    }

    #[test]
    fn who_stays_keeps_its_place() {
        let cases = [
            ("", "abc", "abc"),
            ("abc", "abc", "abc"),
            ("abc", "bdc", "dbc"), // one replaced
            ("abc", "ac", "ac"),   // the last fills the hole
            ("abcd", "ad", "ad"),
            ("cab", "abcd", "cabd"), // one added
            ("abc", "", ""),
            ("aab", "ab", "ab"), // a damaged order heals
        ];
        for (previous, wanted, expected) in cases {
            let got = settle(&targets(previous), &targets(wanted));
            assert_eq!(got, targets(expected), "{previous} -> {wanted}");
        }
    }
}
