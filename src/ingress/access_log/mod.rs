// SPDX-License-Identifier: Apache-2.0
//! The access log: one line a request, written by a thread of its own. A line that finds the
//! queue full is dropped and counted: requests never wait for the log.

mod format;

use std::fmt;
use std::io::{self, BufWriter, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use hyper::header::HeaderValue;
use hyper::{Method, StatusCode, Uri, Version};

use super::table::{Route, Upstream};
use crate::model::Target;

/// Lines that wait to be written.
const QUEUE: usize = 8192;

/// How lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// One JSON object a line.
    #[default]
    Json,
    /// ingress-nginx's `upstreaminfo`.
    Text,
}

/// Where requests are logged. Cheap to clone; the last line is written when all clones are gone.
#[derive(Clone)]
pub struct AccessLog {
    queue: SyncSender<Box<Entry>>,
}

impl AccessLog {
    /// Begins to write to `writer`.
    ///
    /// # Errors
    ///
    /// The thread cannot be started.
    pub fn start(format: Format, writer: impl Write + Send + 'static) -> io::Result<Self> {
        let (queue, entries) = sync_channel(QUEUE);
        std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || write(format, &entries, BufWriter::new(writer)))?;
        Ok(Self { queue })
    }

    /// Whether there was room for the entry.
    pub(crate) fn write(&self, mut entry: Box<Entry>) -> bool {
        entry.time = jiff::Timestamp::now();
        self.queue.try_send(entry).is_ok()
    }
}

impl fmt::Debug for AccessLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessLog").finish_non_exhaustive()
    }
}

/// One request, when it is over.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) time: jiff::Timestamp,
    pub(crate) client: IpAddr,
    pub(crate) tls: bool,
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) version: Version,
    pub(crate) host: Option<HeaderValue>,
    pub(crate) agent: Option<HeaderValue>,
    pub(crate) referer: Option<HeaderValue>,
    pub(crate) request_id: Option<HeaderValue>,
    /// None if the client broke off before there was one.
    pub(crate) status: Option<StatusCode>,
    /// Of the response's body.
    pub(crate) bytes: u64,
    pub(crate) took: Duration,
    pub(crate) route: Option<Arc<Route>>,
    pub(crate) upstream: Option<Arc<Upstream>>,
    pub(crate) attempts: Vec<Attempt>,
}

impl Default for Entry {
    fn default() -> Self {
        Self {
            time: jiff::Timestamp::UNIX_EPOCH,
            client: Ipv4Addr::UNSPECIFIED.into(),
            tls: false,
            method: Method::GET,
            uri: Uri::default(),
            version: Version::HTTP_11,
            host: None,
            agent: None,
            referer: None,
            request_id: None,
            status: None,
            bytes: 0,
            took: Duration::ZERO,
            route: None,
            upstream: None,
            attempts: Vec::new(),
        }
    }
}

/// One endpoint that was asked.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) target: Target,
    /// None if it did not answer.
    pub(crate) status: Option<StatusCode>,
    pub(crate) took: Duration,
}

/// Writes lines until nobody can send any more. What cannot be written is lost: there is nowhere
/// to say so but the log of the program, where each failure is said once.
fn write(format: Format, entries: &Receiver<Box<Entry>>, mut writer: BufWriter<impl Write>) {
    let mut failed = false;
    while let Ok(first) = entries.recv() {
        let waiting = std::iter::from_fn(|| entries.try_recv().ok());
        let mut lines = std::iter::once(first).chain(waiting).take(QUEUE);
        let written = lines
            .try_for_each(|entry| format.line(&entry, &mut writer))
            .and_then(|()| writer.flush());
        if let Err(error) = &written
            && !failed
        {
            tracing::warn!(%error, "the access log cannot be written");
        }
        failed = written.is_err();
    }
}
