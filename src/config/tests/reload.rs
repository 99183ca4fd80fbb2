// SPDX-License-Identifier: Apache-2.0
//! What a change asks for: the table holds every field, and says the truth.

use std::collections::BTreeSet;

use super::recorder;
use super::*;
use crate::config::effective::leaves;
use crate::config::reload::{Difference, FIELDS};

/// Sets what is not written at its zero value.
const WHOLE: &str = "featureGates: {A: true, LoggingAlphaOptions: true}\nwindowsRunAsService: true\n\
    logging: {vmodule: [{filePattern: a, verbosity: 1}], \
    options: {text: {splitStream: true}, json: {splitStream: true}}}\n";

#[test]
fn every_field_of_the_type_is_in_the_table_once() {
    let decoded = decode::decode(&format!("{HEAD}{WHOLE}")).unwrap();
    let mut file = decoded.file;
    file.set_defaults();
    let value = effective::value(&file);
    let mut of_type: BTreeSet<String> = leaves(&value).into_keys().collect();
    assert!(of_type.remove("apiVersion") && of_type.remove("kind"));
    let of_table: BTreeSet<String> = FIELDS.iter().map(|f| f.path.to_owned()).collect();
    assert_eq!(of_type, of_table);
    assert_eq!(of_table.len(), FIELDS.len());
}

fn difference(old: &str, new: &str) -> Difference {
    let config = |body| from_file("--config c", body).unwrap();
    Difference::between(&config(old), &config(new))
}

#[test]
fn a_change_is_sorted_by_what_it_asks_for() {
    let old = "mode: nftables\nclusterCIDR: 10.0.0.0/8\n";
    assert!(difference(old, old).is_empty());
    assert!(difference(old, &format!("{old}configSyncPeriod: 15m\n")).is_empty());
    let new = "mode: nftables\nclusterCIDR: 11.0.0.0/8\nportRange: 1-2\nlogging: {verbosity: 4}\n\
               ipvs: {scheduler: lc}\nconfigSyncPeriod: 1m\nhealthzBindAddress: 1.2.3.4\n";
    let found = difference(old, new);
    assert_eq!(
        found.live,
        ["clusterCIDR", "ipvs.scheduler", "logging.verbosity"]
    );
    assert_eq!(found.restart, ["healthzBindAddress"]);
    assert_eq!(found.nothing, ["configSyncPeriod"]);
    let removed = difference("featureGates: {A: true}\n", "");
    assert_eq!(removed.restart, ["featureGates"]);
    // A mode brings its own section and NodePort addresses with it.
    let found = difference("mode: iptables\n", "mode: nftables\n");
    assert!(found.restart.is_empty() && found.live.contains(&"nodePortAddresses".to_owned()));
    // Another mode of the kernel's takes over where the process starts, and only there.
    for (old, new) in [
        ("nftables", "ipvs"),
        ("ipvs", "nftables"),
        ("ipvs", "ipvs,nftables"),
    ] {
        let found = difference(&format!("mode: {old}\n"), &format!("mode: {new}\n"));
        assert_eq!(found.restart, ["mode"], "{old} {new}");
        assert!(!found.live.contains(&"mode".to_owned()));
    }
    // What serves loopback starts and ends with the process, whichever field asks for it.
    let on = "iptables: {localhostNodePorts: true}\n";
    let found = difference(
        &format!("mode: iptables\n{on}"),
        &format!("mode: nftables\n{on}"),
    );
    assert_eq!(found.restart, ["iptables.localhostNodePorts"]);
}

/// Whatever the table calls live or without effect leaves alone what only a new start can change,
/// and what is without effect changes nothing at all.
#[test]
fn the_table_says_the_truth_about_every_recorded_file() {
    let old = from_file("--config c", "").unwrap();
    let mut seen = BTreeSet::new();
    for (case, _) in recorder::recording().answers {
        let Some(Ok(new)) = case
            .text
            .as_deref()
            .map(|text| Config::resolve(&flags("--config c"), Some(text), "Host-1"))
        else {
            continue;
        };
        let found = Difference::between(&old, &new);
        seen.extend(
            found
                .live
                .iter()
                .chain(&found.restart)
                .chain(&found.nothing)
                .cloned(),
        );
        let fixed = |c: &Config| {
            let c = c.clone();
            let start = (c.node_name, c.node_ip, c.source, c.listen, c.log.format);
            (
                start,
                c.features,
                c.action,
                c.mode.served_by(),
                c.modes.len(),
            )
        };
        let live = |c: &Config| {
            let c = c.clone();
            (
                c.rules,
                c.ipvs,
                c.conntrack,
                c.log.verbosity,
                c.health_timeout,
                c.oom_score_adj,
                c.profiling,
            )
        };
        if found.restart.is_empty() {
            assert_eq!(fixed(&new), fixed(&old), "{case}");
        }
        if found.live.is_empty() {
            assert_eq!(live(&new), live(&old), "{case}");
        }
    }
    assert!(seen.len() > 40, "{seen:?}");
}
