// SPDX-License-Identifier: Apache-2.0
//! IPVS mode, and lists of modes.

use std::time::Duration;

use super::*;
use crate::backend::ipvs::Timeouts;
use crate::plan::{IpvsOptions, Mode};

#[test]
fn ipvs_mode_has_kube_proxys_defaults_and_our_own() {
    let config = from_flags("--proxy-mode=ipvs").unwrap();
    assert_eq!(
        (config.mode, config.modes.as_slice()),
        (ProxyMode::Ipvs, &[ProxyMode::Ipvs][..])
    );
    let options = IpvsOptions::default();
    assert_eq!(&*options.scheduler, "rr");
    assert_eq!(options.drain, Duration::from_secs(900));
    assert_eq!(config.rules.mode, Mode::Ipvs(options));
    assert_eq!(config.rules.node_port_addresses, NodePortAddresses::all());
    assert_eq!(config.ipvs.timeouts, Timeouts::default());
    assert_eq!(
        from_flags("--proxy-mode=nftables").unwrap().rules.mode,
        Mode::Nftables
    );
}

#[test]
fn in_ipvs_mode_every_connection_is_counted() {
    let sample = |flags: &str| {
        let config = from_flags(&format!("--accounting {flags}")).unwrap();
        config.accounting.unwrap().sample
    };
    let number = |n| Sample::OneIn(std::num::NonZeroU32::new(n).unwrap());
    assert_eq!(sample(""), Sample::Auto);
    assert_eq!(sample("--accounting-sample=4"), number(4));
    assert_eq!(sample("--proxy-mode=ipvs"), number(1));
    assert_eq!(sample("--proxy-mode=ipvs --accounting-sample=4"), number(1));
}

#[test]
fn file_and_flags_say_the_same() {
    let file = "mode: ipvs\niptables: {masqueradeAll: true}\nipvs: {scheduler: mh, strictARP: true, \
                excludeCIDRs: [192.0.2.0/24, '2001:db8::/32'], tcpTimeout: 15m, \
                tcpFinTimeout: 30s, udpTimeout: 1.5s, syncPeriod: 10s, minSyncPeriod: 2s}\n";
    let own = "--ipvs-drain-timeout=0 --ipvs-local-fallback";
    let of_file = from_file(&format!("--config c {own}"), file).unwrap();
    let of_flags = from_flags(&format!(
        "--proxy-mode=ipvs --masquerade-all --ipvs-scheduler mh --ipvs-strict-arp \
         --ipvs-exclude-cidrs 192.0.2.0/24,2001:db8::/32 --ipvs-tcp-timeout 15m \
         --ipvs-tcpfin-timeout 30s --ipvs-udp-timeout 1.5s --ipvs-sync-period 10s \
         --ipvs-min-sync-period 2s {own}"
    ))
    .unwrap();
    for config in [of_file, of_flags] {
        let expected = IpvsOptions {
            scheduler: "mh".into(),
            local_fallback: true,
            drain: Duration::ZERO,
            exclude_cidrs: nets(&["192.0.2.0/24", "2001:db8::/32"]),
        };
        assert_eq!(config.rules.mode, Mode::Ipvs(expected));
        assert!(config.rules.masquerade_all && config.ipvs.strict_arp);
        let timeouts = Timeouts {
            tcp: 900,
            tcp_fin: 30,
            udp: 1,
        };
        assert_eq!(config.ipvs.timeouts, timeouts);
        assert_eq!(config.health_timeout, Duration::from_secs(20));
    }
}

#[test]
fn what_cannot_be_is_named() {
    let lines = errors(from_flags(
        "--proxy-mode=ipvs --ipvs-scheduler=longer-than-names-are --ipvs-drain-timeout=-1s",
    ));
    let begins = |line: &str| lines.iter().any(|l| l.starts_with(line));
    assert!(
        begins("--ipvs-scheduler: \"longer-than-names-are\" cannot be"),
        "{lines:?}"
    );
    assert!(
        begins("--ipvs-drain-timeout: must not be negative"),
        "{lines:?}"
    );
}

/// What depends on the mode follows the one that was settled on.
#[test]
fn a_list_means_its_first_mode_until_another_is_settled_on() {
    let line = "--proxy-mode=ipvs,nftables --ipvs-sync-period 10s --iptables-sync-period 20s";
    let first = from_flags(line).unwrap();
    assert_eq!(first.mode, ProxyMode::Ipvs);
    assert_eq!(first.health_timeout, Duration::from_secs(20));
    assert_eq!(first.effective()["mode"], "ipvs,nftables");
    let settled =
        |mode| Config::resolve_as(&flags(line), None, "Host-1", Some(mode)).expect("right");
    assert_eq!(settled(ProxyMode::Ipvs).effective()["mode"], "ipvs");
    let second = settled(ProxyMode::Nftables);
    assert_eq!(
        (second.mode, second.modes.as_slice()),
        (ProxyMode::Nftables, first.modes.as_slice())
    );
    assert_eq!(second.rules.mode, Mode::Nftables);
    assert_eq!(second.health_timeout, Duration::from_secs(40));
    assert_eq!(second.rules.node_port_addresses, NodePortAddresses::Primary);
    assert_eq!(second.effective()["mode"], "nftables");
    let alone = settled(ProxyMode::Iptables);
    assert_eq!(alone.mode, ProxyMode::Ipvs, "the list does not have it");
}
