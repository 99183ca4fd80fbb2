// SPDX-License-Identifier: Apache-2.0
//! Flags -> the same type that a file decodes to, so that one set of rules checks both.

use crate::cli::{AcceptedFlags, Cli, ProxyFlags};

use super::file::{
    Backend, ClientConnection, Conntrack, DetectLocal, Ipvs, KubeProxyConfiguration,
};

/// Flags that count even when a file is given; the logging flags are merged on their own.
const WITH_FILE: [&str; 16] = [
    "config",
    "cleanup",
    "init-only",
    "master",
    "hostname-override",
    "v",
    "logging-format",
    "version",
    "manifests",
    "admin-socket",
    "affinity-capacity",
    "localhost-nodeports",
    "keep-leftovers",
    "reset-stale-tcp",
    "drop-invalid",
    "write-config-to",
];

/// What the flags say, in the words of a file.
pub(super) fn as_file(cli: &Cli) -> KubeProxyConfiguration {
    let (flags, accepted) = (&cli.proxy, &cli.accepted);
    KubeProxyConfiguration {
        client_connection: ClientConnection {
            kubeconfig: path(flags),
            content_type: text(&accepted.kube_api_content_type),
            qps: accepted.kube_api_qps.unwrap_or_default(),
            burst: accepted.kube_api_burst.unwrap_or_default(),
            ..ClientConnection::default()
        },
        bind_address: text(&flags.bind_address),
        healthz_bind_address: text(&flags.healthz_bind_address),
        metrics_bind_address: text(&flags.metrics_bind_address),
        bind_address_hard_fail: flags.bind_address_hard_fail.unwrap_or_default(),
        enable_profiling: accepted.profiling.unwrap_or_default(),
        mode: text(&flags.proxy_mode),
        iptables: backend(flags, accepted),
        nftables: Backend {
            masquerade_bit: None,
            ..backend(flags, accepted)
        },
        ipvs: ipvs(accepted),
        detect_local_mode: text(&flags.detect_local_mode),
        detect_local: DetectLocal {
            bridge_interface: text(&flags.pod_bridge_interface),
            interface_name_prefix: text(&flags.pod_interface_name_prefix),
        },
        cluster_cidr: text(&flags.cluster_cidr),
        node_port_addresses: flags.nodeport_addresses.clone().unwrap_or_default(),
        oom_score_adj: accepted.oom_score_adj,
        conntrack: conntrack(accepted),
        config_sync_period: accepted.config_sync_period.unwrap_or_default(),
        ..KubeProxyConfiguration::default()
    }
}

/// The flags given that have no effect because a file is given too.
pub(super) fn overruled(cli: &Cli) -> Vec<String> {
    cli.given
        .iter()
        .filter(|name| !WITH_FILE.contains(&name.as_str()) && !is_logging(name))
        .map(|name| format!("--{name}"))
        .collect()
}

fn is_logging(name: &str) -> bool {
    name == "vmodule" || name.starts_with("log-")
}

fn text(value: &Option<String>) -> String {
    value.clone().unwrap_or_default()
}

fn path(flags: &ProxyFlags) -> String {
    flags
        .kubeconfig
        .as_ref()
        .map(|path| path.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// kube-proxy has no period flags of nftables mode: the iptables ones hold for both.
fn backend(flags: &ProxyFlags, accepted: &AcceptedFlags) -> Backend {
    Backend {
        masquerade_bit: accepted.iptables_masquerade_bit,
        masquerade_all: flags.masquerade_all.unwrap_or_default(),
        localhost_node_ports: accepted.iptables_localhost_nodeports,
        sync_period: flags.iptables_sync_period.unwrap_or_default(),
        min_sync_period: accepted.iptables_min_sync_period.unwrap_or_default(),
    }
}

fn ipvs(accepted: &AcceptedFlags) -> Ipvs {
    Ipvs {
        sync_period: accepted.ipvs_sync_period.unwrap_or_default(),
        min_sync_period: accepted.ipvs_min_sync_period.unwrap_or_default(),
        scheduler: text(&accepted.ipvs_scheduler),
        exclude_cidrs: accepted.ipvs_exclude_cidrs.clone().unwrap_or_default(),
        strict_arp: accepted.ipvs_strict_arp.unwrap_or_default(),
        tcp_timeout: accepted.ipvs_tcp_timeout.unwrap_or_default(),
        tcp_fin_timeout: accepted.ipvs_tcpfin_timeout.unwrap_or_default(),
        udp_timeout: accepted.ipvs_udp_timeout.unwrap_or_default(),
    }
}

fn conntrack(accepted: &AcceptedFlags) -> Conntrack {
    Conntrack {
        max_per_core: accepted.conntrack_max_per_core,
        min: accepted.conntrack_min,
        tcp_established_timeout: accepted.conntrack_tcp_timeout_established,
        tcp_close_wait_timeout: accepted.conntrack_tcp_timeout_close_wait,
        tcp_be_liberal: accepted.conntrack_tcp_be_liberal.unwrap_or_default(),
        udp_timeout: accepted.conntrack_udp_timeout.unwrap_or_default(),
        udp_stream_timeout: accepted.conntrack_udp_timeout_stream.unwrap_or_default(),
    }
}
