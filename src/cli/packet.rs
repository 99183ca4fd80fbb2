// SPDX-License-Identifier: Apache-2.0
//! Debug commands about packets, and about what should be programmed.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::debug::DEFAULT_SOCKET;
use super::{AcceptedFlags, Cli, Output, OwnFlags, ProxyFlags};

pub(super) const EXPLAIN: &str = "\
Examples:
  ferrule debug explain 10.96.0.10:443                         as a pod of this node would connect
  ferrule debug explain web.default:80 --from outside
  ferrule debug explain svc/web:http -n shop --from 10.244.1.7
  ferrule debug explain 192.0.2.10:30080/udp --from node -o json

HOST is an address, a Service as NAME.NAMESPACE or svc/NAME, [ADDRESS] for IPv6. PORT may be the name
of a Service's port. Without a running agent the kernel alone is asked, which knows no names.";

pub(super) const TRACE: &str = "\
Examples:
  ferrule debug trace pod 10.96.0.10:443/tcp
  ferrule debug trace 10.244.1.7 192.0.2.10:30080/udp
  ferrule debug trace node 10.96.0.10:443/tcp --probe      and what the kernel does with a real packet

--probe sends one packet. A table of its own marks it for tracing, and a pair of links carries it in
if it is not this node's own; both go away with this program, even if it is killed.";

pub(super) const DIFF: &str = "\
Examples:
  ferrule debug diff                                       what the running agent wants
  ferrule debug diff --from-cluster --config /var/lib/kube-proxy/config.conf
  ferrule debug diff --from-manifests DIR --hostname-override n1 --cluster-cidr 10.244.0.0/16

Exit status: 0 equal, 1 different, 2 could not be told. With --from-cluster and --from-manifests give
the flags that the agent runs with: they decide what should be there.";

pub(super) const RENDER: &str = "\
Examples:
  ferrule debug render --manifests DIR --hostname-override n1 --cluster-cidr 10.244.0.0/16
  ferrule debug render --manifests DIR --proxy-mode ipvs --part servers
  ferrule debug render --manifests DIR | nft -c -f -

Takes the agent's flags. The Node object's addresses stand for this host's.";

/// Arguments of `ferrule debug explain`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct ExplainArgs {
    /// Where the connection goes
    #[arg(value_name = "HOST:PORT[/PROTO]")]
    pub to: String,
    /// Who connects: pod, node, outside, or an address
    #[arg(long, value_name = "pod|node|outside|IP", default_value = "pod")]
    pub from: String,
    /// The interface that its packets come in by, where pods are told by interfaces
    #[arg(long, value_name = "NAME")]
    pub interface: Option<String>,
    /// Namespace of the Service, where HOST does not say it
    #[arg(short, long, value_name = "NAME", default_value = "default")]
    pub namespace: String,
    /// Format
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
    /// Unix socket of the running agent
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    pub admin_socket: PathBuf,
}

/// Arguments of `ferrule debug trace`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct TraceArgs {
    /// Who connects: pod, node, outside, or an address
    #[arg(value_name = "SRC")]
    pub from: String,
    /// Where to: an address, or a Service as NAME.NAMESPACE
    #[arg(value_name = "DST:PORT/PROTO")]
    pub to: String,
    /// The interface that the packet comes in by, where pods are told by interfaces
    #[arg(long, value_name = "NAME")]
    pub interface: Option<String>,
    /// Send a packet and show the kernel's own trace of it
    #[arg(long)]
    pub probe: bool,
    /// Format; wide also shows the rules that do not match
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
    /// Unix socket of the running agent
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    pub admin_socket: PathBuf,
}

/// The flags that decide what an agent programs.
#[derive(Debug, Clone, Default, PartialEq, Args)]
pub struct AgentFlags {
    /// kube-proxy's flags that have an effect.
    #[command(flatten)]
    pub proxy: ProxyFlags,
    /// Flags that kube-proxy does not have.
    #[command(flatten)]
    pub own: OwnFlags,
    /// kube-proxy's flags that are accepted and checked, but do nothing.
    #[command(flatten)]
    pub accepted: AcceptedFlags,
}

impl AgentFlags {
    /// The command line of the agent.
    pub fn cli(&self) -> Cli {
        Cli {
            proxy: self.proxy.clone(),
            own: self.own.clone(),
            accepted: self.accepted.clone(),
            command: None,
            given: Vec::new(),
        }
    }
}

/// Arguments of `ferrule debug diff`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct DiffArgs {
    /// Compare with what the objects in these files ask for
    #[arg(long, value_name = "DIR", conflicts_with = "from_cluster")]
    pub from_manifests: Option<PathBuf>,
    /// Compare with what the API server's objects ask for
    #[arg(long)]
    pub from_cluster: bool,
    /// Format
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
    /// The agent's flags.
    #[command(flatten)]
    pub agent: AgentFlags,
}

/// Arguments of `ferrule debug render`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct RenderArgs {
    /// What to print [default: both]
    #[arg(long, value_enum)]
    pub part: Option<Part>,
    /// Format
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
    /// The agent's flags.
    #[command(flatten)]
    pub agent: AgentFlags,
}

/// A part of what is programmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Tables, for `nft -f`
    Rules,
    /// Virtual servers of IPVS mode, for `ipvsadm-restore -n`
    Servers,
}
