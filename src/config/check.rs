// SPDX-License-Identifier: Apache-2.0
//! The rules that a setting must follow (upstream: `pkg/proxy/apis/config/validation`).

use ipnet::IpNet;

use super::address::{cidr, family};
use super::error::FieldError;
use super::file::KubeProxyConfiguration;
use crate::cli::Period;
use crate::plan::options::{Detector, NodePortAddresses};

/// A setting by its two names.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field(pub(super) &'static str, pub(super) &'static str);

const NODE_PORT_ADDRESSES: Field = Field("nodePortAddresses", "--nodeport-addresses");
const CLUSTER_CIDR: Field = Field("clusterCIDR", "--cluster-cidr");
const DETECT_LOCAL_MODE: Field = Field("detectLocalMode", "--detect-local-mode");
const BRIDGE: Field = Field("detectLocal.bridgeInterface", "--pod-bridge-interface");
const PREFIX: Field = Field(
    "detectLocal.interfaceNamePrefix",
    "--pod-interface-name-prefix",
);
const EXCLUDE_CIDRS: Field = Field("ipvs.excludeCIDRs", "--ipvs-exclude-cidrs");

/// Collects what is wrong, under the name that the user wrote.
#[derive(Debug)]
pub(super) struct Checker {
    /// Whether fields of a file are checked, and not flags.
    pub(super) from_file: bool,
    pub(super) errors: Vec<FieldError>,
}

impl Checker {
    /// Notes that a setting is wrong.
    pub(super) fn fail(&mut self, field: Field, reason: impl Into<String>) {
        let name = if self.from_file { field.0 } else { field.1 };
        self.errors.push(FieldError {
            field: name.to_owned(),
            reason: reason.into(),
        });
    }

    /// Notes that one item of a list is wrong.
    fn fail_at(&mut self, field: Field, index: usize, reason: String) {
        if self.from_file {
            let field = format!("{}[{index}]", field.0);
            self.errors.push(FieldError { field, reason });
        } else {
            self.fail(field, reason);
        }
    }

    fn range(&mut self, field: Field, value: Option<i32>, from: i32, to: i32) {
        if let Some(value) = value.filter(|value| !(from..=to).contains(value)) {
            self.fail(field, format!("must be {from} to {to}, is {value}"));
        }
    }

    fn not_negative(&mut self, field: Field, value: Period) {
        if value < Period::default() {
            self.fail(field, "must not be negative");
        }
    }

    /// A list of prefixes, each checked.
    fn cidrs(&mut self, field: Field, texts: &[String]) -> Vec<IpNet> {
        let mut nets = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            match cidr(text) {
                Some(net) => nets.push(net),
                None => self.fail_at(field, index, format!("must be a CIDR, is {text:?}")),
            }
        }
        nets
    }

    /// `nodePortAddresses`; nothing if none are given.
    pub(super) fn node_ports(&mut self, texts: &[String]) -> Option<NodePortAddresses> {
        if texts.is_empty() {
            return None;
        }
        if texts == ["primary"] {
            return Some(NodePortAddresses::Primary);
        }
        if let Some(index) = texts.iter().position(|text| text == "primary") {
            self.fail_at(
                NODE_PORT_ADDRESSES,
                index,
                "primary must stand alone".to_owned(),
            );
        }
        let texts: Vec<String> = texts
            .iter()
            .filter(|text| *text != "primary")
            .cloned()
            .collect();
        Some(NodePortAddresses::Within(
            self.cidrs(NODE_PORT_ADDRESSES, &texts),
        ))
    }

    /// `detectLocalMode` and what belongs to it.
    pub(super) fn detector(&mut self, file: &KubeProxyConfiguration) -> Detector {
        match file.detect_local_mode.as_str() {
            "" | "ClusterCIDR" => self.cluster_cidr(&file.cluster_cidr),
            "NodeCIDR" => Detector::NodeCidr,
            "BridgeInterface" => Detector::Bridge(
                self.interface(BRIDGE, &file.detect_local.bridge_interface)
                    .into(),
            ),
            "InterfaceNamePrefix" => Detector::InterfacePrefix(
                self.interface(PREFIX, &file.detect_local.interface_name_prefix)
                    .into(),
            ),
            other => {
                let modes = "ClusterCIDR, NodeCIDR, BridgeInterface or InterfaceNamePrefix";
                self.fail(DETECT_LOCAL_MODE, format!("must be {modes}, is {other:?}"));
                Detector::None
            }
        }
    }

    fn cluster_cidr(&mut self, text: &str) -> Detector {
        if text.is_empty() {
            return Detector::None;
        }
        let texts: Vec<String> = text.split(',').map(str::to_owned).collect();
        let nets = self.cidrs(CLUSTER_CIDR, &texts);
        let pair = nets.len() == 2 && family(&nets[0]) == family(&nets[1]);
        if texts.len() > 2 || pair {
            self.fail(CLUSTER_CIDR, "must be one CIDR, or one of each family");
        }
        Detector::ClusterCidr(nets)
    }

    /// Interface names have 1 to 15 bytes (Linux: `IFNAMSIZ`, `dev_valid_name`).
    fn interface<'a>(&mut self, field: Field, name: &'a str) -> &'a str {
        if name.is_empty() {
            self.fail(field, "must not be empty with this --detect-local-mode");
        } else if name.len() > 15 || name.contains(['/', ':']) || name.contains(char::is_whitespace)
        {
            self.fail(field, format!("{name:?} cannot be an interface's name"));
        }
        name
    }

    /// The settings that have no effect here, but make kube-proxy refuse to start.
    pub(super) fn accepted(&mut self, file: &KubeProxyConfiguration) {
        self.range(
            Field("iptables.masqueradeBit", "--iptables-masquerade-bit"),
            file.iptables.masquerade_bit,
            0,
            31,
        );
        if file.mode == "nftables" {
            let field = Field("nftables.masqueradeBit", "--iptables-masquerade-bit");
            self.range(field, file.nftables.masquerade_bit, 0, 31);
        }
        self.range(
            Field("oomScoreAdj", "--oom-score-adj"),
            file.oom_score_adj,
            -1000,
            1000,
        );
        let burst = Some(file.client_connection.burst);
        self.range(
            Field("clientConnection.burst", "--kube-api-burst"),
            burst,
            0,
            i32::MAX,
        );
        self.conntrack(file);
        if file.config_sync_period < Period::default() {
            self.fail(
                Field("configSyncPeriod", "--config-sync-period"),
                "must be more than 0",
            );
        }
        if file.mode == "ipvs" {
            self.cidrs(EXCLUDE_CIDRS, &file.ipvs.exclude_cidrs);
        }
    }

    fn conntrack(&mut self, file: &KubeProxyConfiguration) {
        let limits = &file.conntrack;
        let field = Field("conntrack.maxPerCore", "--conntrack-max-per-core");
        self.range(field, limits.max_per_core, 0, i32::MAX);
        self.range(
            Field("conntrack.min", "--conntrack-min"),
            limits.min,
            0,
            i32::MAX,
        );
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

    /// `syncPeriod` and `minSyncPeriod` of the mode, with their defaults; the former.
    pub(super) fn sync_period(&mut self, sync: (Field, Period), min: (Field, Period)) -> Period {
        let or = |value: Period, default| if value.0 == 0 { default } else { value };
        let period = or(sync.1, Period::seconds(30));
        let minimum = or(min.1, Period::seconds(1));
        self.not_negative(min.0, minimum);
        if period <= Period::default() {
            self.fail(sync.0, "must be more than 0");
        } else if minimum > period {
            self.fail(sync.0, "must not be less than the minimum sync period");
        }
        period
    }
}
