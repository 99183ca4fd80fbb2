// SPDX-License-Identifier: Apache-2.0
//! Flags that only make an existing kube-proxy command line start.

use std::path::PathBuf;

use clap::Args;
use serde::{Serialize, Serializer};

use super::value::{parse_bool, parse_path};
use super::{Gates, Period, Quantity, parse_gates, parse_period};

/// Heading of the flags that set connection tracking up.
const CONNTRACK: &str = "Connection tracking (*)";
/// Heading of the flags of IPVS mode.
const IPVS: &str = "With --proxy-mode=ipvs (*)";
/// Heading of the flags that concern the process.
const PROCESS: &str = "The process";

/// The flags of kube-proxy v1.36 that have no effect on rules; most have none at all. Their values
/// are checked all the same.
#[derive(Debug, Clone, Default, PartialEq, Args, Serialize)]
#[serde(rename_all = "kebab-case")]
#[command(next_help_heading = "Flags of kube-proxy that are accepted and have no effect")]
#[allow(missing_docs, reason = "names and meanings are kube-proxy's")]
pub struct AcceptedFlags {
    /// Feature gates; those that kube-proxy reads have their effect, others have none (*)
    #[arg(long, help_heading = PROCESS, value_name = "KEY=BOOL,…", value_parser = parse_gates)]
    pub feature_gates: Option<Gates>,
    #[arg(long, value_name = "TYPE")]
    pub kube_api_content_type: Option<String>,
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub kube_api_burst: Option<i32>,
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    #[serde(serialize_with = "as_text")]
    pub kube_api_qps: Option<f32>,
    /// Serve profiles on --metrics-bind-address (*)
    #[arg(long, help_heading = PROCESS, num_args = 0..=1, require_equals = true, value_name = "BOOL",
          default_missing_value = "true", value_parser = parse_bool)]
    pub profiling: Option<bool>,
    #[arg(long, value_name = "VERSION")]
    pub show_hidden_metrics_for_version: Option<String>,
    #[arg(long, value_name = "BIT", allow_negative_numbers = true)]
    pub iptables_masquerade_bit: Option<i32>,
    #[arg(long, num_args = 0..=1, require_equals = true, value_name = "BOOL",
          default_missing_value = "true", value_parser = parse_bool)]
    pub iptables_localhost_nodeports: Option<bool>,
    #[arg(long, value_name = "TIME", value_parser = parse_period, allow_negative_numbers = true)]
    pub iptables_min_sync_period: Option<Period>,
    /// Twice this time without a successful update is unhealthy [default: 30s]
    #[arg(long, help_heading = IPVS, value_name = "TIME", value_parser = parse_period, allow_negative_numbers = true)]
    pub ipvs_sync_period: Option<Period>,
    #[arg(long, value_name = "TIME", value_parser = parse_period, allow_negative_numbers = true)]
    pub ipvs_min_sync_period: Option<Period>,
    /// Scheduler of Services that choose none [default: rr]
    #[arg(long, help_heading = IPVS, value_name = "NAME")]
    pub ipvs_scheduler: Option<String>,
    /// Virtual servers at addresses in these prefixes are not removed, whoever made them
    #[arg(long, help_heading = IPVS, value_name = "CIDR,…", value_delimiter = ',')]
    pub ipvs_exclude_cidrs: Option<Vec<String>>,
    /// Set net.ipv4.conf.all.arp_ignore to 1 and arp_announce to 2
    #[arg(long, help_heading = IPVS, num_args = 0..=1, require_equals = true, value_name = "BOOL",
          default_missing_value = "true", value_parser = parse_bool)]
    pub ipvs_strict_arp: Option<bool>,
    /// How long IPVS keeps an idle TCP connection; 0: as the kernel has it
    #[arg(long, help_heading = IPVS, value_name = "TIME", value_parser = parse_period, allow_negative_numbers = true)]
    pub ipvs_tcp_timeout: Option<Period>,
    /// The same after a FIN
    #[arg(long, help_heading = IPVS, value_name = "TIME", value_parser = parse_period, allow_negative_numbers = true)]
    pub ipvs_tcpfin_timeout: Option<Period>,
    /// The same for UDP
    #[arg(long, help_heading = IPVS, value_name = "TIME", value_parser = parse_period, allow_negative_numbers = true)]
    pub ipvs_udp_timeout: Option<Period>,
    /// What the kernel adds to the score by which it picks a process to end when memory runs out,
    /// -1000 to 1000 (*) [default: -999]
    #[arg(long, help_heading = PROCESS, value_name = "N", allow_negative_numbers = true)]
    pub oom_score_adj: Option<i32>,
    #[arg(long, help_heading = CONNTRACK, value_name = "N", allow_negative_numbers = true)]
    pub conntrack_max_per_core: Option<i32>,
    #[arg(long, help_heading = CONNTRACK, value_name = "N", allow_negative_numbers = true)]
    pub conntrack_min: Option<i32>,
    #[arg(long, help_heading = CONNTRACK, value_name = "TIME", value_parser = parse_period, allow_negative_numbers = true)]
    pub conntrack_tcp_timeout_established: Option<Period>,
    #[arg(long, help_heading = CONNTRACK, value_name = "TIME", value_parser = parse_period, allow_negative_numbers = true)]
    pub conntrack_tcp_timeout_close_wait: Option<Period>,
    #[arg(long, help_heading = CONNTRACK, num_args = 0..=1, require_equals = true, value_name = "BOOL",
          default_missing_value = "true", value_parser = parse_bool)]
    pub conntrack_tcp_be_liberal: Option<bool>,
    #[arg(long, help_heading = CONNTRACK, value_name = "TIME", value_parser = parse_period, allow_negative_numbers = true)]
    pub conntrack_udp_timeout: Option<Period>,
    #[arg(long, help_heading = CONNTRACK, value_name = "TIME", value_parser = parse_period, allow_negative_numbers = true)]
    pub conntrack_udp_timeout_stream: Option<Period>,
    #[arg(long, value_name = "TIME", value_parser = parse_period, allow_negative_numbers = true)]
    pub config_sync_period: Option<Period>,
    #[arg(long, value_name = "PATTERN=N,…")]
    pub vmodule: Option<String>,
    #[arg(long, value_name = "TIME", value_parser = parse_period, allow_negative_numbers = true)]
    pub log_flush_frequency: Option<Period>,
    #[arg(long, num_args = 0..=1, require_equals = true, value_name = "BOOL",
          default_missing_value = "true", value_parser = parse_bool)]
    pub log_text_split_stream: Option<bool>,
    #[arg(long, value_name = "SIZE", value_parser = Quantity::parse)]
    pub log_text_info_buffer_size: Option<Quantity>,
    #[arg(long, num_args = 0..=1, require_equals = true, value_name = "BOOL",
          default_missing_value = "true", value_parser = parse_bool)]
    pub log_json_split_stream: Option<bool>,
    #[arg(long, value_name = "SIZE", value_parser = Quantity::parse)]
    pub log_json_info_buffer_size: Option<Quantity>,
    #[arg(long, value_name = "FILE,…")]
    pub boot_id_file: Option<String>,
    #[arg(long, value_name = "FILE,…")]
    pub machine_id_file: Option<String>,
    /// Write the configuration with all its defaults to this file, then exit
    #[arg(long, help_heading = PROCESS, value_name = "FILE", value_parser = parse_path)]
    pub write_config_to: Option<PathBuf>,
}

/// `f32` as `f64` would show digits that nobody wrote.
fn as_text<S: Serializer>(value: &Option<f32>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}
