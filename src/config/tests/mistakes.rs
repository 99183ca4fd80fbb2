// SPDX-License-Identifier: Apache-2.0
//! What is wrong is named, all of it at once.

use super::*;

#[test]
fn every_mistake_is_reported_under_its_name() {
    let line = "--proxy-mode=x --cluster-cidr=10.0.0.0/8,11.0.0.0/8 --nodeport-addresses=primary,z \
                --bind-address=1.2.3 --healthz-bind-address=h:1 --metrics-bind-address=1.2.3.4:0 \
                --iptables-masquerade-bit=32 --oom-score-adj=-1001 --iptables-sync-period=0s \
                --config-sync-period=0s --conntrack-min=-1 --affinity-capacity=0 \
                --logging-format=xml --conntrack-udp-timeout=-1s";
    let mut lines = errors(from_flags(line));
    lines.sort();
    let named: Vec<&str> = lines
        .iter()
        .map(|line| line.split(':').next().unwrap())
        .collect();
    assert_eq!(
        named,
        [
            "--affinity-capacity",
            "--bind-address",
            "--cluster-cidr",
            "--config-sync-period",
            "--conntrack-min",
            "--conntrack-udp-timeout",
            "--healthz-bind-address",
            "--iptables-masquerade-bit",
            "--iptables-sync-period",
            "--logging-format",
            "--metrics-bind-address",
            "--nodeport-addresses",
            "--oom-score-adj",
            "--proxy-mode",
        ]
    );
}

#[test]
fn mistakes_in_a_file_are_reported_by_path() {
    let body = "clusterCIDR: 10.0.0.0/8,x,10.1.0.0/16\nnodePortAddresses: [10.0.0.0/8, nope]\n\
                detectLocal: {bridgeInterface: 7}\nhealthzBindAddress: '1.2.3.4:99999'\n\
                iptables: {syncPeriod: 5, minSyncPeriod: 1d, masqueradeBit: 40}\nmode: [a]\n\
                conntrack: {tcpEstablishedTimeout: -1s, min: many}\n";
    let lines = errors(from_file("--config /c", body));
    for path in [
        "clusterCIDR[1]",
        "clusterCIDR",
        "nodePortAddresses[1]",
        "detectLocal.bridgeInterface",
        "healthzBindAddress",
        "iptables.syncPeriod",
        "iptables.minSyncPeriod",
        "iptables.masqueradeBit",
        "mode",
        "conntrack.tcpEstablishedTimeout",
        "conntrack.min",
    ] {
        let start = format!("--config /c: {path}: ");
        assert_eq!(
            lines.iter().filter(|l| l.starts_with(&start)).count(),
            1,
            "{path}: {lines:#?}"
        );
    }
    assert_eq!(lines.len(), 11, "{lines:#?}");
}

#[test]
fn single_mistakes_in_a_file() {
    for (body, line) in [
        (
            "detectLocalMode: Pods",
            "detectLocalMode: must be ClusterCIDR",
        ),
        (
            "detectLocalMode: BridgeInterface",
            "detectLocal.bridgeInterface: must not be empty",
        ),
        (
            "{detectLocalMode: InterfaceNamePrefix, detectLocal: {interfaceNamePrefix: sixteen-letters-}}",
            "detectLocal.interfaceNamePrefix: \"sixteen-letters-\" cannot be",
        ),
        (
            "nodePortAddresses: [primary, 10.0.0.0/8]",
            "nodePortAddresses[0]: primary must stand alone",
        ),
        (
            "iptables: {minSyncPeriod: 40s}",
            "iptables.syncPeriod: must not be less than",
        ),
        (
            "{mode: nftables, nftables: {syncPeriod: -1s}}",
            "nftables.syncPeriod: must be more than 0",
        ),
        (
            "metricsBindAddress: localhost:1",
            "metricsBindAddress: \"localhost\" is no IP address",
        ),
        (
            "hostnameOverride: ' '",
            "hostnameOverride: must not be blank",
        ),
        (
            "logging: {format: xml}",
            "logging.format: must be text or json",
        ),
        (
            "{mode: ipvs, ipvs: {excludeCIDRs: [a]}}",
            "ipvs.excludeCIDRs[0]: must be a CIDR",
        ),
    ] {
        let mut value: serde_json::Value = serde_saphyr::from_str(body).unwrap();
        value["apiVersion"] = "kubeproxy.config.k8s.io/v1alpha1".into();
        value["kind"] = "KubeProxyConfiguration".into();
        let lines = errors(Config::resolve(
            &flags("--config c"),
            Some(&value.to_string()),
            "n",
        ));
        assert!(
            lines[0].starts_with(&format!("--config c: {line}")),
            "{body}: {lines:?}"
        );
    }
}

#[test]
fn unknown_and_doubled_fields_cost_a_warning() {
    let body = "mode: nftables\nclusterCIDR: 10.0.0.0/8\nnew: {a: 1}\nconntrack: {older: 2}\nmode: nftables\n";
    let config = from_file("", body).unwrap();
    let text = config.warnings.join("\n");
    assert_eq!(config.warnings.len(), 3, "{text}");
    assert!(
        text.contains("mode: given twice, the last one counts"),
        "{text}"
    );
    assert!(text.contains("new: unknown field, ignored"), "{text}");
    assert!(
        text.contains("conntrack.older: unknown field, ignored"),
        "{text}"
    );
}

#[test]
fn what_is_no_configuration_is_refused_in_one_line() {
    for (text, words) in [
        ("", "must hold a KubeProxyConfiguration object"),
        ("[1]", "must hold a KubeProxyConfiguration object"),
        ("a: [", "--config c: "),
        ("a: b", "kind: must be KubeProxyConfiguration, is \"\""),
        (
            "apiVersion: v1\nkind: Pod",
            "kind: must be KubeProxyConfiguration, is \"Pod\"",
        ),
        (
            "apiVersion: v1\nkind: KubeProxyConfiguration",
            "apiVersion: must be kubeproxy.config",
        ),
        ("{\"a\": ", "--config c: "),
    ] {
        let lines = errors(Config::resolve(&flags("--config c"), Some(text), "n"));
        assert_eq!(lines.len(), 1, "{text:?}: {lines:?}");
        assert!(lines[0].contains(words), "{text:?}: {lines:?}");
    }
}
