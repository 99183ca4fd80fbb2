// SPDX-License-Identifier: Apache-2.0
//! The kernel's side: namespaces to measure in, and when a commit has come through.

use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use ferrule::backend::Nftables;
use ferrule::backend::nft::Kernel;
use ferrule::model::IpFamily;
use ferrule::plan::nft::SetId;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};
use nix::libc::{BPF_ABS, BPF_H, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, setns, unshare};
use socket2::{SockFilter, SockRef};
use std::os::fd::AsFd;

use crate::world::NODE_ADDRESS;

/// `NFNLGRP_NFTABLES` (linux/netfilter/nfnetlink.h).
const GROUP: u32 = 7;
/// `NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWGEN`: the last message about each commit.
const NEW_GENERATION: u16 = 10 << 8 | 15;
/// Where `nlmsg_type` stands in a message.
const TYPE_AT: u32 = 4;
/// How long a commit may take to come.
const PATIENCE: Duration = Duration::from_secs(10);
/// A change's second commit follows within this time.
const QUIET: Duration = Duration::from_millis(20);

/// Runs in a thread inside a new network namespace, or inside one that is there already. What the
/// thread starts is inside as well.
pub(crate) fn inside<T: Send>(
    namespace: Option<&Path>,
    body: impl FnOnce() -> Result<T> + Send,
) -> Result<T> {
    let enter = || match namespace {
        Some(path) => {
            let file = File::open(path).with_context(|| path.display().to_string())?;
            setns(file, CloneFlags::CLONE_NEWNET).context("setns (needs root)")
        }
        None => {
            unshare(CloneFlags::CLONE_NEWNET).context("unshare network (needs root)")?;
            ip("link set lo up")?;
            ip(&format!("address add {NODE_ADDRESS}/32 dev lo"))
        }
    };
    let run = || enter().and_then(|()| body());
    std::thread::scope(|s| s.spawn(run).join()).map_err(|_| anyhow!("thread panicked"))?
}

fn ip(arguments: &str) -> Result<()> {
    let status = Command::new("ip")
        .args(arguments.split(' '))
        .status()
        .context("ip")?;
    if !status.success() {
        bail!("ip {arguments}: {status}");
    }
    Ok(())
}

/// Whether the hooks are there, which a cold start commits last.
pub(crate) fn hooked(kernel: &mut Kernel) -> Result<bool> {
    let table = kernel.read_table(IpFamily::V4).context("read table")?;
    Ok(table.is_some_and(|t| {
        t.chains
            .iter()
            .any(|c| c.base.is_some() && !c.rules.is_empty())
    }))
}

/// How many elements the map of endpoints holds.
pub(crate) fn endpoints(kernel: &mut Kernel) -> Result<usize> {
    Ok(kernel
        .read_elements(IpFamily::V4, SetId::Endpoints)
        .context("read elements")?
        .len())
}

/// Listens to commits.
pub(crate) struct Commits {
    socket: Socket,
}

impl Commits {
    pub(crate) fn listen() -> Result<Self> {
        let mut socket = Socket::new(NETLINK_NETFILTER).context("netlink socket")?;
        socket
            .bind(&SocketAddr::new(0, 0))
            .context("netlink socket")?;
        socket.add_membership(GROUP).context("netlink group")?;
        Ok(Self { socket })
    }

    /// When the next commit has come through.
    pub(crate) fn next(&mut self) -> Result<Instant> {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if self.wait(PATIENCE)? && self.read()? {
                return Ok(Instant::now());
            }
        }
        bail!("no commit within {PATIENCE:?}")
    }

    /// Waits until no more commits come.
    pub(crate) fn settle(&mut self) -> Result<()> {
        while self.wait(QUIET)? {
            self.read()?;
        }
        Ok(())
    }

    fn wait(&self, patience: Duration) -> Result<bool> {
        let mut fds = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(patience).context("time-out")?;
        Ok(poll(&mut fds, timeout).context("poll")? > 0)
    }

    /// Reads one datagram: whether it ends a commit.
    fn read(&self) -> Result<bool> {
        let mut buffer = Vec::with_capacity(64 << 10);
        self.socket.recv(&mut buffer, 0).context("receive")?;
        let mut rest = buffer.as_slice();
        let mut ended = false;
        // struct nlmsghdr: length in 4 bytes, type in 2, then flags and numbers.
        while let Some((header, _)) = rest.split_first_chunk::<16>() {
            let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
            ended |= u16::from_ne_bytes([header[4], header[5]]) == NEW_GENERATION;
            rest = rest
                .get(length.next_multiple_of(4).max(16)..)
                .unwrap_or_default();
        }
        Ok(ended)
    }
}

/// Notes when each commit has come through, in a thread of its own; the kernel passes on nothing
/// but the ends of commits.
pub(crate) struct Stamps(Receiver<Instant>);

impl Stamps {
    pub(crate) fn listen() -> Result<Self> {
        let commits = Commits::listen()?;
        let only_ends = [
            SockFilter::new((BPF_LD | BPF_H | BPF_ABS) as u16, 0, 0, TYPE_AT),
            // The filter reads in network byte order what netlink has in host order.
            SockFilter::new(
                (BPF_JMP | BPF_JEQ | BPF_K) as u16,
                0,
                1,
                u16::from_be_bytes(NEW_GENERATION.to_ne_bytes()).into(),
            ),
            SockFilter::new((BPF_RET | BPF_K) as u16, 0, 0, u32::MAX),
            SockFilter::new((BPF_RET | BPF_K) as u16, 0, 0, 0),
        ];
        SockRef::from(&commits.socket)
            .attach_filter(&only_ends)
            .context("socket filter")?;
        let (sender, stamps) = channel();
        // Ends with the receiver, or with the process.
        std::thread::spawn(move || {
            while let Ok(ended) = commits.read() {
                if ended && sender.send(Instant::now()).is_err() {
                    return;
                }
            }
        });
        Ok(Self(stamps))
    }

    /// When the next commit has come through; none within `patience`.
    pub(crate) fn next(&self, patience: Duration) -> Option<Instant> {
        self.0.recv_timeout(patience).ok()
    }

    /// Forgets what was not asked for.
    pub(crate) fn clear(&self) {
        self.0.try_iter().for_each(drop);
    }
}
