// SPDX-License-Identifier: Apache-2.0
//! `ferrule debug …`: asks the running agent and the kernel, changes nothing.
//!
//! Each command is a module with a `run` that takes its arguments and a writer. What it finds is
//! one serializable value, which [`print`](mod@print) shows as a table, JSON or YAML; [`schema`]
//! describes the latter two.

pub mod client;
pub mod conntrack;
pub mod diff;
pub mod doctor;
pub mod explain;
pub mod ingress;
pub mod kernel;
mod objects;
mod paint;
mod print;
pub mod render;
pub mod rules;
#[cfg(test)]
mod schema;
pub mod services;
pub mod top;
pub mod trace;
mod values;

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use anyhow::Result;

use crate::cli::DebugCommand;

/// What a command has found, where that is what it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Exit status 0.
    Fine,
    /// There is a difference or a finding: exit status 1.
    Found,
}

impl From<Verdict> for ExitCode {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Fine => ExitCode::SUCCESS,
            Verdict::Found => ExitCode::from(1),
        }
    }
}

/// Runs a command. A reader that has gone away (`| head`) is no error.
///
/// # Errors
/// Those of the command.
pub fn run(command: &DebugCommand, out: &mut impl Write) -> Result<Verdict> {
    let result = match command {
        DebugCommand::Services(args) => services::run(args, out).map(|()| Verdict::Fine),
        DebugCommand::Explain(args) => explain::run(args, out).map(|()| Verdict::Fine),
        DebugCommand::Trace(args) => trace::run(args, out).map(|()| Verdict::Fine),
        DebugCommand::Diff(args) => diff::run(args, out),
        DebugCommand::Render(args) => render::run(args, out).map(|()| Verdict::Fine),
        DebugCommand::Rules(args) => rules::run(args.into(), out).map(|()| Verdict::Fine),
        DebugCommand::Doctor(args) => doctor::run(args, out),
        DebugCommand::Conntrack(args) => conntrack::run(args, out).map(|()| Verdict::Fine),
        DebugCommand::Top(args) => top::run(args, out).map(|()| Verdict::Fine),
        DebugCommand::Ingress(args) => ingress::run(args, out),
        DebugCommand::Route(args) => ingress::route(args, out).map(|()| Verdict::Fine),
    };
    let gone = |error: &anyhow::Error| {
        let kind = error.downcast_ref().map(std::io::Error::kind);
        kind == Some(ErrorKind::BrokenPipe)
    };
    match result {
        Err(error) if gone(&error) => Ok(Verdict::Fine),
        other => other,
    }
}

/// The exit status of a command that failed: 2 where 1 already says that something was found.
pub fn failure(command: &DebugCommand) -> u8 {
    match command {
        DebugCommand::Doctor(_) | DebugCommand::Diff(_) => 2,
        DebugCommand::Ingress(args) if args.lint => 2,
        _ => 1,
    }
}
