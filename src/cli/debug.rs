// SPDX-License-Identifier: Apache-2.0
//! `ferrule debug …`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::INGRESS_SOCKET;
use super::ingress::namespaced;
use super::packet::{self, DiffArgs, ExplainArgs, RenderArgs, TraceArgs};
use crate::model::Behaviour;

/// Where the agent listens unless told otherwise.
pub(crate) const DEFAULT_SOCKET: &str = "/run/ferrule/ferrule.sock";

const SERVICES: &str = "\
Examples:
  ferrule debug services                      all Services
  ferrule debug services default/web          one, with the reason for each endpoint without traffic
  ferrule debug services default -o wide      affinity and source ranges too
  ferrule debug services -o json | jq '.[].name'";
const RULES: &str = "\
Examples:
  ferrule debug rules                                  chains, rules, and 20 elements of each map
  ferrule debug rules --set services --elements 100000
  ferrule debug rules --family ip6 -o yaml";
const INGRESS: &str = "\
Examples:
  ferrule debug ingress -o wide
  ferrule debug ingress --lint
  ferrule debug ingress --lint --manifests DIR -o json";
const ROUTE: &str = "\
Example:
  ferrule debug route https://shop.example.com/cart -H 'X-A: b'";

/// Views on a running node.
#[derive(Debug, Clone, PartialEq, Subcommand)]
pub enum DebugCommand {
    /// Every frontend with its policy and its endpoints, as the running agent serves them
    #[command(after_help = SERVICES)]
    Services(ServicesArgs),
    /// Why a connection goes where it goes, in words
    #[command(after_help = packet::EXPLAIN)]
    Explain(ExplainArgs),
    /// Which rules a packet meets, and with --probe what the kernel does with one
    #[command(after_help = packet::TRACE)]
    Trace(TraceArgs),
    /// Where the kernel differs from what it should hold
    #[command(after_help = packet::DIFF)]
    Diff(Box<DiffArgs>),
    /// What would be programmed for the objects in a directory; needs no rights and no kernel
    #[command(after_help = packet::RENDER)]
    Render(Box<RenderArgs>),
    /// What the kernel holds of ours, read over netlink
    #[command(after_help = RULES)]
    Rules(RulesArgs),
    /// What is wrong with this node and its Services: findings, evidence, what to do
    ///
    /// Exit status: 0 nothing is wrong, 1 something is, 2 it could not be looked at all. What may
    /// not be read is told as `not checked: forbidden`. Works without a running agent and without
    /// an API server, as far as that goes.
    #[command(after_help = DOCTOR_EXAMPLES)]
    Doctor(DoctorArgs),
    /// Live flows of a Service by endpoint, and those to endpoints that are no longer there
    #[command(after_help = CONNTRACK)]
    Conntrack(ConntrackArgs),
    /// Connections and bytes of Services as they come, where accounting is on
    #[command(after_help = TOP)]
    Top(TopArgs),
    /// What the Ingress sidecar serves: all routes, certificates and Ingresses
    #[command(after_help = INGRESS)]
    Ingress(IngressArgs),
    /// Which route of the Ingress sidecar a request takes, and why no other
    #[command(after_help = ROUTE)]
    Route(RouteArgs),
}

const CONNTRACK: &str = "\
Examples:
  ferrule debug conntrack default/web
  ferrule debug conntrack kube-system/kube-dns -o wide";
const TOP: &str = "\
Examples:
  ferrule debug top
  ferrule debug top --once -o json
  ferrule debug top --endpoints --interval 5";

/// Arguments of `ferrule debug conntrack`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct ConntrackArgs {
    /// The Service
    #[arg(value_name = "NAMESPACE/NAME")]
    pub service: String,
    /// Format; wide shows each flow
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
    /// Unix socket of the running agent
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    pub admin_socket: PathBuf,
}

/// Arguments of `ferrule debug top`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct TopArgs {
    /// Print sums once, in place of a view that goes on
    #[arg(long)]
    pub once: bool,
    /// Seconds between two views, 1 to 3600
    #[arg(long, value_name = "SECONDS", default_value_t = 2,
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub interval: u64,
    /// A row for each endpoint, too
    #[arg(long)]
    pub endpoints: bool,
    /// Format
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
    /// Unix socket of the running agent
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    pub admin_socket: PathBuf,
}

/// Examples in the help of `ferrule debug doctor`.
const DOCTOR_EXAMPLES: &str = "\
Examples:
  ferrule debug doctor
  ferrule debug doctor -o json
  kubectl -n kube-system exec ds/ferrule -- ferrule debug doctor
  ferrule debug doctor --kubeconfig /etc/kubernetes/admin.conf --hostname-override node-1";

/// Arguments of `ferrule debug doctor`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct DoctorArgs {
    /// Format
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
    /// Unix socket of the running agent
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    pub admin_socket: PathBuf,
    /// Read objects from the API server of this kubeconfig [default: as the running agent]
    #[arg(long, value_name = "FILE", conflicts_with = "manifests")]
    pub kubeconfig: Option<PathBuf>,
    /// Read objects from this API server
    #[arg(long, value_name = "URL", conflicts_with = "manifests")]
    pub master: Option<String>,
    /// Read objects from the files of this directory
    #[arg(long, value_name = "DIRECTORY")]
    pub manifests: Option<PathBuf>,
    /// Name of this Node [default: as the running agent]
    #[arg(long, value_name = "NAME")]
    pub hostname_override: Option<String>,
}

/// Arguments of `ferrule debug ingress`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct IngressArgs {
    /// Format
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
    /// Unix socket of the running sidecar
    #[arg(long, value_name = "PATH", default_value = INGRESS_SOCKET)]
    pub admin_socket: PathBuf,
    /// Show what is not served as it is written, and what to look at before ingress-nginx is
    /// replaced; exit status 1 if there is something, 2 for errors
    #[arg(long)]
    pub lint: bool,
    /// Look at the files in this directory; no sidecar, cluster or right is needed
    #[arg(long, value_name = "DIR", requires = "lint")]
    pub manifests: Option<PathBuf>,
    /// With --manifests: the ConfigMap with settings [default: one that is called
    /// ingress-nginx-controller]
    #[arg(long, value_name = "NAMESPACE/NAME", requires = "manifests", value_parser = namespaced)]
    pub configmap: Option<(String, String)>,
    /// With --manifests: how Ingresses are read whose class does not say it
    #[arg(
        long,
        value_name = "NAME",
        requires = "manifests",
        default_value = "ingress-nginx"
    )]
    pub behaviour: Behaviour,
}

/// Arguments of `ferrule debug route`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct RouteArgs {
    /// What a client would ask for
    #[arg(value_name = "URL")]
    pub url: String,
    /// A header of the request
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    pub headers: Vec<String>,
    /// Format
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
    /// Unix socket of the running sidecar
    #[arg(long, value_name = "PATH", default_value = INGRESS_SOCKET)]
    pub admin_socket: PathBuf,
}

/// Arguments of `ferrule debug services`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct ServicesArgs {
    /// Only Services of this namespace, or only this Service
    #[arg(value_name = "NAMESPACE[/NAME]")]
    pub filter: Option<String>,
    /// Format
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
    /// Unix socket of the running agent
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    pub admin_socket: PathBuf,
}

/// Arguments of `ferrule debug rules`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct RulesArgs {
    /// Only this family [default: both]
    #[arg(long, value_enum)]
    pub family: Option<Family>,
    /// Only the set or map of this name
    #[arg(long, value_name = "NAME")]
    pub set: Option<String>,
    /// How many elements to show of each set and map; they are always counted
    #[arg(long, value_name = "NUMBER", default_value_t = 20)]
    pub elements: usize,
    /// Format
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// An IP address family as the command line names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Family {
    /// IPv4
    #[value(alias = "ipv4", alias = "4")]
    Ip,
    /// IPv6
    #[value(alias = "ipv6", alias = "6")]
    Ip6,
}

/// How a debug command prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people
    Table,
    /// The same with more columns
    Wide,
    /// For programs: JSON, schema in docs/schema
    Json,
    /// The same as YAML
    Yaml,
}
