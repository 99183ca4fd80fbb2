// SPDX-License-Identifier: Apache-2.0
//! The `ferrule` program.

use std::env;
use std::fmt::Display;
use std::io::stdout;
use std::process::ExitCode;

use anstream::AutoStream;
use ferrule::cli::{self, Cli, Command, DebugCommand};
use ferrule::{config::Config, debug, run};

/// Exit code for what the user wrote; 1 is for later.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let cli = match cli::parse(env::args_os()) {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => return fail(USAGE, cli::reason(&error)),
        Err(help) => {
            let _ = help.print();
            return ExitCode::SUCCESS;
        }
    };
    if cli.proxy.version == Some(true) {
        println!("ferrule {}", env!("CARGO_PKG_VERSION"));
        return ExitCode::SUCCESS;
    }
    match &cli.command {
        Some(Command::Debug(command)) => inspect(command),
        Some(Command::Completion { shell }) => {
            cli::completion(*shell, &mut stdout().lock());
            ExitCode::SUCCESS
        }
        None => proxy(&cli),
    }
}

fn inspect(command: &DebugCommand) -> ExitCode {
    let mut out = AutoStream::auto(stdout().lock());
    debug::run(command, &mut out).map_or_else(
        |error| fail(debug::failure(command), format!("{error:#}")),
        ExitCode::from,
    )
}

fn proxy(cli: &Cli) -> ExitCode {
    let config = match Config::load(cli) {
        Ok(config) => config,
        Err(error) => return fail(USAGE, error),
    };
    run::run(&config).map_or_else(
        |error| fail(1, format!("{error:#}")),
        |()| ExitCode::SUCCESS,
    )
}

/// Says on standard error why the program ends, one line a reason.
fn fail(code: u8, reasons: impl Display) -> ExitCode {
    for reason in reasons.to_string().lines() {
        eprintln!("ferrule: {reason}");
    }
    ExitCode::from(code)
}
