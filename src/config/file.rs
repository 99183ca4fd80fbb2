// SPDX-License-Identifier: Apache-2.0
//! KubeProxyConfiguration (`kubeproxy.config.k8s.io/v1alpha1`) as it is written in a file.
//!
//! Names and meanings are upstream's (kube-proxy v1.36). What a file leaves out, or sets to null,
//! has the zero value here; defaults are applied by [`resolve`](super::resolve), because the same
//! type also carries what the flags say.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::cli::Period;

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct KubeProxyConfiguration {
    pub(super) api_version: String,
    pub(super) kind: String,
    pub(super) feature_gates: BTreeMap<String, bool>,
    pub(super) client_connection: ClientConnection,
    pub(super) logging: Logging,
    pub(super) hostname_override: String,
    pub(super) bind_address: String,
    pub(super) healthz_bind_address: String,
    pub(super) metrics_bind_address: String,
    pub(super) bind_address_hard_fail: bool,
    pub(super) enable_profiling: bool,
    pub(super) show_hidden_metrics_for_version: String,
    pub(super) mode: String,
    pub(super) iptables: Backend,
    pub(super) ipvs: Ipvs,
    pub(super) nftables: Backend,
    pub(super) winkernel: Winkernel,
    pub(super) detect_local_mode: String,
    pub(super) detect_local: DetectLocal,
    #[serde(rename = "clusterCIDR")]
    pub(super) cluster_cidr: String,
    pub(super) node_port_addresses: Vec<String>,
    pub(super) oom_score_adj: Option<i32>,
    pub(super) conntrack: Conntrack,
    pub(super) config_sync_period: Period,
    pub(super) port_range: String,
    pub(super) windows_run_as_service: bool,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ClientConnection {
    pub(super) kubeconfig: String,
    pub(super) accept_content_types: String,
    pub(super) content_type: String,
    pub(super) qps: f32,
    pub(super) burst: i32,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Logging {
    pub(super) format: String,
    pub(super) verbosity: u32,
    pub(super) flush_frequency: Value,
    pub(super) vmodule: Value,
    pub(super) options: Value,
}

/// `iptables` and `nftables`; only the former knows `localhostNodePorts`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Backend {
    pub(super) masquerade_bit: Option<i32>,
    pub(super) masquerade_all: bool,
    pub(super) localhost_node_ports: Option<bool>,
    pub(super) sync_period: Period,
    pub(super) min_sync_period: Period,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Ipvs {
    pub(super) sync_period: Period,
    pub(super) min_sync_period: Period,
    pub(super) scheduler: String,
    #[serde(rename = "excludeCIDRs")]
    pub(super) exclude_cidrs: Vec<String>,
    #[serde(rename = "strictARP")]
    pub(super) strict_arp: bool,
    pub(super) tcp_timeout: Period,
    pub(super) tcp_fin_timeout: Period,
    pub(super) udp_timeout: Period,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Winkernel {
    pub(super) network_name: String,
    pub(super) source_vip: String,
    #[serde(rename = "enableDSR")]
    pub(super) enable_dsr: bool,
    pub(super) root_hns_endpoint_name: String,
    pub(super) forward_health_check_vip: bool,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct DetectLocal {
    pub(super) bridge_interface: String,
    pub(super) interface_name_prefix: String,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Conntrack {
    pub(super) max_per_core: Option<i32>,
    pub(super) min: Option<i32>,
    pub(super) tcp_established_timeout: Option<Period>,
    pub(super) tcp_close_wait_timeout: Option<Period>,
    pub(super) tcp_be_liberal: bool,
    pub(super) udp_timeout: Period,
    pub(super) udp_stream_timeout: Period,
}
