// SPDX-License-Identifier: Apache-2.0
//! Tests against the real kernel, each in a network namespace of its own.

mod amid;
mod hearing;
mod listing;
mod owning;
mod probing;
mod reading;
mod samples;

use std::io::Write;
use std::process::{Command, Stdio};

/// The nft commands to list with: the system's, and what `FERRULE_NFT_ALSO` names further,
/// separated by colons.
pub(crate) fn nft_commands() -> Vec<String> {
    let further = std::env::var("FERRULE_NFT_ALSO").unwrap_or_default();
    let mut commands = vec!["nft".to_owned()];
    commands.extend(
        further
            .split(':')
            .filter(|c| !c.is_empty())
            .map(str::to_owned),
    );
    commands
}

/// Whether nft is there; says SKIP (or fails, as [`crate::backend::testing::skip`] has it) if not.
pub(crate) fn has_nft() -> bool {
    let there = Command::new("nft").arg("--version").output().is_ok();
    if !there {
        crate::backend::testing::skip("no nft command");
    }
    there
}

/// Runs nft in this thread's namespace and returns what it prints; panics if it fails.
pub(crate) fn nft(command: &str, arguments: &[&str], input: &str) -> String {
    let mut child = Command::new(command)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{command}: {e}"));
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{command} {arguments:?}: {}\n{errors}{input}",
        output.status
    );
    String::from_utf8(output.stdout).unwrap()
}
