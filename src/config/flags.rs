// SPDX-License-Identifier: Apache-2.0
//! Flags -> the same type that a file decodes to, so that one set of rules checks both.

use super::defaults::append_port;
use super::file::{Conntrack, Ipvs, KubeProxyConfiguration};
use super::logging::set;
use super::mode::{ProxyMode, that_counts};
use crate::cli::{AcceptedFlags, Cli, Gates, Period};

/// Flags that count even when a file is given; the logging flags are merged on their own.
const WITH_FILE: [&str; 24] = [
    "config",
    "help",
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
    "protect-rules",
    "state-file",
    "reset-stale-tcp",
    "drop-invalid",
    "accounting",
    "accounting-endpoints",
    "accounting-sample",
    "ipvs-drain-timeout",
    "ipvs-local-fallback",
    "write-config-to",
];

/// What the flags say, in the words of a file, with the defaults of what is not given; in a
/// mode of the list that was settled on.
pub(super) fn as_file(cli: &Cli, settled: Option<ProxyMode>) -> KubeProxyConfiguration {
    let (flags, accepted) = (&cli.proxy, &cli.accepted);
    let mut file = KubeProxyConfiguration::defaulted();
    let client = &mut file.client_connection;
    client.kubeconfig = path(cli);
    set(&mut client.content_type, &accepted.kube_api_content_type);
    set(&mut client.qps, &accepted.kube_api_qps);
    set(&mut client.burst, &accepted.kube_api_burst);
    if let Some(Gates(gates)) = &accepted.feature_gates {
        file.feature_gates.clone_from(gates);
    }
    set(&mut file.bind_address, &flags.bind_address);
    set(
        &mut file.bind_address_hard_fail,
        &flags.bind_address_hard_fail,
    );
    set(&mut file.enable_profiling, &accepted.profiling);
    let hidden = &accepted.show_hidden_metrics_for_version;
    set(&mut file.show_hidden_metrics_for_version, hidden);
    listeners(cli, &mut file);
    mode(cli, settled, &mut file);
    set(&mut file.detect_local_mode, &flags.detect_local_mode);
    let local = &mut file.detect_local;
    set(&mut local.bridge_interface, &flags.pod_bridge_interface);
    set(
        &mut local.interface_name_prefix,
        &flags.pod_interface_name_prefix,
    );
    set(&mut file.cluster_cidr, &flags.cluster_cidr);
    file.node_port_addresses
        .clone_from(&flags.nodeport_addresses);
    if accepted.oom_score_adj.is_some() {
        file.oom_score_adj = accepted.oom_score_adj;
    }
    conntrack(accepted, &mut file.conntrack);
    set(&mut file.config_sync_period, &accepted.config_sync_period);
    file
}

/// An empty flag or a port of 0 switches a listener off, as kube-proxy's help says. The old port
/// flags fill in a port and change none (upstream: `addressFromDeprecatedFlags`).
fn listeners(cli: &Cli, file: &mut KubeProxyConfiguration) {
    let flags = &cli.proxy;
    for (place, flag, old, default) in [
        (
            &mut file.healthz_bind_address,
            &flags.healthz_bind_address,
            flags.healthz_port,
            10256,
        ),
        (
            &mut file.metrics_bind_address,
            &flags.metrics_bind_address,
            flags.metrics_port,
            10249,
        ),
    ] {
        set(place, flag);
        match old {
            Some(0) => place.clear(),
            // What is no port is reported elsewhere.
            old => append_port(
                place,
                old.and_then(|n| n.try_into().ok()).unwrap_or(default),
            ),
        }
    }
}

/// The mode and what is kept by mode. kube-proxy has no period flags of nftables mode: the
/// iptables ones hold for both.
fn mode(cli: &Cli, settled: Option<ProxyMode>, file: &mut KubeProxyConfiguration) {
    let (flags, accepted) = (&cli.proxy, &cli.accepted);
    set(&mut file.mode, &flags.proxy_mode);
    let bit = &accepted.iptables_masquerade_bit;
    file.iptables.masquerade_bit = bit.or(file.iptables.masquerade_bit);
    let nodeports = accepted.iptables_localhost_nodeports;
    file.iptables.localhost_node_ports = nodeports.or(file.iptables.localhost_node_ports);
    let (sync, min) = match that_counts(&file.mode, settled) {
        Some(ProxyMode::Ipvs) => (accepted.ipvs_sync_period, accepted.ipvs_min_sync_period),
        _ => (
            flags.iptables_sync_period,
            accepted.iptables_min_sync_period,
        ),
    };
    let (sync, min) = (
        sync.unwrap_or(Period::seconds(30)),
        min.unwrap_or(Period::seconds(1)),
    );
    let all = flags.masquerade_all.unwrap_or_default();
    ipvs(accepted, &mut file.ipvs);
    (file.ipvs.sync_period, file.ipvs.min_sync_period) = (sync, min);
    (file.iptables.sync_period, file.iptables.min_sync_period) = (sync, min);
    (file.nftables.sync_period, file.nftables.min_sync_period) = (sync, min);
    (file.iptables.masquerade_all, file.nftables.masquerade_all) = (all, all);
}

/// Whether a flag counts even when a file is given.
pub(super) fn holds_with_file(name: &str) -> bool {
    WITH_FILE.contains(&name) || is_logging(name)
}

/// The flags given that have no effect because a file is given too.
pub(super) fn overruled(cli: &Cli) -> Vec<String> {
    cli.given
        .iter()
        .filter(|name| !holds_with_file(name))
        .map(|name| format!("--{name}"))
        .collect()
}

/// The flags given that go before the file, with their dashes, where both have a say.
pub(super) fn overriding(cli: &Cli) -> Vec<String> {
    let both = |name: &&String| {
        is_logging(name) || ["v", "logging-format", "hostname-override"].contains(&name.as_str())
    };
    cli.given
        .iter()
        .filter(both)
        .map(|name| format!("--{name}"))
        .collect()
}

fn is_logging(name: &str) -> bool {
    name == "vmodule" || name.starts_with("log-")
}

fn path(cli: &Cli) -> String {
    let path = cli.proxy.kubeconfig.as_ref();
    path.map(|path| path.to_string_lossy().into_owned())
        .unwrap_or_default()
}

fn ipvs(accepted: &AcceptedFlags, ipvs: &mut Ipvs) {
    set(&mut ipvs.scheduler, &accepted.ipvs_scheduler);
    ipvs.exclude_cidrs.clone_from(&accepted.ipvs_exclude_cidrs);
    set(&mut ipvs.strict_arp, &accepted.ipvs_strict_arp);
    set(&mut ipvs.tcp_timeout, &accepted.ipvs_tcp_timeout);
    set(&mut ipvs.tcp_fin_timeout, &accepted.ipvs_tcpfin_timeout);
    set(&mut ipvs.udp_timeout, &accepted.ipvs_udp_timeout);
}

fn conntrack(accepted: &AcceptedFlags, it: &mut Conntrack) {
    it.max_per_core = accepted.conntrack_max_per_core.or(it.max_per_core);
    it.min = accepted.conntrack_min.or(it.min);
    let established = accepted.conntrack_tcp_timeout_established;
    it.tcp_established_timeout = established.or(it.tcp_established_timeout);
    let close_wait = accepted.conntrack_tcp_timeout_close_wait;
    it.tcp_close_wait_timeout = close_wait.or(it.tcp_close_wait_timeout);
    set(&mut it.tcp_be_liberal, &accepted.conntrack_tcp_be_liberal);
    set(&mut it.udp_timeout, &accepted.conntrack_udp_timeout);
    set(
        &mut it.udp_stream_timeout,
        &accepted.conntrack_udp_timeout_stream,
    );
}
