// SPDX-License-Identifier: Apache-2.0

use ipnet::IpNet;
use proptest::prelude::*;

use super::*;
use crate::plan::options::{Detector, NodePortAddresses};

const HEAD: &str = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n";

/// What kubeadm v1.36 writes: every field, at its zero value.
const KUBEADM: &str = include_str!("testdata/kubeadm.yaml");

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
    assert_eq!(
        from_flags("--config= --kubeconfig=").unwrap(),
        from_flags("").unwrap()
    );
    let config = from_flags("").unwrap();
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
        ("ipvs", "ipvs is not built yet: coming"),
        ("NFTables", "must be nftables, is \"NFTables\""),
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
                --affinity-capacity 7 --admin-socket= -v 4 --vmodule a=1";
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
fn every_mistake_is_reported_under_its_name() {
    let line = "--proxy-mode=x --cluster-cidr=10.0.0.0/8,11.0.0.0/8 --nodeport-addresses=primary,z \
                --bind-address=1.2.3 --healthz-bind-address=h:1 --metrics-bind-address=1.2.3.4:0 \
                --iptables-masquerade-bit=32 --oom-score-adj=-1001 --iptables-sync-period=0s \
                --config-sync-period=0s --conntrack-min=-1 --affinity-capacity=0 \
                --logging-format=xml --write-config-to=f --conntrack-udp-timeout=-1s";
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
            "--nodeport-addresses",
            "--oom-score-adj",
            "--proxy-mode",
            "--write-config-to",
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
            "mode: ipvs is not built yet",
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
        text.contains("duplicate") && text.contains("the last value counts"),
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

fn yaml() -> impl Strategy<Value = String> {
    let key = prop::sample::select(vec![
        "mode",
        "iptables",
        "nftables",
        "syncPeriod",
        "clusterCIDR",
        "conntrack",
        "min",
        "logging",
        "nodePortAddresses",
        "healthzBindAddress",
        "detectLocalMode",
        "x",
        "bindAddress",
        "vmodule",
    ]);
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<i64>().prop_map(|n| n.to_string()),
        any::<bool>().prop_map(|b| b.to_string()),
        any::<f64>().prop_map(|n| n.to_string()),
        "[ -~]{0,12}".prop_map(|text| serde_json::to_string(&text).unwrap()),
        prop::sample::select(vec![
            "10.0.0.0/8",
            "1.2.3.4:5",
            "30s",
            "'::'",
            "'[::1]:1'",
            "*a",
            "&a b"
        ])
        .prop_map(str::to_owned),
    ];
    leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4)
                .prop_map(|items| format!("[{}]", items.join(", "))),
            prop::collection::vec((key.clone(), inner), 0..6).prop_map(|fields| {
                let fields: Vec<String> = fields.iter().map(|(k, v)| format!("{k}: {v}")).collect();
                format!("{{{}}}", fields.join(", "))
            }),
        ]
    })
}

proptest! {
    /// Whatever a file holds is a configuration or an error with at least one line.
    #[test]
    fn no_file_panics(text in yaml(), noise in ".{0,60}", garbage in any::<bool>()) {
        let body = if garbage { noise } else { text };
        for text in [body.clone(), format!("{HEAD}mode: {body}\nconntrack: {body}\n"),
                     format!("{HEAD}clusterCIDR: {body}"), format!("{HEAD}iptables: {body}")] {
            if let Err(error) = Config::resolve(&flags("--config c"), Some(&text), "n") {
                prop_assert!(!error.to_string().is_empty());
            }
        }
    }

    /// Any address text is parsed or refused.
    #[test]
    fn no_address_panics(text in "[0-9a-f:.\\[\\]/%x -]{0,24}") {
        let _ = address::ip(&text);
        let _ = address::cidr(&text);
        let _ = address::socket(&text, 1);
        let _ = crate::cli::parse_period(&text);
    }
}
