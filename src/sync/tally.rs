// SPDX-License-Identifier: Apache-2.0
//! Counts what is skipped, by kind of object and field.

use std::collections::BTreeMap;

/// The fields that conversion may skip, as labels. What is in none of them counts as `other`, so
/// that no object can bring up a label of its own.
const FIELDS: [&str; 22] = [
    "addressType",
    "endpoints.addresses",
    "metadata.annotations",
    "metadata.creationTimestamp",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "ports",
    "spec.cidrs",
    "spec.clusterIP",
    "spec.clusterIPs",
    "spec.externalIPs",
    "spec.externalTrafficPolicy",
    "spec.healthCheckNodePort",
    "spec.internalTrafficPolicy",
    "spec.loadBalancerSourceRanges",
    "spec.podCIDR",
    "spec.ports",
    "spec.sessionAffinity",
    "spec.type",
    "status",
    "subsets",
];

/// The label of an address and port that an older Service has.
pub const TAKEN: &str = "taken";

/// How many fields are skipped at present.
#[derive(Debug, Default)]
pub struct Tally {
    counts: BTreeMap<(&'static str, &'static str), usize>,
    changed: bool,
}

impl Tally {
    /// Reasons take the place of former ones of the same object.
    pub fn replace(&mut self, kind: &'static str, old: &[String], new: &[String]) {
        for reason in old {
            if let Some(count) = self.counts.get_mut(&(kind, field(reason))) {
                *count = count.saturating_sub(1);
            }
        }
        for reason in new {
            *self.counts.entry((kind, field(reason))).or_default() += 1;
        }
        self.changed |= old != new;
    }

    /// All counts, if any has changed since the last call.
    pub fn news(&mut self) -> impl Iterator<Item = (&'static str, &'static str, usize)> {
        let changed = std::mem::take(&mut self.changed);
        let counts = self.counts.iter().filter(move |_| changed);
        counts.map(|((kind, field), count)| (*kind, *field, *count))
    }
}

/// The field that the reason's path begins with, without indices and keys.
fn field(reason: &str) -> &'static str {
    if reason.contains(" belongs to the older Service ") {
        return TAKEN;
    }
    let path = reason.split_once(": ").map_or("", |(path, _)| path);
    let parts = path
        .split('.')
        .map(|part| part.split('[').next().unwrap_or(part));
    let mut plain = String::new();
    let mut known = "other";
    for part in parts {
        if !plain.is_empty() {
            plain.push('.');
        }
        plain.push_str(part);
        known = FIELDS
            .into_iter()
            .find(|field| *field == plain)
            .unwrap_or(known);
    }
    known
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_become_fields() {
        let long = "metadata.annotations[endpoints.kubernetes.io/last-change-trigger-time]: x";
        for (reason, expected) in [
            ("spec.ports[2].port: must be 1 to 65535, is 0", "spec.ports"),
            (
                "endpoints[7].addresses[0]: is missing",
                "endpoints.addresses",
            ),
            ("status.loadBalancer.ingress[0].ip: bad: x", "status"),
            ("spec.clusterIPs[1]: bad", "spec.clusterIPs"),
            ("10.0.0.1:80/tcp belongs to the older Service a/b", TAKEN),
            ("and 7 more fields", "other"),
            ("spec.surprise: new", "other"),
            (long, "metadata.annotations"),
        ] {
            assert_eq!(field(reason), expected, "{reason}");
        }
    }

    #[test]
    fn counts_go_back_to_zero() {
        let reasons =
            |texts: &[&str]| -> Vec<String> { texts.iter().map(|t| t.to_string()).collect() };
        let mut tally = Tally::default();
        let (two, none) = (
            reasons(&["spec.ports[0].port: x", "spec.ports[1].port: y"]),
            reasons(&[]),
        );
        tally.replace("Service", &none, &two);
        assert_eq!(
            tally.news().collect::<Vec<_>>(),
            [("Service", "spec.ports", 2)]
        );
        assert_eq!(tally.news().count(), 0, "nothing is new");
        tally.replace("Service", &two, &none);
        assert_eq!(
            tally.news().collect::<Vec<_>>(),
            [("Service", "spec.ports", 0)]
        );
    }
}
