// SPDX-License-Identifier: Apache-2.0
//! The command line: kube-proxy's flags by their own names, a few of ours, and the debug commands.
//!
//! Does no I/O and decides nothing: what a value means is settled in [`config`](crate::config),
//! where the configuration file meets the flags.

mod accepted;
mod completion;
mod debug;
mod flags;
mod gates;
mod ingress;
mod ingress_nginx;
mod listing;
mod packet;
mod quantity;
mod sample;
#[cfg(test)]
mod tests;
mod value;

use std::ffi::OsString;

use clap::parser::ValueSource;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

pub use accepted::AcceptedFlags;
pub use completion::{Shell, completion};
pub(crate) use debug::DEFAULT_SOCKET;
pub use debug::{
    ConntrackArgs, DebugCommand, DoctorArgs, Family, IngressArgs, Output, RouteArgs, RulesArgs,
    ServicesArgs, TopArgs,
};
pub(crate) use flags::DEFAULT_STATE_FILE;
pub use flags::{OwnFlags, ProtectRules, ProxyFlags};
pub use gates::{Gates, parse_gates};
pub use ingress::{AccessLogFormat, INGRESS_SOCKET, IngressCli, LogFormat};
pub use listing::{DEFAULTS, values};
pub use packet::{AgentFlags, DiffArgs, ExplainArgs, Part, RenderArgs, TraceArgs};
pub use quantity::Quantity;
pub use sample::Sample;
pub use value::{Period, parse_period};

/// Everything that a command line of `ferrule` can say.
#[derive(Debug, Clone, PartialEq, Parser)]
#[command(
    name = "ferrule",
    about = "A Service proxy for Kubernetes nodes: nftables over netlink, in kube-proxy's place",
    disable_version_flag = true,
    args_override_self = true,
    args_conflicts_with_subcommands = true
)]
pub struct Cli {
    /// kube-proxy's flags that have an effect.
    #[command(flatten)]
    pub proxy: ProxyFlags,
    /// Flags that kube-proxy does not have.
    #[command(flatten)]
    pub own: OwnFlags,
    /// kube-proxy's flags that are accepted and checked, but do nothing.
    #[command(flatten)]
    pub accepted: AcceptedFlags,
    /// What to do instead of running the proxy.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Long names, without dashes, of the flags that the command line holds.
    #[arg(skip)]
    pub given: Vec<String>,
}

/// What `ferrule` does other than being a proxy.
#[derive(Debug, Clone, PartialEq, Subcommand)]
pub enum Command {
    /// Show what the running agent and the kernel know; changes nothing
    #[command(subcommand)]
    Debug(DebugCommand),
    /// Print the script that completes command lines in a shell
    #[command(after_help = COMPLETION)]
    Completion {
        /// The shell
        #[arg(value_enum)]
        shell: Shell,
    },
}

const COMPLETION: &str = "\
Examples:
  source <(ferrule completion bash)                                  this shell
  ferrule completion zsh > \"${fpath[1]}/_ferrule\"
  ferrule completion fish > ~/.config/fish/completions/ferrule.fish";

/// Parses a command line, program name first.
///
/// # Errors
/// The first mistake that clap finds; also a request for help, which
/// [`use_stderr`](clap::Error::use_stderr) tells apart.
pub fn parse<T: Into<OsString>>(argv: impl IntoIterator<Item = T>) -> Result<Cli, clap::Error> {
    let argv = argv.into_iter().map(|arg| with_dashes(arg.into()));
    let command = Cli::command();
    let matches = command.clone().try_get_matches_from(argv)?;
    let mut cli = Cli::from_arg_matches(&matches)?;
    cli.given = command
        .get_arguments()
        .filter(|arg| matches.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine))
        .filter_map(|arg| arg.get_long().map(str::to_owned))
        .collect();
    Ok(cli)
}

/// The reason of a refused command line as one line, without usage and tips.
pub fn reason(error: &clap::Error) -> String {
    let text = error.to_string();
    let paragraph = text.split("\n\n").next().unwrap_or_default();
    let line = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
    line.strip_prefix("error: ").unwrap_or(&line).to_owned()
}

/// `--masquerade_all=x` becomes `--masquerade-all=x`, as Kubernetes' programs take it.
fn with_dashes(arg: OsString) -> OsString {
    match arg.to_str() {
        Some(text) if text.starts_with("--") => {
            let (name, value) = text.split_at(text.find('=').unwrap_or(text.len()));
            format!("{}{value}", name.replace('_', "-")).into()
        }
        _ => arg,
    }
}
