// SPDX-License-Identifier: Apache-2.0
//! Rules of others on a node: kube-proxy's, as recorded, and those that are nobody's business.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::netns::Namespace;

/// A mode of kube-proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Its own tables.
    Nftables,
    /// Chains of iptables-nft.
    Iptables,
}

const COMMANDS: [&str; 2] = ["iptables", "ip6tables"];
/// Counters that iptables mode uses: objects that would have to be made first.
const COUNTERS: [&str; 2] = [
    "ct_state_invalid_dropped_pkts",
    "localhost_nps_accepted_pkts",
];
/// Chains that the kubelet makes, too.
const KUBELETS: [&str; 3] = ["KUBE-IPTABLES-HINT", "KUBE-KUBELET-CANARY", "KUBE-FIREWALL"];

fn data(name: &str) -> Result<String> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/kube-proxy");
    let path = directory.join(name);
    std::fs::read_to_string(&path).with_context(|| path.display().to_string())
}

/// Whether iptables-nft is there; if not, says so, or fails where all must run.
pub(super) fn has_iptables() -> Result<bool> {
    let there = Command::new("iptables-nft-save").arg("--version").output();
    let required = std::env::var("REQUIRE_ROOT").as_deref() == Ok("1");
    ensure!(there.is_ok() || !required, "no iptables-nft");
    if there.is_err() {
        println!("SKIP: no iptables-nft");
    }
    Ok(there.is_ok())
}

fn restore(node: &Namespace, command: &str, text: &str) -> Result<()> {
    let mut command = Command::new(format!("{command}-nft-restore"));
    node.run(command.arg("--noflush"), text)
}

/// Loads kube-proxy's rules as kube-proxy does: all of a table at once.
pub(super) fn load(node: &Namespace, mode: Mode) -> Result<()> {
    if mode == Mode::Nftables {
        return node.nft(&data("nftables.nft")?);
    }
    for command in COMMANDS {
        let text = data(&format!("iptables.{command}-save"))?;
        let own = |line: &&str| !KUBELETS.iter().any(|chain| line.contains(chain));
        let text: String = text.lines().filter(own).map(|l| format!("{l}\n")).collect();
        let text = COUNTERS.iter().fold(text, |text, name| {
            text.replace(&format!(" -m nfacct --nfacct-name  {name}"), "")
        });
        restore(node, command, &text)?;
    }
    Ok(())
}

/// Whether rules of kube-proxy are there.
pub(super) fn loaded(node: &Namespace, mode: Mode) -> Result<bool> {
    Ok(match mode {
        Mode::Nftables => output(node, "nft", &["list", "tables"])?
            .lines()
            .any(|line| line.ends_with(" kube-proxy")),
        Mode::Iptables => saved(node)?.contains("\n:KUBE-SERVICES "),
    })
}

/// Rules of others.
pub(super) fn load_bystanders(node: &Namespace, with_iptables: bool) -> Result<()> {
    node.nft(&data("bystanders.nft")?)?;
    if with_iptables {
        for command in COMMANDS {
            restore(node, command, &data(&format!("bystanders.{command}-save"))?)?;
        }
    }
    Ok(())
}

/// All rules of a node but those of ferrule, with handles and byte by byte, to be compared.
pub(super) fn snapshot(node: &Namespace, with_iptables: bool) -> Result<String> {
    let mut text = String::new();
    let tables = output(node, "nft", &["list", "tables"])?;
    let others = |line: &&str| !line.ends_with(" ferrule");
    for table in tables.lines().filter(others) {
        let words: Vec<&str> = table.split(' ').collect();
        text += &output(node, "nft", &[&["-a", "-s", "list"][..], &words].concat())?;
    }
    if with_iptables {
        text += &saved(node)?;
    }
    Ok(text)
}

/// Without the lines that hold the time and without packet counters.
fn saved(node: &Namespace) -> Result<String> {
    let mut text = String::new();
    for command in COMMANDS {
        let all = output(node, &format!("{command}-nft-save"), &[])?;
        let lines = all.lines().filter(|line| !line.starts_with('#'));
        for line in lines {
            text += line.split(" [").next().unwrap_or(line);
            text.push('\n');
        }
    }
    Ok(text)
}

/// Removes all rules of a node.
pub(super) fn flush(node: &Namespace) -> Result<()> {
    node.nft("flush ruleset")
}

pub(super) fn output(node: &Namespace, program: &str, arguments: &[&str]) -> Result<String> {
    node.enter(|| {
        let output = Command::new(program)
            .args(arguments)
            .output()
            .with_context(|| program.to_owned())?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{program} {arguments:?}: {errors}");
        Ok(String::from_utf8(output.stdout)?)
    })
}
