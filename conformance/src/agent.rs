// SPDX-License-Identifier: Apache-2.0
//! The `ferrule` program on one node.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::cases::cluster_cidr_flags;
use crate::interrupt;
use crate::netns::Namespace;
use crate::object::node_name;
use crate::pace::pace;

/// The longest that a node may differ from a fresh start.
const IN_STEP: Duration = Duration::from_secs(60);

/// A running agent. It is killed when it is dropped.
#[derive(Debug)]
pub struct Agent {
    node: u16,
    child: Child,
    log: PathBuf,
}

/// The program to test: `FERRULE_BIN`, or the newer of what `cargo build` made.
///
/// # Errors
/// If there is none.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("FERRULE_BIN") {
        let path = PathBuf::from(path);
        return path
            .canonicalize()
            .with_context(|| format!("FERRULE_BIN={}", path.display()));
    }
    // target/debug/deps/netns-0123 or target/release/ferrule-demo
    let own = std::env::current_exe()?;
    let target = own
        .ancestors()
        .find(|a| a.ends_with("debug") || a.ends_with("release"))
        .and_then(Path::parent)
        .context("not started from cargo's target directory: set FERRULE_BIN")?;
    let modified = |p: &PathBuf| p.metadata().and_then(|m| m.modified()).ok();
    let built = ["release", "debug"].map(|d| target.join(d).join("ferrule"));
    built
        .into_iter()
        .filter(|p| modified(p).is_some())
        .max_by_key(modified)
        .with_context(|| format!("no ferrule in {}: run cargo build", target.display()))
}

/// Waits until the kernel of node `n` holds what a fresh start on these objects would program:
/// `debug diff` finds nothing. `source` are the flags before the path that name where objects come
/// from, and `log` is what to tell besides if that takes longer than a minute.
///
/// # Errors
/// With what differs then.
pub fn in_step(
    (node, n): (&Namespace, u16),
    source: &[&str],
    path: &Path,
    log: impl FnOnce() -> String,
) -> Result<()> {
    let begun = Instant::now();
    let mut diff = node.command(binary()?);
    diff.args(["debug", "diff"])
        .args(source)
        .arg(path)
        .args(["--hostname-override", &node_name(n)])
        .args(cluster_cidr_flags())
        .stdin(Stdio::null());
    loop {
        let output = diff.output()?;
        if output.status.success() {
            return Ok(());
        }
        if begun.elapsed() > IN_STEP {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let (out, err) = (text(&output.stdout), text(&output.stderr));
            bail!("node {n} is not in step:\n{out}{err}{}", log());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

impl Agent {
    /// Starts the program on a node. `source` are the flags that name where objects come from.
    /// What it logs goes to a file in `logs`.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(
        namespace: &Namespace,
        node: u16,
        source: &[String],
        logs: &Path,
        flags: &[String],
    ) -> Result<Self> {
        let log = logs.join(format!("{}.log", node_name(node)));
        let file = File::create(&log).with_context(|| log.display().to_string())?;
        let mut command: Command = namespace.command(binary()?);
        command
            .args(source)
            .args(["--hostname-override", &node_name(node)])
            .arg("--admin-socket")
            .arg(logs.join(format!("{}.sock", node_name(node))))
            .arg("--state-file")
            .arg(logs.join(format!("{}.state", node_name(node))))
            .args(flags)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file);
        let child = interrupt::spawn(&mut command)?;
        Ok(Self { node, child, log })
    }

    /// The number of its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Fails if it has ended, with the end of its log.
    ///
    /// # Errors
    /// As said.
    pub fn check(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!(
                "ferrule on {} ended, {status}:\n{}",
                node_name(self.node),
                self.tail(10)
            );
        }
        Ok(())
    }

    /// The last lines of its log.
    pub fn tail(&self, lines: usize) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let all: Vec<_> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// Sends SIGTERM and waits for its end.
    ///
    /// # Errors
    /// If it does not end within [`Pace::answer`](crate::pace::Pace::answer), or not with success.
    pub fn stop(mut self) -> Result<()> {
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM)?;
        let asked = Instant::now();
        while asked.elapsed() < pace().answer {
            match self.child.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => bail!("ferrule ended with {status}:\n{}", self.tail(10)),
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        }
        bail!("ferrule does not end on SIGTERM:\n{}", self.tail(10))
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
