// SPDX-License-Identifier: Apache-2.0
//! The unix socket that `ferrule debug` asks: HTTP/1.1 with JSON.

use std::fs::{self, DirBuilder};
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener as StdListener, UnixStream as StdStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode};
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr};
use nix::sys::{socket, stat};
use serde::Serialize;
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot};

use super::accounting::Accounting;
use super::http::{JSON, Reply, TEXT, answer, not_found, reply};
use super::status::Status;
use super::view::{ServiceView, WantedView};
use crate::model::{IpFamily, Service, ServiceName, ServicePort};
use crate::plan::image::Image;
use crate::plan::ledger::Ledger;

/// How long to wait before the path is tried again.
const RETRY: Duration = Duration::from_secs(5);
/// How long the loop may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Mode of the socket: whoever may read it sees all Services.
const MODE: stat::Mode = stat::Mode::S_IRUSR.union(stat::Mode::S_IWUSR);
/// Requests waiting to be accepted.
const BACKLOG: i32 = 16;

/// A question to the loop.
#[derive(Debug)]
pub enum AdminRequest {
    /// The views of all Services that are selected, by namespace and name.
    Services {
        /// Which.
        selection: Selection,
        /// Where the answer goes. Nobody may be waiting for it any more.
        reply: oneshot::Sender<Vec<ServiceView>>,
    },
    /// What the kernel should hold, by family: copies, so that the loop goes on at once.
    Wanted {
        /// Where the answer goes.
        reply: oneshot::Sender<Vec<(IpFamily, Ledger)>>,
    },
}

/// Which Services are asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selection {
    /// Only those of this namespace.
    pub namespace: Option<String>,
    /// Only those of this name.
    pub name: Option<String>,
    /// Only those that have this address as a VIP, or `port` as a NodePort.
    pub address: Option<IpAddr>,
    /// See `address`.
    pub port: Option<u16>,
}

impl Selection {
    /// Whether a Service is selected.
    pub fn matches(&self, service: &ServiceName) -> bool {
        self.namespace
            .as_deref()
            .is_none_or(|namespace| *namespace == *service.namespace)
            && self
                .name
                .as_deref()
                .is_none_or(|name| *name == *service.name)
    }

    /// Whether a Service with a name that is selected is selected by its addresses, too.
    pub(crate) fn answers(&self, service: &Service) -> bool {
        let Some(address) = &self.address else {
            return true;
        };
        let vips = [
            &service.cluster_ips,
            &service.external_ips,
            &service.load_balancer_ips,
        ];
        let node_port =
            |port: &ServicePort| port.node_port.is_some() && port.node_port == self.port;
        vips.into_iter().any(|all| all.contains(address)) || service.ports.iter().any(node_port)
    }

    /// From `namespace=a&name=b&address=c&port=d`. Names of Services hold nothing that a query would escape.
    pub(super) fn from_query(query: &str) -> Self {
        let value = |key: &str| {
            let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs
                .find(|(name, _)| *name == key)
                .map(|(_, value)| value.to_owned())
        };
        Self {
            namespace: value("namespace"),
            name: value("name"),
            address: value("address").and_then(|text| text.parse().ok()),
            port: value("port").and_then(|text| text.parse().ok()),
        }
    }
}

/// Opens the socket, again and again if need be, and answers for ever.
pub(super) async fn serve_admin(
    path: &Path,
    status: &Status,
    requests: mpsc::Sender<AdminRequest>,
) {
    let mut reported = false;
    loop {
        match open(path) {
            Ok((listener, _guard)) => {
                let (status, requests) = (status.clone(), requests.clone());
                let handler = move |request| route(request, status.clone(), requests.clone());
                match answer(listener, handler).await {}
            }
            Err(error) => {
                if !reported {
                    let path = path.display();
                    tracing::warn!(%path, %error, "--admin-socket cannot be opened, trying again");
                }
                reported = true;
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

async fn route(
    request: Request<Incoming>,
    status: Status,
    requests: mpsc::Sender<AdminRequest>,
) -> Reply {
    if request.method() != Method::GET {
        return reply(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET\n");
    }
    match request.uri().path() {
        "/services" => {
            let selection = Selection::from_query(request.uri().query().unwrap_or_default());
            let accounting = status.accounting().cloned();
            services(selection, &requests, accounting).await
        }
        "/status" => json(&status.view()),
        "/accounting" => match status.accounting() {
            Some(accounting) => json(&accounting.view().await),
            None => reply(
                StatusCode::NOT_FOUND,
                TEXT,
                "accounting is off (--accounting switches it on)\n",
            ),
        },
        "/wanted" => wanted(&requests).await,
        _ => not_found(),
    }
}

async fn services(
    selection: Selection,
    requests: &mpsc::Sender<AdminRequest>,
    accounting: Option<Accounting>,
) -> Reply {
    let question = |reply| AdminRequest::Services { selection, reply };
    let Some(mut views) = ask(requests, question).await else {
        return silent();
    };
    if let Some(accounting) = accounting {
        accounting.view().await.add_to(&mut views);
    }
    json(&views)
}

/// What the kernel should hold. Writing it out may take a second, and must not keep health checks
/// waiting.
async fn wanted(requests: &mpsc::Sender<AdminRequest>) -> Reply {
    let Some(ledgers) = ask(requests, |reply| AdminRequest::Wanted { reply }).await else {
        return silent();
    };
    let write = move || {
        let image = |(family, ledger): (IpFamily, Ledger)| WantedView {
            family: family.into(),
            objects: Image::of(&ledger.ruleset(), family).into_lines(),
        };
        json(&ledgers.into_iter().map(image).collect::<Vec<_>>())
    };
    tokio::task::spawn_blocking(write)
        .await
        .unwrap_or_else(|_| silent())
}

async fn ask<T>(
    requests: &mpsc::Sender<AdminRequest>,
    question: impl FnOnce(oneshot::Sender<T>) -> AdminRequest,
) -> Option<T> {
    let (sender, receiver) = oneshot::channel();
    let ask = async {
        requests.send(question(sender)).await.ok()?;
        receiver.await.ok()
    };
    tokio::time::timeout(PATIENCE, ask).await.ok().flatten()
}

fn silent() -> Reply {
    let text = "the agent does not answer\n";
    reply(StatusCode::SERVICE_UNAVAILABLE, TEXT, text)
}

/// An answer in JSON.
pub(super) fn json(value: &impl Serialize) -> Reply {
    match serde_json::to_vec(value) {
        Ok(body) => reply(StatusCode::OK, JSON, body),
        Err(error) => reply(StatusCode::INTERNAL_SERVER_ERROR, TEXT, error.to_string()),
    }
}

/// Removes the socket's file when it goes, unless another agent has put its own there.
pub(super) struct Guard {
    path: PathBuf,
    inode: (u64, u64),
}

impl Drop for Guard {
    fn drop(&mut self) {
        if inode(&self.path).is_ok_and(|inode| inode == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn inode(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|meta| (meta.dev(), meta.ino()))
}

/// Listens on a unix socket, whose file goes when the guard does.
pub(super) fn open(path: &Path) -> io::Result<(UnixListener, Guard)> {
    if let Some(directory) = path.parent() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(directory)?;
    }
    clear(path)?;
    let listener = UnixListener::from_std(bind(path)?)?;
    let guard = Guard {
        path: path.to_owned(),
        inode: inode(path)?,
    };
    Ok((listener, guard))
}

/// Removes what an agent left behind that was killed.
fn clear(path: &Path) -> io::Result<()> {
    let meta = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        result => result?,
    };
    if !meta.file_type().is_socket() {
        return Err(io::Error::other("there is something that is no socket"));
    }
    match StdStream::connect(path) {
        Ok(_) => Err(io::Error::other("another agent answers there")),
        Err(_) => fs::remove_file(path),
    }
}

/// Binds with the right mode from the start: Linux takes the mode of the file from that of the
/// unbound socket (`unix_bind_bsd`), so there is no moment in which others can connect.
fn bind(path: &Path) -> io::Result<StdListener> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd: OwnedFd = socket::socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    stat::fchmod(&fd, MODE)?;
    socket::bind(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
    socket::listen(&fd, Backlog::new(BACKLOG)?)?;
    Ok(fd.into())
}
