// SPDX-License-Identifier: Apache-2.0
//! What kube-proxy v1.36 takes for what is left out (upstream: `v1alpha1/defaults.go`, and
//! `platformApplyDefaults`).

use super::address;
use super::file::KubeProxyConfiguration;
use crate::cli::Period;

const HEALTHZ_PORT: u16 = 10256;
const METRICS_PORT: u16 = 10249;

impl KubeProxyConfiguration {
    /// What a file without any field means; the mode's own defaults come last, by
    /// [`set_platform_defaults`](Self::set_platform_defaults).
    pub(super) fn defaulted() -> Self {
        let mut file = Self {
            api_version: super::decode::API_VERSION.to_owned(),
            kind: "KubeProxyConfiguration".to_owned(),
            ..Self::default()
        };
        file.set_defaults();
        file
    }

    /// Gives each field that is empty, null or 0 its default.
    pub(super) fn set_defaults(&mut self) {
        text(&mut self.bind_address, "0.0.0.0");
        self.set_listeners();
        let client = &mut self.client_connection;
        text(
            &mut client.content_type,
            "application/vnd.kubernetes.protobuf",
        );
        number(&mut client.qps, 5.0);
        number(&mut client.burst, 10);
        let iptables = &mut self.iptables;
        iptables.masquerade_bit.get_or_insert(14);
        iptables.localhost_node_ports.get_or_insert(true);
        number(&mut iptables.sync_period, Period::seconds(30));
        number(&mut iptables.min_sync_period, Period::seconds(1));
        number(&mut self.ipvs.sync_period, Period::seconds(30));
        let nftables = &mut self.nftables;
        nftables.masquerade_bit.get_or_insert(14);
        number(&mut nftables.sync_period, Period::seconds(30));
        number(&mut nftables.min_sync_period, Period::seconds(1));
        self.oom_score_adj.get_or_insert(-999);
        let conntrack = &mut self.conntrack;
        conntrack.max_per_core.get_or_insert(32_768);
        conntrack.min.get_or_insert(131_072);
        let day = Period::seconds(24 * 3600);
        conntrack.tcp_established_timeout.get_or_insert(day);
        let hour = Period::seconds(3600);
        conntrack.tcp_close_wait_timeout.get_or_insert(hour);
        number(&mut self.config_sync_period, Period::seconds(900));
        self.logging.set_defaults();
    }

    /// All addresses and the loopback one, of bindAddress's family.
    fn set_listeners(&mut self) {
        let v4 = address::ip(&self.bind_address).is_some_and(|ip| ip.is_ipv4());
        let (any, own) = match v4 {
            true => ("0.0.0.0", "127.0.0.1"),
            false => ("[::]", "[::1]"),
        };
        text(
            &mut self.healthz_bind_address,
            &format!("{any}:{HEALTHZ_PORT}"),
        );
        text(
            &mut self.metrics_bind_address,
            &format!("{own}:{METRICS_PORT}"),
        );
        append_port(&mut self.healthz_bind_address, HEALTHZ_PORT);
        append_port(&mut self.metrics_bind_address, METRICS_PORT);
    }

    /// Last of all, for file and flags alike.
    pub(super) fn set_platform_defaults(&mut self) {
        text(&mut self.mode, "iptables");
        let none = self.node_port_addresses.as_ref().is_none_or(Vec::is_empty);
        if self.mode == "nftables" && none {
            self.node_port_addresses = Some(vec!["primary".to_owned()]);
        }
        text(&mut self.detect_local_mode, "ClusterCIDR");
    }
}

/// Completes an address without port (upstream: `AppendPortIfNeeded`).
pub(super) fn append_port(text: &mut String, port: u16) {
    if address::lacks_port(text) {
        *text = match text.contains(':') {
            true => format!("[{text}]:{port}"),
            false => format!("{text}:{port}"),
        };
    }
}

fn text(place: &mut String, default: &str) {
    if place.is_empty() {
        *place = default.to_owned();
    }
}

fn number<T: Default + PartialEq>(place: &mut T, default: T) {
    if *place == T::default() {
        *place = default;
    }
}
