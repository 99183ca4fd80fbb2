// SPDX-License-Identifier: Apache-2.0
//! TCP connections that stay open, and servers that keep them.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use ferrule::model::{IpFamily, Protocol};
use nix::sys::socket::{SockaddrStorage, bind, connect, setsockopt, sockopt};

use crate::case::From;
use crate::cluster::Cluster;
use crate::netns::Place;
use crate::object::{OWN_TARGET, pod_address};
use crate::pace::pace;
use crate::socket;

/// How soon a connection must have ended after the agents have applied the change.
const LIMIT: Duration = Duration::from_secs(3);

/// A server in a pod, on [`OWN_TARGET`]: answers each byte that it gets with its name's first two.
pub(super) struct Echo {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Echo {
    pub(super) fn start(cluster: &Cluster, pod: &'static str) -> Result<Self> {
        let namespace = cluster.topology.namespace(Place::Pod(pod))?;
        let listen = |family| {
            let listener = TcpListener::bind((pod_address(family, pod), OWN_TARGET))?;
            listener.set_nonblocking(true)?;
            anyhow::Ok(listener)
        };
        let all = || {
            IpFamily::ALL
                .into_iter()
                .map(listen)
                .collect::<Result<Vec<_>>>()
        };
        let listeners = namespace.enter(all)?;
        let stop = Arc::new(AtomicBool::new(false));
        let halted = stop.clone();
        let thread = std::thread::spawn(move || serve(pod, &listeners, &halted));
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn any_address(to: SocketAddr) -> IpAddr {
    match to {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

fn serve(pod: &str, listeners: &[TcpListener], stop: &AtomicBool) {
    let mut clients: Vec<TcpStream> = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        for listener in listeners {
            while let Ok((stream, _)) = listener.accept() {
                if stream.set_nonblocking(true).is_ok() {
                    clients.push(stream);
                }
            }
        }
        clients.retain_mut(|client| match client.read(&mut [0]) {
            Ok(0) => false,
            Ok(_) => client.write_all(pod.as_bytes()).is_ok(),
            Err(e) => e.kind() == ErrorKind::WouldBlock,
        });
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A client's connection.
pub(super) struct Held {
    pub(super) what: String,
    pub(super) from: From,
    pub(super) stream: TcpStream,
}

/// What became of a question.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// The pod that answered.
    By(String),
    /// The connection has been reset.
    Reset,
    /// Nothing came.
    Nothing,
}

impl Held {
    /// Connects; with `via` the client outside sends to that node.
    pub(super) fn open(cluster: &Cluster, from: From, to: SocketAddr, via: u16) -> Result<Self> {
        Self::open_at(cluster, from, 0, to, via)
    }

    /// The same from that port of the client's; 0 for one that the kernel chooses.
    pub(super) fn open_at(
        cluster: &Cluster,
        from: From,
        port: u16,
        to: SocketAddr,
        via: u16,
    ) -> Result<Self> {
        let what = format!("{:?} to {to}", from.place);
        let source = from.source(IpFamily::of(to.ip()));
        let open = || -> Result<TcpStream> {
            let stream = TcpStream::from(socket::open(Protocol::Tcp, to.ip())?);
            stream.set_nonblocking(false)?;
            stream.set_nodelay(true)?;
            // 300 ms, where answers may take 5 s.
            stream.set_read_timeout(Some(pace().answer / 16))?;
            if via != 0 {
                setsockopt(&stream, sockopt::Mark, &u32::from(via))?;
            }
            let source = source.or_else(|| (port != 0).then(|| any_address(to)));
            if let Some(source) = source {
                setsockopt(&stream, sockopt::ReuseAddr, &true)?;
                let own = SocketAddr::new(source, port);
                bind(stream.as_raw_fd(), &SockaddrStorage::from(own))?;
            }
            connect(stream.as_raw_fd(), &SockaddrStorage::from(to))?;
            Ok(stream)
        };
        let namespace = cluster.topology.namespace(from.place)?;
        let stream = namespace.enter(open).with_context(|| what.clone())?;
        Ok(Self { what, from, stream })
    }

    /// The address that the client sends from.
    pub(super) fn client(&self) -> Result<(IpAddr, u16)> {
        let local = self.stream.local_addr()?;
        Ok((local.ip(), local.port()))
    }

    /// Sends a byte and waits for the answer.
    pub(super) fn ask(&mut self) -> Result<Told> {
        match self.stream.write_all(b"?") {
            Ok(()) => self.hear(),
            Err(e) => self.told(e),
        }
    }

    /// Waits for data, and asks for none.
    pub(super) fn hear(&mut self) -> Result<Told> {
        let mut name = [0; 2];
        match self.stream.read_exact(&mut name) {
            Ok(()) => Ok(Told::By(String::from_utf8_lossy(&name).into_owned())),
            Err(e) => self.told(e),
        }
    }

    fn told(&self, error: io::Error) -> Result<Told> {
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Ok(Told::Nothing),
            ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => {
                Ok(Told::Reset)
            }
            _ => Err(error).with_context(|| self.what.clone()),
        }
    }

    /// Fails unless this pod answers.
    pub(super) fn must_be_at(&mut self, pod: &str) -> Result<()> {
        match self.ask()? {
            Told::By(name) if name == pod => Ok(()),
            other => bail!("{}: {other:?}, {pod} should answer", self.what),
        }
    }

    /// Sends until the connection is reset; a program on a node only waits.
    pub(super) fn must_be_reset(&mut self) -> Result<()> {
        let begun = Instant::now();
        let idle = matches!(self.from.place, Place::Node(_));
        loop {
            let told = if idle { self.hear()? } else { self.ask()? };
            match told {
                Told::Reset => return Ok(()),
                _ if begun.elapsed() < LIMIT => std::thread::sleep(Duration::from_millis(10)),
                other => bail!("{}: {other:?} after {LIMIT:?}, not reset", self.what),
            }
        }
    }
}
