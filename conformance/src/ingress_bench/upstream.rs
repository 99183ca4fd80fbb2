// SPDX-License-Identifier: Apache-2.0
//! Endpoints that cost next to nothing: they answer from memory, without looking at more than the
//! path.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::task::LocalSet;

/// The header that tells which endpoint has answered, by its port.
pub const ENDPOINT: &str = "X-Endpoint";
/// More than any request's head.
const HEAD: usize = 16 * 1024;
/// The sizes of bodies that are asked for, in bytes: the last segment of the path.
pub const SIZES: [usize; 3] = [0, 1024, 16 * 1024];

/// Serves on the addresses with one thread, until the process ends.
///
/// # Errors
/// If an address cannot be listened on.
pub fn start(addresses: &[SocketAddr]) -> Result<()> {
    let mut listeners = Vec::new();
    for address in addresses {
        let listener = std::net::TcpListener::bind(address).with_context(|| address.to_string())?;
        listener.set_nonblocking(true)?;
        listeners.push(listener);
    }
    let runtime = Builder::new_current_thread().enable_io().build()?;
    let serve = move || {
        let tasks = LocalSet::new();
        for listener in listeners {
            tasks.spawn_local(async move {
                // It was made non-blocking just now, and can be registered.
                if let Ok(listener) = TcpListener::from_std(listener) {
                    accept(listener).await;
                }
            });
        }
        runtime.block_on(tasks);
    };
    std::thread::Builder::new()
        .name("endpoints".to_owned())
        .spawn(serve)?;
    Ok(())
}

async fn accept(listener: TcpListener) {
    let port = listener.local_addr().map_or(0, |address| address.port());
    let answers: HashMap<usize, Vec<u8>> = SIZES.map(|size| (size, answer(port, size))).into();
    let answers = Rc::new(answers);
    while let Ok((stream, _)) = listener.accept().await {
        let answers = answers.clone();
        // A client that goes is no error.
        tokio::task::spawn_local(async move { drop(serve(stream, &answers).await) });
    }
}

fn answer(port: u16, size: usize) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nServer: endpoint\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\n\
         Content-Type: application/octet-stream\r\nCache-Control: no-cache\r\n\
         {ENDPOINT}: {port}\r\nContent-Length: {size}\r\n\r\n"
    );
    [head.into_bytes(), vec![b'x'; size]].concat()
}

/// Requests have no body here.
async fn serve(mut stream: TcpStream, answers: &HashMap<usize, Vec<u8>>) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(HEAD);
    while stream.read_buf(&mut buffer).await? > 0 {
        anyhow::ensure!(buffer.len() < HEAD, "no end of a head");
        if !buffer.ends_with(b"\r\n\r\n") {
            continue;
        }
        let size = size(&buffer).unwrap_or(0);
        let answer = answers.get(&size).context("no such size")?;
        stream.write_all(answer).await?;
        buffer.clear();
    }
    Ok(())
}

/// The number behind the last slash of the path.
fn size(head: &[u8]) -> Option<usize> {
    let line = head.split(|byte| *byte == b'\r').next()?;
    let path = line.split(|byte| *byte == b' ').nth(1)?;
    let last = path.rsplit(|byte| *byte == b'/').next()?;
    std::str::from_utf8(last).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_says_how_long_the_body_is() {
        assert_eq!(size(b"GET /a/b/1024 HTTP/1.1\r\nHost: a"), Some(1024));
        assert_eq!(size(b"GET / HTTP/1.1\r\n\r\n"), None);
        let answer = String::from_utf8(answer(81, 16)).unwrap();
        assert!(answer.ends_with("\r\n\r\nxxxxxxxxxxxxxxxx"), "{answer}");
    }
}
