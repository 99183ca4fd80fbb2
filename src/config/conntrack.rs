// SPDX-License-Identifier: Apache-2.0
//! Settings of connection tracking (kube-proxy: `getConntrackMax`, `setSysctls`).

use super::file::Conntrack;
use crate::backend::sysctl::Setting;
use crate::cli::Period;

/// Upstream's bound of what the number of processors gives; `min` may be more.
const MOST: u64 = 1_048_576;

/// What is to be set on a machine of so many processors. A value of 0, or none, leaves the kernel's.
pub(super) fn settings(given: &Conntrack, cores: u64) -> Vec<Setting> {
    let number = |given: Option<i32>| given.map_or(0, |n| n.max(0) as u64);
    let max = match number(given.max_per_core) {
        0 => 0,
        per_core if per_core * cores > MOST => MOST,
        per_core => (per_core * cores).max(number(given.min)),
    };
    let seconds = |period: Period| period.to_duration().map_or(0, |d| d.as_secs());
    let established = seconds(given.tcp_established_timeout.unwrap_or_default());
    let close_wait = seconds(given.tcp_close_wait_timeout.unwrap_or_default());
    let all = [
        ("net/netfilter/nf_conntrack_max", max, true),
        // The same number as the module's parameter hashsize, which kube-proxy writes.
        ("net/netfilter/nf_conntrack_buckets", max / 4, true),
        (
            "net/netfilter/nf_conntrack_tcp_timeout_established",
            established,
            false,
        ),
        (
            "net/netfilter/nf_conntrack_tcp_timeout_close_wait",
            close_wait,
            false,
        ),
        (
            "net/netfilter/nf_conntrack_tcp_be_liberal",
            u64::from(given.tcp_be_liberal),
            false,
        ),
        (
            "net/netfilter/nf_conntrack_udp_timeout",
            seconds(given.udp_timeout),
            false,
        ),
        (
            "net/netfilter/nf_conntrack_udp_timeout_stream",
            seconds(given.udp_stream_timeout),
            false,
        ),
    ];
    let setting = |(path, value, at_least)| Setting {
        path,
        value,
        at_least,
    };
    all.into_iter()
        .map(setting)
        .filter(|s| s.value > 0)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::file::KubeProxyConfiguration;
    use super::*;

    fn shown(given: &Conntrack, cores: u64) -> Vec<String> {
        let show = |s: Setting| {
            let name = s.name().trim_start_matches("nf_conntrack_");
            format!("{name}={}", s.value)
        };
        settings(given, cores).into_iter().map(show).collect()
    }

    #[test]
    fn defaults_are_kube_proxys() {
        let default = KubeProxyConfiguration::defaulted().conntrack;
        let timeouts = [
            "tcp_timeout_established=86400",
            "tcp_timeout_close_wait=3600",
        ];
        assert_eq!(shown(&default, 2)[..2], ["max=131072", "buckets=32768"]);
        assert_eq!(shown(&default, 8)[..2], ["max=262144", "buckets=65536"]);
        assert_eq!(shown(&default, 100)[..2], ["max=1048576", "buckets=262144"]);
        assert_eq!(shown(&default, 2)[2..], timeouts);
    }

    /// The bound is one of the processors' number alone (kube-proxy: `getConntrackMax`).
    #[test]
    fn the_least_may_be_more_than_the_bound() {
        let given = Conntrack {
            min: Some(2_000_000),
            ..KubeProxyConfiguration::defaulted().conntrack
        };
        assert_eq!(shown(&given, 2)[0], "max=2000000");
        assert_eq!(shown(&given, 100)[0], "max=1048576");
    }

    #[test]
    fn zero_leaves_the_kernels_value() {
        let zero = Some(Period::seconds(0));
        let given = Conntrack {
            max_per_core: Some(0),
            tcp_established_timeout: zero,
            tcp_close_wait_timeout: zero,
            ..Conntrack::default()
        };
        assert!(settings(&given, 2).is_empty());
        let given = Conntrack {
            tcp_be_liberal: true,
            udp_timeout: Period::seconds(30),
            ..given
        };
        assert_eq!(shown(&given, 2), ["tcp_be_liberal=1", "udp_timeout=30"]);
    }
}
