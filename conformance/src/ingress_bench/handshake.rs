// SPDX-License-Identifier: Apache-2.0
//! Clients that make a new TLS connection for each request.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs::{self, cipher_suite::TLS13_AES_128_GCM_SHA256, kx_group};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned};

use super::load::{Answer, Load};
use super::proxies::{Certificate, HOST};

/// An answer that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(5);
/// Tickets that a client keeps.
const TICKETS: usize = 32;

/// What is asked.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The proxy.
    pub target: SocketAddr,
    /// Connections at a time.
    pub connections: usize,
    /// Go on with the session of an earlier connection. All but the first are then counted as
    /// failed if they do not, and otherwise if they do.
    pub resume: bool,
    /// How long answers do not count.
    pub warm: Duration,
    /// How long they do, after that.
    pub time: Duration,
}

/// Starts a thread that asks, as [`super::load::start`] does.
///
/// # Errors
/// If the certificate cannot be read.
pub fn start(
    plan: &Plan,
    certificate: &Certificate,
    request: &[u8],
) -> Result<JoinHandle<Result<Load>>> {
    let start = Instant::now() + plan.warm;
    let config = config(certificate)?;
    let clients = (0..plan.connections).map(|_| {
        let (plan, request) = (plan.clone(), request.to_owned());
        let mut config = config.clone();
        config.resumption = match plan.resume {
            true => Resumption::in_memory_sessions(TICKETS),
            false => Resumption::disabled(),
        };
        std::thread::spawn(move || client(&plan, &Arc::new(config), &request, start))
    });
    let clients: Vec<_> = clients.collect();
    let gather = move || {
        let mut load = Load::default();
        for client in clients {
            load.add(client.join().unwrap_or_default());
        }
        Ok(load)
    };
    Ok(std::thread::spawn(gather))
}

/// TLS 1.3, one cipher suite and one key exchange: those that all proxies have.
fn config(certificate: &Certificate) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&certificate.chain)?)?;
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites = vec![TLS13_AES_128_GCM_SHA256];
    provider.kx_groups = vec![kx_group::X25519];
    let builder = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn client(plan: &Plan, config: &Arc<ClientConfig>, request: &[u8], start: Instant) -> Load {
    let end = start + plan.time;
    let mut load = Load::default();
    let mut first = true;
    while Instant::now() < end {
        let begun = Instant::now();
        let kind = once(plan.target, config, request);
        let ended = Instant::now();
        let wanted = match plan.resume && !first {
            true => HandshakeKind::Resumed,
            false => HandshakeKind::Full,
        };
        first = false;
        match kind {
            Ok(kind) if kind == wanted => {
                if begun >= start && ended <= end {
                    let micros = ended.duration_since(begun).as_micros();
                    load.micros.push(u32::try_from(micros).unwrap_or(u32::MAX));
                }
            }
            other => {
                load.failed += 1;
                load.reason.get_or_insert(format!("{other:?}"));
            }
        }
    }
    load
}

/// Connects, asks, and reads the answer. Tickets come before it.
fn once(target: SocketAddr, config: &Arc<ClientConfig>, request: &[u8]) -> Result<HandshakeKind> {
    let stream = TcpStream::connect(target)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let client = ClientConnection::new(config.clone(), ServerName::try_from(HOST)?)?;
    let mut tls = StreamOwned::new(client, stream);
    tls.write_all(request)?;
    let (mut buffer, mut length) = ([0; 4096], 0);
    loop {
        let read = tls.read(&mut buffer[length..])?;
        ensure!(read > 0, "closed");
        length += read;
        let Some(end) = buffer[..length].windows(4).position(|w| w == b"\r\n\r\n") else {
            continue;
        };
        let answer = Answer::parse(&buffer[..end + 2])?;
        ensure!(answer.status == 200, "status {}", answer.status);
        if length == end + 4 + answer.length() {
            break;
        }
    }
    tls.conn.handshake_kind().context("no handshake")
}
