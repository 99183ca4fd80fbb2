// SPDX-License-Identifier: Apache-2.0
//! One GET over the agent's unix socket.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

/// Longer than the agent itself waits for its loop.
const PATIENCE: Duration = Duration::from_secs(40);

/// Asks for a path and decodes the JSON that comes back.
///
/// # Errors
/// No agent listens, it refuses, or its answer is no such JSON.
pub fn get<T: DeserializeOwned>(socket: &Path, path: &str) -> Result<T> {
    get_within(socket, path, PATIENCE)
}

/// The same, waiting no longer than that.
///
/// # Errors
/// As [`get`].
pub(super) fn get_within<T: DeserializeOwned>(
    socket: &Path,
    path: &str,
    patience: Duration,
) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let body = runtime.block_on(async {
        tokio::time::timeout(patience, fetch(socket, path))
            .await
            .context("the agent is silent")?
    })?;
    serde_json::from_slice(&body).context("the agent's answer")
}

async fn fetch(socket: &Path, path: &str) -> Result<Bytes> {
    let stream = UnixStream::connect(socket)
        .await
        .map_err(|error| explain(socket, &error))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::get(path)
        .header(HOST, "ferrule")
        .body(Empty::<Bytes>::new())?;
    let response = sender
        .send_request(request)
        .await
        .context("the agent hung up")?;
    let status = response.status();
    let body = response
        .into_body()
        .collect()
        .await
        .context("the agent hung up")?
        .to_bytes();
    if !status.is_success() {
        bail!(
            "the agent answers {status}: {}",
            String::from_utf8_lossy(&body).trim()
        );
    }
    Ok(body)
}

fn explain(socket: &Path, error: &std::io::Error) -> anyhow::Error {
    let path = socket.display();
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
            anyhow!("no agent runs here: nothing listens on {path} (see --admin-socket)")
        }
        _ => anyhow!("--admin-socket {path}: {error}"),
    }
}
