// SPDX-License-Identifier: Apache-2.0
//! Leaves nothing behind when interrupted. Namespaces and agents end with this process anyway;
//! directories do not.

use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::Mutex;

use anyhow::{Context, Result};
use nix::sys::signal::{SigSet, Signal};

static DIRECTORIES: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Removes the directory if the process is interrupted.
pub(crate) fn remove_later(directory: PathBuf) {
    DIRECTORIES
        .lock()
        .unwrap_or_else(|e| e.into_inner())
        .push(directory);
}

/// The signals that end a process in an orderly way.
fn endings() -> SigSet {
    [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]
        .into_iter()
        .collect()
}

/// Starts a process that hears signals: a child inherits what its parent's thread has blocked.
pub fn spawn(command: &mut Command) -> Result<Child> {
    let before = SigSet::thread_get_mask()?;
    endings().thread_unblock()?;
    let child = command.spawn();
    before.thread_set_mask()?;
    child.with_context(|| format!("start {command:?}"))
}

/// From now on SIGINT, SIGTERM and SIGHUP clean up, then end the process with status 128 plus the
/// signal's number. To be called before any thread is started: they inherit what is blocked.
///
/// # Errors
/// If signals cannot be blocked or the thread that waits for them cannot be started.
pub fn clean_up() -> Result<()> {
    let signals = endings();
    signals.thread_block()?;
    #[expect(
        clippy::disallowed_methods,
        reason = "the one way out of another thread"
    )]
    let wait = move || {
        let number = signals.wait().map_or(1, |s| s as i32);
        for directory in DIRECTORIES.lock().unwrap_or_else(|e| e.into_inner()).iter() {
            let _ = std::fs::remove_dir_all(directory);
        }
        eprintln!("\ninterrupted: agents, namespaces and files are gone");
        std::process::exit(128 + number);
    };
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(wait)?;
    Ok(())
}
