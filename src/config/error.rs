// SPDX-License-Identifier: Apache-2.0
//! What can be wrong with a configuration.

use std::fmt;
use std::path::PathBuf;

/// One setting that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// The flag with its dashes, or the path of the field in the file.
    pub field: String,
    /// What is wrong with it.
    pub reason: String,
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.reason)
    }
}

/// Why there is no [`Config`](super::Config).
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration file cannot be read.
    #[error("--config {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The error.
        source: std::io::Error,
    },
    /// The configuration file is no YAML or JSON document of the right kind.
    #[error("--config {}: {reason}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What is wrong, in one line.
        reason: String,
    },
    /// The host name cannot be determined.
    #[error("--hostname-override is not given and the host name is unknown: {0}")]
    HostName(String),
    /// Settings are wrong: all of them, one a line.
    #[error("{}", lines(file.as_ref(), errors))]
    Invalid {
        /// The configuration file, if it is the file that is wrong.
        file: Option<PathBuf>,
        /// At least one.
        errors: Vec<FieldError>,
    },
}

fn lines(file: Option<&PathBuf>, errors: &[FieldError]) -> String {
    let prefix = file
        .map(|path| format!("--config {}: ", path.display()))
        .unwrap_or_default();
    errors
        .iter()
        .map(|error| {
            if error.field.starts_with("--") {
                error.to_string()
            } else {
                format!("{prefix}{error}")
            }
        })
        .collect::<Vec<_>>()
        .join("\n")
}
