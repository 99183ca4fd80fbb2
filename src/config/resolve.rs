// SPDX-License-Identifier: Apache-2.0
//! What a file or the flags say -> settings with defaults, checked.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use super::check::{Checker, Field};
use super::features::{Features, Gates};
use super::file::KubeProxyConfiguration;
use super::mode::{self, ProxyMode};
use super::{Action, Ipvs, Listen, Log, LogFormat, Source, address};
use crate::cli::Cli;
use crate::plan::options::{Detector, Mode, NodePortAddresses, Options};

const MODE: Field = Field("mode", "--proxy-mode");
const BIND: Field = Field("bindAddress", "--bind-address");
const HEALTHZ: Field = Field("healthzBindAddress", "--healthz-bind-address");
const METRICS: Field = Field("metricsBindAddress", "--metrics-bind-address");
const HOSTNAME: Field = Field("hostnameOverride", "--hostname-override");

/// One source of settings, the flags for what only they can say, and what is found wrong.
pub(super) struct Resolver<'a> {
    pub(super) cli: &'a Cli,
    pub(super) file: &'a KubeProxyConfiguration,
    /// The mode as it was given, possibly a list; `file` has the one that counts.
    pub(super) mode: String,
    /// Whether that one was settled on.
    pub(super) settled: bool,
    /// `iptables.localhostNodePorts` or its flag before defaults were filled in.
    pub(super) localhost_node_ports: Option<bool>,
    pub(super) checker: Checker,
    pub(super) warnings: Vec<String>,
}

impl Resolver<'_> {
    /// The mode that counts and the list that it is from. Says what an old word means.
    pub(super) fn mode(&mut self) -> (ProxyMode, Vec<ProxyMode>) {
        let modes = mode::parse(&self.mode).unwrap_or_else(|reason| {
            self.checker.fail(MODE, reason);
            vec![ProxyMode::Nftables]
        });
        let counts = mode::that_counts(&self.file.mode, None).unwrap_or(modes[0]);
        if counts == ProxyMode::Iptables {
            self.warnings.push(format!(
                "proxy mode {:?} is served by nftables; NodePorts are on all local addresses \
                 unless --nodeport-addresses or nodePortAddresses says otherwise",
                self.file.mode
            ));
        }
        (counts, modes)
    }

    /// The options of the ruleset.
    pub(super) fn rules(&mut self, mode: ProxyMode, ipvs: &Ipvs) -> Options {
        let detector = self.checker.detector(self.file);
        if detector == Detector::None {
            self.warnings.push(
                "no cluster CIDR is given: traffic from outside the cluster to ClusterIPs is not \
                 masqueraded"
                    .to_owned(),
            );
        }
        if self.cli.own.affinity_capacity == Some(0) {
            self.fail_flag("--affinity-capacity", "must be 1 to 4294967295, is 0");
        }
        Options {
            detector,
            masquerade_all: self.file.active().masquerade_all,
            node_port_addresses: self
                .checker
                .node_ports(self.file.node_port_addresses.as_deref().unwrap_or_default())
                .unwrap_or(NodePortAddresses::all()),
            affinity_capacity: self
                .cli
                .own
                .affinity_capacity
                .unwrap_or(Options::default().affinity_capacity),
            reset_stale_tcp: self.cli.own.reset_stale_tcp.unwrap_or_default(),
            drop_invalid: self.cli.own.drop_invalid.unwrap_or_default(),
            mode: match mode {
                ProxyMode::Ipvs => Mode::Ipvs(ipvs.options.clone()),
                ProxyMode::Iptables | ProxyMode::Nftables => Mode::Nftables,
            },
        }
    }

    /// `bindAddress`, unless it is unspecified.
    pub(super) fn node_ip(&mut self) -> Option<IpAddr> {
        let ip = address::ip(&self.file.bind_address);
        if ip.is_none() {
            self.checker.fail(
                BIND,
                format!("must be an IP address, is {:?}", self.file.bind_address),
            );
        }
        ip.filter(|ip| !ip.is_unspecified())
    }

    /// Files of objects need no other file.
    pub(super) fn state_file(&self) -> Option<PathBuf> {
        let own = &self.cli.own;
        let path = own.state_file.clone();
        let path = path.unwrap_or_else(|| crate::cli::DEFAULT_STATE_FILE.into());
        Some(path).filter(|path| own.manifests.is_none() && !path.as_os_str().is_empty())
    }

    /// Where requests are answered.
    pub(super) fn listen(&mut self) -> Listen {
        let flags = &self.cli.proxy;
        let socket = self.cli.own.admin_socket.clone();
        if !self.checker.from_file {
            let (healthz, metrics) = (&flags.healthz_bind_address, &flags.metrics_bind_address);
            self.old_port(HEALTHZ, healthz.as_deref(), flags.healthz_port);
            self.old_port(METRICS, metrics.as_deref(), flags.metrics_port);
        }
        Listen {
            healthz: self.address(HEALTHZ, &self.file.healthz_bind_address),
            metrics: self.address(METRICS, &self.file.metrics_bind_address),
            hard_fail: self.file.bind_address_hard_fail,
            admin: Some(socket.unwrap_or_else(|| crate::cli::DEFAULT_SOCKET.into()))
                .filter(|path| !path.as_os_str().is_empty()),
        }
    }

    /// An empty text is no listener; only a flag can say so, since an empty field has a default.
    fn address(&mut self, field: Field, text: &str) -> Option<SocketAddr> {
        if text.is_empty() {
            return None;
        }
        address::socket(text)
            .map_err(|reason| self.checker.fail(field, reason))
            .ok()
    }

    /// Checks `--healthz-port` or `--metrics-port`.
    fn old_port(&mut self, field: Field, address: Option<&str>, old: Option<i32>) {
        let Some(old) = old else { return };
        let name = field.1.replace("-bind-address", "-port");
        if u16::try_from(old).is_err() {
            self.fail_flag(&name, &format!("must be 0 to 65535, is {old}"));
        } else if old != 0 && !address.is_some_and(address::lacks_port) {
            self.warnings.push(format!(
                "{name} has no effect without a {} without port",
                field.1
            ));
        }
    }

    /// Where objects come from.
    pub(super) fn source(&self) -> Source {
        if let Some(directory) = &self.cli.own.manifests {
            return Source::Manifests(directory.clone());
        }
        let kubeconfig = &self.file.client_connection.kubeconfig;
        Source::Cluster {
            kubeconfig: Some(PathBuf::from(kubeconfig)).filter(|p| !p.as_os_str().is_empty()),
            server: self.cli.proxy.master.clone().filter(|url| !url.is_empty()),
        }
    }

    /// Who tries ferrule on files beside a running kube-proxy does not want its rules removed.
    pub(super) fn keep_leftovers(&self) -> bool {
        let own = &self.cli.own;
        let cleanup = self.cli.proxy.cleanup == Some(true);
        own.keep_leftovers
            .unwrap_or(own.manifests.is_some() && !cleanup)
    }

    /// Verbosity and format.
    pub(super) fn log(&self) -> Log {
        let logging = &self.file.logging;
        let format = match logging.format.as_str() {
            "json" => LogFormat::Json,
            _ => LogFormat::Text,
        };
        Log {
            verbosity: logging.verbosity,
            format,
        }
    }

    /// `--hostname-override` or what the file says, or the host's own; as upstream's
    /// `GetHostname`: trimmed and in lower case.
    pub(super) fn node_name(&mut self, host_name: &str) -> String {
        let own = Some(self.file.hostname_override.as_str()).filter(|name| !name.is_empty());
        let name = own.unwrap_or(host_name).trim().to_lowercase();
        if name.is_empty() {
            match own {
                Some(_) => self.checker.fail(HOSTNAME, "must not be blank"),
                None => self.fail_flag(HOSTNAME.1, "must not be blank"),
            }
        }
        name
    }

    /// What to do.
    pub(super) fn action(&self) -> Action {
        let flags = &self.cli.proxy;
        let path = self.cli.accepted.write_config_to.as_ref();
        match path.filter(|path| !path.as_os_str().is_empty()) {
            Some(path) => Action::WriteConfig(path.clone()),
            None if flags.cleanup == Some(true) => Action::Cleanup,
            None if flags.init_only == Some(true) => Action::InitOnly,
            None => Action::Run,
        }
    }

    /// What the user should know of feature gates.
    pub(super) fn features(&mut self) -> Features {
        let gates = Gates(&self.file.feature_gates);
        let idle = gates.without_effect();
        if !idle.is_empty() {
            self.warnings
                .push(format!("feature gates without effect: {}", idle.join(" ")));
        }
        gates.features()
    }

    pub(super) fn fail_flag(&mut self, flag: &str, reason: &str) {
        self.checker.errors.push(super::FieldError {
            field: flag.to_owned(),
            reason: reason.to_owned(),
        });
    }
}
