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

/// Collects what is wrong, under the name that the user wrote.
#[derive(Debug)]
pub(super) struct Checker {
    /// Whether fields of a file are checked, and not flags.
    pub(super) from_file: bool,
    /// The flags that go before the file all the same, with their dashes.
    pub(super) overriding: Vec<String>,
    pub(super) errors: Vec<FieldError>,
}

impl Checker {
    /// Notes that a setting is wrong.
    pub(super) fn fail(&mut self, field: Field, reason: impl Into<String>) {
        let by_flag = !self.from_file || self.overriding.iter().any(|flag| flag == field.1);
        let name = if by_flag { field.1 } else { field.0 };
        self.errors.push(FieldError {
            field: name.to_owned(),
            reason: reason.into(),
        });
    }

    /// Notes that one item of a list is wrong.
    pub(super) fn fail_at(&mut self, field: Field, index: usize, reason: String) {
        if self.from_file {
            let field = format!("{}[{index}]", field.0);
            self.errors.push(FieldError { field, reason });
        } else {
            self.fail(field, reason);
        }
    }

    pub(super) fn range(&mut self, field: Field, value: Option<i32>, from: i32, to: i32) {
        if let Some(value) = value.filter(|value| !(from..=to).contains(value)) {
            self.fail(field, format!("must be {from} to {to}, is {value}"));
        }
    }

    pub(super) fn not_negative(&mut self, field: Field, value: Period) {
        if value < Period::default() {
            self.fail(field, "must not be negative");
        }
    }

    /// A list of prefixes, each checked.
    pub(super) fn cidrs(&mut self, field: Field, texts: &[String]) -> Vec<IpNet> {
        let mut nets = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            match cidr(text) {
                Some(net) => nets.push(net),
                None => self.fail_at(field, index, format!("must be a CIDR, is {text:?}")),
            }
        }
        nets
    }

    /// `nodePortAddresses`; nothing if none are given. What follows a wrong `primary` is not
    /// looked at, as upstream.
    pub(super) fn node_ports(&mut self, texts: &[String]) -> Option<NodePortAddresses> {
        if texts.is_empty() {
            return None;
        }
        if texts == ["primary"] {
            return Some(NodePortAddresses::Primary);
        }
        let primary = texts.iter().position(|text| text == "primary");
        if let Some(index) = primary {
            let reason = "primary must stand alone".to_owned();
            self.fail_at(NODE_PORT_ADDRESSES, index, reason);
        }
        let nets = self.cidrs(
            NODE_PORT_ADDRESSES,
            &texts[..primary.unwrap_or(texts.len())],
        );
        Some(NodePortAddresses::Within(nets))
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
        let same = nets.len() == 2 && family(&nets[0]) == family(&nets[1]);
        if texts.len() > 2 || same {
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
}
