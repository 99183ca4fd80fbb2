// SPDX-License-Identifier: Apache-2.0
//! The agent as a process.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use ferrule::backend::nft::Kernel;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, SysconfVar, sysconf};

use crate::kernel;
use crate::report::{Cold, ms};
use crate::world::Size;

/// How long a cold start may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often the kernel is asked whether it is done.
const POLL: Duration = Duration::from_millis(5);

/// A running agent. Killed when dropped.
pub(crate) struct Agent {
    child: Child,
}

/// Memory in kB.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    /// `VmRSS`.
    pub now: u64,
    /// `VmHWM`.
    pub peak: u64,
}

impl Agent {
    /// Starts the binary; what it logs goes to a file in `scratch`. Returns once everything is
    /// programmed, with how long that took.
    pub(crate) fn start(
        binary: &Path,
        arguments: &[&OsStr],
        scratch: &Path,
        kernel: &mut Kernel,
    ) -> Result<(Self, Duration)> {
        let log = scratch.join("log");
        let begun = Instant::now();
        let child = Command::new(binary)
            .args(arguments)
            .arg("--admin-socket")
            .arg(scratch.join("admin.sock"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log)?)
            .spawn()
            .with_context(|| binary.display().to_string())?;
        let mut agent = Agent { child };
        while !kernel::hooked(kernel)? {
            if let Some(status) = agent.child.try_wait()? {
                bail!("{}: {status}\n{}", binary.display(), tail(&log));
            }
            if begun.elapsed() > PATIENCE {
                bail!("nothing programmed within {PATIENCE:?}\n{}", tail(&log));
            }
            std::thread::sleep(POLL);
        }
        Ok((agent, begun.elapsed()))
    }

    /// The row of its start, to be taken right after it.
    pub(crate) fn cold(
        &self,
        size: Size,
        source: &'static str,
        took: Duration,
        elements: usize,
    ) -> Result<Cold> {
        let memory = self.memory()?;
        Ok(Cold {
            size: size.to_string(),
            source,
            ms: ms(took),
            cpu_ms: Some(self.cpu_ms()?),
            rss_kb: Some(memory.now),
            peak_kb: Some(memory.peak),
            rss_after_kb: None,
            messages: None,
            elements,
        })
    }

    /// Its memory.
    pub(crate) fn memory(&self) -> Result<Memory> {
        let text = self.proc("status")?;
        let value = |key: &str| {
            let line = text.lines().find(|l| l.starts_with(key));
            let number = line.and_then(|l| l.split_whitespace().nth(1)?.parse().ok());
            number.with_context(|| format!("no {key} in /proc/PID/status"))
        };
        Ok(Memory {
            now: value("VmRSS:")?,
            peak: value("VmHWM:")?,
        })
    }

    /// Processor time that it has used, milliseconds.
    pub(crate) fn cpu_ms(&self) -> Result<f64> {
        let text = self.proc("stat")?;
        // After the name in parentheses: utime and stime are fields 14 and 15 of the line.
        let fields: Vec<&str> = text
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .collect();
        let ticks: u64 = [11, 12]
            .iter()
            .filter_map(|i| fields.get(*i)?.parse::<u64>().ok())
            .sum();
        let per_second = sysconf(SysconfVar::CLK_TCK)?.context("no clock tick")?;
        Ok(ms(Duration::from_secs(1)) * ticks as f64 / per_second as f64)
    }

    fn proc(&self, file: &str) -> Result<String> {
        let path = format!("/proc/{}/{file}", self.child.id());
        fs::read_to_string(&path).context(path)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // Gone already is fine, too.
        let _ = kill(Pid::from_raw(self.child.id() as i32), Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

/// Removes what an agent has left in this network namespace.
pub(crate) fn clean_up(binary: &Path) -> Result<()> {
    let status = Command::new(binary)
        .arg("--cleanup")
        .status()
        .context("--cleanup")?;
    ensure!(status.success(), "--cleanup: {status}");
    Ok(())
}

/// The last lines of a log.
fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(5)..].join("\n")
}
