// SPDX-License-Identifier: Apache-2.0
//! What a file or the flags say -> settings with defaults, checked.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use super::check::{Checker, Field};
use super::file::KubeProxyConfiguration;
use super::{Action, Listen, Log, LogFormat, Source, address};
use crate::cli::{Cli, Period};
use crate::plan::options::{Detector, NodePortAddresses, Options};

const MODE: Field = Field("mode", "--proxy-mode");
const BIND: Field = Field("bindAddress", "--bind-address");
const HEALTHZ: Field = Field("healthzBindAddress", "--healthz-bind-address");
const METRICS: Field = Field("metricsBindAddress", "--metrics-bind-address");
const HEALTHZ_PORT: u16 = 10256;
const METRICS_PORT: u16 = 10249;

/// One source of settings, the flags for what only they can say, and what is found wrong.
pub(super) struct Resolver<'a> {
    pub(super) cli: &'a Cli,
    pub(super) file: &'a KubeProxyConfiguration,
    pub(super) checker: Checker,
    pub(super) warnings: Vec<String>,
}

impl Resolver<'_> {
    /// Refuses modes that cannot be had, and says what an old word means.
    pub(super) fn mode(&mut self) {
        match self.file.mode.as_str() {
            "nftables" => {}
            "" | "iptables" => self.warnings.push(format!(
                "proxy mode {:?} is served by nftables; NodePorts are on all local addresses \
                 unless --nodeport-addresses or nodePortAddresses says otherwise",
                self.file.mode
            )),
            "ipvs" => self
                .checker
                .fail(MODE, "ipvs is not served by this version; use nftables"),
            other => self
                .checker
                .fail(MODE, format!("must be nftables, is {other:?}")),
        }
    }

    /// The options of the ruleset.
    pub(super) fn rules(&mut self) -> Options {
        let nftables = self.file.mode == "nftables";
        let backend = if nftables {
            &self.file.nftables
        } else {
            &self.file.iptables
        };
        let default = if nftables {
            NodePortAddresses::Primary
        } else {
            NodePortAddresses::all()
        };
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
            masquerade_all: backend.masquerade_all,
            node_port_addresses: self
                .checker
                .node_ports(&self.file.node_port_addresses)
                .unwrap_or(default),
            affinity_capacity: self
                .cli
                .own
                .affinity_capacity
                .unwrap_or(Options::default().affinity_capacity),
            reset_stale_tcp: self.cli.own.reset_stale_tcp.unwrap_or_default(),
            drop_invalid: self.cli.own.drop_invalid.unwrap_or_default(),
        }
    }

    /// `bindAddress`, unless it is unspecified.
    pub(super) fn node_ip(&mut self) -> Option<IpAddr> {
        if self.file.bind_address.is_empty() {
            return None;
        }
        let ip = address::ip(&self.file.bind_address);
        if ip.is_none() {
            self.checker.fail(
                BIND,
                format!("must be an IP address, is {:?}", self.file.bind_address),
            );
        }
        ip.filter(|ip| !ip.is_unspecified())
    }

    /// Where requests are answered.
    pub(super) fn listen(&mut self) -> Listen {
        let v6 = self.checker.from_file
            && address::ip(&self.file.bind_address).is_some_and(|ip| ip.is_ipv6());
        let (any, own) = if v6 {
            ("[::]", "[::1]")
        } else {
            ("0.0.0.0", "127.0.0.1")
        };
        let (file, flags) = (self.file, &self.cli.proxy);
        let healthz = (
            HEALTHZ,
            file.healthz_bind_address.as_str(),
            &flags.healthz_bind_address,
        );
        let metrics = (
            METRICS,
            file.metrics_bind_address.as_str(),
            &flags.metrics_bind_address,
        );
        let socket = self.cli.own.admin_socket.clone();
        Listen {
            healthz: self.address(healthz, any, HEALTHZ_PORT, flags.healthz_port),
            metrics: self.address(metrics, own, METRICS_PORT, flags.metrics_port),
            hard_fail: file.bind_address_hard_fail,
            admin: Some(socket.unwrap_or_else(|| crate::cli::DEFAULT_SOCKET.into()))
                .filter(|path| !path.as_os_str().is_empty()),
        }
    }

    /// An empty field of a file is the default, an empty flag switches the listener off.
    fn address(
        &mut self,
        (field, text, flag): (Field, &str, &Option<String>),
        default: &str,
        port: u16,
        old_port: Option<i32>,
    ) -> Option<SocketAddr> {
        let mut port = port;
        if !self.checker.from_file {
            if flag.as_deref() == Some("") || old_port == Some(0) {
                return None;
            }
            port = self.old_port(field, text, old_port, port)?;
        }
        let text = if text.is_empty() {
            format!("{default}:{port}")
        } else {
            text.to_owned()
        };
        match address::socket(&text, port) {
            Ok(address) => Some(address),
            Err(reason) => {
                self.checker.fail(field, reason);
                None
            }
        }
    }

    /// `--healthz-port` and `--metrics-port` fill in a port and change none (as upstream:
    /// `addressFromDeprecatedFlags` appends to the default address, which has a port).
    fn old_port(&mut self, field: Field, text: &str, old: Option<i32>, port: u16) -> Option<u16> {
        let Some(old) = old else { return Some(port) };
        let name = field.1.replace("-bind-address", "-port");
        let Ok(old) = u16::try_from(old) else {
            self.fail_flag(&name, &format!("must be 0 to 65535, is {old}"));
            return None;
        };
        if !address::lacks_port(text) && old != port {
            self.warnings.push(format!(
                "{name} has no effect without a {} without port",
                field.1
            ));
            return Some(port);
        }
        Some(old)
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

    /// Verbosity and format; the flags go before the file.
    pub(super) fn log(&mut self) -> Log {
        let flag = self.cli.proxy.logging_format.as_ref();
        let text = flag.unwrap_or(&self.file.logging.format);
        let format = match text.as_str() {
            "" | "text" => LogFormat::Text,
            "json" => LogFormat::Json,
            other => {
                let reason = format!("must be text or json, is {other:?}");
                match flag {
                    Some(_) => self.fail_flag("--logging-format", &reason),
                    None => self
                        .checker
                        .fail(Field("logging.format", "--logging-format"), reason),
                }
                LogFormat::Text
            }
        };
        let verbosity = self
            .cli
            .proxy
            .verbosity
            .unwrap_or(self.file.logging.verbosity);
        Log { verbosity, format }
    }

    /// Twice the sync period of the mode.
    pub(super) fn sync_period(&mut self) -> Period {
        let nftables = self.file.mode == "nftables";
        let backend = if nftables {
            &self.file.nftables
        } else {
            &self.file.iptables
        };
        let (sync, min) = if nftables {
            ("nftables.syncPeriod", "nftables.minSyncPeriod")
        } else {
            ("iptables.syncPeriod", "iptables.minSyncPeriod")
        };
        for (flag, value) in [
            (
                "--iptables-sync-period",
                self.cli.proxy.iptables_sync_period,
            ),
            ("--config-sync-period", self.cli.accepted.config_sync_period),
        ] {
            if !self.checker.from_file && value == Some(Period::default()) {
                self.fail_flag(flag, "must be more than 0");
            }
        }
        self.checker.sync_period(
            (Field(sync, "--iptables-sync-period"), backend.sync_period),
            (
                Field(min, "--iptables-min-sync-period"),
                backend.min_sync_period,
            ),
        )
    }

    /// `--hostname-override`, or what the file says, or the host's own; as upstream's
    /// `GetHostname`: trimmed and in lower case.
    pub(super) fn node_name(&mut self, host_name: &str) -> String {
        let flag = self
            .cli
            .proxy
            .hostname_override
            .as_deref()
            .filter(|name| !name.is_empty());
        let file = Some(self.file.hostname_override.as_str()).filter(|name| !name.is_empty());
        let name = flag.or(file).unwrap_or(host_name).trim().to_lowercase();
        if name.is_empty() {
            match (flag, file) {
                (None, Some(_)) => self.checker.fail(
                    Field("hostnameOverride", "--hostname-override"),
                    "must not be blank",
                ),
                _ => self.fail_flag("--hostname-override", "must not be blank"),
            }
        }
        name
    }

    /// What to do.
    pub(super) fn action(&mut self) -> Action {
        if self.cli.accepted.write_config_to.is_some() {
            self.fail_flag(
                "--write-config-to",
                "ferrule writes no default configuration",
            );
        }
        let flags = &self.cli.proxy;
        match (flags.cleanup, flags.init_only) {
            (Some(true), _) => Action::Cleanup,
            (_, Some(true)) => Action::InitOnly,
            _ => Action::Run,
        }
    }

    fn fail_flag(&mut self, flag: &str, reason: &str) {
        self.checker.errors.push(super::FieldError {
            field: flag.to_owned(),
            reason: reason.to_owned(),
        });
    }
}
