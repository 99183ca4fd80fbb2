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
    /// Chains of iptables-legacy.
    Legacy,
}

impl Mode {
    /// What the names of iptables' programs go on with.
    fn make(self) -> &'static str {
        match self {
            Mode::Legacy => "legacy",
            Mode::Nftables | Mode::Iptables => "nft",
        }
    }
}

const COMMANDS: [&str; 2] = ["iptables", "ip6tables"];
/// Counters that iptables mode uses: objects that would have to be made first.
const COUNTERS: [&str; 2] = [
    "ct_state_invalid_dropped_pkts",
    "localhost_nps_accepted_pkts",
];
/// Chains that the kubelet makes, too.
const KUBELETS: [&str; 3] = ["KUBE-IPTABLES-HINT", "KUBE-KUBELET-CANARY", "KUBE-FIREWALL"];

pub(super) fn data(name: &str) -> Result<String> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/kube-proxy");
    let path = directory.join(name);
    std::fs::read_to_string(&path).with_context(|| path.display().to_string())
}

/// Whether this make of iptables is there and works; if not, says so, or fails where all must run.
pub(super) fn has_iptables(mode: Mode) -> Result<bool> {
    let make = mode.make();
    let scratch = Namespace::new("scratch")?;
    let works = output(&scratch, &format!("iptables-{make}"), &["-S"]);
    let required = std::env::var("REQUIRE_ROOT").as_deref() == Ok("1");
    match works {
        Err(error) if required => Err(error),
        Err(_) => {
            println!("SKIP: no iptables-{make}");
            Ok(false)
        }
        Ok(_) => Ok(true),
    }
}

fn restore(node: &Namespace, mode: Mode, command: &str, text: &str) -> Result<()> {
    let mut command = Command::new(format!("{command}-{}-restore", mode.make()));
    node.run(command.arg("--noflush"), text)
}

/// Loads kube-proxy's rules as kube-proxy does: all of a table at once.
pub(super) fn load(node: &Namespace, mode: Mode) -> Result<()> {
    if mode == Mode::Nftables {
        return node.nft(&data("nftables.nft")?);
    }
    load_iptables_as(node, mode, "iptables")
}

/// Loads the rules of iptables that a record holds.
pub(super) fn load_iptables(node: &Namespace, record: &str) -> Result<()> {
    load_iptables_as(node, Mode::Iptables, record)
}

fn load_iptables_as(node: &Namespace, mode: Mode, record: &str) -> Result<()> {
    for command in COMMANDS {
        let text = data(&format!("{record}.{command}-save"))?;
        let own = |line: &&str| !KUBELETS.iter().any(|chain| line.contains(chain));
        let text: String = text.lines().filter(own).map(|l| format!("{l}\n")).collect();
        let text = COUNTERS.iter().fold(text, |text, name| {
            text.replace(&format!(" -m nfacct --nfacct-name  {name}"), "")
        });
        restore(node, mode, command, &text)?;
    }
    Ok(())
}

/// Removes all rules of iptables-legacy, a table at a time, those of Services first.
pub(super) fn unload_legacy(node: &Namespace) -> Result<()> {
    for (command, table) in COMMANDS
        .iter()
        .flat_map(|c| ["nat", "filter", "mangle"].map(|t| (c, t)))
    {
        for flag in ["-F", "-X"] {
            output(node, &format!("{command}-legacy"), &["-t", table, flag])?;
        }
    }
    Ok(())
}

/// Whether rules of kube-proxy are there.
pub(super) fn loaded(node: &Namespace, mode: Mode) -> Result<bool> {
    Ok(match mode {
        Mode::Nftables => output(node, "nft", &["list", "tables"])?
            .lines()
            .any(|line| line.ends_with(" kube-proxy")),
        Mode::Iptables | Mode::Legacy => saved(node, mode)?.contains("\n:KUBE-SERVICES "),
    })
}

/// Rules of others.
pub(super) fn load_bystanders(node: &Namespace, with_iptables: bool) -> Result<()> {
    node.nft(&data("bystanders.nft")?)?;
    if with_iptables {
        for command in COMMANDS {
            restore(
                node,
                Mode::Iptables,
                command,
                &data(&format!("bystanders.{command}-save"))?,
            )?;
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
        text += &saved(node, Mode::Iptables)?;
    }
    Ok(text)
}

/// Without the lines that hold the time and without packet counters.
fn saved(node: &Namespace, mode: Mode) -> Result<String> {
    let mut text = String::new();
    for command in COMMANDS {
        let all = output(node, &format!("{command}-{}-save", mode.make()), &[])?;
        let lines = all.lines().filter(|line| !line.starts_with('#'));
        for line in lines {
            text += line.split(" [").next().unwrap_or(line);
            text.push('\n');
        }
    }
    Ok(text)
}

/// Removes all rules of a node but those of iptables-legacy.
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
