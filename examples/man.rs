// SPDX-License-Identifier: Apache-2.0
//! Writes the manual pages of both programs to a directory: `make man`.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::CommandFactory;
use ferrule::cli::{Cli, IngressCli};

fn main() -> Result<()> {
    let directory = std::env::args_os().nth(1).map(PathBuf::from);
    let directory = directory.context("which directory?")?;
    std::fs::create_dir_all(&directory).with_context(|| directory.display().to_string())?;
    for command in [Cli::command(), IngressCli::command()] {
        clap_mangen::generate_to(command, &directory)?;
    }
    println!("{}", directory.display());
    Ok(())
}
