// SPDX-License-Identifier: Apache-2.0
//! Names, types, labels and buckets compared with the real kube-proxy's, and with docs/metrics.md.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::*;
use crate::watch;

const RECORDED: &str = include_str!("testdata/kube-proxy.txt");
const SOURCE: &str = include_str!("testdata/source.txt");
const DOCS: &str = include_str!("../../../docs/metrics.md");

/// What a scraper learns of one name.
#[derive(Debug, Default, PartialEq)]
struct Family {
    kind: String,
    labels: BTreeSet<String>,
    buckets: Vec<f64>,
    /// The first sample.
    value: Option<f64>,
}

type Families = BTreeMap<String, Family>;

/// Reads the text format 0.0.4 as far as it is used here.
fn parse(text: &str) -> Families {
    let mut families = Families::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a type");
            let kind = kind.into();
            let family = Family {
                kind,
                ..Family::default()
            };
            let twice = families.insert(name.into(), family);
            assert!(twice.is_none(), "{name} is there twice");
        } else if !line.starts_with('#') {
            sample(line, &mut families);
        }
    }
    families
}

fn sample(line: &str, families: &mut Families) {
    let (series, value) = line.rsplit_once(' ').expect("a value");
    let value: f64 = value.parse().expect("a number");
    let (name, labels) = series.split_once('{').unwrap_or((series, ""));
    let parts = ["_bucket", "_sum", "_count"];
    let base = parts.iter().find_map(|part| name.strip_suffix(part));
    let base = base.filter(|base| families.get(*base).is_some_and(|f| f.kind == "histogram"));
    let family = families
        .get_mut(base.unwrap_or(name))
        .unwrap_or_else(|| panic!("{name} has no type"));
    family.value.get_or_insert(value);
    for label in labels.trim_end_matches('}').split("\",") {
        match label.split_once("=\"") {
            None => assert!(label.is_empty(), "{line}"),
            Some(("le", bound)) => {
                let bound = bound.trim_end_matches('"').parse().expect("a bound");
                if !family.buckets.contains(&bound) {
                    family.buckets.push(bound);
                }
            }
            Some((label, _)) => drop(family.labels.insert(label.into())),
        }
    }
}

/// The text with every metric in use.
fn filled() -> String {
    let (metrics, family) = (Metrics::new(), IpFamily::V4);
    let watching = watch::Meters::default();
    for collector in watching.collectors() {
        metrics.register(collector);
    }
    let uri = "https://192.0.2.1:6443/api/v1/services".parse().unwrap();
    watching.request("GET", &uri, Some(200), Duration::from_millis(3));
    watching.restarted("services");
    watching.held("services", 3);
    let now = jiff::Timestamp::now();
    metrics.queued(family, now);
    metrics.applied(family, now);
    metrics.failed(family);
    metrics.healthz(true);
    metrics.livez(false);
    metrics.synced(family, Duration::from_millis(3), true);
    metrics.synced(family, Duration::from_millis(3), false);
    metrics.programmed(family, Duration::from_millis(300));
    metrics.endpoint_change();
    metrics.service_change();
    metrics.pending(2, 1);
    metrics.without_local(family, 1, 2);
    metrics.cleanup_failed(family);
    metrics.flows_ended(family, Duration::from_millis(3), 7);
    metrics.coalesced(3);
    metrics.sent(family, 2, 4, Duration::from_millis(1));
    metrics.elements(family, |_| 5);
    metrics.skipped("Service", "spec.ports", 1);
    metrics.drift_repaired(family, 0);
    metrics.clients_forgotten(3);
    metrics.text()
}

fn reason(name: &str) -> Option<&'static str> {
    let fits = |pattern: &str| match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == pattern,
    };
    let row = NOT_SERVED.iter().find(|(pattern, _)| fits(pattern));
    row.map(|(_, reason)| *reason)
}

/// Everything that kube-proxy has in any mode on Linux.
fn upstream() -> Families {
    let mut families = parse(RECORDED);
    for line in SOURCE.lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.split(' ');
        let (name, kind) = (words.next().unwrap(), words.next().unwrap());
        let labels = words
            .next()
            .into_iter()
            .flat_map(|labels| labels.split(','));
        let family = Family {
            kind: kind.into(),
            labels: labels.map(Into::into).collect(),
            ..Family::default()
        };
        let twice = families.insert(name.into(), family);
        assert!(twice.is_none(), "{name} was recorded, too");
    }
    families
}

#[test]
fn kube_proxys_metrics_are_served_alike_or_explained() {
    let (upstream, ours) = (upstream(), parse(&filled()));
    let proxys = |name: &&String| name.starts_with("kubeproxy_");
    assert_eq!(upstream.keys().filter(proxys).count(), 23, "{upstream:?}");
    for (name, theirs) in &upstream {
        let Some(ours) = ours.get(name) else {
            assert!(
                reason(name).is_some(),
                "{name} is neither served nor explained"
            );
            continue;
        };
        assert_eq!(reason(name), None, "{name} is served");
        assert_eq!(
            (&ours.kind, &ours.labels, &ours.buckets),
            (&theirs.kind, &theirs.labels, &theirs.buckets),
            "{name}"
        );
    }
    let invented = |name: &&String| name.starts_with("kubeproxy_") && !upstream.contains_key(*name);
    assert_eq!(
        ours.keys().find(invented),
        None,
        "not a name of kube-proxy's"
    );
    for (pattern, _) in NOT_SERVED {
        let start = pattern.trim_end_matches('*');
        let known = upstream.keys().any(|name| name.starts_with(start));
        assert!(known, "kube-proxy has no {pattern}");
    }
}

/// The cells of the tables whose rows begin with a name.
fn rows() -> impl Iterator<Item = Vec<&'static str>> {
    DOCS.lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| {
            let cells = line.trim_matches('|').split('|').map(str::trim);
            cells.collect()
        })
}

#[test]
fn the_docs_list_what_is_served() {
    let ours = parse(&filled());
    let mut listed = BTreeSet::new();
    for row in rows().filter(|row| row.len() > 2) {
        let name = row[0].trim_matches('`');
        let family = ours
            .get(name)
            .unwrap_or_else(|| panic!("{name} is not served"));
        let labels = row[2].split(", ").map(|label| label.trim_matches('`'));
        let labels: BTreeSet<String> = labels.filter(|l| !l.is_empty()).map(Into::into).collect();
        assert_eq!(
            (row[1], &labels),
            (family.kind.as_str(), &family.labels),
            "{name}"
        );
        assert!(!row[3].is_empty(), "{name} has a meaning");
        assert!(listed.insert(name.to_owned()), "{name} is listed twice");
    }
    let missing: Vec<_> = ours.keys().filter(|name| !listed.contains(*name)).collect();
    assert!(missing.is_empty(), "docs/metrics.md lacks {missing:?}");
}

#[test]
fn the_docs_list_what_is_not_served() {
    let listed: Vec<_> = rows()
        .filter(|row| row.len() == 2)
        .map(|row| (row[0].trim_matches('`'), row[1]))
        .collect();
    assert_eq!(listed, NOT_SERVED);
}

#[test]
fn the_text_is_of_version_0_0_4() {
    let text = filled();
    assert!(text.ends_with('\n') && !text.contains("# EOF"));
    assert!(text.contains("# TYPE kubeproxy_proxy_healthz_total counter\n"));
    assert!(text.contains("kubeproxy_proxy_livez_total{code=\"503\"} 1\n"));
    let ip_family = "kubeproxy_conntrack_reconciler_deleted_entries_total{ip_family=\"IPv4\"} 7\n";
    assert!(text.contains(ip_family), "{text}");
}

#[test]
fn nothing_is_said_of_a_family_that_is_not_served() {
    let text = Metrics::new().text();
    assert!(!text.contains("ip_family"), "{text}");
    // What has no labels is there from the start, at 0.
    assert!(text.contains("kubeproxy_sync_proxy_rules_service_changes_total 0\n"));
}

#[test]
fn the_process_is_measured() {
    let ours = parse(&filled());
    let value = |name: &str| ours[name].value.expect("a sample");
    let now = jiff::Timestamp::now().as_duration();
    let age = now.as_secs_f64() - value("process_start_time_seconds");
    assert!((-2.0..86_400.0).contains(&age), "started {age} s ago");
    assert!(value("process_resident_memory_bytes") > 1e6);
    assert!(value("process_virtual_memory_bytes") >= value("process_resident_memory_bytes"));
    let (open, most) = (value("process_open_fds"), value("process_max_fds"));
    assert!(open >= 3.0 && open <= most, "{open} of {most}");
    assert!(value("process_cpu_seconds_total") >= 0.0);
}
