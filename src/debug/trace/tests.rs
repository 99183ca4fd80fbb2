// SPDX-License-Identifier: Apache-2.0

use std::process::Command;

use super::*;
use crate::backend::Nftables;
use crate::backend::nft::Kernel;
use crate::backend::testing::{in_namespace, skip};
use crate::cli::Output;
use crate::plan::fixture::{dual_stack, options, plan_all};
use crate::plan::resync;

/// A namespace with the showcase's rules.
fn with_rules(body: impl FnOnce() + Send + 'static) {
    in_namespace(|| {
        let mut kernel = Kernel::open().unwrap();
        for family in IpFamily::ALL {
            let ledger = plan_all(&dual_stack(), &options(), family);
            for commit in resync::from_nothing(&ledger) {
                kernel.commit(family, &commit).unwrap();
            }
        }
        body();
    });
}

fn traced(from: &str, to: &str, probe: bool) -> serde_json::Value {
    let args = TraceArgs {
        from: from.to_owned(),
        to: to.to_owned(),
        interface: None,
        probe,
        output: Output::Json,
        admin_socket: "/no/such/socket".into(),
    };
    let mut out = Vec::new();
    run(&args, &mut out).unwrap();
    let traced = serde_json::from_slice(&out).unwrap();
    crate::debug::schema::obeys("trace", &traced);
    traced
}

/// Names of tables and links that are not the namespace's from the start.
fn left_behind() -> Vec<String> {
    let tables = Command::new("nft").args(["list", "tables"]).output();
    let tables = String::from_utf8(tables.unwrap().stdout).unwrap();
    let links = std::fs::read_to_string("/proc/thread-self/net/dev").unwrap();
    let tables = tables.lines().filter(|l| l.contains("ferrule-trace"));
    let links = links.lines().filter(|l| l.contains("ferrule-"));
    tables.chain(links).map(str::to_owned).collect()
}

fn nothing_is_left_behind() {
    // The kernel removes a namespace, and so its links, some time after it is given up.
    let begun = std::time::Instant::now();
    while !left_behind().is_empty() {
        let waited = begun.elapsed().as_secs();
        assert!(waited < 20, "{:?} is left behind", left_behind());
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

#[test]
fn the_kernel_agrees_and_nothing_stays() {
    if Command::new("nft").arg("--version").output().is_err() {
        return skip("nft is not installed");
    }
    with_rules(|| {
        for (from, to, verdict) in [
            ("outside", "203.0.113.21:80/tcp", "dropped"),
            ("outside", "[fd00::cb:0:71:15]:80/tcp", "dropped"),
            ("pod", "10.96.0.50:80/udp", "dropped"),
            ("pod", "10.96.0.50:80/tcp", "dropped"),
            ("8.8.8.8", "203.0.113.30:80/tcp", "dropped"),
            ("outside", "203.0.113.30:81/tcp", "untouched"),
        ] {
            let told = traced(from, to, true);
            assert_eq!(told["kernel"]["verdict"], verdict, "{from} {to}: {told:#}");
            assert_eq!(told["agrees"], true, "{from} {to}: {told:#}");
        }
        // Without a route to the endpoint it is translated and then lost.
        let lost = traced("pod", "10.96.0.10:80/tcp", true);
        assert_eq!(lost["kernel"]["verdict"], "forwarded", "{lost:#}");
        assert_eq!(lost.get("agrees"), None, "{lost:#}");
        nothing_is_left_behind();
    });
}

#[test]
fn a_rule_of_somebody_else_shows() {
    if Command::new("nft").arg("--version").output().is_err() {
        return skip("nft is not installed");
    }
    with_rules(|| {
        let rules = "table ip other {\n chain c {\n \
                     type filter hook prerouting priority -200;\n \
                     ip daddr 10.96.0.10 tcp dport 80 drop\n }\n }\n";
        crate::backend::nft::tests::nft("nft", &["-f", "-"], rules);
        let told = traced("pod", "10.96.0.10:80/tcp", true);
        assert_eq!(told["ends"][0]["verdict"], "forwarded");
        assert_eq!(
            (&told["kernel"]["verdict"], &told["agrees"]),
            (&"dropped".into(), &false.into())
        );
        let step = &told["kernel"]["steps"][0];
        assert_eq!(step["table"], "ip other");
        assert_eq!(step["verdict"], "drop");
        assert!(
            step["rule"]
                .as_str()
                .unwrap()
                .contains("ip daddr 10.96.0.10"),
            "{step}"
        );
    });
}

#[test]
fn steps_are_told_without_a_packet() {
    with_rules(|| {
        let told = traced("outside", "10.96.0.20:80/tcp", false);
        assert_eq!(told.get("kernel"), None);
        let ends = told["ends"].as_array().unwrap();
        assert_eq!(ends.len(), 2);
        assert!(ends.iter().all(|end| end["masqueraded"] == true));
        let steps = told["steps"].as_array().unwrap();
        let last = steps.last().unwrap();
        assert_eq!(
            (&last["chain"], &last["matches"]),
            (&"lb-2".into(), &true.into())
        );
        assert_eq!(last["elements"].as_array().unwrap().len(), 2);
        let service = &steps.iter().find(|s| s["chain"] == "services").unwrap()["outcome"];
        assert_eq!(service, "goto lb-2");
    });
}
