// SPDX-License-Identifier: Apache-2.0
//! What the running agent says.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use crate::debug::client;
use crate::observe::view::{About, ServiceView, StatusView};

/// How long it may take to answer. Its loop answers between two commits.
const PATIENCE: Duration = Duration::from_secs(5);

/// The agent, as far as it answers.
#[derive(Debug, Clone)]
pub enum Agent {
    /// Nothing listens, or we may not connect: why.
    Absent(String),
    /// Something listens and does not answer as an agent does: why.
    Silent(String),
    /// It answers.
    Answers {
        /// Whether rules are up to date.
        status: StatusView,
        /// What it serves.
        services: Vec<ServiceView>,
    },
}

impl Agent {
    pub(super) fn ask(socket: &Path) -> Self {
        if let Err(error) = UnixStream::connect(socket) {
            let reason = match error.kind() {
                io::ErrorKind::NotFound => "there is no such socket".to_owned(),
                io::ErrorKind::ConnectionRefused => {
                    "nobody listens there; an agent that was killed has left it".to_owned()
                }
                _ => error.to_string(),
            };
            return Agent::Absent(format!("{}: {reason}", socket.display()));
        }
        let answers = client::get_within(socket, "/status", PATIENCE).and_then(|status| {
            let services = client::get_within(socket, "/services", PATIENCE)?;
            Ok(Agent::Answers { status, services })
        });
        answers.unwrap_or_else(|e| Agent::Silent(format!("{}: {e:#}", socket.display())))
    }

    /// What it says of itself.
    pub fn about(&self) -> Option<&About> {
        match self {
            Agent::Answers { status, .. } => status.about.as_ref(),
            _ => None,
        }
    }

    /// What it serves.
    pub fn services(&self) -> Option<&Vec<ServiceView>> {
        match self {
            Agent::Answers { services, .. } => Some(services),
            _ => None,
        }
    }
}
