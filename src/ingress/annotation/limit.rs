// SPDX-License-Identifier: Apache-2.0
//! How often clients may ask.

use std::sync::Arc;

use super::access::{first, networks};
use super::value::{Wrong, number};
use super::{Draft, Reader, gate};
use crate::ingress::action::limit::{Limit, Rate};

/// How many times the rate may come at once, unless an annotation says otherwise.
const BURST: u32 = 5;

pub(super) fn read(reader: &mut Reader<'_>, draft: &mut Draft) {
    let burst = reader.value("limit-burst-multiplier", |value| number(0, value));
    let burst = burst.unwrap_or(BURST);
    let mut most = |name| reader.entry(name, count).unwrap_or(0);
    let (second, minute) = (most("limit-rps"), most("limit-rpm"));
    let connections = most("limit-connections");
    let rate = |make: fn(u32, u32) -> Rate, requests: u32| {
        (requests > 0).then(|| make(requests, requests.saturating_mul(burst)))
    };
    let exempt = first(reader, &["limit-allowlist", "limit-whitelist"]);
    let exempt = exempt.and_then(|name| reader.entry(name, networks));
    let limit = Limit {
        zone: reader.ingress().name.clone(),
        per_second: rate(Rate::per_second, second),
        per_minute: rate(Rate::per_minute, minute),
        connections,
        exempt: exempt.unwrap_or_default(),
    };
    if limit.has_rates() || connections > 0 {
        gate(&mut draft.route).limit = Some(Arc::new(limit));
    }
}

/// How many; 0 and less are any number, as in ingress-nginx.
fn count(value: &str) -> Result<u32, Wrong> {
    let parsed = value.parse::<i64>().ok();
    let count = parsed.and_then(|count| u32::try_from(count.max(0)).ok());
    count.ok_or_else(|| format!("must be a number, is {value:?}"))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{notes, read_all};
    use super::*;
    use crate::model::ServiceName;

    fn limit(annotations: &[(&str, &str)]) -> Option<Limit> {
        let gate = read_all(annotations).plain.gate.clone()?;
        gate.limit.as_deref().cloned()
    }

    #[test]
    fn limits_are_read_with_their_burst() {
        let all = limit(&[
            ("limit-rps", "5"),
            ("limit-rpm", "60"),
            ("limit-connections", "2"),
            ("limit-burst-multiplier", "3"),
            ("limit-whitelist", "10.0.0.0/8,192.0.2.1"),
        ]);
        let all = all.expect("a limit");
        assert_eq!(all.zone, ServiceName::new("default", "web"));
        assert_eq!(all.per_second, Some(Rate::per_second(5, 15)));
        assert_eq!(all.per_minute, Some(Rate::per_minute(60, 180)));
        assert_eq!((all.connections, all.exempt.len()), (2, 2));
        let one = limit(&[("limit-rps", "5"), ("limit-allowlist", "::/0")]);
        let one = one.expect("a limit");
        assert_eq!(one.per_second, Some(Rate::per_second(5, 25)));
        assert_eq!((one.per_minute, one.connections), (None, 0));
        assert_eq!(one.exempt.len(), 1);
    }

    #[test]
    fn none_is_none() {
        for annotations in [
            &[][..],
            &[("limit-rps", "0")],
            &[("limit-rpm", "-1"), ("limit-connections", "0")],
            &[("limit-whitelist", "10.0.0.0/8")],
        ] {
            assert_eq!(limit(annotations), None, "{annotations:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_closes_the_paths() {
        for (name, value) in [
            ("limit-rps", "many"),
            ("limit-rpm", "1.5"),
            ("limit-connections", "99999999999"),
            ("limit-whitelist", "10.0.0.0/8 192.0.2.1"),
        ] {
            let read = read_all(&[(name, value)]);
            assert_eq!(read.plain.denied.as_deref(), Some(name));
        }
        let read = read_all(&[("limit-burst-multiplier", "x"), ("limit-rps", "1")]);
        assert_eq!(read.plain.denied, None);
        assert!(notes(&read)[0].ends_with("; the default holds"));
    }
}
