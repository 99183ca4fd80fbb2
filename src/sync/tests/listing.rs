// SPDX-License-Identifier: Apache-2.0
//! Other people list our tables: what nft prints of a whole ruleset must load back.

use super::{Engine, commit, options};
use crate::backend::nft::Kernel;
use crate::backend::nft::tests::{has_nft, nft, nft_commands};
use crate::backend::testing::in_namespace;
use crate::model::IpFamily;
use crate::plan::Options;
use crate::plan::fixture::dual_stack;

/// Something of each kind of Service that the showcase has.
const PRESENT: [&str; 7] = [
    "update @affinity-default/login/80/tcp/8080",
    "map @affinity-default/login/80/tcp/local/8080",
    "goto sticky-default/login/80/tcp/node-lb",
    "goto node-local-1",
    "goto ranges-lb-2",
    "goto ranges-no-endpoints",
    "numgen random mod 3 map @endpoints",
];

/// What the switches add.
const SWITCHED: [&str; 5] = [
    "tcp flags ! syn reject with tcp reset",
    "goto no-local",
    "type filter hook forward priority",
    "ct state invalid jump invalid",
    "@backends drop",
];

#[test]
fn a_whole_ruleset_lists_and_loads_back() {
    lists_and_loads(options(), &PRESENT);
}

#[test]
fn so_it_does_with_every_switch() {
    let options = Options {
        reset_stale_tcp: true,
        drop_invalid: true,
        ..options()
    };
    lists_and_loads(options, &SWITCHED);
}

fn lists_and_loads(options: Options, present: &'static [&'static str]) {
    in_namespace(move || {
        if !has_nft() {
            return;
        }
        let kernel = Kernel::open().expect("a socket");
        let mut engine = Engine::new(kernel, options, dual_stack(), &IpFamily::ALL);
        commit(&mut engine);
        for (ip, client, endpoint) in [
            ("ip", "192.0.2.77", "10.244.1.5"),
            ("ip6", "2001:db8::77", "fd00::a:f4:1:5"),
        ] {
            let map = format!("{ip} ferrule affinity-default/login/80/tcp/8080");
            nft(
                "nft",
                &[
                    "add",
                    "element",
                    &map,
                    &format!("{{ {client} : {endpoint} }}"),
                ],
                "",
            );
        }
        for command in nft_commands() {
            let listing = nft(&command, &["list", "ruleset"], "");
            for text in present {
                assert_eq!(
                    listing.matches(text).count().min(2),
                    2,
                    "{text}: both families"
                );
            }
            in_namespace(move || {
                nft(&command, &["-f", "-"], &listing);
                let again = nft(&command, &["list", "ruleset"], "");
                let without_clock = |text: &str| -> String {
                    text.lines().filter(|l| !l.contains("expires")).collect()
                };
                assert_eq!(without_clock(&again), without_clock(&listing), "{command}");
            });
        }
    });
}
