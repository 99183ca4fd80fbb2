// SPDX-License-Identifier: Apache-2.0
//! The loop of the control side: events in, tables and certificates out.
//!
//! What has queued while one table was made goes into the next; there is no cool-down. Nothing is
//! put in place before everything has been listed once.

mod keys;
mod report;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use tokio::sync::mpsc::Receiver;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep_until};
use tracing::{debug, info};

use self::keys::Keys;
use self::report::Report;
use super::catalog::{Catalog, Options, Update};
use super::meters::AnnotationGauge;
use super::table::{Streams, Table};
use super::tls;
use crate::model::{Event, IngressEvent, ServiceName};
use crate::observe::events::Recorder;

/// The most events that one table takes in.
const BATCH: usize = 8_192;
/// What an Ingress names often comes just after it, and its Secret has to be asked for: how long to
/// wait before something is called missing.
const SETTLE: Duration = Duration::from_secs(1);
/// How often certificates are looked at that expire.
const LOOK: Duration = Duration::from_secs(3600);

/// The Secrets, or ConfigMaps, that are needed; none as long as nobody knows.
pub type Wanted = Option<Arc<BTreeSet<ServiceName>>>;

/// A question about what is served. The answer may use all of the catalog, and takes the loop's
/// time.
pub type Question = Box<dyn FnOnce(&Catalog, &tls::Certificates) + Send>;

/// What the loop has done so far, to be counted.
#[derive(Debug, Default)]
pub struct Changes {
    /// Tables that were put in place.
    pub tables: AtomicU64,
    /// When the last one was, in seconds since 1970.
    pub last: AtomicU64,
    /// Certificates that were refused.
    pub refused: AtomicU64,
    /// Hosts with a certificate, each with its Secret and when it ends to be valid, since 1970.
    pub certificates: ArcSwap<Vec<(Arc<str>, ServiceName, i64)>>,
    /// Annotations that are not served as they are written.
    pub annotations: AnnotationGauge,
}

/// What the loop puts in place.
#[derive(Clone)]
pub struct Outputs {
    /// What serving threads know.
    pub table: Arc<ArcSwap<Table>>,
    /// What TLS clients are shown.
    pub store: Arc<tls::Store>,
    /// The Secrets that are needed.
    pub wanted: watch::Sender<Wanted>,
    /// The ConfigMaps that annotations name.
    pub config_maps: watch::Sender<Wanted>,
    /// The names that have to be resolved.
    pub externals: watch::Sender<Arc<BTreeSet<Arc<str>>>>,
    /// The ports that are passed on byte by byte.
    pub streams: watch::Sender<Arc<Streams>>,
    /// Whether a complete table is in place.
    pub ready: watch::Sender<bool>,
    /// What there was so far.
    pub changes: Arc<Changes>,
    /// Where Kubernetes Events go.
    pub events: Recorder,
}

/// The control side.
pub struct Control {
    catalog: Catalog,
    outputs: Outputs,
    keys: Keys,
    report: Report,
    synced: bool,
    secrets: bool,
    /// Ingresses of which something may have to be said, and when.
    noted: BTreeSet<ServiceName>,
    tell_at: Option<Instant>,
}

impl Control {
    /// A control side that has seen nothing yet.
    pub fn new(node_name: &str, options: Options, outputs: Outputs) -> Self {
        Self {
            catalog: Catalog::new(node_name, options),
            keys: Keys::default(),
            report: Report::new(outputs.events.clone()),
            outputs,
            synced: false,
            secrets: false,
            noted: BTreeSet::new(),
            tell_at: None,
        }
    }

    /// Runs until no event can come any more.
    pub async fn run(mut self, mut events: Receiver<Event>, mut questions: Receiver<Question>) {
        let mut batch = Vec::new();
        let mut look = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                biased;
                count = events.recv_many(&mut batch, BATCH) => {
                    if count == 0 {
                        return;
                    }
                    batch.drain(..).for_each(|event| self.take(event));
                    if self.synced {
                        self.commit();
                    }
                }
                Some(question) = questions.recv() => {
                    question(&self.catalog, &self.outputs.store.certificates());
                }
                () = sleep_until(self.tell_at.unwrap_or_else(Instant::now)), if self.tell_at.is_some() => {
                    self.tell();
                }
                _ = look.tick() => self.keys.look(&mut self.report),
            }
        }
    }

    fn take(&mut self, event: Event) {
        self.report.event(&event);
        match &event {
            Event::Synced => self.synced = true,
            Event::Ingress(event) if **event == IngressEvent::SecretsListed => self.secrets = true,
            _ => {}
        }
        self.catalog.apply(event);
    }

    fn commit(&mut self) {
        let update = self.catalog.commit();
        self.keys.update(
            &update,
            &self.catalog,
            (&self.outputs.store, &self.outputs.changes),
            &mut self.report,
        );
        let Update {
            table,
            wanted,
            wanted_maps,
            externals,
            notes,
            served,
            streams,
            remarks,
            work,
            ..
        } = update;
        if let Some(table) = table {
            debug!(?work, "a new table");
            self.outputs.table.store(Arc::new(table));
            let now = Timestamp::now().as_second();
            let changes = &self.outputs.changes;
            changes.tables.fetch_add(1, Relaxed);
            changes.last.store(now.unsigned_abs(), Relaxed);
        }
        if let Some(wanted) = wanted {
            self.outputs.wanted.send_replace(Some(wanted));
        }
        if let Some(wanted) = wanted_maps {
            self.outputs.config_maps.send_replace(Some(wanted));
        }
        if let Some(externals) = externals {
            self.outputs.externals.send_replace(externals);
        }
        if let Some(streams) = streams {
            self.outputs.streams.send_replace(streams);
        }
        let counts = &self.outputs.changes.annotations;
        counts.set(|kind| self.catalog.annotation_count(kind));
        for (name, reasons) in remarks {
            self.report.config_map(&name, reasons);
        }
        for (name, served) in served {
            let what = if served { "served" } else { "no longer served" };
            debug!(ingress = %name, "{what}");
        }
        if !notes.is_empty() {
            self.noted.extend(notes.into_keys());
            self.tell_at.get_or_insert_with(|| Instant::now() + SETTLE);
        }
        if self.secrets && !*self.outputs.ready.borrow() {
            let count = self.catalog.served().count();
            info!(ingresses = count, "the first complete table is in place");
            self.outputs.ready.send_replace(true);
        }
    }
}

impl Control {
    /// Says what cannot be served.
    fn tell(&mut self) {
        self.tell_at = None;
        // Until then, what is there would be called missing.
        if !self.secrets {
            self.tell_at = Some(Instant::now() + SETTLE);
            return;
        }
        for name in std::mem::take(&mut self.noted) {
            self.report.ingress(&name, self.catalog.notes(&name));
        }
    }
}

/// Asks the loop; none if it does not answer in time or has ended.
pub async fn ask<T: Send + 'static>(
    questions: &tokio::sync::mpsc::Sender<Question>,
    patience: Duration,
    question: impl FnOnce(&Catalog, &tls::Certificates) -> T + Send + 'static,
) -> Option<T> {
    let (reply, answer) = oneshot::channel();
    let question: Question = Box::new(move |catalog, certificates| {
        // Nobody may be waiting any more.
        let _ = reply.send(question(catalog, certificates));
    });
    let asked = async {
        questions.send(question).await.ok()?;
        answer.await.ok()
    };
    tokio::time::timeout(patience, asked).await.ok().flatten()
}
