// SPDX-License-Identifier: Apache-2.0
//! The `ferrule-ingress` program.

use std::env;
use std::fmt::Display;
use std::process::ExitCode;

use ferrule::cli::{self, IngressCli};
use ferrule::run::ingress;

/// Requests take and give back buffers of some KiB all the time, for which glibc asks the kernel.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Exit code for what the user wrote; 1 is for later.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let cli = match IngressCli::parse_from_args(env::args_os()) {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => return fail(USAGE, cli::reason(&error)),
        Err(help) => {
            let _ = help.print();
            return ExitCode::SUCCESS;
        }
    };
    let refused = &cli.foreign.refused;
    if !refused.is_empty() {
        return fail(USAGE, refused.join("\n"));
    }
    ingress::run(&cli).map_or_else(
        |error| fail(1, format!("{error:#}")),
        |()| ExitCode::SUCCESS,
    )
}

/// Says on standard error why the program ends, one line a reason.
fn fail(code: u8, reasons: impl Display) -> ExitCode {
    for reason in reasons.to_string().lines() {
        eprintln!("ferrule-ingress: {reason}");
    }
    ExitCode::from(code)
}
