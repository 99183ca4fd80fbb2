// SPDX-License-Identifier: Apache-2.0
//! The `ferrule` program.

use std::env;
use std::fmt::Display;
use std::io::stdout;
use std::process::ExitCode;

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
    let result = match &cli.command {
        Some(Command::Debug(DebugCommand::Services(args))) => {
            debug::services::run(args, &mut stdout().lock())
        }
        Some(Command::Debug(DebugCommand::Rules(args))) => {
            debug::rules::run(args.into(), &mut stdout().lock())
        }
        Some(Command::Debug(DebugCommand::Doctor(args))) => return doctor(args),
        Some(Command::Debug(DebugCommand::Ingress(args))) => {
            debug::ingress::run(args, &mut stdout().lock())
        }
        Some(Command::Debug(DebugCommand::Route(args))) => {
            debug::ingress::route(args, &mut stdout().lock())
        }
        None => return proxy(&cli),
    };
    result.map_or_else(
        |error| fail(1, format!("{error:#}")),
        |()| ExitCode::SUCCESS,
    )
}

/// 0: nothing is wrong; 1: something is; 2: it could not be looked.
fn doctor(args: &cli::DoctorArgs) -> ExitCode {
    match debug::doctor::run(args, &mut stdout().lock()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => fail(USAGE, format!("{error:#}")),
    }
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
