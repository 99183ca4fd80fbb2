// SPDX-License-Identifier: Apache-2.0
//! The rules of settings that decide nothing about rules in the kernel (upstream:
//! `pkg/proxy/apis/config/validation`, component-base `logs/api/v1/options.go`).

use super::check::{Checker, Field};
use super::features::Gates;
use super::file::{Conntrack, Ipvs, KubeProxyConfiguration};
use super::logging::Logging;
use crate::cli::Period;

/// The only version whose hidden metrics kube-proxy v1.36 can show.
const HIDDEN_VERSION: &str = "1.35";

const EXCLUDE_CIDRS: Field = Field("ipvs.excludeCIDRs", "--ipvs-exclude-cidrs");
const IPTABLES_BIT: Field = Field("iptables.masqueradeBit", "--iptables-masquerade-bit");
const NFTABLES_BIT: Field = Field("nftables.masqueradeBit", "--iptables-masquerade-bit");
const OOM: Field = Field("oomScoreAdj", "--oom-score-adj");
const BURST: Field = Field("clientConnection.burst", "--kube-api-burst");
const CONFIG_SYNC: Field = Field("configSyncPeriod", "--config-sync-period");
const HIDDEN: Field = Field(
    "showHiddenMetricsForVersion",
    "--show-hidden-metrics-for-version",
);
const GATES: Field = Field("featureGates", "--feature-gates");
const IPTABLES_SYNC: Field = Field("iptables.syncPeriod", "--iptables-sync-period");
const IPTABLES_MIN: Field = Field("iptables.minSyncPeriod", "--iptables-min-sync-period");
const NFTABLES_SYNC: Field = Field("nftables.syncPeriod", "--iptables-sync-period");
const NFTABLES_MIN: Field = Field("nftables.minSyncPeriod", "--iptables-min-sync-period");
const IPVS_SYNC: Field = Field("ipvs.syncPeriod", "--ipvs-sync-period");
const IPVS_MIN: Field = Field("ipvs.minSyncPeriod", "--ipvs-min-sync-period");
const FLUSH: Field = Field("logging.flushFrequency", "--log-flush-frequency");
const FORMAT: Field = Field("logging.format", "--logging-format");
const VMODULE: Field = Field("logging.vmodule", "--vmodule");
const VERBOSITY: Field = Field("logging.verbosity", "--v");
const TEXT_SPLIT: Field = Field(
    "logging.options.text.splitStream",
    "--log-text-split-stream",
);
const TEXT_BUFFER: Field = Field(
    "logging.options.text.infoBufferSize",
    "--log-text-info-buffer-size",
);
const JSON_SPLIT: Field = Field(
    "logging.options.json.splitStream",
    "--log-json-split-stream",
);
const JSON_BUFFER: Field = Field(
    "logging.options.json.infoBufferSize",
    "--log-json-info-buffer-size",
);

impl Checker {
    /// The settings that have no effect on rules, but make kube-proxy refuse to start.
    pub(super) fn accepted(&mut self, file: &KubeProxyConfiguration) {
        for (field, value, from, to) in [
            (IPTABLES_BIT, file.iptables.masquerade_bit, 0, 31),
            (OOM, file.oom_score_adj, -1000, 1000),
            (BURST, Some(file.client_connection.burst), 0, i32::MAX),
        ] {
            self.range(field, value, from, to);
        }
        match file.mode.as_str() {
            "nftables" => self.range(NFTABLES_BIT, file.nftables.masquerade_bit, 0, 31),
            "ipvs" => self.ipvs(&file.ipvs),
            _ => {}
        }
        self.conntrack(&file.conntrack);
        self.sync_period(file);
        if file.config_sync_period <= Period::default() {
            self.fail(CONFIG_SYNC, "must be more than 0");
        }
        if !["", HIDDEN_VERSION].contains(&file.show_hidden_metrics_for_version.as_str()) {
            let reason = format!("must be empty or {HIDDEN_VERSION}, kube-proxy's minor before");
            self.fail(HIDDEN, reason);
        }
        let gates = Gates(&file.feature_gates);
        for reason in gates.errors() {
            self.fail(GATES, reason);
        }
        self.logging(&file.logging, &gates);
    }

    fn ipvs(&mut self, ipvs: &Ipvs) {
        for (field, value) in [
            (
                Field("ipvs.tcpTimeout", "--ipvs-tcp-timeout"),
                ipvs.tcp_timeout,
            ),
            (
                Field("ipvs.tcpFinTimeout", "--ipvs-tcpfin-timeout"),
                ipvs.tcp_fin_timeout,
            ),
            (
                Field("ipvs.udpTimeout", "--ipvs-udp-timeout"),
                ipvs.udp_timeout,
            ),
        ] {
            self.not_negative(field, value);
        }
        self.cidrs(
            EXCLUDE_CIDRS,
            ipvs.exclude_cidrs.as_deref().unwrap_or_default(),
        );
    }

    fn conntrack(&mut self, limits: &Conntrack) {
        let field = Field("conntrack.maxPerCore", "--conntrack-max-per-core");
        self.range(field, limits.max_per_core, 0, i32::MAX);
        let field = Field("conntrack.min", "--conntrack-min");
        self.range(field, limits.min, 0, i32::MAX);
        for (path, flag, value) in [
            (
                "conntrack.tcpEstablishedTimeout",
                "--conntrack-tcp-timeout-established",
                limits.tcp_established_timeout.unwrap_or_default(),
            ),
            (
                "conntrack.tcpCloseWaitTimeout",
                "--conntrack-tcp-timeout-close-wait",
                limits.tcp_close_wait_timeout.unwrap_or_default(),
            ),
            (
                "conntrack.udpTimeout",
                "--conntrack-udp-timeout",
                limits.udp_timeout,
            ),
            (
                "conntrack.udpStreamTimeout",
                "--conntrack-udp-timeout-stream",
                limits.udp_stream_timeout,
            ),
        ] {
            self.not_negative(Field(path, flag), value);
        }
    }

    /// `syncPeriod` and `minSyncPeriod` of the mode.
    fn sync_period(&mut self, file: &KubeProxyConfiguration) {
        let (sync, min) = match file.active().section {
            "nftables" => (NFTABLES_SYNC, NFTABLES_MIN),
            "ipvs" => (IPVS_SYNC, IPVS_MIN),
            _ => (IPTABLES_SYNC, IPTABLES_MIN),
        };
        let (period, minimum) = (file.active().sync_period, file.active().min_sync_period);
        self.not_negative(min, minimum);
        if period <= Period::default() {
            self.fail(sync, "must be more than 0");
        } else if minimum > period {
            self.fail(sync, "must not be less than the minimum sync period");
        }
    }

    /// Upstream: component-base `logs/api/v1/options.go`.
    fn logging(&mut self, logging: &Logging, gates: &Gates<'_>) {
        if logging.flush_frequency.period <= Period::default() {
            self.fail(FLUSH, "must be more than 0");
        }
        match logging.format.as_str() {
            "text" => {}
            "json" if !gates.on("LoggingBetaOptions") => {
                self.fail(FORMAT, "json needs the feature gate LoggingBetaOptions");
            }
            "json" => {}
            other => self.fail(FORMAT, format!("must be text or json, is {other:?}")),
        }
        if logging.format != "text" && !logging.vmodule.is_empty() {
            self.fail(VMODULE, "needs logging.format text");
        }
        let levels = logging.vmodule.iter().map(|module| module.verbosity);
        if levels
            .chain([logging.verbosity])
            .any(|v| i32::try_from(v).is_err())
        {
            self.fail(VERBOSITY, format!("must be at most {}", i32::MAX));
        }
        for (index, module) in logging.vmodule.iter().enumerate() {
            if module.file_pattern.is_empty() || module.file_pattern.contains(['=', ',']) {
                let reason = "filePattern must not be empty, nor have = or ,".to_owned();
                self.fail_at(VMODULE, index, reason);
            }
        }
        for (routing, split, size) in [
            (&logging.options.text, TEXT_SPLIT, TEXT_BUFFER),
            (&logging.options.json, JSON_SPLIT, JSON_BUFFER),
        ] {
            let reason = "needs the feature gate LoggingAlphaOptions";
            if routing.split_stream && !gates.on("LoggingAlphaOptions") {
                self.fail(split, reason);
            }
            if routing.info_buffer_size.bytes() > 0 && !gates.on("LoggingAlphaOptions") {
                self.fail(size, reason);
            }
        }
    }
}
