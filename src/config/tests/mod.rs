// SPDX-License-Identifier: Apache-2.0

mod ipvs;
mod localhost;
mod mistakes;
mod pages;
mod properties;
mod recorded;
mod recorder;
mod reload;

use ipnet::IpNet;

use super::*;
use crate::plan::options::{Detector, NodePortAddresses};

const HEAD: &str = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n";

/// What kubeadm v1.36 writes: every field, at its zero value.
const KUBEADM: &str = include_str!("../testdata/kubeadm.yaml");

fn flags(line: &str) -> Cli {
    crate::cli::parse(["ferrule"].into_iter().chain(line.split_whitespace())).unwrap()
}

fn from_flags(line: &str) -> Result<Config, Error> {
    Config::resolve(&flags(line), None, "Host-1")
}

fn from_file(line: &str, body: &str) -> Result<Config, Error> {
    Config::resolve(&flags(line), Some(&format!("{HEAD}{body}")), "Host-1")
}

/// The lines that the user sees.
fn errors(result: Result<Config, Error>) -> Vec<String> {
    match result {
        Ok(config) => panic!("accepted: {config:?}"),
        Err(error) => error.to_string().lines().map(str::to_owned).collect(),
    }
}

fn nets(texts: &[&str]) -> Vec<IpNet> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn address(text: &str) -> Option<SocketAddr> {
    Some(text.parse().unwrap())
}

#[test]
fn no_flags_are_kube_proxys_defaults() {
    let config = from_flags("").unwrap();
    let empty = from_flags("--config= --kubeconfig=").unwrap();
    assert_eq!(empty.effective(), config.effective());
    assert_eq!(empty.source, config.source);
    assert_eq!(config.action, Action::Run);
    assert_eq!(config.node_name, "host-1");
    assert_eq!(config.node_ip, None);
    assert_eq!(
        config.source,
        Source::Cluster {
            kubeconfig: None,
            server: None
        }
    );
    assert_eq!(config.listen.healthz, address("0.0.0.0:10256"));
    assert_eq!(config.listen.metrics, address("127.0.0.1:10249"));
    assert_eq!(
        config.listen.admin,
        Some("/run/ferrule/ferrule.sock".into())
    );
    assert_eq!(config.health_timeout, Duration::from_secs(60));
    assert_eq!(config.rules.detector, Detector::None);
    assert_eq!(config.rules.node_port_addresses, NodePortAddresses::all());
    assert_eq!(config.rules.affinity_capacity, 1 << 20);
    assert!(!config.rules.reset_stale_tcp && !config.rules.drop_invalid);
    assert_eq!(
        config.log,
        Log {
            verbosity: 0,
            format: LogFormat::Text
        }
    );
}

#[test]
fn old_modes_mean_nftables_and_say_so_once() {
    for mode in ["", "iptables"] {
        for config in [
            from_file("", &format!("mode: '{mode}'\nclusterCIDR: 10.0.0.0/8\n")).unwrap(),
            from_flags(&format!("--proxy-mode={mode} --cluster-cidr 10.0.0.0/8")).unwrap(),
        ] {
            assert_eq!(
                config.rules.node_port_addresses,
                NodePortAddresses::all(),
                "{mode}"
            );
            assert_eq!(config.warnings.len(), 1, "{:?}", config.warnings);
            assert!(
                config.warnings[0].contains("served by nftables"),
                "{:?}",
                config.warnings
            );
        }
    }
    let config = from_flags("--proxy-mode=nftables --cluster-cidr 10.0.0.0/8").unwrap();
    assert_eq!(config.rules.node_port_addresses, NodePortAddresses::Primary);
    assert_eq!(config.warnings, [""; 0]);
}

#[test]
fn other_modes_are_refused_by_name() {
    for (mode, words) in [
        ("ipvs,nftables,ipvs", "names ipvs twice"),
        (
            "NFTables",
            "must be nftables, ipvs or a list of both, is \"NFTables\"",
        ),
    ] {
        let lines = errors(from_flags(&format!("--proxy-mode={mode}")));
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(
            lines[0].starts_with("--proxy-mode: ") && lines[0].contains(words),
            "{lines:?}"
        );
        let lines = errors(from_file("--config /c.yaml", &format!("mode: {mode}\n")));
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(
            lines[0].starts_with("--config /c.yaml: mode: "),
            "{lines:?}"
        );
    }
}

#[test]
fn kubeadms_file_is_read_without_a_warning_but_the_modes() {
    let config = Config::resolve(&flags("--hostname-override=N1"), Some(KUBEADM), "x").unwrap();
    assert_eq!(config.node_name, "n1");
    assert_eq!(
        config.source,
        Source::Cluster {
            kubeconfig: Some("/var/lib/kube-proxy/kubeconfig.conf".into()),
            server: None
        }
    );
    assert_eq!(
        config.rules.detector,
        Detector::ClusterCidr(nets(&["10.244.0.0/16"]))
    );
    assert_eq!(config.listen.healthz, address("0.0.0.0:10256"));
    assert_eq!(config.health_timeout, Duration::from_secs(60));
    assert_eq!(config.warnings.len(), 1, "{:?}", config.warnings);
}

#[test]
fn json_is_read_as_well_also_with_tabs() {
    let text = "{\t\"apiVersion\":\t\"kubeproxy.config.k8s.io/v1alpha1\",\n\t\"kind\": \
                \"KubeProxyConfiguration\",\n\t\"mode\": \"nftables\", \"nftables\": \
                {\"masqueradeAll\": true}}";
    let config = Config::resolve(&flags(""), Some(text), "n").unwrap();
    assert!(config.rules.masquerade_all);
}

#[test]
fn the_file_goes_before_flags_but_for_a_few() {
    let line = "--config c --cluster-cidr 1.0.0.0/8 --proxy-mode=bad --masquerade-all \
                --hostname-override Flag --logging-format json --master https://m \
                --affinity-capacity 7 --admin-socket= --reset-stale-tcp --drop-invalid -v 4 \
                --log-flush-frequency 1s";
    let body = "mode: nftables\nclusterCIDR: 10.0.0.0/8\nhostnameOverride: file\n\
                logging: {verbosity: 2, format: text}\n";
    let config = from_file(line, body).unwrap();
    assert_eq!(
        config.rules.detector,
        Detector::ClusterCidr(nets(&["10.0.0.0/8"]))
    );
    assert!(!config.rules.masquerade_all);
    assert_eq!(config.node_name, "flag");
    assert_eq!(
        config.log,
        Log {
            verbosity: 4,
            format: LogFormat::Json
        }
    );
    assert_eq!(config.rules.affinity_capacity, 7);
    assert!(config.rules.reset_stale_tcp && config.rules.drop_invalid);
    assert_eq!(config.listen.admin, None);
    let server = Some("https://m".to_owned());
    assert_eq!(
        config.source,
        Source::Cluster {
            kubeconfig: None,
            server
        }
    );
    let ignored = "ignored because of --config: --proxy-mode --cluster-cidr --masquerade-all";
    assert_eq!(config.warnings, [ignored]);
    let config = from_file("--config c", body).unwrap();
    assert_eq!(
        (config.node_name.as_str(), config.log.verbosity),
        ("file", 2)
    );
}

#[test]
fn settings_of_the_ruleset() {
    type Case = (&'static str, fn(&Options) -> bool);
    let cases: [Case; 12] = [
        ("clusterCIDR: 10.1.2.3/16,fd00::/48", |o| {
            o.detector == Detector::ClusterCidr(nets(&["10.1.0.0/16", "fd00::/48"]))
        }),
        ("clusterCIDR: 010.0.0.0/8", |o| {
            o.detector == Detector::ClusterCidr(nets(&["10.0.0.0/8"]))
        }),
        ("{detectLocalMode: NodeCIDR, clusterCIDR: nonsense}", |o| {
            o.detector == Detector::NodeCidr
        }),
        (
            "{detectLocalMode: BridgeInterface, detectLocal: {bridgeInterface: cni0}}",
            |o| o.detector == Detector::Bridge("cni0".into()),
        ),
        (
            "{detectLocalMode: InterfaceNamePrefix, detectLocal: {interfaceNamePrefix: ve}}",
            |o| o.detector == Detector::InterfacePrefix("ve".into()),
        ),
        ("nodePortAddresses: [primary]", |o| {
            o.node_port_addresses == NodePortAddresses::Primary
        }),
        ("nodePortAddresses: [10.0.0.0/8, 'fd00::/8']", |o| {
            o.node_port_addresses == NodePortAddresses::Within(nets(&["10.0.0.0/8", "fd00::/8"]))
        }),
        ("iptables: {masqueradeAll: true}", |o| o.masquerade_all),
        ("nftables: {masqueradeAll: true}", |o| !o.masquerade_all),
        ("{mode: nftables, nftables: {masqueradeAll: true}}", |o| {
            o.masquerade_all
        }),
        ("{mode: nftables, iptables: {masqueradeAll: true}}", |o| {
            !o.masquerade_all
        }),
        ("{mode: nftables, nodePortAddresses: []}", |o| {
            o.node_port_addresses == NodePortAddresses::Primary
        }),
    ];
    for (body, holds) in cases {
        let mut value: serde_json::Value = serde_saphyr::from_str(body).unwrap();
        value["apiVersion"] = "kubeproxy.config.k8s.io/v1alpha1".into();
        value["kind"] = "KubeProxyConfiguration".into();
        let config = Config::resolve(&flags(""), Some(&value.to_string()), "n")
            .unwrap_or_else(|error| panic!("{body}: {error}"));
        assert!(holds(&config.rules), "{body}: {:?}", config.rules);
    }
}

#[test]
fn addresses_that_are_listened_on() {
    for (line, healthz, metrics) in [
        ("--bind-address=::", "0.0.0.0:10256", "127.0.0.1:10249"),
        (
            "--healthz-bind-address=10.0.0.1",
            "10.0.0.1:10256",
            "127.0.0.1:10249",
        ),
        (
            "--healthz-bind-address=10.0.0.1 --healthz-port=9",
            "10.0.0.1:9",
            "127.0.0.1:10249",
        ),
        (
            "--metrics-bind-address=[::]:77 --metrics-port=9",
            "0.0.0.0:10256",
            "[::]:77",
        ),
        ("--metrics-bind-address=::1", "0.0.0.0:10256", "[::1]:10249"),
    ] {
        let listen = from_flags(line).unwrap().listen;
        assert_eq!(listen.healthz, address(healthz), "{line}");
        assert_eq!(listen.metrics, address(metrics), "{line}");
    }
    for line in [
        "--healthz-bind-address= --metrics-port=0",
        "--healthz-port=0 --metrics-bind-address=",
    ] {
        let listen = from_flags(line).unwrap().listen;
        assert_eq!((listen.healthz, listen.metrics), (None, None), "{line}");
    }
    let listen = from_file("", "bindAddress: 'fd00::1'\nbindAddressHardFail: true\n")
        .unwrap()
        .listen;
    assert_eq!(listen.healthz, address("[::]:10256"));
    assert_eq!(listen.metrics, address("[::1]:10249"));
    assert!(listen.hard_fail);
}

#[test]
fn an_unreadable_file_is_named() {
    let error = Config::load(&flags("--config /nonexistent/file")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "--config /nonexistent/file: No such file or directory (os error 2)"
    );
}

#[test]
fn node_names_and_actions() {
    assert_eq!(
        from_flags("--bind-address 10.0.0.7").unwrap().node_ip,
        "10.0.0.7".parse().ok()
    );
    assert_eq!(from_flags("--bind-address ::").unwrap().node_ip, None);
    assert_eq!(from_flags("--cleanup").unwrap().action, Action::Cleanup);
    assert_eq!(from_flags("--init-only").unwrap().action, Action::InitOnly);
    let config = from_flags("--manifests d --hostname-override n").unwrap();
    assert_eq!(config.source, Source::Manifests("d".into()));
    let blank = Config::resolve(&flags(""), None, " ");
    assert_eq!(errors(blank), ["--hostname-override: must not be blank"]);
}

#[test]
fn kube_proxys_rules_stay_only_where_that_is_wanted() {
    for (line, keep) in [
        ("", false),
        ("--cleanup", false),
        ("--manifests=/m", true),
        ("--manifests=/m --cleanup", false),
        ("--manifests=/m --keep-leftovers=false", false),
        ("--cleanup --keep-leftovers", true),
        ("--keep-leftovers", true),
    ] {
        assert_eq!(from_flags(line).unwrap().keep_leftovers, keep, "{line}");
    }
}
