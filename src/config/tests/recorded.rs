// SPDX-License-Identifier: Apache-2.0
//! kube-proxy's own answers, recorded, against ours: field by field, flag by flag, and which
//! fields it finds wrong.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::recorder::{self, Answer, Case};
use super::*;
use crate::config::effective::leaves;
use crate::config::reload::FIELDS;

/// Where ferrule means to differ.
const DIFFERENT: &[(&str, &str)] = &[
    ("flag --feature-gates=NoSuchGate=true", GATE),
    ("file featureGates: {NoSuchGate: true}", GATE),
    ("flag --healthz-bind-address=", EMPTY),
    ("flag --metrics-bind-address=", EMPTY),
    (
        "flag --healthz-port=0",
        "kube-proxy leaves this flag out of account where it writes the configuration; a proxy \
         that runs has no such listener",
    ),
    (
        "flag --healthz-bind-address=10.0.0.1",
        "kube-proxy fills in the port, but not where it writes the configuration",
    ),
    (
        "flag --detect-local-mode=InterfaceNamePrefix --pod-interface-name-prefix=sixteen-letters-",
        "no interface's name is that long",
    ),
];

const GATE: &str = "a gate of a newer kube-proxy must not keep a node from its Services";
const EMPTY: &str = "kube-proxy's help says that an empty address disables; v1.36 ignores it";

/// The leaves of kube-proxy's answer, as recorded: the defaults with what differs.
fn expected(defaults: &Value, answer: &Map<String, Value>) -> BTreeMap<String, Value> {
    let mut all: BTreeMap<String, Value> = leaves(defaults)
        .into_iter()
        .map(|(path, value)| (path, value.clone()))
        .collect();
    for (path, value) in answer {
        match value.as_str() {
            Some("(none)") => all.remove(path),
            _ => all.insert(path.clone(), value.clone()),
        };
    }
    all
}

/// What ours comes to, wrong or not.
fn ours(case: &Case, cli: &Cli) -> BTreeMap<String, Value> {
    let mut decoded = match &case.text {
        Some(text) => decode::decode(text).unwrap_or_default(),
        None => decode::Decoded {
            file: flags::as_file(cli, None),
            ..Default::default()
        },
    };
    complete(cli, case.text.is_some(), &mut decoded);
    let value = effective::value(&decoded.file);
    let leaves = leaves(&value).into_iter();
    leaves.map(|(path, value)| (path, value.clone())).collect()
}

/// The names of what we find wrong.
fn our_errors(case: &Case, cli: &Cli) -> BTreeSet<String> {
    match Config::resolve(cli, case.text.as_deref(), "n") {
        Ok(_) => BTreeSet::new(),
        Err(Error::Invalid { errors, .. }) => errors.into_iter().map(|e| e.field).collect(),
        Err(other) => BTreeSet::from([other.to_string()]),
    }
}

/// A field of kube-proxy's inner type by the name that the user wrote.
fn public_name(case: &Case, mode: &str, inner: &str) -> String {
    let (name, index) = inner.split_at(inner.find('[').unwrap_or(inner.len()));
    let conntrack = "KubeProxyLinuxConfiguration.KubeProxyConntrackConfiguration.";
    let path = match name {
        "Mode.ProxyMode" => "mode".to_owned(),
        "SyncPeriod" => format!("{mode}.syncPeriod"),
        "MinSyncPeriod" => format!("{mode}.minSyncPeriod"),
        "KubeProxyIPTablesConfiguration.MasqueradeBit" => "iptables.masqueradeBit".to_owned(),
        "KubeProxyNFTablesConfiguration.MasqueradeBit" => "nftables.masqueradeBit".to_owned(),
        "KubeProxyIPVSConfiguration.ExcludeCidrs" => "ipvs.excludeCIDRs".to_owned(),
        "KubeProxyIPVSConfiguration.TCPTimeout" => "ipvs.tcpTimeout".to_owned(),
        "KubeProxyIPVSConfiguration.TCPFinTimeout" => "ipvs.tcpFinTimeout".to_owned(),
        "KubeProxyIPVSConfiguration.UDPTimeout" => "ipvs.udpTimeout".to_owned(),
        "KubeProxyLinuxConfiguration.OOMScoreAdj" => "oomScoreAdj".to_owned(),
        "ClientConnection.Burst" => "clientConnection.burst".to_owned(),
        "DetectLocalConfiguration.InterfaceName" => "detectLocal.bridgeInterface".to_owned(),
        "DetectLocalConfiguration.InterfacePrefix" => "detectLocal.interfaceNamePrefix".to_owned(),
        "DetectLocalConfiguration.ClusterCIDRs" => "clusterCIDR".to_owned(),
        name if name.starts_with("logging.") => name.to_owned(),
        name => {
            let short = name.strip_prefix(conntrack);
            let below = if short.is_some() { "conntrack." } else { "" };
            let lower = |field: &Field| {
                field
                    .path
                    .eq_ignore_ascii_case(&format!("{below}{}", short.unwrap_or(name)))
            };
            let field = FIELDS.iter().find(|field| lower(field));
            field
                .unwrap_or_else(|| panic!("{inner} is no field"))
                .path
                .to_owned()
        }
    };
    let field = FIELDS.iter().find(|field| field.path == path);
    let field = field.unwrap_or_else(|| panic!("{path} ({inner}) is no field"));
    match case.overrides(field.flag) {
        true => field.flag.to_owned(),
        false => format!("{path}{index}"),
    }
}

type Field = crate::config::reload::Field;

/// How ours differs from the answer; nothing if it does not.
fn difference(case: &Case, answer: &Answer, defaults: &Answer) -> Option<String> {
    let refused = answer.config.is_none() && answer.errors.is_empty();
    let cli = match crate::cli::parse(case.argv("ferrule")) {
        Ok(_)
            if refused
                && our_errors(case, &crate::cli::parse(case.argv("f")).unwrap()).is_empty() =>
        {
            return Some("kube-proxy refuses this and we do not".to_owned());
        }
        Ok(cli) => cli,
        Err(_) if refused => return None,
        Err(error) => return Some(format!("the command line is refused: {error}")),
    };
    if refused {
        return None;
    }
    let errors = our_errors(case, &cli);
    let ours = match answer.config {
        Some(_) => ours(case, &cli),
        None => BTreeMap::new(),
    };
    let mode = case.mode();
    let wanted: BTreeSet<String> = answer
        .errors
        .iter()
        .map(|inner| public_name(case, mode, inner))
        .collect();
    if errors != wanted {
        return Some(format!("errors: {errors:?}, kube-proxy's: {wanted:?}"));
    }
    let config = answer.config.as_ref()?;
    let wanted = expected(&defaults.full, config);
    let differ: Vec<String> = wanted
        .keys()
        .chain(ours.keys())
        .filter(|path| wanted.get(*path) != ours.get(*path))
        .map(|path| {
            format!(
                "{path}: {:?}, kube-proxy's: {:?}",
                ours.get(path),
                wanted.get(path)
            )
        })
        .collect();
    (!differ.is_empty()).then(|| differ.join("\n"))
}

#[test]
fn recorded_answers_are_ours() {
    let recording = recorder::recording();
    assert!(recording.answers.len() > 250, "{}", recording.answers.len());
    let mut failures = Vec::new();
    for (case, answer) in &recording.answers {
        let found = difference(case, answer, &recording.defaults);
        let meant = DIFFERENT.iter().find(|(name, _)| *name == case.to_string());
        match (found, meant) {
            (Some(text), None) => failures.push(format!("{case}\n{text}")),
            (None, Some((_, why))) => {
                failures.push(format!("{case}: no difference any more: {why}"))
            }
            _ => {}
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n\n"));
}

#[test]
fn flags_and_their_defaults_are_kube_proxys() {
    let recording = recorder::recording();
    let mut compared = 0;
    for (case, answer) in &recording.answers {
        let Ok(cli) = crate::cli::parse(case.argv("ferrule")) else {
            continue;
        };
        let ours = crate::cli::values(&cli);
        let changed = answer.flags.iter().flatten();
        let mut wanted = recording.defaults.flags.clone().expect("recorded");
        if answer.flags.is_none() {
            continue;
        }
        wanted.extend(changed.map(|(name, value)| (name.clone(), value.clone())));
        for (name, value) in wanted {
            compared += 1;
            assert_eq!(ours.get(&name), Some(&value), "{case}: --{name}");
        }
    }
    assert!(compared > 5_000, "{compared}");
}

#[test]
fn every_field_and_flag_has_a_case() {
    let recording = recorder::recording();
    let cases: Vec<&Case> = recording.answers.iter().map(|(case, _)| case).collect();
    for field in FIELDS {
        let pointer = format!("/{}", field.path.replace('.', "/"));
        let named = |case: &&Case| {
            let value = case.text.as_deref().map(document::read);
            value.is_some_and(|read| read.is_ok_and(|(v, _)| v.pointer(&pointer).is_some()))
        };
        assert!(
            cases.iter().copied().any(|case| named(&case)),
            "{}",
            field.path
        );
    }
    for (name, _) in crate::cli::DEFAULTS {
        if ["help", "version", "config", "write-config-to", "v"].contains(name) {
            continue;
        }
        let flag = format!("--{name}");
        let named = |case: &&Case| case.text.is_none() && case.has_flag(&flag);
        assert!(cases.iter().copied().any(|case| named(&case)), "{flag}");
    }
}
