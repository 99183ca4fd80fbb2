// SPDX-License-Identifier: Apache-2.0
//! How long damage by others lasts: from the kernel's commit of it to the last commit that puts it
//! right, with nft as the one who breaks and the agent as a process.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use ferrule::backend::nft::Kernel;
use ferrule::backend::{Nftables, TableState};
use ferrule::model::IpFamily;
use ferrule::plan::nft::{Element, SetId};

use crate::agent::Agent;
use crate::files::{self, Layout};
use crate::kernel::Stamps;
use crate::report::{Changes, Report};
use crate::world::{NODE, Size};

/// What the numbers of this part are named by.
const SOURCE: &str = "repair";
/// Repairs that are made at once before any has to wait (`sync::heal`). After so many the agent is
/// started anew.
const AT_ONCE: u32 = 5;
/// How long a repair may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// A repair of many commits leaves no longer pause between two of them.
const QUIET: Duration = Duration::from_millis(400);

/// A kind of damage.
struct Damage {
    name: &'static str,
    /// What nft is told.
    script: fn(&mut Kernel, u32) -> Result<String>,
    /// One of so many repetitions: a whole table takes long to look at.
    share: u32,
}

const DAMAGES: [Damage; 8] = [
    Damage {
        name: "element deleted",
        script: |kernel, n| {
            let all = kernel.read_elements(IpFamily::V4, SetId::Services)?;
            let element = &all[n as usize % all.len()];
            let &[a, b, c, d, ..] = element.key.as_bytes() else {
                bail!("a key without an address");
            };
            let key = format!("{a}.{b}.{c}.{d} . tcp . 80");
            Ok(format!("delete element ip ferrule services {{ {key} }}"))
        },
        share: 1,
    },
    Damage {
        name: "rule deleted",
        script: |_, _| {
            let handle = last_rule("postrouting")?;
            Ok(format!(
                "delete rule ip ferrule postrouting handle {handle}"
            ))
        },
        share: 1,
    },
    Damage {
        name: "rule added",
        script: |_, _| Ok("insert rule ip ferrule prerouting accept".into()),
        share: 1,
    },
    Damage {
        name: "chain flushed",
        script: |_, _| Ok("flush chain ip ferrule prerouting".into()),
        share: 1,
    },
    Damage {
        name: "hook deleted",
        script: |_, _| {
            Ok("flush chain ip ferrule prerouting; delete chain ip ferrule prerouting".into())
        },
        share: 1,
    },
    Damage {
        name: "map flushed",
        script: |_, _| Ok("flush map ip ferrule services".into()),
        share: 4,
    },
    Damage {
        name: "table deleted",
        script: |_, _| Ok("delete table ip ferrule".into()),
        share: 4,
    },
    Damage {
        name: "flush ruleset",
        script: |_, _| Ok("flush ruleset".into()),
        share: 4,
    },
];

/// Measures one size, in the network namespace of the calling thread.
pub(crate) fn run(binary: &Path, size: Size, count: u32, report: &mut Report) -> Result<()> {
    let scratch = tempfile::tempdir().context("temporary directory")?;
    let directory = scratch.path().join("manifests");
    fs::create_dir(&directory)?;
    files::generate(&directory, size, Layout::Lists, 1).context("writing manifests")?;
    let mut kernel = Kernel::open()?;
    let stamps = Stamps::listen()?;
    for damage in DAMAGES {
        let mut durations = Vec::new();
        let mut agent = None;
        for n in 0..(count / damage.share).max(1) {
            if n % AT_ONCE == 0 {
                drop(agent.take());
                agent = Some(start(binary, scratch.path(), &directory, &mut kernel)?);
            }
            let script = (damage.script)(&mut kernel, n * 97)?;
            let took = repaired(&script, &mut kernel, &stamps);
            durations.push(took.with_context(|| damage.name)?);
        }
        let size = size.to_string();
        let row = Changes::new(size, SOURCE, damage.name, &mut durations);
        report.changes.push(row);
    }
    Ok(())
}

/// Starts the agent, and returns once it is in step and nobody commits any more.
fn start(binary: &Path, scratch: &Path, directory: &Path, kernel: &mut Kernel) -> Result<Agent> {
    let arguments = [
        OsStr::new("--manifests"),
        directory.as_os_str(),
        OsStr::new("--hostname-override"),
        OsStr::new(NODE),
        OsStr::new("--proxy-mode=nftables"),
        OsStr::new("--cluster-cidr=10.128.0.0/9"),
        OsStr::new("--protect-rules=repair"),
    ];
    let (agent, _) = Agent::start(binary, &arguments, scratch, kernel)?;
    let begun = Instant::now();
    while !fs::read_to_string(scratch.join("log"))?.contains("in step") {
        ensure!(begun.elapsed() < PATIENCE, "the agent is not in step");
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(agent)
}

/// Breaks something, and returns how long it took until all was as before.
fn repaired(script: &str, kernel: &mut Kernel, stamps: &Stamps) -> Result<Duration> {
    let before = held(kernel)?;
    stamps.clear();
    nft(&["-f", "-"], script)?;
    let broken = stamps.next(PATIENCE).context("no damage")?;
    let mut last = stamps.next(PATIENCE).context("no repair")?;
    loop {
        while let Some(later) = stamps.next(QUIET) {
            last = later;
        }
        if held(kernel)? == before {
            return Ok(last.duration_since(broken));
        }
        ensure!(broken.elapsed() < PATIENCE, "{script}: not put right");
    }
}

/// Everything that both tables hold.
fn held(kernel: &mut Kernel) -> Result<Vec<(Option<TableState>, BTreeSet<Element>)>> {
    let mut all = Vec::new();
    for family in IpFamily::ALL {
        let mut table = kernel.read_table(family)?;
        let mut elements = BTreeSet::new();
        if let Some(table) = &mut table {
            table.chains.sort_by(|a, b| a.name.cmp(&b.name));
            table.sets.sort();
            for set in SetId::ALL {
                // Not there in the midst of a repair.
                elements.extend(kernel.read_elements(family, set).unwrap_or_default());
            }
        }
        all.push((table, elements));
    }
    Ok(all)
}

/// The handle of a chain's last rule.
fn last_rule(chain: &str) -> Result<u64> {
    let text = nft(&["-a", "list", "chain", "ip", "ferrule", chain], "")?;
    let mut handles = text.lines().filter_map(|line| line.split_once("# handle "));
    let last = handles.next_back().context("a chain without rules")?;
    last.1.trim().parse().context("a handle")
}

fn nft(arguments: &[&str], input: &str) -> Result<String> {
    let mut child = Command::new("nft")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("nft")?;
    let mut stdin = child.stdin.take().context("no input")?;
    stdin.write_all(input.as_bytes())?;
    drop(stdin);
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "nft {arguments:?}: {input}");
    Ok(String::from_utf8(output.stdout)?)
}
