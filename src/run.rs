// SPDX-License-Identifier: Apache-2.0
//! One run of the program with a checked configuration: wires the stages together.

use std::io;

use anyhow::{Result, bail};
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::config::{Action, Config};
use crate::observe::{AdminRequest, Status, log, serve};

/// Questions of `ferrule debug` that may wait for the loop.
const QUESTIONS: usize = 8;

/// Does what the configuration asks for.
///
/// # Errors
/// What ends the run, to be printed as one line.
pub fn run(config: &Config) -> Result<()> {
    log::start(config.log);
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    match config.action {
        Action::Run => proxy(config),
        Action::Cleanup => bail!("--cleanup: not in this build"),
        // The sysctls that kube-proxy sets here are left alone.
        Action::InitOnly => Ok(()),
    }
}

/// The loop and what answers requests, until a signal or an error.
fn proxy(config: &Config) -> Result<()> {
    Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(async {
            let status = Status::new(config.health_timeout);
            let (questions, asked) = mpsc::channel(QUESTIONS);
            let stop = stop_signal()?;
            tokio::select! {
                result = serve(&config.listen, status.clone(), questions) => Ok(result?),
                result = work(config, status, asked, stop) => result,
            }
        })
}

/// The place of the loop: it takes events from `config.source`, reports to `status`, answers
/// what is `asked`, and leaves the rules in place when `stop` is ready.
async fn work(
    config: &Config,
    _status: Status,
    _asked: mpsc::Receiver<AdminRequest>,
    _stop: impl Future<Output = ()>,
) -> Result<()> {
    bail!("node {}: the loop is not in this build", config.node_name)
}

/// Ready on SIGTERM or SIGINT, which no longer kill the process from now on.
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
