// SPDX-License-Identifier: Apache-2.0
//! All flags with their values, as a page about flags shows them.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Cli, DEFAULT_SOCKET};

/// What kube-proxy v1.36 takes a flag for that is not given, by the flag's name without dashes.
/// `src/config/testdata` holds the proof.
pub const DEFAULTS: &[(&str, &str)] = &[
    ("bind-address", "0.0.0.0"),
    ("bind-address-hard-fail", "false"),
    ("boot-id-file", "/proc/sys/kernel/random/boot_id"),
    ("cleanup", "false"),
    ("cluster-cidr", ""),
    ("config", ""),
    ("config-sync-period", "15m0s"),
    ("conntrack-max-per-core", "32768"),
    ("conntrack-min", "131072"),
    ("conntrack-tcp-be-liberal", "false"),
    ("conntrack-tcp-timeout-close-wait", "1h0m0s"),
    ("conntrack-tcp-timeout-established", "24h0m0s"),
    ("conntrack-udp-timeout", "0s"),
    ("conntrack-udp-timeout-stream", "0s"),
    ("detect-local-mode", "ClusterCIDR"),
    ("feature-gates", ""),
    ("healthz-bind-address", "0.0.0.0:10256"),
    ("healthz-port", "10256"),
    ("help", "false"),
    ("hostname-override", ""),
    ("init-only", "false"),
    ("iptables-localhost-nodeports", "true"),
    ("iptables-masquerade-bit", "14"),
    ("iptables-min-sync-period", "1s"),
    ("iptables-sync-period", "30s"),
    ("ipvs-exclude-cidrs", "[]"),
    ("ipvs-min-sync-period", "1s"),
    ("ipvs-scheduler", ""),
    ("ipvs-strict-arp", "false"),
    ("ipvs-sync-period", "30s"),
    ("ipvs-tcp-timeout", "0s"),
    ("ipvs-tcpfin-timeout", "0s"),
    ("ipvs-udp-timeout", "0s"),
    ("kube-api-burst", "10"),
    (
        "kube-api-content-type",
        "application/vnd.kubernetes.protobuf",
    ),
    ("kube-api-qps", "5"),
    ("kubeconfig", ""),
    ("log-flush-frequency", "5s"),
    ("log-json-info-buffer-size", "0"),
    ("log-json-split-stream", "false"),
    ("log-text-info-buffer-size", "0"),
    ("log-text-split-stream", "false"),
    ("logging-format", "text"),
    (
        "machine-id-file",
        "/etc/machine-id,/var/lib/dbus/machine-id",
    ),
    ("masquerade-all", "false"),
    ("master", ""),
    ("metrics-bind-address", "127.0.0.1:10249"),
    ("metrics-port", "10249"),
    ("nodeport-addresses", "[]"),
    ("oom-score-adj", "-999"),
    ("pod-bridge-interface", ""),
    ("pod-interface-name-prefix", ""),
    ("profiling", "false"),
    ("proxy-mode", "iptables"),
    ("show-hidden-metrics-for-version", ""),
    ("v", "0"),
    ("version", "false"),
    ("vmodule", ""),
    ("write-config-to", ""),
];

/// The flags that kube-proxy does not have, with their defaults.
const OWN: &[(&str, &str)] = &[
    ("accounting", "false"),
    ("accounting-endpoints", "1000"),
    ("accounting-sample", "auto"),
    ("admin-socket", DEFAULT_SOCKET),
    ("affinity-capacity", "1048576"),
    ("drop-invalid", "false"),
    ("ipvs-drain-timeout", "15m0s"),
    ("ipvs-local-fallback", "false"),
    ("keep-leftovers", ""),
    ("localhost-nodeports", ""),
    ("manifests", ""),
    ("protect-rules", "own"),
    ("reset-stale-tcp", "false"),
    ("state-file", "/var/lib/ferrule/state.jsonl"),
];

/// Every flag, kube-proxy's and ours, with its value as text: what the command line says, else the
/// default.
///
/// With `--config` these are still the flags' own values, as in kube-proxy; what holds then is
/// [`Config::effective`](crate::config::Config::effective).
pub fn values(cli: &Cli) -> BTreeMap<String, String> {
    let text = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let mut all: BTreeMap<_, _> = DEFAULTS.iter().chain(OWN).map(text).collect();
    for flags in [
        serde_json::to_value(&cli.proxy),
        serde_json::to_value(&cli.own),
        serde_json::to_value(&cli.accepted),
    ] {
        // Paths that are no UTF-8 cannot be shown; the defaults stay for their part.
        let Ok(Value::Object(flags)) = flags else {
            continue;
        };
        all.extend(flags.into_iter().filter_map(|(k, v)| Some((k, shown(v)?))));
    }
    platform_defaults(cli, &mut all);
    all
}

/// kube-proxy applies these to what decides, so to the flags only if there is no file.
fn platform_defaults(cli: &Cli, all: &mut BTreeMap<String, String>) {
    let file = all.get("config").is_some_and(|path| !path.is_empty());
    for (name, given) in [
        ("proxy-mode", cli.proxy.proxy_mode.as_deref()),
        ("detect-local-mode", cli.proxy.detect_local_mode.as_deref()),
    ] {
        let default = DEFAULTS.iter().find(|(flag, _)| *flag == name && !file);
        if given.is_none_or(str::is_empty) {
            all.insert(name.to_owned(), default.map_or("", |d| d.1).to_owned());
        }
    }
    if !file && all["proxy-mode"] == "nftables" && all["nodeport-addresses"] == "[]" {
        all.insert("nodeport-addresses".to_owned(), "[primary]".to_owned());
    }
}

/// A given value as pflag writes it; nothing for one that is not given.
fn shown(value: Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text),
        Value::Array(items) => {
            let items: Vec<String> = items.into_iter().filter_map(shown).collect();
            Some(format!("[{}]", items.join(",")))
        }
        other => Some(other.to_string()),
    }
}
