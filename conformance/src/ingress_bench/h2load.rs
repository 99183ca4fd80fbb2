// SPDX-License-Identifier: Apache-2.0
//! `h2load` of nghttp2, as a client of HTTP/2 over TLS.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::load::Load;
use super::proxies::HOST;

/// On a connection: proxies end one after 1,000, which h2load takes for failures.
const REQUESTS: usize = 400;

/// What is asked.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The proxy.
    pub target: SocketAddr,
    /// Connections at a time.
    pub connections: usize,
    /// Streams at a time on each.
    pub streams: usize,
    /// The path.
    pub path: String,
    /// How long it is run, again and again.
    pub time: Duration,
    /// Where the log of requests goes.
    pub log: PathBuf,
}

/// Starts a thread that waits for it.
///
/// # Errors
/// If there can be no further thread.
pub fn start(plan: Plan) -> Result<JoinHandle<Result<Load>>> {
    let thread = std::thread::Builder::new().name("h2load".to_owned());
    let ask = move || {
        let (begun, mut load) = (Instant::now(), Load::default());
        while load.micros.is_empty() || begun.elapsed() < plan.time {
            load.add(run(&plan)?);
        }
        Ok(load)
    };
    Ok(thread.spawn(ask)?)
}

fn run(plan: &Plan) -> Result<Load> {
    // It does not empty the file.
    let _ = fs::remove_file(&plan.log);
    let output = Command::new("h2load")
        .args(["--clients", &plan.connections.to_string()])
        .args(["--max-concurrent-streams", &plan.streams.to_string()])
        .args(["--requests", &(plan.connections * REQUESTS).to_string()])
        .args(["--groups", "X25519"])
        .args(["--tls13-ciphers", "TLS_AES_128_GCM_SHA256"])
        .args(["--connect-to", &plan.target.to_string()])
        .arg("--log-file")
        .arg(&plan.log)
        .arg(format!(
            "https://{HOST}:{}{}",
            plan.target.port(),
            plan.path
        ))
        .output()
        .context("start h2load")?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() || !said.contains("Application protocol: h2") {
        let error = String::from_utf8_lossy(&output.stderr);
        bail!("h2load: {}: {said}{error}", output.status);
    }
    let log = fs::read_to_string(&plan.log).with_context(|| plan.log.display().to_string())?;
    parse(&log)
}

/// Lines of three: when it began, its status and how long it took, in microseconds.
fn parse(log: &str) -> Result<Load> {
    let mut load = Load::default();
    for line in log.lines() {
        let mut fields = line.split('\t').skip(1);
        let (Some(status), Some(micros)) = (fields.next(), fields.next()) else {
            bail!("h2load's log has a line {line:?}");
        };
        match status {
            "200" => load.micros.push(micros.trim().parse()?),
            other => {
                load.failed += 1;
                load.reason.get_or_insert(format!("status {other}"));
            }
        }
    }
    Ok(load)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_log_is_read() {
        let load = parse("1763750000000001\t200\t151\n1763750000000002\t503\t9\n").unwrap();
        assert_eq!((load.micros, load.failed), (vec![151], 1));
        assert_eq!(load.reason.as_deref(), Some("status 503"));
        assert!(parse("nonsense").is_err());
    }
}
