// SPDX-License-Identifier: Apache-2.0
//! Faults that cannot be made here: the facts of a healthy node with one of them changed.

use clap::Parser;
use ferrule::backend::testing::in_namespace;
use ferrule::cli::{Cli, Command, DebugCommand};
use ferrule::debug::doctor::{Facts, Kind, judge};

use crate::rig::{Node, run};

pub(crate) const KINDS: &[Kind] = &[
    Kind::KernelFeature,
    Kind::Capability,
    Kind::Cilium,
    Kind::ConntrackFull,
];

fn facts(node: &Node) -> Facts {
    let line = [
        "ferrule",
        "debug",
        "doctor",
        "--admin-socket",
        &node.socket(),
    ]
    .map(str::to_owned);
    let cli = Cli::try_parse_from(line).expect("a command line");
    let Some(Command::Debug(DebugCommand::Doctor(args))) = cli.command else {
        panic!("another command");
    };
    Facts::gather(&args).expect("facts")
}

#[test]
fn made_up_facts_are_judged() {
    in_namespace(|| {
        let node = Node::healthy();
        run("ip link add cilium_host type bridge");
        let healthy = facts(&node);
        let found = |change: &dyn Fn(&mut Facts)| {
            let mut facts = healthy.clone();
            facts.node.cilium_sockets = Ok(false);
            change(&mut facts);
            let report = judge(&facts);
            let kinds: Vec<Kind> = report.findings.iter().map(|f| f.kind).collect();
            (kinds, report.text())
        };
        assert_eq!(found(&|_| ()).0, []);
        let expect = |kind: Kind, cause: &str, change: &dyn Fn(&mut Facts)| {
            let (kinds, text) = found(change);
            assert_eq!(kinds, [kind], "{text}");
            assert!(text.contains(cause), "{cause}: {text}");
        };
        expect(Kind::KernelFeature, "CONFIG_NFT_NUMGEN", &|f| {
            let missing = "the kernel lacks nftables numgen (CONFIG_NFT_NUMGEN)";
            f.node.missing = Ok(Some(missing.to_owned()));
        });
        expect(Kind::Capability, "CAP_NET_ADMIN", &|f| {
            f.node.net_admin = Ok(false)
        });
        expect(Kind::Cilium, "cilium_host", &|f| {
            f.node.cilium_sockets = Ok(true)
        });
        expect(Kind::ConntrackFull, "nf_conntrack_count = 250000", &|f| {
            let count = "net/netfilter/nf_conntrack_count".to_owned();
            f.node.settings.0.insert(count, Ok("250000".into()));
            let max = "net/netfilter/nf_conntrack_max".to_owned();
            f.node.settings.0.insert(max, Ok("262144".into()));
        });
    });
}
