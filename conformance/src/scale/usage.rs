// SPDX-License-Identifier: Apache-2.0
//! What a process uses, together with the programs that it runs: kube-proxy runs `nft`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;
use procfs::process::Status;
use serde::{Deserialize, Serialize};

use super::progress::Progress;

/// How often the children are looked at. One that lives shorter may be missed.
const EVERY: Duration = Duration::from_millis(20);
/// A process is quiet if it used less than this in a second, and runs no other.
const QUIET: Duration = Duration::from_millis(20);
/// How long it may take until it is quiet.
const PATIENCE: Duration = Duration::from_secs(300);

/// A process, by its id.
#[derive(Debug, Clone, Copy)]
pub struct Process(pub u32);

impl Process {
    /// Processor time that it has used, user and system, with that of children that have ended.
    ///
    /// # Errors
    /// If it is gone.
    pub fn cpu(self) -> Result<Duration> {
        let clock = clock_getcpuclockid(Pid::from_raw(i32::try_from(self.0)?))?;
        let own = Duration::from(clock_gettime(clock)?);
        // /proc knows the children in ticks only, and the process itself not better.
        let stat = self.open()?.stat()?;
        let ticks = (stat.cutime + stat.cstime) as f64;
        Ok(own + Duration::from_secs_f64(ticks / procfs::ticks_per_second() as f64))
    }

    /// `VmHWM`: the highest `VmRSS` so far, kB.
    ///
    /// # Errors
    /// If it is gone.
    pub fn peak_kb(self) -> Result<u64> {
        let status = self.open()?.status()?;
        status.vmhwm.context("no VmHWM in /proc/PID/status")
    }

    /// Waits until it has nothing to do.
    ///
    /// # Errors
    /// If that does not come to pass.
    pub fn settle(self, name: &str) -> Result<()> {
        let mut progress = Progress::new(format!("{name}: wait until it is quiet"));
        loop {
            let (before, begun) = (self.cpu()?, Instant::now());
            let mut alone = true;
            while begun.elapsed() < Duration::from_secs(1) {
                alone &= self.children()?.is_empty();
                std::thread::sleep(EVERY);
            }
            let used = self.cpu()? - before;
            if alone && used < QUIET {
                return Ok(());
            }
            if progress.elapsed() > PATIENCE {
                bail!("{name} is not quiet after {PATIENCE:?}");
            }
            progress.at(|| format!("{used:?} in a second"));
        }
    }

    /// The status of each program that it runs now. A child that is still a copy of its parent is
    /// none yet.
    fn children(self) -> Result<Vec<Status>> {
        let own = self.open()?;
        let name = own.status()?.name;
        // Threads and children may end while they are looked at.
        let tasks = own.tasks()?.flatten();
        let ids = tasks.filter_map(|t| t.children().ok()).flatten();
        let status = ids.filter_map(|id| Self(id).open().ok()?.status().ok());
        Ok(status.filter(|s| s.name != name).collect())
    }

    fn open(self) -> Result<procfs::process::Process> {
        let id = i32::try_from(self.0)?;
        procfs::process::Process::new(id).with_context(|| format!("process {id}"))
    }
}

/// The most memory that was seen, kB.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// `VmHWM` of the proxy.
    pub process_kb: u64,
    /// `VmHWM` of the largest program that it ran; 0 if it ran none, or none was seen.
    pub child_kb: u64,
    /// The highest sum of `VmRSS` of the proxy and the programs that it ran at a time.
    pub together_kb: u64,
}

/// Looks at a process and its children now and then, until it is asked for what it saw.
#[derive(Debug)]
pub struct Watch {
    process: Process,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Memory>>,
}

impl Watch {
    /// Begins to look.
    ///
    /// # Errors
    /// If there can be no further thread.
    pub fn start(process: Process) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&stop);
        let look = move || {
            let mut memory = Memory::default();
            while !until.load(Ordering::Relaxed) {
                // A process that is gone is noticed by who measures it.
                let _ = look(process, &mut memory);
                std::thread::sleep(EVERY);
            }
            memory
        };
        let thread = std::thread::Builder::new()
            .name("memory".to_owned())
            .spawn(look)?;
        Ok(Self {
            process,
            stop,
            thread: Some(thread),
        })
    }

    /// Ends, and tells.
    ///
    /// # Errors
    /// If the process is gone.
    pub fn finish(mut self) -> Result<Memory> {
        self.stop.store(true, Ordering::Relaxed);
        let seen = self
            .thread
            .take()
            .and_then(|t| t.join().ok())
            .unwrap_or_default();
        Ok(Memory {
            process_kb: self.process.peak_kb()?,
            ..seen
        })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn look(process: Process, memory: &mut Memory) -> Result<()> {
    let mut together = process.open()?.status()?.vmrss.unwrap_or(0);
    for child in process.children()? {
        memory.child_kb = memory.child_kb.max(child.vmhwm.unwrap_or(0));
        together += child.vmrss.unwrap_or(0);
    }
    memory.together_kb = memory.together_kb.max(together);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn children_count_with_their_parent() {
        // The shell has a child that works, and another one that holds 32 MB.
        let script = "dd if=/dev/zero of=/dev/null bs=32M count=60 2>/dev/null; exec 3<&0; read x";
        let mut shell = Command::new("sh")
            .args(["-c", script])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let process = Process(shell.id());
        let watch = Watch::start(process).unwrap();
        process.settle("sh").unwrap();
        let memory = watch.finish().unwrap();
        let cpu = process.cpu().unwrap();
        drop(shell.stdin.take());
        shell.wait().unwrap();
        assert!(memory.child_kb > 32 << 10, "{memory:?}");
        assert!(memory.together_kb > memory.child_kb, "{memory:?}");
        assert!((1..16 << 10).contains(&memory.process_kb), "{memory:?}");
        assert!(cpu >= Duration::from_millis(10), "{cpu:?}");
    }
}
