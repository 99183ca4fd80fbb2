// SPDX-License-Identifier: Apache-2.0
//! What holds for any text of a configuration file; for `fuzz/` and the property tests.

use super::{Config, Error};
use crate::cli::{self, Cli};

/// Reads a text as a configuration file. It must become a configuration that can be written and
/// read again without a difference, or at least one reason, in lines.
///
/// # Errors
/// What does not hold.
pub fn check(text: &str) -> Result<(), String> {
    let cli = cli::parse(["ferrule", "--config", "c"]).map_err(|e| e.to_string())?;
    match Config::resolve(&cli, Some(text), "n") {
        Ok(config) => again(&cli, &config),
        Err(Error::Invalid { errors, .. }) if errors.is_empty() => Err("no reason".to_owned()),
        Err(error) => match error
            .to_string()
            .lines()
            .find(|line| line.trim().is_empty())
        {
            Some(_) => Err(format!("an empty line in {error:?}")),
            None => Ok(()),
        },
    }
}

fn again(cli: &Cli, config: &Config) -> Result<(), String> {
    let yaml = config.effective_yaml();
    let read = Config::resolve(cli, Some(&yaml), "n").map_err(|e| format!("{e}\n{yaml}"))?;
    if read.effective() != config.effective() {
        let (read, config) = (read.effective(), config.effective());
        return Err(format!("written:\n{config}\nread:\n{read}"));
    }
    if read.rules != config.rules || read.listen != config.listen {
        return Err(format!("the same text decides otherwise:\n{yaml}"));
    }
    Ok(())
}
