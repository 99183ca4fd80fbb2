// SPDX-License-Identifier: Apache-2.0

use std::process::Command;

use super::chains::{Cut, cut, is_kube_proxys};
use super::*;
use crate::backend::nft::foreign::{ForeignChain, ForeignRule, ForeignTable};
use crate::backend::nft::tests::{has_nft, nft};
use crate::backend::testing::{in_namespace, skip};

/// A table of base chains FORWARD and OUTPUT, further chains, and rules that lead from one to
/// another; their handles count from 1.
fn table(chains: &[&str], rules: &[(&str, &str)]) -> ForeignTable {
    let chain = |name: &&str| ForeignChain {
        name: (*name).into(),
        base: ["FORWARD", "OUTPUT"].contains(name),
        drops: false,
    };
    let rule = |(handle, (from, to)): (u64, &(&str, &str))| ForeignRule {
        chain: (*from).into(),
        handle,
        to: (!to.is_empty()).then(|| (*to).into()),
    };
    ForeignTable {
        family: IpFamily::V4,
        name: "nat",
        chains: ["FORWARD", "OUTPUT"]
            .iter()
            .chain(chains)
            .map(chain)
            .collect(),
        rules: (1..).zip(rules).map(rule).collect(),
    }
}

fn expected(jumps: &[(&str, u64)], chains: &[&str], kept: &[(&str, &str)]) -> Cut {
    Cut {
        jumps: jumps.iter().map(|(c, h)| ((*c).into(), *h)).collect(),
        chains: chains.iter().map(|c| (*c).into()).collect(),
        kept: kept
            .iter()
            .map(|(c, by)| ((*c).into(), (*by).into()))
            .collect(),
        forward_drops: false,
    }
}

#[test]
fn names_tell_whose_a_chain_is() {
    for own in [
        "KUBE-SERVICES",
        "KUBE-SVC-4SW47YFZTEDKD3PK",
        "KUBE-PROXY-CANARY",
        "KUBE-SEP-A",
    ] {
        assert!(is_kube_proxys(own), "{own}");
    }
    for other in [
        "KUBE-FIREWALL",
        "KUBE-IPTABLES-HINT",
        "KUBE-KUBELET-CANARY",
        "KUBE-ROUTER-INPUT",
        "KUBE-NWPLCY-DEFAULT",
        "KUBE-SERVICES-2",
        "OUTPUT",
        "DOCKER",
    ] {
        assert!(!is_kube_proxys(other), "{other}");
    }
}

#[test]
fn foreign_rules_and_chains_stay() {
    let found = table(
        &["KUBE-SERVICES", "KUBE-SVC-A", "KUBE-FIREWALL", "DOCKER"],
        &[
            ("OUTPUT", "DOCKER"),
            ("OUTPUT", "KUBE-SERVICES"),
            ("OUTPUT", "KUBE-FIREWALL"),
            ("OUTPUT", ""),
            ("KUBE-SERVICES", "KUBE-SVC-A"),
        ],
    );
    let right = expected(&[("OUTPUT", 2)], &["KUBE-SERVICES", "KUBE-SVC-A"], &[]);
    assert_eq!(cut(&found), right);
}

#[test]
fn what_a_foreign_rule_leads_to_stays() {
    let found = table(
        &[
            "KUBE-SERVICES",
            "KUBE-MARK-MASQ",
            "KUBE-POSTROUTING",
            "KUBE-SVC-A",
            "CNI-DN",
            "KUBE-SEP-B",
        ],
        &[
            ("OUTPUT", "KUBE-SERVICES"),
            ("OUTPUT", "KUBE-POSTROUTING"),
            ("KUBE-SERVICES", "KUBE-SVC-A"),
            ("KUBE-SVC-A", "KUBE-MARK-MASQ"),
            ("CNI-DN", "KUBE-MARK-MASQ"),
            ("KUBE-SVC-A", "KUBE-SEP-B"),
        ],
    );
    let right = expected(
        &[("OUTPUT", 1)],
        &["KUBE-SERVICES", "KUBE-SVC-A", "KUBE-SEP-B"],
        &[("KUBE-MARK-MASQ", "CNI-DN")],
    );
    assert_eq!(cut(&found), right, "the mark, and what masquerades by it");
    let found = table(
        &["KUBE-SVC-A", "KUBE-SEP-B", "KUBE-SEP-C"],
        &[("OUTPUT", "KUBE-SVC-A"), ("KUBE-SVC-A", "KUBE-SEP-B")],
    );
    let right = expected(&[], &["KUBE-SEP-C"], &[("KUBE-SVC-A", "OUTPUT")]);
    assert_eq!(cut(&found), right, "kube-proxy makes no such jump");
}

#[test]
fn a_policy_that_kube_proxy_got_past_is_told() {
    let mut found = table(&["KUBE-FORWARD"], &[("FORWARD", "KUBE-FORWARD")]);
    assert!(!cut(&found).forward_drops);
    found.chains[0].drops = true;
    assert!(cut(&found).forward_drops);
    found.rules.clear();
    assert!(!cut(&found).forward_drops, "it did not get past it");
}

/// Recorded from kube-proxy v1.36.3; see the directory's README.
fn recorded(name: &str) -> String {
    let directory = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/conformance/testdata/kube-proxy/"
    );
    let text = std::fs::read_to_string(format!("{directory}{name}")).unwrap();
    // The counters of nfacct are objects that would have to be there first.
    let counters = [
        "ct_state_invalid_dropped_pkts",
        "localhost_nps_accepted_pkts",
    ];
    counters.iter().fold(text, |text, c| {
        text.replace(&format!(" -m nfacct --nfacct-name  {c}"), "")
    })
}

fn has_iptables() -> bool {
    let there = Command::new("iptables-nft-save")
        .arg("--version")
        .output()
        .is_ok();
    if !there {
        skip("no iptables-nft");
    }
    there
}

/// What iptables-save says, without comments and counters, its tables in order.
fn saved(command: &str) -> Vec<String> {
    let text = nft(command, &[], "");
    let mut tables: Vec<String> = Vec::new();
    for line in text.lines().filter(|l| !l.starts_with('#')) {
        if line.starts_with('*') {
            tables.push(String::new());
        }
        let line = line.split(" [").next().unwrap_or(line);
        tables
            .last_mut()
            .expect("a table first")
            .push_str(&format!("{line}\n"));
    }
    tables.sort();
    tables
}

#[test]
fn tables_of_nftables_mode_go_and_others_stay() {
    in_namespace(|| {
        if !has_nft() {
            return;
        }
        let other = "table ip other {\n\tchain kube-proxy {\n\t\ttcp dport 80 accept\n\t}\n}\n";
        nft("nft", &["-f", "-"], other);
        let before = nft("nft", &["-a", "list", "ruleset"], "");
        nft("nft", &["-f", "-"], &recorded("nftables.nft"));
        let mut kernel = Kernel::open().unwrap();
        assert_eq!(
            present(&mut kernel).unwrap().as_deref(),
            Some("table ip kube-proxy")
        );
        let swept = sweep(&mut kernel).unwrap();
        let tables = IpFamily::ALL.map(|family| Removed::Table { family });
        assert_eq!(swept.removed, tables);
        assert_eq!(swept.left, []);
        assert_eq!(nft("nft", &["-a", "list", "ruleset"], ""), before);
        assert_eq!(present(&mut kernel).unwrap(), None);
        let generation = kernel.generation().unwrap();
        assert_eq!(sweep(&mut kernel).unwrap(), Swept::default());
        assert_eq!(
            kernel.generation().unwrap(),
            generation,
            "nothing to do is done by doing nothing"
        );
    });
}

/// Exactly what kube-proxy's own `--cleanup` leaves.
#[test]
fn chains_of_iptables_mode_go_as_kube_proxy_removes_them() {
    in_namespace(|| {
        if !has_iptables() {
            return;
        }
        let commands = [("iptables", "ip"), ("ip6tables", "ip6")];
        let restore = |name: &str| {
            for (command, _) in commands {
                let text = recorded(&format!("{name}.{command}-save"));
                nft(&format!("{command}-nft-restore"), &[], &text);
            }
        };
        let all = || commands.map(|(command, _)| saved(&format!("{command}-nft-save")));
        restore("iptables-cleaned");
        let cleaned = all();
        restore("iptables");
        assert_ne!(all(), cleaned);
        let mut kernel = Kernel::open().unwrap();
        assert_eq!(
            present(&mut kernel).unwrap().as_deref(),
            Some("chain ip nat KUBE-SERVICES")
        );
        let swept = sweep(&mut kernel).unwrap();
        assert_eq!(swept.left, []);
        assert_eq!(
            swept.removed.len(),
            6,
            "three tables, two families: {swept:?}"
        );
        assert_eq!(all(), cleaned);
        assert_eq!(present(&mut kernel).unwrap(), None);
        assert_eq!(sweep(&mut kernel).unwrap(), Swept::default());
    });
}

/// A portmap plugin uses kube-proxy's mark, and somebody has a shortcut to a Service.
#[test]
fn what_others_use_goes_on_working() {
    in_namespace(|| {
        if !has_iptables() {
            return;
        }
        nft(
            "iptables-nft-restore",
            &[],
            &recorded("iptables.iptables-save"),
        );
        let text = nft("iptables-nft-save", &["-t", "nat"], "");
        let shortcut = text
            .split_whitespace()
            .find(|word| word.starts_with("KUBE-SVC-"))
            .unwrap();
        for rule in [
            "-t nat -N CNI-DN-1",
            "-t nat -A CNI-DN-1 -p tcp -j KUBE-MARK-MASQ",
            &format!("-t nat -A OUTPUT -d 203.0.113.1 -j {shortcut}"),
            "-P FORWARD DROP",
        ] {
            nft("iptables-nft", &Vec::from_iter(rule.split(' ')), "");
        }
        let mut kernel = Kernel::open().unwrap();
        let swept = sweep(&mut kernel).unwrap();
        let used = |chain: &str, by: &str| Left::Used {
            family: IpFamily::V4,
            table: "nat",
            chain: chain.into(),
            by: by.into(),
        };
        assert_eq!(swept.left.len(), 3, "{:?}", swept.left);
        for left in [
            used("KUBE-MARK-MASQ", "CNI-DN-1"),
            used(shortcut, "OUTPUT"),
            Left::ForwardDrops {
                family: IpFamily::V4,
            },
        ] {
            assert!(swept.left.contains(&left), "{left:?}");
        }
        let rules = nft("iptables-nft-save", &["-t", "nat"], "");
        let count = |text: &str| rules.matches(text).count();
        assert_eq!(count(":KUBE-SVC-"), 1);
        assert!(
            count("\n:KUBE-SEP-") > 0 && count("DNAT --to-destination") == count("\n:KUBE-SEP-")
        );
        assert_eq!(count(&format!("-j {shortcut}\n")), 1, "{rules}");
        assert_eq!(count("-j KUBE-POSTROUTING\n"), 1);
        assert_eq!(count("-j MASQUERADE"), 1);
        assert_eq!(count("KUBE-SERVICES"), 0);
        let generation = kernel.generation().unwrap();
        assert_eq!(sweep(&mut kernel).unwrap().removed, []);
        assert_eq!(kernel.generation().unwrap(), generation);
    });
}

/// Somebody commits between the listing and the removal.
#[test]
fn a_removal_for_an_older_generation_does_nothing() {
    in_namespace(|| {
        if !has_nft() {
            return;
        }
        nft("nft", &["-f", "-"], "table ip kube-proxy { }");
        let mut kernel = Kernel::open().unwrap();
        let generation = kernel.generation().unwrap();
        nft("nft", &["-f", "-"], "table ip other { }");
        let deletions = [Deletion::Table(IpFamily::V4, KUBE_PROXY)];
        let late = kernel.delete_foreign(&deletions, Some(generation));
        assert!(matches!(late, Err(Error::Interrupted)), "{late:?}");
        assert!(kernel.has_foreign_table(IpFamily::V4, KUBE_PROXY).unwrap());
        let generation = kernel.generation().unwrap();
        kernel.delete_foreign(&deletions, Some(generation)).unwrap();
        assert!(!kernel.has_foreign_table(IpFamily::V4, KUBE_PROXY).unwrap());
        let generation = kernel.generation().unwrap();
        let twice = kernel
            .delete_foreign(&deletions, Some(generation))
            .unwrap_err();
        assert_eq!(
            twice.to_string(),
            "delete table ip kube-proxy: No such file or directory (os error 2)"
        );
    });
}

#[test]
fn tables_of_iptables_legacy_are_told() {
    in_namespace(|| {
        let rule = ["-t", "nat", "-N", "KUBE-SERVICES"];
        let made = Command::new("iptables-legacy").args(rule).output();
        if !made.is_ok_and(|o| o.status.success()) {
            return skip("no iptables-legacy");
        }
        let mut kernel = Kernel::open().unwrap();
        assert_eq!(sweep(&mut kernel).unwrap().left, [], "no table filter");
        nft("iptables-legacy", &["-N", "KUBE-SERVICES"], "");
        assert_eq!(sweep(&mut kernel).unwrap().left, [Left::Legacy]);
        if has_iptables() {
            nft("iptables-nft", &["-t", "mangle", "-N", HINT], "");
            assert_eq!(
                sweep(&mut kernel).unwrap().left,
                [],
                "the kubelet uses the other"
            );
        }
    });
}
