// SPDX-License-Identifier: Apache-2.0
//! What is asked of each proxy, round after round.

use std::collections::BTreeMap;
use std::path::Path;
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::load::{self, Load, get};
use super::machine::Held;
use super::proxies::{Certificate, HOST, Kind, PATHS, Routes, Running, host};
use super::results::Sample;
use super::{h2load, handshake};

/// Answers that do not count, at the beginning.
const WARM: Duration = Duration::from_millis(200);
/// Connections at a time, kept.
const CONNECTIONS: usize = 64;
/// New TLS connections at a time.
const HANDSHAKES: usize = 8;
/// HTTP/2 connections at a time, and streams on each.
const SHARED: (usize, usize) = (8, 8);
/// Hosts, where there are many.
pub const HOSTS: usize = 1_000;
/// Measurements in which nothing is answered, before that is an error.
const TRIES: usize = 5;
/// The part of a processor that the proxy gets in [`Scenario::Held`].
const SHARE: f64 = 0.3;

/// Something that is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    /// HTTP/1.1 on kept connections, answered with so many bytes.
    Keep(usize),
    /// The same, spread over 1,000 hosts with 10 paths each.
    Many,
    /// HTTP/2 over TLS.
    Shared,
    /// A full TLS handshake for each request.
    Full,
    /// A resumed one.
    Resumed,
    /// As `Keep`, with the proxy held to a part of a processor.
    Held,
}

/// What a measurement needs.
#[derive(Debug)]
pub struct Setting<'a> {
    /// The proxies with one host.
    pub simple: &'a [Running],
    /// Those with many, in the same order.
    pub many: &'a [Running],
    /// What all of them show.
    pub certificate: &'a Certificate,
    /// How long one is measured at a time.
    pub time: Duration,
    /// For files in between.
    pub folder: &'a Path,
}

impl Scenario {
    /// All, in the order in which they are shown.
    pub const ALL: [Self; 8] = [
        Self::Keep(0),
        Self::Keep(1024),
        Self::Keep(16 * 1024),
        Self::Many,
        Self::Shared,
        Self::Full,
        Self::Resumed,
        Self::Held,
    ];

    /// Its name, as one that is chosen by.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Keep(0) => "h1-0",
            Self::Keep(1024) => "h1-1k",
            Self::Keep(_) => "h1-16k",
            Self::Many => "routes",
            Self::Shared => "h2",
            Self::Full => "tls",
            Self::Resumed => "tls-resumed",
            Self::Held => "held",
        }
    }

    /// What it is, for a table.
    #[must_use]
    pub fn what(self) -> &'static str {
        match self {
            Self::Keep(0) => "HTTP/1.1, no body",
            Self::Keep(1024) => "HTTP/1.1, 1 KB",
            Self::Keep(_) => "HTTP/1.1, 16 KB",
            Self::Many => "HTTP/1.1, no body, 1,000 hosts x 10 paths",
            Self::Shared => "HTTP/2 over TLS, 1 KB",
            Self::Full => "new TLS connections, full handshake",
            Self::Resumed => "new TLS connections, resumed",
            Self::Held => "HTTP/1.1, 1 KB, the proxy held to 0.3 of a processor",
        }
    }

    /// Measures all proxies, beginning with another one in each round.
    ///
    /// # Errors
    /// If one of them does not do what it is asked.
    pub fn round(self, setting: &Setting, round: usize) -> Result<BTreeMap<String, Sample>> {
        let proxies = match self {
            Self::Many => setting.many,
            _ => setting.simple,
        };
        let mut samples = BTreeMap::new();
        for number in 0..proxies.len() {
            let proxy = &proxies[(number + round) % proxies.len()];
            let name = proxy.kind.name();
            let sample = self
                .measure_again(proxy, setting)
                .with_context(|| format!("{name}, {}", self.what()))?;
            samples.insert(name.to_owned(), sample);
        }
        Ok(samples)
    }

    /// A machine with much else to do may leave no time for a single answer.
    fn measure_again(self, proxy: &Running, setting: &Setting) -> Result<Sample> {
        for _ in 0..TRIES {
            if let Some(sample) = self.measure(proxy, setting)? {
                return Ok(sample);
            }
        }
        bail!("no answer in {:?}, {TRIES} times", setting.time)
    }

    /// None if nothing was answered in time, and nothing failed.
    fn measure(self, proxy: &Running, setting: &Setting) -> Result<Option<Sample>> {
        let held = match self {
            Self::Held => Some(Held::new(&proxy.family, SHARE)?),
            _ => None,
        };
        let load = self.start(proxy, setting)?;
        let window = match self {
            // It has no way to say when it has begun.
            Self::Shared => None,
            _ => {
                sleep(WARM);
                Some(setting.time)
            }
        };
        let sample = sample(load, proxy, window);
        drop(held);
        sample
    }

    fn start(self, proxy: &Running, setting: &Setting) -> Result<Clients> {
        let (warm, time) = (WARM, setting.time);
        match self {
            Self::Full | Self::Resumed => {
                let plan = handshake::Plan {
                    target: proxy.https,
                    connections: HANDSHAKES,
                    resume: self == Self::Resumed,
                    warm,
                    time,
                };
                handshake::start(&plan, setting.certificate, &get(HOST, "/0"))
            }
            Self::Shared => h2load::start(h2load::Plan {
                target: proxy.https,
                connections: SHARED.0,
                streams: SHARED.1,
                path: "/1024".to_owned(),
                time,
                log: setting.folder.join("h2load"),
            }),
            Self::Keep(_) | Self::Many | Self::Held => load::start(load::Plan {
                target: proxy.http,
                connections: CONNECTIONS,
                requests: self.requests(),
                warm,
                time,
            }),
        }
    }

    fn requests(self) -> Vec<Vec<u8>> {
        let size = match self {
            Self::Keep(size) => size,
            Self::Many => {
                let all = (0..HOSTS * PATHS).map(|n| (n % HOSTS, n / HOSTS));
                return all
                    .map(|(n, p)| get(&host(n), &format!("/p{p}/0")))
                    .collect();
            }
            _ => 1024,
        };
        vec![get(HOST, &format!("/shop/cart/{size}"))]
    }
}

type Clients = JoinHandle<Result<Load>>;

/// Processor time and answers: of so long, or until the clients end.
fn sample(clients: Clients, proxy: &Running, window: Option<Duration>) -> Result<Option<Sample>> {
    let (before, begun) = (proxy.family.cpu()?, Instant::now());
    let cpu_and_time = || Ok::<_, anyhow::Error>((proxy.family.cpu()? - before, begun.elapsed()));
    let join = |clients: Clients| {
        clients
            .join()
            .unwrap_or_else(|_| bail!("the client panicked"))
    };
    let (load, (cpu, took)) = match window {
        Some(window) => {
            sleep(window);
            let used = cpu_and_time()?;
            (join(clients)?, used)
        }
        None => (join(clients)?, cpu_and_time()?),
    };
    if load.failed > 0 {
        let reason = load.reason.unwrap_or_default();
        let answers = load.micros.len();
        bail!("{answers} answers, {} failures: {reason}", load.failed);
    }
    let answered = !load.micros.is_empty();
    Ok(answered.then(|| Sample::new(load.micros, cpu, took)))
}

/// Starts all proxies with these routes.
///
/// # Errors
/// If one does not start.
pub fn start(number: u16, routes: Routes, certificate: &Certificate) -> Result<Vec<Running>> {
    let one = |kind| Running::start(kind, number, routes, certificate);
    Kind::ALL.into_iter().map(one).collect()
}
