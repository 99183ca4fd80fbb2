// SPDX-License-Identifier: Apache-2.0
//! Runs `ip -batch` inside namespaces.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::Namespace;

impl Namespace {
    /// Runs lines of `ip` commands, as `link set lo up`. The family is that of the addresses.
    ///
    /// # Errors
    /// With ip's own words, if a line fails.
    pub fn ip(&self, lines: &str) -> Result<()> {
        self.batch(&[], lines)
    }

    /// The same where nothing in the lines tells that IPv6 is meant.
    ///
    /// # Errors
    /// With ip's own words, if a line fails.
    pub fn ip6(&self, lines: &str) -> Result<()> {
        self.batch(&["-6"], lines)
    }

    fn batch(&self, flags: &[&str], lines: &str) -> Result<()> {
        self.run(Command::new("ip").args(flags).args(["-batch", "-"]), lines)
    }

    /// Loads nft text.
    ///
    /// # Errors
    /// With nft's own words.
    pub fn nft(&self, text: &str) -> Result<()> {
        self.run(Command::new("nft").args(["-f", "-"]), text)
    }

    /// Runs a short command inside the namespace, with text on its standard input.
    ///
    /// # Errors
    /// With what it wrote to standard error, if it fails.
    pub fn run(&self, command: &mut Command, input: &str) -> Result<()> {
        let program = command.get_program().to_string_lossy().into_owned();
        let output = self.enter(|| {
            let mut child = command
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .with_context(|| format!("start {program}"))?;
            if let Some(mut stdin) = child.stdin.take() {
                stdin.write_all(input.as_bytes())?;
            }
            Ok(child.wait_with_output()?)
        })?;
        if !output.status.success() {
            bail!(
                "{}: {program}: {}",
                self.name(),
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(())
    }
}
