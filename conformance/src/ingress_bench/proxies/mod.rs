// SPDX-License-Identifier: Apache-2.0
//! The proxies, each with one serving thread and the same routes to the same endpoints, and each
//! sending endpoints the same headers about the client.

mod ferrule;
mod haproxy;
mod nginx;

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

pub use self::ferrule::{edit, service, write};
use super::machine::Family;

/// Where everything is, in a network namespace of its own.
pub const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
/// Endpoints.
pub const ENDPOINTS: [u16; 2] = [9_001, 9_002];
/// The one host of [`Routes::One`], and the name in the certificate.
pub const HOST: &str = "bench.example";
/// Paths of each host of [`Routes::Many`].
pub const PATHS: usize = 10;
/// How long a start may take.
const PATIENCE: Duration = Duration::from_secs(180);

/// A proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The sidecar.
    Ferrule,
    /// nginx.
    Nginx,
    /// HAProxy.
    Haproxy,
}

/// What is routed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Routes {
    /// All paths of [`HOST`].
    One,
    /// So many hosts with [`PATHS`] paths each.
    Many(usize),
    /// So many Ingresses, each with a host, two paths and a Service of its own.
    Ingresses(usize),
}

/// A key and its certificate, in files.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// PEM.
    pub key: PathBuf,
    /// PEM.
    pub chain: PathBuf,
}

/// A proxy that runs until it is dropped.
#[derive(Debug)]
pub struct Running {
    /// Which.
    pub kind: Kind,
    /// Where it speaks HTTP.
    pub http: SocketAddr,
    /// Where it speaks HTTPS.
    pub https: SocketAddr,
    /// Its processes.
    pub family: Family,
    // Dropped in this order: the process before its files.
    child: Ended,
    folder: TempDir,
}

/// Ends a process that is no longer needed.
#[derive(Debug)]
struct Ended(Child);

/// What a configuration is made from.
struct Setting<'a> {
    folder: &'a Path,
    certificate: &'a Certificate,
    routes: Routes,
    http: SocketAddr,
    https: SocketAddr,
}

impl Kind {
    /// All, in the order in which they are shown.
    pub const ALL: [Self; 3] = [Self::Ferrule, Self::Nginx, Self::Haproxy];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ferrule => "ferrule",
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
        }
    }

    fn program(self) -> String {
        match self {
            Self::Ferrule => ferrule::program(),
            other => other.name().to_owned(),
        }
    }

    /// Its version, by itself.
    ///
    /// # Errors
    /// If it does not run.
    pub fn version(self) -> Result<String> {
        let (argument, before) = match self {
            Self::Ferrule => ("--version", "ferrule-ingress "),
            Self::Nginx => ("-v", "nginx/"),
            Self::Haproxy => ("-v", "version "),
        };
        let program = self.program();
        let output = Command::new(&program).arg(argument).output();
        let output = output.with_context(|| format!("start {program}"))?;
        // nginx says it on standard error.
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        let version = text
            .split_once(before)
            .and_then(|(_, rest)| rest.split_whitespace().next());
        Ok(version
            .with_context(|| format!("{program} tells no version"))?
            .to_owned())
    }
}

impl Certificate {
    /// Makes one for [`HOST`], with a P-256 key.
    ///
    /// # Errors
    /// If `openssl` does not.
    pub fn make(folder: &Path) -> Result<Self> {
        let made = Self {
            key: folder.join("key.pem"),
            chain: folder.join("chain.pem"),
        };
        let output = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-nodes", "-days", "30"])
            .args(["-pkeyopt", "ec_paramgen_curve:prime256v1"])
            .args(["-subj", &format!("/CN={HOST}")])
            .args(["-addext", &format!("subjectAltName=DNS:{HOST}")])
            .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout"])
            .arg(&made.key)
            .arg("-out")
            .arg(&made.chain)
            .output()
            .context("start openssl")?;
        let reason = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "openssl req: {reason}");
        Ok(made)
    }
}

impl Running {
    /// Starts a proxy, at ports that follow from the `number`, and waits until it serves.
    ///
    /// # Errors
    /// If it does not.
    pub fn start(
        kind: Kind,
        number: u16,
        routes: Routes,
        certificate: &Certificate,
    ) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let at = |port| SocketAddr::new(ADDRESS, port + 10 * number + kind as u16);
        let setting = Setting {
            folder: folder.path(),
            certificate,
            routes,
            http: at(8_000),
            https: at(8_400),
        };
        let mut command = match kind {
            Kind::Ferrule => ferrule::command(&setting)?,
            Kind::Nginx => nginx::command(&setting)?,
            Kind::Haproxy => haproxy::command(&setting)?,
        };
        let log = fs::File::create(folder.path().join("output"))?;
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let mut child = Ended(crate::interrupt::spawn(&mut command)?);
        let (http, https) = (setting.http, setting.https);
        wait(&mut child.0, folder.path(), &[http, https])
            .with_context(|| format!("{} does not serve", kind.name()))?;
        Ok(Self {
            kind,
            http,
            https,
            family: Family::of(child.0.id())?,
            child,
            folder,
        })
    }

    /// The directory of its configuration.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.0.id()
    }
}

fn wait(child: &mut Child, folder: &Path, addresses: &[SocketAddr]) -> Result<()> {
    let begun = Instant::now();
    for address in addresses {
        while !answers(*address) {
            let ended = child.try_wait()?;
            if ended.is_some() || begun.elapsed() > PATIENCE {
                let output = fs::read_to_string(folder.join("output")).unwrap_or_default();
                bail!("{ended:?}, it said: {output}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    Ok(())
}

/// Whether somebody answers, be it with an error: nginx listens before it has a worker.
fn answers(address: SocketAddr) -> bool {
    let ask = || {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        // No TLS either, which is an answer, too.
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
        stream.read(&mut [0])
    };
    ask().is_ok()
}

impl Drop for Ended {
    fn drop(&mut self) {
        let id = nix::unistd::Pid::from_raw(self.0.id().cast_signed());
        // nginx ends its workers.
        let _ = nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGTERM);
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(2) {
            if matches!(self.0.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The host of number `n`.
#[must_use]
pub fn host(n: usize) -> String {
    format!("host-{n}.bench.example")
}
