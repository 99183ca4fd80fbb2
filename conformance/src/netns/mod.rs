// SPDX-License-Identifier: Apache-2.0
//! Network namespaces as nodes, pods and a client: the wires that real packets run on.
//!
//! Namespaces have no name in the file system; a [`Namespace`] is an open file descriptor. So two
//! runs never collide, and whatever ends this process, even SIGKILL, ends the namespaces too.
//! To look into one while it lives: `nsenter --net=PATH`, with [`Namespace::path`].

mod address;
mod ip;
mod topology;

pub use address::{
    CLIENT_ALIASES, CLUSTER_CIDRS, SERVICE_CIDRS, client_address, client_alias, cluster_ip,
    external_ip, load_balancer_ip, node_address, node_gateway, node_secondary, pod_address,
    pod_cidr,
};
pub use topology::{Layout, Place, Pod, Topology};

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::Command;
use std::thread;

use anyhow::{Context, Result, anyhow};
use nix::sched::{CloneFlags, setns, unshare};

/// An anonymous network namespace.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    fd: OwnedFd,
}

impl Namespace {
    /// Makes an empty namespace. The name is for messages only.
    ///
    /// # Errors
    /// Without CAP_SYS_ADMIN.
    pub fn new(name: impl Into<String>) -> Result<Self> {
        let name = name.into();
        let make = || -> Result<OwnedFd> {
            unshare(CloneFlags::CLONE_NEWNET).context("unshare network (needs root)")?;
            Ok(File::open("/proc/thread-self/ns/net")?.into())
        };
        let fd = thread::scope(|s| s.spawn(make).join())
            .map_err(|_| anyhow!("namespace {name}: thread panicked"))?
            .with_context(|| format!("namespace {name}"))?;
        Ok(Self { name, fd })
    }

    /// A second handle of the same namespace.
    ///
    /// # Errors
    /// If there can be no further file descriptor.
    pub fn try_clone(&self) -> Result<Self> {
        Ok(Self {
            name: self.name.clone(),
            fd: self.fd.try_clone()?,
        })
    }

    /// Name for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs a closure in a thread that is inside the namespace. Sockets that it opens stay inside
    /// and can be used from anywhere; processes that it starts are inside, too.
    ///
    /// # Errors
    /// Those of the closure, or if the namespace cannot be entered.
    pub fn enter<T: Send>(&self, run: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let inside = || -> Result<T> {
            setns(self.fd.as_fd(), CloneFlags::CLONE_NEWNET).context("setns")?;
            run()
        };
        thread::scope(|s| s.spawn(inside).join())
            .map_err(|_| anyhow!("{}: thread panicked", self.name))?
            .with_context(|| self.name.clone())
    }

    /// A path by which other processes can open the namespace while this one lives.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.fd.as_raw_fd())
    }

    /// A command that runs inside, and is killed when the thread that starts it ends, so that no
    /// death of ours leaves a process behind.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--", "nsenter"]);
        command
            .arg(format!("--net={}", self.path()))
            .arg("--")
            .arg(program);
        command
    }

    /// Writes kernel parameters of the namespace, as `net/ipv4/ip_forward`. A path that starts
    /// with `?` may be missing.
    ///
    /// # Errors
    /// If a parameter cannot be written.
    pub fn sysctl(&self, parameters: &[(&str, &str)]) -> Result<()> {
        self.enter(|| {
            for (path, value) in parameters {
                let optional = path.starts_with('?');
                let file = format!("/proc/sys/{}", path.trim_start_matches('?'));
                match std::fs::write(&file, value) {
                    Err(e) if optional && e.kind() == std::io::ErrorKind::NotFound => {}
                    result => result.with_context(|| file)?,
                }
            }
            Ok(())
        })
    }
}
