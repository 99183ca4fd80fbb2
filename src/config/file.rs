// SPDX-License-Identifier: Apache-2.0
//! KubeProxyConfiguration (`kubeproxy.config.k8s.io/v1alpha1`) as it is written in a file.
//!
//! Names and meanings are upstream's (kube-proxy v1.36). What a file leaves out, or sets to null,
//! has the zero value here until [`defaults`](super::defaults) fills it in. The same type carries
//! what the flags say. It is written with every field, as kube-proxy does.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, Serializer};

use super::logging::Logging;
use crate::cli::Period;

#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct KubeProxyConfiguration {
    pub(super) api_version: String,
    pub(super) kind: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
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
    pub(super) iptables: Iptables,
    pub(super) ipvs: Ipvs,
    pub(super) nftables: Nftables,
    pub(super) winkernel: Winkernel,
    pub(super) detect_local_mode: String,
    pub(super) detect_local: DetectLocal,
    #[serde(rename = "clusterCIDR")]
    pub(super) cluster_cidr: String,
    pub(super) node_port_addresses: Option<Vec<String>>,
    pub(super) oom_score_adj: Option<i32>,
    pub(super) conntrack: Conntrack,
    pub(super) config_sync_period: Period,
    pub(super) port_range: String,
    #[serde(skip_serializing_if = "is_false")]
    pub(super) windows_run_as_service: bool,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ClientConnection {
    pub(super) kubeconfig: String,
    pub(super) accept_content_types: String,
    pub(super) content_type: String,
    #[serde(serialize_with = "shortest")]
    pub(super) qps: f32,
    pub(super) burst: i32,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Iptables {
    pub(super) masquerade_bit: Option<i32>,
    pub(super) masquerade_all: bool,
    pub(super) localhost_node_ports: Option<bool>,
    pub(super) sync_period: Period,
    pub(super) min_sync_period: Period,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Nftables {
    pub(super) masquerade_bit: Option<i32>,
    pub(super) masquerade_all: bool,
    pub(super) sync_period: Period,
    pub(super) min_sync_period: Period,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Ipvs {
    pub(super) sync_period: Period,
    pub(super) min_sync_period: Period,
    pub(super) scheduler: String,
    #[serde(rename = "excludeCIDRs")]
    pub(super) exclude_cidrs: Option<Vec<String>>,
    #[serde(rename = "strictARP")]
    pub(super) strict_arp: bool,
    pub(super) tcp_timeout: Period,
    pub(super) tcp_fin_timeout: Period,
    pub(super) udp_timeout: Period,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Winkernel {
    pub(super) network_name: String,
    pub(super) source_vip: String,
    #[serde(rename = "enableDSR")]
    pub(super) enable_dsr: bool,
    pub(super) root_hns_endpoint_name: String,
    pub(super) forward_health_check_vip: bool,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct DetectLocal {
    pub(super) bridge_interface: String,
    pub(super) interface_name_prefix: String,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
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

pub(super) fn is_false(value: &bool) -> bool {
    !value
}

/// As Go writes a `float32`: in the fewest digits that mean it, whole numbers without a fraction.
fn shortest<S: Serializer>(value: &f32, serializer: S) -> Result<S::Ok, S::Error> {
    if value.fract() == 0.0 && value.abs() < 1e15 {
        return serializer.serialize_i64(*value as i64);
    }
    serializer.serialize_f64(value.to_string().parse().unwrap_or(f64::from(*value)))
}

/// What kube-proxy's modes have in common.
pub(super) struct Mode {
    /// The section of the file that counts.
    pub(super) section: &'static str,
    pub(super) masquerade_all: bool,
    pub(super) sync_period: Period,
    pub(super) min_sync_period: Period,
}

impl KubeProxyConfiguration {
    /// The settings of the mode that is asked for; masqueradeAll is iptables' in ipvs mode too.
    pub(super) fn active(&self) -> Mode {
        let (section, masquerade_all, sync_period, min_sync_period) = match self.mode.as_str() {
            "nftables" => {
                let it = &self.nftables;
                (
                    "nftables",
                    it.masquerade_all,
                    it.sync_period,
                    it.min_sync_period,
                )
            }
            "ipvs" => {
                let (it, all) = (&self.ipvs, self.iptables.masquerade_all);
                ("ipvs", all, it.sync_period, it.min_sync_period)
            }
            _ => {
                let it = &self.iptables;
                (
                    "iptables",
                    it.masquerade_all,
                    it.sync_period,
                    it.min_sync_period,
                )
            }
        };
        Mode {
            section,
            masquerade_all,
            sync_period,
            min_sync_period,
        }
    }

    /// Leaves only the settings of the mode that is asked for, and no portRange. kube-proxy keeps
    /// one value for all modes, so that is what it has after it has read a file (upstream: `conversion.go`).
    pub(super) fn keep_active(&mut self) {
        let Mode {
            section,
            masquerade_all,
            sync_period,
            min_sync_period,
        } = self.active();
        let nftables = section == "nftables";
        self.port_range.clear();
        self.iptables.masquerade_all = masquerade_all && !nftables;
        self.nftables.masquerade_all = masquerade_all && nftables;
        let only = |wanted, period| {
            if section == wanted {
                period
            } else {
                Period::default()
            }
        };
        self.iptables.sync_period = only("iptables", sync_period);
        self.iptables.min_sync_period = only("iptables", min_sync_period);
        self.nftables.sync_period = only("nftables", sync_period);
        self.nftables.min_sync_period = only("nftables", min_sync_period);
        self.ipvs.sync_period = only("ipvs", sync_period);
        self.ipvs.min_sync_period = only("ipvs", min_sync_period);
    }
}
