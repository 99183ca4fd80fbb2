// SPDX-License-Identifier: Apache-2.0
//! Flags that do something.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::sample::Sample;
use super::value::{parse_bool, parse_path, parse_version};

/// Where the last known state is kept unless told otherwise.
pub(crate) const DEFAULT_STATE_FILE: &str = "/var/lib/ferrule/state.jsonl";

/// The flags of kube-proxy v1.36 that have an effect, by kube-proxy's names.
///
/// With `--config`, those marked (*) are ignored, as kube-proxy does.
#[derive(Debug, Clone, Default, PartialEq, Args, Serialize)]
#[serde(rename_all = "kebab-case")]
#[command(next_help_heading = "Flags of kube-proxy ((*): ignored when --config is given)")]
pub struct ProxyFlags {
    /// KubeProxyConfiguration file, YAML or JSON
    #[arg(long, value_name = "FILE", value_parser = parse_path)]
    pub config: Option<PathBuf>,
    /// Remove all rules of ours, then exit
    #[arg(long, num_args = 0..=1, require_equals = true, value_name = "BOOL",
          default_missing_value = "true", value_parser = parse_bool)]
    pub cleanup: Option<bool>,
    /// Do what needs full privileges, then exit
    #[arg(long, num_args = 0..=1, require_equals = true, value_name = "BOOL",
          default_missing_value = "true", value_parser = parse_bool)]
    pub init_only: Option<bool>,
    /// How to reach and authenticate to the API server; without it and --master, the pod's
    /// service account (*)
    #[arg(long, value_name = "FILE", value_parser = parse_path)]
    pub kubeconfig: Option<PathBuf>,
    /// URL of the API server, instead of the kubeconfig's
    #[arg(long, value_name = "URL")]
    pub master: Option<String>,
    /// Name of the own Node [default: the host name in lower case]
    #[arg(long, value_name = "NAME")]
    pub hostname_override: Option<String>,
    /// nftables or ipvs, or a list as ipvs,nftables: the first that the kernel has; an empty word
    /// and iptables mean nftables, with NodePorts on all addresses (*)
    #[arg(long, value_name = "MODE[,MODE]")]
    pub proxy_mode: Option<String>,
    /// The node's own address, where it is not the Node object's first (no socket is bound to
    /// it) (*)
    #[arg(long, value_name = "IP")]
    pub bind_address: Option<String>,
    /// Where /healthz and /livez are served; empty: nowhere (*) [default: 0.0.0.0:10256]
    #[arg(long, value_name = "IP:PORT")]
    pub healthz_bind_address: Option<String>,
    /// Port for a --healthz-bind-address without one; 0: off (deprecated) (*)
    #[arg(long, value_name = "PORT", allow_negative_numbers = true)]
    pub healthz_port: Option<i32>,
    /// Where /metrics, /healthz and /proxyMode are served; empty: nowhere (*)
    /// [default: 127.0.0.1:10249]
    #[arg(long, value_name = "IP:PORT")]
    pub metrics_bind_address: Option<String>,
    /// Port for a --metrics-bind-address without one; 0: off (deprecated) (*)
    #[arg(long, value_name = "PORT", allow_negative_numbers = true)]
    pub metrics_port: Option<i32>,
    /// Exit when one of these two addresses cannot be bound, instead of trying again (*)
    #[arg(long, num_args = 0..=1, require_equals = true, value_name = "BOOL",
          default_missing_value = "true", value_parser = parse_bool)]
    pub bind_address_hard_fail: Option<bool>,
    /// How a pod's traffic is told from others': ClusterCIDR, NodeCIDR, BridgeInterface or
    /// InterfaceNamePrefix (*) [default: ClusterCIDR]
    #[arg(long, value_name = "MODE")]
    pub detect_local_mode: Option<String>,
    /// Pods' addresses for ClusterCIDR: a prefix, or one of each family (*)
    #[arg(long, value_name = "CIDR[,CIDR]")]
    pub cluster_cidr: Option<String>,
    /// Bridge that pods are attached to, for BridgeInterface (*)
    #[arg(long, value_name = "NAME")]
    pub pod_bridge_interface: Option<String>,
    /// How the names of pods' interfaces begin, for InterfaceNamePrefix (*)
    #[arg(long, value_name = "PREFIX")]
    pub pod_interface_name_prefix: Option<String>,
    /// Masquerade everything that goes to a ClusterIP (*)
    #[arg(long, num_args = 0..=1, require_equals = true, value_name = "BOOL",
          default_missing_value = "true", value_parser = parse_bool)]
    pub masquerade_all: Option<bool>,
    /// Node addresses that serve NodePorts: prefixes, or the word primary (*)
    #[arg(long, value_name = "CIDR,…", value_delimiter = ',')]
    pub nodeport_addresses: Option<Vec<String>>,
    /// Twice this time without a successful update is unhealthy (*) [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = super::parse_period,
          allow_negative_numbers = true)]
    pub iptables_sync_period: Option<super::Period>,
    /// Verbosity of the log: 4 and more adds debugging, 6 and more tracing [default: 0]
    #[serde(rename = "v")]
    #[arg(short = 'v', long = "v", value_name = "LEVEL")]
    pub verbosity: Option<u32>,
    /// Format of the log: text or json [default: text]
    #[arg(long, value_name = "FORMAT")]
    pub logging_format: Option<String>,
    /// Print the version and exit
    #[arg(long, num_args = 0..=1, require_equals = true, value_name = "raw",
          default_missing_value = "true", value_parser = parse_version)]
    pub version: Option<bool>,
}

/// What is done about others who change our tables.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProtectRules {
    /// They are refused by the kernel, and what they do nevertheless is repaired.
    #[default]
    Own,
    /// It is repaired.
    Repair,
    /// Nothing before the next start, or until a commit fails: for experiments by hand.
    Off,
}

/// Flags that kube-proxy does not have. They hold with and without `--config`.
#[derive(Debug, Clone, Default, PartialEq, Args, Serialize)]
#[serde(rename_all = "kebab-case")]
#[command(next_help_heading = "Flags of ferrule")]
pub struct OwnFlags {
    /// Read Services, EndpointSlices and Nodes from the files in this directory, not from an
    /// API server
    #[arg(long, value_name = "DIR", conflicts_with_all = ["kubeconfig", "master"])]
    pub manifests: Option<PathBuf>,
    /// Unix socket that answers `ferrule debug`; empty: none
    /// [default: /run/ferrule/ferrule.sock]
    #[arg(long, value_name = "PATH", value_parser = parse_path)]
    pub admin_socket: Option<PathBuf>,
    /// How many clients a Service with session affinity remembers at most, 1 to 4294967295
    /// [default: 1048576]
    #[arg(long, value_name = "N")]
    pub affinity_capacity: Option<u32>,
    /// Serve TCP NodePorts on 127.0.0.1 and [::1], too
    #[arg(long, num_args = 0..=1, require_equals = true, value_name = "BOOL",
          default_missing_value = "true", value_parser = parse_bool)]
    pub localhost_nodeports: Option<bool>,
    /// Leave the rules alone that kube-proxy has left on the node; with --cleanup: remove only
    /// ferrule's own [default: false; with --manifests and without --cleanup true]
    #[arg(long, num_args = 0..=1, require_equals = true, value_name = "BOOL",
          default_missing_value = "true", value_parser = parse_bool)]
    pub keep_leftovers: Option<bool>,
    /// What to do about other processes that change ferrule's tables: keep them from it where the
    /// kernel can (Linux 6.9) and repair what they do; only repair; or neither [default: own]
    #[arg(long, value_enum, value_name = "HOW")]
    pub protect_rules: Option<ProtectRules>,
    /// File that keeps what the API server said last, for a node that boots while there is none;
    /// empty: none [default: /var/lib/ferrule/state.jsonl]
    #[arg(long, value_name = "FILE", value_parser = parse_path)]
    pub state_file: Option<PathBuf>,
    /// Reset TCP connections through Services whose endpoint is gone
    #[arg(long, num_args = 0..=1, require_equals = true, value_name = "BOOL",
          default_missing_value = "true", value_parser = parse_bool)]
    pub reset_stale_tcp: Option<bool>,
    /// Count connections and bytes of each Service: metrics, and ferrule debug top
    #[arg(long, num_args = 0..=1, require_equals = true, value_name = "BOOL",
          default_missing_value = "true", value_parser = parse_bool)]
    pub accounting: Option<bool>,
    /// With --accounting: how many endpoints are counted each for itself [default: 1000]
    #[arg(long, value_name = "N")]
    pub accounting_endpoints: Option<u32>,
    /// With --accounting: count one in so many connections, for all of them, or auto: all, and on a
    /// busy node one in 16 [default: auto]
    #[arg(long, value_name = "N")]
    pub accounting_sample: Option<Sample>,
    /// Drop forwarded packets of endpoints that connection tracking calls invalid
    #[arg(long, num_args = 0..=1, require_equals = true, value_name = "BOOL",
          default_missing_value = "true", value_parser = parse_bool)]
    pub drop_invalid: Option<bool>,
    /// How long an endpoint that is gone, or a virtual server that is taken over, may keep its TCP
    /// connections in IPVS [default: 15m]
    #[arg(long, value_name = "TIME", value_parser = super::parse_period,
          allow_negative_numbers = true)]
    pub ipvs_drain_timeout: Option<super::Period>,
    /// With --proxy-mode=ipvs: policy Local without an endpoint on this node sends to all
    /// endpoints, as kube-proxy does in that mode, and does not drop
    #[arg(long, num_args = 0..=1, require_equals = true, value_name = "BOOL",
          default_missing_value = "true", value_parser = parse_bool)]
    pub ipvs_local_fallback: Option<bool>,
}
