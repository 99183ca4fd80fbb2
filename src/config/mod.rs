// SPDX-License-Identifier: Apache-2.0
//! File and flags -> one immutable, checked [`Config`].
//!
//! Nothing after this stage reads a flag, a file of settings or the environment. All mistakes are
//! reported at once, each under the name that the user wrote: a flag, or the path of a field.
//! Precedence is kube-proxy's: with `--config` the file decides, and other flags of kube-proxy are
//! ignored but for `--master`, `--hostname-override` and those of the log; ours always hold.

mod accepted;
mod accounting;
mod address;
mod check;
mod conntrack;
mod decode;
mod defaults;
mod document;
mod effective;
mod error;
mod features;
mod fields;
mod file;
mod flags;
#[doc(hidden)]
pub mod fuzzing;
mod ipvs;
mod localhost;
mod logging;
mod mode;
pub mod reload;
mod resolve;
#[cfg(test)]
mod tests;

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

pub use accounting::Accounted;
pub use error::{Error, FieldError};
pub use features::Features;
pub use ipvs::Ipvs;
pub use localhost::LocalhostNodePorts;
pub use mode::ProxyMode;

use crate::backend::sysctl::{Setting, processors};
pub use crate::cli::Sample;
use crate::cli::{Cli, ProtectRules};
use crate::plan::options::Options;

/// Everything that the user decides.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// What to do.
    pub action: Action,
    /// Name of the own Node, in lower case.
    pub node_name: String,
    /// `bindAddress`, unless unspecified: goes before the Node object's first address of its
    /// family (kube-proxy: `detectNodeIPs`). Nothing is bound to it.
    pub node_ip: Option<IpAddr>,
    /// Where objects come from.
    pub source: Source,
    /// Leave kube-proxy's rules alone (`--keep-leftovers`).
    pub keep_leftovers: bool,
    /// What is done about others who change our tables.
    pub protect: ProtectRules,
    /// The file of the last known state, if one is kept.
    pub state_file: Option<PathBuf>,
    /// What is counted of connections and bytes, if anything is.
    pub accounting: Option<Accounted>,
    /// The mode that holds: the first of `modes`, unless another one was settled on.
    pub mode: ProxyMode,
    /// The modes that are asked for; the first that the kernel has is the one to settle on.
    pub modes: Vec<ProxyMode>,
    /// Options of the ruleset.
    pub rules: Options,
    /// Settings of IPVS mode, whatever the mode.
    pub ipvs: Ipvs,
    /// Settings of connection tracking.
    pub conntrack: Vec<Setting>,
    /// Where requests are answered.
    pub listen: Listen,
    /// Whether TCP NodePorts are served on loopback.
    pub localhost_node_ports: LocalhostNodePorts,
    /// The log.
    pub log: Log,
    /// How long an update may be queued before the proxy counts as unhealthy: twice `syncPeriod`.
    pub health_timeout: Duration,
    /// What feature gates decide.
    pub features: Features,
    /// Whether profiles are served.
    pub profiling: bool,
    /// What the kernel is to add to this process's badness, -1000 to 1000.
    pub oom_score_adj: i32,
    /// The file that was read.
    pub file: Option<PathBuf>,
    /// What the user should know, for the log, once.
    pub warnings: Vec<String>,
    /// The command line.
    pub cli: Cli,
    effective: Value,
}

/// What a run of the program is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Be the proxy.
    Run,
    /// Remove all rules of ours (`--cleanup`).
    Cleanup,
    /// Do what needs full privileges (`--init-only`).
    InitOnly,
    /// Write the configuration with its defaults to this file (`--write-config-to`).
    WriteConfig(PathBuf),
}

/// Where objects come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Files in a directory (`--manifests`).
    Manifests(PathBuf),
    /// An API server. Without either field: the one that the pod's environment names.
    Cluster {
        /// `--kubeconfig` or `clientConnection.kubeconfig`.
        kubeconfig: Option<PathBuf>,
        /// `--master`, instead of the kubeconfig's server.
        server: Option<String>,
    },
}

/// Where requests are answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// /healthz and /livez.
    pub healthz: Option<SocketAddr>,
    /// /metrics, /healthz and /proxyMode.
    pub metrics: Option<SocketAddr>,
    /// End the program if one of the two cannot be bound.
    pub hard_fail: bool,
    /// Unix socket for `ferrule debug`.
    pub admin: Option<PathBuf>,
}

/// The log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Log {
    /// klog's verbosity, 0 and up.
    pub verbosity: u32,
    /// One line of text, or one JSON object, an event.
    pub format: LogFormat,
}

/// Format of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
}

impl Config {
    /// Reads the file that the flags name, and the host name.
    ///
    /// # Errors
    /// All that is wrong with file and flags.
    pub fn load(cli: &Cli) -> Result<Self, Error> {
        Self::load_as(cli, None)
    }

    fn load_as(cli: &Cli, settled: Option<ProxyMode>) -> Result<Self, Error> {
        let text = match file(cli) {
            Some(path) => Some(fs::read_to_string(path).map_err(|source| Error::Read {
                path: path.to_owned(),
                source,
            })?),
            None => None,
        };
        Self::resolve_as(cli, text.as_deref(), &host_name()?, settled)
    }

    /// The pure part of [`load`](Self::load): flags, the text of the file and the host name.
    ///
    /// # Errors
    /// All that is wrong with file and flags.
    pub fn resolve(cli: &Cli, text: Option<&str>, host_name: &str) -> Result<Self, Error> {
        Self::resolve_as(cli, text, host_name, None)
    }

    /// The same for a mode of the list that was settled on.
    fn resolve_as(
        cli: &Cli,
        text: Option<&str>,
        host_name: &str,
        settled: Option<ProxyMode>,
    ) -> Result<Self, Error> {
        let path = file(cli).unwrap_or(Path::new("-"));
        let mut decoded = match text {
            Some(text) => decode::decode(text).map_err(|reason| Error::Syntax {
                path: path.to_owned(),
                reason,
            })?,
            None => decode::Decoded {
                file: flags::as_file(cli, settled),
                ..Default::default()
            },
        };
        let told = match text {
            Some(_) => decoded.file.iptables.localhost_node_ports,
            None => cli.accepted.iptables_localhost_nodeports,
        };
        let mode = decoded.file.mode.clone();
        if let Some(counts) = mode::that_counts(&mode, settled) {
            counts.word().clone_into(&mut decoded.file.mode);
        }
        complete(cli, text.is_some(), &mut decoded);
        let mut resolver = resolve::Resolver {
            cli,
            file: &decoded.file,
            mode,
            settled: settled.is_some(),
            localhost_node_ports: told,
            checker: check::Checker {
                from_file: text.is_some(),
                overriding: flags::overriding(cli),
                errors: decoded.errors,
            },
            warnings: decoded.warnings,
        };
        if text.is_some() {
            resolver.warn_overruled();
        }
        let config = resolver.config(host_name);
        if resolver.checker.errors.is_empty() {
            return Ok(config);
        }
        let file = text.map(|_| path.to_owned());
        Err(Error::Invalid {
            file,
            errors: resolver.checker.errors,
        })
    }

    /// What the same command line means now.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn read_again(&self) -> Result<Self, Error> {
        self.settled(self.mode)
    }

    /// What the same command line means in a mode of its list.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn settled(&self, mode: ProxyMode) -> Result<Self, Error> {
        Self::load_as(&self.cli, Some(mode))
    }
}

/// Fills in all defaults, and the flags that go before the file.
fn complete(cli: &Cli, from_file: bool, decoded: &mut decode::Decoded) {
    let file = &mut decoded.file;
    if from_file {
        file.set_defaults();
    }
    file.keep_active();
    file.set_platform_defaults();
    if let Err(reason) = file.logging.set_from_flags(cli) {
        let field = "--vmodule".to_owned();
        decoded.errors.push(FieldError { field, reason });
    }
    let name = cli.proxy.hostname_override.as_deref().unwrap_or_default();
    if !name.is_empty() {
        file.hostname_override = match name.trim() {
            "" => name.to_owned(),
            name => name.to_lowercase(),
        };
    }
}

impl resolve::Resolver<'_> {
    fn config(&mut self, host_name: &str) -> Config {
        let (mode, modes) = self.mode();
        let ipvs = self.ipvs();
        self.checker.accepted(self.file);
        let period = self.file.active().sync_period;
        Config {
            action: self.action(),
            node_name: self.node_name(host_name),
            node_ip: self.node_ip(),
            source: self.source(),
            keep_leftovers: self.keep_leftovers(),
            protect: self.cli.own.protect_rules.unwrap_or_default(),
            state_file: self.state_file(),
            accounting: self.accounting(mode),
            mode,
            modes,
            rules: self.rules(mode, &ipvs),
            ipvs,
            conntrack: conntrack::settings(&self.file.conntrack, processors()),
            listen: self.listen(),
            localhost_node_ports: self.localhost_node_ports(),
            log: self.log(),
            health_timeout: period.to_duration().unwrap_or_default().saturating_mul(2),
            features: self.features(),
            profiling: self.file.enable_profiling,
            oom_score_adj: self.file.oom_score_adj.unwrap_or_default(),
            file: file(self.cli).map(Path::to_owned),
            warnings: std::mem::take(&mut self.warnings),
            cli: self.cli.clone(),
            effective: self.effective(),
        }
    }

    /// A list is shown as it was given until one of its modes was settled on.
    fn effective(&self) -> Value {
        let mut value = effective::value(self.file);
        if !self.settled && self.mode.contains(',') {
            value["mode"] = self.mode.as_str().into();
        }
        value
    }

    fn warn_overruled(&mut self) {
        let names = flags::overruled(self.cli);
        if !names.is_empty() {
            self.warnings
                .push(format!("ignored because of --config: {}", names.join(" ")));
        }
    }
}

/// The file that the flags name; an empty name is none.
fn file(cli: &Cli) -> Option<&Path> {
    cli.proxy
        .config
        .as_deref()
        .filter(|path| !path.as_os_str().is_empty())
}

fn host_name() -> Result<String, Error> {
    let name = nix::unistd::gethostname().map_err(|error| Error::HostName(error.to_string()))?;
    name.into_string()
        .map_err(|_| Error::HostName("it is not UTF-8".to_owned()))
}
