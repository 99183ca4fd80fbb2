// SPDX-License-Identifier: Apache-2.0
//! NodePorts on loopback are an opt-in, by our flag or by kube-proxy's own setting.

use super::LocalhostNodePorts::{Missed, Off, On};
use super::*;

#[test]
fn only_what_the_user_says_switches_it_on() {
    let flags = [
        ("", Missed),
        ("--proxy-mode=iptables", Missed),
        ("--proxy-mode=nftables", Off),
        ("--iptables-localhost-nodeports", On),
        ("--iptables-localhost-nodeports=false", Off),
        ("--proxy-mode=nftables --iptables-localhost-nodeports", Off),
        (
            "--iptables-localhost-nodeports --nodeport-addresses=primary",
            Off,
        ),
        (
            "--iptables-localhost-nodeports --nodeport-addresses=192.0.2.0/24",
            Off,
        ),
        (
            "--iptables-localhost-nodeports --nodeport-addresses=192.0.2.0/24,127.0.0.0/8",
            On,
        ),
        (
            "--iptables-localhost-nodeports --nodeport-addresses=::/0",
            On,
        ),
        ("--nodeport-addresses=192.0.2.0/24", Off),
        ("--proxy-mode=nftables --localhost-nodeports", On),
        (
            "--localhost-nodeports=false --iptables-localhost-nodeports",
            Off,
        ),
        ("--localhost-nodeports --nodeport-addresses=primary", On),
    ];
    for (line, expected) in flags {
        check(line, from_flags(line), expected);
    }
    let files = [
        ("", "", Missed),
        ("", "iptables: {localhostNodePorts: null}", Missed),
        ("", "iptables: {localhostNodePorts: true}", On),
        ("", "iptables: {localhostNodePorts: false}", Off),
        (
            "",
            "mode: nftables\niptables: {localhostNodePorts: true}",
            Off,
        ),
        ("--localhost-nodeports", "mode: nftables", On),
        ("--iptables-localhost-nodeports", "mode: iptables", Missed),
    ];
    for (line, body, expected) in files {
        let line = format!("--config f {line}");
        check(&format!("{line} {body}"), from_file(&line, body), expected);
    }
}

fn check(what: &str, config: Result<Config, Error>, expected: LocalhostNodePorts) {
    assert_eq!(config.unwrap().localhost_node_ports, expected, "{what}");
}
