// SPDX-License-Identifier: Apache-2.0
//! Cores, what processes use, and how little of a core they get.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use procfs::process::Process;

use crate::scale::usage;

/// Which processor does what.
#[derive(Debug, Clone, Copy)]
pub struct Cores {
    count: usize,
}

impl Cores {
    /// Those of this machine.
    ///
    /// # Errors
    /// If there is only one: clients would take the proxies' time.
    pub fn find() -> Result<Self> {
        let count = std::thread::available_parallelism()?.get();
        ensure!(
            count > 1,
            "at least two processors are needed, here is one: clients and endpoints have to be on \
             another than the proxies"
        );
        Ok(Self { count })
    }

    /// How many there are.
    #[must_use]
    pub fn count(self) -> usize {
        self.count
    }

    /// The calling thread, and what it starts from now on, run on the first: that of the proxies.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn proxy(self) -> Result<()> {
        pin(0..1)
    }

    /// The same with all others: clients and endpoints.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn others(self) -> Result<()> {
        pin(1..self.count)
    }

    /// The same with all.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn all(self) -> Result<()> {
        pin(0..self.count)
    }
}

fn pin(cores: std::ops::Range<usize>) -> Result<()> {
    let mut set = CpuSet::new();
    for core in cores {
        set.set(core)?;
    }
    sched_setaffinity(Pid::from_raw(0), &set).context("choose processors")
}

/// A process and its children, which it has from the start: a proxy.
#[derive(Debug, Clone)]
pub struct Family(Vec<u32>);

impl Family {
    /// Those that are there now.
    ///
    /// # Errors
    /// If the process is gone.
    pub fn of(id: u32) -> Result<Self> {
        let process = Process::new(i32::try_from(id)?)?;
        let mut all = vec![id];
        for task in process.tasks()?.flatten() {
            all.extend(task.children()?);
        }
        Ok(Self(all))
    }

    /// Their processor time so far, user and system.
    ///
    /// # Errors
    /// If one is gone.
    pub fn cpu(&self) -> Result<Duration> {
        self.0.iter().map(|id| usage::Process(*id).cpu()).sum()
    }

    /// Their memory, kB: what they share with each other or with others counts in parts.
    ///
    /// # Errors
    /// If one is gone.
    pub fn pss_kb(&self) -> Result<u64> {
        let pss = |id: &u32| -> Result<u64> {
            let process = Process::new(i32::try_from(*id)?)?;
            let rollup = process.smaps_rollup().context("smaps_rollup")?;
            let maps = rollup.memory_map_rollup.0;
            let map = maps.first().context("an empty smaps_rollup")?;
            Ok(map.extension.map.get("Pss").copied().unwrap_or(0) / 1024)
        };
        self.0.iter().map(pss).sum()
    }
}

/// How often the kernel gives a group its time anew, microseconds.
const PERIOD: u64 = 10_000;

/// A cgroup with a limit of processor time. Dropping it lets its processes go on without one.
#[derive(Debug)]
pub struct Held {
    group: PathBuf,
    parent: PathBuf,
}

impl Held {
    /// Gives the processes together so much of one processor: 0.3, say.
    ///
    /// # Errors
    /// If there is no cgroup that can do it.
    pub fn new(family: &Family, share: f64) -> Result<Self> {
        let quota = (share * PERIOD as f64) as u64;
        let root = Path::new("/sys/fs/cgroup");
        let (parent, limits): (_, Vec<(&str, String)>) = if root.join("cgroup.controllers").exists()
        {
            // It may be on already, or is not to be had: then the limit cannot be written.
            let _ = fs::write(root.join("cgroup.subtree_control"), "+cpu");
            (
                root.to_owned(),
                vec![("cpu.max", format!("{quota} {PERIOD}"))],
            )
        } else {
            let limits = vec![
                ("cpu.cfs_period_us", PERIOD.to_string()),
                ("cpu.cfs_quota_us", quota.to_string()),
            ];
            (root.join("cpu"), limits)
        };
        let group = parent.join(format!("ferrule-bench-{}", std::process::id()));
        fs::create_dir(&group).with_context(|| group.display().to_string())?;
        let held = Self { group, parent };
        for (file, limit) in limits {
            held.write(file, &limit)?;
        }
        for id in &family.0 {
            held.write("cgroup.procs", &id.to_string())?;
        }
        Ok(held)
    }

    /// `cgroup v2` or `cgroup v1`.
    #[must_use]
    pub fn version() -> &'static str {
        match Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
            true => "cgroup v2",
            false => "cgroup v1",
        }
    }

    fn write(&self, file: &str, text: &str) -> Result<()> {
        let path = self.group.join(file);
        fs::write(&path, text).with_context(|| format!("write {text} to {}", path.display()))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let ids = fs::read_to_string(self.group.join("cgroup.procs")).unwrap_or_default();
        for id in ids.lines() {
            // It may have ended.
            let _ = fs::write(self.parent.join("cgroup.procs"), id);
        }
        let _ = fs::remove_dir(&self.group);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_and_time_of_this_process_are_known() {
        let own = Family::of(std::process::id()).unwrap();
        assert!(own.pss_kb().unwrap() > 500, "{own:?}");
        assert!(own.cpu().unwrap() > Duration::ZERO);
    }
}
