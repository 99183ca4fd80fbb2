// SPDX-License-Identifier: Apache-2.0
//! A client of HTTP/1.1: connections that ask again as soon as they are answered.

use std::net::SocketAddr;
use std::rc::Rc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::task::LocalSet;

/// An answer that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(5);
/// More than a head and a body of what is asked for.
const BUFFER: usize = 64 * 1024;
/// Spreads connections over the list of requests.
const STRIDE: usize = 7_919;

/// What is asked.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The proxy.
    pub target: SocketAddr,
    /// Connections at a time.
    pub connections: usize,
    /// Whole requests without bodies, asked in turn by each connection.
    pub requests: Vec<Vec<u8>>,
    /// How long answers do not count.
    pub warm: Duration,
    /// How long they do, after that.
    pub time: Duration,
}

/// What came of it.
#[derive(Debug, Clone, Default)]
pub struct Load {
    /// How long each answer took, in microseconds, in no order.
    pub micros: Vec<u32>,
    /// Answers other than 200, and connections that broke.
    pub failed: u64,
    /// Why the first one failed.
    pub reason: Option<String>,
}

impl Load {
    /// Adds another's.
    pub fn add(&mut self, other: Self) {
        self.micros.extend(other.micros);
        self.failed += other.failed;
        self.reason = self.reason.take().or(other.reason);
    }
}

/// A GET of a path of a host.
#[must_use]
pub fn get(host: &str, path: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: bench/1.0\r\nAccept: */*\r\n\
         Accept-Encoding: gzip\r\n\r\n"
    )
    .into_bytes()
}

/// Starts a thread that asks. What it measures begins after `warm` and ends `time` later.
///
/// # Errors
/// If there can be no further thread.
pub fn start(plan: Plan) -> Result<JoinHandle<Result<Load>>> {
    let begun = Instant::now();
    let ask = move || -> Result<Load> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let tasks = LocalSet::new();
        tasks.block_on(&runtime, all(plan, begun))
    };
    let thread = std::thread::Builder::new().name("clients".to_owned());
    Ok(thread.spawn(ask)?)
}

async fn all(plan: Plan, begun: Instant) -> Result<Load> {
    let plan = Rc::new(plan);
    let mut clients = Vec::new();
    for number in 0..plan.connections {
        let client = one(plan.clone(), number * STRIDE, begun + plan.warm);
        clients.push(tokio::task::spawn_local(client));
    }
    let mut load = Load::default();
    for client in clients {
        load.add(client.await?);
    }
    Ok(load)
}

async fn one(plan: Rc<Plan>, mut next: usize, start: Instant) -> Load {
    let end = start + plan.time;
    let mut load = Load::default();
    let mut connection = None;
    while Instant::now() < end {
        let request = &plan.requests[next % plan.requests.len()];
        next += 1;
        let begun = Instant::now();
        let asked = tokio::time::timeout(PATIENCE, ask(plan.target, &mut connection, request));
        let asked = asked.await.context("no answer").flatten();
        let ended = Instant::now();
        match asked {
            Ok(()) if begun >= start && ended <= end => {
                let micros = ended.duration_since(begun).as_micros();
                load.micros.push(u32::try_from(micros).unwrap_or(u32::MAX));
            }
            Ok(()) => {}
            Err(error) => {
                connection = None;
                load.failed += 1;
                load.reason.get_or_insert(format!("{error:#}"));
                // What is down is not asked in a loop without end.
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
    load
}

/// A connection and what it reads into.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// Asks on the connection, or a new one if there is none; the connection is none afterwards if
/// the proxy wants it closed.
async fn ask(target: SocketAddr, kept: &mut Option<Connection>, request: &[u8]) -> Result<()> {
    let mut connection = match kept.take() {
        Some(connection) => connection,
        None => Connection::open(target).await?,
    };
    let answer = connection.ask(request).await?;
    ensure!(answer.status == 200, "status {}", answer.status);
    if !answer.closes {
        *kept = Some(connection);
    }
    Ok(())
}

/// What matters of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// The port of the endpoint that gave it, 0 for a page of the proxy's own.
    pub endpoint: u16,
    /// No further request may be made.
    pub closes: bool,
    length: usize,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// If it cannot.
    pub async fn open(target: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(target).await?;
        stream.set_nodelay(true)?;
        let buffer = Vec::with_capacity(BUFFER);
        Ok(Self { stream, buffer })
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    /// If the connection breaks, or if it is no answer with a length.
    pub async fn ask(&mut self, request: &[u8]) -> Result<Answer> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        loop {
            let read = self.stream.read_buf(&mut self.buffer).await?;
            ensure!(read > 0, "the proxy closed the connection");
            let Some(end) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") else {
                continue;
            };
            let answer = Answer::parse(&self.buffer[..end + 2])?;
            let whole = end + 4 + answer.length;
            while self.buffer.len() < whole {
                let read = self.stream.read_buf(&mut self.buffer).await?;
                ensure!(read > 0, "the proxy closed the connection within a body");
            }
            ensure!(self.buffer.len() == whole, "more came than was asked for");
            return Ok(answer);
        }
    }
}

impl Answer {
    /// Reads a head with the end of its last line.
    pub(super) fn parse(head: &[u8]) -> Result<Self> {
        let mut lines = head.split(|byte| *byte == b'\n');
        let status = lines.next().and_then(|line| line.get(9..12));
        let status = std::str::from_utf8(status.context("no status")?)?.parse()?;
        let mut answer = Self {
            status,
            endpoint: 0,
            closes: false,
            length: usize::MAX,
        };
        for line in lines {
            let Some(colon) = line.iter().position(|byte| *byte == b':') else {
                continue;
            };
            let (name, value) = line.split_at(colon);
            let value = value[1..].trim_ascii();
            if name.eq_ignore_ascii_case(b"content-length") {
                answer.length = std::str::from_utf8(value)?.parse()?;
            } else if name.eq_ignore_ascii_case(b"x-endpoint") {
                answer.endpoint = std::str::from_utf8(value)?.parse()?;
            } else if name.eq_ignore_ascii_case(b"connection") {
                answer.closes = value.eq_ignore_ascii_case(b"close");
            }
        }
        if answer.length == usize::MAX {
            bail!("an answer without a length, status {status}");
        }
        Ok(answer)
    }

    /// Bytes of the body.
    pub(super) fn length(self) -> usize {
        self.length
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answers_head_is_read() {
        let head = b"HTTP/1.1 404 Not Found\r\ncontent-length: 7\r\nConnection: Close\r\n";
        let answer = Answer::parse(head).unwrap();
        let expected = Answer {
            status: 404,
            endpoint: 0,
            closes: true,
            length: 7,
        };
        assert_eq!(answer, expected);
        let endpoint = Answer::parse(b"HTTP/1.1 200 OK\r\nX-Endpoint: 81\r\nContent-Length: 0\r\n");
        assert_eq!(endpoint.unwrap().endpoint, 81);
        assert!(Answer::parse(b"HTTP/1.1 200 OK\r\n").is_err());
    }
}
